"""The built-in clip: a few seconds of synthetic music with a voice, made from nothing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_TEMPO_S = 0.25
_CHORDS_HZ = (
    (220.00, 261.63, 329.63, 440.00),
    (174.61, 220.00, 261.63, 349.23),
    (130.81, 196.00, 261.63, 329.63),
    (196.00, 246.94, 293.66, 392.00),
)
_VOWELS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240))


def demo_waveform(sample_rate: int = 16_000) -> Float[np.ndarray, " time"]:
    """Four seconds of plucked chords, bass, drums and a singing voice.

    Deterministic and the same piece at every rate: partials above 0.45 of the sample rate are
    left out, noise is drawn at a fixed rate and filtered by its envelope only.

    Args:
        sample_rate: Hz, at least 4,000.

    Returns:
        float32 [time], peak 0.8.

    Raises:
        ValueError: for a rate below 4,000 Hz.

    Example:
        >>> waveform = demo_waveform(8000)
        >>> waveform.shape, waveform.dtype.name
        ((32000,), 'float32')
    """
    if sample_rate < 4_000:
        raise ValueError(f"sample_rate={sample_rate}: the demo clip needs at least 4000 Hz")
    time_s = np.arange(4 * sample_rate) / sample_rate
    mix = np.zeros_like(time_s)
    for bar, chord in enumerate(_CHORDS_HZ):
        start_s = 4 * _TEMPO_S * bar  # four beats of 0.25 s
        for beat in range(4):
            onset_s = start_s + beat * _TEMPO_S
            mix += 0.30 * _pluck(time_s - onset_s, chord[beat], sample_rate)
            mix += 0.22 * _hat(time_s - onset_s - _TEMPO_S / 2, seed=4 * bar + beat)
        # The lowest note two octaves down, a kick, and a vowel sung on the third note.
        mix += 0.35 * _pluck(time_s - start_s, chord[0] / 4, sample_rate, decay_s=0.8)
        mix += 0.90 * _kick(time_s - start_s)
        mix += 0.35 * _voice(time_s - start_s, chord[2], _VOWELS_HZ[bar], sample_rate)
    return (0.8 * mix / np.max(np.abs(mix))).astype(np.float32)


def _after(time_s: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Silence before the onset, and an attack of 3 ms."""
    return np.where(time_s >= 0, values * np.clip(time_s / 0.003, 0, 1), 0.0)


def _pluck(
    time_s: np.ndarray, pitch_hz: float, sample_rate: int, *, decay_s: float = 0.4
) -> np.ndarray:
    """A string: harmonics that are weaker and die faster the higher they are."""
    elapsed_s = np.maximum(time_s, 0.0)
    tone = np.zeros_like(time_s)
    for harmonic in range(1, 13):
        # f_k = k f sqrt(1 + B k^2): a stiff string, B = 3e-4; amplitude 1 / k
        partial_hz = pitch_hz * harmonic * np.sqrt(1 + 3e-4 * harmonic**2)
        if partial_hz < 0.45 * sample_rate:
            fading = np.exp(-elapsed_s * harmonic**0.7 / decay_s)
            tone += np.sin(2 * np.pi * partial_hz * elapsed_s) * fading / harmonic
    return _after(time_s, tone)


def _kick(time_s: np.ndarray) -> np.ndarray:
    """A drum: a sine that falls from 160 to 45 Hz within a tenth of a second."""
    elapsed_s = np.maximum(time_s, 0.0)
    # The integral of 45 + 115 exp(-t / 30 ms), in Hz.
    cycles = 45 * elapsed_s + (160 - 45) * 0.03 * (1 - np.exp(-elapsed_s / 0.03))
    return _after(time_s, np.sin(2 * np.pi * cycles) * np.exp(-elapsed_s / 0.09))


def _hat(time_s: np.ndarray, *, seed: int) -> np.ndarray:
    """A cymbal: 30 ms of noise, drawn on a grid of its own so that every rate hears the same."""
    noise = np.random.default_rng(seed).standard_normal(2_000)
    grid_s = np.arange(len(noise)) / 12_000
    return _after(time_s, np.interp(time_s, grid_s, noise, 0, 0) * np.exp(-40 * np.abs(time_s)))


def _voice(
    time_s: np.ndarray, pitch_hz: float, formants_hz: tuple[int, int, int], sample_rate: int
) -> np.ndarray:
    """A vowel for nine tenths of a second: harmonics under three resonances, with vibrato."""
    elapsed_s = np.clip(time_s, 0.0, 0.9)
    # Vibrato of 5.5 Hz: a frequency of pitch + 0.25 * 2 pi 5.5 sin(2 pi 5.5 t), 8.6 Hz around it.
    cycles = pitch_hz * elapsed_s + 0.25 * (1 - np.cos(2 * np.pi * 5.5 * elapsed_s))
    tone = np.zeros_like(time_s)
    for harmonic in range(1, 40):
        partial_hz = pitch_hz * harmonic
        if partial_hz < 0.45 * sample_rate:
            # Resonances 1 / (1 + ((f - formant) / 90 Hz)^2)
            gain = sum(1 / (1 + ((partial_hz - formant) / 90) ** 2) for formant in formants_hz)
            tone += gain * np.sin(2 * np.pi * harmonic * cycles)
    return _after(time_s, tone * np.sin(np.pi * elapsed_s / 0.9) ** 0.7)
