"""Oscillators, envelope, low-pass and gate, each by itself against another implementation."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
import scipy.signal
import scipy.special

from isincnet_jax.inversynth.synth import clock as clocks
from isincnet_jax.inversynth.synth import envelope, gate, lowpass, oscillators, sine

RATE = 16_384
NAMES = ("sine", "saw", "triangle", "square")


@jax.jit
def waves(phase):
    return {name: getattr(oscillators, name)(phase) for name in NAMES}


@functools.partial(jax.jit, static_argnums=(3, 4))
def modulated_sine(carrier, modulator, deviation, num_samples, rate):
    clock = clocks.make_clock(num_samples, rate)
    return clock.flat(
        oscillators.sine(clocks.modulated_phase(carrier, modulator, deviation, clock))
    )


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def envelopes(values, num_samples, rate, note_off):
    times = np.arange(num_samples) / rate
    return envelope.adsr(*values.T, times_s=times, note_off=note_off)


@functools.partial(jax.jit, static_argnums=3)
def filtered(waveform, cutoff, resonance, rate):
    return lowpass.lowpass(waveform, cutoff, resonance, sample_rate=rate)


@functools.partial(jax.jit, static_argnums=(1, 2))
def gates(frequency, num_samples, rate):
    clock = clocks.make_clock(num_samples, rate)
    return clock.flat(gate.gate(frequency, clock))


@pytest.mark.parametrize("name", NAMES)
def test_waveforms_are_those_of_scipy(name, rng, oracle):
    phase = rng.uniform(-3, 3, 2000).astype(np.float32)
    expected = oracle.wave(name, phase.astype(np.float64))
    np.testing.assert_allclose(waves(phase)[name], expected, atol=3e-6)


def test_waveforms_at_the_points_that_define_them():
    phase = np.zeros(2000, np.float32)
    phase[:8] = [0, 0.25, 0.5, 0.75, 1, -0.25, 7.5, 2]
    found = {name: np.asarray(wave)[:8] for name, wave in waves(phase).items()}
    np.testing.assert_allclose(found["sine"], [0, 1, 0, -1, 0, -1, 0, 0], atol=3e-7)
    np.testing.assert_array_equal(found["saw"], [-1, -0.5, 0, 0.5, -1, 0.5, 0, -1])
    np.testing.assert_array_equal(found["triangle"], [-1, 0, 1, 0, -1, 0, 1, -1])
    np.testing.assert_array_equal(found["square"], [1, 1, -1, -1, 1, -1, -1, 1])


@pytest.mark.parametrize(
    ("name", "partials"),
    [
        ("sine", {1: 1.0, 2: 0.0, 3: 0.0}),
        ("saw", {1: 2 / np.pi, 2: 1 / np.pi, 3: 2 / (3 * np.pi), 4: 0.5 / np.pi}),
        ("triangle", {1: 8 / np.pi**2, 2: 0.0, 3: 8 / (9 * np.pi**2)}),
        ("square", {1: 4 / np.pi, 2: 0.0, 3: 4 / (3 * np.pi), 5: 4 / (5 * np.pi)}),
    ],
)
def test_spectra_are_the_fourier_series(name, partials):
    phase = (np.arange(2000) / 2000).astype(np.float32)  # one cycle: partials are bins
    spectrum = 2 * np.abs(np.fft.rfft(np.asarray(waves(phase)[name], np.float64))) / 2000
    for partial, amplitude in partials.items():
        # Aliases of the plain waveforms add about 1 / 2000.
        np.testing.assert_allclose(spectrum[partial], amplitude, atol=2e-3)


def test_frequency_modulation_makes_bessel_sidebands():
    # Index B / v = 2.5 at 32 Hz; the phase begins with B / v, which the moduli do not show.
    found = modulated_sine(np.float32(1024), np.float32(32), np.float32(80), RATE, float(RATE))
    spectrum = 2 * np.abs(np.fft.rfft(np.asarray(found, np.float64))) / RATE
    for order in range(-6, 7):
        expected = abs(scipy.special.jv(order, 80 / 32))
        np.testing.assert_allclose(spectrum[1024 + 32 * order], expected, atol=2e-5)
    assert np.sum(spectrum > 1e-3) < 20


def test_instantaneous_frequency_swings_by_the_deviation():
    found = modulated_sine(np.float32(1024), np.float32(32), np.float32(80), RATE, float(RATE))
    analytic = scipy.signal.hilbert(np.asarray(found, np.float64))
    hertz = np.diff(np.unwrap(np.angle(analytic)))[100:-100] * RATE / (2 * np.pi)
    np.testing.assert_allclose([hertz.min(), hertz.max()], [1024 - 80, 1024 + 80], atol=0.5)


def test_envelope_by_hand():
    # Attack 0.1 s, decay 0.2 s to 0.4, note off at 0.5 s, release 0.25 s; ten samples a second.
    found = envelopes(np.array([[0.1, 0.2, 0.4, 0.25]], np.float32), 10, 10.0, 0.5)[0]
    expected = [0, 1, 0.7, 0.4, 0.4, 0.4, 0.4 * 0.6, 0.4 * 0.2, 0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_envelopes_by_cases(rng, oracle):
    values = rng.uniform(0.001, 1, (40, 4)).astype(np.float32)
    values[:2, 0] = 0.001, 1.0  # shortest; longer than the note
    values[2:4, 1] = 0.001, 1.0
    values[4:6, 3] = 0.001, 1.0
    found = np.asarray(envelopes(values, 1000, 1000.0, 0.5))
    expected = [oracle.envelope(*row, np.arange(1000) / 1000, 0.5) for row in values.astype(float)]
    # Float32 times are off by 3e-8 s, which a slope of 1 in 0.001 s makes 3e-5.
    np.testing.assert_allclose(found, expected, atol=4e-5)
    assert found.min() >= 0


def test_note_that_ends_in_its_attack_falls_from_the_level_it_reached():
    found = np.asarray(envelopes(np.array([[1.0, 1.0, 0.5, 0.2]], np.float32), 10, 10.0, 0.5)[0])
    np.testing.assert_allclose(found, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.25, 0, 0, 0], atol=1e-6)


CUTOFFS = np.array([200, 200, 200, 700, 1000, 2500, 4000, 4000, 4000], np.float32)
RESONANCES = np.array([0.01, 0.7071, 10, 3, 0.01, 10, 0.01, 0.7071, 10], np.float32)


@pytest.mark.parametrize("rate", [8_001, 8_192, 16_384, 22_050, 44_100])
def test_lowpass_is_the_recursive_biquad(rate, rng, oracle):
    noise = rng.standard_normal((len(CUTOFFS), 4000)).astype(np.float32)
    found = np.asarray(filtered(noise, CUTOFFS, RESONANCES, float(rate)))
    for row, cutoff, resonance, result in zip(noise, CUTOFFS, RESONANCES, found, strict=True):
        coefficients = oracle.biquad(float(cutoff), float(resonance), rate)
        expected = scipy.signal.lfilter(*coefficients, row.astype(np.float64))
        # 4e-6 is the response beyond one second, which comes round; 2e-6 is float32. Half a Hz
        # below half the rate more than that is left.
        worst = np.max(np.abs(result - expected)) / np.max(np.abs(expected))
        assert worst < (2e-3 if rate < 8_100 and cutoff == 4000 else 1e-5), (cutoff, resonance)


def test_lowpass_response_is_that_of_the_coefficients(oracle, x64):
    for cutoff, resonance in ((200.0, 0.01), (1234.5, 0.7), (4000.0, 10.0)):
        angles = 2 * np.pi * np.arange(513) / 1024
        _, expected = scipy.signal.freqz(*oracle.biquad(cutoff, resonance, 16_384), worN=angles)
        found = jax.jit(
            lambda c, q: lowpass.lowpass_response(c, q, n_fft=1024, sample_rate=16_384)
        )(np.float64(cutoff), np.float64(resonance))
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_lowpass_at_half_the_rate_passes_everything(rng):
    noise = rng.standard_normal((1, 4000)).astype(np.float32)
    found = filtered(noise, np.array([4000], np.float32), np.array([0.01], np.float32), 8000.0)
    # But the component at half the rate, which the filter takes out for any lower cut-off.
    padded = np.fft.rfft(noise[0].astype(np.float64), n=lowpass.lowpass_fft_length(4000, 8000.0))
    padded[-1] = 0
    np.testing.assert_allclose(found[0], np.fft.irfft(padded)[:4000], atol=5e-6)
    np.testing.assert_allclose(found[0], noise[0], atol=2e-2)


def test_transforms_leave_a_second_for_the_response():
    for length, rate in ((1, 8000.0), (16_384, 16_384.0), (44_100, 44_100.0), (441_000, 44_100.0)):
        for multiple in (1, 128):
            n_fft = lowpass.lowpass_fft_length(length, rate, multiple_of=multiple)
            assert length + rate <= n_fft < 1.1 * (length + rate) + multiple
            assert n_fft % multiple == 0


@pytest.mark.parametrize("rate", [8_000, 16_384, 44_100])
def test_gate_by_counting(rate):
    frequencies = np.array([0.5, 1, 2, 4, 8, 30], np.float32)
    found = np.asarray(gates(frequencies, rate, float(rate)))
    assert set(np.unique(found)) == {0.0, 1.0}
    index = np.arange(rate)
    for row, frequency in zip(found, frequencies, strict=True):
        # Half periods that have passed, in whole numbers.
        half_periods = (2 * int(2 * frequency) * index) // (2 * rate)
        assert np.sum(row != (half_periods % 2 == 0)) == 0
        assert row[0] == 1


def test_sine_generator_has_its_pitch_and_level(rng):
    frequencies = rng.uniform(50, 4000, 5).astype(np.float32)
    for rate in (8000, 44_100):
        found = sine.render_sine(frequencies, 0.5, num_samples=10_000, sample_rate=rate)
        angle = 2 * np.pi * frequencies.astype(np.float64)[:, None] * np.arange(10_000) / rate
        np.testing.assert_allclose(found, 0.5 * np.sin(angle), atol=2e-6)
    with pytest.raises(ValueError, match="num_samples=0"):
        sine.render_sine(frequencies, num_samples=0)
    with pytest.raises(ValueError, match="sample_rate=-1"):
        sine.render_sine(frequencies, sample_rate=-1)
