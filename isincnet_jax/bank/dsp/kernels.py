"""Impulse responses of a bank: scale, shape and window become kernels [bins, taps].

The kernel of a bin with centre frequency f is ``exp(2 pi i f t) * envelope(t) * window(t)``,
``t = (n - taps // 2) / sample_rate``: modulation times envelope (Pariente et al., 2020,
section 2.1). Its real part gives the cosine channel, its imaginary part the sine channel.

Two implementations share the envelopes of :mod:`.shapes`: a float64 NumPy design, used for
everything that is fixed, and a JAX version from centres and bandwidths in a normalised unit,
used where filters are learned. A third function reproduces the float32 arithmetic of the
PyTorch reference, its too-long time grid included.

References:
    M. Pariente et al., "Filterbank design for end-to-end speech separation", ICASSP 2020.
        https://arxiv.org/abs/1910.10400
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.bank.dsp import shapes
from isincnet_jax.dsp import windows
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array, ComplexKernels, Component, Normalization

_TINY = 1e-24  # of squares: keeps the gradient of a modulus finite

NORMALIZATIONS: tuple[Normalization, ...] = ("l1", "max_l1", "l2", "gain", "none")


@settles
def make_window(name: str, kernel_size: int, *, causal: bool = False) -> Float[np.ndarray, " taps"]:
    """Window of ``kernel_size`` taps, symmetric around tap ``kernel_size // 2``.

    Args:
        name: a window name of :func:`scipy.signal.get_window`; "rectangular" means "boxcar".
        kernel_size: taps.
        causal: set the taps after the centre to 0, so that a frame at sample n depends on
            samples up to n only.

    Returns:
        float64 [taps].

    Raises:
        ValueError: for an unknown window.
    """
    try:
        window = windows.get_window(
            "boxcar" if name == "rectangular" else name, kernel_size, fftbins=False
        )
    except ValueError as error:
        raise ValueError(
            f"window={name!r} is unknown to scipy.signal.get_window ({error}); "
            "use hann, hamming, blackman, rectangular, ..."
        ) from error
    window = np.array(window, np.float64)
    window[np.abs(window) < 1e-15] = 0.0
    if causal:
        window[kernel_size // 2 + 1 :] = 0.0
    return window


def window_support(window: Float[np.ndarray, " taps"]) -> tuple[int, int]:
    """Support of a window: samples that it reaches before and after its centre tap ``taps // 2``.

    Args:
        window: [taps], not 0 throughout.

    Returns:
        ``(lead, trail)``: the first non-zero tap is ``lead`` samples before the centre, the
        last ``trail`` samples after it. The end taps of a Hann window are zeros and not counted.
    """
    taps = np.flatnonzero(window)
    center = len(window) // 2
    return int(center - taps[0]), int(taps[-1] - center)


def normalize_kernels(
    kernels: ComplexKernels,
    *,
    method: Normalization,
    component: Component,
    center_gain: Float[np.ndarray, " bins"] | None = None,
) -> ComplexKernels:
    """Normalised kernels, scaled each by itself or all together.

    With ``h`` the modulus of a complex bank's kernels and the real part of a real bank's:

    - "l1": every filter has ``sum |h| = 1``, so that |S| <= max |x| (the reference, 0.5);
    - "max_l1": one factor for all, ``max over bins of sum |k| = 1`` (the mel bank of 0.1.0);
    - "l2": every filter has unit energy, ``sum h^2 = 1``;
    - "gain": unit gain of the complex filter at its centre frequency, ``|sum envelope *
      window| = 1``; a real bank gives a cosine of amplitude 1 the coefficient 1/2;
    - "none": untouched.

    Args:
        kernels: complex128 [bins, taps].
        method: as above.
        component: which part the bank uses.
        center_gain: gains at the centre frequencies, [bins]; needed for "gain".

    Returns:
        complex128 [bins, taps].

    Raises:
        ValueError: for an unknown method, "gain" without gains, or a filter that is 0 throughout.
    """
    if method not in NORMALIZATIONS:
        raise ValueError(f"normalization={method!r}; use one of {', '.join(NORMALIZATIONS)}")
    if method == "none":
        return kernels
    if method == "max_l1":
        return kernels / np.max(np.sum(np.abs(kernels), axis=1))
    if method == "gain":
        if center_gain is None:
            raise ValueError("normalization='gain' needs center_gain")
        size = np.abs(center_gain)
    else:
        used = np.abs(kernels) if component == "complex" else np.abs(np.real(kernels))
        size = np.sqrt(np.sum(used**2, axis=1)) if method == "l2" else np.sum(used, axis=1)
    if np.any(size == 0.0):
        raise ValueError(f"filter {int(np.argmin(size))} is 0 throughout and cannot be normalised")
    return kernels / size[:, None]


@settles
def design_kernels(
    center_hz: Float[np.ndarray, " bins"],
    bandwidth_hz: Float[np.ndarray, " bins"],
    window: Float[np.ndarray, " taps"],
    *,
    sample_rate: int,
    shape: str,
    component: Component,
    normalization: Normalization,
    parameters: Mapping[str, np.ndarray] | None = None,
) -> ComplexKernels:
    """Kernels of a bank, designed in float64.

    Args:
        center_hz: centre frequencies in Hz, [bins].
        bandwidth_hz: full widths at half maximum in Hz, [bins].
        window: [taps], see :func:`make_window`.
        sample_rate: Hz.
        shape: a name in :data:`.shapes.SHAPES`.
        component: "real" or "complex"; matters for the normalisation only.
        normalization: see :func:`normalize_kernels`.
        parameters: of the shape, [bins, ...]; its initial ones if None.

    Returns:
        complex128 [bins, taps]. A complex bank keeps both parts; a real bank uses the real part.
    """
    taps = len(window)
    offset = np.arange(taps) - taps // 2
    # The phase in turns, reduced to [-1/2, 1/2] before the exponential: exact at any length.
    turns = np.outer(center_hz / sample_rate, offset)
    turns -= np.round(turns)
    # k_b[n] = exp(2 pi i f_b t) e_b(t) w[n], t = (n - taps // 2) / sample_rate
    time_s = offset[None, :] / sample_rate
    real, imag = shapes.envelope(time_s, bandwidth_hz[:, None], shape=shape, parameters=parameters)
    magnitude = (real if imag is None else real + 1j * imag) * window
    return normalize_kernels(
        np.exp(2j * np.pi * turns) * magnitude,
        method=normalization,
        component=component,
        center_gain=np.sum(magnitude, axis=1),
    )


def design_reference_kernels(
    center_hz: Float[np.ndarray, " bins"],
    bandwidth_hz: Float[np.ndarray, " bins"],
    window: Float[np.ndarray, " taps"],
    *,
    sample_rate: int,
    shape: str,
    component: Component,
    normalization: Normalization,
) -> ComplexKernels:
    """Kernels of iSincNet, with its time grid and its float32 products.

    The grid ``linspace(-1/2, 1/2, K) K / sample_rate`` spans K instead of K - 1 steps, which
    lowers the period of every filter by 1 / K, and centres are multiplied in float32, which
    perturbs phases by up to 1e-4. Kept for compatibility with trained weights.

    Args:
        center_hz: centre frequencies in Hz, [bins].
        bandwidth_hz: full widths at half maximum in Hz, [bins].
        window: [taps], 2 or more.
        sample_rate: Hz.
        shape: a symmetric one of :data:`.shapes.SHAPES`.
        component: "real" or "complex"; matters for the normalisation only.
        normalization: see :func:`normalize_kernels`.

    Returns:
        complex128 [bins, taps]; agrees with the reference to 4e-9.

    Raises:
        ValueError: for a shape that is not symmetric.
    """
    f32 = np.float32
    taps = len(window)
    index = np.arange(taps)
    step = float(f32(1.0) / f32(taps - 1))
    # A float32 linspace as PyTorch computes it: from either end, with fused multiply-adds.
    grid = np.where(index < taps // 2, -0.5 + step * index, 0.5 - step * (taps - 1 - index))
    time_s = ((grid.astype(f32) * f32(taps)).astype(f32) / f32(sample_rate)).astype(f32)
    radians_per_hz = (f32(2 * np.pi) * time_s).astype(f32)
    phase = (center_hz.astype(f32)[:, None] * radians_per_hz[None, :]).astype(f32)
    # The envelope takes the product B t alone, so B t and a width of 1 do.
    turns = bandwidth_hz[:, None] * radians_per_hz.astype(np.float64) / (2 * np.pi)
    envelope, imag = shapes.envelope(turns, np.ones((len(turns), 1)), shape=shape)
    if imag is not None:
        raise ValueError(f"shape={shape!r}: the reference has no shapes that are not symmetric")
    magnitude = envelope * window
    return normalize_kernels(
        np.exp(1j * phase.astype(np.float64)) * magnitude,
        method=normalization,
        component=component,
        center_gain=np.sum(magnitude, axis=1),
    )


def stack_components(
    kernels: ComplexKernels, *, component: Component
) -> Float[np.ndarray, "channels taps"]:
    """Real channels of a bank: the real parts, and of a complex bank the imaginary parts too.

    Args:
        kernels: complex128 [bins, taps].
        component: "real" gives [bins, taps]; "complex" gives [2 bins, taps], cosines first.

    Returns:
        float64 [channels, taps].
    """
    if component == "real":
        return np.ascontiguousarray(np.real(kernels))
    return np.concatenate([np.real(kernels), np.imag(kernels)], axis=0)


def _exact_phase(frequency: Array, offset: Array) -> Array:
    """pi * frequency * offset, reduced to +-2 pi without losing float32 digits.

    A coarse part of the frequency, with few enough bits that its product with an integer is
    exact, is reduced modulo 2; only the small rest is multiplied in rounded arithmetic. The
    coarse part is a constant to differentiation, so d/df = pi * offset as it should be.
    """
    coarse = jax.lax.stop_gradient(jnp.round(frequency * 2048.0) / 2048.0)
    turns = jnp.mod(coarse * offset, 2.0) + (frequency - coarse) * offset
    return jnp.pi * turns


@settles
def cosine_series(terms: Float[Array, " terms"], *, taps: int) -> Float[jax.Array, " taps"]:
    """Cosine series, a smooth factor: ``1 + sum_k a_k cos(2 pi k (n - taps // 2) / (taps - 1))``.

    Args:
        terms: a_1, a_2, ...; [terms].
        taps: samples.

    Returns:
        [taps], in the dtype of the terms.
    """
    order = np.arange(1, terms.shape[0] + 1)[:, None]
    offset = np.arange(taps) - taps // 2
    waves = np.cos(2.0 * np.pi * order * offset / max(taps - 1, 1))
    return 1.0 + jnp.matmul(terms, jnp.asarray(waves, terms.dtype), precision="highest")


def kernels_from_parameters(
    center: Float[Array, " bins"],
    bandwidth: Float[Array, " bins"],
    window: Float[Array, " taps"],
    *,
    shape: str,
    component: Component,
    normalization: Normalization,
    parameters: Mapping[str, Array] | None = None,
) -> Float[jax.Array, "channels taps"]:
    """Kernels of a learnable bank, differentiable in its centres and bandwidths.

    Args:
        center: centre frequencies as fractions of the Nyquist frequency, [bins].
        bandwidth: full widths at half maximum, as fractions of the Nyquist frequency, [bins].
            Negative values count as positive.
        window: [taps].
        shape: a name in :data:`.shapes.SHAPES`.
        component: "real" or "complex".
        normalization: see :func:`normalize_kernels`.
        parameters: of the shape, [bins, ...]; its initial ones if None.

    Returns:
        [channels, taps] in the dtype of ``center``; within float32 rounding (1e-6 of the
        largest tap, up to 32,768 taps) of :func:`design_kernels` with the same centres.
    """
    taps = window.shape[0]
    offset = jnp.asarray(np.arange(taps) - taps // 2, center.dtype)
    phase = _exact_phase(center[:, None], offset[None, :])
    if parameters is None:
        parameters = shapes.initial_parameters(shape, center.shape[0])
    # bandwidth * nyquist * n / sample_rate = bandwidth * n / 2
    real, imag = shapes.envelope(
        offset[None, :] / 2.0,
        jnp.abs(bandwidth)[:, None],
        shape=shape,
        parameters={k: jnp.asarray(v, center.dtype) for k, v in parameters.items()},
        xp=jnp,
    )
    cosine, sine = jnp.cos(phase), jnp.sin(phase)
    # Complex envelopes turn cosine and sine: (c + i s)(re + i im).
    if imag is None:
        magnitude = real * window[None, :]
        cosine, sine, modulus = cosine * magnitude, sine * magnitude, jnp.abs(magnitude)
        gain = jnp.abs(jnp.sum(magnitude, axis=1, keepdims=True))
    else:
        real, imag = real * window[None, :], imag * window[None, :]
        cosine, sine = cosine * real - sine * imag, sine * real + cosine * imag
        modulus = jnp.sqrt(real**2 + imag**2 + _TINY)
        gain = jnp.hypot(*(jnp.sum(part, axis=1, keepdims=True) for part in (real, imag)))
    used = modulus if component == "complex" else jnp.abs(cosine)
    scale = _normalizing_factor(used, modulus, gain, method=normalization)
    parts = [cosine] if component == "real" else [cosine, sine]
    return jnp.concatenate([part * scale for part in parts], axis=0)


def _normalizing_factor(
    used: jax.Array, modulus: jax.Array, gain: jax.Array, *, method: Normalization
) -> jax.Array:
    """The factor of each filter [bins, 1]; the JAX counterpart of normalize_kernels.

    Args:
        used: moduli of the component in use, [bins, taps].
        modulus: of the complex filters, [bins, taps].
        gain: at the centre frequencies, [bins, 1].
        method: see :func:`normalize_kernels`.
    """
    if method == "none":
        return jnp.ones_like(gain)
    if method == "max_l1":
        return 1.0 / jnp.max(jnp.sum(modulus, axis=1)) * jnp.ones_like(gain)
    if method == "gain":
        return 1.0 / gain
    if method == "l2":
        return jax.lax.rsqrt(jnp.sum(used**2, axis=1, keepdims=True))
    return 1.0 / jnp.sum(used, axis=1, keepdims=True)
