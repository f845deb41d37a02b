"""Phases by sweeps: each frame is a weighted least-squares problem, tridiagonal and in closed form.

In complex numbers, for frame t, with the neighbours' phases ``u = z / |z|`` as they are::

    min_z  sum_k  w[t, k] |z_k - u[t - 1, k] a[t, k]|^2
                + w[t + 1, k] |z_k - u[t + 1, k] conj(a[t + 1, k])|^2
                + coupling v[t, k] |z_k - z_{k - 1} b[t, k]|^2

with steps ``a`` along frames and ``b`` along bins, and their weights w and v: how sure they are
times the magnitudes at both ends. A sweep goes through all frames, forth or back. The first one
knows no frame behind, and the first frame is integrated along its bins.

The system is Hermitian. With ``z_k = g_k y_k``, ``g_k`` the product of the steps b up to k, it is
real, so that real and imaginary part are two right-hand sides of one real tridiagonal matrix:
``lax.linalg.tridiagonal_solve`` in float32 on every device, with its derivatives.

References:
    arXiv 2505.24498, 2025 (a network's phase differences, and phases from a tridiagonal system for
        each frame). https://arxiv.org/abs/2505.24498
        Departure: complex numbers in place of wrapped residuals, which came out 6 dB worse; sweeps
        forth and back; analytic steps are weighted by their curl (:mod:`.curl`).
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.dsp.settling import settles
from isincnet_jax.phase import curl, heap_integration, propagation, retrieval
from isincnet_jax.phase.beliefs import PhaseBeliefs
from isincnet_jax.phase.propagation import normalized, scaled
from isincnet_jax.typing import Array

_QUIETEST = float(np.log(1e-5))  # what is quieter counts as -100 dB
_LEAST_WEIGHT = 1e-20  # of a bin without any step, so that the matrix has an inverse


def weighted_steps(beliefs: PhaseBeliefs, level: Float[Array, "... frames bins"]) -> PhaseBeliefs:
    """Steps with their weights: beliefs times the magnitudes at both ends, at least -100 dB each.

    Args:
        beliefs: complex [..., frames, bins].
        level: natural logarithm of the magnitude, see :func:`.propagation.relative_level`.

    Returns:
        Complex, of the shape of the beliefs, as :func:`swept` and
        :func:`.heap_integration.edge_heap_integration` want them: directions of the steps, moduli
        their weights; 0 in the first frame and the first bin, where no step ends.
    """
    loud = jnp.maximum(jnp.asarray(level), _QUIETEST)
    keep = [(0, 0)] * (loud.ndim - 2)
    # m m' = exp(s + s')
    in_time = jnp.exp(loud[..., 1:, :] + loud[..., :-1, :])
    in_frequency = jnp.exp(loud[..., 1:] + loud[..., :-1])
    return PhaseBeliefs(
        scaled(beliefs.per_frame, jnp.pad(in_time, [*keep, (1, 0), (0, 0)])),
        scaled(beliefs.per_bin, jnp.pad(in_frequency, [*keep, (0, 0), (1, 0)])),
    )


@settles
def swept(
    steps: PhaseBeliefs,
    *,
    coupling: float = 3.0,
    sweeps: int = 2,
    start: Complex[Array, "batch frames bins"] | None = None,
) -> Complex[jax.Array, "batch frames bins"]:
    """Phase directions ``exp(i phase)`` of centred frames by sweeps over all frames.

    The first sweep goes forth, the next one back, and so on. Everything is differentiable.

    Args:
        steps: of :func:`weighted_steps`, complex [batch, frames, bins].
        coupling: weight of steps along bins beside those along frames, 0 or more.
        sweeps: 1 or more; 0 with a start leaves it as it is.
        start: directions to begin with; both neighbours then count from the first sweep on.

    Returns:
        Complex numbers of modulus 1 (0 where no step leads). A STFT whose frames count from their
        first sample has these times ``(-1)^k``.

    Raises:
        ValueError: for a negative coupling, or too few sweeps.
    """
    if coupling < 0 or sweeps < (start is None):
        raise ValueError(
            f"coupling={coupling}, sweeps={sweeps}: use 0 or more, say 3, and 1 or more"
        )
    along_frames = jnp.asarray(steps.per_frame).at[:, 0].set(0)
    linked, gauge = _links(steps, coupling)
    if start is None:
        found = _sweep(jnp.zeros_like(gauge[:, 0]), along_frames, linked, gauge)
    else:
        found = jnp.asarray(start, gauge.dtype)
    for number in range(sweeps - (start is None)):
        # The first one without a start went forth.
        back = (number % 2 == 0) == (start is None)
        found = _between(found, along_frames, linked, gauge, reverse=back)
    return found


@settles
def swept_on(
    before: Complex[Array, "batch bins"], steps: PhaseBeliefs, *, coupling: float = 3.0
) -> Complex[jax.Array, "batch frames bins"]:
    """The first sweep of :func:`swept`, continued: frames that come piece by piece.

    Args:
        before: directions of the frame before the first one here; all 0 if there is none, and the
            first frame is integrated along its bins.
        steps: of :func:`weighted_steps`, complex [batch, frames, bins].
        coupling: weight of steps along bins beside those along frames, 0 or more.

    Returns:
        Phase directions ``exp(i phase)`` of centred frames; the last are the next ``before``.

    Raises:
        ValueError: for a negative coupling.

    Example:
        >>> steps = PhaseBeliefs(*(jnp.full((1, 6, 9), np.exp(1j * d)) for d in (0.3, 0.5)))
        >>> pieces = [jax.tree.map(lambda p: p[:, n : n + 3], steps) for n in (0, 3)]
        >>> none = jnp.zeros((1, 9), jnp.complex64)
        >>> first = swept_on(none, pieces[0])
        >>> found = jnp.concatenate([first, swept_on(first[:, -1], pieces[1])], axis=1)
        >>> bool(jnp.allclose(found, swept(steps, sweeps=1), atol=1e-5))
        True
    """
    if coupling < 0:
        raise ValueError(f"coupling={coupling}: use 0 or more, say 3")
    return _sweep(jnp.asarray(before), jnp.asarray(steps.per_frame), *_links(steps, coupling))


@settles
def swept_phase(
    magnitude: Float[Array, "... frames bins"],
    *,
    n_fft: int,
    hop_length: int,
    gamma: float,
    coupling: float = 10.0,
    sweeps: int = 4,
    sharpness: float = 10.0,
) -> Complex[jax.Array, "... frames bins"]:
    """Phase directions ``exp(i phase)`` of :func:`.fourier.stft` from its magnitude alone.

    The analytic steps of a Gaussian window, weighted by their curl, swept. Batched,
    differentiable, without random numbers; :func:`heap_swept_phase`, on the host, is better on
    speech.

    Args:
        magnitude: [..., frames, 1 + n_fft // 2], not negative; two frames or more.
        n_fft: samples per frame, even.
        hop_length: samples between frames.
        gamma: of the window in samples squared, see :func:`.heap_integration.window_gamma`.
        coupling: see :func:`swept`.
        sweeps: 1 or more.
        sharpness: of :func:`.curl.curl_confidence`.

    Returns:
        [..., frames, bins], of modulus 1.

    Raises:
        ValueError: for bins that are not those of ``n_fft``, an odd ``n_fft``, a single frame, or
            numbers out of range.
        TypeError: for what is not floating.

    Example:
        >>> magnitude = jnp.ones((2, 5, 9), jnp.float32)
        >>> directions = swept_phase(magnitude, n_fft=16, hop_length=4, gamma=60.0)
        >>> directions.shape, bool(jnp.allclose(jnp.abs(directions), 1.0))
        ((2, 5, 9), True)
    """
    steps = analytic_steps(
        magnitude, n_fft=n_fft, hop_length=hop_length, gamma=gamma, sharpness=sharpness
    )
    clips = propagation.as_clips(steps)
    found = jnp.reshape(swept(clips, coupling=coupling, sweeps=sweeps), magnitude.shape)
    return propagation.counted_from_start(found)


def heap_swept_phase(
    magnitude: Float[Array, "... frames bins"],
    *,
    n_fft: int,
    hop_length: int,
    gamma: float,
    coupling: float = 10.0,
    sweeps: int = 8,
    sharpness: float = 10.0,
) -> Complex[np.ndarray, "... frames bins"]:
    """Phase directions ``exp(i phase)`` of :func:`.fourier.stft` from its magnitude, on the host.

    The analytic steps of a Gaussian window along the surest of them
    (:func:`.heap_integration.edge_heap_integration`), then swept. On speech it
    is 4 dB better than :func:`swept_phase`; on music it may be worse.

    Args:
        magnitude: [..., frames, 1 + n_fft // 2], not negative; two frames or more.
        n_fft: samples per frame, even.
        hop_length: samples between frames.
        gamma: of the window in samples squared, see :func:`.heap_integration.window_gamma`.
        coupling: see :func:`swept`.
        sweeps: 0 or more.
        sharpness: of :func:`.curl.curl_confidence`.

    Returns:
        [..., frames, bins], of modulus 1.

    Raises:
        ValueError: see :func:`swept_phase`.
        TypeError: for what is not floating.

    Example:
        >>> magnitude = np.ones((2, 5, 9), np.float32)
        >>> heap_swept_phase(magnitude, n_fft=16, hop_length=4, gamma=60.0).shape
        (2, 5, 9)
    """
    options = {"n_fft": n_fft, "hop_length": hop_length, "gamma": gamma, "sharpness": sharpness}
    steps = _analytic_steps(jnp.asarray(magnitude), **options)
    clips = propagation.as_clips(steps)
    start = heap_integration.edge_heap_integration(clips)
    found = _swept_from(clips, start, coupling=coupling, sweeps=sweeps)
    return np.asarray(found).reshape(magnitude.shape)


@functools.partial(jax.jit, static_argnames=("coupling", "sweeps"))
def _swept_from(steps: PhaseBeliefs, start: Any, *, coupling: float, sweeps: int) -> jax.Array:
    return propagation.counted_from_start(
        swept(steps, coupling=coupling, sweeps=sweeps, start=start)
    )


def analytic_steps(
    magnitude: Float[Array, "... frames bins"],
    *,
    n_fft: int,
    hop_length: int,
    gamma: float,
    sharpness: float = 10.0,
) -> PhaseBeliefs:
    """Weighted steps of a magnitude without any network: Gaussian, as sure as their curl allows.

    Args:
        magnitude: [..., frames, 1 + n_fft // 2], not negative; two frames or more.
        n_fft: samples per frame, even.
        hop_length: samples between frames.
        gamma: of the window in samples squared, see :func:`.heap_integration.window_gamma`.
        sharpness: of :func:`.curl.curl_confidence`.

    Returns:
        Complex [..., frames, bins], see :func:`weighted_steps`.

    Raises:
        ValueError: for bins that are not those of ``n_fft``, an odd ``n_fft``, or a single frame.
        TypeError: for what is not floating.
    """
    propagation.check_bins(magnitude, n_fft=n_fft)
    level = propagation.relative_level(magnitude)
    steps = propagation.gaussian_steps(level, n_fft=n_fft, hop_length=hop_length, gamma=gamma)
    return weighted_steps(curl.believed(steps, sharpness=sharpness), level)


_analytic_steps = jax.jit(
    analytic_steps, static_argnames=("n_fft", "hop_length", "gamma", "sharpness")
)


def _links(steps: PhaseBeliefs, coupling: float) -> tuple[jax.Array, jax.Array]:
    """Weights along the bins, and the gauge of each frame."""
    along_bins = jnp.asarray(steps.per_bin).at[..., 0].set(0)
    return coupling * _modulus(along_bins), _gauge(along_bins)


def _modulus(values: jax.Array) -> jax.Array:
    """|z| with finite gradients at 0, where it is 0."""
    power = jnp.real(values) ** 2 + jnp.imag(values) ** 2
    some = power > 0
    return jnp.where(some, jnp.sqrt(jnp.where(some, power, 1.0)), 0.0)


def _gauge(along_bins: jax.Array) -> jax.Array:
    """Products of the directions of steps up to each bin; one of weight 0 turns nothing."""
    ones = jnp.ones_like(jnp.real(along_bins))
    turns = retrieval.with_magnitude(along_bins, ones)
    turns = jnp.where(turns == 0, jnp.ones_like(turns), turns)
    # Rounding lets the modulus of a long product drift.
    return normalized(jnp.cumprod(turns, axis=-1))


def _solved(
    sources: jax.Array, weight: jax.Array, linked: jax.Array, gauge: jax.Array
) -> jax.Array:
    """Minimiser for a frame, normalised; sources are sums of w u a over the frames beside.

    In the gauge ``z = g y`` its matrix has the diagonal w + v_k + v_{k + 1} and -v_k beside it.
    """
    above = jnp.pad(linked[:, 1:], ((0, 0), (0, 1)))
    diagonal = weight + linked + above + _LEAST_WEIGHT
    right = jnp.conj(gauge) * sources
    found = lax.linalg.tridiagonal_solve(
        -linked, diagonal, -above, jnp.stack([jnp.real(right), jnp.imag(right)], axis=-1)
    )
    return normalized(gauge * lax.complex(found[..., 0], found[..., 1]))


def _sweep(before: jax.Array, steps: jax.Array, linked: jax.Array, gauge: jax.Array) -> jax.Array:
    """Frames, each from the one before alone, or along its bins where there is none."""

    def forward(before: jax.Array, inputs: tuple[jax.Array, ...]) -> tuple:
        step, link, turn = inputs
        begun = jnp.any(before != 0, axis=-1, keepdims=True)
        # The matrix has an inverse where nothing is behind, too; its solution is not used.
        weight = jnp.where(begun, _modulus(step), 1.0)
        found = jnp.where(begun, _solved(before * step, weight, link, turn), turn)
        return found, found

    frames = [jnp.moveaxis(part, 1, 0) for part in (steps, linked, gauge)]
    return jnp.moveaxis(lax.scan(forward, before, tuple(frames))[1], 0, 1)


def _between(
    found: jax.Array, steps: jax.Array, linked: jax.Array, gauge: jax.Array, *, reverse: bool
) -> jax.Array:
    """A sweep in which both frames beside a frame count: one as it was, one as it is by now."""
    zero = jnp.zeros_like(steps[:, :1])
    later = jnp.concatenate([steps[:, 1:], zero], axis=1)
    weight = _modulus(steps) + _modulus(later)
    # From t - 1 by a[t], from t + 1 by conj(a[t + 1]); steps[:, 0] and later[:, -1] are 0.
    after = jnp.conj(later)
    old = jnp.concatenate([found[:, 1:], zero], axis=1) * after
    new = steps
    if reverse:
        old, new = jnp.concatenate([zero, found[:, :-1]], axis=1) * steps, after

    def frame(beside: jax.Array, inputs: tuple[jax.Array, ...]) -> tuple:
        source, step, both, link, turn = inputs
        solved = _solved(source + beside * step, both, link, turn)
        return solved, solved

    frames = [jnp.moveaxis(part, 1, 0) for part in (old, new, weight, linked, gauge)]
    _, swept_frames = lax.scan(frame, zero[:, 0], tuple(frames), reverse=reverse)
    return jnp.moveaxis(swept_frames, 0, 1)
