"""A corpus through ``isincnet encode DIR OUT``: seconds, x real time, compilations, memory.

    python benchmarks/corpus.py [--files 40] [--write]

Generated stereo music-like files of 5 to 20 s at 44.1 kHz, all of different lengths, encoded to
8-bit codes (.npz) and to entropy-coded codes (.isn) with one file at a time and with as many as
there are cores. Seconds are those of the whole command, the start of Python and JAX included, in
the median of three runs; memory is the largest resident set of the command. Compilations are
counted in one process that encodes the same files: those of the first quarter of the files, and of
the rest.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import common
import numpy as np
import soundfile

RATE = 44_100
RUNS = 3
CASES = {
    "8-bit codes, .npz": ["--q-bits", "8"],
    "tokens at 25 dB, .isn": ["--snr", "25"],
}
_CHILD = (
    "import resource, subprocess, sys\n"
    "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
    "print(done.stdout[-400:], done.stderr[-400:])\n"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    "sys.exit(done.returncode)\n"
)


def make_corpus(folder: Path, count: int) -> float:
    """Writes the files and returns their seconds."""
    rng = np.random.default_rng(common.SEED)
    total = 0
    for index, length in enumerate(rng.integers(5 * RATE, 20 * RATE, count)):
        time_s = np.arange(length)[:, None] / RATE
        samples = 0.01 * rng.standard_normal((length, 2))
        for pitch_hz in 110.0 * 2 ** (rng.integers(0, 48, 6) / 12):
            swell = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.1, 2) * time_s)
            samples += 0.08 * swell * np.sin(2 * np.pi * pitch_hz * time_s * (1 + 1e-3 * index))
        path = folder / f"{index % 4}" / f"{index}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, samples, RATE, subtype="PCM_16")
        total += int(length)
    return total / RATE


def measure(source: Path, options: list[str], jobs: int, seconds: float) -> dict[str, Any]:
    """The run with the median time; all times are in it."""
    runs = [measure_once(source, options, jobs, seconds) for _ in range(RUNS)]
    median = statistics.median_low(run["seconds"] for run in runs)
    row = next(run for run in runs if run["seconds"] == median)
    return {**row, "all_seconds": sorted(run["seconds"] for run in runs)}


def measure_once(source: Path, options: list[str], jobs: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="isincnet-benchmark-") as folder:
        command = [sys.executable, "-m", "isincnet_jax.cli", "encode", str(source), folder]
        child = [sys.executable, "-c", _CHILD, *command, "--jobs", str(jobs), *options]
        begin = time.perf_counter()
        done = subprocess.run(child, capture_output=True, text=True, check=True)
        took = time.perf_counter() - begin
        files = [path for path in Path(folder).rglob("*.*") if path.suffix in (".npz", ".isn")]
        num_bytes = sum(path.stat().st_size for path in files)
    return {
        "jobs": jobs,
        "files": len(files),
        "seconds": took,
        "x_real_time": seconds / took,
        "bytes": num_bytes,
        # The largest process below the measuring one: the command itself or a worker.
        "peak_mib": int(done.stdout.split()[-1]) / 1024,
    }


def count_compilations(source: Path) -> dict[str, int]:
    """Programs compiled for the first quarter of the files and for the others."""
    import jax

    import isincnet_jax as isn

    compiled = 0
    counts: list[int] = []

    def listen(event: str, _: float, **__: Any) -> None:
        nonlocal compiled
        compiled += event.endswith("backend_compile_duration")

    jax.monitoring.register_event_duration_secs_listener(listen)
    with tempfile.TemporaryDirectory(prefix="isincnet-benchmark-") as folder:
        isn.encode_folder(
            source, folder, q_bits=8, jobs=1, progress=lambda _: counts.append(compiled)
        )
    counts = [count - counts[0] for count in counts[1:]]  # without those of loading the model
    quarter = counts[len(counts) // 4 - 1]
    return {"first_quarter": quarter, "rest": counts[-1] - quarter}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--write", action="store_true", help="write results/corpus.json")
    args = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="isincnet-benchmark-") as folder:
        seconds = make_corpus(Path(folder), args.files)
        compilations = count_compilations(Path(folder))
        for name, options in CASES.items():
            results[name] = [
                measure(Path(folder), options, jobs, seconds)
                for jobs in sorted({1, os.cpu_count() or 1})
            ]
    columns = ("jobs", "files", "seconds", "x_real_time", "bytes", "peak_mib")
    common.print_table(
        f"{args.files} files, {seconds:.0f} s of 44.1 kHz stereo; compilations: "
        f"{compilations['first_quarter']} for the first quarter, {compilations['rest']} after it",
        ("made", *columns),
        [[name, *(row[key] for key in columns)] for name, rows in results.items() for row in rows],
    )
    if args.write:
        run = common.describe_run(args, load_average=common.load_average())
        common.write_results(
            "corpus",
            {"run": run, "audio_s": seconds, "compilations": compilations, "rows": results},
        )


if __name__ == "__main__":
    main()
