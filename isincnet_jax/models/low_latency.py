"""Codecs whose decoder waits the least: for streams, offline they decode like any other."""

from __future__ import annotations

import jax.numpy as jnp

from isincnet_jax.dsp import streaming
from isincnet_jax.dsp.decoders import SynthesisKernels
from isincnet_jax.layers import checks, decoding, design
from isincnet_jax.layers.analysis import COLLECTION
from isincnet_jax.layers.decoding import DecoderSpec
from isincnet_jax.layers.sincnet import SincNet
from isincnet_jax.layers.spec import FilterbankSpec
from isincnet_jax.models.autoencoder import Codec, build_codec

_SOLVED_RESIDUAL = 1e-9
_TRIED_FRAMES = (1, 2, 4, 8, 16)


def low_latency_codec(
    spec: FilterbankSpec,
    *,
    total_latency: int | None = None,
    num_frames: int | None = None,
    name: str = "low latency",
) -> Codec:
    """A codec with an exact decoder of low latency, solved in float64.

    The decoders of other codecs use frames on both sides of the samples that they put out, for
    the least noise gain. This one uses the frames that end soonest. Of a causal bank, whose frames
    weigh their newest samples most, that costs next to no noise gain: 16 kHz, hop 125, complex, 128
    bins need 124 samples (7.8 ms) instead of 249, with a noise gain of 14.5 instead of 14.2.

    Args:
        spec: the bank, causal for the least latency; zero padding.
        total_latency: samples from a sample's arrival until its reconstruction is given out, at
            most. If None, that of frames that end with the samples, ``hop_length - 1``, or the
            samples that frames look ahead if they are more. Less is possible for banks that look
            ahead, at the price of noise gain.
        num_frames: frame taps of the decoder, taken as they are, exact or not; as many as exactness
            takes, up to 16, if None.
        name: of the codec.

    Raises:
        ValueError: for reflect padding, a latency below ``hop_length - 1``, or a bank that so few
            frames do not invert.

    Example:
        >>> spec = FilterbankSpec(
        ...     sample_rate=8000, hop_length=8, num_bins=9, shape="none", causal=True)
        >>> from isincnet_jax.models.streaming import stream_decoder
        >>> stream_decoder(low_latency_codec(spec)).total_latency
        7
    """
    if num_frames is not None:
        checks.check_positive_integers(num_frames=num_frames)
    if spec.padding != "zeros":
        raise ValueError(f"padding={spec.padding!r}: a stream's decoder needs padding='zeros'")
    hop, trail = spec.hop_length, design.design_bank(spec).trail
    latency = max(hop - 1, trail) if total_latency is None else total_latency
    if latency < hop - 1:
        raise ValueError(
            f"total_latency={latency}: the sample after a frame's position waits for the next "
            f"frame; use total_latency >= hop_length - 1 = {hop - 1}"
        )
    solved = _solve(spec, latency - trail, num_frames)
    frames = solved.kernels.shape[1] // hop
    decoder = DecoderSpec("free", num_frames=frames, first_frame=solved.lead // hop - frames + 1)
    codec = build_codec(SincNet(spec, decoder), name=name)
    filters = {**codec.variables[COLLECTION]}
    filters["synthesis"] = {"synthesis": jnp.asarray(solved.kernels, codec.model.dtype)}
    return Codec(codec.model, {**codec.variables, COLLECTION: filters}, name)


def _solve(spec: FilterbankSpec, lead: int, num_frames: int | None) -> SynthesisKernels:
    bank, hop = design.design_bank(spec), spec.hop_length
    reach = max(bank.lead, bank.trail)
    center = bank.kernels.shape[1] // 2
    kernels = bank.kernels[:, center - min(reach, center) :][:, : 2 * reach + 1]
    least = max(1, -(-(lead - bank.lead) // hop) + 1)  # to see a block at all
    counts = [num_frames] if num_frames is not None else [n for n in _TRIED_FRAMES if n >= least]
    best: SynthesisKernels | None = None
    for count in counts or [least]:
        found = streaming.least_latency_decoder(
            kernels, hop_length=hop, lead=lead, num_frames=count
        )
        if best is None or found.residual < best.residual:
            best = found
        if found.residual <= _SOLVED_RESIDUAL:
            break
    assert best is not None
    if num_frames is None and not best.residual <= decoding.EXACT_RESIDUAL:
        raise ValueError(
            f"total_latency={lead + bank.trail}: the best decoder found errs by "
            f"{best.residual:.1e} of the signal; use a larger total_latency or more bins, or name "
            "num_frames to take what they give"
        )
    return best
