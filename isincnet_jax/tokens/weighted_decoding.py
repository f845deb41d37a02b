"""Precision-weighted decoding: coefficients of unequal accuracy, in one linear least squares.

A companded code knows small coefficients far better than large ones, by a factor of ``1 + mu``
within a channel, and quiet channels better than loud ones. The linear decoder of a bank gives
all of them the weight that a constant noise would ask for. The decoder here minimises

    sum over t and c of ``p[t, c] (s[t, c] - (A x)[t, c])^2``

over waveforms x, with the precision p of every coefficient, by preconditioned conjugate
gradients. The linear decoder B (B A = 1) is where they start, and ``B diag(1 / p) B^T``, which
would be the inverse of ``A^T diag(p) A`` if p were constant, is their preconditioner. All of it
is linear algebra in JAX, so learned targets and precisions can be trained through it.

References:
    V. Goyal, M. Vetterli and N. Thao, "Quantized overcomplete expansions in R^N: analysis,
        synthesis, and algorithms", IEEE Trans. Information Theory 44, 1998 (what a linear
        decoder leaves on the table).
    J. Shewchuk, "An introduction to the conjugate gradient method without the agonizing pain",
        1994, appendix B3 (preconditioned conjugate gradients).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.edges import edge_plan
from isincnet_jax.bank.solve import design_decoder
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.bank.synthesis import apply_synthesis
from isincnet_jax.dsp import companding
from isincnet_jax.typing import Codes

Linear = Callable[[jax.Array], jax.Array]

_SOLVED = 1e-18
"""Weighted squared error at which a clip counts as solved: below it float32 gradients overflow."""


class Operators(NamedTuple):
    """A bank as linear maps between waveforms and spectrograms of one shape.

    Attributes:
        analysis: A, [..., length] to [..., frames, channels].
        analysis_adjoint: its transpose.
        synthesis: B, [..., frames, channels] to [..., length].
        synthesis_adjoint: its transpose.
    """

    analysis: Linear
    analysis_adjoint: Linear
    synthesis: Linear
    synthesis_adjoint: Linear


def _linear_operators(
    analysis: Linear, synthesis: Linear, *, shape: tuple[int, ...], dtype: Any
) -> Operators:
    """Adds the transposes of a linear analysis and synthesis.

    Args:
        analysis: linear map of waveforms.
        synthesis: linear map back.
        shape: of the waveforms, [..., length].
        dtype: of the waveforms.
    """
    waveform = jax.ShapeDtypeStruct(shape, dtype)
    spectrogram = jax.eval_shape(analysis, waveform)
    analysis_adjoint = jax.linear_transpose(analysis, waveform)
    synthesis_adjoint = jax.linear_transpose(synthesis, spectrogram)
    return Operators(
        analysis,
        lambda cotangent: analysis_adjoint(cotangent)[0],
        synthesis,
        lambda cotangent: synthesis_adjoint(cotangent)[0],
    )


def bank_operators(
    filters: Float[jax.Array, "..."],
    weights: Float[jax.Array, "..."],
    *,
    spec: FilterbankSpec,
    decoder: DecoderSpec,
    shape: tuple[int, ...],
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Operators:
    """The operators of a bank and its solved decoder for clips of one shape.

    Args:
        filters: of :meth:`.designed.Bank.analyse`.
        weights: of :func:`.synthesis.apply_synthesis`, solved from ``decoder``.
        spec: the bank.
        decoder: how its inverse was found.
        shape: of the waveforms, [..., length].
        precision: of the products on accelerators.

    Returns:
        Analysis, synthesis and their transposes, jittable and differentiable.
    """
    # B is the decoder as it is used, solved edges of reflected clips included.
    solved = design_decoder(spec, decoder)
    noise = solved.assumed_noise(decoder)
    edges = edge_plan(spec.bank, solved, shape[-1], noise_variance=noise)

    def analysis(waveform: jax.Array) -> jax.Array:
        return jnp.asarray(spec.bank.analyse(waveform, filters, precision=precision))

    def synthesis(spectrogram: jax.Array) -> jax.Array:
        waveform = apply_synthesis(
            spectrogram,
            weights,
            bank=spec.bank,
            solved=solved,
            length=shape[-1],
            edges=edges,
            precision=precision,
        )
        return jnp.asarray(waveform)

    return _linear_operators(analysis, synthesis, shape=shape, dtype=filters.dtype)


def _ratio(above: jax.Array, below: jax.Array) -> jax.Array:
    """above / below, and 0 with a gradient of 0 where nothing is left to divide by."""
    some = below > _SOLVED
    return jnp.where(some, above / jnp.where(some, below, 1.0), 0.0)


def weighted_least_squares(
    target: Float[jax.Array, "... frames channels"],
    precision: Float[jax.Array, "... frames channels"],
    *,
    operators: Operators,
    num_iterations: int,
    start: Float[jax.Array, "... time"] | None = None,
    preconditioner: Float[jax.Array, "... frames channels"] | None = None,
) -> Float[jax.Array, "... time"]:
    """Waveform whose coefficients come nearest to a target, by precision-weighted squares.

    Every clip has its own conjugate gradients; all leading axes are clips. A clip that is
    solved stays as it is: its weighted squared error is at most 1e-18, so that coefficients
    should come in units in which they and their precisions are not minute.

    Args:
        target: coefficients aimed at, [..., frames, channels].
        precision: inverse variance of each of them, positive, any common factor; same shape.
        operators: of the bank.
        num_iterations: each costs two analyses and two syntheses, transposed or not.
        start: where to begin, [..., length]; the linear decoder's waveform if None. What the
            bank cannot see of it is kept.
        preconditioner: positive coefficients q of the preconditioner ``B diag(1 / q) B^T``; the
            precision if None. They steer how fast the solution is reached, not what it is.

    Returns:
        [..., length].
    """
    # Normal equations A^T P A x = A^T P s by conjugate gradients, preconditioned by B Q^-1 B^T.
    analysis, analysis_adjoint, synthesis, synthesis_adjoint = operators
    first = synthesis(target) if start is None else start
    if num_iterations < 1:
        return first
    # r0 = A^T P (s - A x0); spread is the diagonal of Q^-1.
    residual = analysis_adjoint(precision * (target - analysis(first)))
    spread = 1.0 / (precision if preconditioner is None else preconditioner)

    def iterate(state: tuple[jax.Array, ...], _: None) -> tuple[tuple[jax.Array, ...], None]:
        # r = A^T P (s - A x), z = B Q^-1 B^T r, d <- z + (r.z / r'.z') d,
        # x <- x + a d, r <- r - a A^T P A d with a = r.z / (d . A^T P A d): Shewchuk, appendix B3.
        # The first direction is 0, so that the first step goes along z.
        waveform, residual, direction, power = state
        descent = synthesis(spread * synthesis_adjoint(residual))
        new_power = jnp.sum(residual * descent, axis=-1, keepdims=True)
        direction = descent + _ratio(new_power, power) * direction
        image = analysis_adjoint(precision * analysis(direction))
        curvature = jnp.sum(direction * image, axis=-1, keepdims=True)
        step = _ratio(new_power, curvature)
        return (waveform + step * direction, residual - step * image, direction, new_power), None

    state = (first, residual, jnp.zeros_like(first), jnp.zeros_like(first[..., :1]))
    return lax.scan(iterate, state, None, length=num_iterations)[0][0]


class Cells(NamedTuple):
    """Quantisation cells: where the coefficients behind codes can lie.

    Attributes:
        center: middle of the cell, [..., frames, channels].
        half_width: half its width, positive.
    """

    center: jax.Array
    half_width: jax.Array


def code_cells(codes: Codes, scales: Float[jax.Array, "..."], *, q_bits: int, mu: float) -> Cells:
    """The cells of symmetric mu-law codes, cut at plus and minus the scale.

    Args:
        codes: of :func:`.companding.encode_symmetric`, [..., frames, channels].
        scales: largest magnitude of each channel; broadcasts against the codes.
        q_bits: bits per code.
        mu: of the companding.

    Returns:
        Cells in the units of the scales; at the ends they are half as wide.
    """
    half = 2 ** (q_bits - 1) - 1
    # Level l of the code; its cell is [l - 1/2, l + 1/2] / half of the companded value.
    level = (codes - half).astype(scales.dtype)

    def bound(shift: float) -> jax.Array:
        companded = jnp.clip((level + shift) / half, -1.0, 1.0)
        # Half a level to either side of the code, expanded.
        return jnp.asarray(companding.mu_law_inverse(companded, mu=mu)) * scales

    lower, upper = bound(-0.5), bound(0.5)
    return Cells((lower + upper) / 2, (upper - lower) / 2)
