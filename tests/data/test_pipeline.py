"""Batches: pure functions of seed and step, fair, resumable, shared by hosts."""

from __future__ import annotations

import itertools
import logging
import threading
import time

import numpy as np
import pytest
import scipy.stats
from array_corpus import corpus_from_arrays
from hypothesis import given
from hypothesis import strategies as st

from isincnet_jax.data import pipeline
from isincnet_jax.data.corpus import CorpusError
from isincnet_jax.data.pipeline import BatchPlan
from isincnet_jax.data.prefetching import prefetch


def _ramps(lengths, sample_rate=1000):
    """Sample t of track i is (i + 1) / 100 + t / 100,000: a crop tells where it is from."""
    return corpus_from_arrays(
        [
            (f"t{i:03d}", "g", ((i + 1) / 100 + np.arange(n) / 1e5).astype(np.float32))
            for i, n in enumerate(lengths)
        ],
        sample_rate=sample_rate,
    )


def _take(iterator, count):
    return list(itertools.islice(iterator, count))


@given(
    num_tracks=st.integers(1, 30),
    batch=st.integers(1, 8),
    seed=st.integers(0, 2**33),
    first=st.integers(0, 50),
)
def test_every_track_comes_once_an_epoch(num_tracks, batch, seed, first):
    plan = BatchPlan(batch_size=batch, crop_samples=10, seed=seed)
    lengths = np.full(num_tracks, 15)
    steps = range(first, first + 1 + 3 * num_tracks // batch)
    tracks = np.concatenate([pipeline.draw(plan, lengths, step)[0] for step in steps])
    items = np.arange(first * batch, first * batch + len(tracks))
    for epoch in np.unique(items // num_tracks):
        own = tracks[items // num_tracks == epoch]
        assert len(set(own)) == len(own)
        if len(own) == num_tracks:
            assert sorted(own) == list(range(num_tracks))


@given(
    lengths=st.lists(st.integers(5, 40), min_size=1, max_size=12),
    step=st.integers(0, 10**6),
    seed=st.integers(0, 99),
)
def test_crops_lie_within_their_tracks(lengths, step, seed):
    plan = BatchPlan(batch_size=len(lengths), crop_samples=5, seed=seed)
    tracks, starts = pipeline.draw(plan, np.array(lengths), step)
    assert tracks.dtype == starts.dtype == np.int64
    assert np.all(starts >= 0)
    assert np.all(starts + 5 <= np.array(lengths)[tracks])
    again = pipeline.draw(plan, np.array(lengths), step)
    np.testing.assert_array_equal(again, (tracks, starts))


def test_crops_are_uniform_and_epochs_differ():
    plan = BatchPlan(batch_size=10, crop_samples=10)
    lengths = np.full(10, 29)  # starts 0 to 19
    draws = [pipeline.draw(plan, lengths, step) for step in range(200)]
    counts = np.bincount(np.concatenate([starts for _, starts in draws]), minlength=20)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    orders = {tuple(tracks) for tracks, _ in draws}
    assert len(orders) > 195  # of 3.6 million
    places = np.array([tracks for tracks, _ in draws])
    for track in range(10):
        at = np.bincount(np.nonzero(places == track)[1], minlength=10)
        assert scipy.stats.chisquare(at).pvalue > 1e-4


@given(
    num_hosts=st.sampled_from([1, 2, 3, 4]),
    share=st.integers(1, 3),
    seed=st.integers(0, 9),
    start=st.integers(0, 40),
)
def test_hosts_together_make_the_batch_of_one(num_hosts, share, seed, start):
    corpus = _ramps([30, 31, 45, 60, 33, 38, 50, 77, 41, 59, 36, 43])
    batch = num_hosts * share
    whole = BatchPlan(batch_size=batch, crop_samples=30, seed=seed)
    one = _take(pipeline.numpy_batches(corpus, whole, start_step=start), 3)
    shares = []
    for host in range(num_hosts):
        plan = BatchPlan(
            batch_size=batch, crop_samples=30, seed=seed, host_index=host, num_hosts=num_hosts
        )
        shares.append(_take(pipeline.numpy_batches(corpus, plan, start_step=start), 3))
        assert shares[-1][0].shape == (share, 30)
    for step in range(3):
        np.testing.assert_array_equal(np.concatenate([own[step] for own in shares]), one[step])


@given(start=st.integers(0, 30), seed=st.integers(0, 5))
def test_resuming_gives_what_would_have_come(start, seed):
    corpus = _ramps([30, 31, 45, 60, 33])
    plan = BatchPlan(batch_size=3, crop_samples=20, seed=seed)
    fresh = _take(pipeline.numpy_batches(corpus, plan), start + 3)[start:]
    resumed = _take(pipeline.numpy_batches(corpus, plan, start_step=start), 3)
    np.testing.assert_array_equal(resumed, fresh)


def test_batches_are_the_crops_that_were_drawn():
    lengths = [30, 31, 45, 60, 33]
    corpus = _ramps(lengths)
    plan = BatchPlan(batch_size=4, crop_samples=20, seed=1)
    for step, batch in enumerate(_take(pipeline.numpy_batches(corpus, plan), 5)):
        assert batch.dtype == np.float32
        tracks, starts = pipeline.draw(plan, corpus.lengths, step)
        expected = (tracks[:, None] + 1) / 100 + (starts[:, None] + np.arange(20)) / 1e5
        np.testing.assert_allclose(batch, expected, atol=2e-6)
        np.testing.assert_array_equal(batch, pipeline.make_batch(corpus, plan, step))


def test_short_tracks_are_padded_when_asked():
    corpus = _ramps([10, 30])
    plan = BatchPlan(batch_size=2, crop_samples=20, pad_short=True)
    batch = next(pipeline.numpy_batches(corpus, plan))
    tracks, starts = pipeline.draw(plan, corpus.lengths, 0)
    row = list(tracks).index(0)
    assert starts[row] == 0
    np.testing.assert_array_equal(batch[row, :10], corpus.clip(0))
    assert not batch[row, 10:].any()


def test_what_cannot_fill_a_batch_is_said_at_once():
    corpus = _ramps([10, 30, 40])
    with pytest.raises(CorpusError, match="3 tracks, fewer than batch_size=4; use batch_size=3"):
        pipeline.numpy_batches(corpus, BatchPlan(batch_size=4, crop_samples=5))
    with pytest.raises(
        CorpusError,
        match=r"1 of 3 tracks are shorter than crop_samples=20 \(0\.020 s\); the shortest, t000, "
        r"has 10 \(0\.010 s\), the longest crop possible; use that, or pad_short=True",
    ):
        pipeline.numpy_batches(corpus, BatchPlan(batch_size=2, crop_samples=20))
    with pytest.raises(CorpusError, match="has no tracks"):
        pipeline.numpy_batches(corpus.select([]), BatchPlan(batch_size=1, crop_samples=5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size=0: must be at least 1"),
        ({"crop_samples": 0}, "crop_samples=0: must be at least 1"),
        ({"seed": -3}, "seed=-3: must be 0 or more; use 3"),
        ({"num_hosts": 3}, "batch_size=8: not divisible by num_hosts=3; use 9"),
        ({"num_hosts": 20}, "batch_size=8: not divisible by num_hosts=20; use 20"),
        ({"host_index": 2, "num_hosts": 2}, "host_index=2: hosts are 0 to 1 with num_hosts=2"),
    ],
)
def test_impossible_plans_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        BatchPlan(**({"batch_size": 8, "crop_samples": 10} | change))


def test_validation_clips_are_the_beginnings(caplog):
    corpus = _ramps([10, 30, 40, 50, 60])
    with caplog.at_level(logging.INFO):
        names, clips = pipeline.validation_clips(corpus, duration_s=0.03)
    assert names == ["t001", "t002", "t003", "t004"]
    assert clips.shape == (4, 30)
    assert clips.dtype == np.float32
    np.testing.assert_array_equal(clips[2], corpus.clip(3, length=30))
    assert "1 of 5 tracks are shorter than 0.030 s" in caplog.text
    names, clips = pipeline.validation_clips(corpus, duration_s=0.03, max_clips=2)
    assert names == ["t001", "t003"]
    assert len(clips) == 2


def test_impossible_validation_clips_are_refused():
    corpus = _ramps([10, 30])
    with pytest.raises(CorpusError, match=r"none of 2 tracks is so long; use 0\.030 or less"):
        pipeline.validation_clips(corpus, duration_s=0.04)
    with pytest.raises(ValueError, match="has no sample"):
        pipeline.validation_clips(corpus, duration_s=0.0)
    with pytest.raises(ValueError, match="max_clips=0"):
        pipeline.validation_clips(corpus, duration_s=0.01, max_clips=0)


def _threads():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_prefetching_changes_nothing_and_ends():
    assert list(prefetch(iter(range(50)), size=3)) == list(range(50))
    assert _threads() == []


def test_prefetching_passes_errors_on_in_their_place():
    def failing():
        yield 1
        yield 2
        raise KeyError("here")

    ahead = prefetch(failing(), size=5)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(KeyError, match="here"):
        next(ahead)
    assert list(ahead) == []
    assert _threads() == []


def test_closing_ends_the_thread_and_the_generator():
    closed = []

    def endless():
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    with prefetch(endless(), size=2) as ahead:
        assert _take(ahead, 10) == list(range(10))
    assert closed == [True]
    assert _threads() == []
    assert list(ahead) == []


def test_a_prefetcher_that_is_forgotten_ends_its_thread():
    ahead = prefetch(itertools.count(), size=2)
    assert next(ahead) == 0
    del ahead
    deadline = time.monotonic() + 100
    while _threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _threads() == []


def test_an_empty_store_is_refused():
    with pytest.raises(ValueError, match="size=0: must be at least 1"):
        prefetch(iter([]), size=0)
