"""Phase retrieval on speech: how far it converges, and how fast beside librosa.

    python benchmarks/retrieval.py [--audio DIR] [--clips 12]

Clips are the first 5 s of files that are as long, at 22,050 Hz: ``shared/audio/ljspeech_mini``
beside the checkout, else the built-in demo clip. STFT of 1024 samples, hop 256, Hann. Spectral
convergence is 20 log10 of the norm of the magnitude error over the norm of the magnitudes, averaged
over clips; all methods start from the same random phase, but those after "PGHI" (phase gradient
heap integration) and "surest steps" (heap integration by edge weight, then sweeps). Times are of a
batch of clips, compiled before, ours and librosa's in turn; the ratio is the median over pairs.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import jax
import jax.numpy as jnp
import librosa
import numpy as np

import isincnet_jax as isn
from isincnet_jax.benchmark.operators import bank_operators
from isincnet_jax.phase import heap_integration, mel_inversion, retrieval, sweeps

RATE, DURATION_S, N_FFT, HOP, MELS = 22_050, 5, 1024, 256, 80
LENGTH = RATE * DURATION_S
ITERATIONS = (10, 30, 60, 120)
TIMED_CLIPS, TIMED_ITERATIONS, ROUNDS = 8, 60, 7
METHODS: dict[str, Callable[..., Any]] = {
    "Griffin-Lim": retrieval.griffin_lim,
    "fast Griffin-Lim, momentum 0.99": functools.partial(retrieval.griffin_lim, momentum=0.99),
    "ADMM, rho 0.2": retrieval.admm,
    "difference map, beta 1": retrieval.difference_map,
}


def load_clips(given: Path | None, count: int) -> tuple[np.ndarray, str]:
    """Clips [clips, time] and what they are."""
    speech = common.SHARED / "audio" / "ljspeech_mini"
    folder = common.audio_folder(given) if given or speech.is_dir() else None
    folder = speech if folder is not None and given is None else folder
    clips: list[np.ndarray] = []
    for clip in common.read_clips(common.find_files(folder), folder) if folder else ():
        samples = common.resample(clip.samples, clip.sample_rate, RATE)[:LENGTH]
        if len(samples) == LENGTH:
            clips.append(samples)
        if len(clips) == count:
            break
    if folder is None or not clips:
        demo = np.resize(isn.demo_waveform(RATE), LENGTH).astype(np.float32)
        return demo[None], "demo clip, 5 s"
    return np.stack(clips), f"{folder.name}: first {DURATION_S} s of files as long"


def relative_db(found: Any, wanted: Any) -> float:
    error = np.linalg.norm(np.asarray(found) - wanted, axis=(-2, -1))
    return float(np.mean(20 * np.log10(error / np.linalg.norm(wanted, axis=(-2, -1)))))


def random_phase(shape: tuple[int, ...]) -> np.ndarray:
    """What ``librosa.griffinlim(random_state=SEED)`` starts from, frames first."""
    generator = np.random.RandomState(common.SEED)
    bins_first = (*shape[:-2], shape[-1], shape[-2])
    return np.swapaxes(2 * np.pi * generator.random(size=bins_first), -1, -2).astype(np.float32)


def run_librosa(magnitude: np.ndarray, *, num_iterations: int, momentum: float) -> np.ndarray:
    """Takes and needs bins first."""
    return librosa.griffinlim(
        magnitude,
        n_iter=num_iterations,
        momentum=momentum,
        n_fft=N_FFT,
        hop_length=HOP,
        length=LENGTH,
        pad_mode="reflect",
        random_state=common.SEED,
    )


def convergence_rows(magnitude: Any, operators: retrieval.Operators) -> list[dict[str, Any]]:
    """Spectral convergence in dB after so many iterations, for every method."""
    rows = []

    def add(name: str, run: Callable[[int], Any], counts: tuple[int, ...] = ITERATIONS) -> None:
        scores = {
            str(count): relative_db(jnp.abs(operators.analyse(run(count))), magnitude)
            for count in counts
        }
        rows.append({"method": name, "convergence_db": scores})

    bins_first = np.swapaxes(np.asarray(magnitude), -1, -2)
    for momentum in (0.0, 0.99):
        add(
            f"librosa {librosa.__version__}, momentum {momentum:g}",
            lambda count, momentum=momentum: jnp.asarray(
                run_librosa(bins_first, num_iterations=count, momentum=momentum)
            ),
        )
    integrated = heap_integration.phase_gradient_heap_integration(
        magnitude,
        n_fft=N_FFT,
        hop_length=HOP,
        gamma=heap_integration.window_gamma("hann", N_FFT),
        key=jax.random.key(common.SEED),
    )
    geometry: Any = {"n_fft": N_FFT, "hop_length": HOP}
    geometry["gamma"] = heap_integration.window_gamma("hann", N_FFT)
    surest = np.angle(sweeps.heap_swept_phase(magnitude, **geometry))
    starts = {
        "": random_phase(magnitude.shape),
        "PGHI, then ": integrated,
        "surest steps, then ": surest,
    }
    for prefix, start in starts.items():
        for name, method in METHODS.items():
            add(
                prefix + name,
                lambda count, method=method, start=start: method(
                    magnitude, **operators._asdict(), num_iterations=count, phase=start
                ),
            )
    alone = {
        "swept steps": np.angle(sweeps.swept_phase(magnitude, **geometry)),
        "surest steps": surest,
        "PGHI": integrated,
    }
    for name, start in alone.items():
        add(
            name,
            lambda count, start=start: retrieval.griffin_lim(
                magnitude, **operators._asdict(), num_iterations=count, phase=start
            ),
            (0,),
        )
    return rows


def bank_rows(waveforms: Any) -> list[dict[str, Any]]:
    """The same on the magnitudes of complex banks of the package, 60 iterations."""
    rows = []
    for hop_length in (128, 64):
        spec = isn.FilterbankSpec(
            sample_rate=RATE, hop_length=hop_length, num_bins=128, component="complex"
        )
        operators = bank_operators(isn.build_codec(isn.SincNet(spec)), length=LENGTH)
        magnitude = jnp.abs(operators.analyse(waveforms))
        scores = {
            name: relative_db(
                jnp.abs(
                    operators.analyse(
                        method(
                            magnitude,
                            **operators._asdict(),
                            num_iterations=60,
                            key=jax.random.key(common.SEED),
                        )
                    )
                ),
                magnitude,
            )
            for name, method in METHODS.items()
        }
        rows.append({"num_bins": 128, "hop_length": hop_length, "convergence_db": scores})
    return rows


def mel_rows(magnitude: Any, operators: retrieval.Operators) -> list[dict[str, Any]]:
    """From 80 Slaney mels: errors of the mel spectrogram and of the magnitudes, 60 iterations."""
    filters = librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=MELS)
    mel = magnitude @ filters.T
    options = {
        **operators._asdict(),
        "num_iterations": 60,
        "phase": random_phase(magnitude.shape),
    }
    solved = mel_inversion.mel_to_magnitude(mel, filters)
    results = {f"NNLS, {name}": method(solved, **options) for name, method in METHODS.items()}
    results["ADMM from mel, rho 0.1"] = mel_inversion.mel_admm(mel, filters, **options)
    rows = [
        {
            "method": "NNLS magnitudes alone",
            "mel_db": relative_db(solved @ filters.T, mel),
            "magnitude_db": relative_db(solved, magnitude),
        }
    ]
    for name, waveform in results.items():
        found = jnp.abs(operators.analyse(waveform))
        rows.append(
            {
                "method": name,
                "mel_db": relative_db(found @ filters.T, mel),
                "magnitude_db": relative_db(found, magnitude),
            }
        )
    return rows


def seconds(run: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - begun


def speed_rows(magnitude: Any, operators: retrieval.Operators) -> list[dict[str, Any]]:
    """Ours and librosa's in turn, both on the whole batch."""
    start = random_phase(magnitude.shape)
    bins_first = np.ascontiguousarray(np.swapaxes(np.asarray(magnitude), -1, -2))
    rows = []
    for name, momentum in (("Griffin-Lim", 0.0), ("fast Griffin-Lim", 0.99)):
        ours = functools.partial(
            retrieval.griffin_lim,
            magnitude,
            **operators._asdict(),
            num_iterations=TIMED_ITERATIONS,
            momentum=momentum,
            phase=start,
        )
        theirs = functools.partial(
            run_librosa, bins_first, num_iterations=TIMED_ITERATIONS, momentum=momentum
        )
        seconds(ours), run_librosa(bins_first, num_iterations=1, momentum=momentum)
        pairs = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
        ratios = sorted(theirs_s / ours_s for ours_s, theirs_s in pairs)
        rows.append(
            {
                "method": name,
                "ours_s": statistics.median(pair[0] for pair in pairs),
                "librosa_s": statistics.median(pair[1] for pair in pairs),
                "ratio": statistics.median(ratios),
                "ratio_quartiles": [ratios[ROUNDS // 4], ratios[-1 - ROUNDS // 4]],
                "times_real_time": len(magnitude)
                * DURATION_S
                / statistics.median(pair[0] for pair in pairs),
            }
        )
    return rows


def print_tables(result: dict[str, Any]) -> None:
    common.print_table(
        "spectral convergence (dB) after so many iterations",
        ("method", *map(str, ITERATIONS)),
        [
            (row["method"], *(row["convergence_db"].get(str(n), "") for n in ITERATIONS))
            for row in result["convergence"]
            if "0" not in row["convergence_db"]
        ],
    )
    for row in result["convergence"]:
        if "0" in row["convergence_db"]:
            print(f"{row['method']} alone: {row['convergence_db']['0']:.1f} dB")
    common.print_table(
        "our own banks, 60 iterations (dB)",
        ("bins, hop", *METHODS),
        [
            (f"{row['num_bins']}, {row['hop_length']}", *row["convergence_db"].values())
            for row in result["banks"]
        ],
    )
    common.print_table(
        f"from {MELS} mels, 60 iterations (dB)",
        ("method", "mel", "magnitude"),
        [tuple(row.values()) for row in result["mel"]],
    )
    common.print_table(
        f"{TIMED_ITERATIONS} iterations on {result['timed_clips']} clips of {DURATION_S} s",
        ("method", "ours (s)", "librosa (s)", "ratio", "x real time"),
        [
            (row["method"], row["ours_s"], row["librosa_s"], row["ratio"], row["times_real_time"])
            for row in result["speed"]
        ],
    )


def main() -> None:
    parser = common.parser_with_audio(__doc__ or "")
    parser.add_argument("--clips", type=int, default=12, help="clips at most")
    args = parser.parse_args()
    load_before = common.load_average()
    clips, data = load_clips(args.audio, args.clips)
    operators = retrieval.stft_operators(n_fft=N_FFT, hop_length=HOP, length=LENGTH)
    waveforms = jnp.asarray(clips)
    magnitude = jnp.abs(operators.analyse(waveforms))
    timed = magnitude[:TIMED_CLIPS]
    result = {
        **common.describe_run(
            args, data=data, clip_count=len(clips), load_average_before=load_before
        ),
        "timed_clips": len(timed),
        "speed": speed_rows(timed, operators),
        "convergence": convergence_rows(magnitude, operators),
        "banks": bank_rows(waveforms),
        "mel": mel_rows(magnitude, operators),
    }
    print_tables(result)
    common.write_results("phase", result)


if __name__ == "__main__":
    main()
