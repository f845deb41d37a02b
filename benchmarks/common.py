"""What the benchmarks share: audio, signal-to-noise ratio, tables and results files."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isincnet_jax import files, provenance

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
SHARED = ROOT.parent / "shared"
SUFFIXES = (".wav", ".mp3", ".ogg", ".flac")
SEED = 0


class Clip(NamedTuple):
    """One channel of one file.

    Attributes:
        name: of the file, below the audio folder, and the channel if there are several.
        samples: float32 [time].
        sample_rate: Hz.
    """

    name: str
    samples: np.ndarray
    sample_rate: int


def parser_with_audio(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--audio",
        type=Path,
        metavar="DIR",
        help="folder of audio files; shared/audio beside the checkout if it exists, else the "
        "built-in demo clip",
    )
    return parser


def audio_folder(given: Path | None) -> Path | None:
    """The folder that was asked for, the shared one, or None for the demo clip."""
    if given is not None:
        if not given.is_dir():
            raise SystemExit(f"{given}: no such folder")
        return given
    return SHARED / "audio" if (SHARED / "audio").is_dir() else None


def weights_file(name: str) -> Path | None:
    """A checkpoint of the reference, or None where there is none."""
    path = SHARED / "reference_weights" / name
    return path if path.is_file() else None


def find_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def read_clips(files: Sequence[Path], folder: Path) -> Iterator[Clip]:
    """Every channel of every file at the file's own rate; a file that fails is printed."""
    import librosa

    for path in files:
        name = path.relative_to(folder).as_posix()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                samples, rate = librosa.load(path, sr=None, mono=False)
        except Exception as error:
            print(f"skipped {name}: {error}")
            continue
        channels = np.atleast_2d(samples)
        for index, channel in enumerate(channels):
            suffix = f"#{index}" if len(channels) > 1 else ""
            yield Clip(name + suffix, np.ascontiguousarray(channel, np.float32), int(rate))


def resample(samples: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    import soxr

    if source_rate == target_rate:
        return samples
    return soxr.resample(samples, source_rate, target_rate).astype(np.float32)


def snr_db(original: np.ndarray, decoded: np.ndarray) -> float:
    """10 log10 of energy over error energy, in float64 over every sample; NaN for silence."""
    original = np.asarray(original, np.float64)
    energy = float(np.sum(original**2))
    error = float(np.sum((original - np.asarray(decoded, np.float64)) ** 2))
    if energy == 0.0:
        return math.nan
    return 10.0 * math.log10(energy / error) if error > 0.0 else math.inf


def describe_run(args: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """What a results file says about its origin; folders are named, never located."""
    options = []
    for key, value in vars(args).items():
        name = key.replace("_", "-")
        if value is True:
            options.append(f"--{name}")
        elif value not in (None, False):
            values = value if isinstance(value, list | tuple) else [value]
            named = ["DIR" if isinstance(each, Path) else str(each) for each in values]
            options += [f"--{name}", *named]
    script = Path(sys.argv[0]).name
    return {
        "command": shlex.join(["python", f"benchmarks/{script}", *options]),
        **provenance.record(["torch"]),
        "seed": SEED,
        **more,
    }


def load_average() -> float | None:
    """Processes that wanted a core over the last minute, ours among them."""
    import os

    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def write_results(name: str, content: dict[str, Any]) -> None:
    """Writes ``results/<name>.json``; infinities (no error at all) become the text "exact"."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(_plain(content), indent=1, allow_nan=False)
    files.write_text(RESULTS / f"{name}.json", text + "\n")
    print(f"\nwritten: benchmarks/results/{name}.json")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        if math.isinf(value):
            return "exact"
        return None if math.isnan(value) else float(f"{value:.6g}")
    return int(value) if isinstance(value, np.integer) else value


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints rows under a title, the first column to the left and the others to the right."""

    def shown(value: Any) -> str:
        if isinstance(value, float):
            if math.isinf(value):
                return "exact"
            return f"{value:.3g}" if 0 < abs(value) < 0.1 else f"{value:.1f}"
        return str(value)

    cells = [list(header), *[[shown(value) for value in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    print(f"\n{title}")
    for index, row in enumerate(cells):
        parts = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(parts).rstrip())
        if index == 0:
            print("  ".join("-" * width for width in widths))
