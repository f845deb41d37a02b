"""Scores of estimated settings of a synthesizer: ranks of the true levels, and of sounds.

Scores and waveforms come in as arrays: nothing is rendered here, and no network is known. All
computation is float64 NumPy.

References:
    O. Barkan, D. Tsiris, N. Koenigstein and O. Katz, "InverSynth: deep estimation of synthesizer
        parameter configurations from audio signals", IEEE/ACM TASLP 27(12), 2019, section V (mean
        percentile rank, top-k accuracy, correlations of STFT and FT).
        https://arxiv.org/abs/1812.06349
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from isincnet_jax.dsp import fourier
from isincnet_jax.typing import Array, Waveform

TOP = (1, 2, 3, 4, 5)
N_FFT, HOP_LENGTH = 512, 256
_CLIPS_AT_ONCE = 64
_FAINTEST = 1e-8


class Ranks(NamedTuple):
    """Ranks of the true levels among the scores, and distances of the chosen ones.

    Attributes:
        rank: float64 [clips, parameters]: how many levels score higher than the true one, and half
            of those that score the same, so that equal scores are chance and no success.
        ties: int64 [clips, parameters]: other levels that score the same as the true one.
        distance: int64 [clips, parameters]: levels between the chosen and the true one.
        num_levels: of each parameter.
    """

    rank: Float[np.ndarray, "clips parameters"]
    ties: Int[np.ndarray, "clips parameters"]
    distance: Int[np.ndarray, "clips parameters"]
    num_levels: int


def rank_levels(
    scores: Float[Array, "clips parameters levels"], levels: Int[Array, "clips parameters"]
) -> Ranks:
    """Ranks the true levels among the scores.

    Args:
        scores: [clips, parameters, levels], logits or probabilities: only their order counts.
        levels: the true ones.

    Returns:
        Ranks, ties and distances, each [clips, parameters].

    Raises:
        ValueError: for other shapes, no clips, levels out of range, or scores that are NaN.
    """
    values, truth = np.asarray(scores), np.asarray(levels)
    if values.ndim != 3 or truth.shape != values.shape[:2] or not values.shape[0]:
        raise ValueError(
            f"scores {list(values.shape)}, levels {list(truth.shape)}: give [clips, parameters, "
            "levels] and [clips, parameters], of a clip or more"
        )
    num_levels = values.shape[-1]
    if truth.dtype.kind not in "iu" or truth.min() < 0 or truth.max() >= num_levels:
        raise ValueError(f"levels must be integers, 0 to {num_levels - 1}")
    if np.isnan(values).any():
        raise ValueError("scores: some are NaN; nothing can be ranked")
    # [clips, parameters, 1]: the score of the true level.
    own = np.take_along_axis(values, truth[..., None].astype(np.int64), axis=-1)
    # rank = how many score higher + half of those that score the same, the true one left out.
    above = np.sum(values > own, axis=-1)
    level_with = np.sum(values == own, axis=-1) - 1
    distance = np.abs(np.argmax(values, axis=-1) - truth.astype(np.int64))
    return Ranks(above + 0.5 * level_with, level_with, distance, num_levels)


@dataclasses.dataclass(frozen=True)
class ParameterScore:
    """Score of one parameter's estimates, or of all on average.

    Attributes:
        name: of the parameter; "all" for the average.
        top: percent of clips whose true level is among the k highest scores, k = 1 to 5; among
            equal scores by chance.
        mpr: mean percentile rank, ``100 (1 - mean(rank / levels))``: 100 is perfect, chance is
            53.1 of 16 levels.
        class_mae: mean distance of the chosen from the true level, in levels.
    """

    name: str
    top: tuple[float, ...]
    mpr: float
    class_mae: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and tables.

        Returns:
            "name", "top1" to "top5", "mpr", "class_mae".
        """
        tops = {f"top{k}": value for k, value in zip(TOP, self.top, strict=True)}
        return {"name": self.name, **tops, "mpr": self.mpr, "class_mae": self.class_mae}


def score_parameters(ranks: Ranks, names: Sequence[str]) -> list[ParameterScore]:
    """The scores of every parameter, and last those of "all", their average.

    Args:
        ranks: see :func:`rank_levels`.
        names: of the parameters.

    Returns:
        One score for each name, and the average.

    Raises:
        ValueError: for another number of names.
    """
    if len(names) != ranks.rank.shape[1]:
        raise ValueError(f"{len(names)} names for {ranks.rank.shape[1]} parameters")
    columns = [(name, slice(place, place + 1)) for place, name in enumerate(names)]
    return [_score(name, _part_of(ranks, part)) for name, part in [*columns, ("all", slice(None))]]


def _part_of(ranks: Ranks, part: slice) -> Ranks:
    return ranks._replace(
        rank=ranks.rank[:, part], ties=ranks.ties[:, part], distance=ranks.distance[:, part]
    )


def _score(name: str, ranks: Ranks) -> ParameterScore:
    above = ranks.rank - 0.5 * ranks.ties
    # Among t + 1 equal scores from place `above` on, the true one is in the first k by chance.
    shares = [np.clip((k - above) / (ranks.ties + 1), 0.0, 1.0) for k in TOP]
    return ParameterScore(
        name,
        tuple(100.0 * float(np.mean(share)) for share in shares),
        100.0 * (1.0 - float(np.mean(ranks.rank)) / ranks.num_levels),
        float(np.mean(ranks.distance)),
    )


def chance_mpr(num_levels: int) -> float:
    """Mean percentile rank of random scores: the rank is uniform from 0.

    Args:
        num_levels: of a parameter, at least 1.

    Returns:
        Percent.

    Example:
        >>> chance_mpr(16)
        53.125
    """
    return 100.0 * (1.0 - (num_levels - 1) / 2 / num_levels)


def stft_correlations(
    prediction: Waveform, target: Waveform, *, logarithmic: bool = True
) -> Float[np.ndarray, " clips"]:
    """Pearson's correlation of the STFT magnitudes of pairs of clips.

    Of frames of 512 samples (Hann) every 256; all frames and bins of a clip count alike. It is
    between -1 and 1. A clip without variation, such as silence, is 1 to another such and 0 to any
    other. The paper does not say which magnitudes it means. Logarithms, as its networks see them,
    of at least 1e-8 correlate by 0.26 for random settings, and by 0.93 for a network that names a
    quarter of the levels; linear ones by 0.20 and 0.59: they count little but the loudest partials.

    Args:
        prediction: [clips, time], floating.
        target: of the same shape.
        logarithmic: of logarithms, or of the magnitudes themselves.

    Returns:
        float64 [clips].

    Raises:
        ValueError: for other shapes.
    """
    return _correlations(prediction, target, _log_magnitudes if logarithmic else _stft_magnitudes)


def ft_correlations(prediction: Waveform, target: Waveform) -> Float[np.ndarray, " clips"]:
    """Correlation of linear magnitudes of Fourier transforms of whole clips, pair by pair.

    Args:
        prediction: [clips, time], floating.
        target: of the same shape.

    Returns:
        float64 [clips], see :func:`stft_correlations`.

    Raises:
        ValueError: for other shapes, or samples that are not finite.
    """
    return _correlations(prediction, target, lambda clips: np.abs(np.fft.rfft(clips)))


def _log_magnitudes(clips: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(_stft_magnitudes(clips), _FAINTEST))


def _stft_magnitudes(clips: np.ndarray) -> np.ndarray:
    window = fourier.stft_window("hann", N_FFT, N_FFT)
    beyond = (N_FFT - HOP_LENGTH) // 2
    # Frames reach behind the last sample.
    # Up to whole hops, one at least.
    missing = max(HOP_LENGTH, -(-clips.shape[1] // HOP_LENGTH) * HOP_LENGTH) - clips.shape[1]
    padded = np.pad(clips, ((0, 0), (beyond, beyond + missing)))
    # [clips, frames, 512]: frame t around the middle of hop t.
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT, axis=1)[:, ::HOP_LENGTH]
    return np.abs(np.fft.rfft(frames * window))


def _correlations(prediction: Any, target: Any, magnitudes: Any) -> np.ndarray:
    first, second = np.asarray(prediction), np.asarray(target)
    if first.shape != second.shape or first.ndim != 2 or not first.size:
        raise ValueError(
            f"prediction {list(first.shape)}, target {list(second.shape)}: give pairs of clips, "
            "both [clips, time]"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("prediction or target: some samples are not finite; nothing correlates")
    # Some clips at a time: the spectrograms of a set would not fit into memory.
    found = [
        _pearson(*(magnitudes(part.astype(np.float64)) for part in (one, other)))
        for one, other in (
            (first[start : start + _CLIPS_AT_ONCE], second[start : start + _CLIPS_AT_ONCE])
            for start in range(0, len(first), _CLIPS_AT_ONCE)
        )
    ]
    return np.concatenate(found)


def _pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Row by row."""
    rows = [values.reshape((len(values), -1)) for values in (first, second)]
    rows = [values - values.mean(axis=1, keepdims=True) for values in rows]
    energies = [np.sum(values**2, axis=1) for values in rows]
    # r = sum x y / sqrt(sum x^2 sum y^2) of values less their means.
    product = np.sum(rows[0] * rows[1], axis=1)
    # Variance of 1e-24: rounding errors, no variation.
    flat = [energy <= 1e-24 * rows[0].shape[1] for energy in energies]
    scale = np.sqrt(np.where(flat[0] | flat[1], 1.0, energies[0] * energies[1]))
    return np.where(flat[0] & flat[1], 1.0, np.where(flat[0] | flat[1], 0.0, product / scale))


@dataclasses.dataclass(frozen=True)
class SoundScore:
    """Score of rendered estimates: how much they sound like what they are estimates of.

    Attributes:
        num_clips: compared.
        stft_mean, stft_median: of :func:`stft_correlations`, percent.
        linear_mean, linear_median: the same of linear magnitudes.
        ft_mean, ft_median: of :func:`ft_correlations`, percent.
    """

    num_clips: int
    stft_mean: float
    stft_median: float
    linear_mean: float
    linear_median: float
    ft_mean: float
    ft_median: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and tables.

        Returns:
            The fields by their names.
        """
        return dataclasses.asdict(self)


def score_sounds(prediction: Waveform, target: Waveform) -> SoundScore:
    """Correlations of pairs of clips, their means and medians.

    Args:
        prediction: [clips, time], floating.
        target: of the same shape.

    Returns:
        Percent.

    Raises:
        ValueError: for other shapes, or samples that are not finite.
    """
    stft = 100.0 * stft_correlations(prediction, target)
    linear = 100.0 * stft_correlations(prediction, target, logarithmic=False)
    whole = 100.0 * ft_correlations(prediction, target)
    found = [float(part(one)) for one in (stft, linear, whole) for part in (np.mean, np.median)]
    return SoundScore(len(stft), *found)


def score_random_pairs(clips: Waveform, *, seed: int = 0) -> SoundScore:
    """Baseline: every clip against another one of the same set, which is a random patch.

    Args:
        clips: [clips, time] of independent random settings, 2 or more.
        seed: of the pairs: a random cycle, so that no clip meets itself.

    Returns:
        Percent.

    Raises:
        ValueError: for fewer than 2 clips.
    """
    values = np.asarray(clips)
    if values.ndim != 2 or len(values) < 2:
        raise ValueError(f"clips {list(values.shape)}: pairs need [clips, time] of 2 clips or more")
    order = np.random.default_rng(seed).permutation(len(values))
    # One cycle through a random order: each clip's partner is the one before it.
    partner = np.empty(len(values), np.int64)
    partner[order] = np.roll(order, 1)
    return score_sounds(values[partner], values)
