"""Presets: how exact they are, and a cache that is never trusted blindly."""

from __future__ import annotations

import functools
import gc
import json
import logging

import numpy as np
import pytest

from isincnet_jax import PRESETS, from_pretrained
from isincnet_jax.bank import solve as decoding
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.lapped_codec import LappedCodec
from isincnet_jax.bank.lapped_spec import LappedSpec
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.constant_q.nonuniform_codec import NonuniformCodec
from isincnet_jax.pretrained import hub, registry
from isincnet_jax.pretrained.load import load_any, load_codec, load_model


def snr_db(target, prediction) -> float:
    target, prediction = np.asarray(target, np.float64), np.asarray(prediction, np.float64)
    return float(10 * np.log10(np.sum(target**2) / max(np.sum((target - prediction) ** 2), 1e-60)))


@functools.lru_cache
def load(name):
    return from_pretrained(name)


def least_snr_db(name: str) -> float:
    # float32: linear 126 dB and mel 115 as measured on music; causal ones have conditions of 14
    # and decoders of at most 20 frame taps.
    return 95.0 if name.endswith("causal") else 126.0 if name.endswith("linear") else 115.0


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == "22khz-mel" else ()) for name in PRESETS],
)
def test_preset_reconstructs_five_seconds(name, rng):
    codec = load(name)
    length = 5 * codec.spec.sample_rate
    waveform = 0.1 * rng.standard_normal(length).astype(np.float32)
    decoded = codec.decode(codec.encode(waveform), length=length)
    assert snr_db(waveform, decoded) > least_snr_db(name)


@pytest.mark.parametrize("name", ["16khz-linear", "16khz-linear-causal"])
# Around the hop of 125, a prime, and clips much shorter than a filter.
@pytest.mark.quick(4)
@pytest.mark.parametrize("length", [2, 3, 124, 125, 126, 127, 1009])
def test_preset_reconstructs_any_length(name, length, rng):
    codec = load(name)
    waveform = 0.1 * rng.standard_normal((8, length)).astype(np.float32)
    decoded = codec.decode(codec.encode(waveform), length=length)
    assert snr_db(waveform, decoded) > least_snr_db(name)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_states_its_geometry(name):
    preset = PRESETS[name]
    rate = {"16": 16_000, "22": 22_050, "44": 44_100}[name[:2]]
    assert preset.spec.sample_rate == rate
    assert preset.spec.causal == name.endswith("causal")
    assert preset.spec.scale == ("mel_slaney" if name.endswith("mel") else "linear")
    assert preset.summary


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("16khz-liner", r"no preset '16khz-liner'; did you mean '16khz-linear'\?"),
        ("zzz", r"no preset 'zzz'; presets: 16khz-linear, "),
        ("runs/mine/export", r"nothing is there \(a run writes its export when it ends\); pres"),
    ],
)
def test_unknown_preset_is_answered_with_the_known_ones(name, message):
    with pytest.raises(ValueError, match=message):
        from_pretrained(name)


NAME = "16khz-linear"


@pytest.fixture
def forget():
    """Forgets every solution of the bank, as a new process would."""
    clear = PRESETS[NAME].spec.bank.decoders.clear
    clear()
    return clear


@pytest.fixture
def no_solver(monkeypatch):
    """Lets the cache be the only source of decoders."""

    def refuse(*_):
        raise AssertionError("solved although the cache has it")

    return lambda: monkeypatch.setattr(decoding, "_design_decoder", refuse)


def assert_right(codec):
    waveform = np.random.default_rng(1).standard_normal(300).astype(np.float32)
    assert snr_db(waveform, codec.decode(codec.encode(waveform), length=300)) > 120.0


def stored_file(folder):
    (path,) = folder.iterdir()
    return path


def test_second_load_uses_the_cache(tmp_path, forget, no_solver):
    assert_right(from_pretrained(NAME, cache_dir=tmp_path))
    assert stored_file(tmp_path).suffix == ".npz"  # one file, nothing left beside it
    forget()
    no_solver()
    assert_right(from_pretrained(NAME, cache_dir=tmp_path))


def test_cached_solution_is_the_solved_one(tmp_path, forget):
    preset = PRESETS[NAME]
    solved = decoding.design_decoder(preset.spec, preset.decoder)
    hub._provide_cached(preset.spec, preset.decoder, tmp_path)
    forget()
    hub._provide_cached(preset.spec, preset.decoder, tmp_path)
    loaded = decoding.design_decoder(preset.spec, preset.decoder)
    assert loaded is not solved
    assert type(loaded) is type(solved)
    np.testing.assert_array_equal(loaded.values, solved.values)
    assert not loaded.values.flags.writeable
    for field in ("lead", "residual", "noise_gain", "method", "num_bins"):
        assert getattr(loaded, field) == getattr(solved, field)


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 0x40
    path.write_bytes(bytes(data))


def alter_values(path):
    """A well-formed file of this spec with other numbers: only the digest can tell."""
    with np.load(path) as stored:
        content = dict(stored)
    content["values"] = content["values"] * 1.001
    np.savez(path, **content)


def of_another_spec(path):
    with np.load(path) as stored:
        content = dict(stored)
    content["key"] = np.asarray("{}")
    np.savez(path, **content)


DAMAGES = {
    "torn": lambda path: path.write_bytes(path.read_bytes()[:900]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not an archive"),
    "flipped bit": flip_a_byte,
    "altered values": alter_values,
    "stale key": of_another_spec,
    "missing members": lambda path: np.savez(path, values=np.zeros(3)),
}


@pytest.mark.quick(1)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_cache_is_reported_and_replaced(tmp_path, forget, no_solver, caplog, damage):
    from_pretrained(NAME, cache_dir=tmp_path)
    path = stored_file(tmp_path)
    damage(path)
    forget()
    with caplog.at_level(logging.WARNING):
        assert_right(from_pretrained(NAME, cache_dir=tmp_path))
    assert path.name in caplog.text
    assert "ignored and solved anew" in caplog.text
    caplog.clear()  # its records hold the exception, and that the file
    gc.collect()  # a file that was left open warns now
    forget()
    no_solver()  # the replacement is good
    assert_right(from_pretrained(NAME, cache_dir=tmp_path))


def test_cache_folder_that_cannot_be_made_costs_only_time(tmp_path, forget, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with caplog.at_level(logging.WARNING):
        assert_right(from_pretrained(NAME, cache_dir=blocked / "cache"))
    assert "decoder not cached" in caplog.text


def test_full_disk_leaves_no_part_behind(tmp_path, forget, caplog, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hub.np, "savez", full)
    with caplog.at_level(logging.WARNING):
        assert_right(from_pretrained(NAME, cache_dir=tmp_path))
    assert "No space left" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_cache_directory_order(monkeypatch, tmp_path):
    monkeypatch.setenv("ISINCNET_CACHE_DIR", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert hub.cache_directory(tmp_path / "given") == tmp_path / "given"
    assert hub.cache_directory() == tmp_path / "own"
    monkeypatch.delenv("ISINCNET_CACHE_DIR")
    assert hub.cache_directory() == tmp_path / "xdg" / "isincnet_jax"


# The registry, and what a name means.


DIGESTS = {
    "16khz-linear": "4cb0e466a4312fbd",
    "16khz-linear-causal": "3c6cdd8510b3a9f1",
    "22khz-linear": "1a25bbb9a5247584",
    "44khz-linear": "68a5d388d94d5b34",
    "44khz-linear-causal": "296f26ba3fe7c907",
    "16khz-mel": "0913297c975a639b",
    "22khz-mel": "0baacc9a158dd4e4",
    "44khz-mel": "1dd1df58a2e679fe",
}


def test_presets_are_those_of_the_releases():
    """Archives and published results name these banks: they never change."""
    digests = {name: preset.spec.digest() for name, preset in PRESETS.items()}
    assert digests == DIGESTS
    frames = {name: preset.decoder.num_frames for name, preset in PRESETS.items()}
    assert frames == {
        name: 20 if name.endswith("causal") else 4 if name.endswith("mel") else None
        for name in PRESETS
    }
    for name, preset in PRESETS.items():
        assert preset.projections == (() if name.endswith("mel") else ("mel_slaney",))
        assert preset.decoder == DecoderSpec(num_frames=preset.decoder.num_frames)


def solved(**changes):
    entry = {"kind": "solved", "summary": "a test", "spec": {"num_bins": 128}}
    return {name: value for name, value in {**entry, **changes}.items() if value is not None}


LAPPED_DIGESTS = {
    "16khz-lapped": "c04bf057b744bed1",
    "22khz-lapped": "8c98e1a7da6efa04",
    "44khz-lapped": "96c4e86e5a0a7b9c",
    "16khz-lapped-fast": "7109fea179251141",
    "22khz-lapped-fast": "870e0447a2f36b50",
    "44khz-lapped-fast": "2fab45ce229be727",
}


def test_lapped_presets_are_those_of_the_releases():
    """Tokens depend on bank and step alone: neither changes."""
    found = {name: (one.spec.digest(), one.step) for name, one in registry.LAPPED.items()}
    assert found == {name: (digest, 1 / 64) for name, digest in LAPPED_DIGESTS.items()}


@pytest.mark.parametrize("name", ["16khz-lapped", "44khz-lapped-fast"])
def test_lapped_presets_are_codecs(name, tmp_path, rng):
    codec = hub.from_pretrained(name, cache_dir=tmp_path / "cache")
    assert isinstance(codec, LappedCodec)
    assert (codec.name, codec.spec) == (name, registry.LAPPED[name].spec)
    assert codec.step == codec.quantizer().step == 1 / 64
    waveform = rng.uniform(-0.5, 0.5, (2, 3000)).astype(np.float32)
    coefficients = codec.encode(waveform)
    assert coefficients.shape == (2, codec.num_frames(3000), codec.spec.num_bins)
    np.testing.assert_allclose(codec.decode(coefficients, length=3000), waveform, atol=1e-6)
    assert not (tmp_path / "cache").exists()  # nothing is solved
    assert load_codec(name).spec == load_codec(codec).spec == codec.spec
    for one in (name, codec):
        with pytest.raises(ValueError, match=f"^model={name}: a lapped bank, .* encode"):
            load_model(one)


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", registry.NONUNIFORM)
def test_nonuniform_presets_are_codecs(name, tmp_path, rng):
    codec = hub.from_pretrained(name, cache_dir=tmp_path / "cache")
    assert isinstance(codec, NonuniformCodec)
    assert (codec.name, codec.spec) == (name, registry.NONUNIFORM[name].spec)
    waveform = rng.uniform(-0.5, 0.5, (2, 3000)).astype(np.float32)
    coefficients = codec.encode(waveform)
    assert snr_db(waveform, codec.decode(coefficients, length=3000)) > 126
    assert 2 < codec.redundancy() < 2.35
    assert codec.redundancy(10 * codec.spec.sample_rate) < 2.4
    # Tight: energy is preserved.
    energy = sum(float(np.sum(np.abs(array) ** 2)) for array in coefficients)
    assert energy == pytest.approx(float(np.sum(waveform**2)), rel=1e-3)
    assert not (tmp_path / "cache").exists()  # nothing is solved
    assert load_any(name).spec == load_any(codec).spec == codec.spec
    for load_one in (load_codec, load_model):
        with pytest.raises(ValueError, match=f"^model={name}: a nonuniform bank, which"):
            load_one(name)


@pytest.mark.usefixtures("x64")
def test_lapped_presets_in_double_precision(rng):
    codec = hub.from_pretrained("16khz-lapped", dtype=np.float64)
    waveform = rng.uniform(-0.5, 0.5, 3000)
    found = codec.decode(codec.encode(waveform), length=3000)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, waveform, atol=1e-14)


def lapped(**changes):
    entry = {"kind": "lapped", "summary": "a test", "spec": {"hop_length": 64}, "step": 0.5}
    return {name: value for name, value in {**entry, **changes}.items() if value is not None}


def shipped(**changes):
    entry = {"kind": "stored", "summary": "a test", "file": "models/m.zip"}
    return {name: value for name, value in {**entry, **changes}.items() if value is not None}


def registry_file(tmp_path, entry, name="name"):
    path = tmp_path / "registry.json"
    path.write_text(json.dumps({"format": 1, "models": {name: entry}}))
    return path


def test_registry_reads_every_kind(tmp_path):
    entry = solved(
        spec={"sample_rate": 8000, "hop_length": 8, "num_bins": 17, "causal": False},
        decoder={"kind": "wiener", "noise_variance": [0.1, 0.2]},
        projections=["bark"],
    )
    assert registry.read_registry(registry_file(tmp_path, entry)) == {
        "name": registry.Preset(
            FilterbankSpec(8000, 8, 17),
            DecoderSpec("wiener", noise_variance=(0.1, 0.2)),
            ("bark",),
            "a test",
        )
    }
    path = registry_file(tmp_path, lapped())
    assert registry.read_registry(path) == {
        "name": registry.Lapped(LappedSpec(hop_length=64), 0.5, "a test")
    }
    path = registry_file(tmp_path, shipped())
    assert registry.read_registry(path) == {
        "name": registry.Stored(tmp_path / "models" / "m.zip", "a test")
    }


ENTRIES = {
    "unknown kind": (
        {"kind": "magic"},
        "kind='magic' is unknown; use 'solved', 'lapped', 'nonuniform' or 'stored'",
    ),
    "nonuniform field": (
        {"kind": "nonuniform", "summary": "a test", "spec": {"hop": 3}},
        "unknown field 'hop'",
    ),
    "nonuniform value": (
        {"kind": "nonuniform", "summary": "a test", "spec": {"center_hz": [2, 1]}},
        "center_hz must increase, but 1 follows 2",
    ),
    "no object": (7, "kind=None is unknown"),
    "unknown field": (solved(more=1), "unknown field 'more'; fields are kind, summary, spec"),
    "missing field": (solved(summary=None), "field 'summary' is missing"),
    "wrong type": (solved(summary=3), "summary=3 must be of type str"),
    "spec field": (solved(spec={"hop": 3}), "spec: unknown field 'hop'; fields are sample_rate"),
    "spec value": (solved(spec={"hop_length": 0}), "hop_length=0 must be at least 1"),
    "spec flag": (solved(spec={"causal": "no"}), "causal='no' must be true or false"),
    "spec number": (solved(spec={"max_hz": True}), "max_hz=True must be no boolean"),
    "decoder field": (solved(decoder={"frames": 3}), "decoder: unknown field 'frames'"),
    "decoder kind": (solved(decoder={"kind": "best"}), "decoder kind='best' is unknown"),
    "scale": (solved(projections=["loud"]), "loud"),
    "scale type": (solved(projections=[1]), "must be names of scales"),
    "no step": (lapped(step=None), "field 'step' is missing"),
    "step type": (lapped(step="1"), "step='1' must be of type float"),
    "step value": (lapped(step=0.0), "step=0.0 must lie between"),
    "lapped field": (lapped(spec={"num_bins": 3}), "spec: unknown field 'num_bins'; fields are"),
    "lapped value": (lapped(spec={"hop_length": 63}), "hop_length=63 must be even"),
    "no file": (shipped(file=None), "field 'file' is missing"),
    "other file": (shipped(file="m.ckpt"), "file='m.ckpt' must be a .zip below the registry's"),
    "file above": (shipped(file="../m.zip"), "must be a .zip below"),
    "file elsewhere": (shipped(file="/m.zip"), "must be a .zip below"),
    "file of Windows": (shipped(file="a\\m.zip"), "must be a .zip below"),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_wrong_registry_entry_is_named(entry, tmp_path):
    values, message = ENTRIES[entry]
    path = registry_file(tmp_path, values)
    with pytest.raises(registry.RegistryError, match=message) as caught:
        registry.read_registry(path)
    assert str(caught.value).startswith(f"{path}: models['name']: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "registry.json: "),
        ("[]", "the registry must be an object"),
        ('{"format": 2, "models": {}}', "format=2: this version reads 1"),
        ('{"format": 1}', "field 'models' is missing"),
        ('{"format": 1, "models": {"a": {}, "a": {}}}', "'a' stands there twice"),
    ],
)
def test_wrong_registry_is_named(text, message, tmp_path):
    path = tmp_path / "registry.json"
    path.write_text(text)
    with pytest.raises(registry.RegistryError, match=message):
        registry.read_registry(path)


@pytest.mark.parametrize("name", ["https://x", "a/b", "A", "", ".hidden"])
def test_registry_names_are_no_paths_and_no_addresses(name, tmp_path):
    with pytest.raises(registry.RegistryError, match="a name is made of"):
        registry.read_registry(registry_file(tmp_path, solved(), name=name))
