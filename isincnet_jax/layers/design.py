"""From a spec to numbers: kernels, frame bounds, decoders, and what to change if none exists.

Everything is solved in float64 NumPy, once per process and spec, and returned read-only.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import numpy as np

from isincnet_jax.dsp import boundary, decoders, framing, kernels, uniform
from isincnet_jax.dsp import frames as frame_theory
from isincnet_jax.layers.spec import FilterbankSpec

INVERTIBLE_CONDITION = 1e6
"""Largest condition number B / A at which a bank counts as invertible. Rounding noise of the
coefficients grows by up to sqrt(B / A): beyond 1e6 a float32 round trip falls below 80 dB."""

EXACT_RESIDUAL = 1e-6
"""Largest relative error of a decoder that may call itself exact: -120 dB."""

_SOLVED_RESIDUAL = 1e-11
_DUAL_WINDOW_FRAMES = 4
_TIGHT_TAIL_ENERGY = 1e-16

DecoderKind = Literal["auto", "least_squares", "dual", "wiener", "free"]


class NotInvertibleWarning(UserWarning):
    """A bank loses part of the signal; the best linear decoder is used instead."""


@dataclasses.dataclass(frozen=True)
class DecoderSpec:
    """How the synthesis kernels are found.

    Attributes:
        kind: "auto" (exact: a dual window for uniform banks, else least squares with as many
            frames as it takes; for a bank that cannot be inverted, Wiener with a warning),
            "least_squares" (exact or an error), "dual" (canonical dual, cut), "wiener", or "free"
            (zeros, for weights that are loaded or learned from nothing).
        num_frames: frame taps; chosen if None.
        first_frame: for "free", the first of those frames, relative to the block they emit.
        regularization: of the least squares, relative; larger lowers the noise gain of an
            ill-conditioned bank and the exactness with it.
        autocovariance: of the signal, for "wiener"; white noise if empty.
        noise_variance: of the coefficients, for "wiener": one number, or one per channel.
    """

    kind: DecoderKind = "auto"
    num_frames: int | None = None
    first_frame: int | None = None
    regularization: float = 1e-11
    autocovariance: tuple[float, ...] = ()
    noise_variance: float | tuple[float, ...] = 1e-8

    def __post_init__(self) -> None:
        if self.kind not in get_args(DecoderKind):
            options = ", ".join(get_args(DecoderKind))
            raise ValueError(f"decoder kind={self.kind!r} is unknown; use {options}")
        if self.num_frames is not None and self.num_frames < 1:
            raise ValueError(f"num_frames={self.num_frames} must be at least 1")
        if self.kind == "free" and (self.num_frames is None or self.first_frame is None):
            raise ValueError("decoder kind='free' needs num_frames and first_frame")


class Bank(NamedTuple):
    """A designed bank.

    Attributes:
        kernels: real channels, float64 [channels, taps], centred at ``taps // 2``.
        lead: samples that the non-zero taps reach before a frame's position.
        trail: samples that they reach after it.
    """

    kernels: np.ndarray
    lead: int
    trail: int


@dataclasses.dataclass(frozen=True, eq=False)
class SolvedDecoder:
    """A decoder, ready to be cast and applied.

    Attributes:
        values: float64: synthesis kernels [channels, taps], or the dual window [taps] of a
            uniform bank.
        lead: taps before a frame's own position.
        residual: relative root mean squared error on white noise, coefficients unrounded.
        noise_gain: output deviation for unit white noise on the coefficients.
        method: what it is: "dual window", "least squares", "canonical dual", "adjoint"
            (of a tight bank), "wiener" or "free weights".
    """

    values: np.ndarray
    lead: int
    residual: float
    noise_gain: float
    method: str

    @property
    def is_window(self) -> bool:
        """Whether ``values`` is the dual window of a uniform bank."""
        return self.values.ndim == 1

    @property
    def taps(self) -> int:
        """Length of the synthesis kernels."""
        return self.values.shape[-1]

    @property
    def is_exact(self) -> bool:
        """Whether the error is below :data:`EXACT_RESIDUAL`."""
        return self.residual <= EXACT_RESIDUAL


def _frozen(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array


@functools.lru_cache(maxsize=64)
def design_bank(spec: FilterbankSpec) -> Bank:
    """The real channels of a spec's bank and their reach.

    Raises:
        ValueError: for ``tight=True`` on a bank that is no frame.
    """
    channels = kernels.stack_components(spec.design_kernels(), component=spec.component)
    if spec.tight:
        channels = _tight_kernels(channels, spec.hop_length)
    lead, trail = kernels.window_support(np.any(channels != 0.0, axis=0).astype(np.float64))
    return Bank(_frozen(channels), lead, trail)


def _tight_kernels(channels: np.ndarray, hop_length: int) -> np.ndarray:
    """Canonical tight kernels, cut where the tails hold 1e-16 of their energy (-160 dB)."""
    longest = max(32, 4 * -(-channels.shape[1] // hop_length))
    tight = frame_theory.canonical_tight(channels, hop_length=hop_length, num_blocks=longest)
    energy = np.sum(tight**2, axis=0)
    tails = np.cumsum(energy + energy[::-1])[: len(energy) // 2] / np.sum(energy)
    cut = int(np.searchsorted(tails, _TIGHT_TAIL_ENERGY))
    return tight[:, cut : tight.shape[1] - cut]


def frame_grid(spec: FilterbankSpec, length: int) -> framing.FrameGrid:
    """The frames of a clip of ``length`` samples."""
    bank = design_bank(spec)
    return framing.frame_grid(
        length,
        hop_length=spec.hop_length,
        lead=bank.lead,
        trail=bank.trail,
        padding=spec.padding,
    )


def longest_length(spec: FilterbankSpec, num_frames: int) -> int:
    """The largest length in samples of a clip that has ``num_frames`` frames."""
    bank = design_bank(spec)
    return framing.longest_length(
        num_frames,
        hop_length=spec.hop_length,
        lead=bank.lead,
        trail=bank.trail,
        padding=spec.padding,
    )


@functools.lru_cache(maxsize=64)
def frame_bounds(spec: FilterbankSpec) -> frame_theory.FrameBounds:
    """Frame bounds and condition number of a spec's bank.

    Returns:
        ``lower``, ``upper`` and ``condition`` = upper / lower (infinite if some signals vanish).

    Example:
        >>> spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
        >>> frame_bounds(spec).condition < 4
        True
    """
    return frame_theory.frame_bounds_of_kernels(
        design_bank(spec).kernels, hop_length=spec.hop_length
    )


class Suggestion(NamedTuple):
    """The smallest changes that make a bank invertible; None where none was found."""

    num_bins: int | None
    hop_length: int | None


def _is_invertible(spec: FilterbankSpec) -> bool:
    if spec.redundancy < 1.0:
        return False
    channels = kernels.stack_components(spec.design_kernels(), component=spec.component)
    bounds = frame_theory.frame_bounds_of_kernels(
        channels, hop_length=spec.hop_length, num_frequencies=9, refine=False
    )
    return bounds.condition <= INVERTIBLE_CONDITION


def _bisect(fails: int, works: int, test: Callable[[int], bool]) -> int:
    """The value nearest to ``fails`` that works, if the property is monotone between them."""
    while abs(works - fails) > 1:
        middle = (fails + works) // 2
        if test(middle):
            works = middle
        else:
            fails = middle
    return works


@functools.lru_cache(maxsize=16)
def suggest_invertible(spec: FilterbankSpec) -> Suggestion:
    """The smallest bin count, and the largest hop, with which a bank can be inverted.

    All other fields are kept, the kernel size too. Searched by bisection over the condition
    number, up to 16 times the bins and down to a hop of 1.
    """
    base = spec.replace(tight=False)

    def with_bins(count: int) -> bool:
        return _is_invertible(base.replace(num_bins=count))

    def with_hop(hop: int) -> bool:
        return _is_invertible(base.replace(hop_length=hop))

    bins = next((2**p * spec.num_bins for p in range(5) if with_bins(2**p * spec.num_bins)), None)
    if bins is not None and bins > spec.num_bins:
        bins = _bisect(bins // 2, bins, with_bins)
    hop: int | None = spec.hop_length
    while hop and not with_hop(hop):
        hop //= 2
    if hop and hop < spec.hop_length:
        hop = _bisect(min(2 * hop + 1, spec.hop_length), hop, with_hop)
    return Suggestion(bins, hop or None)


def explain_not_invertible(spec: FilterbankSpec) -> str:
    """One sentence: that a bank cannot be inverted, and the nearest specs that can."""
    condition = frame_bounds(spec.replace(tight=False)).condition
    found = suggest_invertible(spec)
    fixes = [
        f"{name} {value}"
        for name, value in (
            ("num_bins >=", found.num_bins),
            ("hop_length <=", found.hop_length),
        )
        if value is not None
    ]
    advice = f"use {' or '.join(fixes)}" if fixes else "no bin count or hop in reach mends it"
    return (
        f"the bank cannot be inverted (num_bins={spec.num_bins}, hop_length={spec.hop_length}, "
        f"scale={spec.scale}, component={spec.component}: condition number {condition:.3g}, "
        f"limit {INVERTIBLE_CONDITION:.0g}); {advice}"
    )


_PROVIDED: dict[tuple[FilterbankSpec, DecoderSpec], SolvedDecoder] = {}


def provide_solution(spec: FilterbankSpec, decoder: DecoderSpec, solved: SolvedDecoder) -> None:
    """Makes :func:`design_decoder` return a solution that was computed before, say on disk."""
    _PROVIDED[spec, decoder] = solved


def design_decoder(spec: FilterbankSpec, decoder: DecoderSpec | None = None) -> SolvedDecoder:
    """Solves the decoder of a bank, once per process.

    Raises:
        ValueError: for "least_squares" or "dual" on a bank that cannot be inverted.

    Warns:
        NotInvertibleWarning: for "auto" on a bank that cannot be inverted.
    """
    decoder = decoder or DecoderSpec()
    return _PROVIDED.get((spec, decoder)) or _design_decoder(spec, decoder)


@functools.lru_cache(maxsize=32)
def _design_decoder(spec: FilterbankSpec, decoder: DecoderSpec) -> SolvedDecoder:
    if decoder.kind == "free":
        assert decoder.num_frames is not None and decoder.first_frame is not None
        zeros = np.zeros((spec.num_channels, decoder.num_frames * spec.hop_length))
        lead = (decoder.first_frame + decoder.num_frames - 1) * spec.hop_length
        return SolvedDecoder(_frozen(zeros), lead, float("nan"), float("nan"), "free weights")
    if decoder.kind == "wiener":
        return _wiener(spec, decoder)
    if decoder.kind == "auto" and spec.tight:
        return _adjoint(spec)
    if decoder.kind != "auto" or not spec.is_uniform:
        # A uniform bank skips the bounds: its dual window shows by itself whether it exists.
        if frame_bounds(spec).condition > INVERTIBLE_CONDITION:
            return _without_inverse(spec, decoder)
    if decoder.kind == "dual":
        frames = decoder.num_frames or 32
        bank = design_bank(spec)
        solved = decoders.dual_decoder(bank.kernels, hop_length=spec.hop_length, num_frames=frames)
        return _solved(solved, "canonical dual")
    if decoder.kind == "auto" and spec.is_uniform:
        windowed = _dual_window(spec, decoder)
        if windowed is not None:
            return windowed
        if frame_bounds(spec).condition > INVERTIBLE_CONDITION:
            return _without_inverse(spec, decoder)
    return _least_squares(spec, decoder)


def _without_inverse(spec: FilterbankSpec, decoder: DecoderSpec) -> SolvedDecoder:
    message = explain_not_invertible(spec)
    if decoder.kind != "auto":
        raise ValueError(f"{message}; or ask for the best linear decoder, kind='wiener'")
    warnings.warn(
        f"{message}; decoding with the best linear (Wiener) decoder",
        NotInvertibleWarning,
        stacklevel=4,
    )
    return _wiener(spec, decoder)


def _adjoint(spec: FilterbankSpec) -> SolvedDecoder:
    """The inverse of a tight bank: its own kernels."""
    bank = design_bank(spec)
    own = decoders.aligned_to_hops(
        bank.kernels, lead=bank.kernels.shape[1] // 2, hop_length=spec.hop_length
    )
    return _solved(decoders.measured(own, bank.kernels, hop_length=spec.hop_length), "adjoint")


def _solved(kernels_and_errors: decoders.SynthesisKernels, method: str) -> SolvedDecoder:
    return SolvedDecoder(
        _frozen(kernels_and_errors.kernels),
        kernels_and_errors.lead,
        kernels_and_errors.residual,
        kernels_and_errors.noise_gain,
        method,
    )


def _dual_window(spec: FilterbankSpec, decoder: DecoderSpec) -> SolvedDecoder | None:
    """The dual window of a uniform bank, or None if this structure has no exact one."""
    bank = design_bank(spec)
    hop = spec.hop_length
    num_frames = decoder.num_frames or _DUAL_WINDOW_FRAMES
    # As many hops before as after the block that the frames see: the dual mirrors the support.
    before = max(round((num_frames + (bank.lead - bank.trail) / hop) / 2), 0)
    reach, ahead = before * hop, (num_frames - before) * hop - 1
    window = analysis_window(spec)
    dual, violation = uniform.dual_window(
        window,
        hop_length=spec.hop_length,
        num_bins=spec.num_bins,
        reach=reach,
        reach_ahead=ahead,
    )
    if violation > _SOLVED_RESIDUAL:
        return None
    dense = uniform.synthesis_kernels(
        dual, num_bins=spec.num_bins, lead=reach, hop_length=spec.hop_length
    )
    return SolvedDecoder(_frozen(dual), reach, violation, dense.noise_gain, "dual window")


def dense_kernels(spec: FilterbankSpec, solved: SolvedDecoder) -> np.ndarray:
    """Synthesis kernels [channels, taps] of a decoder, a dual window written out."""
    if not solved.is_window:
        return solved.values
    return uniform.synthesis_kernels(
        solved.values, num_bins=spec.num_bins, lead=solved.lead, hop_length=spec.hop_length
    ).kernels


def analysis_window(spec: FilterbankSpec) -> np.ndarray:
    """The common window of a uniform bank's filters, envelope and normalisation included.

    Raises:
        ValueError: if the bank is not uniform.
    """
    if not spec.is_uniform:
        raise ValueError("only a uniform bank has one window for all its filters")
    return design_bank(spec).kernels[0]  # the cosine channel at 0 Hz is the window itself


def _least_squares(spec: FilterbankSpec, decoder: DecoderSpec) -> SolvedDecoder:
    bank = design_bank(spec)
    tried = (4, 6, 8, 12, 16, 24, 32) if spec.is_symmetric else (8, 16, 24, 32)
    span = (bank.lead + bank.trail) // (2 * spec.hop_length)
    counts = [decoder.num_frames] if decoder.num_frames else [n for n in tried if n > span]
    best = None
    for count in counts or [tried[-1] + 2 * span]:
        found = decoders.least_squares_decoder(
            bank.kernels,
            hop_length=spec.hop_length,
            num_frames=count,
            regularization=decoder.regularization,
        )
        if best is None or found.residual < best.residual:
            best = found
        if found.residual <= _SOLVED_RESIDUAL:
            break
    assert best is not None
    return _solved(best, "least squares")


def _wiener(spec: FilterbankSpec, decoder: DecoderSpec) -> SolvedDecoder:
    bank = design_bank(spec)
    noise = np.asarray(decoder.noise_variance, np.float64)
    if noise.ndim and len(noise) != spec.num_channels:
        raise ValueError(
            f"noise_variance has {len(noise)} entries; give one number or one per channel "
            f"({spec.num_channels})"
        )
    frames = decoder.num_frames or 2 * -(-(bank.lead + bank.trail) // (2 * spec.hop_length)) + 4
    solved = decoders.wiener_decoder(
        bank.kernels,
        hop_length=spec.hop_length,
        num_frames=frames,
        autocovariance=np.asarray(decoder.autocovariance) if decoder.autocovariance else None,
        noise_variance=noise,
    )
    return _solved(solved, "wiener")


class EdgePlan(NamedTuple):
    """How a reflect-padded clip of one length is decoded at its edges.

    Attributes:
        left: None where the stationary decoder is right from sample 0 on, or for a whole clip.
        right: the decoder of the last samples, or of the whole clip.
        whole: whether ``right`` solves the clip as a whole.
    """

    left: boundary.EdgeDecoder | None
    right: boundary.EdgeDecoder | None
    whole: bool


@functools.lru_cache(maxsize=8)
def _left_edge(spec: FilterbankSpec, num_samples: int, num_frames: int) -> boundary.EdgeDecoder:
    return boundary.left_edge_decoder(
        design_bank(spec).kernels,
        hop_length=spec.hop_length,
        num_samples=num_samples,
        num_frames=num_frames,
    )


@functools.lru_cache(maxsize=16)
def _right_edge(
    spec: FilterbankSpec, num_samples: int, num_frames: int, remainder: int
) -> boundary.EdgeDecoder:
    return boundary.right_edge_decoder(
        design_bank(spec).kernels,
        hop_length=spec.hop_length,
        num_samples=num_samples,
        num_frames=num_frames,
        remainder=remainder,
    )


@functools.lru_cache(maxsize=16)
def _whole_clip(spec: FilterbankSpec, length: int) -> boundary.EdgeDecoder:
    return boundary.whole_clip_decoder(
        design_bank(spec).kernels, hop_length=spec.hop_length, length=length
    )


def edge_plan(spec: FilterbankSpec, decoder: SolvedDecoder, length: int) -> EdgePlan:
    """The edge decoders of a clip of ``length`` samples; none are needed with zero padding."""
    if spec.padding == "zeros":
        return EdgePlan(None, None, whole=False)
    hop = spec.hop_length
    num_frames = (length - 1) // hop + 1
    ahead = decoder.taps - 1 - decoder.lead
    from_left = max(0, ahead - hop + 1)
    from_right = max(0, length - num_frames * hop + decoder.lead)
    reach = -(-design_bank(spec).kernels.shape[1] // hop)
    frames = -(-max(from_left, from_right) // hop) + reach
    if num_frames < 2 * frames:
        return EdgePlan(None, _whole_clip(spec, length), whole=True)
    left = _left_edge(spec, from_left, frames) if from_left else None
    remainder = (length - 1) % hop
    right = _right_edge(spec, from_right, frames, remainder) if from_right else None
    return EdgePlan(left, right, whole=False)
