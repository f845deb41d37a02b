"""Chunks of labelled tracks: random ones to train with, all of them to decide by. NumPy only."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from isincnet_jax.classifiers.labelled import Labelled
from isincnet_jax.data.corpus import Corpus
from isincnet_jax.data.pipeline import BatchPlan, draw

_GAIN, _MIX = 2, 3  # streams of random numbers; 0 and 1 are those of pipeline.draw


def labelled_batch(
    data: Labelled,
    plan: BatchPlan,
    step: int,
    *,
    split: str = "train",
    gain: tuple[float, float] = (0.8, 1.2),
    mixup: float = 0.0,
) -> tuple[Float[np.ndarray, "batch time"], Float[np.ndarray, "batch classes"]]:
    """The host's share of one batch of chunks, a pure function of the plan's seed and the step.

    Tracks and first samples are those of :func:`.pipeline.draw`. Every chunk is multiplied by a
    number from U(gain). With mixup, a chunk x becomes ``w x + (1 - w) x'`` with another chunk of
    the corpus and ``w ~ Beta(mixup, mixup)``, and so does its target.

    Args:
        data: labelled corpora.
        plan: the batch; tracks shorter than ``crop_samples`` are followed by zeros, and may be
            fewer than clips of a batch.
        step: from 0.
        split: that chunks are taken of.
        gain: lowest and highest amplitude.
        mixup: parameter of the Beta distribution; 0 mixes nothing.

    Returns:
        float32 [batch, crop_samples] and targets, float32 [batch, classes], rows of sum 1.

    Raises:
        ValueError: for a gain that ends before it begins, or a negative mixup.

    References:
        H. Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018.
            https://arxiv.org/abs/1710.09412
    """
    if not gain[0] <= gain[1] or mixup < 0:
        raise ValueError(f"gain={gain}, mixup={mixup}: give (lowest, highest), and 0 or more")
    corpus, one_hot = data.corpora[split], np.eye(len(data.classes), dtype=np.float32)
    lengths, targets = corpus.lengths, one_hot[_labels(data, split)]
    batch = np.zeros((plan.host_batch, plan.crop_samples), np.float32)
    mixed = np.empty((plan.host_batch, len(data.classes)), np.float32)
    drawn = zip(*draw(plan, lengths, step, own_rows=True), strict=True)
    for row, (track, start) in enumerate(drawn):
        # Its number over all steps and hosts seeds what is drawn for it.
        item = step * plan.batch_size + plan.host_rows.start + row
        _fill(corpus, batch[row], int(track), int(start))
        mixed[row] = targets[track]
        if mixup:
            # x <- w x + (1 - w) x', w ~ Beta(a, a), and so the targets
            generator = np.random.default_rng([plan.seed, _MIX, item])
            weight = np.float32(generator.beta(mixup, mixup))
            other = int(generator.integers(len(lengths)))
            room = max(0, int(lengths[other]) - plan.crop_samples)
            partner = np.zeros(plan.crop_samples, np.float32)
            _fill(corpus, partner, other, int(generator.integers(room + 1)))
            batch[row] = weight * batch[row] + (1 - weight) * partner
            mixed[row] = weight * mixed[row] + (1 - weight) * targets[other]
        batch[row] *= np.random.default_rng([plan.seed, _GAIN, item]).uniform(*gain)
    return batch, mixed


class ChunkPlan(NamedTuple):
    """Chunk lengths and batches that a track is cut into for evaluation.

    Attributes:
        chunk_samples: length of a chunk.
        hop_samples: between the starts of chunks.
        batch_size: chunks that are classified at once.
    """

    chunk_samples: int
    hop_samples: int
    batch_size: int


def track_chunks(
    data: Labelled, split: str, plan: ChunkPlan
) -> Iterator[tuple[Float[np.ndarray, "batch time"], Int[np.ndarray, " batch"]]]:
    """Chunks of all tracks of a split, in batches of one size.

    Chunks start every ``hop_samples`` from the beginning of an entry, the last one ends with it. A
    shorter entry is one chunk, followed by zeros.

    Args:
        data: labelled corpora.
        split: that is classified.
        plan: lengths and batch, samples and chunks.

    Yields:
        float32 [batch_size, chunk_samples] and the track of each row, an index into
        ``data.track_names(split)``, -1 for rows that fill the last batch.

    Raises:
        ValueError: for sizes below 1.
    """
    if min(plan) < 1:
        raise ValueError(f"{plan}: all three must be at least 1")
    corpus, tracks = data.corpora[split], data.track_indices(split)
    places = _places(corpus, plan)
    while group := list(itertools.islice(places, plan.batch_size)):
        batch = np.zeros((plan.batch_size, plan.chunk_samples), np.float32)
        owner = np.full(plan.batch_size, -1, np.int64)
        for row, (index, start) in enumerate(group):
            _fill(corpus, batch[row], index, start)
            owner[row] = tracks[index]
        yield batch, owner


def _places(corpus: Corpus, plan: ChunkPlan) -> Iterator[tuple[int, int]]:
    for index, length in enumerate(corpus.lengths):
        # 0, hop, 2 hop, ... below the start of the chunk that ends with the entry, and that one.
        last = max(0, int(length) - plan.chunk_samples)
        for start in (*range(0, last, plan.hop_samples), last):
            yield index, start


def _fill(corpus: Corpus, target: np.ndarray, track: int, start: int) -> None:
    corpus.fill(target[: max(0, corpus.tracks[track].length - start)], track, start=start)


@functools.lru_cache(maxsize=2)  # training and validation data; each holds its corpus
def _labels(data: Labelled, split: str) -> np.ndarray:
    return data.labels(split)
