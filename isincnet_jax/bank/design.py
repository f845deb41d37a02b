"""From a spec to numbers: kernels, frames, bounds, and what to change if no inverse exists.

Everything is designed in float64 NumPy, once per process and spec, and returned read-only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from isincnet_jax.bank.dsp import frame_theory, kernels
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp import framing
from isincnet_jax.dsp.settling import settles

INVERTIBLE_CONDITION = 1e6
"""Largest condition number B / A at which a bank counts as invertible. Rounding noise of the
coefficients grows by up to sqrt(B / A): beyond 1e6 a float32 round trip falls below 80 dB."""

_TIGHT_TAIL_ENERGY = 1e-16


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


def read_only(array: np.ndarray) -> np.ndarray:
    """The array, contiguous and protected against writing."""
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
    return Bank(read_only(channels), *kernels_support(channels))


def kernels_support(channels: np.ndarray) -> tuple[int, int]:
    """Samples that some kernel of [channels, taps] reaches before and after the centre."""
    return kernels.window_support(np.any(channels != 0.0, axis=0).astype(np.float64))


def _tight_kernels(channels: np.ndarray, hop_length: int) -> np.ndarray:
    """Canonical tight kernels, cut where the tails hold 1e-16 of their energy (-160 dB)."""
    longest = max(32, 4 * -(-channels.shape[1] // hop_length))
    tight = frame_theory.canonical_tight(channels, hop_length=hop_length, num_blocks=longest)
    energy = np.sum(tight**2, axis=0)
    tails = np.cumsum(energy + energy[::-1])[: len(energy) // 2] / np.sum(energy)
    cut = int(np.searchsorted(tails, _TIGHT_TAIL_ENERGY))
    return tight[:, cut : tight.shape[1] - cut]


def tap_support(spec: FilterbankSpec) -> np.ndarray:
    """1 from the first to the last tap that some filter of the bank has, 0 elsewhere, [taps]."""
    bank = design_bank(spec)
    offset = np.arange(bank.kernels.shape[1]) - bank.kernels.shape[1] // 2
    return ((-bank.lead <= offset) & (offset <= bank.trail)).astype(np.float64)


def _framing(spec: FilterbankSpec) -> dict[str, Any]:
    bank = design_bank(spec)
    return {
        "hop_length": spec.hop_length,
        "lead": bank.lead,
        "trail": bank.trail if spec.padding == "zeros" else reflected_trail(spec),
        "padding": spec.padding,
        "sees_all": spec.dialect == "native",
    }


def reflected_trail(spec: FilterbankSpec) -> int:
    """Samples behind its position that a frame of reflected clips is counted on to see.

    The filters' own reach; a tight bank's tails go further, but too weakly to solve samples from.
    """
    return design_bank(spec.replace(tight=False) if spec.tight else spec).trail


def unseen_samples(spec: FilterbankSpec) -> int:
    """Samples at the end of a reflected clip that may be in no frame, as in iSincNet."""
    if spec.padding == "zeros" or spec.dialect == "native":
        return 0
    return framing.samples_beyond(hop_length=spec.hop_length, trail=reflected_trail(spec))


def samples_beyond(spec: FilterbankSpec) -> int:
    """Samples that the frame added for the end of a reflected clip may lie behind it."""
    if spec.padding == "zeros" or spec.dialect != "native":
        return 0
    return framing.samples_beyond(hop_length=spec.hop_length, trail=reflected_trail(spec))


@settles
def frame_grid(spec: FilterbankSpec, length: int) -> framing.FrameGrid:
    """The frames of a clip of ``length`` samples."""
    return framing.frame_grid(length, **_framing(spec))


@settles
def longest_length(spec: FilterbankSpec, num_frames: int) -> int:
    """The largest length in samples of a clip that has ``num_frames`` frames."""
    return framing.longest_length(num_frames, **_framing(spec))


def analysis_window(spec: FilterbankSpec) -> np.ndarray:
    """The common window of a uniform bank's filters, envelope and normalisation included.

    Raises:
        ValueError: if the bank is not uniform.
    """
    if not spec.is_uniform:
        raise ValueError("only a uniform bank has one window for all its filters")
    return design_bank(spec).kernels[0]  # the cosine channel at 0 Hz is the window itself


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


def is_invertible(spec: FilterbankSpec) -> bool:
    """Whether the condition number of a spec's bank is at most :data:`INVERTIBLE_CONDITION`."""
    return frame_bounds(spec).condition <= INVERTIBLE_CONDITION


def _may_be_invertible(spec: FilterbankSpec) -> bool:
    """A quick necessary condition: the bounds at a few frequencies only."""
    if spec.redundancy < 1.0:
        return False
    bounds = frame_theory.frame_bounds_of_kernels(
        design_bank(spec).kernels, hop_length=spec.hop_length, num_frequencies=9, refine=False
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

    def with_bins(count: int) -> FilterbankSpec:
        return base.replace(num_bins=count)

    def with_hop(hop: int) -> FilterbankSpec:
        return base.replace(hop_length=hop)

    doubled = [2**power * spec.num_bins for power in range(5)]
    halved = [spec.hop_length >> power for power in range(spec.hop_length.bit_length())]
    return Suggestion(_first_invertible(doubled, with_bins), _first_invertible(halved, with_hop))


def _first_invertible(values: list[int], make_spec: Callable[[int], FilterbankSpec]) -> int | None:
    """The value nearest to the first of ``values`` whose bank is invertible, up to the last.

    Bisection with the quick test finds where invertibility begins; from there the full test
    decides step by step.
    """
    possible = next((i for i, v in enumerate(values) if _may_be_invertible(make_spec(v))), None)
    if possible is None:
        return None
    found = values[possible]
    if possible > 0:
        found = _bisect(
            values[possible - 1], found, lambda value: _may_be_invertible(make_spec(value))
        )
    step = 1 if values[-1] > values[0] else -1
    while not is_invertible(make_spec(found)):
        if found == values[-1]:
            return None
        found += step
    return found


def explain_not_invertible(spec: FilterbankSpec) -> str:
    """One sentence: that a bank cannot be inverted, and the nearest specs that can."""
    condition = frame_bounds(spec.replace(tight=False)).condition
    return (
        f"the bank cannot be inverted (num_bins={spec.num_bins}, hop_length={spec.hop_length}, "
        f"scale={spec.scale}, component={spec.component}: condition number {condition:.3g}, "
        f"limit {INVERTIBLE_CONDITION:.0g}); {_advice(spec)}"
    )


def _advice(spec: FilterbankSpec) -> str:
    found = suggest_invertible(spec)
    fixes = [
        f"{name} {value}"
        for name, value in (
            ("num_bins >=", found.num_bins),
            ("hop_length <=", found.hop_length),
        )
        if value is not None
    ]
    if spec.is_symmetric and spec.component == "real":
        # Even filters alone cannot tell a block from its mirror image, however many they are.
        fixes.append("component='complex'")
    return f"use {' or '.join(fixes)}" if fixes else "no bin count or hop in reach mends it"
