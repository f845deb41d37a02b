"""Crops drawn on the device: exact slices, the same on any number of devices."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from isincnet_jax.training import parallel
from isincnet_jax.training.resident import ResidentCorpus, crop_drawer, resident_corpus

CROP = 10
LENGTHS = (10, 25, 11, 40)
SCALES = (0.5, 0.25, 2.0, 1.0)


def _corpus(samples=None, lengths=LENGTHS):
    # All samples differ, so a slice is known by its first; gaps between tracks are negative.
    starts = np.cumsum([3, *(length + 3 for length in lengths[:-1])])
    samples = np.full(starts[-1] + lengths[-1] + 3, -1) if samples is None else samples
    for number, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        samples[start : start + length] = 1000 * number + np.arange(length)
    return resident_corpus(
        samples, starts=starts, lengths=lengths, scales=SCALES[: len(lengths)], crop_samples=CROP
    )


def _draw(corpus, steps, *, num_devices=1, clips=8, seed=5):
    devices = jax.devices()[:num_devices]
    drawer = crop_drawer(crop_samples=CROP, clips_per_device=clips // num_devices, seed=seed)
    compiled = jax.pmap(drawer, axis_name="data", devices=devices)
    placed = parallel.replicate(corpus, devices)
    drawn = [compiled(placed, parallel.replicate(np.int32(step), devices)) for step in steps]
    return np.stack(
        [np.asarray(clips).reshape(clips.shape[0] * clips.shape[1], CROP) for clips in drawn]
    )


@pytest.fixture(scope="module")
def drawn():
    return _draw(_corpus(), range(60))


def test_crops_are_slices_and_all_are_reached(drawn):
    reached = {}
    for clip in drawn.reshape(-1, CROP):
        matches = []
        for number, (length, scale) in enumerate(zip(LENGTHS, SCALES, strict=True)):
            start = clip[0] / scale - 1000 * number
            if 0 <= start <= length - CROP and start == int(start):
                expected = (1000 * number + start + np.arange(CROP)) * scale
                matches += [(number, int(start))] if np.array_equal(clip, expected) else []
        assert matches, clip
        reached[matches[0]] = reached.get(matches[0], 0) + 1
    tracks = [sum(n for (track, _), n in reached.items() if track == number) for number in range(4)]
    # 480 crops of 4 tracks: 120 each, with a deviation of 9.5.
    assert all(80 < count < 160 for count in tracks)
    # 31 starts of the last track; 120 draws miss the first or the last with 1 in 25.
    assert {start for track, start in reached if track == 0} == {0}
    assert {start for track, start in reached if track == 2} == {0, 1}
    assert {start for track, start in reached if track == 1} == set(range(16))


@pytest.mark.parametrize("num_devices", [2, 8])
def test_devices_do_not_change_the_batches(drawn, num_devices):
    found = _draw(_corpus(), range(3), num_devices=num_devices)
    np.testing.assert_array_equal(found, drawn[:3])


def test_steps_and_seeds_differ(drawn):
    assert len(np.unique(drawn[:6].reshape(6, -1), axis=0)) == 6
    assert np.any(_draw(_corpus(), range(1), seed=6) != drawn[:1])


def test_types():
    corpus = _corpus()
    assert isinstance(corpus, ResidentCorpus)
    assert [np.dtype(array.dtype).name for array in corpus] == [
        "int16",
        "int32",
        "int32",
        "float32",
    ]


def test_errors():
    with pytest.raises(ValueError, match="the corpus has no tracks"):
        resident_corpus(np.zeros(5), starts=[], lengths=[], scales=[], crop_samples=1)
    with pytest.raises(ValueError, match="crop_samples=10: the shortest track has 9; use that"):
        _corpus(lengths=(20, 9))
    many = np.broadcast_to(np.int16(0), (1 << 31,))  # takes no memory
    with pytest.raises(ValueError, match=r"2147483648 samples are too many .*loader='numpy'"):
        resident_corpus(many, starts=[0], lengths=[1 << 31], scales=[1.0], crop_samples=10)
