"""Measures of an ablation on transforms whose figures are known beforehand."""

from __future__ import annotations

import time

import numpy as np
import pytest

from isincnet_jax.ablation import measures
from isincnet_jax.classifiers.training import wilson_interval


@pytest.fixture
def clips(rng):
    return rng.standard_normal((3, 20_000)).astype(np.float32)


def _identity(signal):
    return np.asarray(signal)


def _scores(clips, **changes):
    transform = {
        "encode": lambda clip: clip[..., None],
        "decode": lambda kept: np.asarray(kept)[..., 0],
        "quantize": _identity,
    }
    return measures.reconstruction_scores(clips, **{**transform, **changes})


def test_noise_of_an_orthonormal_transform_passes_as_it_is(clips):
    found = _scores(clips, noise_snr_db=20.0)
    assert found["snr_db"]["mean"] == np.inf
    assert found["snr_db"]["exact"] == 3
    assert found["noisy_snr_db"]["mean"] == pytest.approx(20.0, abs=0.15)
    assert found["noisy_snr_db"]["worst"] == pytest.approx(20.0, abs=0.2)


def test_redundancy_averages_the_noise_away(clips):
    found = _scores(
        clips,
        encode=lambda clip: np.stack([clip] * 4, axis=-1),
        decode=lambda kept: np.mean(kept, axis=-1),
        noise_snr_db=10.0,
    )
    assert found["noisy_snr_db"]["mean"] == pytest.approx(16.02, abs=0.15)


def test_rounding_is_seen_as_it_is(clips):
    step = 0.25
    found = _scores(clips, quantize=lambda kept: step * np.round(kept / step))
    wanted = 10 * np.log10(12 / step**2)  # unit power over the variance of a uniform error
    assert found["quantized_snr_db"]["mean"] == pytest.approx(wanted, abs=0.15)
    values = found["quantized_snr_db"]
    assert values["worst"] <= values["low"] <= values["mean"] <= values["high"]


def test_the_noise_is_that_of_the_seed(clips):
    first, again, other = (_scores(clips, seed=seed)["noisy_snr_db"] for seed in (1, 1, 2))
    assert first == again != other


def test_silence_is_undefined_not_an_error(clips):
    found = _scores(np.stack([clips[0], np.zeros_like(clips[0])]))
    assert found["noisy_snr_db"]["undefined"] == 1
    assert found["noisy_snr_db"]["count"] == 1


def test_what_is_not_finite_is_an_error(clips):
    with pytest.raises(ValueError, match="snr_db: the reconstruction has NaN"):
        _scores(clips, decode=lambda kept: np.full(clips[:1].shape, np.nan))
    with pytest.raises(ValueError, match="no clips"):
        _scores(clips[:0])


def test_speed_is_that_of_the_fastest_repeat_and_not_of_the_first_call(monkeypatch):
    spent = iter([0.1, 0.5, 0.4, 0.2])
    clock = [0.0]

    def work():
        clock[0] += next(spent)

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    assert measures.times_real_time(work, duration_s=10.0, repeats=3) == pytest.approx(50.0)
    with pytest.raises(ValueError, match="repeats=0"):
        measures.times_real_time(work, duration_s=1.0, repeats=0)


def test_accuracies_have_an_interval_over_seeds_and_one_over_tracks():
    runs = [
        {"accuracy": hits / 120, "tracks": 120, "filter_movement_hz": hits} for hits in (84, 90, 87)
    ]
    found = measures.accuracy_over_seeds(runs, wilson=wilson_interval)
    assert found["accuracy"] == pytest.approx(87 / 120)
    assert found["filter_movement_hz"] == pytest.approx(87)
    # s = 3 hits, t = 4.3027 for two degrees of freedom, n = 3
    assert found["seeds_high"] - 87 / 120 == pytest.approx(4.30265 * 3 / 3**0.5 / 120, rel=1e-5)
    # A track counts once: three seeds do not make 360 of them.
    assert (found["tracks_low"], found["tracks_high"]) == wilson_interval(87, 120)


def test_intervals_over_seeds_stay_within_0_and_1():
    runs = [{"accuracy": share, "tracks": 2} for share in (1.0, 0.5)]
    found = measures.accuracy_over_seeds(runs, wilson=wilson_interval)
    assert (found["seeds_low"], found["seeds_high"]) == (0.0, 1.0)
    assert found["filter_movement_hz"] is None


def test_one_seed_and_none():
    found = measures.accuracy_over_seeds([{"accuracy": 0.5, "tracks": 10}], wilson=wilson_interval)
    assert found["seeds_low"] is None
    assert found["tracks_low"] < 0.5 < found["tracks_high"]
    assert measures.accuracy_over_seeds([], wilson=wilson_interval) is None


def _summary(*accuracies, tracks=400, seeds=None):
    return {
        "accuracy": float(np.mean(accuracies)),
        "accuracies": list(accuracies),
        "seeds": list(range(len(accuracies)) if seeds is None else seeds),
        "tracks": tracks,
    }


def _rows(**cells):
    return [{"name": name, "classification": {"genre": cell}} for name, cell in cells.items()]


def test_a_difference_counts_beyond_what_seeds_and_tracks_do():
    best = _summary(0.80, 0.81, 0.82)
    rows = _rows(
        far=_summary(0.60, 0.61, 0.63),
        near=_summary(0.78, 0.80, 0.81),  # sure over seeds, less than 400 tracks can tell
        spread=_summary(0.30, 0.81, 0.83),  # far by its mean, for one seed alone
        best=best,
    )
    found = measures.compare_with_best(rows)["genre"]
    assert found["best"] == "best"
    assert found["worse"] == ["far"]
    assert found["alike"] == ["near", "spread"]
    many = [
        {**row, "classification": {"genre": {**row["classification"]["genre"], "tracks": 10**6}}}
        for row in rows
    ]
    # 0.02, 0.01, 0.01: Student's half width is 0.014 and 0 is inside, whatever the tracks.
    assert measures.compare_with_best(many)["genre"]["alike"] == ["near", "spread"]


def test_cells_without_all_seeds_wait():
    rows = _rows(whole=_summary(0.5, 0.5), part=_summary(0.9), other=_summary(0.6, 0.6))
    found = measures.compare_with_best(rows)["genre"]
    assert (found["best"], found["alike"], found["worse"]) == ("other", [], ["whole"])
    assert measures.compare_with_best(_rows(one=_summary(0.5))) == {}
    single = measures.compare_with_best(_rows(one=_summary(0.5), two=_summary(0.9)))["genre"]
    assert (single["best"], single["alike"]) == ("two", ["one"])  # one seed proves nothing
    assert measures.compare_with_best([{"name": "none", "classification": {}}]) == {}
