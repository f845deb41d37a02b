"""Spectral shapes of a band, as the envelopes of their impulse responses.

A filter is ``exp(i omega n)`` times an envelope times a window (Pariente et al., 2020,
section 2.1). The envelope is the inverse Fourier transform of the band's shape around its centre,
scaled to 1 at the centre tap; it is real for shapes that are symmetric. Every shape is defined by
its full width at half maximum, the bandwidth, so that shapes can be exchanged without touching the
scale. A shape may have parameters of its own, which are learned along with centre and bandwidth.

Adding a shape is one function of (time in seconds, bandwidth in Hz) and one entry in
:data:`SHAPES`; it must use the array functions of ``xp`` only, so that the same code
designs in float64 NumPy and learns in JAX. The entry may be replaced: specs and layers keep the
shape that their name stood for when they were built, and caches and files tell shapes apart by
their values (:class:`ShapeName`).

References:
    M. Pariente et al., "Filterbank design for end-to-end speech separation", ICASSP 2020,
        section 2.1. https://arxiv.org/abs/1910.10400
    M. Ravanelli and Y. Bengio, "Speaker recognition from raw waveform with SincNet", SLT
        2018, equation 4 (the rectangle, whose transform is the sinc).
    N. Zeghidour et al., "LEAF: a learnable frontend for audio classification", ICLR 2021, section
        3.1 (Gabor filters, a Gauss around a carrier). https://arxiv.org/abs/2101.08596
    M. Slaney, "An efficient implementation of the Patterson-Holdsworth auditory filter bank",
        Apple Technical Report 35, 1993 (gammatones).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from isincnet_jax.bank.dsp import polyline
from isincnet_jax.dsp import meanings
from isincnet_jax.dsp.spherical_bessel import sinc

Envelope = Callable[..., Any]


def _no_parameters(bins: int) -> dict[str, np.ndarray]:
    return {}


class Shape(NamedTuple):
    """A spectral shape.

    Attributes:
        envelope: ``(time_s, bandwidth_hz, xp, **parameters)`` to the envelope, 1 at time 0: a real
            array, or a pair of real and imaginary parts for shapes that are not symmetric. The
            parameters come as [bins, 1, ...], the first two axes being those of the result.
        parameters: of the shape alone: the number of bins to their initial values [bins, ...].
        symmetric: whether the spectrum is symmetric around the centre, the envelope real.
        even: whether the envelope is symmetric in time.
    """

    envelope: Envelope
    parameters: Callable[[int], dict[str, np.ndarray]] = _no_parameters
    symmetric: bool = True
    even: bool = True


def _ones(time_s: Any, bandwidth_hz: Any, xp: ModuleType) -> Any:
    """No envelope: the window alone shapes the filter."""
    return xp.ones_like(time_s * bandwidth_hz)


def _rectangle(time_s: Any, bandwidth_hz: Any, xp: ModuleType) -> Any:
    """Rectangle of width B: sin(pi B t) / (pi B t)."""
    return sinc(bandwidth_hz * time_s, xp)


def _gauss(time_s: Any, bandwidth_hz: Any, xp: ModuleType) -> Any:
    """Gauss with standard deviation B / (2 sqrt(2 ln 2)): a Gauss in time too."""
    sigma_hz = bandwidth_hz / (2.0 * float(np.sqrt(2.0 * np.log(2.0))))
    return xp.exp(-2.0 * (float(np.pi) * sigma_hz * time_s) ** 2)


def _triangle(time_s: Any, bandwidth_hz: Any, xp: ModuleType) -> Any:
    """Triangle with a base of 2 B: the rectangle convolved with itself."""
    return sinc(bandwidth_hz * time_s, xp) ** 2


def _trapezoid(time_s: Any, bandwidth_hz: Any, xp: ModuleType) -> Any:
    """Flat on |f| < B / 4, slopes down to 3 B / 4: rectangles of B and B / 2 convolved."""
    return sinc(bandwidth_hz * time_s, xp) * sinc(0.5 * bandwidth_hz * time_s, xp)


def _raised_cosine(time_s: Any, bandwidth_hz: Any, xp: ModuleType) -> Any:
    """(1 + cos(pi f / B)) / 2 on |f| < B, as a sum of three sincs (no removable pole)."""
    scaled = 2.0 * bandwidth_hz * time_s
    return sinc(scaled, xp) + 0.5 * (sinc(scaled - 1.0, xp) + sinc(scaled + 1.0, xp))


def _butterworth(time_s: Any, bandwidth_hz: Any, xp: ModuleType) -> Any:
    """1 / (1 + (2 f / B)^4), the power response of a Butterworth filter of order 2."""
    decay = xp.abs(bandwidth_hz * time_s) * float(np.pi / np.sqrt(2.0))
    return xp.exp(-decay) * (xp.cos(decay) + xp.sin(decay))


def _gammatone(order: int) -> Envelope:
    """(1 + i 2 f / w)^-p with w = B / sqrt(4^(1 / p) - 1), which is half at B / 2 in modulus.

    In time ``(1 + t / t0)^(p - 1) exp(-pi w t)`` from ``t0 = (p - 1) / (pi w)`` before the centre,
    where it has its peak.
    """
    width = float(np.pi / np.sqrt(4.0 ** (1.0 / order) - 1.0))

    def envelope(time_s: Any, bandwidth_hz: Any, xp: ModuleType) -> Any:
        # Nothing is left of the exponential at 700, and the power must not overflow beside it.
        decay = xp.minimum(width * bandwidth_hz * time_s, 700.0)
        rise = xp.maximum(1.0 + decay / (order - 1), 0.0)
        # The exponential is taken where it counts: before the onset it would overflow.
        return rise ** (order - 1) * xp.exp(-xp.maximum(decay, float(1 - order)))

    return envelope


SHAPES: dict[str, Shape] = {
    "none": Shape(_ones),
    "sinc": Shape(_rectangle),
    "gauss": Shape(_gauss),
    "gabor": Shape(_gauss),
    "triangle": Shape(_triangle),
    "trapezoid": Shape(_trapezoid),
    "raised_cosine": Shape(_raised_cosine),
    "butterworth": Shape(_butterworth),
    "gammatone": Shape(_gammatone(4), even=False),
    "gammatone2": Shape(_gammatone(2), even=False),
    "pfnet": Shape(polyline.envelope, polyline.initial_parameters, symmetric=False, even=False),
}
"""Shapes by name. "gabor" is LEAF's name of "gauss"; "gammatone2" has the order 2 of MPGTF."""


# Where shapes are sampled: a shape is a function of time times bandwidth, whatever their units, so
# both span what banks have in seconds and hertz and in samples and fractions of the Nyquist
# frequency. Odd numbers, lest exact ties be rounded here and there differently.
_TIMES_S = np.geomspace(1.13e-5, 317.0, 160)
_SAMPLED_S = np.concatenate([-_TIMES_S[::-1], [0.0], _TIMES_S])[None, :]
_SAMPLED_HZ = np.array([0.00917, 0.103, 1.0, 13.7, 119.0, 1511.0])[:, None]


class ShapeName(meanings.SettledName):
    """The name of a shape, with the :class:`Shape` that it stood for."""

    kind = "shape"
    built_in = MappingProxyType(dict(SHAPES))

    @classmethod
    def _look_up(cls, name: str) -> tuple[str, Shape]:
        if name not in SHAPES:
            raise ValueError(f"shape={name!r} is unknown; use one of {', '.join(SHAPES)}")
        return name, SHAPES[name]

    @classmethod
    def _sampled(cls, meaning: Shape) -> tuple[str, Iterator[Any]]:
        flags = f"symmetric={bool(meaning.symmetric)}, even={bool(meaning.even)}"
        return flags, _samples(meaning)


def _samples(shape: Shape) -> Iterator[Any]:
    initial = shape.parameters(len(_SAMPLED_HZ))
    for name in sorted(initial):
        yield np.frombuffer(name.encode(), np.uint8)
        yield initial[name]
    # [bins, ...] to [bins, 1, ...]: time is the second axis of the envelope.
    columns = {name: np.asarray(value)[:, None] for name, value in initial.items()}
    values = shape.envelope(_SAMPLED_S, _SAMPLED_HZ, np, **columns)
    yield from values if isinstance(values, tuple) else (values,)


def check_shape(shape: str) -> Shape:
    """Spectral shape of a name: of a settled one its own, of a text what is registered now.

    Args:
        shape: a name in :data:`SHAPES`, or a :class:`ShapeName`.

    Returns:
        The shape.

    Raises:
        ValueError: for an unknown name.
    """
    return shape.meaning if isinstance(shape, ShapeName) else ShapeName._look_up(shape)[1]


def initial_parameters(shape: str, bins: int) -> dict[str, np.ndarray]:
    """Initial values of a shape's own parameters; most shapes have none.

    Args:
        shape: a name in :data:`SHAPES`.
        bins: filters.

    Returns:
        By name, float64 [bins, ...].

    Raises:
        ValueError: for an unknown name.
    """
    return check_shape(shape).parameters(bins)


def envelope(
    time_s: Any,
    bandwidth_hz: Any,
    *,
    shape: str,
    parameters: Mapping[str, Any] | None = None,
    xp: ModuleType = np,
) -> tuple[Any, Any]:
    """Envelope of the impulse response of a spectral shape.

    Args:
        time_s: time in seconds, broadcast against ``bandwidth_hz``.
        bandwidth_hz: full width at half maximum of the band, in Hz. Any pair of units whose
            product is dimensionless serves as well.
        shape: a name in :data:`SHAPES`.
        parameters: of the shape, [bins, ...], for ``bandwidth_hz`` [bins, 1]; the initial ones if
            None.
        xp: ``numpy`` (design) or ``jax.numpy`` (learning).

    Returns:
        Real and imaginary part of the envelope, 1 at time 0, in the broadcast shape; the
        imaginary part is None for symmetric shapes.

    Raises:
        ValueError: for an unknown shape, and for a :class:`ShapeName` whose function has changed.
    """
    found = check_shape(shape)
    if isinstance(shape, ShapeName):
        shape.check()
    if parameters is None:
        bins = np.shape(bandwidth_hz)[0] if np.ndim(bandwidth_hz) else 1
        parameters = found.parameters(bins)
    columns = {name: xp.asarray(value)[:, None] for name, value in parameters.items()}
    values = found.envelope(time_s, bandwidth_hz, xp, **columns)
    return values if isinstance(values, tuple) else (values, None)
