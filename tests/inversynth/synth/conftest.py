"""The synthesizer once more, in float64 NumPy and SciPy, sample by sample where it is recursive."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

WAVEFORMS = ("sine", "saw", "triangle", "square")


def phase(carrier, modulator, deviation, times):
    """Cycles."""
    swing = deviation / (2 * np.pi * modulator) * (1 - np.cos(2 * np.pi * modulator * times))
    return carrier * times + swing


def wave(name, cycles):
    angle = 2 * np.pi * cycles
    return {
        "sine": np.sin,
        "saw": scipy.signal.sawtooth,
        "triangle": lambda a: scipy.signal.sawtooth(a, 0.5),
        "square": scipy.signal.square,
    }[name](angle)


def envelope(attack, decay, sustain, release, times, note_off):
    """By cases, one sample after the other."""

    def held(t):
        if t < attack:
            return t / attack
        if t < attack + decay:
            return 1 - (1 - sustain) * (t - attack) / decay
        return sustain

    return np.array(
        [
            held(t) if t < note_off else held(note_off) * max(0, 1 - (t - note_off) / release)
            for t in times
        ]
    )


def biquad(cutoff, resonance, rate):
    """Coefficients b and a of the cookbook's low-pass."""
    angle = 2 * np.pi * cutoff / rate
    alpha = np.sin(angle) / (2 * resonance)
    cosine = np.cos(angle)
    b = np.array([(1 - cosine) / 2, 1 - cosine, (1 - cosine) / 2])
    return b, np.array([1 + alpha, -2 * cosine, 1 - alpha])


def sound(values, num_samples, rate, note_off=None):
    times = np.arange(num_samples) / rate
    values = np.asarray(values, np.float64)
    carriers, modulators, amplitudes, deviations = values[:16].reshape(4, 4)
    attack, decay, sustain, release, cutoff, resonance, gate = values[16:]
    mixed = sum(
        amplitudes[i] * wave(name, phase(carriers[i], modulators[i], deviations[i], times))
        for i, name in enumerate(WAVEFORMS)
    )
    note_off = num_samples / rate / 2 if note_off is None else note_off
    shaped = mixed * envelope(attack, decay, sustain, release, times, note_off)
    filtered = scipy.signal.lfilter(*biquad(cutoff, resonance, rate), shaped)
    return filtered * (1 + scipy.signal.square(2 * np.pi * gate * times)) / 2


@pytest.fixture(scope="session")
def oracle():
    """The functions of this file."""

    class Oracle:
        pass

    for function in (phase, wave, envelope, biquad, sound):
        setattr(Oracle, function.__name__, staticmethod(function))
    return Oracle
