"""Listening pages of the site: methods of the benchmark on sounds of the project's own making.

    python docs/listening.py FOLDER

writes ``music.html``, ``speech.html`` and ``vocoders.html``, with their sounds inside. "Speech" is
a formant synthesizer reciting syllables: no recording of anybody.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

from isincnet_jax.data.generated import GROUPS, generated_track

DURATION_S = 2.5
METHODS = (
    "16khz-linear",
    "16khz-linear 8 bits",
    "16khz-linear 4 bits",
    "fast Griffin-Lim 60",
    "PGHI",
    "mel 80 NNLS + fast Griffin-Lim 60",
)
VOCODERS = (
    "22khz-speech-vocoder",
    "22khz-speech-vocoder + 5 iterations",
    "22khz-music-vocoder",
    "22khz-speech-vocoder-mel",
    "fast Griffin-Lim 60",
    "PGHI",
    "mel 80 NNLS + fast Griffin-Lim 60",
)
# First three formants in Hz, of a, e, i, o, u.
VOWELS_HZ = (
    (730, 1090, 2440),
    (530, 1840, 2480),
    (270, 2290, 3010),
    (570, 840, 2410),
    (300, 870, 2240),
)


def syllables(seed: int, rate: int) -> np.ndarray:
    """Syllables of a hiss or a stop and a vowel, on a falling pitch, as a formant voice says them.

    Args:
        seed: of pitch, lengths and sounds.
        rate: Hz.

    Returns:
        float32 [time] of ``DURATION_S`` seconds, peak 0.5.
    """
    rng, parts, pitch_hz = np.random.default_rng(seed), [], 100.0 + 60.0 * (seed % 2)
    while sum(map(len, parts)) < DURATION_S * rate:
        vowel = VOWELS_HZ[rng.integers(len(VOWELS_HZ))]
        size = int(rng.uniform(0.12, 0.25) * rate)
        # Glottal pulses on a gliding pitch, then one resonance after the other.
        cycles = np.cumsum(pitch_hz * np.linspace(1.08, 0.92, size)) / rate
        source = np.diff(np.floor(cycles), prepend=0.0) + 0.002 * rng.standard_normal(size)
        voiced = scipy.signal.lfilter([1.0], [1.0, -0.95], source)
        for formant_hz in vowel:
            radius = np.exp(-np.pi * 80.0 / rate)
            poles = [1.0, -2 * radius * np.cos(2 * np.pi * formant_hz / rate), radius**2]
            voiced = scipy.signal.lfilter([sum(poles)], poles, voiced)
        voiced *= np.hanning(size) ** 0.3 / max(np.max(np.abs(voiced)), 1e-9)
        hiss = scipy.signal.lfilter([1.0, -0.9], [1.0], rng.standard_normal(int(0.06 * rate)))
        hiss *= 0.06 * np.hanning(len(hiss)) * rng.choice((0.0, 1.0))
        parts += [hiss, voiced, np.zeros(int(rng.choice((0.01, 0.15)) * rate))]
        pitch_hz *= rng.uniform(0.93, 1.05)
    mix = np.concatenate(parts)[: int(DURATION_S * rate)]
    return (0.5 * mix / np.max(np.abs(mix))).astype(np.float32)


def write_pages(folder: Path) -> None:
    """Writes both pages.

    Args:
        folder: that is made if it is missing.
    """
    for page, rate, methods in (
        ("music", 16_000, METHODS),
        ("speech", 16_000, METHODS),
        ("vocoders", 22_050, VOCODERS),
    ):
        sounds = {}
        if page != "speech":
            sounds |= {group: _music(group, rate) for group in GROUPS}
        if page != "music":
            sounds |= {f"voice {seed}": syllables(seed, rate) for seed in range(2)}
        with tempfile.TemporaryDirectory() as work:
            (Path(work) / page).mkdir()
            for name, samples in sounds.items():
                soundfile.write(Path(work) / page / f"{name}.wav", samples, rate)
            command = [sys.executable, "-m", "isincnet_jax.cli", "benchmark", page, "--no-loudness"]
            command += ["--duration", str(DURATION_S), "--methods", ",".join(methods)]
            command += ["--sample-rate", str(rate)]
            command += ["--out", "out/results.json", "--html", "out/page.html"]
            subprocess.run(command, cwd=work, check=True, stdout=subprocess.DEVNULL)
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(work) / "out/page.html", folder / f"{page}.html")


def _music(group: str, rate: int) -> np.ndarray:
    return generated_track(f"{group}/0", sample_rate=rate, duration_s=DURATION_S)


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
