"""From a spec and a length to the decoders of a reflected clip's edges."""

from __future__ import annotations

import functools
from typing import NamedTuple

from isincnet_jax.bank.design import design_bank, frame_grid
from isincnet_jax.bank.dsp import reflected_edges
from isincnet_jax.bank.solve import SolvedDecoder
from isincnet_jax.bank.spec import FilterbankSpec


class EdgePlan(NamedTuple):
    """How a reflect-padded clip of one length is decoded at its edges.

    Attributes:
        left: None where the stationary decoder is right from sample 0 on, or for a whole clip.
        right: the decoder of the last samples, or of the whole clip.
        whole: whether ``right`` solves the clip as a whole.
    """

    left: reflected_edges.EdgeDecoder | None
    right: reflected_edges.EdgeDecoder | None
    whole: bool


@functools.lru_cache(maxsize=8)
def _left_edge(
    spec: FilterbankSpec, num_samples: int, num_frames: int, noise_variance: float
) -> reflected_edges.EdgeDecoder:
    return reflected_edges.left_edge_decoder(
        design_bank(spec).kernels,
        hop_length=spec.hop_length,
        num_samples=num_samples,
        num_frames=num_frames,
        noise_variance=noise_variance,
    )


@functools.lru_cache(maxsize=16)
def _right_edge(
    spec: FilterbankSpec,
    num_samples: int,
    num_frames: int,
    remainder: int,
    noise_variance: float,
) -> reflected_edges.EdgeDecoder:
    return reflected_edges.right_edge_decoder(
        design_bank(spec).kernels,
        hop_length=spec.hop_length,
        num_samples=num_samples,
        num_frames=num_frames,
        remainder=remainder,
        noise_variance=noise_variance,
    )


@functools.lru_cache(maxsize=16)
def _whole_clip(
    spec: FilterbankSpec, length: int, noise_variance: float
) -> reflected_edges.EdgeDecoder:
    return reflected_edges.whole_clip_decoder(
        design_bank(spec).kernels,
        hop_length=spec.hop_length,
        length=length,
        num_frames=frame_grid(spec, length).num_frames,
        noise_variance=noise_variance,
    )


def edge_plan(
    spec: FilterbankSpec, decoder: SolvedDecoder, length: int, *, noise_variance: float = 0.0
) -> EdgePlan:
    """The edge decoders of a clip of ``length`` samples; none are needed with zero padding.

    Args:
        spec: the bank.
        decoder: of the interior.
        length: samples of the clip.
        noise_variance: what a Wiener decoder of the interior assumes; 0 with exact decoders.
    """
    if spec.padding == "zeros":
        return EdgePlan(None, None, whole=False)
    hop = spec.hop_length
    num_frames = frame_grid(spec, length).num_frames
    ahead = decoder.taps - 1 - decoder.lead
    from_left = max(0, ahead - hop + 1)
    from_right = max(0, length - num_frames * hop + decoder.lead)
    reach = -(-design_bank(spec).kernels.shape[1] // hop)
    frames = -(-max(from_left, from_right) // hop) + reach
    if num_frames < 2 * frames:
        return EdgePlan(None, _whole_clip(spec, length, noise_variance), whole=True)
    left = _left_edge(spec, from_left, frames, noise_variance) if from_left else None
    remainder = length - 1 - (num_frames - 1) * hop
    right = _right_edge(spec, from_right, frames, remainder, noise_variance) if from_right else None
    return EdgePlan(left, right, whole=False)
