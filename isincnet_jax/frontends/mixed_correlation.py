"""Mixed strided correlation: signals of several channels, which every filter mixes in its way."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.typing import Array


def correlate_mixed(
    padded: Float[Array, "... inputs padded"],
    kernels: Float[Array, "channels taps"],
    mixing: Float[Array, "inputs channels"],
    *,
    hop_length: int,
    dilation: int = 1,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[jax.Array, "... frames channels"]:
    """Correlation ``y[t, c] = sum_i m[i, c] sum_k h_c[k] x_i[t hop + k dilation]``, in one step.

    Args:
        padded: [..., inputs, padded], floating.
        kernels: [channels, taps], the dtype of the signal.
        mixing: weights of the inputs, [inputs, channels].
        hop_length: samples between frames.
        dilation: samples between taps.
        precision: of the products on accelerators.

    Returns:
        [..., frames, channels], as many frames as lie within the signal.

    Raises:
        ValueError: without an axis of inputs.
    """
    if padded.ndim < 2:
        raise ValueError(
            f"waveform.ndim={padded.ndim}: mix_channels=True needs [..., channels, time]"
        )
    # [taps, inputs, channels]: one convolution sums over inputs and taps.
    weights = jnp.transpose(jnp.asarray(kernels))[:, None, :] * mixing[None]
    clips = jnp.reshape(jnp.asarray(padded), (-1, *padded.shape[-2:]))
    frames = lax.conv_general_dilated(
        clips,
        weights,
        window_strides=(hop_length,),
        padding="VALID",
        rhs_dilation=(dilation,),
        dimension_numbers=("NCW", "WIO", "NWC"),
        precision=precision,
    )
    return jnp.reshape(frames, (*padded.shape[:-2], *frames.shape[1:]))
