"""Sinc filters between learned band edges: SincNet's first layer as pure functions.

A filter passes the band from ``low`` to ``high``. Its impulse response is ``sin(pi B t) / (pi B t)
cos(2 pi f t)`` times a window, f the middle of the band and B its width; SincNet computes
``(sin(2 pi high t) - sin(2 pi low t)) / (2 pi B t)``, which is the same but for rounding: in
float32 it is off by up to 1e-5. Filters that are to be SincNet's are computed its way and agree
with it to 2e-6; all others, and bands below 1 Hz, where the difference of sines has no digits left,
are the product. Other shapes and normalisations come from the code of :mod:`.kernels`.

References:
    M. Ravanelli and Y. Bengio, "Speaker recognition from raw waveform with SincNet", SLT 2018,
        section 2. https://arxiv.org/abs/1808.00158
    M. Pariente et al., "Filterbank design for end-to-end speech separation", ICASSP 2020,
        section 2.3 (analytic pairs). https://arxiv.org/abs/1910.10400
    Departure: at the Nyquist frequency the published filters are NaN, above it they are mirrored;
    here the lower edge stays a millionth of the sample rate below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.bank.dsp import kernels, shapes
from isincnet_jax.dsp import scales, spherical_bessel
from isincnet_jax.dsp.settling import settles
from isincnet_jax.frontends.symmetric_correlation import Symmetry
from isincnet_jax.typing import Array, Component

Parametrization: TypeAlias = Literal["hz", "mel", "normalized"]
PARAMETRIZATIONS: tuple[str, ...] = get_args(Parametrization)
BandNormalization: TypeAlias = Literal["reference", "gain", "energy"]
BAND_NORMALIZATIONS: tuple[str, ...] = get_args(BandNormalization)

_MEL_KNEE_HZ = 700.0  # of HTK's scale, proportional to log(1 + f / 700)
_NARROWEST = 1e-6  # of the sample rate
_NARROW_HZ = 1.0  # width below which a difference of sines has no digits


class BandLimits(NamedTuple):
    """Limits of bands, in Hz.

    Attributes:
        sample_rate: Hz; no band reaches above half of it.
        min_low_hz: no band begins below; it is added to what is learned.
        min_band_hz: no band is narrower, unless the Nyquist frequency cuts it; added too.
    """

    sample_rate: float
    min_low_hz: float = 50.0
    min_band_hz: float = 50.0


@settles
def initial_parameters(
    num_filters: int, *, scale: str, low_hz: float, high_hz: float
) -> tuple[Float[np.ndarray, " filters"], Float[np.ndarray, " filters"]]:
    """Initial parameters ``low_hz_`` and ``band_hz_``: adjoining bands of equal width on a scale.

    Args:
        num_filters: at least 1.
        scale: a name in :data:`.scales.SCALES`; SincNet has "mel_htk".
        low_hz: lower end of the first band.
        high_hz: upper end of the last band.

    Returns:
        Lower ends and widths in Hz, float64 [filters].

    Raises:
        ValueError: for an unknown scale, or an empty or impossible range.

    Example:
        >>> low, band = initial_parameters(80, scale="mel_htk", low_hz=30, high_hz=7900)
        >>> [round(float(value), 4) for value in (low[0], low[1], band[0])]
        [30.0, 52.8571, 22.8571]
    """
    name = scales.canonical_scale(scale)
    if not 0 <= low_hz < high_hz or (scales.functions_of(name).needs_positive_hz and low_hz == 0):
        raise ValueError(
            f"low_hz={low_hz} and high_hz={high_hz}: 0 <= low_hz < high_hz must hold (Hz), and "
            "0 Hz lies outside a logarithmic scale"
        )
    ends = scales.hz_to_scale(np.array([low_hz, high_hz], float), scale=name)
    edges_hz = scales.scale_to_hz(np.linspace(ends[0], ends[1], num_filters + 1), scale=name)
    return edges_hz[:-1], np.diff(edges_hz)


def parameters_from_hz(
    low_hz: Float[Array, " filters"],
    band_hz: Float[Array, " filters"],
    *,
    parametrization: Parametrization,
    limits: BandLimits,
) -> tuple[Float[np.ndarray, " filters"], Float[np.ndarray, " filters"]]:
    """Parameters of any kind for the bands of SincNet's ``low_hz_`` and ``band_hz_``.

    Args:
        low_hz: as SincNet learns it, of either sign and without ``min_low_hz``, [filters].
        band_hz: likewise without ``min_band_hz``.
        parametrization: see :func:`bands_from_parameters`.
        limits: of the bands.

    Returns:
        ``low`` and ``band``, float64 [filters]; "hz" keeps the numbers as they are.

    Raises:
        ValueError: for an unknown parametrisation.
    """
    check_parametrization(parametrization)
    low, band = np.asarray(low_hz, np.float64), np.asarray(band_hz, np.float64)
    if parametrization == "hz":
        return low, band
    nyquist = limits.sample_rate / 2
    if parametrization == "normalized":
        return low / nyquist, band / nyquist
    # f = 700 (exp(p whole) - 1), so p = log(1 + f / 700) / whole; a width from ``lowest`` on has
    # 700 + lowest in place of 700.
    whole = np.log1p(nyquist / _MEL_KNEE_HZ)
    lowest = np.minimum(limits.min_low_hz + np.abs(low), nyquist) + limits.min_band_hz
    return (
        np.log1p(np.abs(low) / _MEL_KNEE_HZ) / whole,
        np.log1p(np.abs(band) / (_MEL_KNEE_HZ + lowest)) / whole,
    )


def check_parametrization(parametrization: str) -> None:
    """Checks the parametrisation of bands.

    Args:
        parametrization: "hz", "mel" or "normalized".

    Raises:
        ValueError: for any other.
    """
    if parametrization not in PARAMETRIZATIONS:
        raise ValueError(
            f"parametrization={parametrization!r} is unknown; use one of "
            f"{', '.join(PARAMETRIZATIONS)}"
        )


def bands_from_parameters(
    low: Float[Array, " filters"],
    band: Float[Array, " filters"],
    *,
    parametrization: Parametrization,
    limits: BandLimits,
    xp: ModuleType = jnp,
) -> tuple[Any, Any]:
    """Band edges from parameters that may be any finite numbers.

    - "hz": ``low = min_low + |p|`` and ``high = low + min_band + |q|``, as SincNet has it. An
      optimiser's step of 1e-3 is 1e-3 Hz: filters hardly move.
    - "normalized": p and q are fractions of the Nyquist frequency; at 16 kHz the step is 8 Hz.
    - "mel": p and q are fractions of the Nyquist frequency on HTK's mel scale, where q counts
      from ``low + min_band``; the step is 2.8 mel at 16 kHz, 2 Hz in the bass, 20 Hz at 8 kHz.

    Both edges are kept at or below the Nyquist frequency; beyond that, gradients are 0. So they
    are where a parameter is 0, by the convention that |x| has derivative 0 there.

    Args:
        low: p, [filters].
        band: q, [filters].
        parametrization: as above.
        limits: of the bands.
        xp: ``jax.numpy`` or ``numpy``.

    Returns:
        Lower and upper edges in Hz, [filters], ``low < high`` always.

    Raises:
        ValueError: for an unknown parametrisation.
    """
    check_parametrization(parametrization)
    nyquist = limits.sample_rate / 2
    narrowest = _NARROWEST * limits.sample_rate
    whole = float(np.log1p(nyquist / _MEL_KNEE_HZ))
    first, second = xp.abs(low), xp.abs(band)
    if parametrization == "mel":
        # An exponential of what lies above the Nyquist frequency could overflow.
        first = _MEL_KNEE_HZ * xp.expm1(whole * xp.minimum(first, 1.0))
    elif parametrization == "normalized":
        first, second = nyquist * first, nyquist * second
    low_hz = xp.minimum(limits.min_low_hz + first, nyquist - narrowest)
    lowest = low_hz + limits.min_band_hz
    if parametrization == "mel":
        second = (_MEL_KNEE_HZ + lowest) * xp.expm1(whole * xp.minimum(second, 1.0))
    high_hz = xp.minimum(xp.maximum(lowest + second, low_hz + narrowest), nyquist)
    return low_hz, high_hz


def reference_window(kernel_size: int) -> Float[np.ndarray, " taps"]:
    """Window of SincConv_fast, nearly a Hamming window.

    ``0.54 - 0.46 cos(2 pi l / K)`` for the K // 2 taps on the left, l running from 0 to K / 2 - 1
    in steps of ``(K / 2 - 1) / (K // 2 - 1)``, not 1; 1 in the middle; mirrored on the right.

    Args:
        kernel_size: K, odd.

    Returns:
        float64 [K].
    """
    half = kernel_size // 2
    place = np.linspace(0.0, kernel_size / 2 - 1, half)
    left = 0.54 - 0.46 * np.cos(2 * np.pi * place / kernel_size)
    return np.concatenate([left, [1.0], left[::-1]])


@settles
def band_window(name: str, kernel_size: int) -> Float[np.ndarray, " taps"]:
    """Window of the filters: :func:`reference_window`, or a symmetric one of SciPy.

    Args:
        name: "reference", or a name of :func:`scipy.signal.get_window`.
        kernel_size: taps K, odd.

    Returns:
        Float64 [K].

    Raises:
        ValueError: for an unknown window.
    """
    if name == "reference":
        return reference_window(kernel_size)
    return kernels.make_window(name, kernel_size)


def kernels_from_bands(
    low_hz: Float[Array, " filters"],
    high_hz: Float[Array, " filters"],
    window: Float[Array, " taps"],
    *,
    sample_rate: float,
    shape: str = "sinc",
    component: Component = "real",
    normalization: BandNormalization = "reference",
    parameters: Mapping[str, Array] | None = None,
) -> Float[jax.Array, "channels taps"]:
    """Filters between band edges, differentiable in them.

    - "reference": the envelope is 1 in the middle, so that the response in the band is about
      ``sample_rate / (2 band)`` and low filters are the loudest; sinc filters in SincNet's
      arithmetic;
    - "gain": the response at the middle of the band is 1, of the real filter of a real bank and
      of the complex filter of a complex one. (A real bank's filter of a band that touches 0 Hz
      or the Nyquist frequency has up to twice that.)
    - "energy": the squared taps add up to 1, those of both parts of a complex filter.

    Args:
        low_hz: lower edges, [filters].
        high_hz: upper edges above them, [filters]; shapes that are no rectangle have the band as
            their full width at half maximum.
        window: [taps].
        sample_rate: Hz.
        shape: a name in :data:`.shapes.SHAPES`.
        component: "real", or "complex" for cosine filters followed by their sine partners.
        normalization: as above.
        parameters: of the shape, [filters, ...]; its initial ones if None.

    Returns:
        [filters, taps], or [2 filters, taps] of a complex bank; the dtype of the edges.

    Raises:
        ValueError: for an unknown normalisation or shape.
    """
    if normalization not in BAND_NORMALIZATIONS:
        raise ValueError(
            f"normalization={normalization!r} is unknown; use one of "
            f"{', '.join(BAND_NORMALIZATIONS)}"
        )
    low, high = jnp.asarray(low_hz), jnp.asarray(high_hz)
    built_in = shapes.ShapeName.settle(shape).is_built_in
    if normalization == "reference" and built_in and shape == "sinc" and len(window) % 2:
        return _difference_kernels(
            low, high, jnp.asarray(window), sample_rate=sample_rate, component=component
        )
    methods = {"reference": "none", "gain": "gain", "energy": "l2"}
    # Middles (low + high) / 2 and widths as fractions of the Nyquist frequency.
    filters = kernels.kernels_from_parameters(
        (low + high) / sample_rate,
        (high - low) / (sample_rate / 2),
        window,
        shape=shape,
        component=component,
        normalization=methods[normalization],  # type: ignore[arg-type]
        parameters=parameters,
    )
    # The cosine is half of a complex exponential, so the real filter's response is halved.
    return 2.0 * filters if normalization == "gain" and component == "real" else filters


def _difference_kernels(
    low_hz: jax.Array,
    high_hz: jax.Array,
    window: jax.Array,
    *,
    sample_rate: float,
    component: Component,
) -> jax.Array:
    """Sinc filters as SincConv_fast computes them, in its order of roundings."""
    kind = low_hz.dtype.type
    half = len(window) // 2
    left_taps = window[None, :half]
    # Radians per Hz; 2 pi is rounded before the product, as PyTorch does.
    nu = (kind(2 * np.pi) * np.arange(-half, 0).astype(kind) / kind(sample_rate))[None, :]
    low, high = low_hz[:, None] * nu, high_hz[:, None] * nu
    band = (high_hz - low_hz)[:, None]
    # Below 1 Hz the difference has no digits; the product of cosine and sinc is as good as exact.
    narrow = spherical_bessel.sinc(band * jnp.asarray(nu / kind(2 * np.pi)), jnp)
    middle_phase = (0.5 * (low_hz + high_hz))[:, None] * nu

    def left_half(difference: jax.Array, wave: jax.Array) -> jax.Array:
        # (sin(2 pi high t) - sin(2 pi low t)) / (pi t) / (2 band), nu / 2 being pi t.
        wide = difference / (0.5 * nu) * left_taps / (2.0 * band)
        return jnp.where(band >= _NARROW_HZ, wide, wave * narrow * left_taps)

    left = left_half(jnp.sin(high) - jnp.sin(low), jnp.cos(middle_phase))
    middle = jnp.broadcast_to(window[half], (len(low_hz), 1))
    cosine = jnp.concatenate([left, middle, jnp.flip(left, axis=1)], axis=1)
    if component == "real":
        return cosine
    left = left_half(jnp.cos(low) - jnp.cos(high), jnp.sin(middle_phase))
    sine = jnp.concatenate([left, jnp.zeros_like(middle), -jnp.flip(left, axis=1)], axis=1)
    return jnp.concatenate([cosine, sine], axis=0)


def symmetry_of(shape: str, component: Component, window: Float[np.ndarray, " taps"]) -> Symmetry:
    """Symmetry in time that all filters of a bank have, whatever is learned.

    Args:
        shape: a name in :data:`.shapes.SHAPES`.
        component: "real" or "complex".
        window: [taps].

    Returns:
        "even" of a real bank, "even_odd" of a complex one (cosines, then sines), "none" if the
        envelope or the window is not even.
    """
    if not shapes.check_shape(shape).even or not np.allclose(window, window[::-1], atol=1e-12):
        return "none"
    return "even" if component == "real" else "even_odd"
