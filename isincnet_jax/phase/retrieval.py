"""Phase retrieval over (analyse, synthesise) callables: Griffin-Lim, ADMM, the difference map.

All look for coefficients that have the given magnitudes and are those of a signal. ``analyse``
takes a waveform to complex coefficients [..., frames, bins], ``synthesise`` takes them back, and
``P = analyse(synthesise(.))`` projects onto what signals can have. Any transform will do: the STFT
of :func:`stft_operators`, or a complex bank of this package
(:func:`.operators.bank_operators`).

Everything is jitted, batched over the leading axes, and free of random state. Keep the callables: a
new closure compiles anew. Arrays belong into a :class:`jax.tree_util.Partial`, not into closures.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Complex, Float

from isincnet_jax.dsp import checks, fourier
from isincnet_jax.dsp.settling import settles
from isincnet_jax.phase.iterations import (
    Operators,
    as_partial,
    check_iterations,
    each_clip,
    splitting,
)
from isincnet_jax.typing import Array, Waveform

Coefficients = Complex[Array, "... frames bins"]
Magnitude = Float[Array, "... frames bins"]


@settles
def stft_operators(
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    length: int,
    window: str = "hann",
    center: bool = True,
    pad_mode: str = "reflect",
) -> Operators:
    """STFT operators, :func:`.fourier.stft` and :func:`.fourier.istft`, of clips of one length.

    The same arguments give the same objects, so that nothing is compiled twice.

    Args:
        n_fft: samples per frame.
        hop_length: samples between frames.
        win_length: samples of the window, ``n_fft`` if None.
        length: samples of the clips.
        window: a name of :func:`scipy.signal.get_window`.
        center: whether the frames are centred, see :func:`.fourier.stft`.
        pad_mode: what lies beyond the ends of centred frames.

    Returns:
        The operators, cached.
    """
    return _stft_operators(
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        length=length,
        window=window,
        center=center,
        pad_mode=pad_mode,
    )


@functools.lru_cache(maxsize=128)
def _stft_operators(*, length: int, pad_mode: str, **common: Any) -> Operators:
    return Operators(
        Partial(functools.partial(fourier.stft, pad_mode=pad_mode, **common)),
        Partial(functools.partial(fourier.istft, length=length, **common)),
    )


def with_magnitude(coefficients: Coefficients, magnitude: Magnitude) -> Complex[jax.Array, "..."]:
    """Coefficients with their own phase and another magnitude, ``m c / |c|``.

    Coefficients below 1e-19 (float32) have no phase: they become 0, and so do their gradients.

    Args:
        coefficients: c, complex.
        magnitude: m, in the shape of the coefficients.

    Returns:
        Complex, in their shape.
    """
    real, imag = jnp.real(coefficients), jnp.imag(coefficients)
    size = lax.stop_gradient(jnp.maximum(jnp.abs(real), jnp.abs(imag)))
    has_phase = size > jnp.sqrt(jnp.finfo(size.dtype).tiny)
    # Only the direction counts: with parts of about 1, no power of them overflows in the slopes.
    scale = 1.0 / jnp.where(has_phase, size, 1.0)
    real, imag = real * scale, imag * scale
    squares = jnp.where(has_phase, real**2 + imag**2, 1.0)
    factor = jnp.where(has_phase, magnitude * lax.rsqrt(squares), 0.0)
    return lax.complex(real * factor, imag * factor)


def initial_coefficients(
    magnitude: Magnitude, *, phase: Magnitude | None = None, key: jax.Array | None = None
) -> Complex[jax.Array, "..."]:
    """Initial coefficients with a given phase, a random one, or phase 0.

    Args:
        magnitude: [..., frames, bins], not negative.
        phase: radians, the shape of the magnitude.
        key: PRNG key of a phase that is uniform over the circle, if there is no ``phase``.

    Returns:
        Complex, in the shape of the magnitude.

    Raises:
        ValueError: with both a phase and a key, or a phase of another shape.
        TypeError: for what is not floating.
    """
    magnitude = checks.as_floating(magnitude, "magnitude", ndim=2)
    if phase is not None and key is not None:
        raise ValueError("phase and key are both given: one start is enough; leave one out")
    if phase is not None and phase.shape != magnitude.shape:
        raise ValueError(
            f"phase.shape={phase.shape} must be that of the magnitude, {magnitude.shape}"
        )
    if key is not None:
        phase = jax.random.uniform(key, magnitude.shape, magnitude.dtype, 0.0, 2.0 * jnp.pi)
    if phase is None:
        return lax.complex(magnitude, jnp.zeros_like(magnitude))
    angle = jnp.asarray(phase, magnitude.dtype)
    return lax.complex(magnitude * jnp.cos(angle), magnitude * jnp.sin(angle))


@settles
def griffin_lim(
    magnitude: Magnitude,
    *,
    analyse: Callable[[Any], Any],
    synthesise: Callable[[Any], Any],
    num_iterations: int = 60,
    momentum: float = 0.0,
    phase: Magnitude | None = None,
    key: jax.Array | None = None,
) -> Waveform:
    """Griffin-Lim phase retrieval, plain or with momentum.

    ``r_i = P(c_i)``, ``c_{i+1} = m * phase_of(r_i - momentum / (1 + momentum) r_{i-1})`` with
    ``r_{-1} = 0``; the result is the synthesis of the last ``c``. Without momentum the distance
    between ``|P c|`` and m never grows if P is an orthogonal projection; with it, it may.

    With the operators of an STFT and the same start and padding it is ``librosa.griffinlim``.

    Args:
        magnitude: m, [..., frames, bins], floating and not negative.
        analyse: waveform to complex [..., frames, bins].
        synthesise: complex [..., frames, bins] to waveform.
        num_iterations: of one synthesis and one analysis each.
        momentum: 0 for the original algorithm, 0.99 for the fast one; above 1 it may diverge.
        phase: where to start, in radians; all 0 without it and without a key.
        key: PRNG key of a random start.

    Returns:
        The waveform [..., time].

    Raises:
        ValueError: for a negative momentum, fewer than 0 iterations, or an impossible start.

    References:
        D. Griffin and J. Lim, "Signal estimation from modified short-time Fourier transform",
            IEEE Trans. ASSP 32, 1984. https://doi.org/10.1109/TASSP.1984.1164317
        N. Perraudin, P. Balazs and P. Sondergaard, "A fast Griffin-Lim algorithm", WASPAA 2013.
            https://doi.org/10.1109/WASPAA.2013.6701851

    Example:
        >>> waveform = jnp.sin(0.3 * jnp.arange(2000, dtype=jnp.float32))
        >>> operators = stft_operators(n_fft=64, hop_length=16, length=2000)
        >>> magnitude = jnp.abs(operators.analyse(waveform))
        >>> griffin_lim(magnitude, **operators._asdict(), key=jax.random.key(0)).shape
        (2000,)
    """
    if momentum < 0:
        raise ValueError(f"momentum={momentum} must not be negative; use 0 to 1, say 0.99")
    check_iterations(num_iterations)
    start = initial_coefficients(magnitude, phase=phase, key=key)
    operators = Operators(as_partial(analyse), as_partial(synthesise))
    counts: Any = {"num_iterations": num_iterations, "momentum": momentum}
    return _griffin_lim(jnp.asarray(magnitude), start, operators, **counts)


@settles
def polish(
    waveform: Waveform,
    magnitude: Magnitude,
    *,
    analyse: Callable[[Any], Any],
    synthesise: Callable[[Any], Any],
    num_iterations: int = 5,
    momentum: float = 0.99,
) -> Waveform:
    """Phase retrieval that starts from a waveform, such as a vocoder's: a few :func:`griffin_lim`.

    Each is an analysis, the given magnitudes with the phases found, and a synthesis.

    Args:
        waveform: [..., time].
        magnitude: [..., frames, bins] that it should have, not negative.
        analyse: waveform to complex [..., frames, bins].
        synthesise: complex [..., frames, bins] to waveform.
        num_iterations: 0 leaves the waveform as it is.
        momentum: see :func:`griffin_lim`.

    Returns:
        The waveform [..., time].

    Raises:
        ValueError: for a negative momentum or fewer than 0 iterations.
    """
    if momentum < 0:
        raise ValueError(f"momentum={momentum} must not be negative; use 0 to 1, say 0.99")
    check_iterations(num_iterations)
    checks.check_floating_waveform(waveform)
    checks.check_floating(magnitude, "magnitude", ndim=2)
    if num_iterations == 0:
        return waveform
    operators = Operators(as_partial(analyse), as_partial(synthesise))
    start = with_magnitude(operators.analyse(waveform), magnitude)
    counts: Any = {"num_iterations": num_iterations - 1, "momentum": momentum}
    return _griffin_lim(jnp.asarray(magnitude), start, operators, **counts)


@functools.partial(jax.jit, static_argnames=("num_iterations", "momentum"))
def _griffin_lim(
    magnitude: Any, start: Any, operators: Operators, *, num_iterations: int, momentum: float
) -> jax.Array:
    def run(magnitude: Any, start: Any) -> jax.Array:
        def step(_: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            estimate, previous = carry
            projected = operators.analyse(operators.synthesise(estimate))
            if momentum == 0:
                return with_magnitude(projected, magnitude), previous
            # (r_i + a (r_i - r_{i-1})) / (1 + a), a = momentum: the factor has no part in the phase
            direction = projected - momentum / (1.0 + momentum) * previous
            return with_magnitude(direction, magnitude), projected

        previous = jnp.zeros_like(start) if momentum else ()
        return operators.synthesise(lax.fori_loop(0, num_iterations, step, (start, previous))[0])

    return each_clip(run, magnitude, start)


@settles
def admm(
    magnitude: Magnitude,
    *,
    analyse: Callable[[Any], Any],
    synthesise: Callable[[Any], Any],
    num_iterations: int = 60,
    rho: float = 0.2,
    phase: Magnitude | None = None,
    key: jax.Array | None = None,
) -> Waveform:
    """Phase retrieval by the alternating direction method of multipliers.

    Minimises ``|z - P z|^2 / 2`` over coefficients with the given magnitudes: the amplitude is
    kept exactly, consistency as well as can be. With penalty rho and scaled multipliers u, from
    ``z = phase_of(start)``, ``u = 0``::

        x = m * phase_of(z - u);  v = x + u;  z = (rho v + P v) / (1 + rho);  u = v - z

    ``rho=1`` is Griffin-Lim, iterate by iterate; ``rho=0`` is Douglas-Rachford splitting with
    consistency as a hard constraint, which does not settle. The default is the best of a few on
    speech at 60 iterations; after hundreds, plain Griffin-Lim may come further on other sounds.

    Args:
        magnitude: m, [..., frames, bins], and all else as in :func:`griffin_lim`.
        analyse: waveform to coefficients.
        synthesise: coefficients to waveform.
        num_iterations: of one synthesis and one analysis each.
        rho: the penalty parameter, 0 or more.
        phase: where to start, in radians.
        key: PRNG key of a random start.

    Returns:
        The waveform [..., time] of the last x.

    Raises:
        ValueError: for a negative rho, fewer than 0 iterations, or an impossible start.

    References:
        Y. Masuyama, K. Yatabe and Y. Oikawa, "Griffin-Lim like phase recovery via alternating
            direction method of multipliers", IEEE Signal Processing Letters 26, 2019.
            https://doi.org/10.1109/LSP.2018.2884026
    """
    check_iterations(num_iterations, rho)
    start = initial_coefficients(magnitude, phase=phase, key=key)
    operators = Operators(as_partial(analyse), as_partial(synthesise))
    return _admm(jnp.asarray(magnitude), start, operators, num_iterations=num_iterations, rho=rho)


@functools.partial(jax.jit, static_argnames=("num_iterations",))
def _admm(
    magnitude: Any, start: Any, operators: Operators, *, num_iterations: int, rho: Any
) -> jax.Array:
    options = {"operators": operators, "num_iterations": num_iterations, "rho": rho}

    def run(magnitude: Any, start: Any) -> jax.Array:
        return splitting(lambda values: with_magnitude(values, magnitude), start, **options)

    return each_clip(run, magnitude, start)


@settles
def difference_map(
    magnitude: Magnitude,
    *,
    analyse: Callable[[Any], Any],
    synthesise: Callable[[Any], Any],
    num_iterations: int = 30,
    beta: float = 1.0,
    phase: Magnitude | None = None,
    key: jax.Array | None = None,
) -> Waveform:
    """Phase retrieval by the difference map between the given magnitudes and consistency.

    With ``A c = m * phase_of(c)``, ``P = analyse(synthesise(.))``, from ``c`` of the start::

        f_P = P c + (P c - c) / beta;  f_A = A c - (A c - c) / beta
        c += beta (A f_P - P f_A)

    and the result is the synthesis of the last ``A f_P``. Unlike Griffin-Lim it leaves local
    minima, and it does not settle where no coefficients fit. ``beta=1`` is
    Douglas-Rachford splitting, :func:`admm` with ``rho=0``, at one synthesis and analysis an
    iteration; any other takes two.

    Args:
        magnitude: m, [..., frames, bins], and all else as in :func:`griffin_lim`.
        analyse: waveform to coefficients.
        synthesise: coefficients to waveform.
        num_iterations: 0 or more; 0 is the synthesis of the start.
        beta: not 0; of either sign, 1 or a little less or more.
        phase: where to start, in radians.
        key: PRNG key of a random start.

    Returns:
        The waveform [..., time].

    Raises:
        ValueError: for beta = 0, fewer than 0 iterations, or an impossible start.

    References:
        V. Elser, "Phase retrieval by iterated projections", J. Opt. Soc. Am. A 20, 2003, equations
            12 and 15. https://doi.org/10.1364/JOSAA.20.000040
        T. Peer, S. Welker and T. Gerkmann, "Beyond Griffin-Lim: improved iterative phase retrieval
            for speech", IWAENC 2022. https://arxiv.org/abs/2205.05496
    """
    check_iterations(num_iterations)
    if beta == 0:
        raise ValueError("beta=0 leaves the start as it is; use 1, or another number but 0")
    start = initial_coefficients(magnitude, phase=phase, key=key)
    operators = Operators(as_partial(analyse), as_partial(synthesise))
    counts: Any = {"num_iterations": num_iterations, "beta": beta}
    return _difference_map(jnp.asarray(magnitude), start, operators, **counts)


@functools.partial(jax.jit, static_argnames=("num_iterations", "beta"))
def _difference_map(
    magnitude: Any, start: Any, operators: Operators, *, num_iterations: int, beta: float
) -> jax.Array:
    def consistent(values: Any) -> Any:
        return operators.analyse(operators.synthesise(values))

    def run(magnitude: Any, start: Any) -> jax.Array:
        def step(_: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            values, _ = carry
            projected = consistent(values)
            fitted = with_magnitude(projected + (projected - values) / beta, magnitude)
            if beta != 1:  # else f_A = c
                own = with_magnitude(values, magnitude)
                projected = consistent(own - (own - values) / beta)
            return values + beta * (fitted - projected), fitted

        return operators.synthesise(lax.fori_loop(0, num_iterations, step, (start, start))[1])

    return each_clip(run, magnitude, start)
