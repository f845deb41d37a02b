"""Chunks of labelled tracks."""

from __future__ import annotations

import numpy as np
import pytest
from array_corpus import corpus_from_arrays
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.classifiers import chunks
from isincnet_jax.classifiers.labelled import Labelled
from isincnet_jax.data.pipeline import BatchPlan, draw


def _data(*lengths):
    """Track i is the constant 0.1 (i + 1), of class "a" or "b" in turn."""
    tracks = [
        (f"{i:02d}", "ab"[i % 2], np.full(length, 0.1 * (i + 1), np.float32))
        for i, length in enumerate(lengths)
    ]
    return Labelled(("a", "b"), {"train": corpus_from_arrays(tracks, sample_rate=1000)})


DATA = _data(30, 40, 50, 7)


def test_a_chunk_has_its_tracks_label_and_a_gain_of_its_own():
    plan = BatchPlan(batch_size=8, crop_samples=10, seed=3)
    waveform, targets = chunks.labelled_batch(DATA, plan, 5)
    tracks, _ = draw(plan, DATA.corpora["train"].lengths, 5)
    gains = waveform[:, 0] / (0.1 * (tracks + 1))
    assert waveform.dtype == targets.dtype == np.float32
    np.testing.assert_array_equal(targets, np.eye(2)[tracks % 2])
    assert np.all((gains > 0.8) & (gains < 1.2))
    assert len(np.unique(gains)) == 8
    for row, track in zip(waveform, tracks, strict=True):
        np.testing.assert_allclose(row[:7], row[0], rtol=1e-4)
        assert np.all(row[7:] == (0 if track == 3 else row[7]))


def test_gains_are_uniform():
    plan = BatchPlan(batch_size=400, crop_samples=5)
    waveform, _ = chunks.labelled_batch(_data(5, 5), plan, 0, gain=(0.5, 1.5))
    plain, _ = chunks.labelled_batch(_data(5, 5), plan, 0, gain=(1.0, 1.0))
    gains = waveform[:, 0] / plain[:, 0]
    np.testing.assert_allclose(np.quantile(gains, [0, 0.5, 1]), [0.5, 1.0, 1.5], atol=0.08)


@settings(max_examples=8)
@given(st.integers(0, 9), st.integers(0, 9), st.sampled_from([0.0, 0.4]))
def test_a_batch_is_a_function_of_seed_and_step_on_any_number_of_hosts(seed, step, mixup):
    plan = BatchPlan(batch_size=8, crop_samples=10, seed=seed)
    whole = chunks.labelled_batch(DATA, plan, step, mixup=mixup)
    again = chunks.labelled_batch(DATA, plan, step, mixup=mixup)
    shares = [
        chunks.labelled_batch(
            DATA,
            BatchPlan(batch_size=8, crop_samples=10, seed=seed, host_index=i, num_hosts=4),
            step,
            mixup=mixup,
        )
        for i in range(4)
    ]
    for part in (0, 1):
        np.testing.assert_array_equal(whole[part], again[part])
        np.testing.assert_array_equal(whole[part], np.concatenate([one[part] for one in shares]))
    other = chunks.labelled_batch(DATA, plan, step + 1, mixup=mixup)
    assert np.any(other[0] != whole[0])


def test_mixup_mixes_targets_as_waveforms():
    data = Labelled(
        ("a", "b"),
        {
            "train": corpus_from_arrays(
                [("0", "a", np.ones(9, np.float32)), ("1", "b", -np.ones(9, np.float32))],
                sample_rate=1000,
            )
        },
    )
    plan = BatchPlan(batch_size=64, crop_samples=4)
    waveform, targets = chunks.labelled_batch(data, plan, 0, gain=(1.0, 1.0), mixup=1.0)
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(waveform[:, 0], targets[:, 0] - targets[:, 1], atol=1e-3)
    assert np.sum((targets[:, 0] > 0.05) & (targets[:, 0] < 0.95)) > 10


@settings(max_examples=8)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 7),
)
def test_chunks_cover_every_sample_of_every_track(lengths, size, hop, batch_size):
    ramps = [(f"{i}", "a", np.arange(1.0, n + 1) / 64) for i, n in enumerate(lengths)]
    data = Labelled(("a",), {"test": corpus_from_arrays(ramps, sample_rate=1000)})
    seen = [set() for _ in lengths]
    plan = chunks.ChunkPlan(size, min(hop, size), batch_size)
    for batch, owner in chunks.track_chunks(data, "test", plan):
        assert batch.shape == (batch_size, size)
        assert np.all(batch[owner < 0] == 0)
        for row, track in zip(batch, owner, strict=True):
            if track >= 0:
                numbers = np.rint(row * 64).astype(int)
                inside = numbers[numbers > 0]
                np.testing.assert_array_equal(np.diff(inside), 1)
                assert len(inside) == min(size, lengths[track])
                seen[track] |= set(inside)
    assert [len(found) for found in seen] == lengths


def test_chunks_start_every_hop():
    data = Labelled(
        ("a",), {"test": corpus_from_arrays([("0", "a", np.arange(64) / 64)], sample_rate=1000)}
    )
    batch, owner = next(chunks.track_chunks(data, "test", chunks.ChunkPlan(20, 15, 8)))
    starts = np.rint(batch[owner == 0, 0] * 64)
    np.testing.assert_array_equal(starts, [0, 15, 30, 44])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda plan: chunks.labelled_batch(DATA, plan, 0, gain=(2.0, 1.0)), "gain="),
        (lambda plan: chunks.labelled_batch(DATA, plan, 0, mixup=-1.0), r"mixup=-1\.0"),
        (
            lambda plan: next(chunks.track_chunks(DATA, "train", chunks.ChunkPlan(4, 0, 1))),
            "hop_samples=0",
        ),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(BatchPlan(batch_size=2, crop_samples=4))
