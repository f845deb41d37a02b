"""Edge decoders of reflected clips: which ones a bank needs at a length, solved once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from isincnet_jax.bank.designed import Bank
from isincnet_jax.bank.dsp.reflected_edges import (
    EdgeDecoder,
    left_edge_decoder,
    right_edge_decoder,
    whole_clip_decoder,
)
from isincnet_jax.bank.solved import SolvedDecoder


class EdgePlan(NamedTuple):
    """Edge decoders of a reflect-padded clip of one length.

    Attributes:
        left: None where the stationary decoder is right from sample 0 on, or for a whole clip.
        right: the decoder of the last samples, or of the whole clip.
        whole: whether ``right`` solves the clip as a whole.
    """

    left: EdgeDecoder | None
    right: EdgeDecoder | None
    whole: bool


@functools.lru_cache(maxsize=32)
def _solve(make: Callable[..., EdgeDecoder], bank: Bank, **sizes: Any) -> EdgeDecoder:
    return make(bank.kernels, hop_length=bank.hop_length, **sizes)


def edge_plan(
    bank: Bank, decoder: SolvedDecoder, length: int, *, noise_variance: float = 0.0
) -> EdgePlan:
    """Edge decoders of a clip of ``length`` samples; none are needed with zero padding.

    Args:
        bank: the designed bank.
        decoder: of the interior.
        length: samples of the clip.
        noise_variance: what a Wiener decoder of the interior assumes; 0 with exact decoders.

    Returns:
        The decoders of the first and last samples, or one of the whole clip if it is short.
    """
    if bank.padding == "zeros":
        return EdgePlan(None, None, whole=False)
    hop = bank.hop_length
    num_frames = bank.frame_grid(length).num_frames
    # The interior decoder lacks frames before 0 for samples up to ahead - hop, and frames behind
    # the
    # last one for samples from num_frames hop - lead on.
    ahead = decoder.taps - 1 - decoder.lead
    from_left = max(0, ahead - hop + 1)
    from_right = max(0, length - num_frames * hop + decoder.lead)
    # The samples solved, and a kernel's length more: frames that see any of them.
    reach = -(-bank.taps // hop)
    frames = -(-max(from_left, from_right) // hop) + reach
    solve = functools.partial(_solve, bank=bank, noise_variance=noise_variance)
    # Both edges would share frames: the clip is solved as a whole.
    if num_frames < 2 * frames:
        whole = solve(whole_clip_decoder, length=length, num_frames=num_frames)
        return EdgePlan(None, whole, whole=True)
    left = right = None
    if from_left:
        left = solve(left_edge_decoder, num_samples=from_left, num_frames=frames)
    if from_right:
        remainder = length - 1 - (num_frames - 1) * hop
        right = solve(
            right_edge_decoder, num_samples=from_right, num_frames=frames, remainder=remainder
        )
    return EdgePlan(left, right, whole=False)
