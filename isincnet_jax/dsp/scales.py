"""Frequency scales: Hz to a perceptual unit and back, and the centres and bands of a bank.

A scale is a strictly increasing map from Hz to its own unit. A bank with ``num_bins``
filters puts its centres at equal distances in that unit; everything is float64 NumPy.

References:
    M. Slaney, "Auditory Toolbox", Technical Report 1998-010, Interval Research, 1998
        (mel, linear below 1 kHz).
    S. Young et al., "The HTK Book", 2006, section 5.4 (mel, logarithmic throughout).
    B. Glasberg and B. Moore, "Derivation of auditory filter shapes from notched-noise
        data", Hearing Research 47, 1990, equation 4 (ERB-rate).
    H. Traunmueller, "Analytical expressions for the tonotopic sensory scale", JASA 88,
        1990, equation 6 (Bark).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp import meanings
from isincnet_jax.dsp.settling import settles

# Slaney's mel: 3 mel per 200 Hz up to 1 kHz, and 27 mel per factor of 6.4 above.
_SLANEY_KNEE_HZ = 1000.0
_SLANEY_HZ_PER_MEL = 200.0 / 3.0
_SLANEY_KNEE = _SLANEY_KNEE_HZ / _SLANEY_HZ_PER_MEL
_SLANEY_LOG_STEP = np.log(6.4) / 27.0


class FrequencyScale(NamedTuple):
    """A strictly increasing map between Hz and a scale's own unit.

    Attributes:
        from_hz: Hz to the unit; float64 arrays of any shape.
        to_hz: the inverse.
        needs_positive_hz: whether 0 Hz lies outside the scale (a logarithm).
    """

    from_hz: Callable[[np.ndarray], np.ndarray]
    to_hz: Callable[[np.ndarray], np.ndarray]
    needs_positive_hz: bool = False


def _slaney_from_hz(frequency_hz: np.ndarray) -> np.ndarray:
    above = np.maximum(frequency_hz, _SLANEY_KNEE_HZ) / _SLANEY_KNEE_HZ
    return np.where(
        frequency_hz < _SLANEY_KNEE_HZ,
        frequency_hz / _SLANEY_HZ_PER_MEL,
        _SLANEY_KNEE + np.log(above) / _SLANEY_LOG_STEP,
    )


def _slaney_to_hz(mel: np.ndarray) -> np.ndarray:
    above = np.maximum(mel, _SLANEY_KNEE) - _SLANEY_KNEE
    return np.where(
        mel < _SLANEY_KNEE,
        mel * _SLANEY_HZ_PER_MEL,
        _SLANEY_KNEE_HZ * np.exp(above * _SLANEY_LOG_STEP),
    )


SCALES: dict[str, FrequencyScale] = {
    "linear": FrequencyScale(lambda hz: hz, lambda unit: unit),
    "mel_slaney": FrequencyScale(_slaney_from_hz, _slaney_to_hz),
    "mel_htk": FrequencyScale(
        lambda hz: 2595.0 * np.log10(1.0 + hz / 700.0),
        lambda mel: 700.0 * (10.0 ** (mel / 2595.0) - 1.0),
    ),
    "erb": FrequencyScale(
        lambda hz: 21.4 * np.log10(1.0 + 0.00437 * hz),
        lambda erb: (10.0 ** (erb / 21.4) - 1.0) / 0.00437,
    ),
    "bark": FrequencyScale(
        lambda hz: 26.81 * hz / (1960.0 + hz) - 0.53,
        lambda bark: 1960.0 * (bark + 0.53) / (26.28 - bark),
    ),
    "log": FrequencyScale(np.log2, np.exp2, needs_positive_hz=True),
}
"""The scales by name; plain "mel" stands for "mel_slaney" (see :func:`canonical_scale`)."""


# Where scales are sampled for their digests: 0 Hz and beyond the Nyquist frequency of any rate.
_SAMPLED_HZ = np.concatenate([[0.0], np.geomspace(1.13, 95_773.0, 800)])


class ScaleName(meanings.SettledName):
    """The name of a scale, with the :class:`FrequencyScale` that it stood for."""

    kind = "scale"
    built_in = MappingProxyType(dict(SCALES))

    @classmethod
    def _look_up(cls, name: str) -> tuple[str, FrequencyScale]:
        name = canonical_scale(name)
        return name, SCALES[name]

    @classmethod
    def _sampled(cls, meaning: FrequencyScale) -> tuple[str, Iterator[np.ndarray]]:
        return f"needs_positive_hz={bool(meaning.needs_positive_hz)}", _samples(meaning)


def _samples(scale: FrequencyScale) -> Iterator[np.ndarray]:
    units = scale.from_hz(_SAMPLED_HZ[1:] if scale.needs_positive_hz else _SAMPLED_HZ)
    yield units
    yield scale.to_hz(units)
    # Bands reach half a step beyond the first and last centre.
    yield scale.to_hz(np.linspace(2 * units[0] - units[1], units[-1], 400))


def canonical_scale(name: str) -> str:
    """The registered name of a scale: "mel" means "mel_slaney", "lin" means "linear".

    A :class:`ScaleName` is returned as it is.

    Args:
        name: of a scale or its alias, or a :class:`ScaleName`.

    Returns:
        A key of :data:`SCALES`, or the :class:`ScaleName` itself.

    Raises:
        ValueError: if the scale is unknown.
    """
    if isinstance(name, ScaleName):
        return name
    name = {"mel": "mel_slaney", "lin": "linear"}.get(name, name)
    if name not in SCALES:
        raise ValueError(f"scale={name!r} is unknown; use one of {', '.join(SCALES)}")
    return name


def functions_of(scale: str) -> FrequencyScale:
    """The functions of a scale: of a :class:`ScaleName` its own, else what is registered now.

    Args:
        scale: a name in :data:`SCALES`, its alias, or a settled name.

    Returns:
        Hz to the unit of the scale and back.

    Raises:
        ValueError: for an unknown scale, and for a :class:`ScaleName` whose functions have changed.
    """
    if isinstance(scale, ScaleName):
        scale.check()
        return scale.meaning
    return SCALES[canonical_scale(scale)]


def hz_to_scale(frequency_hz: float | np.ndarray, *, scale: str) -> np.ndarray:
    """Values of Hz on ``scale``, in its unit: mel, ERB-rate, Bark, octaves, or Hz itself.

    Args:
        frequency_hz: Hz, any shape; above 0 on a log scale.
        scale: a name in :data:`SCALES`.

    Returns:
        float64, the shape of the input.

    Raises:
        ValueError: for an unknown scale.

    Example:
        >>> round(float(hz_to_scale(1000.0, scale="mel_slaney")), 9)
        15.0
    """
    return np.asarray(functions_of(scale).from_hz(np.asarray(frequency_hz, float)))


def scale_to_hz(value: float | np.ndarray, *, scale: str) -> np.ndarray:
    """Frequencies in Hz of values on ``scale``: the inverse of :func:`hz_to_scale`.

    Args:
        value: in the unit of the scale, any shape.
        scale: a name in :data:`SCALES`.

    Returns:
        float64 in Hz, the shape of the input.

    Raises:
        ValueError: for an unknown scale.
    """
    return np.asarray(functions_of(scale).to_hz(np.asarray(value, float)))


@settles
def centers_and_bandwidths(
    num_bins: int, *, scale: str, min_hz: float, max_hz: float
) -> tuple[Float[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    """Centres at equal distances on a scale, and bands that reach half a step either side.

    The first centre is ``min_hz`` and the last ``max_hz``. A band's width is the distance in
    Hz of the points half a scale step below and above its centre, so neighbouring bands meet.

    Args:
        num_bins: number of filters, at least 2.
        scale: a name in :data:`SCALES`.
        min_hz: first centre in Hz, positive for a logarithmic scale.
        max_hz: last centre in Hz.

    Returns:
        ``center_hz`` and ``bandwidth_hz``, float64 [bins].

    Raises:
        ValueError: for fewer than 2 bins or an empty or impossible range.
    """
    if num_bins < 2:
        raise ValueError(f"num_bins={num_bins}: a bank needs at least 2 bins; use num_bins >= 2")
    if not min_hz < max_hz:
        raise ValueError(f"min_hz={min_hz} must lie below max_hz={max_hz}")
    functions = functions_of(scale)
    if functions.needs_positive_hz and min_hz <= 0:
        raise ValueError(f"min_hz={min_hz}: a {scale} scale has no 0 Hz; use min_hz > 0, say 32.7")
    if min_hz < 0:
        raise ValueError(f"min_hz={min_hz} is negative; use min_hz >= 0")
    # c_b = to_hz(u_b) at u_b = u_0 + b (u_last - u_0) / (bins - 1), and
    # B_b = to_hz(u_b + d / 2) - to_hz(u_b - d / 2), d the step between neighbours.
    first, last = functions.from_hz(np.asarray([min_hz, max_hz], float))
    units = np.linspace(first, last, num_bins)
    half_step = (units[1] - units[0]) / 2
    center_hz = functions.to_hz(units)
    bandwidth_hz = functions.to_hz(units + half_step) - functions.to_hz(units - half_step)
    return center_hz, bandwidth_hz


def reference_0_1_0_centers(
    num_bins: int, *, scale: str, max_hz: float
) -> tuple[Float[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    """Centres and bands of iSincNet 0.1.0: ``num_bins + 1`` points from 0, the first one dropped.

    The band of a filter is the step below its centre.

    Args:
        num_bins: number of filters.
        scale: "linear" or "mel_htk" (the only mel of that release).
        max_hz: last centre in Hz.

    Returns:
        ``center_hz`` and ``bandwidth_hz``, float64 [bins].
    """
    functions = functions_of(scale)
    first, last = functions.from_hz(np.asarray([0.0, max_hz], float))
    points = functions.to_hz(np.linspace(first, last, num_bins + 1))
    return points[1:], np.diff(points)
