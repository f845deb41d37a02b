"""Stored models: what comes back is what was stored, or an error that names the file."""

from __future__ import annotations

import fractions
import hashlib
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

import isincnet_jax as isn
from isincnet_jax import jax_names, linen
from isincnet_jax.bank import solve as decoding
from isincnet_jax.pretrained import members, model_kinds, stored, tensors
from isincnet_jax.pretrained.folder import export_pretrained
from isincnet_jax.pretrained.members import ModelFileError

SMALL = isn.FilterbankSpec(8000, 8, 17)
MEL = isn.FilterbankSpec(8000, 8, 40, scale="mel", component="real", causal=True, shape="gauss")
CASES = {
    "fixed": (SMALL, {}),
    "projections": (SMALL, {"projections": ("bark", "mel_slaney")}),
    "learnable": (SMALL, {"learnable_filters": True, "learnable_decoder": True}),
    "learnable window": (
        SMALL,
        {"learnable_filters": True, "window_terms": 2, "compute_dtype": jnp.bfloat16},
    ),
    "learnable filters": (MEL, {"learnable_filters": True}),
    "free decoder": (
        SMALL,
        {"learnable_decoder": True, "decoder": isn.DecoderSpec("free", 5, -2)},
    ),
    "wiener": (
        SMALL,
        {"decoder": isn.DecoderSpec("wiener", noise_variance=(0.1,) * 34, autocovariance=(1, 0.5))},
    ),
    "window with a parameter": (SMALL.replace(window=("kaiser", 8.0)), {}),
    "tight": (isn.FilterbankSpec(8000, 8, 17, tight=True), {}),
    "reference": (isn.FilterbankSpec.reference(sample_rate=8000, frame_rate=1000), {}),
    "bfloat16": (SMALL, {"learnable_decoder": True, "dtype": jnp.bfloat16}),
}
FORMS = ["model", "model.zip"]


def make(spec=SMALL, **options):
    """A codec whose parameters have moved, as after training."""
    codec = isn.build_codec(isn.SincNet(spec, **options))
    move = lambda x: (x.astype(np.float32) * 0.9 + 0.01).astype(x.dtype)  # noqa: E731
    params = jax.tree.map(move, codec.variables.get("params", {}))
    variables = {**codec.variables, "params": params} if params else codec.variables
    return codec.replace(variables=variables)


def load(path, **options):
    """What a folder or .zip holds, without a name and without the cache of decoders."""
    return stored.read_model(path).restore(**options)


def assert_same(loaded, codec):
    assert loaded.model == codec.model
    assert jax.tree.structure(loaded.variables) == jax.tree.structure(codec.variables)
    for found, expected in zip(
        jax.tree.leaves(loaded.variables), jax.tree.leaves(codec.variables), strict=True
    ):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.quick(6)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES)
def test_round_trip(case, form, tmp_path):
    spec, options = CASES[case]
    codec = make(spec, **options)
    path = export_pretrained(codec, tmp_path / form)
    assert os.listdir(tmp_path) == [form]  # nothing beside it
    loaded = load(path)
    assert_same(loaded, codec)
    assert loaded.name == str(path)


@pytest.mark.parametrize("case", ["fixed", "learnable", "learnable filters"])
def test_loaded_codec_computes_the_same(case, tmp_path, rng):
    spec, options = CASES[case]
    codec = make(spec, **options)
    loaded = isn.from_pretrained(export_pretrained(codec, tmp_path / "model"))
    waveform = rng.standard_normal((2, 101)).astype(np.float32)
    np.testing.assert_array_equal(loaded.encode(waveform), codec.encode(waveform))
    spectrogram = codec.encode(waveform)
    np.testing.assert_array_equal(loaded.decode(spectrogram), codec.decode(spectrogram))


def test_round_trip_in_double_precision(x64, tmp_path):
    codec = make(learnable_decoder=True, projections=("bark",), dtype=jnp.float64)
    path = export_pretrained(codec, tmp_path / "model")
    assert_same(load(path), codec)
    assert load(path, dtype=jnp.float32).variables["params"]["synthesis"]["kernels"].dtype == (
        np.float32
    )


def test_double_precision_without_x64(tmp_path):
    with jax_names.enable_x64(True):
        codec = make(learnable_decoder=True, dtype=jnp.float64)
        path = export_pretrained(codec, tmp_path / "model")
    with pytest.raises(ValueError, match=r"dtype=float64 needs jax_enable_x64; enable it, or load"):
        load(path)
    loaded = isn.from_pretrained(path, dtype=jnp.float32, precision="default")
    assert loaded.model == codec.model.clone(dtype=np.dtype("float32"), precision="default")
    kernels = np.asarray(codec.variables["params"]["synthesis"]["kernels"])
    np.testing.assert_array_equal(
        loaded.variables["params"]["synthesis"]["kernels"], kernels.astype(np.float32)
    )


def test_single_precision_is_cast_to_double(x64, tmp_path):
    codec = make(learnable_decoder=True)
    loaded = isn.from_pretrained(export_pretrained(codec, tmp_path / "model"), dtype=jnp.float64)
    assert loaded.encode(np.zeros(50)).dtype == np.float64
    for found, single in zip(
        jax.tree.leaves(loaded.variables), jax.tree.leaves(codec.variables), strict=True
    ):
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, single)


def test_cast_out_of_range_is_an_error(tmp_path):
    with jax_names.enable_x64(True):
        codec = make(learnable_decoder=True, dtype=jnp.float64)
        codec = codec.replace(variables=jax.tree.map(lambda x: x + 1e39, codec.variables))
        path = export_pretrained(codec, tmp_path / "model")
    with pytest.raises(ValueError, match="exceeds the range of float32"):
        load(path, dtype=jnp.float32)


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.complex64])
def test_models_work_in_floating_numbers(dtype, tmp_path):
    path = export_pretrained(make(), tmp_path / "model")
    with pytest.raises(TypeError, match="models work in floating numbers"):
        load(path, dtype=dtype)


def test_solution_of_a_folder_is_cached(tmp_path, monkeypatch):
    path = export_pretrained(make(MEL, learnable_decoder=True), tmp_path / "model")
    MEL.bank.decoders.clear()
    codec = isn.from_pretrained(path, cache_dir=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1
    MEL.bank.decoders.clear()
    monkeypatch.setattr(decoding, "_design_decoder", None)  # may not be solved again
    assert_same(isn.from_pretrained(path, cache_dir=tmp_path / "cache"), codec)


def test_bank_without_inverse_warns_whenever_it_is_loaded(tmp_path):
    spec = isn.FilterbankSpec(8000, 16, 4)
    for _ in range(2):
        spec.bank.decoders.clear()
        with pytest.warns(isn.NotInvertibleWarning):
            codec = isn.build_codec(isn.SincNet(spec))
        export_pretrained(codec, tmp_path / "model", overwrite=True)
        spec.bank.decoders.clear()
        with pytest.warns(isn.NotInvertibleWarning):
            isn.from_pretrained(tmp_path / "model", cache_dir=tmp_path / "cache")


# What is written.


def test_same_codec_gives_the_same_file(tmp_path):
    first = export_pretrained(make(learnable_decoder=True), tmp_path / "a.zip")
    second = export_pretrained(make(learnable_decoder=True), tmp_path / "b.zip")
    assert first.read_bytes() == second.read_bytes()


def test_zip_is_the_zipped_folder(tmp_path):
    codec = make()
    folder = export_pretrained(codec, tmp_path / "model")
    with zipfile.ZipFile(export_pretrained(codec, tmp_path / "model.zip")) as archive:
        assert archive.namelist() == sorted(os.listdir(folder))
        for name in os.listdir(folder):
            assert archive.read(name) == (folder / name).read_bytes()


def test_variables_are_plain_safetensors(tmp_path):
    codec = make(learnable_decoder=True)
    path = export_pretrained(codec, tmp_path / "model")
    kernels = codec.variables["params"]["synthesis"]["kernels"]
    found = safetensors.numpy.load_file(path / "model.safetensors")
    np.testing.assert_array_equal(found["params/synthesis/kernels"], kernels)


def test_config_says_what_it_is(tmp_path):
    path = export_pretrained(make(), tmp_path / "model", card={"snr_db": 12.5, "commit": "abc"})
    assert sorted(os.listdir(path)) == ["README.md", "config.json", "model.safetensors"]
    content = json.loads((path / "config.json").read_text())
    assert content["format"] == 2
    assert content["kind"] == "sincnet"
    assert content["library"] == f"isincnet_jax {isn.__version__}"
    assert content["model"]["spec"] == SMALL.to_dict()
    data = (path / "model.safetensors").read_bytes()
    assert content["weights_sha256"] == hashlib.sha256(data).hexdigest()
    assert stored.read_model(path).card == {"snr_db": 12.5, "commit": "abc"}


def test_readme_is_a_model_card(tmp_path):
    card = {"license": "mit: yes", "scores": {"test": {"snr_db": 12.5}}, "note": "a|b\nc \ud800é"}
    path = export_pretrained(make(learnable_decoder=True), tmp_path / "model", card=card)
    _, front, text = (path / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert front == (
        "library_name: isincnet_jax\ntags:\n- audio\n- jax\n- flax\n- sincnet\n"
        'license: "mit: yes"\n'
    )
    kernels = make(learnable_decoder=True).variables["params"]["synthesis"]["kernels"]
    assert f"{kernels.size:,} parameters, stored as float32." in text
    assert "| spec.hop_length | 8 |" in text
    assert "| scores.test.snr_db | 12.5 |" in text
    assert "| note | a\\|b c \\ud800é |" in text
    assert "isn.from_pretrained(" in text
    (path / "README.md").unlink()  # for people only
    assert_same(load(path), make(learnable_decoder=True))


def test_card_may_be_edited_by_hand(tmp_path):
    codec = make()
    path = export_pretrained(codec, tmp_path / "model", card={"note": "old"}) / "config.json"
    path.write_text(path.read_text().replace("old", "new"))
    assert stored.read_model(path.parent).card == {"note": "new"}
    assert_same(load(path.parent), codec)


@pytest.mark.parametrize(
    ("card", "error", "message"),
    [
        ({"loss": float("nan")}, ValueError, "leave such numbers out"),
        ({"array": np.zeros(2)}, TypeError, "convert it to numbers and text"),
        (["no dictionary"], TypeError, "must be a dictionary"),
    ],
)
def test_bad_card_is_refused(card, error, message, tmp_path):
    with pytest.raises(error, match=message):
        export_pretrained(make(), tmp_path / "model", card=card)
    assert os.listdir(tmp_path) == []


def with_kernels(change):
    codec = make(learnable_decoder=True)
    kernels = change(codec.variables["params"]["synthesis"]["kernels"])
    return codec.replace(
        variables={**codec.variables, "params": {"synthesis": {"kernels": kernels}}}
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x.at[3, 4].set(jnp.nan), ValueError, "kernels' holds NaN or infinity"),
        (lambda x: x[:-1], ValueError, r"float32 of shape \(33, 32\), the model has float32 of"),
        (lambda x: x.astype(jnp.bfloat16), ValueError, "bfloat16 of shape"),
        (lambda x: {"inner": x}, ValueError, "'params/synthesis/kernels' is missing"),
        (lambda _: jax.random.key(0), TypeError, "."),
        (lambda _: 1.0, TypeError, "is a float, not an array"),
    ],
)
def test_variables_that_are_not_the_models_are_refused(change, error, message, tmp_path):
    with pytest.raises(error, match=message):
        export_pretrained(with_kernels(change), tmp_path / "model")
    assert os.listdir(tmp_path) == []


def test_surplus_variables_are_refused(tmp_path):
    codec = make()
    codec = codec.replace(variables={**codec.variables, "params": {"more": np.zeros(2)}})
    with pytest.raises(ValueError, match="'params/more' is none of the model's"):
        export_pretrained(codec, tmp_path / "model")


class Other(isn.SincNet):
    """A subclass may compute something else: it is another kind."""


def test_unknown_models_are_refused(tmp_path):
    codec = isn.build_codec(Other(SMALL))
    with pytest.raises(TypeError, match="a Other cannot be stored; this version stores SincNet"):
        export_pretrained(codec, tmp_path / "model")


def test_fields_that_json_cannot_hold_are_refused(tmp_path):
    decoder = isn.DecoderSpec("wiener", noise_variance=fractions.Fraction(1, 10))
    with pytest.raises(TypeError, match="cannot be stored as JSON"):
        export_pretrained(isn.build_codec(isn.SincNet(SMALL, decoder)), tmp_path / "model")


def test_fields_that_change_in_json_are_refused(tmp_path):
    codec = isn.build_codec(isn.SincNet(SMALL, learnable_decoder=False))
    codec = codec.replace(model=codec.model.clone(projections=["bark"]))
    with pytest.raises(TypeError, match="is not the sincnet that its stored fields make"):
        export_pretrained(codec, tmp_path / "model")


# Where it is written: whole or not at all, and over nothing else.


@pytest.mark.parametrize("form", FORMS)
def test_existing_model_is_replaced_only_when_asked(form, tmp_path):
    old, new = make(), make(learnable_decoder=True)
    path = export_pretrained(old, tmp_path / form)
    with pytest.raises(FileExistsError, match=f"{form}: exists; .* overwrite=True"):
        export_pretrained(new, path)
    assert_same(load(path), old)
    assert_same(load(export_pretrained(new, path, overwrite=True)), new)
    assert os.listdir(tmp_path) == [form]


def test_nothing_but_a_model_is_ever_replaced(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("years")
    (tmp_path / "folder.zip").mkdir()
    (tmp_path / "file").write_text("")
    for name, message in [
        ("work", r"holds 'thesis\.tex'"),
        ("folder.zip", "is a folder"),
        ("file", "is a file"),
    ]:
        with pytest.raises(FileExistsError, match=message):
            export_pretrained(make(), tmp_path / name, overwrite=True)
    assert (tmp_path / "work" / "thesis.tex").read_text() == "years"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.zip", "work"]


@pytest.mark.parametrize("form", FORMS)
def test_missing_parent_is_named(form, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing; create it first"):
        export_pretrained(make(), tmp_path / "missing" / form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("overwrite", [False, True])
def test_full_disk_leaves_what_was_there(form, overwrite, tmp_path, monkeypatch):
    old = make()
    if overwrite:
        export_pretrained(old, tmp_path / form)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"{form}: cannot be written: No space left"):
        export_pretrained(make(learnable_decoder=True), tmp_path / form, overwrite=overwrite)
    assert os.listdir(tmp_path) == ([form] if overwrite else [])
    if overwrite:
        assert_same(load(tmp_path / form), old)


def test_failing_rename_brings_the_old_folder_back(tmp_path, monkeypatch):
    old = make()
    path = export_pretrained(old, tmp_path / "model")
    rename = os.rename

    def fail(source, target):
        if Path(target) == path and not Path(source).name.endswith(".replaced"):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="Input/output error"):
        export_pretrained(make(learnable_decoder=True), path, overwrite=True)
    assert os.listdir(tmp_path) == ["model"]
    assert_same(load(path), old)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_result_has_the_permissions_of_new_files(tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain.zip").write_text("")
    for form in FORMS:
        path = export_pretrained(make(), tmp_path / form)
        expected = (tmp_path / form.replace("model", "plain")).stat().st_mode
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(expected)


# What is read: intact, or an error that names the file.


def rewrite(path, edit=lambda _: None, *, weights=None):
    """Edits config.json and makes its digests right again: what only a hand can do."""
    content = json.loads((path / "config.json").read_text())
    if weights is not None:
        (path / "model.safetensors").write_bytes(weights)
        content["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    edit(content)
    content["sha256"] = stored.digest_of(content)
    (path / "config.json").write_text(json.dumps(content))


def setting(*keys):
    """An edit that sets a value by its path of keys."""

    def edit(content):
        for key in keys[:-2]:
            content = content[key]
        content[keys[-2]] = keys[-1]

    return edit


def without(*keys):
    def edit(content):
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return edit


EDITS = {
    "other format": (setting("format", 3), r"config\.json: format=3, written by .*reads 2"),
    "unknown kind": (setting("kind", "tokens"), r"kind='tokens' is unknown; this version knows"),
    "no kind": (without("kind"), r"config\.json: field 'kind' is missing"),
    "no digest": (without("weights_sha256"), "field 'weights_sha256' is missing"),
    "no spec": (without("model", "spec"), "fields of no sincnet"),
    "spec is null": (setting("model", "spec", None), r"config\.json: .*NoneType"),
    "unknown projection": (setting("model", "projections", ["no scale"]), "no scale"),
    "spec of another version": (setting("model", "spec", "new", 1), "fields of no sincnet.*'new'"),
    "impossible spec": (setting("model", "spec", "hop_length", 80), "fields of no sincnet"),
    "enormous spec": (setting("model", "spec", "num_bins", 10**15), "fields of no sincnet"),
    "another spec": (setting("model", "spec", "num_bins", 19), r"\(34, 32\), the model has"),
    "another solution": (setting("model", "synthesis", "lead", 8), "synthesis={'lead': 8"),
    "unknown field": (setting("model", "more", 8), "fields of no sincnet.*'more'"),
    "model is text": (setting("model", "text"), "fields of no sincnet"),
    "unknown dtype": (setting("dtype", "float7"), "float7"),
    "card is text": (setting("card", "text"), "card='text' is no object"),
}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A stored codec, never changed, and the codec."""
    codec = make(learnable_decoder=True)
    return export_pretrained(codec, tmp_path_factory.mktemp("stored") / "model"), codec


@pytest.fixture
def copy(original, tmp_path):
    return Path(shutil.copytree(original[0], tmp_path / "model"))


@pytest.mark.parametrize("edit", EDITS)
def test_edited_model_is_refused(edit, copy):
    change, message = EDITS[edit]
    rewrite(copy, change)
    for read in (load, isn.from_pretrained):
        with pytest.raises(ModelFileError, match=message) as caught:
            read(copy)
        assert str(copy) in str(caught.value)


def test_any_edit_without_its_digest_is_refused(copy):
    path = copy / "config.json"
    path.write_text(path.read_text().replace('"sample_rate": 8000', '"sample_rate": 8001'))
    with pytest.raises(ModelFileError, match=r"config\.json: altered: sha256 is"):
        load(copy)


KERNELS = "params/synthesis/kernels"
VARIABLES = {
    "NaN": (lambda a: {**a, KERNELS: a[KERNELS] * np.nan}, "holds NaN or infinity"),
    "infinity": (lambda a: {**a, KERNELS: a[KERNELS] + np.inf}, "holds NaN or infinity"),
    "missing": (
        lambda a: {k: v for k, v in a.items() if k != KERNELS},
        "variable 'params/synthesis/kernels' is missing",
    ),
    "surplus": (lambda a: {**a, "params/x": a[KERNELS]}, "'params/x' is none of the model's"),
    "shape": (lambda a: {**a, KERNELS: a[KERNELS][:, :8]}, r"of shape \(34, 8\)"),
    "dtype": (lambda a: {**a, KERNELS: a[KERNELS].astype(np.float16)}, "float16 of shape"),
}


@pytest.mark.parametrize("change", VARIABLES)
def test_other_variables_are_refused(change, copy):
    edit, message = VARIABLES[change]
    values = edit(safetensors.numpy.load_file(copy / "model.safetensors"))
    rewrite(copy, weights=safetensors.numpy.save(values))
    with pytest.raises(ModelFileError, match=message):
        load(copy)


def with_header(header, values=b"", *, length=None):
    """Safetensors bytes with a header of any content, and maybe of another stated length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + values


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HEADERS = {
    "nothing": (b"", r"0 bytes that claim a header of 0"),
    "no header": (b"\x01\0\0", r"3 bytes that claim a header of 1"),
    "header beyond the file": (with_header({}, length=3), r"10 bytes that claim a header of 3"),
    "enormous header": (with_header({}, length=1 << 62), "bytes that claim a header of 4611"),
    "large header": (with_header(b"{}".ljust(1 << 21)), "bytes that claim a header of 2097152"),
    "header of no JSON": (with_header(b"{" * 1000), r"safetensors: "),
    "header of nested JSON": (with_header(b"[" * 100_000), r"safetensors: "),
    "header is a list": (with_header([]), r"safetensors: "),
    "entry of no object": (with_header({"a": 1}), r"safetensors: "),
    "size is text": (with_header({"a": entry(offsets=(0, "4"))}, bytes(4)), r"safetensors: "),
    "more values": (with_header({"a": entry()}, bytes(5)), r"\d+ bytes, its header describes"),
    "fewer values": (with_header({"a": entry()}, bytes(3)), r"\d+ bytes, its header describes"),
    "shape of another size": (with_header({"a": entry(shape=(2,))}, bytes(4)), r"safetensors: "),
    "negative shape": (with_header({"a": entry(shape=(-1,))}, bytes(4)), r"safetensors: "),
    "a hole": (with_header({"a": entry(offsets=(4, 8))}, bytes(8)), r"safetensors: "),
    "an overlap": (with_header({"a": entry(), "b": entry()}, bytes(4)), r"safetensors: "),
    "unknown dtype": (with_header({"a": entry("object")}, bytes(4)), r"safetensors: "),
    "complex": (with_header({"a": entry("C64", offsets=(0, 8))}, bytes(8)), r"safetensors: "),
    "pickle": (b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x02os\x94", "that claim a header of"),
}


@pytest.mark.parametrize("header", HEADERS)
def test_other_headers_are_refused(header, copy):
    weights, message = HEADERS[header]
    rewrite(copy, weights=weights)
    with pytest.raises(ModelFileError, match=message) as caught:
        load(copy)
    assert str(caught.value).startswith(f"{copy}: model.safetensors: ")


def test_altered_variables_are_named(copy):
    path = copy / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ModelFileError, match=r"truncated or altered: sha256 is \w+ of \d+ bytes"):
        load(copy)
    path.write_bytes(data[:1000])
    message = rf"{copy}: model\.safetensors: is of 1000 bytes, its header describes {len(data)}"
    with pytest.raises(ModelFileError, match=message):
        load(copy)


@pytest.mark.parametrize("name", [members.CONFIG, members.WEIGHTS])
def test_missing_file_is_named(name, copy):
    (copy / name).unlink()
    with pytest.raises(ModelFileError, match=f"has no {name}; not a folder of export_pretrained"):
        isn.from_pretrained(copy)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "{" * 100_000, '{"format": NaN}', "\0"])
def test_other_json_is_refused(text, copy):
    (copy / "config.json").write_text(text)
    with pytest.raises(ModelFileError, match=r"config\.json: "):
        load(copy)


def test_too_large_files_are_not_read(copy, monkeypatch):
    monkeypatch.setitem(members._LARGEST, members.WEIGHTS, 100)
    with pytest.raises(ModelFileError, match="larger than any model"):
        load(copy)
    contents = {name: (copy / name).read_bytes() for name in members._LARGEST}
    archive = zip_of(copy.parent / "x.zip", contents.items())
    with pytest.raises(ModelFileError, match=r"x\.zip: model\.safetensors is over 100 bytes"):
        load(archive)


def test_nothing_there_is_said_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder or file"):
        load(tmp_path / "model")


def zip_of(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names",
    [
        [],
        ["config.json"],
        ["config.json", "README.md"],
        ["config.json", "model.safetensors", "setup.py"],
        ["config.json", "model.safetensors", "model.safetensors"],
        ["config.json", "model.safetensors", "README.md", "README.md"],
        ["config.json", "../model.safetensors"],
        ["config.json", "/model.safetensors"],
        ["model/config.json", "model/model.safetensors"],
    ],
)
def test_zip_with_other_members_is_refused(names, original, tmp_path):
    contents = members.read_members(original[0])
    entries = [(name, contents.get(Path(name).name, b"")) for name in names]
    with pytest.raises(ModelFileError, match=r"expected config\.json and model\.safetensors, once"):
        load(zip_of(tmp_path / "x.zip", entries))
    assert os.listdir(tmp_path) == ["x.zip"]


def test_zip_made_by_hand_is_read(original, tmp_path):
    entries = members.read_members(original[0]).items()
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    assert_same(load(tmp_path / "x.zip"), original[1])


@pytest.mark.parametrize("form", FORMS)
def test_models_of_the_first_format_say_what_to_do(form, tmp_path):
    path, files = tmp_path / form, ("model.json", "variables.npz")
    if form == "model.zip":
        zip_of(path, [(name, b"") for name in files])
    else:
        path.mkdir()
        for name in files:
            (path / name).write_bytes(b"")
    message = (
        r"model.json and variables.npz, format 1 of an earlier version; .* export the model again "
        "from its run, or load it with the version that wrote it"
    )
    with pytest.raises(ModelFileError, match=message) as caught:
        isn.from_pretrained(path)
    assert str(path) in str(caught.value)
    assert_same(load(export_pretrained(make(), path, overwrite=True)), make())


def corrupted(data, draw):
    """One accident: bytes flipped, cut off, cut out, or put in."""
    start = draw(st.integers(0, len(data) - 1))
    end = min(start + draw(st.integers(1, 64)), len(data))
    accident = draw(st.sampled_from(["flip", "truncate", "remove", "insert", "zero"]))
    if accident == "flip":
        mask = draw(st.integers(1, 255))
        return data[:start] + bytes([data[start] ^ mask]) + data[start + 1 :]
    if accident == "truncate":
        return data[:start]
    if accident == "insert":
        return data[:start] + draw(st.binary(min_size=1, max_size=64)) + data[start:]
    middle = bytes(end - start) if accident == "zero" else b""
    return data[:start] + middle + data[end:]


@settings(max_examples=150)
@given(data=st.data())
def test_corruption_is_an_error_or_harmless(data, original, tmp_path_factory):
    folder, codec = original
    contents = members.read_members(folder)
    scratch = tmp_path_factory.mktemp("corrupt")
    form = data.draw(st.sampled_from(["config.json", "model.safetensors", "zip"]))
    if form == "zip":
        path = zip_of(scratch / "model.zip", contents.items())
        path.write_bytes(corrupted(path.read_bytes(), data.draw))
    else:
        path = Path(shutil.copytree(folder, scratch / "model"))
        (path / form).write_bytes(corrupted(contents[form], data.draw))
    try:
        loaded = load(path)
    except ModelFileError as error:
        loaded, message = None, str(error)
    shutil.rmtree(scratch)
    if loaded is None:
        assert str(path) in message
    else:
        assert_same(loaded, codec)


names = st.text("abc/é", min_size=1, max_size=8)
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
dtypes = st.sampled_from(list(tensors.DTYPES.values()))


@given(
    wanted=st.dictionaries(names, st.tuples(shapes, dtypes), max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_arrays_come_back_bit_by_bit(wanted, seed):
    rng = np.random.default_rng(seed)
    values = {
        name: np.asarray(rng.integers(0, 100, shape)).astype(dtype)
        for name, (shape, dtype) in wanted.items()
    }
    data = tensors.pack(values)
    again = tensors.unpack(data)
    assert again.keys() == values.keys()
    for name, expected in values.items():
        assert (again[name].dtype, again[name].shape) == (expected.dtype, expected.shape)
        assert again[name].tobytes() == expected.tobytes()
    assert tensors.pack(dict(reversed(values.items()))) == data


@pytest.mark.parametrize("array", [np.ones(2, ">f4"), np.ones((2, 3), order="F"), np.ones(6)[::2]])
def test_arrays_of_any_layout_are_stored_as_numbers(array):
    array = array + np.arange(array.size, dtype=array.dtype).reshape(array.shape, order="F")
    np.testing.assert_array_equal(tensors.unpack(tensors.pack({"x": array}))["x"], array)


@pytest.mark.parametrize("dtype", [np.complex64, object, "U3", jnp.float8_e4m3fn])
def test_arrays_of_other_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match=r"variable 'x' of type .* cannot be stored"):
        tensors.pack({"x": np.zeros(2, dtype)})


# Other kinds of models.


class Gain(nn.Module):
    channels: int
    offset: float = 0.0
    dtype: object = jnp.float32
    precision: object = None

    @nn.compact
    def __call__(self, x):
        return self.offset + x * self.param(
            "gain", nn.initializers.ones, (self.channels,), self.dtype
        )


class GainModel:
    def __init__(self, model, variables, name="custom"):
        self.model, self.variables, self.name = model, variables, name


GAIN = model_kinds.ModelKind(
    "gain",
    Gain,
    lambda model: {"channels": model.channels},
    inputs=lambda model: (jax.ShapeDtypeStruct((2, model.channels), model.dtype),),
    wrap=GainModel,
)


def test_another_kind_is_one_entry(tmp_path, monkeypatch):
    monkeypatch.setattr(model_kinds, "KINDS", (*model_kinds.KINDS, GAIN))
    model = GainModel(Gain(3), {"params": {"gain": jnp.asarray([1.0, 2.0, 3.0])}})
    path = export_pretrained(model, tmp_path / "gain.zip")
    loaded = isn.from_pretrained(path)
    assert isinstance(loaded, GainModel)
    assert loaded.model.channels == 3
    np.testing.assert_array_equal(loaded.variables["params"]["gain"], [1.0, 2.0, 3.0])
    forgotten = GainModel(Gain(3, offset=1.0), model.variables)  # the kind knows no offset
    with pytest.raises(TypeError, match="is not the gain that its stored fields make"):
        export_pretrained(forgotten, tmp_path / "forgotten")
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match="kind='gain' is unknown; this version knows sincnet"):
        load(path)


class Smoother(nn.Module):
    spec: isn.FilterbankSpec
    working_spec: isn.FilterbankSpec | None = None
    decoder: isn.DecoderSpec = isn.DecoderSpec()
    widths: tuple[int, ...] = (3,)
    compute_dtype: object = None
    dtype: object = jnp.float32
    precision: object = None

    @nn.compact
    def __call__(self, waveform):
        for width in self.widths:
            waveform = nn.Conv(1, (width,), dtype=self.dtype)(waveform[..., None])[..., 0]
        return waveform


def test_entry_without_options_suits_a_module_of_plain_attributes(tmp_path, monkeypatch):
    monkeypatch.setattr(
        model_kinds, "KINDS", (*model_kinds.KINDS, model_kinds.ModelKind("smoother", Smoother))
    )
    module = Smoother(SMALL, working_spec=MEL, widths=(3, 5), compute_dtype=jnp.bfloat16)
    variables = module.init(jax.random.key(0), np.zeros((1, 20), np.float32))
    path = export_pretrained(linen.TrainedModel(module, variables), tmp_path / "smoother")
    loaded = load(path, precision=None)
    assert isinstance(loaded, linen.TrainedModel)
    assert_same(loaded, linen.TrainedModel(module, variables))
    for spec in (None, SMALL):
        other = linen.TrainedModel(module.clone(working_spec=spec), variables)
        export_pretrained(other, path, overwrite=True)
        assert load(path).model.working_spec == spec


def test_fields_that_came_later_have_their_defaults(copy, original):
    def forget(content):
        del content["model"]["spec"]["tight"], content["model"]["learnable_filters"]

    rewrite(copy, forget)
    assert_same(load(copy), original[1])


# What a name means.


def test_preset_name_wins_over_a_folder(tmp_path, monkeypatch):
    codec = make()
    export_pretrained(codec, tmp_path / "16khz-linear")
    monkeypatch.chdir(tmp_path)
    assert isn.from_pretrained("16khz-linear").spec == isn.PRESETS["16khz-linear"].spec
    assert_same(isn.from_pretrained("./16khz-linear"), codec)


@pytest.mark.parametrize("name", ["x.zip", "some/where", "", "model.ckpt", "nul\0"])
def test_what_is_nothing_is_answered_with_what_there_is(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model.ckpt").write_text("a file, but no .zip")
    message = r"no preset .*presets: 16khz-linear, .* folder or \.zip .* https:// address"
    with pytest.raises(ValueError, match=message):
        isn.from_pretrained(name)


def test_digest_belongs_to_an_address(tmp_path):
    path = export_pretrained(make(), tmp_path / "model")
    for name in (path, "16khz-linear"):
        with pytest.raises(ValueError, match="belongs to an address"):
            isn.from_pretrained(name, sha256="0" * 64)


@pytest.mark.quick(0)
def test_export_and_load_need_no_other_framework(tmp_path):
    path = export_pretrained(make(), tmp_path / "model.zip")
    code = (
        "import sys, isincnet_jax\n"
        f"isincnet_jax.from_pretrained({str(path)!r})\n"
        "assert not {'tensorflow', 'torch', 'matplotlib', 'orbax'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [200 << 20, 1 << 30])
def test_a_member_larger_than_it_says_is_refused_before_it_is_read(form, size, tmp_path):
    path = export_pretrained(make(), tmp_path / form)
    if path.is_dir():
        os.truncate(path / members.WEIGHTS, size)
    else:
        contents = members.read_members(path)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(members.CONFIG, contents[members.CONFIG])
            archive.writestr(members.WEIGHTS, contents[members.WEIGHTS])
        claimed = struct.pack("<I", len(contents[members.WEIGHTS]))
        data = path.read_bytes().replace(2 * claimed, 2 * struct.pack("<I", size))
        path.write_bytes(data)  # both its sizes, stored and plain
    tracemalloc.start()
    message = f"is of {size} bytes, its header" if size < 1 << 29 else "larger than any model"
    try:
        with pytest.raises(ModelFileError, match=rf"{members.WEIGHTS}:? .*{message}"):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_small_member_that_claims_to_be_large_is_refused(tmp_path):
    path = export_pretrained(make(), tmp_path / "model.zip")
    contents = members.read_members(path)
    size = 100 << 20
    weights = with_header({"a": entry(shape=(size // 4,), offsets=(0, size))}, bytes(size))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(members.CONFIG, contents[members.CONFIG])
        archive.writestr(members.WEIGHTS, weights)
    with pytest.raises(ModelFileError, match="bytes that claim to be"):
        load(path)
