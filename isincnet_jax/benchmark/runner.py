"""Runner of methods over clips: reconstructions, times, scores; resumable, no failure ends it.

A method is a callable from waveforms to waveforms and what there is to say about it. Each one's
results are kept in a file of its own, named by a digest of everything that they depend on, so that
a run that was interrupted, or one with another method added, computes only what is missing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import rich.console
import rich.progress
from jaxtyping import Float

from isincnet_jax import provenance
from isincnet_jax.benchmark import metrics as metric_table
from isincnet_jax.benchmark import tables
from isincnet_jax.benchmark.methods import (
    Coded,
    Method,
    marginal_bits,
    safe_name,
    sound_path,
    write_sound,
)

_LOG = logging.getLogger(__name__)
_BATCH = 4


@dataclass(frozen=True)
class _Task:
    """What all methods of a run share."""

    clips: Float[np.ndarray, "clips time"]
    names: tuple[str, ...]
    sample_rate: int
    metrics: tuple[str, ...]
    speech: bool
    folder: Path
    audio_clips: tuple[str, ...]
    batch_size: int
    seed: int

    @property
    def duration_s(self) -> float:
        return self.clips.shape[1] / self.sample_rate


def run_benchmark(
    methods: Sequence[Method],
    clips: Float[np.ndarray, "clips time"],
    *,
    names: Sequence[str],
    sample_rate: int,
    folder: str | Path,
    partial: str | Path | None = None,
    metrics: Sequence[str] = metric_table.CORE,
    speech: bool = False,
    version: str = "",
    audio_clips: Sequence[str] = (),
    batch_size: int = _BATCH,
    seed: int = 0,
    show_progress: bool = False,
) -> list[dict[str, Any]]:
    """Benchmark of every method over every clip.

    Args:
        methods: with different names.
        clips: float32, [clips, time], finite.
        names: of the clips, all different.
        sample_rate: Hz.
        folder: of the sounds (``audio/``).
        partial: folder of the results of single methods; ``partial/`` in ``folder`` if None.
        metrics: names of :data:`.metrics.METRICS`.
        speech: whether the clips are speech.
        version: of the code; results of another one are not reused.
        audio_clips: names of clips whose reconstructions are written as FLAC.
        batch_size: clips per call.
        seed: of the bootstrap intervals.
        show_progress: a bar on standard error.

    Returns:
        An entry of "methods" of a results file for each method, in their order.

    Raises:
        ValueError: for clips and names that do not fit, or names that come twice.
    """
    wanted = metric_table.check_names(metrics)
    _check(methods, clips, names, audio_clips, batch_size)
    task = _Task(
        clips=np.ascontiguousarray(clips, np.float32),
        names=tuple(names),
        sample_rate=sample_rate,
        metrics=wanted,
        speech=speech,
        folder=Path(folder),
        audio_clips=tuple(audio_clips),
        batch_size=batch_size,
        seed=seed,
    )
    kept = task.folder / "partial" if partial is None else Path(partial)
    common = _digest_of_task(task, version)
    rows = []
    with _progress(show_progress) as bar, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        whole = bar.add_task("", total=len(methods) * len(task.clips))
        for method in methods:
            bar.update(whole, description=method.name)
            path = kept / f"{safe_name(method.name)}-{_key(method, common)}.json"
            row = _stored(path, task)
            if row is None:
                row = _run(method, task, pool, lambda count: bar.advance(whole, count))
                tables.write_json(path, {"format": tables.FORMAT, "row": row})
            else:
                bar.advance(whole, len(task.clips))
            rows.append(row)
    return rows


def _check(
    methods: Sequence[Method],
    clips: Float[np.ndarray, "clips time"],
    names: Sequence[str],
    audio_clips: Sequence[str],
    batch_size: int,
) -> None:
    if clips.ndim != 2 or len(clips) == 0 or clips.shape[1] == 0:
        raise ValueError(f"clips.shape={clips.shape}: must be [clips, time], neither of them 0")
    if len(names) != len(clips) or len(set(names)) != len(names):
        raise ValueError(f"{len(names)} names of {len(clips)} clips: each needs one of its own")
    if not np.all(np.isfinite(clips)):
        raise ValueError("clips: NaN or infinite samples; samples must be finite")
    titles = [method.name for method in methods]
    for title in titles:
        if titles.count(title) > 1:
            raise ValueError(f"two methods are called {title!r}; names are unique")
    missing = sorted(set(audio_clips) - set(names))
    if missing:
        raise ValueError(f"audio_clips: no clip is called {missing[0]!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: must be at least 1")


def _progress(show: bool) -> rich.progress.Progress:
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description:32.32}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
        console=rich.console.Console(stderr=True),
        disable=not show,
    )


def _digest_of_task(task: _Task, version: str) -> str:
    content = {
        "format": tables.FORMAT,
        "version": version,
        "names": task.names,
        "shape": task.clips.shape,
        "sample_rate": task.sample_rate,
        "metrics": task.metrics,
        "speech": task.speech,
        "seed": task.seed,
        "audio_clips": task.audio_clips,
        "device": provenance.device_name(),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    digest.update(task.clips.tobytes())
    return digest.hexdigest()


def _key(method: Method, common: str) -> str:
    content = [method.facts(), dict(method.settings), method.compiled]
    text = common + json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stored(path: Path, task: _Task) -> dict[str, Any] | None:
    """An earlier result, unless it is damaged, a complete failure, or its sounds are gone."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))["row"]
        sounds = [task.folder / sound for sound in row["audio"].values()]
        usable = len(row["failed"]) < len(task.clips) and all(map(Path.is_file, sounds))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _LOG.warning("%s: ignored and computed anew: %s", path, error)
        return None
    return row if usable else None


def _run(
    method: Method, task: _Task, pool: ThreadPoolExecutor, advance: Callable[[int], None]
) -> dict[str, Any]:
    """Reconstructs and scores all clips with one method."""
    scores: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    audio: dict[str, str] = {}
    bits: list[float] = []
    marginal: list[float] = []
    seconds, timed = 0.0, 0
    for start, results, spent in _reconstructions(method, task):
        if spent is not None:
            seconds, timed = seconds + spent, timed + len(results)
        places = range(start, start + len(results))
        scored = pool.map(lambda place, one: _score(method, task, place, one), places, results)
        for place, result, found in zip(places, results, scored, strict=True):
            name = task.names[place]
            if isinstance(found, str):
                _LOG.warning("%s: failed on %s: %s", method.name, name, found)
                failed[name] = found
                continue
            scores[name], more = found
            bits += [] if result.num_bits is None else [result.num_bits]
            marginal += [] if more is None else [more]
            if name in task.audio_clips:
                audio[name] = sound_path(name, method.name)
                write_sound(task.folder / audio[name], result.waveform, task.sample_rate)
        advance(len(results))
    facts = method.facts()
    if bits:
        facts["kbit_per_s"] = float(np.mean(bits)) / task.duration_s / 1e3
    if marginal:
        facts["marginal_kbit_per_s"] = float(np.mean(marginal)) / task.duration_s / 1e3
    means = {
        metric: tables.summarise([one[metric] for one in scores.values()], seed=task.seed)
        for metric in task.metrics
    }
    # x real time = seconds of audio of timed clips over seconds spent; failed batches are not timed
    speed = timed * task.duration_s / seconds if seconds > 0 else None
    measured = {"scores": means, "clips": scores, "failed": failed, "audio": audio}
    return tables.plain({**facts, "x_real_time": speed, **measured})


class _One(NamedTuple):
    """One clip's reconstruction and size, or why there is none."""

    waveform: Any = None
    num_bits: float | None = None
    reason: str | None = None


def _reconstructions(method: Method, task: _Task) -> Iterator[tuple[int, list[_One], float | None]]:
    """First clip, reconstructions and seconds (None if it failed) of batch after batch."""
    size = min(task.batch_size, len(task.clips))
    _attempt(method, task.clips[: size if method.compiled else 1])  # compiles, imports
    for start in range(0, len(task.clips), size):
        batch = task.clips[start : start + size]
        # Repeated clips, not silence, on which a method might fail.
        padded = batch[np.arange(size) % len(batch)] if method.compiled else batch
        begun = time.perf_counter()
        found = _attempt(method, padded)
        spent = time.perf_counter() - begun
        # A batch is timed by its full size, padding included.
        share = spent * len(batch) / len(padded)
        if isinstance(found, str) and size > 1:
            singles = [_attempt(method, clip[None].repeat(len(padded), 0)) for clip in batch]
            yield start, [_pick(single, 0) for single in singles], None
        else:
            failed = isinstance(found, str)
            yield start, [_pick(found, k) for k in range(len(batch))], None if failed else share


def _attempt(method: Method, batch: Float[np.ndarray, "batch time"]) -> Coded | str:
    """A reconstruction on the host, or why there is none."""
    try:
        found = method.reconstruct(batch)
        coded = found if isinstance(found, Coded) else Coded(found, None)
        waveform = np.asarray(jax.block_until_ready(coded.waveform))
    except Exception as error:  # any method may fail in any way; the others go on
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return re.sub(r" at 0x[0-9a-f]+", "", text)[:300]  # addresses differ from run to run
    if waveform.shape != batch.shape:
        return f"its output has the shape {waveform.shape}, not {batch.shape}"
    return Coded(waveform, coded.num_bits)


def _pick(found: Coded | str, index: int) -> _One:
    if isinstance(found, str):
        return _One(reason=found)
    num_bits = None if found.num_bits is None else float(found.num_bits[index])
    return _One(found.waveform[index], num_bits)


def _score(
    method: Method, task: _Task, place: int, result: _One
) -> tuple[dict[str, float | None], float | None] | str:
    """Scores and marginal bits of a clip, or why there are none."""
    if result.reason is not None:
        return result.reason
    if not np.all(np.isfinite(result.waveform)):
        return "its output has NaN or infinite samples"
    clip, marginal = task.clips[place], None
    try:
        scores = metric_table.score_clip(
            prediction=result.waveform,
            target=clip,
            sample_rate=task.sample_rate,
            names=task.metrics,
            speech=task.speech,
            given=method.given,
        )
        if method.file_bits is not None and result.num_bits is not None:
            marginal = marginal_bits(method.file_bits, clip, result.num_bits)
    except Exception as error:  # a perceptual model or a codec may refuse a clip
        return f"could not be scored: {type(error).__name__}: {error}"
    return scores, marginal
