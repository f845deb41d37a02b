"""Parameters of the synthesizer, 23: ranges, 16 levels each, names, JSON in and out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from isincnet_jax.typing import Array

ParameterValues: TypeAlias = Float[Array, "... parameters"]
"""Values in the order and the units of :data:`PARAMETERS`."""

ParameterLevels: TypeAlias = Int[Array, "... parameters"]
"""Indices, 0 to 15, into the levels of each parameter."""

NUM_LEVELS = 16
WAVEFORMS = ("sine", "saw", "triangle", "square")
_ROUNDING = 1e-6  # of a range: float32 and decimal text may pass its ends by so much


@dataclass(frozen=True, eq=False)
class Parameter:
    """One knob of the synthesizer.

    Attributes:
        name: as in JSON.
        low: the smallest value.
        high: the largest.
        unit: of the values: "Hz", "s", or "" for a ratio.
        levels: float64 [16], ascending, both ends included.
    """

    name: str
    low: float
    high: float
    unit: str
    levels: Float[np.ndarray, " levels"] = field(repr=False)

    @property
    def logarithmic(self) -> bool:
        """Whether the levels are evenly spaced in pitch; otherwise they are in the value."""
        return self.name.startswith("carrier")


def _even(name: str, low: float, high: float, unit: str) -> Parameter:
    return Parameter(name, low, high, unit, np.linspace(low, high, NUM_LEVELS))


def _carrier(waveform: str) -> Parameter:
    levels = 440.0 * 2.0 ** (np.arange(NUM_LEVELS) / 12.0)
    return Parameter(f"carrier_{waveform}", 440.0, float(levels[-1]), "Hz", levels)


PARAMETERS: tuple[Parameter, ...] = (
    *(_carrier(waveform) for waveform in WAVEFORMS),
    *(_even(f"modulator_{waveform}", 1.0, 30.0, "Hz") for waveform in WAVEFORMS),
    *(_even(f"amplitude_{waveform}", 0.001, 1.0, "") for waveform in WAVEFORMS),
    *(_even(f"modulation_{waveform}", 0.0, 1500.0, "Hz") for waveform in WAVEFORMS),
    _even("attack", 0.001, 1.0, "s"),
    _even("decay", 0.001, 1.0, "s"),
    _even("sustain", 0.001, 1.0, ""),
    _even("release", 0.001, 1.0, "s"),
    _even("cutoff", 200.0, 4000.0, "Hz"),
    _even("resonance", 0.01, 10.0, ""),
    _even("gate", 0.5, 30.0, "Hz"),
)
"""Four carriers, modulators, amplitudes and frequency deviations, in the order sine, saw,
triangle, square; then attack, decay, sustain, release, cut-off, resonance and gate.

References:
    O. Barkan, D. Tsiris, N. Koenigstein, O. Katz, "InverSynth: Deep Estimation of Synthesizer
        Parameter Configurations from Audio Signals", IEEE/ACM TASLP 27(12), 2019, section III and
        table I. https://arxiv.org/abs/1812.06349
"""

NAMES: tuple[str, ...] = tuple(parameter.name for parameter in PARAMETERS)
"""Of the parameters, in their order."""
NUM_PARAMETERS = len(PARAMETERS)

_LEVELS = np.stack([parameter.levels for parameter in PARAMETERS])
_LOW = np.array([parameter.low for parameter in PARAMETERS])
_HIGH = np.array([parameter.high for parameter in PARAMETERS])


def values_from_levels(levels: ParameterLevels) -> Float[jax.Array, "... parameters"]:
    """The values of levels.

    Args:
        levels: integers [..., 23], 0 to 15.

    Returns:
        float32 [..., 23]. Where levels outside the range are only known when a compiled function
        runs, the result is NaN.

    Raises:
        ValueError: for another last axis, no integers, or levels outside 0 to 15.
    """
    _check_axis(levels, "levels")
    if not jnp.issubdtype(levels.dtype, jnp.integer):
        raise ValueError(f"levels: dtype {levels.dtype}; levels are integers, 0 to 15")
    if not isinstance(levels, jax.core.Tracer):
        given = np.asarray(levels)
        outside = np.argwhere((given < 0) | (given >= NUM_LEVELS))
        if len(outside):
            where = tuple(outside[0])
            raise ValueError(
                f"levels: {NAMES[where[-1]]}={given[where]}, levels are 0 to {NUM_LEVELS - 1}"
            )
    table = jnp.asarray(_LEVELS, jnp.float32)
    # Indices below 0 would count from the end: send them past it.
    indices = jnp.where(levels < 0, NUM_LEVELS, jnp.asarray(levels))
    return table.at[np.arange(NUM_PARAMETERS), indices].get(mode="fill", fill_value=jnp.nan)


def validate(values: Any) -> Float[np.ndarray, "... parameters"]:
    """Checks parameter values.

    Args:
        values: numbers [..., 23].

    Returns:
        The values, NumPy, float64 if they were and float32 otherwise.

    Raises:
        ValueError: for another last axis, values that are not finite or outside their range (by
            more than a millionth of it), naming the parameter.
    """
    given = np.asarray(values)
    _check_axis(given, "values")
    if given.dtype.kind not in "fiu":
        raise ValueError(f"values: dtype {given.dtype}; parameters are real numbers")
    exact = given.astype(np.float64)
    # NaN is in no range, and so is bad.
    slack = _ROUNDING * (_HIGH - _LOW)
    bad = np.argwhere(~((exact >= _LOW - slack) & (exact <= _HIGH + slack)))
    if len(bad):
        where = tuple(bad[0])
        parameter = PARAMETERS[where[-1]]
        place = f" of sound {where[:-1] if len(where) > 2 else where[0]}" if len(where) > 1 else ""
        raise ValueError(_out_of_range(parameter, float(exact[where])) + place)
    return given if given.dtype == np.float64 else given.astype(np.float32)


def _out_of_range(parameter: Parameter, value: float) -> str:
    unit = f" {parameter.unit}" if parameter.unit else ""
    kind = "outside" if math.isfinite(value) else "no number in"
    return f"{parameter.name}={value:g} is {kind} {parameter.low:g} to {parameter.high:g}{unit}"


def _check_axis(values: Any, what: str) -> None:
    if values.ndim < 1 or values.shape[-1] != NUM_PARAMETERS:
        raise ValueError(
            f"{what}: shape {list(values.shape)}; the last axis is the {NUM_PARAMETERS} "
            "parameters, see isincnet_jax.inversynth.synth.parameters.NAMES"
        )


def parameters_to_json(values: Any) -> dict[str, float]:
    """The parameters of one sound by name, for :func:`json.dumps`.

    Args:
        values: [23].

    Returns:
        Name to value, in the order of :data:`NAMES`; the floats come back exactly.

    Raises:
        ValueError: for another shape, and as :func:`validate`.
    """
    checked = validate(values)
    if checked.ndim != 1:
        raise ValueError(f"values: shape {list(checked.shape)}; give one sound, [23]")
    return dict(zip(NAMES, checked.tolist(), strict=True))


def specification() -> list[dict[str, Any]]:
    """Specification of :data:`PARAMETERS`, for JSON.

    Returns:
        Name, low, high, unit and levels of each.
    """
    return [
        {
            "name": parameter.name,
            "low": parameter.low,
            "high": parameter.high,
            "unit": parameter.unit,
            "levels": parameter.levels.tolist(),
        }
        for parameter in PARAMETERS
    ]
