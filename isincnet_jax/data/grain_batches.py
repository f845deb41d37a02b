"""Batches by Grain; the same as those of ``data.pipeline``, in threads or worker processes.

A dataset over *steps*: each step is mapped to the clips that
:func:`isincnet_jax.data.pipeline.draw` gives for it. Grain's iterators remember their step, so a
checkpoint of one (``get_state``, or Grain's handlers for Orbax) goes on at the same batch.
"""

from __future__ import annotations

import dataclasses
import mmap
import sys
from typing import Any

import numpy as np
from jaxtyping import Float

from isincnet_jax import extras
from isincnet_jax.data.corpus import Corpus
from isincnet_jax.data.pipeline import BatchPlan, check_plan, make_batch


def grain_dataset(corpus: Corpus, plan: BatchPlan, *, start_step: int = 0) -> Any:
    """Batches as a ``grain.MapDataset``: item ``i`` is the batch of step ``start_step + i``.

    It has no end and draws its own order and crops, so it needs neither ``shuffle`` nor ``repeat``
    nor ``batch``; what changes batches, ``map`` say, may follow.

    Args:
        corpus: tracks, at least as many as clips in a batch. Worker processes map prepared corpora
            from their files; one in memory is copied to each.
        plan: the batch and the host's share of it.
        start_step: the first batch is the one that a run from 0 has after so many.

    Returns:
        A ``grain.MapDataset`` of float32 [batch_size / num_hosts, crop_samples].

    Raises:
        CorpusError: at once, if the corpus cannot fill the batches.
        ValueError: for a negative step.
        ImportError: without Grain.
    """
    with extras.importing("grain"):
        import grain  # noqa: PLC0415
    check_plan(corpus, plan)
    if start_step < 0:
        raise ValueError(f"start_step={start_step}: must be 0 or more")
    return grain.MapDataset.range(start_step, sys.maxsize).map(_MakeBatch(corpus, plan))


def grain_batches(
    corpus: Corpus,
    plan: BatchPlan,
    *,
    start_step: int = 0,
    num_workers: int = 0,
    num_threads: int = 2,
    prefetch: int = 2,
) -> Any:
    """Batches without end by Grain, from a step on; equal to those of ``numpy_batches``.

    Args:
        corpus: see :func:`grain_dataset`.
        plan: the batch and the host's share of it.
        start_step: the first batch is the one that a run from 0 has after so many.
        num_workers: processes that make batches; 0 makes them in threads of this one. They are
            spawned: a script that asks for them stands under ``if __name__ == "__main__"``.
        num_threads: that make batches, in each process.
        prefetch: batches kept ready, by each process; at least 1.

    Returns:
        A ``grain.DatasetIterator`` of float32 [batch_size / num_hosts, crop_samples], with
        ``get_state``, ``set_state`` and ``close``. A state fits iterators of the same arguments.

    Raises:
        CorpusError: at once, if the corpus cannot fill the batches.
        ValueError: for a negative step or number of workers, or numbers below 1.
        ImportError: without Grain.
    """
    if num_workers < 0:
        raise ValueError(f"num_workers={num_workers}: must be 0 or more")
    for name, value in (("num_threads", num_threads), ("prefetch", prefetch)):
        if value < 1:
            raise ValueError(f"{name}={value}: must be at least 1")
    dataset = grain_dataset(corpus, plan, start_step=start_step)
    with extras.importing("grain"):
        import grain  # noqa: PLC0415
    from absl import flags  # noqa: PLC0415 - Grain brings it

    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
    batches = dataset.to_iter_dataset(options)
    if num_workers:
        # Grain reads flags of absl, which only programs under absl.app have parsed.
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        batches = batches.mp_prefetch(
            grain.MultiprocessingOptions(num_workers, per_worker_buffer_size=prefetch)
        )
    return iter(batches)


class _MakeBatch:
    """The batch of a step; goes to other processes without what is mapped from a file."""

    def __init__(self, corpus: Corpus, plan: BatchPlan) -> None:
        self._corpus, self._plan = corpus, plan

    def __call__(self, step: int) -> Float[np.ndarray, "batch time"]:
        return make_batch(self._corpus, self._plan, int(step))

    def __getstate__(self) -> tuple[Corpus, BatchPlan, tuple[Any, int, Any] | None]:
        samples = self._corpus.samples
        # Slices of what is mapped do not know where they begin: only all of it is mapped anew.
        if isinstance(samples, np.memmap) and isinstance(samples.base, mmap.mmap):
            bare = dataclasses.replace(self._corpus, samples=np.zeros(0, np.int16))
            return bare, self._plan, (samples.filename, samples.offset, samples.shape)
        return self._corpus, self._plan, None

    def __setstate__(self, state: tuple[Corpus, BatchPlan, tuple[Any, int, Any] | None]) -> None:
        self._corpus, self._plan, mapped = state
        if mapped is not None:
            filename, offset, shape = mapped
            samples = np.memmap(filename, np.int16, mode="r", offset=offset, shape=shape)
            self._corpus = dataclasses.replace(self._corpus, samples=samples)
