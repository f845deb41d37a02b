"""Losses of vocoders, and scores of what they make of whole clips: pure functions of waveforms.

References:
    tuan3w, "CNNVocoder", the loss ``reference``. https://github.com/tuan3w/cnn_vocoder
    R. Yamamoto, E. Song and J.-M. Kim, "Parallel WaveGAN", ICASSP 2020, section 2.2 (the
        multi-resolution STFT loss). https://arxiv.org/abs/1910.11480
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from isincnet_jax.dsp import checks, spectral_distances
from isincnet_jax.dsp.spectral_distances import MEL_RESOLUTION, RESOLUTIONS, Resolution
from isincnet_jax.training import losses
from isincnet_jax.training.losses import WeightedLoss
from isincnet_jax.typing import Array, Waveform

REFERENCE_RESOLUTION = Resolution(2048, 256, 1024)
"""CNNVocoder's STFT: FFT, hop and window, at 22,050 Hz."""

_FLOOR = 1e-5
_LOW_BINS = 500

PerClip = Float[jax.Array, "..."]


def reference_loss(
    *,
    prediction: Waveform,
    target: Waveform,
    resolution: Resolution = REFERENCE_RESOLUTION,
    low_bins: int = _LOW_BINS,
) -> PerClip:
    """CNNVocoder's loss: three mean absolute differences of the STFT, added.

    Of log magnitudes in all bins, of log magnitudes in the lowest bins, and of magnitudes in the
    lowest bins (below 5.4 kHz as published). Natural logarithms, magnitudes below 1e-5 count as
    1e-5.

    Departure: finite gradients on silence, where the published square root has none.

    Args:
        prediction: [..., time].
        target: [..., time].
        resolution: of the STFT.
        low_bins: how many bins are the lowest.

    Returns:
        One value per clip, [...].
    """
    predicted = spectral_distances.magnitude(prediction, resolution)
    wanted = spectral_distances.magnitude(target, resolution)
    # Of all frames and bins, [..., frames, bins].
    logs = jnp.abs(_log(predicted) - _log(wanted))
    plain = jnp.abs(predicted - wanted)[..., :low_bins]
    axes = (-2, -1)
    return (
        jnp.mean(logs, axis=axes)
        + jnp.mean(logs[..., :low_bins], axis=axes)
        + jnp.mean(plain, axis=axes)
    )


def log_mel(
    *,
    prediction: Waveform,
    target: Waveform,
    sample_rate: float,
    resolution: Resolution = MEL_RESOLUTION,
    n_mels: int = 80,
) -> PerClip:
    """Mean absolute difference of log mel spectrograms (magnitudes, Slaney's scale and norm).

    Args:
        prediction: [..., time].
        target: [..., time].
        sample_rate: Hz.
        resolution: of the STFT.
        n_mels: filters.

    Returns:
        One value per clip, [...]. Values below 1e-5 count as 1e-5.
    """
    predicted, wanted = (
        spectral_distances.log_mel_levels(
            waveform, sample_rate=sample_rate, resolution=resolution, n_mels=n_mels
        )
        for waveform in (prediction, target)
    )
    return jnp.mean(jnp.abs(predicted - wanted), axis=(-2, -1))


def magnitude_distance(
    *,
    prediction: Float[jax.Array, "... frames bins"],
    target: Float[jax.Array, "... frames bins"],
) -> PerClip:
    """Distance of given magnitudes: spectral convergence plus mean absolute log distance.

    A resolution of :func:`.spectral_distances.multi_stft` without its STFT: for networks that
    predict magnitudes. Values below 1e-5 count as 1e-5 in the logarithm.

    Args:
        prediction: magnitudes [..., frames, bins], not negative.
        target: of the same shape.

    Returns:
        One value per clip, [...], 0 for equal magnitudes.
    """
    checks.check_pair(prediction, target, ndim=2)
    logs = jnp.mean(jnp.abs(_log(prediction) - _log(target)), axis=(-2, -1))
    return _convergence(prediction, target) + logs


def _log(magnitude: jax.Array) -> jax.Array:
    return jnp.log(jnp.maximum(magnitude, _FLOOR))


def vocoder_losses(sample_rate: float) -> dict[str, Callable[..., PerClip]]:
    """Losses by name: those of :data:`.losses.LOSSES`, "log_mel" and "reference".

    Args:
        sample_rate: Hz, of "log_mel".

    Returns:
        Functions of ``prediction`` and ``target`` [..., time] that give one value per clip.
    """
    return {
        **losses.LOSSES,
        "log_mel": functools.partial(log_mel, sample_rate=sample_rate),
        "reference": reference_loss,
    }


def vocoder_loss(weights: Mapping[str, float], *, sample_rate: float) -> WeightedLoss:
    """The weighted sum of losses, averaged over clips.

    Args:
        weights: name in :func:`vocoder_losses` to weight; 0 means computed and reported, but not
            learned from.
        sample_rate: Hz.

    Returns:
        A function of ``prediction`` and ``target`` [batch, time] that returns the scalar loss and
        the mean of each term, unweighted.

    Raises:
        ValueError: for an unknown name, a negative weight, or nothing to learn from.
    """
    return losses.weighted_loss(weights, known=vocoder_losses(sample_rate))


class ClipScores(NamedTuple):
    """Distances of clips from their targets, one value per clip.

    Attributes:
        multi_stft: spectral convergence plus log-magnitude distance, mean of three resolutions.
        convergence_db: spectral convergence in dB at :data:`REFERENCE_RESOLUTION`.
    """

    multi_stft: jax.Array
    convergence_db: jax.Array


def score_clips(
    *,
    prediction: Float[jax.Array, "clips time"],
    target: Float[jax.Array, "clips time"],
    lengths: Int[jax.Array, " clips"],
) -> ClipScores:
    """Scores of clips of several lengths in one array.

    Without padding these are :func:`.spectral_distances.multi_stft` and 20 log10 of
    :func:`.spectral_distances.spectral_convergence`. Samples and frames beyond a clip's length do
    not count; its last frames see zeros there instead of a reflection.

    Args:
        prediction: [clips, time].
        target: [clips, time].
        lengths: samples of each clip, at least 1.

    Returns:
        One value per clip.
    """
    checks.check_pair(prediction, target, ndim=2)
    # [clips, time] and, below, [clips, frames, 1]: what of the padded array belongs to a clip.
    inside = jnp.arange(target.shape[-1])[None] < lengths[:, None]
    prediction, target = (jnp.where(inside, clip, 0.0) for clip in (prediction, target))
    multi = jnp.zeros(target.shape[:-1], target.dtype)
    for resolution in RESOLUTIONS:
        predicted, wanted, counted = _counted(prediction, target, lengths, resolution)
        logs = jnp.where(counted, jnp.abs(_log(predicted) - _log(wanted)), 0.0)
        frames = jnp.sum(counted, axis=(-2, -1)) * predicted.shape[-1]
        # Spectral convergence plus the mean of |log |X| - log |Y|| over frames that count.
        multi += _convergence(predicted, wanted)
        multi += jnp.sum(logs, axis=(-2, -1)) / frames.astype(logs.dtype)
    predicted, wanted, _ = _counted(prediction, target, lengths, REFERENCE_RESOLUTION)
    return ClipScores(multi / len(RESOLUTIONS), consistency_db(prediction=predicted, target=wanted))


def consistency_db(
    *,
    prediction: Float[Array, "... frames bins"],
    target: Float[Array, "... frames bins"],
    num_frames: Int[Array, "..."] | None = None,
) -> PerClip:
    """Consistency error: by how much features of an output miss those that it was made from.

    ``20 log10(|F(y) - X| / |X|)`` with Frobenius norms over frames and bins: X the magnitudes or
    mels that a vocoder was given, F(y) those of its output. Phase retrieval minimises it; a
    vocoder that only sounds well may miss its input by far.

    Args:
        prediction: features of the output, [..., frames, bins], such as
            :meth:`.VocoderFeatures.of` makes.
        target: features that were given, in the same shape.
        num_frames: frames that count, [...]; all if None.

    Returns:
        [...], dB, one value per clip; -200 at least.

    Example:
        >>> given = jnp.ones((4, 3), jnp.float32)
        >>> f"{consistency_db(prediction=1.1 * given, target=given):.1f} dB"
        '-20.0 dB'
    """
    checks.check_pair(prediction, target, ndim=2)
    prediction, target = jnp.asarray(prediction), jnp.asarray(target)
    if num_frames is not None:
        counted = jnp.arange(target.shape[-2]) < jnp.asarray(num_frames)[..., None]
        prediction, target = (jnp.where(counted[..., None], x, 0) for x in (prediction, target))
    return 20.0 * jnp.log10(jnp.maximum(_convergence(prediction, target), 1e-10))


def _counted(
    prediction: jax.Array, target: jax.Array, lengths: jax.Array, resolution: Resolution
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Magnitudes, 0 in frames that do not count, and which do, [clips, frames, 1]."""
    predicted, wanted = (
        spectral_distances.magnitude(clip, resolution) for clip in (prediction, target)
    )
    counted = jnp.arange(wanted.shape[-2])[None] <= (lengths // resolution.hop_length)[:, None]
    counted = counted[..., None]
    return jnp.where(counted, predicted, 0.0), jnp.where(counted, wanted, 0.0), counted


def _convergence(predicted: jax.Array, wanted: jax.Array) -> jax.Array:
    # Frobenius norms: || |X| - |Y| || / || |Y| ||, and no division by 0 for silent targets.
    error = jnp.sqrt(jnp.sum((predicted - wanted) ** 2, axis=(-2, -1)))
    return error / jnp.maximum(jnp.sqrt(jnp.sum(wanted**2, axis=(-2, -1))), 1e-8)
