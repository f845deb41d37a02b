"""Quantizers of recordings: companded codes, scaled to the recording or by the bank."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    from isincnet_jax.bank.codec import Codec
    from isincnet_jax.bank.quantizer import Quantizer

Read: TypeAlias = "Callable[[], Iterator[np.ndarray]]"
"""Starts reading a recording: blocks [time, audio channels] at the codec's rate."""


def check_scales(scales: str) -> None:
    """Refuses what companded codes cannot be scaled by.

    Args:
        scales: as a user gave it.

    Raises:
        ValueError: if it is neither "signal" nor "spec".
    """
    if scales not in ("signal", "spec"):
        raise ValueError(f"scales={scales!r}: use 'signal' or 'spec'")


def fitted_quantizer(
    codec: Codec, read: Read, *, q_bits: int | None, scales: str
) -> Quantizer | None:
    """The quantizer of companded codes; None without bits.

    Args:
        codec: any codec.
        read: starts reading the recording.
        q_bits: 2 to 16, or None.
        scales: "signal" for the peaks of the recording, which takes a pass over it; "spec" for
            those that the bank lets expect.

    Returns:
        One with the scale of each channel.

    Raises:
        ValueError: if bits or scales are out of range.
    """
    from isincnet_jax.bank import long_signals

    if q_bits is None:
        return None
    check_scales(scales)
    quantizer = codec.quantizer(q_bits=q_bits)
    if scales == "spec":
        return quantizer
    return long_signals.fit_quantizer(codec, read(), quantizer=quantizer)
