"""Rate and quality as perceptual models hear them: token files beside Opus, Vorbis and MP3.

    python benchmarks/rate_quality.py [--audio DIR] [--only SET] [--write]

Sets, all mono and at -23 LUFS, 5 s of each recording: six stems and mixtures of musdb_mini at
44.1 kHz; ten validation clips of gtzan_mini at 22.05 kHz, one a genre; all twenty at 16 kHz; and
held-out speech of ljspeech_mini at 16 kHz. No choice was made on any of them.

Every row is a method of ``isincnet benchmark`` on clips that all rows of a set share. Rates are
those of whole files, and marginal: what the clip adds to the file of the clip itself (see
``isincnet_jax.benchmark.methods.marginal_bits``). libsndfile takes the codecs' delay away; the
shift that is left, by cross-correlation, is recorded ("shift"). Opus takes 48 kHz for 44.1 and 24
for 22.05, there and back. Scores: SNR; ViSQOL in audio mode at 48 kHz; of speech also ViSQOL in
speech mode, PESQ-WB, STOI and ESTOI at 16 kHz. Intervals: 95 % by Student's t over clips.

Nobody listened. Models of hearing are wrong about sounds that they were not made for, and more
often about codecs that are new: a score here says what the model says.

Rows are kept one by one in ``--partial``: a run that was interrupted goes on. 20 minutes on a core.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import common
import numpy as np
import rate
import scipy.stats

from isincnet_jax.benchmark import banks, baselines, perceptual, runner
from isincnet_jax.benchmark import run as benchmark_run
from isincnet_jax.benchmark.methods import Method
from isincnet_jax.pretrained.registry import LAPPED
from isincnet_jax.recordings.options import recording_spec

LEVELS = {"Opus": (0.98, 0.95, 0.9, 0.8), "Vorbis": (1.0, 0.7), "MP3": (0.9, 0.6)}
TOKENS: tuple[dict[str, Any], ...] = (
    *({"step": step} for step in (0.064, 0.032, 0.016, 0.008)),
    *({"step": step, "optimise": True} for step in (0.016, 0.008)),
    *({"quality": quality} for quality in (3.5, 5.0, 6.5, 8.0)),
)
"""Options of token files, a row for each."""


class Set(NamedTuple):
    """Clips that all rows share.

    Attributes:
        folder: below the audio folder.
        sample_rate: Hz.
        split: of ``experiments/splits``; all of the folder if None.
        max_clips: evenly spread; all if None.
        speech: whether they are.
    """

    folder: str
    sample_rate: int
    split: str | None = None
    max_clips: int | None = None
    speech: bool = False


SETS = {
    "music, 44.1 kHz": Set("musdb_mini", 44_100),
    "music, 22.05 kHz": Set("gtzan_mini", 22_050, "validation", max_clips=10),
    "music, 16 kHz": Set("gtzan_mini", 16_000, "validation"),
    "speech, 16 kHz": Set("ljspeech_mini", 16_000, "test", speech=True),
}


def methods(sample_rate: int) -> Iterator[Method]:
    """The rows of a rate."""
    for name, preset in LAPPED.items():
        if preset.spec.sample_rate == sample_rate and not name.endswith("-fast"):
            for options in TOKENS:
                spec = preset.spec
                if "quality" in options:  # frames for ears may be shorter
                    spec = recording_spec(sample_rate, for_ears=True)
                yield banks.token_file_method(name, spec, **options)
    for method in baselines.codec_methods(sample_rate=sample_rate, levels=LEVELS):
        if method.curve is not None:  # not FLAC, which has no quality
            yield method


def student_interval(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean, both ends of its 95 % interval by Student's t, and how many clips have a value.

    Args:
        values: of clips; those that are undefined do not count.

    Returns:
        "mean", "low", "high" (None for fewer than two clips) and "count".
    """
    found = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    if not found:
        return {"mean": None, "low": None, "high": None, "count": 0}
    mean, low, high = float(np.mean(found)), None, None
    if len(found) > 1:
        # mean +- t(0.975, n - 1) s / sqrt(n)
        reach = scipy.stats.t.ppf(0.975, len(found) - 1) * scipy.stats.sem(found)
        low, high = mean - float(reach), mean + float(reach)
    return {"mean": mean, "low": low, "high": high, "count": len(found)}


def summary(row: Mapping[str, Any], duration_s: float, shift: int) -> dict[str, Any]:
    """What the results keep of a row of the benchmark."""
    file, marginal = row["kbit_per_s"], row["marginal_kbit_per_s"]
    return {
        "name": row["name"],
        "curve": row["curve"],
        "file_kbps": file,
        "marginal_kbps": marginal,
        "fixed_kbit": (file - marginal) * duration_s,  # n(T) - rate T
        "shift": shift,
        "failed": len(row["failed"]),
        "scores": {
            name: student_interval([clip[name] for clip in row["clips"].values()])
            for name in row["scores"]
        },
    }


def measure(chosen: Set, folder: Path, partial: Path) -> dict[str, Any]:
    """All rows of a set, and its clips."""
    settings = benchmark_run.Settings(
        path=folder / chosen.folder,
        out=partial,
        sample_rate=chosen.sample_rate,
        splits=None if chosen.split is None else common.ROOT / "experiments/splits" / chosen.folder,
        split=chosen.split or "",
        max_clips=chosen.max_clips,
        speech=chosen.speech,
    )
    names, clips, _ = benchmark_run.load_clips(settings)
    shown = list(methods(chosen.sample_rate))
    usable = perceptual.usable(speech=chosen.speech)
    rows = runner.run_benchmark(
        shown,
        clips,
        names=names,
        sample_rate=chosen.sample_rate,
        folder=partial,
        metrics=("snr_db", *usable),
        speech=chosen.speech,
        version=benchmark_run.source_digest(),
        show_progress=True,
    )
    shifts = []
    for method in shown:
        found: Any = method.reconstruct(clips[:1])
        shifts.append(rate.best_shift(clips[0], found.waveform[0], chosen.sample_rate))
    return {
        "folder": chosen.folder,
        "sample_rate": chosen.sample_rate,
        "speech": chosen.speech,
        "clips": names,
        "rows": [
            summary(row, settings.duration_s, shift)
            for row, shift in zip(rows, shifts, strict=True)
        ],
    }


def print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    scores = list(rows[0]["scores"])
    common.print_table(
        title,
        ["", "kbit/s", "marginal", *scores],
        [
            [row["name"], f"{row['file_kbps']:.1f}", f"{row['marginal_kbps']:.1f}",
             *(f"{row['scores'][name]['mean']:.3g}" for name in scores)]
            for row in rows
        ],
    )  # fmt: skip


def main() -> None:
    parser = common.parser_with_audio(__doc__ or "")
    parser.add_argument("--only", help="sets whose name contains this")
    parser.add_argument("--partial", type=Path, default=None, help="rows that are done")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results")
    args: argparse.Namespace = parser.parse_args()
    folder = common.audio_folder(args.audio)
    if folder is None:
        raise SystemExit("no audio: shared/audio is not there; give --audio DIR")
    missing = perceptual.missing_packages(speech=True)
    for package, names in missing.items():
        print(f"not measured without {package}: {', '.join(names)}")
    if args.write and (missing or args.only):
        raise SystemExit("--write: the results have all sets and models; leave --only out, and "
                         "install '.[perceptual]'")  # fmt: skip
    partial = args.partial or common.ROOT / "runs" / "rate_quality"
    found = {}
    for title, chosen in SETS.items():
        if args.only is None or args.only in title:
            found[title] = measure(chosen, folder, partial)
            print_rows(f"{title}, {len(found[title]['clips'])} clips", found[title]["rows"])
    origin = common.describe_run(args)
    origin["versions"] |= benchmark_run.describe_run(common.SEED)["versions"]
    if args.write:
        common.write_results("rate_quality", {**origin, "sets": found})


if __name__ == "__main__":
    main()
