"""Low-latency codecs, whose decoder waits the least; offline they decode like any other."""

from __future__ import annotations

from isincnet_jax.bank import design
from isincnet_jax.bank.codec import Codec, build_codec
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.designed import RealUniformBank
from isincnet_jax.bank.sincnet import SincNet
from isincnet_jax.bank.solve import design_decoder
from isincnet_jax.bank.solved import EXACT_RESIDUAL, FoldedDecoder
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp import checks
from isincnet_jax.dsp.settling import settles

_SOLVED_RESIDUAL = 1e-9
_TRIED_FRAMES = (1, 2, 4, 8, 16)


@settles
def low_latency_codec(
    spec: FilterbankSpec,
    *,
    total_latency: int | None = None,
    num_frames: int | None = None,
    name: str = "low latency",
) -> Codec:
    """Low-latency codec, with an exact decoder that is solved from the spec like any other.

    The decoders of other codecs use frames on both sides of the samples that they put out, for
    the least noise gain. This one uses the frames that end soonest. Of a causal bank, whose frames
    weigh their newest samples most, that costs next to no noise gain: 16 kHz, hop 125, complex, 128
    bins need 124 samples (7.8 ms) instead of 249, with a noise gain of 14.4 instead of 14.2.

    It is a least-squares decoder with a ``lead``, see :class:`.decoder_spec.DecoderSpec`; any
    SincNet takes such a one. The default decoder of a causal real bank on a uniform grid, a folded
    inverse, waits no longer, and is taken as it is.

    Args:
        spec: the bank, causal for the least latency; zero padding.
        total_latency: samples from a sample's arrival until its reconstruction is given out, at
            most. If None, that of frames that end with the samples, ``hop_length - 1``, or the
            samples that frames look ahead if they are more. Less is possible for banks that look
            ahead, at the price of noise gain.
        num_frames: frame taps of the decoder, taken as they are, exact or not; as many as exactness
            takes, up to 16, if None.
        name: of the codec.

    Returns:
        A codec with zero padding, for :func:`.stream.stream_encoder` and
        :func:`.stream.stream_decoder`.

    Raises:
        ValueError: for reflect padding, a latency below ``hop_length - 1``, or a bank that so few
            frames do not invert.

    Example:
        >>> spec = FilterbankSpec(
        ...     sample_rate=8000, hop_length=8, num_bins=9, shape="none", causal=True)
        >>> from isincnet_jax.streaming.stream import stream_decoder
        >>> stream_decoder(low_latency_codec(spec)).total_latency
        7
    """
    if num_frames is not None:
        checks.check_positive_integers(num_frames=num_frames)
    if spec.padding != "zeros":
        raise ValueError(f"padding={spec.padding!r}: a stream's decoder needs padding='zeros'")
    if total_latency is not None:
        checks.check_positive_integers(total_latency=total_latency)
    hop, trail = spec.hop_length, spec.bank.trail
    latency = max(hop - 1, trail) if total_latency is None else total_latency
    if latency < hop - 1:
        raise ValueError(
            f"total_latency={latency}: the sample after a frame's position waits for the next "
            f"frame; use total_latency >= hop_length - 1 = {hop - 1}"
        )
    # A frame at 0 is complete at ``trail`` and settles the samples from -lead on: trail + lead.
    decoder = _find_decoder(spec, latency - trail, num_frames)
    return build_codec(SincNet(spec, decoder), name=name)


def _find_decoder(spec: FilterbankSpec, lead: int, num_frames: int | None) -> DecoderSpec:
    """The decoder of so little lead with the fewest frames that are exact, or with those given."""
    bank = spec.bank
    if num_frames is not None:
        return DecoderSpec("least_squares", num_frames=num_frames, lead=lead)
    if isinstance(bank, RealUniformBank) and design.is_invertible(spec):
        usual = design_decoder(spec)
        if isinstance(usual, FoldedDecoder) and usual.least_lead <= lead:
            return DecoderSpec()
    least = max(1, -(-(lead - bank.lead) // spec.hop_length) + 1)  # to see a block at all
    found: list[tuple[float, DecoderSpec]] = []
    for count in [n for n in _TRIED_FRAMES if n >= least] or [least]:
        decoder = DecoderSpec("least_squares", num_frames=count, lead=lead)
        residual = design_decoder(spec, decoder).residual
        found.append((residual, decoder))
        if residual <= _SOLVED_RESIDUAL:
            break
    residual, decoder = min(found, key=lambda pair: pair[0])
    if not residual <= EXACT_RESIDUAL:
        raise ValueError(
            f"total_latency={lead + bank.trail}: the best decoder found errs by {residual:.1e} of "
            "the signal; use a larger total_latency or more bins, or name num_frames to take what "
            "they give"
        )
    return decoder
