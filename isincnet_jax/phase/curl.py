"""Curl of phase differences: where steps contradict each other, none of them is to be trusted.

Steps around a cell of two frames and two bins have to come back to where they began, but for whole
turns (a zero of the STFT within the cell makes one). What is left over is an error of at least one
of the four, which magnitudes alone show:

    r[t, k] = wrap(dt[t, k - 1] + dk[t, k] - dk[t - 1, k] - dt[t, k])

with steps ``dt`` along frames, the rotation ``2 pi hop k / n_fft`` within, and ``dk`` along bins.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.phase.beliefs import PhaseBeliefs
from isincnet_jax.phase.propagation import Steps, directions, scaled


def curl(steps: Steps) -> Float[jax.Array, "... cells_t cells_k"]:
    """Curl of steps around every cell, in radians, without whole turns.

    Args:
        steps: [..., frames, bins], of two frames and two bins or more.

    Returns:
        [..., frames - 1, bins - 1], from -pi to pi; 0 for the differences of any phase.

    Raises:
        ValueError: for fewer than two frames or bins.

    Example:
        >>> phase = jnp.asarray([[0.0, 1.0, 5.0], [2.0, 2.5, 0.3]])
        >>> one = Steps(jnp.diff(phase, axis=0, prepend=0), jnp.diff(phase, axis=1, prepend=0))
        >>> bool(jnp.allclose(curl(one), 0.0, atol=1e-6))
        True
    """
    per_frame, per_bin = steps
    if min(per_frame.shape[-2:]) < 2:
        frames, bins = per_frame.shape[-2:]
        raise ValueError(f"frames={frames}, bins={bins}: a cell needs 2 of each; give more")
    around = per_frame[..., 1:, :-1] + per_bin[..., 1:, 1:]
    around = around - per_bin[..., :-1, 1:] - per_frame[..., 1:, 1:]
    # wrap(x) = x - 2 pi round(x / 2 pi)
    turn = 2.0 * np.pi
    return around - turn * jnp.round(around / turn)


def curl_confidence(steps: Steps, *, sharpness: float = 10.0) -> Steps:
    """Confidence in steps from the curl of the two cells beside each.

    ``1 / (1 + sharpness (r^2 + r'^2))``; at the ends there is one cell only.

    Args:
        steps: [..., frames, bins], of two frames and two bins or more.
        sharpness: 0 or more; 0 trusts all alike.

    Returns:
        Of each step, in (0, 1], where the steps stand; 1 in the first frame and the first bin
        where there is none.

    Raises:
        ValueError: for a negative sharpness, or fewer than two frames or bins.
    """
    if sharpness < 0:
        raise ValueError(f"sharpness={sharpness} must be 0 or more, say 10")
    squares = curl(steps) ** 2
    keep = [(0, 0)] * (squares.ndim - 2)
    # A step along frames has cells below and above, one along bins before and behind.
    sides = jnp.pad(squares, [*keep, (1, 0), (1, 1)])
    per_frame = sides[..., :-1] + sides[..., 1:]
    sides = jnp.pad(squares, [*keep, (1, 1), (1, 0)])
    per_bin = sides[..., :-1, :] + sides[..., 1:, :]
    return Steps(1.0 / (1.0 + sharpness * per_frame), 1.0 / (1.0 + sharpness * per_bin))


def curl_weighted(beliefs: PhaseBeliefs, *, sharpness: float = 10.0) -> PhaseBeliefs:
    """Beliefs times the confidence that the curl of their directions leaves.

    Args:
        beliefs: complex [..., frames, bins], of two frames and two bins or more.
        sharpness: of :func:`curl_confidence`.

    Returns:
        Complex, of the shape of the beliefs and with their directions.
    """
    steps = Steps(jnp.angle(beliefs.per_frame), jnp.angle(beliefs.per_bin))
    return PhaseBeliefs(*map(scaled, beliefs, curl_confidence(steps, sharpness=sharpness)))


def believed(steps: Steps, *, sharpness: float = 10.0) -> PhaseBeliefs:
    """Steps as beliefs that are as sure as the curl allows, without any network.

    Args:
        steps: [..., frames, bins], such as :func:`.propagation.gaussian_steps`.
        sharpness: of :func:`curl_confidence`.

    Returns:
        Complex [..., frames, bins]: directions of the steps, moduli in (0, 1].
    """
    sure = curl_confidence(steps, sharpness=sharpness)
    return PhaseBeliefs(*map(scaled, map(directions, steps), sure))
