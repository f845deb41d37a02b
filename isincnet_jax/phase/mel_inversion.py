"""Mel inversion: from a mel spectrogram to magnitudes or to a waveform.

A mel spectrogram is ``E m``, with fewer filters E [mels, bins] than bins: many magnitudes fit. Two
ways back: the non-negative magnitudes that fit best, then any phase retrieval
(:func:`mel_to_magnitude`); or magnitude and phase together, where the phase, and hence what is a
signal at all, has a say in the choice (:func:`mel_admm`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import checks
from isincnet_jax.dsp.settling import settles
from isincnet_jax.phase import iterations
from isincnet_jax.phase import retrieval as phases
from isincnet_jax.typing import Array, Waveform

_HIGHEST = lax.Precision.HIGHEST
_FAINTEST = 1e-10
Mel = Float[Array, "... frames mels"]
Filters = Float[np.ndarray, "mels bins"]


@settles
def mel_to_magnitude(
    mel: Mel, filters: Filters, *, num_iterations: int = 200, power: float = 1.0
) -> Float[jax.Array, "... frames bins"]:
    """Non-negative least squares per frame: ``argmin |E m^power - mel|^2`` over ``m >= 0``.

    Accelerated projected gradient from the clipped pseudo-inverse, with steps of ``1 / |E|^2``;
    each frame drops its momentum when it points uphill. With fewer filters than bins there are
    many minima, and the one near the start is found.

    Args:
        mel: [..., frames, mels], not negative.
        filters: E, [mels, bins], NumPy.
        num_iterations: gradient steps; 200 leave less than -100 dB of a mel spectrogram.
        power: of the magnitudes that the filters were applied to; 2 for power spectrograms.

    Returns:
        m, [..., frames, bins]. Gradients with respect to ``mel`` are finite, also on silence:
        roots are taken of what exceeds ``1e-10^power`` only, the rest is 0.

    Raises:
        ValueError: if the filters do not fit, or for a power that is not positive.

    References:
        A. Beck and M. Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear
            inverse problems", SIAM J. Imaging Sciences 2, 2009, section 4.
            https://doi.org/10.1137/080716542
        B. O'Donoghue and E. Candes, "Adaptive restart for accelerated gradient schemes",
            Foundations of Computational Mathematics 15, 2015 (restart by the gradient).
            https://doi.org/10.1007/s10208-013-9150-3
    """
    mel = checks.as_floating(mel, "mel")
    design = _checked(mel, filters)
    iterations.check_iterations(num_iterations)
    if power <= 0:
        raise ValueError(f"power={power} must be positive; 1 for magnitudes, 2 for energies")
    solution = _non_negative_least_squares(
        mel,
        jnp.asarray(design, mel.dtype),
        jnp.asarray(np.linalg.pinv(design), mel.dtype),
        jnp.asarray(1.0 / np.linalg.norm(design, 2) ** 2, mel.dtype),
        num_iterations=num_iterations,
    )
    return solution if power == 1 else _root(solution, power)


def _root(values: jax.Array, power: float) -> jax.Array:
    if power < 1:
        return values ** (1.0 / power)
    # The infinite slope at 0 times a slope of 0 would be NaN.
    audible = values > _FAINTEST**power
    # 0 times the values, not 0: NaN stays NaN.
    return jnp.where(audible, jnp.where(audible, values, 1.0) ** (1.0 / power), 0.0 * values)


def _checked(mel: Any, filters: Any) -> np.ndarray:
    design = np.asarray(filters, np.float64)
    if design.ndim != 2 or mel.ndim < 1 or mel.shape[-1] != design.shape[0]:
        raise ValueError(
            f"mel.shape={mel.shape} and filters.shape={design.shape}: the last axis of mel must be "
            "the first of two of the filters, [mels, bins]"
        )
    if not np.any(design):
        raise ValueError("filters are all 0: nothing can be inverted; give a mel bank")
    return design


@functools.partial(jax.jit, static_argnames=("num_iterations",))
def _non_negative_least_squares(
    mel: Any, filters: Any, inverse: Any, step: Any, *, num_iterations: int
) -> jax.Array:
    # x_0 = max(0, E^+ mel), with the pseudo-inverse E^+
    start = jnp.maximum(jnp.matmul(mel, inverse.T, precision=_HIGHEST), 0.0)

    def advance(_: Any, carry: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        current, ahead, age = carry
        # x_{i+1} = max(0, y_i - E^T (E y_i - mel) / |E|^2)
        error = jnp.matmul(ahead, filters.T, precision=_HIGHEST) - mel
        gradient = jnp.matmul(error, filters, precision=_HIGHEST)
        following = jnp.maximum(ahead - step * gradient, 0.0)
        move = following - current
        # <y_i - x_{i+1}, x_{i+1} - x_i> > 0: the momentum works against the gradient, and restarts
        uphill = jnp.sum((ahead - following) * move, axis=-1, keepdims=True) > 0
        age = jnp.where(uphill, 1.0, age)
        # a_{i+1} = (1 + sqrt(1 + 4 a_i^2)) / 2
        # y_{i+1} = x_{i+1} + (a_i - 1) / a_{i+1} (x_{i+1} - x_i)
        older = (1.0 + jnp.sqrt(1.0 + 4.0 * age**2)) / 2.0
        return following, following + (age - 1.0) / older * move, older

    age = jnp.ones((*mel.shape[:-1], 1), mel.dtype)
    return lax.fori_loop(0, num_iterations, advance, (start, start, age))[0]


@settles
def mel_admm(
    mel: Mel,
    filters: Filters,
    *,
    analyse: Callable[[Any], Any],
    synthesise: Callable[[Any], Any],
    num_iterations: int = 60,
    rho: float = 0.1,
    slack: float = 1e-3,
    phase: Float[Array, "... frames bins"] | None = None,
    key: jax.Array | None = None,
) -> Waveform:
    """Waveform from mel magnitudes, magnitude and phase together, by ADMM.

    As :func:`.retrieval.admm`, but where that replaces magnitudes by the given ones, this moves
    them to the nearest that fit the mel spectrogram::

        a = |z - u|;  v = max(0, argmin_v |E v - mel|^2 / (slack |E|^2) + |v - a|^2)
          = max(0, a + E^T (E E^T + slack |E|^2)^-1 (mel - E a))

    and keeps the phase of ``z - u``. The start is that of :func:`mel_to_magnitude`.

    Args:
        mel: ``E |X|``, [..., frames, mels]: of magnitudes, not of energies.
        filters: E, [mels, bins], NumPy.
        analyse: waveform to complex [..., frames, bins].
        synthesise: complex [..., frames, bins] to waveform.
        num_iterations: of one synthesis and one analysis each.
        rho: penalty of the consistency, see :func:`.retrieval.admm`.
        slack: how far the mel spectrogram may be missed, above 0; small values hardly differ.
        phase: where to start, in radians; all 0 without it and without a key.
        key: PRNG key of a random start.

    Returns:
        The waveform [..., time].

    Raises:
        ValueError: if the filters do not fit, for fewer than 0 iterations, a negative rho, or a
            slack that is not positive.

    References:
        Y. Masuyama, N. Ueno and N. Ono, "Mel-spectrogram inversion via alternating direction
            method of multipliers", 2025. https://arxiv.org/abs/2501.05557
        Departure: the paper has a variable and a multiplier each for the magnitude and for the
            coefficients; here one pair is split between data and consistency, and the bound at 0
            is kept by clipping the solution of the unbounded problem.
    """
    mel = checks.as_floating(mel, "mel")
    design = _checked(mel, filters)
    iterations.check_iterations(num_iterations, rho)
    if slack <= 0:
        raise ValueError(f"slack={slack} must be positive; use a small one, say 1e-3")
    # K = (E E^T + slack |E|^2)^-1 E, [mels, bins]: E^T (...)^-1 r is r K for rows r
    ridge = slack * np.linalg.norm(design, 2) ** 2 * np.eye(len(design))
    correction = np.linalg.solve(design @ design.T + ridge, design)
    magnitude = mel_to_magnitude(mel, filters)
    return _mel_admm(
        mel,
        jnp.asarray(design, mel.dtype),
        jnp.asarray(correction, mel.dtype),
        phases.initial_coefficients(magnitude, phase=phase, key=key),
        iterations.Operators(iterations.as_partial(analyse), iterations.as_partial(synthesise)),
        num_iterations=num_iterations,
        rho=rho,
    )


@functools.partial(jax.jit, static_argnames=("num_iterations",))
def _mel_admm(
    mel: Any,
    filters: Any,
    correction: Any,
    start: Any,
    operators: iterations.Operators,
    *,
    num_iterations: int,
    rho: Any,
) -> jax.Array:
    options = {"operators": operators, "num_iterations": num_iterations, "rho": rho}

    def run(start: Any, mel: Any) -> jax.Array:
        def fit(coefficients: Any) -> jax.Array:
            magnitude = jnp.abs(coefficients)
            # |c| + E^T (E E^T + slack |E|^2)^-1 (mel - E |c|), clipped at 0, with the phase of c
            missing = mel - jnp.matmul(magnitude, filters.T, precision=_HIGHEST)
            moved = magnitude + jnp.matmul(missing, correction, precision=_HIGHEST)
            return phases.with_magnitude(coefficients, jnp.maximum(moved, 0.0))

        return iterations.splitting(fit, start, **options)

    return iterations.each_clip(run, start, mel)
