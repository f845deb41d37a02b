"""Range projection: a waveform changed as little as needed to have the coefficients that are given.

A measurement that loses something, linear (a filterbank with too few bins, lost frames) or smooth
(the mel spectrogram of magnitudes), fixes what lies in its range and leaves its null space open.
Whatever has guessed the rest, a network or a prior, need not have met the coefficients: here they
are met, and only directions that change them are taken. With the residual r = given - measure(x)
and J the derivative of the measurement at x, conjugate gradients:

    g = J^T r;  d = g + b d,  b = max(0, <g, g - g before> / |g before|^2)
    x += d <J d, r> / |J d|^2

A linear measurement is its own derivative: the iterations are then those of CGLS, and lead to the
orthogonal projection of the guess. For others the derivative is taken anew in each, and the step is
that of Gauss and Newton along d. Analysis and transpose come from ``jax.linearize`` and
``jax.linear_transpose``; no matrix is stored.

References:
    A. Bjorck, "Numerical methods for least squares problems", SIAM 1996, section 7.4 (CGLS).
        https://doi.org/10.1137/1.9781611971484
    E. Polak and G. Ribiere, "Note sur la convergence de methodes de directions conjuguees", Revue
        francaise d'informatique et de recherche operationnelle 3, 1969 (the factor b).
    J. Schwab, S. Antholzer and M. Haltmeier, "Deep null space learning for inverse problems",
        Inverse Problems 35, 2019 (networks that only learn what a measurement has lost).
        https://arxiv.org/abs/1806.06137
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import checks
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Waveform


@settles
def project_onto(
    waveform: Waveform,
    given: jax.Array,
    *,
    measure: Callable[[jax.Array], jax.Array],
    iterations: int = 20,
    tolerance: Any = 0.0,
) -> Float[jax.Array, "... time"]:
    """Range projection of a waveform onto those that measure as given.

    Args:
        waveform: the guess, [..., time], floating.
        given: coefficients that ``measure`` should find, [..., whatever it returns of a clip].
        measure: waveform [..., time] to real or complex coefficients, differentiable; clips, the
            leading axes of the waveform, must not depend on each other. What is lost is masked in
            both, ``measure`` and ``given``.
        iterations: 1 or more; each takes two analyses and a transpose.
        tolerance: 0, or how far coefficients may lie from those given, half a quantisation step,
            say: a number, or an array that goes with ``given`` (as real numbers). Only what is
            farther is moved, towards the edge.

    Returns:
        [..., time], as the guess. Under ``jit``, ``vmap`` and ``grad`` as well.

    Raises:
        ValueError: for fewer than 1 iteration, or coefficients of another shape than ``measure``
            gives.
        TypeError: for waveforms that are not floating.

    Example:
        >>> half = lambda x: x[..., ::2]
        >>> project_onto(jnp.zeros(4), jnp.ones(2), measure=half, iterations=1).tolist()
        [1.0, 0.0, 1.0, 0.0]
    """
    guess = checks.as_floating(waveform, "waveform", ndim=1)
    if iterations < 1:
        raise ValueError(f"iterations={iterations} must be at least 1, say 20")

    def real_measure(x: jax.Array) -> jax.Array:
        return _as_real(measure(x))

    wanted, found = _as_real(jnp.asarray(given)), jax.eval_shape(real_measure, guess)
    if wanted.shape != found.shape:
        raise ValueError(
            f"given.shape={wanted.shape}, but the waveform measures {found.shape} (complex numbers "
            "as pairs); give what measure returns of as many samples"
        )
    wanted = wanted.astype(found.dtype)
    clip_axes = guess.ndim - 1

    def dot(one: jax.Array, other: jax.Array) -> jax.Array:
        # Of every clip, [..., 1].
        return jnp.sum(one * other, axis=tuple(range(clip_axes, one.ndim)))[..., None]

    def advance(carry: tuple, _: Any) -> tuple[tuple, None]:
        x, direction, before = carry
        now, derivative = jax.linearize(real_measure, x)
        missing = wanted - now
        # What is within the tolerance is met; the rest is to come to its edge.
        missing = jnp.sign(missing) * jnp.maximum(jnp.abs(missing) - tolerance, 0)
        (slope,) = jax.linear_transpose(derivative, x)(missing)
        turn = _ratio(dot(slope, slope - before), dot(before, before))
        direction = slope + jnp.maximum(turn, 0) * direction
        seen = derivative(direction)
        length = _ratio(dot(seen, missing), dot(seen, seen))
        return (x + length * direction, direction, slope), None

    nothing = jnp.zeros_like(guess)
    return lax.scan(advance, (guess, nothing, nothing), length=iterations)[0][0]


def _ratio(numerator: jax.Array, power: jax.Array) -> jax.Array:
    """Quotient, 0 where there is nothing to divide by: before the first step, or all is met."""
    some = power > 0
    return jnp.where(some, numerator / jnp.where(some, power, 1), 0)


def _as_real(values: jax.Array) -> jax.Array:
    """Complex numbers as pairs, whose squares and gradients are those of real coefficients."""
    if not jnp.iscomplexobj(values):
        return values
    return jnp.stack([jnp.real(values), jnp.imag(values)], axis=-1)
