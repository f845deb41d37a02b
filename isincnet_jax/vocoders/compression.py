"""Compression of vocoders' spectrograms: CNNVocoder's decibels, logarithms, checks of input."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp import checks, fourier
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array, Waveform

Compression: TypeAlias = Literal["none", "log"]
SpectrogramScale: TypeAlias = Literal["linear", "normalized", "log"]

_SHOWN_TOLERANCE = 1e-4


class DecibelRange(NamedTuple):
    """The line from decibels to [0, 1] that CNNVocoder's spectrograms lie on.

    Attributes:
        floor: magnitudes below count as this.
        reference_db: level that becomes 1, dB.
        range_db: decibels between 0 and 1.
    """

    floor: float = 1e-5
    reference_db: float = 20.0
    range_db: float = 100.0


REFERENCE_RANGE = DecibelRange()
"""CNNVocoder's: magnitudes 1e-4 (-80 dB) to 10 (20 dB) become 0 to 1."""


def normalize_magnitude(
    magnitude: Float[Array, "..."], *, decibels: DecibelRange = REFERENCE_RANGE
) -> Float[jax.Array, "..."]:
    """Magnitudes to normalised decibels.

    ``clip((20 log10 max(floor, |X|) - reference_db + range_db) / range_db, 0, 1)``.

    Args:
        magnitude: linear magnitudes, not negative, of any shape.
        decibels: the line and its floor.

    Returns:
        Values in [0, 1], of the same shape and dtype. Gradients are 0 outside the range.
    """
    magnitude = checks.as_floating(magnitude, "magnitude")
    levels = 20.0 * jnp.log10(jnp.maximum(magnitude, decibels.floor))
    shifted = levels - decibels.reference_db + decibels.range_db
    return jnp.clip(shifted / decibels.range_db, 0.0, 1.0)


@settles
def spectrogram_features(
    waveform: Waveform,
    *,
    n_fft: int = 2048,
    hop_length: int = 256,
    win_length: int | None = 1024,
    window: str = "hann",
    pad_mode: str = "reflect",
    decibels: DecibelRange = REFERENCE_RANGE,
) -> Float[jax.Array, "... frames bins"]:
    """CNNVocoder's input: normalised decibels of a centred STFT, at 22,050 Hz as published.

    Gradients are finite on silence.

    Args:
        waveform: [..., time], floating, full scale 1.
        n_fft: samples per frame.
        hop_length: samples between frames.
        win_length: samples of the window, ``n_fft`` if None.
        window: a name of :func:`scipy.signal.get_window`.
        pad_mode: beyond the ends, see :func:`.fourier.stft`.
        decibels: see :func:`normalize_magnitude`.

    Returns:
        [..., frames, 1 + n_fft // 2] in [0, 1], ``1 + time // hop_length`` frames.

    References:
        tuan3w, "CNNVocoder", the README's features. https://github.com/tuan3w/cnn_vocoder

    Example:
        >>> spectrogram_features(np.zeros(22_050, np.float32), n_fft=1024, hop_length=256).shape
        (87, 513)
    """
    return fourier.stft_power(
        waveform,
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        window=window,
        pad_mode=pad_mode,
        power=1.0,
        then=lambda magnitude: normalize_magnitude(magnitude, decibels=decibels),
    )


def check_compression(compression: str, floor: float) -> None:
    """Refuses settings of :func:`compress` that there are not.

    Args:
        compression: "none" or "log".
        floor: of the logarithm.

    Raises:
        ValueError: for an unknown compression or a floor that is not positive.
    """
    if compression not in get_args(Compression):
        known = " or ".join(repr(name) for name in get_args(Compression))
        raise ValueError(f"compression={compression!r} is unknown; use {known}")
    if not floor > 0:
        raise ValueError(f"floor={floor} must be positive, 1e-5 say: it goes into a logarithm")


def compress(
    features: Float[Array, "..."], *, compression: str, floor: float = 1e-5
) -> Float[jax.Array, "..."]:
    """Compression of features for a network.

    Args:
        features: not negative, of any shape, for "log".
        compression: "log" for ``log(max(x, floor))``, "none" for what they are.
        floor: positive; magnitudes below count as this.

    Returns:
        Of the same shape and dtype.
    """
    if compression == "none":
        return jnp.asarray(features)
    return jnp.log(jnp.maximum(features, floor))


@settles
def check_spectrogram(
    spectrogram: Any, *, num_bins: int, scale: SpectrogramScale = "linear"
) -> None:
    """Refuses a spectrogram from outside that a model would misread, and says what is wrong.

    It looks at values where there are any; of traced ones, which have none yet, at dtype and shape.

    Args:
        spectrogram: [frames, bins] or [..., frames, bins].
        num_bins: that the model expects.
        scale: what the model expects: "linear" magnitudes (or powers), "normalized" decibels in
            [0, 1] (:func:`normalize_magnitude`), or "log" (any real numbers).

    Raises:
        TypeError: if it is not an array of real floating numbers.
        ValueError: for other bins, no frames, NaN or infinity, or values of another scale.

    Example:
        >>> check_spectrogram(np.full((4, 513), -20.0), num_bins=513)
        Traceback (most recent call last):
        ValueError: spectrogram goes down to -20: linear magnitudes are not negative, this looks ...
    """
    if scale not in get_args(SpectrogramScale):
        raise ValueError(f"scale={scale!r} is unknown; use {', '.join(get_args(SpectrogramScale))}")
    traced = isinstance(spectrogram, jax.core.Tracer)
    values: Any = spectrogram if traced else np.asarray(spectrogram)
    if not np.issubdtype(values.dtype, np.floating):
        hint = "take its magnitude" if np.iscomplexobj(values) else "convert it to float32"
        raise TypeError(f"spectrogram.dtype={values.dtype} is not real and floating; {hint}")
    check_shape(values.shape, num_bins=num_bins)
    if traced:
        return
    if not np.all(np.isfinite(values)):
        count = int(np.sum(~np.isfinite(values)))
        raise ValueError(
            f"spectrogram has {count} NaN or infinite of {values.size} values; the logarithm of 0 "
            "without a floor gives them"
        )
    if values.size:
        _check_scale(float(values.min()), float(values.max()), scale)


def check_shape(shape: tuple[int, ...], *, num_bins: int) -> None:
    """Refuses a shape that is not [..., frames, num_bins] with at least one frame.

    Args:
        shape: of a spectrogram; other axes may be empty.
        num_bins: that the model expects.

    Raises:
        ValueError: otherwise, with a hint where the axes look transposed.
    """
    if len(shape) < 2 or shape[-1] != num_bins:
        hint = f"its bins must be {num_bins}, those the model was made for"
        if len(shape) >= 2 and shape[-2] == num_bins:
            hint = "it looks transposed: frames come before bins"
        raise ValueError(
            f"spectrogram.shape={tuple(shape)}: [..., frames, {num_bins}] is expected; {hint}"
        )
    if 0 in shape[-2:]:  # no clips are fine, no frames are not
        raise ValueError(f"spectrogram.shape={tuple(shape)} is empty; give at least one frame")


def _check_scale(lowest: float, highest: float, scale: str) -> None:
    if scale == "linear" and lowest < 0:
        raise ValueError(
            f"spectrogram goes down to {lowest:g}: linear magnitudes are not negative, this looks "
            "like decibels or logarithms; undo them, 10 ** (decibels / 20) say"
        )
    if scale == "normalized" and not (
        lowest >= -_SHOWN_TOLERANCE and highest <= 1 + _SHOWN_TOLERANCE
    ):
        seen = "decibels" if lowest < 0 else "linear magnitudes"
        raise ValueError(
            f"spectrogram spans {lowest:g} to {highest:g}: normalised decibels lie in [0, 1], this "
            f"looks like {seen}; see normalize_magnitude"
        )
