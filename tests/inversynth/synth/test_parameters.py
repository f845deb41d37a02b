"""Ranges, levels and JSON of the parameters."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.inversynth.synth import parameters
from isincnet_jax.inversynth.synth.parameters import NAMES, PARAMETERS

MIDDLE = np.array([parameter.levels[7] for parameter in PARAMETERS], np.float32)
to_values = jax.jit(parameters.values_from_levels)


def test_the_23_parameters_of_the_paper():
    ranges = {parameter.name: (parameter.low, parameter.high) for parameter in PARAMETERS}
    octave = 440 * 2 ** (15 / 12)
    expected = {}
    for kind, bounds in (
        ("carrier", (440, octave)),
        ("modulator", (1, 30)),
        ("amplitude", (0.001, 1)),
        ("modulation", (0, 1500)),
    ):
        for waveform in ("sine", "saw", "triangle", "square"):
            expected[f"{kind}_{waveform}"] = bounds
    for name in ("attack", "decay", "sustain", "release"):
        expected[name] = (0.001, 1)
    expected |= {"cutoff": (200, 4000), "resonance": (0.01, 10), "gate": (0.5, 30)}
    assert list(ranges) == list(expected) == list(NAMES)
    for name, bounds in expected.items():
        np.testing.assert_allclose(ranges[name], bounds, rtol=1e-12, err_msg=name)
    assert sum(len(parameter.levels) for parameter in PARAMETERS) == 368


def test_levels_are_even_in_pitch_for_carriers_and_in_value_otherwise():
    for parameter in PARAMETERS:
        places = np.log2(parameter.levels) if parameter.logarithmic else parameter.levels
        steps = np.diff(places)
        np.testing.assert_allclose(steps, steps[0], rtol=1e-9, err_msg=parameter.name)
        assert parameter.levels.dtype == np.float64
        assert parameter.logarithmic == (parameter.unit == "Hz" and parameter.low == 440)
    np.testing.assert_allclose(np.diff(np.log2(PARAMETERS[0].levels)), 1 / 12)


def test_levels_become_values(rng):
    levels = rng.integers(0, 16, (50, 23)).astype(np.int32)
    values = to_values(levels)
    assert values.dtype == jnp.float32
    expected = [[PARAMETERS[i].levels[k] for i, k in enumerate(row)] for row in levels]
    np.testing.assert_allclose(values, expected, rtol=1e-7)
    parameters.validate(values)


def test_levels_out_of_range_are_refused_and_nan_where_they_are_traced():
    levels = np.zeros((2, 23), np.int32)
    for bad in (-1, 16):
        levels[1, 20] = bad
        with pytest.raises(ValueError, match=rf"cutoff={bad}, levels are 0 to 15"):
            parameters.values_from_levels(levels)
        found = np.asarray(jax.jit(parameters.values_from_levels)(levels))
        assert np.isnan(found[1, 20])
        assert np.isfinite(found).sum() == found.size - 1
    with pytest.raises(ValueError, match="dtype float32"):
        parameters.values_from_levels(np.zeros((2, 23), np.float32))
    with pytest.raises(ValueError, match=r"shape \[2, 22\]; the last axis is the 23"):
        parameters.values_from_levels(np.zeros((2, 22), np.int32))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (199.0, "cutoff=199 is outside 200 to 4000 Hz"),
        (4001.0, "cutoff=4001 is outside 200 to 4000 Hz"),
        (np.nan, "cutoff=nan is no number in"),
        (np.inf, "cutoff=inf is no number in"),
    ],
)
def test_values_out_of_range_are_refused_by_name(value, message):
    values = np.tile(MIDDLE, (3, 1))
    values[2, NAMES.index("cutoff")] = value
    with pytest.raises(ValueError, match=f"{message}.* of sound 2"):
        parameters.validate(values)


def test_the_ends_of_the_ranges_are_in_range_in_both_precisions():
    for dtype in (np.float32, np.float64):
        for end in ("low", "high"):
            values = np.array([getattr(parameter, end) for parameter in PARAMETERS], dtype)
            assert parameters.validate(values).dtype == dtype


def test_values_of_other_kinds_and_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shape \[22\]"):
        parameters.validate(MIDDLE[:-1])
    with pytest.raises(ValueError, match=r"shape \[\]"):
        parameters.validate(1.0)
    with pytest.raises(ValueError, match="real numbers"):
        parameters.validate(np.array(["a"] * 23))
    with pytest.raises(ValueError, match="give one sound"):
        parameters.parameters_to_json(np.tile(MIDDLE, (2, 1)))


def test_json_there_and_back_is_exact(rng):
    values = np.asarray(to_values(rng.integers(0, 16, (50, 23)).astype(np.int32)))[7]
    text = json.dumps(parameters.parameters_to_json(values))
    found = json.loads(text)
    np.testing.assert_array_equal(np.array([found[name] for name in NAMES], np.float32), values)


def test_the_specification_is_json():
    found = json.loads(json.dumps(parameters.specification()))
    assert [entry["name"] for entry in found] == list(NAMES)
    assert found[-1]["levels"] == PARAMETERS[-1].levels.tolist()
