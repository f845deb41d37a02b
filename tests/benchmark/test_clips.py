"""Means over clips by hand."""

from __future__ import annotations

import numpy as np
import pytest

from isincnet_jax.benchmark.clips import METRICS, clip_metrics, evaluate_clips, per_clip_metrics
from isincnet_jax.dsp import spectral_distances


def _by_hand(prediction, target):
    prediction, target = np.asarray(prediction, np.float64), np.asarray(target, np.float64)
    error = target - prediction
    along = (prediction @ target) / (target @ target) * target
    return {
        "mse": np.mean(error**2),
        "mae": np.mean(np.abs(error)),
        "snr_db": 10 * np.log10(np.sum(target**2) / np.sum(error**2)),
        "si_sdr_db": 10 * np.log10(np.sum(along**2) / np.sum((along - prediction) ** 2)),
    }


def _spoil(batch):
    """A reconstruction whose error depends on the clip."""
    return np.round(batch * 20) / 20


@pytest.fixture
def clips(rng):
    return [rng.uniform(-1, 1, size).astype(np.float32) for size in (300, 300, 300, 200, 300, 50)]


def test_one_clip(rng):
    target = rng.uniform(-1, 1, 300).astype(np.float32)
    found = clip_metrics(prediction=_spoil(target), target=target)
    assert set(found) == set(METRICS)
    for name, value in _by_hand(_spoil(target), target).items():
        assert found[name] == pytest.approx(value, rel=1e-6), name
    spectral = spectral_distances.log_stft(prediction=_spoil(target), target=target)
    assert found["log_stft"] == pytest.approx(float(spectral))
    assert found["log_stft"] > 0


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_means_over_ragged_clips(clips, batch_size):
    shapes = []

    def reconstruct(batch):
        shapes.append(batch.shape)
        return _spoil(batch)

    found = evaluate_clips(reconstruct, clips, batch_size=batch_size)
    rows = [_by_hand(_spoil(clip), clip) for clip in clips]
    for name in rows[0]:
        expected = np.mean([row[name] for row in rows])
        assert found[name] == pytest.approx(expected, rel=1e-6), name
    assert found["worst_snr_db"] == pytest.approx(min(row["snr_db"] for row in rows))
    assert {shape[0] for shape in shapes} == {batch_size}
    assert {shape[1] for shape in shapes} == {300, 200, 50}
    assert len(shapes) == {1: 6, 2: 5, 8: 4}[batch_size]


def test_order_and_padding(rng):
    """Every clip once, in order; the silence of the last batch does not count."""
    clips = rng.uniform(-1, 1, (5, 100)).astype(np.float32)

    def reconstruct(batch):
        assert batch.shape == (4, 100)
        return np.where(np.any(batch, axis=1, keepdims=True), _spoil(batch), 1e6)

    rows = per_clip_metrics(reconstruct, clips, batch_size=4)
    assert len(rows) == 5
    for row, clip in zip(rows, clips, strict=True):
        assert row["mse"] == pytest.approx(np.mean((_spoil(clip) - clip.astype(float)) ** 2))


def test_errors():
    with pytest.raises(ValueError, match="no clips to evaluate; give at least one"):
        evaluate_clips(lambda batch: batch, [])
    with pytest.raises(ValueError, match=r"prediction\.shape=\(9,\) and target\.shape=\(10,\)"):
        evaluate_clips(lambda batch: batch[:, 1:], [np.ones(10, np.float32)])


def test_silent_clips_do_not_enter_the_ratios(rng):
    clips = np.stack([np.zeros(4000), rng.standard_normal(4000)]).astype(np.float32)
    scores = evaluate_clips(lambda batch: 0.9 * batch + 1e-3, clips)
    error = 0.1 * clips[1].astype(np.float64) - 1e-3
    expected = 10 * np.log10(np.sum(clips[1].astype(np.float64) ** 2) / np.sum(error**2))
    assert abs(scores["snr_db"] - expected) < 1e-3
    assert scores["worst_snr_db"] == scores["snr_db"]
    assert abs(scores["mae"] - (1e-3 + np.mean(np.abs(error))) / 2) < 1e-6


@pytest.mark.quick(0)
def test_only_silence_has_no_ratio():
    scores = evaluate_clips(lambda batch: batch, np.zeros((2, 4000), np.float32))
    assert np.isnan(scores["snr_db"])
    assert scores["mse"] == 0.0
