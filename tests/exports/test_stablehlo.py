"""Exported programs run without the package, for any batch and length, and equal the codec."""

from __future__ import annotations

import datetime
import functools
import json
import subprocess
import sys

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax.bank.lapped_bank import LappedBank
from isincnet_jax.bank.lapped_codec import build_lapped_codec
from isincnet_jax.bank.lapped_spec import LappedSpec
from isincnet_jax.exports import stablehlo

GEOMETRY = {"sample_rate": 8000, "hop_length": 16, "num_bins": 17, "shape": "none"}
KINDS = {
    "zeros": {},
    "causal": {"causal": True, "component": "real", "num_bins": 24},
    "even": {"kernel_size": 64, "num_bins": 24},
    "reflect": {"padding": "reflect"},
    "reflect, causal": {"padding": "reflect", "causal": True, "num_bins": 24},
    "reflect, learnable": {"padding": "reflect"},
}
# Sums of a few hundred terms below 1, in another order.
TOLERANCE = 2e-6

OUTSIDER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("isincnet_jax", "flax", "optax", "librosa"):
            raise ImportError(f"{name} is not installed here")
        return None

sys.meta_path.insert(0, Blocker())
import jax, jax.export
import numpy as np

try:
    import isincnet_jax
except ImportError:
    pass
else:
    raise SystemExit("the package was found")
folder = sys.argv[1]
given = np.load(f"{folder}/given.npz")
found = {}
for part, inputs in (("encode", "waveform"), ("decode", "spectrogram"), ("round-trip", "waveform")):
    with open(f"{folder}/{part}.stablehlo", "rb") as file:
        program = jax.export.deserialize(file.read())
    for size in ("short", "long"):
        found[f"{part} {size}"] = np.asarray(program.call(given[f"{inputs} {size}"]))
np.savez(f"{folder}/found.npz", **found)
assert not any(name.split(".")[0] == "isincnet_jax" for name in sys.modules)
"""


@functools.cache
def _codec(kind: str) -> isn.Codec:
    spec = isn.FilterbankSpec(**{**GEOMETRY, **KINDS[kind]})
    return isn.build_codec(isn.SincNet(spec, learnable_decoder="learnable" in kind))


@functools.cache
def _program(kind: str, part: str) -> stablehlo.Program:
    return stablehlo.export_program(_codec(kind), part=part, platforms=("cpu",))


@functools.cache
def _load(kind: str, part: str):
    return jax.export.deserialize(_program(kind, part).data)


def _noise(batch: int, length: int) -> np.ndarray:
    return np.random.default_rng(length).uniform(-1, 1, (batch, length)).astype(np.float32)


@pytest.mark.quick(0)
def test_programs_run_where_the_package_is_missing(tmp_path):
    codec, given, wanted = _codec("zeros"), {}, {}
    for size, batch, length in (("short", 1, 7), ("long", 3, 1003)):
        waveform = _noise(batch, length)
        spectrogram = np.asarray(codec.encode(waveform))
        given[f"waveform {size}"], given[f"spectrogram {size}"] = waveform, spectrogram
        wanted[f"encode {size}"] = spectrogram
        wanted[f"decode {size}"] = np.asarray(codec.decode(spectrogram))
        wanted[f"round-trip {size}"] = np.asarray(codec.decode(spectrogram, length=length))
    np.savez(tmp_path / "given.npz", **given)
    for part in ("encode", "decode", "round-trip"):
        stablehlo.write_program(tmp_path / f"{part}.stablehlo", _program("zeros", part))
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDER, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as found:
        assert set(found) == set(wanted)
        for name, value in wanted.items():
            assert found[name].shape == value.shape
            np.testing.assert_allclose(found[name], value, atol=TOLERANCE, err_msg=name)


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "kind", ["causal", "even", "reflect", "reflect, causal", "reflect, learnable"]
)
def test_round_trips_equal_the_codec(kind):
    codec = _codec(kind)
    for batch, length in ((1, 640), (2, 16 * 73)):
        waveform = _noise(batch, length)
        found = _load(kind, "round-trip").call(waveform)
        whole = codec.decode(codec.encode(waveform), length=length)
        np.testing.assert_allclose(np.asarray(found), np.asarray(whole), atol=TOLERANCE)


@pytest.mark.quick(0)
@pytest.mark.parametrize("kind", KINDS)
def test_all_parts_equal_the_codec_at_any_length(kind):
    codec = _codec(kind)
    for length in (32, 33, 47, 400, 1009):
        waveform = _noise(2, length)
        spectrogram = codec.encode(waveform)
        found = np.asarray(_load(kind, "encode").call(waveform))
        np.testing.assert_allclose(found, np.asarray(spectrogram), atol=TOLERANCE)
        if kind in ("reflect", "reflect, causal") and spectrogram.shape[1] < 30:
            continue
        found = np.asarray(_load(kind, "decode").call(spectrogram))
        longest = codec.decode(spectrogram).shape[-1]
        # Solved edges are those of whole hops.
        assert found.shape[-1] == (longest // 16 * 16 if kind == "reflect, causal" else longest)
        whole = codec.decode(spectrogram, length=found.shape[-1])
        np.testing.assert_allclose(found, np.asarray(whole), atol=TOLERANCE)


@pytest.mark.quick(1)
@pytest.mark.parametrize("framing", ["tiled", "zeros"])
@pytest.mark.parametrize("learnable", [False, True])
def test_lapped_banks_take_whole_hops(framing, learnable):
    spec = LappedSpec(sample_rate=8000, hop_length=16, framing=framing)
    codec = build_lapped_codec(LappedBank(spec, learnable=learnable))
    program = {
        part: stablehlo.export_program(codec, part=part, platforms=("cpu", "cuda", "tpu"))
        for part in ("encode", "decode", "round-trip")
    }
    run = {part: jax.export.deserialize(bytearray(one.data)).call for part, one in program.items()}
    for batch, length in ((1, 32), (2, 16 * 73)):
        waveform = _noise(batch, length)
        spectrogram = np.asarray(codec.encode(waveform))
        np.testing.assert_allclose(run["encode"](waveform), spectrogram, atol=TOLERANCE)
        np.testing.assert_allclose(run["decode"](spectrogram), waveform, atol=TOLERANCE)
        np.testing.assert_allclose(run["round-trip"](waveform), waveform, atol=TOLERANCE)
    assert program["encode"].description["constraints"] == ["batch >= 1", "blocks >= 2"]
    with pytest.raises(ValueError, match="remainder 1 when computing the value of 'blocks'"):
        run["round-trip"](_noise(1, 641))


def test_descriptions_say_what_goes_in_and_out(tmp_path):
    beside = stablehlo.write_program(tmp_path / "out.stablehlo", _program("zeros", "encode"))
    assert beside.name == "out.stablehlo.json"
    found = json.loads(beside.read_text())
    assert found["inputs"] == [{"name": "waveform", "shape": ["batch", "time"], "dtype": "float32"}]
    assert found["outputs"][0]["name"] == "spectrogram"
    assert found["outputs"][0]["shape"][::2] == ["batch", 34]
    frames = eval(found["outputs"][0]["shape"][1], {"floordiv": lambda a, b: a // b, "time": 1003})
    assert frames == _codec("zeros").num_frames(1003)
    assert (found["part"], found["sample_rate"], found["hop_length"]) == ("encode", 8000, 16)
    assert isn.FilterbankSpec.from_dict(found["spec"]) == _codec("zeros").spec
    assert f"6 months after JAX {jax.__version__}" in found["promised_to_load"]
    datetime.date.fromisoformat(found["made"])
    assert found["constraints"] == ["batch >= 1", "time >= 1"]
    weights = 4 * 34 * 65
    assert weights < (tmp_path / "out.stablehlo").stat().st_size < weights + 16_000


def test_shapes_that_cannot_be_are_refused():
    # XLA swallows the constraint that fails and reports that shapes could not be refined.
    with pytest.raises(ValueError, match="shapes"):
        _load("reflect, learnable", "round-trip").call(_noise(1, 31))
    with pytest.raises(ValueError, match="remainder 1 when computing the value of 'blocks'"):
        _load("reflect", "round-trip").call(_noise(1, 641))
    with pytest.raises(ValueError, match="shapes"):
        _load("reflect", "round-trip").call(_noise(1, 160))


def test_several_platforms():
    program = stablehlo.export_program(_codec("zeros"), part="decode", platforms=("cpu", "tpu"))
    assert program.description["platforms"] == ["cpu", "tpu"]
    spectrogram = np.asarray(_codec("zeros").encode(_noise(1, 100)))
    found = jax.export.deserialize(program.data).call(spectrogram)
    np.testing.assert_allclose(
        np.asarray(found), np.asarray(_codec("zeros").decode(spectrogram)), atol=TOLERANCE
    )


def test_what_cannot_be_exported_is_refused():
    codec = _codec("zeros")
    with pytest.raises(ValueError, match="use encode, decode, round-trip"):
        stablehlo.export_program(codec, part="everything")  # type: ignore[arg-type]
    for platforms in ((), ("abacus",)):
        with pytest.raises(ValueError, match="use some of cpu, cuda, rocm, tpu"):
            stablehlo.export_program(codec, platforms=platforms)
    model = isn.SincNet(codec.spec, learnable_decoder=True, compute_dtype=jnp.bfloat16)
    with pytest.raises(ValueError, match="compute_dtype"):
        stablehlo.export_program(isn.build_codec(model))
