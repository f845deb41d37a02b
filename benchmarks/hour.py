"""One hour of stereo at 44.1 kHz through ``isn.reconstruct_file``: seconds, memory, SNR.

    python benchmarks/hour.py [--minutes 60] [--model 44khz-linear] [--quick]

Tones and noise, 16 bits, written to a temporary folder block by block (1.3 GB for the file and its
reconstruction), then what ``isincnet reconstruct`` calls, in a process of its own, from its start
to its end, compilation, reading and writing included. Asked: an hour in under 30 s on two cores
with under 1 GB of memory. ``peak_bytes`` is the largest resident memory of that process;
``snr_db`` is what it returns, ``file_snr_db`` that of the file it wrote, rounding to 16 bits
included. ``--quick`` takes one minute and only prints.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
import numpy as np
import soundfile

RATE, CHANNELS, BLOCK_S = 44_100, 2, 10
TONES_HZ = ((220.0, 3520.0, 9000.0), (330.0, 1000.0, 15_000.0))
ASKED = {"seconds": 30.0, "bytes": 1e9}
"""For an hour."""


def blocks(duration_s: float) -> Iterator[np.ndarray]:
    """Stereo blocks [time, channels], float32: three tones a channel, and noise at -26 dBFS."""
    rng = np.random.default_rng(common.SEED)
    length = round(duration_s * RATE)
    for start in range(0, length, BLOCK_S * RATE):
        count = min(BLOCK_S * RATE, length - start)
        seconds = (start + np.arange(count)) / RATE
        tones = [sum(np.sin(2 * np.pi * hz * seconds) for hz in channel) for channel in TONES_HZ]
        noise = 0.05 * rng.standard_normal((count, CHANNELS), np.float32)
        yield (0.1 * np.stack(tones, axis=1)).astype(np.float32) + noise


def write_clip(path: Path, duration_s: float) -> None:
    with soundfile.SoundFile(
        path, "w", samplerate=RATE, channels=CHANNELS, subtype="PCM_16"
    ) as file:
        for block in blocks(duration_s):
            file.write(block)


def reconstruct(source: Path, target: Path, model: str) -> dict[str, Any]:
    """Reconstructs in another process; the figures, wall-clock seconds and peak memory.

    A process starts with the memory of the one it was forked from, so that this script keeps
    small: JAX is not loaded before.

    Raises:
        SystemExit: with what it printed, if it fails.
    """
    code = (
        "import sys, isincnet_jax as isn; source, target, model = sys.argv[1:]\n"
        "print(isn.reconstruct_file(source, target, model=model, with_speed=True).snr_db)"
    )
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, str(source), str(target), model],
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begin
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"reconstruct_file failed:\n{done.stdout}{done.stderr}")
    return {
        "seconds": seconds,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "peak_bytes": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "snr_db": float(done.stdout),
    }


def file_snr_db(source: Path, target: Path) -> float:
    """SNR of one file against another, in float64, every sample."""
    energy = error = 0.0
    count = BLOCK_S * RATE
    with soundfile.SoundFile(source) as first, soundfile.SoundFile(target) as second:
        if first.frames != second.frames:
            raise SystemExit(f"{second.frames} samples came back of {first.frames}")
        for wanted, found in zip(
            first.blocks(count, dtype="float64"), second.blocks(count, dtype="float64"), strict=True
        ):
            energy += float(np.sum(wanted**2))
            error += float(np.sum((wanted - found) ** 2))
    return float(10 * np.log10(energy / error)) if error else float("inf")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="of audio")
    parser.add_argument("--model", default="44khz-linear")
    parser.add_argument("--quick", action="store_true", help="one minute; writes no results")
    args = parser.parse_args()
    load_before = common.load_average()
    duration_s = 60.0 * (1.0 if args.quick else args.minutes)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.wav", Path(folder) / "out.wav"
        write_clip(source, duration_s)
        found = reconstruct(source, target, args.model)
        found["file_snr_db"] = file_snr_db(source, target)
    found = {"duration_s": duration_s, "times_real_time": duration_s / found["seconds"], **found}
    print(
        f"{duration_s / 60:g} min: {found['seconds']:.1f} s ({found['times_real_time']:.0f} x real "
        f"time, {found['processor_seconds']:.1f} s of processor), "
        f"{1e-6 * found['peak_bytes']:.0f} MB, SNR {found['snr_db']} dB, of the file "
        f"{found['file_snr_db']:.1f} dB"
    )
    if args.quick:
        return
    origin = common.describe_run(args, data="tones and noise", load_average_before=load_before)
    common.write_results("hour", {**origin, "asked": ASKED, **found})


if __name__ == "__main__":
    main()
