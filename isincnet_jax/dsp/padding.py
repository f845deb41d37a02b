"""Padding of waveforms by their own samples: reflected, repeated or mirrored ends."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.typing import Array


def continuation(
    waveform: Float[Array, "... time"], before: int, after: int, *, mode: str
) -> tuple[Float[Array, "... before"], Float[Array, "... kept"], Float[Array, "... after"]]:
    """Padding of a waveform that continues beyond its ends as :func:`numpy.pad` continues it.

    Args:
        waveform: [..., time], one sample or more.
        before: samples added at the beginning, 0 or more.
        after: samples added at the end; a negative number cuts them off.
        mode: "reflect" (without the edge sample), "edge" or "symmetric"; reflections repeat for
            short clips, and a clip of one sample is repeated.

    Returns:
        What stands before the waveform, the waveform, and what stands after it.
    """
    length = waveform.shape[-1]
    how: Any = mode if length > 1 else "edge"
    # Indices are padded on the host, so that only the ends are gathered; the middle is a slice.
    source = np.pad(np.arange(length), (before, max(after, 0)), mode=how)
    return (
        waveform[..., source[:before]],
        waveform[..., : length + min(after, 0)],
        waveform[..., source[before + length :]],
    )


def continued(
    waveform: Float[Array, "... time"], before: int, after: int, *, mode: str
) -> Float[Array, "... padded"]:
    """Padded waveform: the parts of :func:`continuation`, joined.

    Args:
        waveform: [..., time], one sample or more.
        before: samples added at the beginning, 0 or more.
        after: samples added at the end; a negative number cuts them off.
        mode: see :func:`continuation`.

    Returns:
        [..., before + time + after].
    """
    return jnp.concatenate(continuation(waveform, before, after, mode=mode), axis=-1)
