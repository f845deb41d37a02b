"""Concealment of lost coefficients: what is left of an encoded clip, back to a waveform.

A filterbank of R coefficients a sample that loses a share p of them still has R (1 - p): where
that is above 1 the waveform is determined, and found by least squares over what is left, although
the decoder, which counts on all of them, would leave holes. Where it is not, what is left is met,
and the rest is what the guess says.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Bool

from isincnet_jax.bank.codec import Codec
from isincnet_jax.dsp import checks, range_projection
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array, Spectrogram, Waveform


@settles
def conceal(
    codec: Codec,
    spectrogram: Spectrogram,
    known: Bool[Array, "..."],
    *,
    length: int | None = None,
    guess: Waveform | None = None,
    iterations: int = 40,
    tolerance: Any = 0.0,
) -> Waveform:
    """Concealment of lost frames, bins or single coefficients (packet loss, inpainting).

    Args:
        codec: that encoded the clip, of any bank.
        spectrogram: [..., frames, channels]; what is lost may be anything, NaN too.
        known: True where a coefficient is known: [..., frames, channels], or what broadcasts to
            it, such as [frames, 1] for lost frames.
        length: samples; see :meth:`.Codec.decode`.
        guess: waveform [..., length] whose part in the null space of what is known is kept; that
            of the decoder, with zeros for what is lost, if None.
        iterations: see :func:`.range_projection.project_onto`. 40 bring speech with 20 % of lost
            frames of ``16khz-linear`` from 8 dB to 23, 160 to 25.
        tolerance: see :func:`.range_projection.project_onto`.

    Returns:
        [..., length], whose coefficients are the known ones where there are waveforms that have
        them, and nearest to them by least squares otherwise. Compiled once per shape;
        differentiable.

    Raises:
        ValueError: for coefficients that the codec does not have, or ``known`` of another shape.
        TypeError: if ``known`` is not boolean.

    Example:
        >>> from isincnet_jax.pretrained.hub import from_pretrained
        >>> codec = from_pretrained("16khz-linear")
        >>> spectrogram = codec.encode(jnp.ones((1, 2000), jnp.float32))
        >>> known = jnp.arange(spectrogram.shape[-2])[:, None] % 5 != 2
        >>> conceal(codec, spectrogram, known, length=2000, iterations=5).shape
        (1, 2000)
    """
    spectrogram = checks.as_floating(spectrogram, "spectrogram", ndim=2)
    if jnp.result_type(known) != jnp.bool_:
        raise TypeError(f"known.dtype={jnp.result_type(known)}: True and False are expected")
    try:
        known = jnp.broadcast_to(known, spectrogram.shape)
    except ValueError:
        raise ValueError(
            f"known.shape={jnp.shape(known)} does not broadcast to the spectrogram's "
            f"{spectrogram.shape}; lost frames are [frames, 1]"
        ) from None
    left = jnp.where(known, spectrogram, 0)
    if guess is None:
        guess = codec.decode(left, length=length)
    frames = codec.num_frames(guess.shape[-1])
    if frames != spectrogram.shape[-2]:
        raise ValueError(
            f"length={guess.shape[-1]} has {frames} frames, the spectrogram "
            f"{spectrogram.shape[-2]}; give the clip's own length"
        )
    return _projected(codec, guess, left, known, tolerance, iterations=iterations)


@functools.partial(jax.jit, static_argnames=("iterations",))
def _projected(
    codec: Codec, guess: Any, left: Any, known: Any, tolerance: Any, *, iterations: int
) -> jax.Array:
    def measure(waveform: jax.Array) -> jax.Array:
        return lax.select(known, codec.encode(waveform), jnp.zeros_like(left))

    return range_projection.project_onto(
        guess, left, measure=measure, iterations=iterations, tolerance=tolerance
    )
