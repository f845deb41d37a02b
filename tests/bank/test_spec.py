"""FilterbankSpec: validation, settled values, serialisation and the reference's geometries."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isincnet_jax import FilterbankSpec


def test_defaults_are_settled_from_the_geometry():
    spec = FilterbankSpec(sample_rate=22_050, hop_length=172, num_bins=64)
    assert (spec.kernel_size, spec.min_hz, spec.max_hz) == (689, 0.0, 11_025.0)
    assert spec.num_channels == 128
    assert spec.frame_rate_hz == pytest.approx(22_050 / 172)
    assert spec.redundancy == pytest.approx(128 / 172)


def test_log_scale_starts_at_c1():
    assert FilterbankSpec(scale="log").min_hz == pytest.approx(32.703, abs=1e-3)


def test_aliases_are_settled():
    assert FilterbankSpec(scale="mel") == FilterbankSpec(scale="mel_slaney")
    assert FilterbankSpec(num_bins=np.int64(128)) == FilterbankSpec()  # type: ignore[arg-type]


def test_real_bank_has_one_channel_per_bin():
    assert FilterbankSpec(component="real").num_channels == 128


BAD_VALUES = [
    ({"component": "imaginary"}, "component='imaginary' is unknown; use real, complex"),
    ({"normalization": "l7"}, "normalization='l7' is unknown; use l1"),
    ({"padding": "same"}, "padding='same' is unknown; use zeros, reflect"),
    ({"dialect": "0.4"}, "dialect='0.4' is unknown; use native"),
    ({"shape": "box"}, "shape='box' is unknown; use one of none, sinc"),
    ({"scale": "cent"}, "scale='cent' is unknown; use one of linear"),
    ({"window": "hann?"}, r"window='hann\?' is unknown"),
    ({"hop_length": 0}, "hop_length=0 must be at least 1"),
    ({"sample_rate": -1}, "sample_rate=-1 must be at least 1"),
    ({"num_bins": 1}, "num_bins=1: a bank needs at least 2 bins"),
    ({"hop_length": 512, "kernel_size": 401}, "use hop_length <= 401"),
    ({"max_hz": 8001.0}, "use max_hz <= 8000.0"),
    ({"min_hz": 9000.0}, "min_hz=9000.0 must lie below max_hz=8000.0"),
    ({"min_hz": -5.0}, "min_hz=-5.0 is negative"),
    ({"scale": "log", "min_hz": 0.0}, "a log scale has no 0 Hz"),
    ({"hop_length": 100, "kernel_size": 151, "causal": True}, "use hop_length <= 75"),
    ({"tight": True, "dialect": "0.5"}, "tight=True needs dialect='native'"),
    ({"tight": True, "causal": True}, "tight=True needs causal=False"),
]


@pytest.mark.parametrize(("values", "message"), BAD_VALUES)
def test_impossible_values_are_named_with_the_nearest_fix(values, message):
    with pytest.raises(ValueError, match=message):
        FilterbankSpec(**values)


@pytest.mark.parametrize("name", ["sample_rate", "hop_length", "num_bins", "kernel_size"])
@pytest.mark.parametrize("value", [12.0, "12", True])
def test_sizes_must_be_integers(name, value):
    with pytest.raises(TypeError, match=rf"{name}={value!r} must be an integer"):
        FilterbankSpec(**{name: value})


def test_suggested_hop_of_an_error_is_accepted():
    assert FilterbankSpec(hop_length=75, kernel_size=151, causal=True).hop_length == 75
    assert FilterbankSpec(hop_length=401, kernel_size=401, window="boxcar").taps == 401


def test_specs_are_frozen_and_hashable():
    spec = FilterbankSpec()
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.hop_length = 3  # type: ignore[misc]
    assert len({spec, FilterbankSpec(), spec.replace(num_bins=64)}) == 2


def test_replace_keeps_the_kernel_size():
    assert FilterbankSpec(hop_length=100).replace(hop_length=50).kernel_size == 401


@given(
    hop_length=st.integers(4, 300),
    num_bins=st.integers(2, 300),
    scale=st.sampled_from(["linear", "mel", "mel_htk", "erb", "bark", "log"]),
    component=st.sampled_from(["real", "complex"]),
    causal=st.booleans(),
    shape=st.sampled_from(["sinc", "none", "gauss", "triangle", "raised_cosine"]),
)
def test_dictionaries_round_trip_through_json(**values):
    spec = FilterbankSpec(**values)
    again = FilterbankSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert hash(again) == hash(spec)
    assert again.digest() == spec.digest()


def test_unknown_fields_are_refused():
    with pytest.raises(ValueError, match="unknown fields of a filterbank: colour, fps"):
        FilterbankSpec.from_dict({"fps": 1, "colour": 2})


def test_every_field_changes_the_digest():
    base = FilterbankSpec()
    changes = {
        "sample_rate": 16_002, "hop_length": 124, "num_bins": 127, "kernel_size": 503,
        "scale": "erb", "component": "real", "causal": True, "shape": "gauss",
        "window": "hamming", "normalization": "l2", "padding": "reflect", "min_hz": 1.0,
        "max_hz": 7999.0, "tight": True, "dialect": "0.5",
    }  # fmt: skip
    assert set(changes) == {field.name for field in dataclasses.fields(FilterbankSpec)}
    digests = {base.replace(**{name: value}).digest() for name, value in changes.items()}
    assert len(digests | {base.digest()}) == len(changes) + 1


def test_digest_is_the_same_in_another_process():
    code = "from isincnet_jax import FilterbankSpec as F; print(F(num_bins=77).digest())"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert found == FilterbankSpec(num_bins=77).digest()
    assert len(found) == 16


REFERENCES = [
    ({}, "isincnet_16000hz_128fps_lin_complex", "filters"),
    ({"component": "real"}, "isincnet_16000hz_128fps_lin_real", "filters"),
    ({"scale": "mel"}, "isincnet_16000hz_128fps_mel_complex", "filters"),
    (
        {"sample_rate": 44_100, "frame_rate": 350},
        "isincnet_44100hz_350fps_lin_complex",
        "filters",
    ),
    (
        {"sample_rate": 44_100, "frame_rate": 350, "scale": "mel"},
        "isincnet_44100hz_350fps_mel_complex",
        "filters",
    ),
    (
        {"version": "0.1.0", "component": "real"},
        "isincnet_v010_16000hz_128fps_real_causal",
        "filters",
    ),
    (
        {"version": "0.1.0", "component": "real", "scale": "mel"},
        "isincnet_v010_16000hz_128fps_real_causal",
        "mel_filters",
    ),
]


@pytest.mark.parametrize(("arguments", "name", "key"), REFERENCES)
def test_reference_geometry_and_filters_are_the_golden_ones(golden, arguments, name, key):
    file = golden(name)
    spec = FilterbankSpec.reference(**arguments)
    rate, frames = arguments.get("sample_rate", 16_000), arguments.get("frame_rate", 128)
    hop = rate // frames
    assert (spec.hop_length, spec.kernel_size, spec.num_bins) == (hop, 4 * hop + 1, 128)
    assert spec.padding == "reflect"
    assert spec.causal == (spec.component == "real")
    found = spec.design_kernels()[file["filter_rows"]]
    # The reference rounds its filters to float32, taps of up to 1.5e-2: half an ulp is 5e-10, and
    # its products are rounded several times.
    np.testing.assert_allclose(found, file[key], rtol=0, atol=5e-9)


def test_reference_bins_are_the_next_power_of_two():
    assert FilterbankSpec.reference(sample_rate=48_000, frame_rate=100).num_bins == 512
    assert FilterbankSpec.reference(sample_rate=12_800, frame_rate=100).num_bins == 128


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"version": "0.2"}, "version='0.2'; use '0.5' or '0.1.0'"),
        ({"scale": "erb"}, "scale='erb' does not exist in iSincNet 0.5"),
        ({"scale": "mel_slaney", "version": "0.1.0"}, "does not exist in iSincNet 0.1.0"),
    ],
)
def test_unknown_references_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FilterbankSpec.reference(**arguments)


@pytest.mark.parametrize(
    ("changes", "uniform"),
    [
        ({}, True),
        ({"causal": True}, True),
        ({"scale": "mel"}, False),
        ({"component": "real"}, False),
        ({"min_hz": 10.0}, False),
        ({"max_hz": 7000.0}, False),
        ({"kernel_size": 500}, False),
        ({"tight": True}, False),
        ({"dialect": "0.5"}, False),
    ],
)
def test_uniform_banks_are_recognised(changes, uniform):
    spec = FilterbankSpec(**changes)
    assert spec.is_uniform is uniform
    if uniform:  # the claim behind it: all filters have one modulus and equally spaced phases
        modulus = np.abs(spec.design_kernels())
        np.testing.assert_allclose(modulus, np.broadcast_to(modulus[0], modulus.shape), atol=1e-15)


def test_the_last_centre_follows_the_sample_rate_unless_it_was_given():
    spec = FilterbankSpec(sample_rate=16_000)
    assert spec.replace(sample_rate=44_100) == FilterbankSpec(sample_rate=44_100)
    assert spec.replace(sample_rate=8000).max_hz == 4000.0
    given = FilterbankSpec(sample_rate=16_000, max_hz=7000.0)
    assert given.replace(sample_rate=44_100).max_hz == 7000.0
    assert spec.replace(sample_rate=44_100, max_hz=8000.0).max_hz == 8000.0
    odd = FilterbankSpec.reference(sample_rate=11_025, frame_rate=105)
    assert odd.replace(sample_rate=16_001).max_hz == 8000.0


def test_the_first_centre_follows_the_scale_unless_it_was_given():
    spec = FilterbankSpec()
    assert spec.replace(scale="log") == FilterbankSpec(scale="log")
    assert spec.replace(scale="log").replace(scale="linear") == spec
    assert spec.replace(min_hz=100.0).replace(scale="log").min_hz == 100.0
