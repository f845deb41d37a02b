"""Rules of a filterbank's geometry: what a FilterbankSpec refuses, and the band it defaults to."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np

from isincnet_jax.bank.dsp import kernels
from isincnet_jax.dsp import checks
from isincnet_jax.typing import Component, Dialect, Padding

if TYPE_CHECKING:
    from isincnet_jax.bank.spec import FilterbankSpec

_LOWEST_LOG_HZ = 32.703  # C1, where a log scale starts unless told otherwise.


def require(condition: object, message: str) -> None:
    """Rule of a spec's values.

    Args:
        condition: true where the rule is kept.
        message: *what=value, the rule, the nearest fix*.

    Raises:
        ValueError: with the message, unless the condition is true.
    """
    if not condition:
        raise ValueError(message)


def default_band(sample_rate: int, scale: str, dialect: str) -> tuple[float, float]:
    """Centre frequencies that ``min_hz=None`` and ``max_hz=None`` stand for.

    Args:
        sample_rate: Hz.
        scale: canonical name; a log scale has no 0 Hz.
        dialect: the reference takes half the rate as an integer.

    Returns:
        First and last centre, Hz.
    """
    highest = sample_rate / 2 if dialect == "native" else float(sample_rate // 2)
    return _LOWEST_LOG_HZ if scale == "log" else 0.0, highest


def check_sizes(spec: FilterbankSpec) -> None:
    """Sizes of a spec, before anything is computed from them.

    Args:
        spec: with ``kernel_size`` settled.

    Raises:
        ValueError: for a rate, hop, number of bins or kernel size below 1.
    """
    for name in ("sample_rate", "hop_length", "num_bins", "kernel_size"):
        value = getattr(spec, name)
        require(value >= 1, f"{name}={value} must be at least 1")


def check_geometry(spec: FilterbankSpec) -> None:
    """Names, band, window and hop of a spec against each other.

    Args:
        spec: with all fields settled.

    Raises:
        ValueError: for an unknown name, a band beyond the Nyquist frequency or out of order, a hop
            that leaves samples between the windows, and ``tight`` where no tight bank is defined.
    """
    checks.check_choice("component", spec.component, get_args(Component))
    checks.check_choice("normalization", spec.normalization, kernels.NORMALIZATIONS)
    checks.check_choice("padding", spec.padding, get_args(Padding))
    checks.check_choice("dialect", spec.dialect, get_args(Dialect))
    require(
        spec.hop_length <= spec.taps,
        f"hop_length={spec.hop_length} exceeds kernel_size={spec.taps}: samples between "
        f"frames would be lost; use hop_length <= {spec.taps}",
    )
    require(
        spec.high_hz <= spec.sample_rate / 2,
        f"max_hz={spec.high_hz} lies above half of sample_rate={spec.sample_rate}; "
        f"use max_hz <= {spec.sample_rate / 2}",
    )
    spec.centers_and_bandwidths()  # refuses an empty band, and 0 Hz on a log scale
    # Taps at which the window is 0 see nothing: a Hann window's ends, half of a causal one.
    reach = int(np.count_nonzero(spec.window_taps()))
    require(
        reach >= spec.hop_length,
        f"hop_length={spec.hop_length} exceeds the {reach} non-zero taps of the window "
        f"(causal={spec.causal}): samples between frames would be lost; "
        f"use hop_length <= {reach}",
    )
    require(
        not (spec.tight and spec.dialect != "native"),
        "tight=True needs dialect='native': the reference has no tight banks",
    )
    require(
        not (spec.tight and spec.causal),
        "tight=True needs causal=False: the canonical tight filters look ahead",
    )
