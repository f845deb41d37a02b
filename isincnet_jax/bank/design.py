"""Invertibility of a bank: its frame bounds, and what to change if no inverse exists."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from isincnet_jax.bank.dsp import frame_theory
from isincnet_jax.bank.spec import FilterbankSpec

INVERTIBLE_CONDITION = 1e6
"""Largest condition number B / A at which a bank counts as invertible. Rounding noise of the
coefficients grows by up to sqrt(B / A): beyond 1e6 a float32 round trip falls below 80 dB."""


def frame_bounds(spec: FilterbankSpec) -> frame_theory.FrameBounds:
    """Frame bounds and condition number of a spec's bank.

    Args:
        spec: of the bank; the bounds are computed once and kept with it.

    Returns:
        ``lower``, ``upper`` and ``condition`` = upper / lower (infinite if some signals vanish).

    Example:
        >>> spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
        >>> frame_bounds(spec).condition < 4
        True
    """
    return spec.bank.bounds


class Suggestion(NamedTuple):
    """Smallest changes that make a bank invertible; None where none was found.

    Attributes:
        num_bins: the fewest bins, all else as it is.
        hop_length: the longest hop in samples, all else as it is.
    """

    num_bins: int | None
    hop_length: int | None


def is_invertible(spec: FilterbankSpec) -> bool:
    """Invertibility: a condition number of at most :data:`INVERTIBLE_CONDITION`.

    Args:
        spec: of the bank.

    Returns:
        Whether the bank counts as invertible.
    """
    return frame_bounds(spec).condition <= INVERTIBLE_CONDITION


def _may_be_invertible(spec: FilterbankSpec) -> bool:
    """A quick necessary condition: the bounds at a few frequencies only."""
    if spec.redundancy < 1.0:
        return False
    bounds = frame_theory.frame_bounds_of_kernels(
        spec.bank.kernels, hop_length=spec.hop_length, num_frequencies=9, refine=False
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
    """Invertible banks nearest to a spec: the fewest bins, and the largest hop.

    All other fields are kept, the kernel size too. Searched by bisection over the condition
    number, up to 16 times the bins and down to a hop of 1.

    Args:
        spec: of a bank, invertible or not; ``tight`` is left aside.

    Returns:
        The fewest bins and the longest hop; None for what is out of reach.

    Example:
        >>> spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=3, shape="none")
        >>> suggest_invertible(spec).num_bins > 3
        True
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
    """Condition number of a bank in one sentence, with the nearest specs that can be inverted.

    Args:
        spec: of a bank that cannot be inverted.

    Returns:
        The beginning of an error or warning.
    """
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
