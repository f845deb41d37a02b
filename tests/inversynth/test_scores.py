"""Scores of estimated settings: ranks by hand, chance, correlations by NumPy, the baseline."""

import numpy as np
import pytest

from isincnet_jax.inversynth import scores as scoring


def test_scores_of_three_clips_by_hand():
    scores = np.array(
        [
            [[9.0, 1.0, 2.0, 3.0, 4.0, 5.0]],
            [[0.0, 9.0, 8.0, 7.0, 6.0, 5.0]],
            [[9.0, 8.0, 7.0, 6.0, 5.0, 0.0]],
        ]
    )
    levels = np.array([[0], [3], [5]])  # ranks 0, 2, 5; chosen 0, 1, 0
    one, total = scoring.score_parameters(scoring.rank_levels(scores, levels), ["cutoff"])
    assert one.name == "cutoff"
    assert total.name == "all"
    third = 100 / 3
    for score in (one, total):
        np.testing.assert_allclose(score.top, [third, third, 2 * third, 2 * third, 2 * third])
        np.testing.assert_allclose(score.mpr, 100 * (1 - (0 + 2 + 5) / 3 / 6))
        np.testing.assert_allclose(score.class_mae, (0 + 2 + 5) / 3)
    row = one.as_dict()
    assert list(row) == ["name", "top1", "top2", "top3", "top4", "top5", "mpr", "class_mae"]
    assert row["top3"] == one.top[2]


def test_all_is_the_average_of_the_parameters(rng):
    scores = rng.standard_normal((40, 3, 16))
    rows = scoring.score_parameters(
        scoring.rank_levels(scores, rng.integers(0, 16, (40, 3))), ["a", "b", "c"]
    )
    for field in ("mpr", "class_mae", "top"):
        values = [np.asarray(getattr(row, field)) for row in rows]
        np.testing.assert_allclose(np.mean(values[:3], axis=0), values[3])


def test_random_scores_are_chance_and_perfect_ones_100(rng):
    levels = rng.integers(0, 16, (4000, 2))
    random = scoring.rank_levels(rng.standard_normal((4000, 2, 16)), levels)
    total = scoring.score_parameters(random, ["a", "b"])[-1]
    assert scoring.chance_mpr(16) == 53.125
    # 8,000 ranks of standard deviation 4.6 of 16: 0.32 % is one deviation of the mean.
    assert abs(total.mpr - 53.125) < 1.3
    np.testing.assert_allclose(total.top, 6.25 * np.arange(1, 6), atol=2.5)
    perfect = scoring.rank_levels(np.eye(16)[levels], levels)
    total = scoring.score_parameters(perfect, ["a", "b"])[-1]
    assert (total.mpr, total.class_mae, total.top) == (100.0, 0.0, (100.0,) * 5)


def test_equal_scores_are_chance_and_no_success(rng):
    """The seed's fault: a network that says the same of all levels had every rank 0."""
    ranks = scoring.rank_levels(np.zeros((10, 2, 16)), rng.integers(0, 16, (10, 2)))
    total = scoring.score_parameters(ranks, ["a", "b"])[-1]
    assert total.mpr == scoring.chance_mpr(16)
    np.testing.assert_allclose(total.top, [100 * k / 16 for k in range(1, 6)])


def test_of_two_equal_scores_one_is_first():
    ranks = scoring.rank_levels(np.array([[[1.0, 1.0, 0.0, 0.0]]]), np.array([[1]]))
    assert scoring.score_parameters(ranks, ["a"])[0].top[:3] == (50.0, 100.0, 100.0)


def pearson(first, second):
    return np.corrcoef(np.ravel(first), np.ravel(second))[0, 1]


def magnitudes(clip):
    padded = np.pad(clip, 128)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    starts = range(0, len(padded) - 511, 256)
    return np.abs([np.fft.rfft(padded[start : start + 512] * window) for start in starts])


def test_correlations_are_pearsons_of_magnitudes(rng):
    first, second = rng.standard_normal((2, 70, 1024)).astype(np.float32)
    second[3] = 0.5 * first[3]  # another level only
    stft = scoring.stft_correlations(first, second)
    linear = scoring.stft_correlations(first, second, logarithmic=False)
    whole = scoring.ft_correlations(first, second)
    for clip in (0, 3, 69):
        one, other = first[clip].astype(np.float64), second[clip].astype(np.float64)
        np.testing.assert_allclose(linear[clip], pearson(magnitudes(one), magnitudes(other)))
        logs = [np.log(np.maximum(magnitudes(part), 1e-8)) for part in (one, other)]
        np.testing.assert_allclose(stft[clip], pearson(*logs))
        expected = pearson(np.abs(np.fft.rfft(one)), np.abs(np.fft.rfft(other)))
        np.testing.assert_allclose(whole[clip], expected)
    np.testing.assert_allclose([stft[3], whole[3]], 1.0)
    score = scoring.score_sounds(first, second)
    assert score.num_clips == 70
    np.testing.assert_allclose(score.stft_mean, 100 * np.mean(stft))
    np.testing.assert_allclose(score.stft_median, 100 * np.median(stft))
    np.testing.assert_allclose(score.linear_mean, 100 * np.mean(linear))
    np.testing.assert_allclose(score.linear_median, 100 * np.median(linear))
    np.testing.assert_allclose(score.ft_mean, 100 * np.mean(whole))
    np.testing.assert_allclose(score.ft_median, 100 * np.median(whole))
    kinds = [f"{kind}_{part}" for kind in ("stft", "linear", "ft") for part in ("mean", "median")]
    assert list(score.as_dict()) == ["num_clips", *kinds]


def test_the_end_of_a_clip_counts(rng):
    first = rng.standard_normal((1, 700))
    second = first.copy()
    second[:, 690:] = 0.0
    assert scoring.stft_correlations(first, second)[0] < 1 - 1e-6


def test_silence_correlates_with_silence_only(rng):
    silence, noise = np.zeros((2, 600)), rng.standard_normal((2, 600))
    np.testing.assert_array_equal(scoring.stft_correlations(silence, silence), 1.0)
    np.testing.assert_array_equal(scoring.stft_correlations(silence, noise), 0.0)
    np.testing.assert_array_equal(scoring.ft_correlations(noise, silence), 0.0)


def test_random_patches_are_pairs_of_different_clips(rng):
    """Tones of different bins: alike only if a clip meets itself."""
    times = np.arange(2048) / 16_384
    clips = np.sin(2 * np.pi * 640 * np.arange(1, 9)[:, None] * times)
    assert scoring.score_sounds(clips, clips).stft_mean > 99.9
    found = scoring.score_random_pairs(clips, seed=4)
    assert found.num_clips == 8
    assert found.linear_mean < 30
    assert found == scoring.score_random_pairs(clips, seed=4)
    assert found != scoring.score_random_pairs(clips, seed=5)


@pytest.mark.parametrize(
    ("scores", "levels", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3), int), "give"),
        (np.zeros((2, 3, 4)), np.zeros((2, 2), int), "give"),
        (np.zeros((0, 3, 4)), np.zeros((0, 3), int), "a clip or more"),
        (np.zeros((2, 3, 4)), np.full((2, 3), 4), "0 to 3"),
        (np.zeros((2, 3, 4)), np.zeros((2, 3)), "integers"),
        (np.full((2, 3, 4), np.nan), np.zeros((2, 3), int), "NaN"),
    ],
)
def test_what_cannot_be_ranked_is_refused(scores, levels, message):
    with pytest.raises(ValueError, match=message):
        scoring.rank_levels(scores, levels)


def test_what_cannot_be_compared_is_refused(rng):
    ranks = scoring.rank_levels(rng.standard_normal((2, 3, 4)), np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="2 names for 3"):
        scoring.score_parameters(ranks, ["a", "b"])
    with pytest.raises(ValueError, match="pairs of clips"):
        scoring.stft_correlations(np.zeros((2, 8)), np.zeros((2, 9)))
    with pytest.raises(ValueError, match="not finite"):
        scoring.score_sounds(np.full((2, 8), np.nan), np.zeros((2, 8)))
    with pytest.raises(ValueError, match="2 clips or more"):
        scoring.score_random_pairs(np.zeros((1, 8)))
