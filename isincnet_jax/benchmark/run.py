"""Benchmark run, from a folder of audio and settings to a results file: ``isincnet benchmark``."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isincnet_jax import provenance
from isincnet_jax.benchmark.baselines import N_FFT

if TYPE_CHECKING:
    from isincnet_jax.benchmark.methods import Method

_PACKAGE = Path(__file__).resolve().parents[1]
# Folders whose code no reconstruction and no score depends on; what is not named here counts.
_BESIDE = (
    *("ablation", "classifiers", "cli", "data", "pages", "plots", "recordings"),
    *("tasks", "training"),
)
_PERCEPTUAL = ("pesq", "pystoi", "visqol-python")


@dataclass(frozen=True)
class Settings:
    """The options of the command, see its help."""

    path: Path
    out: Path
    sample_rate: int = 16_000
    duration_s: float = 5.0
    max_clips: int | None = None
    splits: Path | None = None
    split: str = "validation"
    loudness_db: float | None = -23.0
    speech: bool = False
    methods: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    reference: Path | None = None
    models: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    listen: int = 6
    partial: Path | None = None
    batch_size: int = 4
    seed: int = 0
    truncated: str = "refuse"


def run(
    settings: Settings, *, tell: Callable[[str], None] = lambda text: None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Runs the benchmark and writes its results file.

    Args:
        settings: what to run.
        tell: gets lines on what the user should know before it begins.

    Returns:
        The results as they were written, and the tracks that were skipped, with the reasons.

    Raises:
        ValueError: for settings that cannot be.
        isincnet_jax.data.corpus.CorpusError: for a folder without a usable clip.
        isincnet_jax.benchmark.tables.ResultsError: if ``out`` is a file of another format.
    """
    from isincnet_jax.benchmark import catalogue as benchmark_methods
    from isincnet_jax.benchmark import metrics, tables

    length = _check(settings)
    names = metrics.check_names(settings.metrics or metrics.usable_metrics(speech=settings.speech))
    methods = benchmark_methods.all_methods(
        sample_rate=settings.sample_rate,
        length=length,
        wanted=settings.methods,
        reference=settings.reference,
        models=settings.models,
        functions=settings.functions,
    )
    if not settings.metrics:
        _tell_missing(settings, tell)
    clip_names, clips, skipped = load_clips(settings, tell=tell)
    heard = _spread(clip_names, settings.listen)
    rows = _rows(settings, methods, clips, clip_names, metrics=names, heard=heard)
    results = {
        **describe_run(settings.seed),
        "corpus": _describe_corpus(settings, clip_names, clips, heard, skipped),
        "metrics": {name: metrics.METRICS[name].describe() for name in names},
        "methods": rows,
        "rate_distortion": curves(rows),
    }
    tables.write_json(settings.out, results)
    return tables.load_results(settings.out), skipped


def _tell_missing(settings: Settings, tell: Callable[[str], None]) -> None:
    """What is left out for want of a package."""
    from isincnet_jax.benchmark import perceptual

    text = perceptual.missing_text(speech=settings.speech)
    if text:
        tell(text)


def _rows(
    settings: Settings,
    methods: Sequence[Method],
    clips: np.ndarray,
    names: Sequence[str],
    *,
    metrics: Sequence[str],
    heard: Sequence[str],
) -> list[dict[str, Any]]:
    """Runs the methods, and writes the clips that can be heard beside their sounds."""
    from isincnet_jax.benchmark import runner
    from isincnet_jax.benchmark.methods import sound_path, write_sound

    folder = settings.out.parent
    rows = runner.run_benchmark(
        methods,
        clips,
        names=names,
        sample_rate=settings.sample_rate,
        folder=folder,
        partial=settings.partial or settings.out.with_suffix(".partial"),
        metrics=metrics,
        speech=settings.speech,
        version=source_digest(),
        audio_clips=heard,
        batch_size=settings.batch_size,
        seed=settings.seed,
        show_progress=sys.stderr.isatty(),
    )
    for name, clip in zip(names, clips, strict=True):
        if name in heard:
            write_sound(folder / sound_path(name, "original"), clip, settings.sample_rate)
    return rows


def _check(settings: Settings) -> int:
    """The length of a clip; an output of another format is not overwritten."""
    from isincnet_jax.benchmark import tables

    length = round(settings.duration_s * settings.sample_rate)
    if length < 2 * N_FFT:
        least = 2 * N_FFT / settings.sample_rate
        raise ValueError(
            f"--duration {settings.duration_s:g}: shorter than two windows of {N_FFT} samples; "
            f"use {least:.3f} or more"
        )
    if settings.listen < 0:
        raise ValueError(f"--listen {settings.listen}: must be 0 or more")
    if settings.out.suffix != ".json":
        raise ValueError(f"--out {settings.out}: must end in .json")
    if settings.out.exists():
        tables.load_results(settings.out)
    return length


def load_clips(
    settings: Settings, *, tell: Callable[[str], None] = lambda text: None
) -> tuple[list[str], np.ndarray, dict[str, str]]:
    """Names and clips [clips, time], and what was skipped: unreadable or shorter than a clip.

    ``tell`` gets a line if tracks had other rates.

    Args:
        settings: ``path``, ``splits``, ``split``, ``sample_rate``, ``duration_s``, ``max_clips``,
            ``loudness_db`` and ``truncated`` count.
        tell: gets the line on rates.

    Returns:
        Names, float32 clips, and reasons by name.

    Raises:
        isincnet_jax.data.corpus.CorpusError: if nothing is left.
        ValueError: for a split or a number of clips that there is not.
    """
    from isincnet_jax.data import corpora, pipeline, preparation
    from isincnet_jax.data.splits import match_splits, read_split_files

    if settings.max_clips is not None and settings.max_clips < 1:
        raise ValueError(f"--max-clips {settings.max_clips}: must be at least 1")
    source = corpora.open_source(
        "folder",
        settings.path,
        sample_rate=settings.sample_rate,
        truncated=settings.truncated,  # type: ignore[arg-type]
    )
    names: Sequence[str] = [track.name for track in source.tracks]
    if settings.splits is not None:
        found = match_splits(read_split_files(settings.splits), names)
        if settings.split not in found:
            raise ValueError(f"--split {settings.split!r}: use one of {', '.join(found)}")
        names = found[settings.split]
    prepared = preparation.prepare(
        source,
        {"clips": _spread(names, settings.max_clips or len(names))},
        sample_rate=settings.sample_rate,
        loudness_db=settings.loudness_db,
    )
    if prepared.resampled:
        tell(prepared.resampled_text(settings.sample_rate))
    corpus, skipped = prepared.corpora["clips"], dict(prepared.skipped)
    kept, clips = pipeline.validation_clips(corpus, duration_s=settings.duration_s)
    for track in corpus.tracks:
        if track.name not in set(kept):
            seconds = track.length / settings.sample_rate
            skipped[track.name] = f"{seconds:.3f} s, shorter than {settings.duration_s:g} s"
    return list(kept), clips, skipped


def _spread(names: Sequence[str], count: int) -> list[str]:
    """So many of them, evenly."""
    # Name k of n is floor(k all / n): evenly spread, the first always among them.
    count = min(count, len(names))
    return [names[place * len(names) // count] for place in range(count)]


def _describe_corpus(
    settings: Settings,
    names: Sequence[str],
    clips: np.ndarray,
    heard: Sequence[str],
    skipped: Mapping[str, str],
) -> dict[str, Any]:
    from isincnet_jax.benchmark.methods import sound_path

    return {
        "name": settings.path.resolve().name,
        "split": None if settings.splits is None else settings.split,
        "sample_rate": settings.sample_rate,
        "duration_s": settings.duration_s,
        "loudness_db": settings.loudness_db,
        "silent": sum(not np.any(clip) for clip in clips),
        "skipped": dict(skipped),
        "clips": [
            {
                "name": name,
                "duration_s": clips.shape[1] / settings.sample_rate,
                "audio": sound_path(name, "original") if name in heard else None,
            }
            for name in names
        ],
    }


def curves(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rate and distortion of the methods that are points of a curve, by rate.

    Args:
        rows: "methods" of the results.

    Returns:
        "name" and "points" (kbit/s of files and marginal, SNR in dB, ViSQOL or None, label) of
        each curve.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        ratio, mos = (row["scores"].get(name, {}).get("mean") for name in ("snr_db", "visqol"))
        if row.get("curve") and row["kbit_per_s"] is not None and isinstance(ratio, float):
            point = {
                "kbit_per_s": row["kbit_per_s"],
                "marginal_kbit_per_s": row.get("marginal_kbit_per_s"),
                "snr_db": ratio,
                "visqol": mos,
                "label": row["name"],
            }
            found.setdefault(row["curve"], []).append(point)
    return [
        {"name": name, "points": sorted(points, key=lambda point: point["kbit_per_s"])}
        for name, points in found.items()
    ]


def source_digest() -> str:
    """SHA-256 of the package's code that results depend on; old results are not reused.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for file in sorted(_PACKAGE.rglob("*.py")):
        name = file.relative_to(_PACKAGE)
        if name.parts[0] not in _BESIDE:
            digest.update(name.as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def describe_run(seed: int) -> dict[str, Any]:
    """Origin of a results file: command, commit, versions, device, seed.

    Args:
        seed: of the intervals.

    Returns:
        JSON values.
    """
    import soundfile

    from isincnet_jax.benchmark import tables

    origin = provenance.record(_PERCEPTUAL)
    origin["versions"]["libsndfile"] = soundfile.__libsndfile_version__
    return {
        "format": tables.FORMAT,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        **origin,
        "seed": seed,
    }
