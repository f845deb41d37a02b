"""Batches of crops, in NumPy: a pure function of the seed and the step.

Item ``k`` of a run, counted from 0 over all steps and hosts, takes its track from a permutation
of all tracks that is drawn anew for every epoch, and its first sample from a generator of its
own. Nothing is remembered between steps, so training resumes at any step with the same batches,
on any number of hosts.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from isincnet_jax.data.corpus import Corpus, CorpusError
from isincnet_jax.dsp import settling

_LOG = logging.getLogger(__name__)
_PERMUTATION, _START = 0, 1  # streams of random numbers under one seed


@dataclass(frozen=True)
class BatchPlan:
    """Batch plan: what a batch is, and whose share of it this host takes.

    Attributes:
        batch_size: clips of a batch, of all hosts together.
        crop_samples: length of a clip.
        seed: of the order and of the crops, 0 or more.
        host_index: this host, from 0.
        num_hosts: each takes an equal, consecutive share of every batch.
        pad_short: tracks shorter than a crop are followed by zeros instead of refused.

    Raises:
        ValueError: for sizes below 1, or a batch that hosts cannot share equally.
    """

    batch_size: int
    crop_samples: int
    seed: int = 0
    host_index: int = 0
    num_hosts: int = 1
    pad_short: bool = False

    def __post_init__(self) -> None:
        settling.settle_fields(self)
        for name in ("batch_size", "crop_samples", "num_hosts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed}: must be 0 or more; use {-self.seed}")
        if not 0 <= self.host_index < self.num_hosts:
            raise ValueError(
                f"host_index={self.host_index}: hosts are 0 to {self.num_hosts - 1} "
                f"with num_hosts={self.num_hosts}"
            )
        if self.batch_size % self.num_hosts:
            nearest = max(1, round(self.batch_size / self.num_hosts)) * self.num_hosts
            raise ValueError(
                f"batch_size={self.batch_size}: not divisible by num_hosts={self.num_hosts}; "
                f"use {nearest}"
            )

    @property
    def host_batch(self) -> int:
        """Clips of a batch that this host takes."""
        return self.batch_size // self.num_hosts

    @property
    def host_rows(self) -> slice:
        """Rows of the batch of all hosts that this host takes."""
        return slice(
            self.host_index * self.host_batch,
            self.host_index * self.host_batch + self.host_batch,
        )


@functools.lru_cache(maxsize=8)
def _permutation(seed: int, epoch: int, num_tracks: int) -> np.ndarray:
    return np.random.default_rng([seed, _PERMUTATION, epoch]).permutation(num_tracks)


def draw(
    plan: BatchPlan, lengths: Int[np.ndarray, " tracks"], step: int, *, own_rows: bool = False
) -> tuple[Int[np.ndarray, " batch"], Int[np.ndarray, " batch"]]:
    """Tracks and first samples of one batch, a pure function of its arguments.

    Item ``k = step * batch_size + row`` is at position ``k mod tracks`` of epoch ``k // tracks``:
    every track comes once an epoch, and a batch may reach into the next. The first sample is
    uniform over all that leave room for the crop, 0 for tracks that are shorter.

    Args:
        plan: the batch.
        lengths: samples of each track.
        step: from 0.
        own_rows: only the rows of the plan's host; else those of all hosts.

    Returns:
        Indices of tracks, int64 [batch], and first samples, int64 [batch].
    """
    rows = range(plan.batch_size)[plan.host_rows if own_rows else slice(None)]
    tracks = np.empty(len(rows), np.int64)
    starts = np.empty(len(rows), np.int64)
    for place, row in enumerate(rows):
        # k = step batch_size + row, over all hosts: what it draws depends on k and the seed alone.
        item = step * plan.batch_size + row
        epoch, position = divmod(item, len(lengths))
        track = _permutation(plan.seed, epoch, len(lengths))[position]
        # start ~ U{0 ... length - crop}
        room = max(0, int(lengths[track]) - plan.crop_samples)
        generator = np.random.default_rng([plan.seed, _START, item])
        tracks[place], starts[place] = track, generator.integers(0, room + 1)
    return tracks, starts


def check_plan(corpus: Corpus, plan: BatchPlan) -> None:
    """Refuses a corpus that cannot fill the batches of a plan.

    Args:
        corpus: to draw from.
        plan: the batch.

    Raises:
        CorpusError: if there are fewer tracks than clips in a batch, or a track is shorter than
            a crop and the plan does not pad.
    """
    where = f"corpus {corpus.source}" if corpus.source else "corpus"
    if len(corpus) == 0:
        raise CorpusError(f"{where}: has no tracks; look at the splits and the source")
    if len(corpus) < plan.batch_size:
        raise CorpusError(
            f"{where}: {len(corpus)} tracks, fewer than batch_size={plan.batch_size}; "
            f"use batch_size={len(corpus)} or less, or more tracks"
        )
    lengths = corpus.lengths
    num_short, shortest = int(np.sum(lengths < plan.crop_samples)), int(np.argmin(lengths))
    if num_short and not plan.pad_short:
        rate, limit = corpus.sample_rate, int(lengths[shortest])
        raise CorpusError(
            f"{where}: {num_short} of {len(corpus)} tracks are shorter than "
            f"crop_samples={plan.crop_samples} ({plan.crop_samples / rate:.3f} s); the shortest, "
            f"{corpus.tracks[shortest].name}, has {limit} ({limit / rate:.3f} s), the longest crop "
            "possible; use that, or pad_short=True"
        )


def make_batch(corpus: Corpus, plan: BatchPlan, step: int) -> Float[np.ndarray, "batch time"]:
    """The host's share of one batch; see :func:`draw`.

    Args:
        corpus: that fits the plan, see :func:`check_plan`.
        plan: the batch and the host's share of it.
        step: from 0.

    Returns:
        float32 [batch_size / num_hosts, crop_samples].
    """
    return _gather(corpus, plan, corpus.lengths, step)


def _gather(corpus: Corpus, plan: BatchPlan, lengths: np.ndarray, step: int) -> np.ndarray:
    batch = np.empty((plan.host_batch, plan.crop_samples), np.float32)
    for row, track, start in zip(batch, *draw(plan, lengths, step, own_rows=True), strict=True):
        count = min(plan.crop_samples, int(lengths[track]) - int(start))
        corpus.fill(row[:count], int(track), start=int(start))
        row[count:] = 0.0
    return batch


def numpy_batches(
    corpus: Corpus, plan: BatchPlan, *, start_step: int = 0
) -> Iterator[Float[np.ndarray, "batch time"]]:
    """Batches without end, from a step on.

    The rows of all hosts, one host after the other, are the batch of a single host.

    Args:
        corpus: tracks, at least as many as clips in a batch.
        plan: the batch.
        start_step: the first batch is the one that a run from 0 has after so many.

    Returns:
        An iterator of float32 [batch_size / num_hosts, crop_samples].

    Raises:
        CorpusError: at once, if the corpus cannot fill the batches.
    """
    check_plan(corpus, plan)
    lengths = corpus.lengths

    def batches() -> Iterator[np.ndarray]:
        step = start_step
        while True:
            yield _gather(corpus, plan, lengths, step)
            step += 1

    return batches()


def validation_clips(
    corpus: Corpus, *, duration_s: float, max_clips: int | None = None
) -> tuple[Sequence[str], Float[np.ndarray, "clips time"]]:
    """The same clips at every evaluation: the beginning of each track.

    Tracks that are shorter are left out, and counted in the log.

    Args:
        corpus: tracks, taken in order.
        duration_s: length of a clip.
        max_clips: no more than so many; spread evenly over the tracks, so over groups.

    Returns:
        Names, and float32 [clips, round(duration_s * sample_rate)].

    Raises:
        CorpusError: if no track is long enough.
        ValueError: if a clip would have no samples, or max_clips is below 1.
    """
    if not 0.5 < duration_s * corpus.sample_rate < math.inf:
        raise ValueError(f"duration_s={duration_s}: has no sample at {corpus.sample_rate} Hz")
    num_samples = round(duration_s * corpus.sample_rate)
    if max_clips is not None and max_clips < 1:
        raise ValueError(f"max_clips={max_clips}: must be at least 1, or None for all")
    lengths = corpus.lengths
    usable = np.flatnonzero(lengths >= num_samples)
    if len(usable) == 0:
        longest = int(np.max(lengths, initial=0)) / corpus.sample_rate
        raise CorpusError(
            f"duration_s={duration_s}: none of {len(corpus)} tracks is so long; "
            f"use {longest:.3f} or less"
        )
    if len(usable) < len(corpus):
        _LOG.info(
            "%d of %d tracks are shorter than %.3f s and left out",
            len(corpus) - len(usable),
            len(corpus),
            duration_s,
        )
    if max_clips is not None and max_clips < len(usable):
        # Clip k of n is usable track floor(k all / n).
        usable = usable[np.arange(max_clips) * len(usable) // max_clips]
    clips = np.empty((len(usable), num_samples), np.float32)  # [clips, time]
    for row, index in zip(clips, usable, strict=True):
        corpus.fill(row, int(index), start=0)
    return [corpus.tracks[index].name for index in usable], clips
