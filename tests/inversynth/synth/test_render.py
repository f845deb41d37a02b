"""Whole sounds against the float64 synthesizer of conftest.py: level, pitch, rates, bad input."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from isincnet_jax.inversynth.synth import parameters
from isincnet_jax.inversynth.synth.parameters import NAMES, PARAMETERS
from isincnet_jax.inversynth.synth.render import render

LOW = np.array([parameter.low for parameter in PARAMETERS])
HIGH = np.array([parameter.high for parameter in PARAMETERS])
LEVELS = np.stack([parameter.levels for parameter in PARAMETERS])
SHORT = 4096

short = jax.jit(functools.partial(render, num_samples=SHORT))


def random_values(rng, count):
    picks = rng.integers(0, 16, (count, len(PARAMETERS)))
    return np.take_along_axis(LEVELS[None], picks[..., None], -1)[..., 0]


def plain(waveform, *, carrier=440.0, cutoff=4000.0, resonance=0.7071):
    """One steady oscillator of amplitude 0.5, on for the first half of the clip."""
    values = dict(zip(NAMES, LOW, strict=True))
    values |= {f"carrier_{waveform}": carrier, f"amplitude_{waveform}": 0.5}
    for other in {"sine", "saw", "triangle", "square"} - {waveform}:
        values[f"amplitude_{other}"] = 0.0
    values |= {"sustain": 1.0, "cutoff": cutoff, "resonance": resonance}
    return np.array(list(values.values()))


@pytest.mark.parametrize("rate", [8_000, 16_384, 22_050, 44_100])
def test_every_sample_in_float64(rate, rng, oracle, x64):
    values = random_values(rng, 6)
    values[:, :4] = rng.uniform(440, 1000, (6, 4))  # on the levels some jumps meet samples
    found = jax.jit(functools.partial(render, num_samples=3001, sample_rate=rate))(values)
    for row, result in zip(values, found, strict=True):
        if rate == 8_000 and row[NAMES.index("cutoff")] == 4000:
            continue  # its own test, in test_components.py: SciPy's recursion does not settle
        expected = oracle.sound(row, 3001, rate)
        # What is left is the filter's response beyond a second, for q = 0.01.
        np.testing.assert_allclose(result, expected, atol=2e-5 * np.max(np.abs(expected)))


def test_float32_renders_the_same_sounds(rng, oracle):
    values = random_values(rng, 8)
    found = np.asarray(short(values.astype(np.float32)))
    assert found.dtype == np.float32
    for row, result in zip(values, found, strict=True):
        expected = oracle.sound(row.astype(np.float32), SHORT, 16_384)
        error = np.sqrt(np.mean((result - expected) ** 2) / np.mean(expected**2))
        # Phases that are off by 5e-6 cycles move a few jumps by one sample.
        assert error < 1e-2


@pytest.mark.quick(2)
@pytest.mark.parametrize("rate", [8_000, 16_384, 22_050, 44_100])
def test_pitch_and_level_at_every_rate(rate, oracle):
    """The fundamental's frequency and peak, and the RMS, of all waveforms at 440 and 1046.5 Hz."""
    waveforms = ("sine", "saw", "triangle", "square")
    fundamental = dict(zip(waveforms, (1, 2 / np.pi, 8 / np.pi**2, 4 / np.pi), strict=True))
    pitches = (440.0, 440 * 2 ** (15 / 12))
    cases = [(waveform, pitch) for waveform in waveforms for pitch in pitches]
    values = np.array([plain(waveform, carrier=pitch, cutoff=3000) for waveform, pitch in cases])
    sounds = np.asarray(
        jax.jit(functools.partial(render, num_samples=rate, sample_rate=rate))(
            values.astype(np.float32)
        ),
        np.float64,
    )
    kept = slice(int(0.05 * rate), int(0.45 * rate))
    for (waveform, pitch), row, sound in zip(cases, values, sounds, strict=True):
        window = scipy.signal.get_window("hann", kept.stop - kept.start)
        spectrum = np.abs(np.fft.rfft(sound[kept] * window, 16 * rate))
        near = slice(int(16 * (pitch - 20)), int(16 * (pitch + 20)))
        measured = (near.start + np.argmax(spectrum[near])) / 16
        assert abs(measured - pitch) <= 0.05, (waveform, pitch, measured)
        _, gain = scipy.signal.freqz(*oracle.biquad(3000, 0.7071, rate), worN=[pitch], fs=rate)
        peak = 2 * spectrum[near].max() / window.sum()
        expected = 0.5 * fundamental[waveform] * abs(gain[0])
        np.testing.assert_allclose(peak, expected, rtol=0.01, err_msg=f"{waveform} {pitch}")
        reference = oracle.sound(row, rate, rate)
        np.testing.assert_allclose(
            np.sqrt(np.mean(sound**2)), np.sqrt(np.mean(reference**2)), rtol=1e-3
        )


def test_frequencies_are_in_hertz_whatever_the_rate():
    """The same sound at two rates is the same sound, but for aliases."""
    values = plain("sine", carrier=660.0, cutoff=2000)
    values[NAMES.index("modulation_sine")] = 500.0
    values[NAMES.index("modulator_sine")] = 7.0
    values[NAMES.index("gate")] = 4.0
    values = np.maximum(values, LOW).astype(np.float32)[None]
    one = render(values, num_samples=16_000, sample_rate=16_000)
    two = render(values, num_samples=32_000, sample_rate=32_000)
    sounding = slice(200, 1900)  # away from the switching of the gate
    difference = np.asarray(one)[0, sounding] - np.asarray(two)[0, ::2][sounding]
    assert np.sqrt(np.mean(difference**2)) < 0.01


def test_note_off_is_half_of_the_clip_or_where_it_is_wanted(oracle, rng):
    values = random_values(rng, 1)[0].astype(np.float32)
    values[NAMES.index("release")] = 0.05
    early = jax.jit(functools.partial(render, num_samples=SHORT, note_off=0.05))(values)
    np.testing.assert_allclose(
        np.asarray(early)[2048:], oracle.sound(values, SHORT, 16_384, 0.05)[2048:], atol=2e-4
    )
    half = jax.jit(functools.partial(render, num_samples=SHORT, note_off=0.125))(values)
    np.testing.assert_array_equal(half, short(values))


@pytest.mark.quick(0)
def test_any_leading_axes_and_groups_of_any_size(rng):
    values = random_values(rng, 19).astype(np.float32)  # two groups of eight and three more
    whole = np.asarray(short(values))
    assert whole.shape == (19, SHORT)
    eight = np.asarray(short(values[8:16]))
    np.testing.assert_allclose(eight, whole[8:16], atol=1e-4)
    one = np.asarray(short(values[0]))
    assert one.shape == (SHORT,)
    mapped = np.asarray(jax.jit(jax.vmap(functools.partial(render, num_samples=SHORT)))(values[:3]))
    shaped = np.asarray(short(values[:18].reshape(3, 6, -1)))
    for other, some in ((one, whole[0]), (mapped, whole[:3]), (shaped.reshape(18, -1), whole[:18])):
        error = np.sqrt(np.mean((other - some) ** 2) / np.mean(some**2))
        assert error < 1e-2


def test_without_jit_it_is_the_same(rng):
    values = random_values(rng, 8).astype(np.float32)
    np.testing.assert_array_equal(render(values, num_samples=SHORT), short(values))


def test_a_clip_of_one_sample_is_silent(rng):
    found = render(random_values(rng, 2).astype(np.float32), num_samples=1)
    assert found.shape == (2, 1)
    np.testing.assert_allclose(found, 0, atol=1e-4)


def test_no_sound_at_all():
    assert render(np.zeros((0, 23), np.float32), num_samples=64).shape == (0, 64)


def test_bad_arguments_are_refused():
    good = LOW.astype(np.float32)
    for bad, message in (
        ({"num_samples": 0}, "num_samples=0 must be a whole number"),
        ({"num_samples": 10.5}, "num_samples=10.5 must be a whole number"),
        ({"sample_rate": 0}, "sample_rate=0 must be positive"),
        ({"sample_rate": float("nan")}, "sample_rate=nan must be positive"),
        ({"sample_rate": 7999}, "sample_rate=7999 is below 8000 Hz"),
        ({"note_off": -0.1}, "note_off=-0.1 must be 0 or more"),
        ({"note_off": float("nan")}, "note_off=nan must be 0 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            render(good, **bad)
    with pytest.raises(ValueError, match=r"shape \[22\]; the last axis"):
        render(good[:-1])
    with pytest.raises(ValueError, match=r"shape \[22\]; the last axis"):
        short(good[:-1])
    with pytest.raises(ValueError, match=r"resonance=0 is outside 0\.01 to 10"):
        render(np.where(np.array(NAMES) == "resonance", 0, good))
    with pytest.raises(ValueError, match="gate=nan is no number"):
        render(np.where(np.array(NAMES) == "gate", np.nan, good))


def test_all_limits_at_once_are_finite():
    corners = np.stack([LOW, HIGH, *np.where(np.eye(23, dtype=bool), HIGH, LOW)[16:22]])
    found = np.asarray(short(corners.astype(np.float32)))
    assert np.all(np.isfinite(found))
    assert parameters.validate(corners).shape == (8, 23)
    assert jnp.max(jnp.abs(found)) < 50
