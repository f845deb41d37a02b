"""Decoders of a spec's bank, solved in float64."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
from jaxtyping import Float

from isincnet_jax.bank import design
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.designed import (
    Bank,
    RealUniformBank,
    SymmetricBank,
    UniformBank,
    kernels_support,
    read_only,
)
from isincnet_jax.bank.dsp import (
    decoders,
    folded_inverse,
    frame_theory,
    rounding,
    symmetric_frames,
    uniform,
)
from isincnet_jax.bank.solved import (
    DualWindow,
    FoldedDecoder,
    SolvedDecoder,
    is_enough,
    with_symmetry,
)
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp import framing

_SOLVED_RESIDUAL = 1e-11
_MOST_SOLVED_SAMPLES = 2048  # a second's work
_DUAL_WINDOW_FRAMES = 4
_LONGEST_DUAL_FRAMES = 32
_NOISIER = 1.01  # noise gain that symmetry may cost


class NotInvertibleWarning(UserWarning):
    """Bank that loses part of the signal; the best linear decoder is used instead.

    Example:
        >>> from isincnet_jax.bank.spec import FilterbankSpec
        >>> spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=3, shape="none")
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     decoder = design_decoder(spec)
        >>> caught[0].category.__name__
        'NotInvertibleWarning'
    """


class UnseenSamplesWarning(UserWarning):
    """Samples at the end of a clip are in no frame, so that nothing can bring them back."""


def design_decoder(
    spec: FilterbankSpec, decoder: DecoderSpec | None = None, *, known: SolvedDecoder | None = None
) -> SolvedDecoder:
    """Decoder of a spec's bank, solved once: the bank keeps it.

    Args:
        spec: of the bank.
        decoder: how; exact by default.
        known: its solution, from a disk say, for a bank that does not have it yet.

    Returns:
        Synthesis kernels or a dual window, float64 and read-only, with residual and expected SNR.

    Raises:
        ValueError: for "least_squares" or "dual" on a bank that cannot be inverted.

    Warns:
        NotInvertibleWarning: for "auto" on a bank that cannot be inverted.
        UnseenSamplesWarning: for an exact decoder of frames that leave the end of a clip out.
    """
    decoder = decoder or DecoderSpec()
    kept = spec.bank.decoders
    if decoder not in kept:
        kept[decoder] = known or _design_decoder(spec, decoder)
    return kept[decoder]


def _design_decoder(spec: FilterbankSpec, decoder: DecoderSpec) -> SolvedDecoder:
    if decoder.kind == "free":
        return _free(spec, decoder)
    if (unseen := spec.bank.unseen_samples) and decoder.kind != "wiener":
        warnings.warn(
            f"padding={spec.padding!r}, dialect={spec.dialect!r}: up to {unseen} samples at the "
            "end of a clip are in no frame and do not return; use dialect='native', which adds a "
            "frame for them, or padding='zeros'",
            UnseenSamplesWarning,
            stacklevel=3,
        )
    if decoder.kind == "wiener" or decoder.settled_lead(spec.hop_length) is not None:
        return _solve(spec, decoder)
    if decoder.kind == "auto":
        if spec.tight:
            return _adjoint(spec)
        # These show by themselves whether they exist: the bounds need not be known first.
        structured = _structured(spec.bank, decoder)
        if structured is not None:
            return structured
    # An inverse of given frames proves itself, if there is one; the eigenvalues of the bounds take
    # longer than its solution.
    found = _solve(spec, decoder) if decoder.num_frames and decoder.kind != "dual" else None
    proven = found is not None and _proves_itself(found, spec.bank)
    if not proven and not design.is_invertible(spec):
        return _without_inverse(spec, decoder)
    return found or _solve(spec, decoder)


def _proves_itself(solved: SolvedDecoder, bank: Bank) -> bool:
    """Whether a decoder inverts its bank and shows that the bank is well-conditioned."""
    return (
        solved.residual <= _SOLVED_RESIDUAL
        and frame_theory.condition_of_inverse(
            bank.kernels, solved.values, hop_length=bank.hop_length
        )
        <= design.INVERTIBLE_CONDITION
    )


def _solve(spec: FilterbankSpec, decoder: DecoderSpec) -> SolvedDecoder:
    solved = solve_kernels(
        spec.bank.kernels,
        hop_length=spec.hop_length,
        decoder=decoder,
        symmetric=spec.is_symmetric,
    )
    if isinstance(spec.bank, SymmetricBank) and not decoder.weighs_noise:
        return _symmetric(solved, spec.bank, decoder)
    return solved


def _symmetric(solved: SolvedDecoder, bank: SymmetricBank, decoder: DecoderSpec) -> SolvedDecoder:
    """The decoder as its own mirror image, if it is as exact.

    Frames lie evenly around a block but for its first sample, which has one more before it than
    after it: that sample is solved of one frame fewer. All others have as many on either side, so
    that the solution of least energy is symmetric but for rounding.
    """
    hop, lead, num_even = bank.hop_length, solved.lead, bank.num_even
    if solved.method != "least squares" or 2 * lead != solved.taps or lead == hop:
        return with_symmetry(solved, num_even)
    fewer = decoders.least_squares_decoder(
        bank.kernels,
        hop_length=hop,
        num_frames=solved.taps // hop - 1,
        lead=lead - hop,
        regularization=decoder.regularization,
    )
    values = np.array(solved.values)
    values[:, ::hop] = 0.0
    values[:, hop::hop] = fewer.kernels[:, ::hop]
    values = 0.5 * (values + symmetric_frames.mirrored(values, num_even=num_even, lead=lead))
    found = decoders.SynthesisKernels(values, lead, 0.0, 0.0)
    found = decoders.measured(found, bank.kernels, hop_length=hop)
    # A frame's even and odd channels are added up apart, and then those of all frames.
    other = _solved(found, bank.kernels, hop, solved.method, panel=num_even)
    same = other.is_exact == solved.is_exact and other.noise_gain <= _NOISIER * solved.noise_gain
    exact = other.is_exact_in_float64 == solved.is_exact_in_float64
    return with_symmetry(other, num_even) if same and exact else solved


def _free(spec: FilterbankSpec, decoder: DecoderSpec) -> SolvedDecoder:
    """Zeros in the shape that loaded or learned weights have."""
    zeros = np.zeros((spec.num_channels, (decoder.num_frames or 1) * spec.hop_length))
    lead = decoder.settled_lead(spec.hop_length) or 0
    return SolvedDecoder(read_only(zeros), lead, float("nan"), float("nan"), "free weights")


def _without_inverse(spec: FilterbankSpec, decoder: DecoderSpec) -> SolvedDecoder:
    message = design.explain_not_invertible(spec)
    if decoder.kind != "auto":
        raise ValueError(f"{message}; or ask for the best linear decoder, kind='wiener'")
    warnings.warn(
        f"{message}; decoding with the best linear (Wiener) decoder",
        NotInvertibleWarning,
        stacklevel=4,
    )
    return _solve(spec, dataclasses.replace(decoder, kind="wiener"))


def _adjoint(spec: FilterbankSpec) -> SolvedDecoder:
    """The inverse of a tight bank: its own kernels."""
    bank = spec.bank
    own = decoders.aligned_to_hops(bank.kernels, lead=bank.taps // 2, hop_length=spec.hop_length)
    own = decoders.measured(own, bank.kernels, hop_length=spec.hop_length)
    if not isinstance(bank, SymmetricBank):
        return _solved(own, bank.kernels, spec.hop_length, "adjoint")
    solved = _solved(own, bank.kernels, spec.hop_length, "adjoint", panel=bank.num_even)
    return with_symmetry(solved, bank.num_even)


def _solved(
    kernels_and_errors: decoders.SynthesisKernels,
    kernels: np.ndarray,
    hop_length: int,
    method: str,
    panel: int | None = None,
) -> SolvedDecoder:
    if panel is None:
        # Few frames are products of their own, which are added up afterwards.
        few = kernels_and_errors.kernels.shape[1] <= framing.MOST_MULTIPLIED_STEPS * hop_length
        panel = min(len(kernels), rounding.PANEL) if few else rounding.PANEL
    error = rounding.round_trip_error(
        kernels, kernels_and_errors, hop_length=hop_length, panel=panel
    )
    return SolvedDecoder(
        read_only(kernels_and_errors.kernels),
        kernels_and_errors.lead,
        kernels_and_errors.residual,
        kernels_and_errors.noise_gain,
        method,
        rounding.decibels(error),
    )


def _structured(bank: Bank, decoder: DecoderSpec) -> SolvedDecoder | None:
    """The exact decoder that has the structure of a uniform bank, if there is one."""
    if isinstance(bank, RealUniformBank):
        return _folded_inverse(bank, decoder)
    return _dual_window(bank, decoder) if isinstance(bank, UniformBank) else None


def _folded_inverse(bank: RealUniformBank, decoder: DecoderSpec) -> FoldedDecoder | None:
    """The folded inverse of a real uniform bank, or None: not exact, or of more frames."""
    hop = bank.hop_length
    inverse = folded_inverse.solve(bank.filters, bank.gains, hop_length=hop)
    if inverse is None:
        return None
    dense = decoders.measured(
        folded_inverse.synthesis_kernels(inverse, bank.gains), bank.kernels, hop_length=hop
    )
    # An output sample is a sum of a few sums over the channels.
    error = rounding.round_trip_error(bank.kernels, dense, hop_length=hop, panel=bank.num_bins)
    taps = dense.kernels.shape[1]
    found = FoldedDecoder(
        values=read_only(inverse.taps),
        lead=dense.lead,
        residual=dense.residual,
        noise_gain=dense.noise_gain,
        expected_snr_db=rounding.decibels(error),
        inverse=inverse,
        gains=bank.gains,
        taps_written_out=taps,
    )
    fits = decoder.num_frames is None or taps <= decoder.num_frames * hop
    return found if found.is_exact and fits else None


def _dual_window(bank: UniformBank, decoder: DecoderSpec) -> DualWindow | None:
    """The dual window of a uniform bank, or None if this structure has no exact one."""
    hop, num_bins = bank.hop_length, bank.num_bins
    num_frames = decoder.num_frames or _DUAL_WINDOW_FRAMES
    # As many hops before as after the block that the frames see: the dual mirrors the support.
    before = max(round((num_frames + (bank.lead - bank.trail) / hop) / 2), 0)
    reach, ahead = before * hop, (num_frames - before) * hop - 1
    dual, violation = uniform.dual_window(
        bank.filters, hop_length=hop, num_bins=num_bins, reach=reach, reach_ahead=ahead
    )
    if violation > _SOLVED_RESIDUAL:
        return None
    dense = uniform.synthesis_kernels(dual, num_bins=num_bins, lead=reach, hop_length=hop)
    # The matrices of the DFT are split, so that their sums are short.
    error = rounding.round_trip_error(
        bank.kernels, dense, hop_length=hop, panel=max(num_bins // 4, 1)
    )
    return DualWindow(
        values=read_only(dual),
        lead=reach,
        residual=violation,
        noise_gain=dense.noise_gain,
        expected_snr_db=rounding.decibels(error),
        num_bins=num_bins,
    )


def solve_kernels(
    kernels: Float[np.ndarray, "channels taps"],
    *,
    hop_length: int,
    decoder: DecoderSpec,
    symmetric: bool = False,
) -> SolvedDecoder:
    """Decoder of given kernels, whether they can be inverted or not.

    Args:
        kernels: float64 real channels, centred at ``taps // 2``; those of learned filters, say.
        hop_length: samples between frames.
        decoder: of kind "wiener" for the best linear one, "dual" for the canonical dual, else the
            least squares of as many frames as exactness takes, in float32 too.
        symmetric: whether all kernels are even or odd, so that few frames may do.

    Returns:
        Not cached; ``residual`` tells how exact it is.

    Raises:
        ValueError: if the noise variances do not fit the channels.
    """
    reach = sum(kernels_support(kernels))
    if decoder.kind == "wiener":
        return _wiener(kernels, hop_length, decoder, reach=reach)
    if decoder.weighs_noise:
        return _of_least_noise(kernels, hop_length, decoder)
    if decoder.kind == "dual":
        dual = decoders.dual_decoder(
            kernels,
            hop_length=hop_length,
            num_frames=decoder.num_frames or _LONGEST_DUAL_FRAMES,
        )
        return _solved(dual, kernels, hop_length, "canonical dual")
    # Even and odd kernels may be exact with 4 frames. Fewer than half a kernel's support in hops
    # are
    # not tried, and if that is longer than all of these, more frames are.
    tried = (4, 6, 8, 12, 16, 24, 32) if symmetric else (8, 16, 24, 32)
    span = reach // (2 * hop_length)
    counts = [decoder.num_frames] if decoder.num_frames else [n for n in tried if n > span]
    best = None
    for count in counts or [tried[-1] + 2 * span]:
        found = decoders.least_squares_decoder(
            kernels,
            hop_length=hop_length,
            num_frames=count,
            lead=decoder.settled_lead(hop_length),
            regularization=decoder.regularization,
        )
        if best is None or found.residual < best.residual:
            best = found
        if found.residual <= _SOLVED_RESIDUAL:
            break
    assert best is not None
    solved = _solved(best, kernels, hop_length, "least squares")
    # Exact before rounding, but in float32 the noise gain leaves less than 115 dB: more frames
    # help.
    if decoder.num_frames is None and solved.is_exact_in_float64 and not solved.is_exact:
        return _with_more_frames(solved, kernels, hop_length, decoder.regularization)
    return solved


def _with_more_frames(
    solved: SolvedDecoder, kernels: np.ndarray, hop_length: int, regularization: float
) -> SolvedDecoder:
    """The decoder that loses the least in float32: the noise gain falls with every frame.

    The first of more frames that is exact with some to spare, or the best.
    """
    for count in (16, 24, 32, 48, 64):
        if count * hop_length <= solved.taps or count * hop_length > _MOST_SOLVED_SAMPLES:
            continue
        found = decoders.least_squares_decoder(
            kernels, hop_length=hop_length, num_frames=count, regularization=regularization
        )
        other = _solved(found, kernels, hop_length, "least squares")
        if other.is_exact_in_float64 and other.expected_snr_db > solved.expected_snr_db:
            solved = other
        if is_enough(solved.expected_snr_db):
            break
    return solved


def _of_least_noise(kernels: np.ndarray, hop_length: int, decoder: DecoderSpec) -> SolvedDecoder:
    """The exact decoder of least sum_c n_c |g_c|^2: that of channels with noise of one variance."""
    deviation = np.sqrt(_noise_of_channels(decoder, len(kernels)))[:, None]
    # As large as they were on average, since residuals and ridges are relative.
    deviation /= np.exp(np.mean(np.log(deviation)))
    plain = dataclasses.replace(decoder, noise_variance=DecoderSpec.noise_variance)
    found = solve_kernels(kernels / deviation, hop_length=hop_length, decoder=plain)
    own = decoders.SynthesisKernels(found.values / deviation, found.lead, 0.0, 0.0)
    own = decoders.measured(own, kernels, hop_length=hop_length)
    return _solved(own, kernels, hop_length, found.method)


def _noise_of_channels(decoder: DecoderSpec, channels: int) -> np.ndarray:
    noise = np.asarray(decoder.noise_variance, np.float64)
    if noise.ndim and len(noise) != channels:
        raise ValueError(
            f"noise_variance has {len(noise)} entries; give one number or one per channel "
            f"({channels})"
        )
    return noise


def _wiener(
    kernels: np.ndarray, hop_length: int, decoder: DecoderSpec, *, reach: int
) -> SolvedDecoder:
    noise = _noise_of_channels(decoder, len(kernels))
    solved = decoders.wiener_decoder(
        kernels,
        hop_length=hop_length,
        # the frames whose kernels touch the block, and three or four more
        num_frames=decoder.num_frames or 2 * -(-reach // (2 * hop_length)) + 4,
        lead=decoder.settled_lead(hop_length),
        autocovariance=np.asarray(decoder.autocovariance) if decoder.autocovariance else None,
        noise_variance=noise,
    )
    return _solved(solved, kernels, hop_length, "wiener")
