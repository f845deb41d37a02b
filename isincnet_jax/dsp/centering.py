"""Frames of a clip as librosa and nnAudio count them: centred or not, padded in several ways.

Frame t reads ``frame_length`` samples from ``t hop``, of a clip that ``center=True`` extends by
``frame_length // 2`` samples on both sides first: the middle of the frame is then sample ``t hop``.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp.padding import continued
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array, Waveform

PadMode: TypeAlias = Literal["constant", "reflect", "edge", "symmetric"]
PAD_MODES: tuple[str, ...] = get_args(PadMode)
"""The paddings of centred frames."""


def check_framing(*, frame_length: int, hop_length: int, pad_mode: str) -> None:
    """Framing arguments: lengths of one sample or more, and a known padding.

    Args:
        frame_length: samples per frame.
        hop_length: samples between frames.
        pad_mode: a name in :data:`PAD_MODES`.

    Raises:
        ValueError: for lengths below one sample and for unknown paddings.
    """
    for name, value in (("frame_length", frame_length), ("hop_length", hop_length)):
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name}={value!r} must be an integer of at least 1 sample")
    if pad_mode not in PAD_MODES:
        raise ValueError(f"pad_mode={pad_mode!r} is unknown; use one of {', '.join(PAD_MODES)}")


@settles
def count_frames(length: int, *, frame_length: int, hop_length: int, center: bool) -> int:
    """Number of frames of a clip: ``1 + (length + padding - frame_length) // hop``.

    Args:
        length: samples of the clip.
        frame_length: samples per frame.
        hop_length: samples between frames.
        center: whether half a frame is padded on both sides.

    Returns:
        Frames, 1 or more.

    Raises:
        ValueError: for a clip shorter than one frame without centring, or an empty one.

    Example:
        >>> count_frames(22_050, frame_length=2048, hop_length=512, center=True)
        44
    """
    if length < 1:
        raise ValueError(f"length={length}: an empty clip has no frames; give at least 1 sample")
    whole = length + (2 * (frame_length // 2) if center else 0)
    if whole < frame_length:
        raise ValueError(
            f"length={length} is shorter than a frame of {frame_length} samples; audio is "
            "[channels, time]; of a shorter clip pad the ends (center=True; padding='same' of a "
            "convolution)"
        )
    return 1 + (whole - frame_length) // hop_length


@settles
def pad_frames(
    waveform: Waveform, *, frame_length: int, hop_length: int, center: bool, pad_mode: str
) -> Float[Array, "... padded"]:
    """Padded clip, or a cut one, of which its frames and nothing else remain.

    Reflection may repeat for short clips; a clip of one sample is repeated.

    Args:
        waveform: [..., time].
        frame_length: samples per frame.
        hop_length: samples between frames.
        center: whether the middle of frame 0 is sample 0.
        pad_mode: "constant" (zeros), "reflect", "edge" or "symmetric", as in :func:`numpy.pad`;
            without effect if not ``center``.

    Returns:
        [..., (frames - 1) hop + frame_length]; frame t starts at sample ``t hop``.

    Raises:
        ValueError: for an unknown padding, or a clip without a frame.
    """
    check_framing(frame_length=frame_length, hop_length=hop_length, pad_mode=pad_mode)
    length = waveform.shape[-1]
    num_frames = count_frames(
        length, frame_length=frame_length, hop_length=hop_length, center=center
    )
    total = (num_frames - 1) * hop_length + frame_length
    left = frame_length // 2 if center else 0
    # what the last frame lacks, or, negative, what no frame reads
    right = total - left - length
    if pad_mode == "constant" or (left == 0 and right <= 0):
        zero = jnp.zeros((), waveform.dtype)
        return lax.pad(waveform, zero, [(0, 0, 0)] * (waveform.ndim - 1) + [(left, right, 0)])
    return continued(waveform, left, right, mode=pad_mode)


@settles
def frame_times(
    num_frames: int, *, frame_length: int, hop_length: int, sample_rate: float, center: bool
) -> Float[np.ndarray, " frames"]:
    """Times in seconds of the middles of frames (sample ``t hop``, or half a frame later).

    Args:
        num_frames: frames.
        frame_length: samples per frame.
        hop_length: samples between frames.
        sample_rate: Hz.
        center: whether the middle of frame 0 is sample 0.

    Returns:
        float64 [frames], seconds.
    """
    first = 0 if center else frame_length // 2
    return (np.arange(num_frames) * hop_length + first) / sample_rate
