"""Grain gives what NumPy gives, from any step, in threads and in processes."""

from __future__ import annotations

import itertools
import json
import pickle
from contextlib import closing

import numpy as np
import pytest
from array_corpus import corpus_from_arrays

from isincnet_jax.data import grain_batches, pipeline
from isincnet_jax.data.corpora import build_corpora
from isincnet_jax.data.corpus import CorpusError
from isincnet_jax.data.pipeline import BatchPlan

pytest.importorskip("grain")

LENGTHS = (300, 310, 450, 600, 330)


@pytest.fixture(scope="module")
def in_memory():
    rng = np.random.default_rng(3)
    waves = [(f"t{i}", "g", rng.uniform(-1, 1, n)) for i, n in enumerate(LENGTHS)]
    return corpus_from_arrays(waves, sample_rate=1000)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    built = build_corpora("generated", sample_rate=4000, loudness_db=None, cache_dir=cache)
    return built["train"]


def _take(iterator, count):
    return list(itertools.islice(iterator, count))


def _same(corpus, plan, *, start_step=0, count=8, **options):
    with closing(
        grain_batches.grain_batches(corpus, plan, start_step=start_step, **options)
    ) as ours:
        found = _take(ours, count)
    wanted = _take(pipeline.numpy_batches(corpus, plan, start_step=start_step), count)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("start_step", [0, 7])
@pytest.mark.parametrize("num_threads", [1, 4])
def test_batches_are_those_of_numpy(in_memory, start_step, num_threads):
    for host in range(2):
        plan = BatchPlan(4, crop_samples=200, seed=5, host_index=host, num_hosts=2)
        _same(in_memory, plan, start_step=start_step, num_threads=num_threads)
    _same(in_memory, BatchPlan(3, crop_samples=500, pad_short=True), start_step=start_step)


def test_a_state_goes_on_at_the_same_batch(in_memory):
    plan = BatchPlan(3, crop_samples=200, seed=1)
    wanted = _take(pipeline.numpy_batches(in_memory, plan, start_step=2), 9)
    with closing(grain_batches.grain_batches(in_memory, plan, start_step=2)) as first:
        np.testing.assert_array_equal(_take(first, 5), wanted[:5])
        state = json.loads(json.dumps(first.get_state()))  # what Grain's checkpoints hold
        np.testing.assert_array_equal(next(first), wanted[5])
    with closing(grain_batches.grain_batches(in_memory, plan, start_step=2)) as second:
        second.set_state(state)
        np.testing.assert_array_equal(_take(second, 4), wanted[5:])


def test_a_mapped_corpus_goes_to_workers_by_its_file(mapped, in_memory):
    plan = BatchPlan(3, crop_samples=4000)
    maker = grain_batches._MakeBatch(mapped, plan)
    sent = pickle.dumps(maker)
    assert len(sent) < 10_000 < mapped.samples.nbytes
    again = pickle.loads(sent)
    assert isinstance(again._corpus.samples, np.memmap)
    np.testing.assert_array_equal(again(7), maker(7))
    part = mapped.select(mapped.names[:3])
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(grain_batches._MakeBatch(part, plan)))(1),
        pipeline.make_batch(part, plan, 1),
    )
    maker = grain_batches._MakeBatch(in_memory, BatchPlan(3, crop_samples=100))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(maker))(1), maker(1))


def test_one_worker_process(mapped):
    _same(mapped, BatchPlan(3, crop_samples=2000), count=4, num_workers=1)


@pytest.mark.slow
def test_worker_processes_give_the_same_and_resume(mapped):
    plan = BatchPlan(4, crop_samples=2000, seed=2)
    wanted = _take(pipeline.numpy_batches(mapped, plan, start_step=5), 9)
    with closing(grain_batches.grain_batches(mapped, plan, start_step=5, num_workers=2)) as first:
        np.testing.assert_array_equal(_take(first, 5), wanted[:5])
        state = first.get_state()
    with closing(grain_batches.grain_batches(mapped, plan, start_step=5, num_workers=2)) as second:
        second.set_state(state)
        np.testing.assert_array_equal(_take(second, 4), wanted[5:])


def test_what_cannot_be_is_refused_at_once(in_memory):
    plan = BatchPlan(4, crop_samples=200)
    for options, message in (
        ({"start_step": -1}, "start_step=-1: must be 0 or more"),
        ({"num_workers": -1}, "num_workers=-1: must be 0 or more"),
        ({"num_threads": 0}, "num_threads=0: must be at least 1"),
        ({"prefetch": 0}, "prefetch=0: must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            grain_batches.grain_batches(in_memory, plan, **options)
    with pytest.raises(CorpusError, match="5 tracks, fewer than batch_size=6"):
        grain_batches.grain_batches(in_memory, BatchPlan(6, crop_samples=200))
    with pytest.raises(CorpusError, match="shorter than crop_samples=400"):
        grain_batches.grain_dataset(in_memory, BatchPlan(2, crop_samples=400))
