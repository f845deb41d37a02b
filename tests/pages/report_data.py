"""Synthetic results of a benchmark: tones and noise, so that right and wrong can be heard and seen.

Run as a script it writes a results file, its sounds and the page:
``python tests/evaluation/report_data.py FOLDER``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
METHODS = (
    # name, family, phase, SNR of the copies, coefficients/s, kbit/s, parameters, x real time
    ("16khz-linear", "linear inverse", "kept", 133.1, 32768.0, None, 0, 1480.0),
    ("16khz-mel", "linear inverse", "kept", 96.4, 32768.0, None, 0, 1391.0),
    ("stft-512", "linear inverse", "kept", 118.7, 65792.0, None, 0, 2210.5),
    ("cqt-84", "linear inverse", "kept", 24.9, 52416.0, None, 0, 31.2),
    ("16khz-linear, 8 bits", "tokens", "kept", 41.3, 32768.0, 262.1, 256, 1120.0),
    ("16khz-linear, 4 bits", "tokens", "kept", 17.9, 32768.0, 131.1, 256, 1133.0),
    ("uniform step + range coder", "tokens", "kept", 24.4, 32768.0, 52.3, 0, 88.4),
    ("griffin-lim", "phase retrieval", "blind", -1.8, 32896.0, None, 0, 14.6),
    ("fast griffin-lim", "phase retrieval", "blind", -1.2, 32896.0, None, 0, 14.1),
    ("iSincNet, trained weights", "reference", "kept", 17.5, 32768.0, 294.9, 131072, 512.0),
    ("flac", "lossy codec", "kept", "exact", None, 118.4, None, 802.0),
    ("opus, 32 kbit/s", "lossy codec", "kept", 12.6, None, 32.4, None, 121.0),
)
METRICS = {
    "snr_db": {"title": "SNR", "unit": "dB", "better": "higher", "digits": 1},
    "si_sdr_db": {"title": "SI-SDR", "unit": "dB", "better": "higher", "digits": 1},
    "mse": {"title": "MSE", "unit": "", "better": "lower", "digits": 6},
    "log_spectral_db": {"title": "Log-spectral", "unit": "dB", "better": "lower", "digits": 2},
    "convergence_db": {"title": "Convergence", "unit": "dB", "better": "lower", "digits": 1},
}


def tone_hz(index: int) -> float:
    """The one frequency of method ``index``'s sound of the second clip; -1 is the original."""
    return 500.0 + 250.0 * (index + 1)


def original(clip: int, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    time_s = np.arange(int(duration_s * RATE)) / RATE
    if clip == 0:  # a melody of decaying harmonics
        pitch = 220 * 2 ** (np.floor(time_s * 4) * 7 % 12 / 12)
        envelope = np.exp(-3 * (time_s * 4 % 1))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        return 0.25 * envelope * sum(np.sin(k * phase) / k for k in range(1, 9))
    if clip == 1:
        return 0.3 * np.sin(2 * np.pi * tone_hz(-1) * time_s)
    if clip == 2:  # bursts of noise over a chirp
        burst = rng.standard_normal(len(time_s)) * np.exp(-12 * (time_s * 2 % 1))
        return 0.12 * burst + 0.15 * np.sin(2 * np.pi * (200 * time_s + 500 * time_s**2))
    return np.zeros(len(time_s))


def decoded(clip: int, method: int, sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if clip == 1:  # a tone of its own, so that a test hears which method plays
        return 0.3 * np.sin(2 * np.pi * tone_hz(method) * np.arange(len(sound)) / RATE)
    snr_db = METHODS[method][3]
    if snr_db == "exact":
        return sound
    if METHODS[method][2] == "blind":  # right magnitudes, wrong phases
        spectrum = np.fft.rfft(sound)
        turn = np.exp(1j * np.cumsum(rng.normal(0, 0.02, len(spectrum))))
        return np.fft.irfft(spectrum * turn, len(sound))
    noise = rng.standard_normal(len(sound)) * np.sqrt(np.mean(sound**2))
    return sound + noise * 10 ** (-snr_db / 20)


def scores_of(snr_db: float | str, rng: np.random.Generator) -> dict:
    """Scores that go with an SNR, of one clip."""
    if snr_db == "exact":
        return {"snr_db": "exact", "si_sdr_db": "exact", "mse": 0.0, "log_spectral_db": 0.0} | {
            "convergence_db": None
        }
    level = snr_db + float(rng.normal(0, 0.8))
    return {
        "snr_db": level,
        "si_sdr_db": level - 0.2,
        "mse": 0.01 * 10 ** (-level / 10),
        "log_spectral_db": 12 * 2 ** (-level / 9),
        "convergence_db": -abs(level) - 20 if level < 0 else -level,
    }


def summary(values: list) -> dict:
    numbers = [value for value in values if isinstance(value, float)]
    undefined = sum(value is None for value in values)
    if "exact" in values:
        return {"mean": "exact", "low": "exact", "high": "exact"} | {
            "count": len(values) - undefined,
            "undefined": undefined,
        }
    if not numbers:
        return {"mean": None, "low": None, "high": None, "count": 0, "undefined": undefined}
    mean, spread = float(np.mean(numbers)), float(np.std(numbers)) / len(numbers) ** 0.5
    low, high = mean - 1.96 * spread, mean + 1.96 * spread
    return {"mean": mean, "low": low, "high": high, "count": len(numbers), "undefined": undefined}


def make_results(folder: Path, *, duration_s: float = 5.0, audio: bool = True) -> dict:
    """Results of 12 methods over 4 clips; the last clip is silence, where SNR is undefined."""
    rng = np.random.default_rng(4)
    names = ["jazz/jazz.00012", "tones/one each", "hiphop/hiphop.00031", "silence"]
    sounds = [original(clip, duration_s, rng) for clip in range(4)]
    methods = [method_entry(index, names, rng) for index in range(len(METHODS))]
    corpus_clips = []
    for clip, name in enumerate(names):
        path = write(folder, clip, "original", sounds[clip]) if audio else None
        corpus_clips.append({"name": name, "duration_s": duration_s, "audio": path})
        for index, method in enumerate(methods):
            if audio and name not in method["failed"]:
                sound = decoded(clip, index, sounds[clip], rng)
                method["audio"][name] = write(folder, clip, f"method{index}", sound)
    return {
        "format": 1,
        "command": "isincnet benchmark ../shared/audio/gtzan_mini --output results/gtzan.json",
        "date": "2026-11-21T08:30:00+00:00",
        "commit": "c432b97d2a51",
        "uncommitted_changes": False,
        "versions": {"python": "3.11.7", "jax": "0.8.0", "isincnet-jax": "0.9.0"},
        "device": "2 cores, AMD EPYC",
        "seed": 0,
        "corpus": {"name": "gtzan_mini", "sample_rate": RATE, "duration_s": duration_s}
        | {"loudness_db": -23.0, "clips": corpus_clips},
        "metrics": METRICS,
        "methods": methods,
        "rate_distortion": curves(),
    }


def method_entry(index: int, names: list[str], rng: np.random.Generator) -> dict:
    name, family, phase, snr_db, coefficients, kbit, parameters, speed = METHODS[index]
    failed = {names[2]: "ValueError: 3 samples are fewer than a window"} if index == 3 else {}
    clips = {one: scores_of(snr_db, rng) for one in names if one not in failed}
    clips[names[3]] |= {"snr_db": None, "si_sdr_db": None}
    scores = {key: summary([row.get(key) for row in clips.values()]) for key in METRICS}
    return {
        "name": name,
        "family": family,
        "description": f"{family.capitalize()}: what it does in one line",
        "phase": phase,
        "domain": "256 real coefficients/frame, 128 frames/s" if coefficients else None,
        "coefficients_per_s": coefficients,
        "kbit_per_s": kbit,
        "parameters": parameters,
        "checkpoint": "solved" if family == "linear inverse" else None,
        "x_real_time": speed,
        "scores": scores,
        "clips": clips,
        "failed": failed,
        "audio": {},
    }


def curves() -> list[dict]:
    def curve(name: str, offset_db: float, slope_db: float) -> dict:
        rates = np.geomspace(18, 420, 11)
        levels = offset_db + slope_db * np.log2(rates / 18)
        points = [
            {"kbit_per_s": float(rate), "snr_db": float(level), "label": f"q = {bits}"}
            for bits, (rate, level) in enumerate(zip(rates, levels, strict=True), 2)
        ]
        return {"name": name, "points": points}

    return [
        curve("uniform step + range coder", 12, 8.5),
        curve("uniform step, order-0 entropy", 11.2, 8.4),
        curve("mu-law codes, fixed length", 1, 8.8),
        curve("reference, trained weights", -4, 6.0),
    ]


def write(folder: Path, clip: int, name: str, sound: np.ndarray) -> str:
    path = folder / "audio" / str(clip) / f"{name}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(sound, -1, 1), RATE, subtype="PCM_16")
    return str(path.relative_to(folder))


def save(folder: Path, results: dict) -> Path:
    path = folder / "results.json"
    path.write_text(json.dumps(results))
    return path


if __name__ == "__main__":
    from isincnet_jax.pages.benchmark import write_report

    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    print(write_report(save(target, make_results(target)), target / "report.html"))
