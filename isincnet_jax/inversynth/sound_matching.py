"""Match of a sound: draw many settings, hear them all, refine the nearest, keep the best."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import checks
from isincnet_jax.inversynth import drawing, matching
from isincnet_jax.inversynth.matching import Distance
from isincnet_jax.inversynth.networks import TrainedInverSynth
from isincnet_jax.inversynth.synth.parameters import NUM_LEVELS, PARAMETERS, values_from_levels
from isincnet_jax.inversynth.synth.render import render
from isincnet_jax.typing import Waveform

_GROUP = 8  # sounds that are rendered and heard at once: they stay in the cache
_APART_LEVELS, _APART_PARAMETERS = 2.0, 3
_LOW = np.array([parameter.low for parameter in PARAMETERS])
_SPAN = np.array([parameter.high - parameter.low for parameter in PARAMETERS])


class Match(NamedTuple):
    """Match of a sound.

    Attributes:
        values: float32 [solutions, 23], the nearest first.
        distance: float32 [solutions], of their sounds from the target.
        estimate_distance: that of the likeliest level of each parameter.
        drawn_distance: that of the best draw, the estimate among them.
        beliefs: what the network believes of each parameter, by name.
    """

    values: Float[np.ndarray, "solutions parameters"]
    distance: Float[np.ndarray, " solutions"]
    estimate_distance: float
    drawn_distance: float
    beliefs: dict[str, drawing.Belief]


def match_sound(
    waveform: Waveform,
    estimator: TrainedInverSynth,
    *,
    num_draws: int = 64,
    temperature: float = 1.0,
    num_refined: int = 2,
    num_steps: int = 0,
    num_sweeps: int = matching.NUM_SWEEPS,
    num_solutions: int = 1,
    distance: Distance | None = None,
    seed: int = 0,
) -> Match:
    """Settings of the synthesizer whose sound is nearest to a sound.

    The likeliest level of each parameter and ``num_draws`` draws are rendered and compared with the
    sound; the best ``num_refined`` of them are refined (:func:`.matching.refine`). With 0 draws and
    0 steps this is the plain estimate.

    Args:
        waveform: [16384], floating: one second at 16,384 Hz.
        estimator: of :func:`isincnet_jax.from_pretrained`, "16khz-inversynth" say.
        num_draws: settings drawn besides the likeliest one, 0 or more.
        temperature: of the draws, positive.
        num_refined: candidates that are refined, 1 or more; ``num_solutions`` if that is more.
        num_steps: gradient steps for each of these; 0 refines nothing.
        num_sweeps: searches through all levels, between the steps.
        num_solutions: solutions to return: they differ by more than 2 levels in 3 parameters or
            more. There may be fewer.
        distance: of (prediction [..., time], target [time]) to [...], differentiable; None for
            :func:`.matching.spectral_distance`.
        seed: of the draws.

    Returns:
        The solutions, and how they were come by.

    Raises:
        TypeError: for a sound that is not floating.
        ValueError: for another length, samples that are not finite, a silent sound, and numbers out
            of range.

    Example:
        >>> from isincnet_jax import from_pretrained
        >>> sound = render(values_from_levels(np.full(23, 7, np.int32)))
        >>> found = match_sound(sound, from_pretrained("16khz-inversynth"), num_draws=15)
        >>> found.values.shape, bool(found.distance[0] <= found.estimate_distance)
        ((1, 23), True)
    """
    checks.check_positive_integers(num_refined=num_refined, num_solutions=num_solutions)
    checks.check_floating_waveform(waveform)
    if waveform.ndim != 1:
        raise ValueError(f"waveform: shape {list(waveform.shape)}; give one sound, [time]")
    target = jnp.asarray(waveform, jnp.float32)
    if not np.isfinite(np.asarray(target)).all() or not np.any(np.asarray(target)):
        raise ValueError("waveform: silent, or with samples that are not finite")
    scores = estimator.scores(target)
    drawn = drawing.draw_levels(jax.random.key(seed), scores, num_draws, temperature=temperature)
    levels = jnp.concatenate([jnp.argmax(scores, axis=-1)[None].astype(jnp.int32), drawn])
    candidates = values_from_levels(levels)
    distances = np.asarray(_heard(candidates, target, distance))
    order = np.argsort(distances, kind="stable")
    values, found = np.asarray(candidates)[order], distances[order]
    if num_steps:
        chosen = _apart(values, max(num_refined, num_solutions), fill=True)
        sounds = jnp.broadcast_to(target, (len(chosen), len(target)))
        refined = matching.refine(
            values[chosen], sounds, num_steps=num_steps, num_sweeps=num_sweeps, distance=distance
        )
        after = np.asarray(refined.distance)
        best = np.argsort(after, kind="stable")
        values, found = np.asarray(refined.values)[best], after[best]
    kept = _apart(values, num_solutions)
    return Match(
        values[kept],
        found[kept],
        float(distances[0]),
        float(distances.min()),
        drawing.beliefs(scores),
    )


@functools.partial(jax.jit, static_argnums=2)
def _heard(values: jax.Array, target: jax.Array, distance: Distance | None) -> jax.Array:
    """Distance of the sound of each setting, [candidates]; no more than a group is held."""
    to_target = matching.distance_to(target, distance)

    def one(some: jax.Array) -> jax.Array:
        return to_target(render(some, num_samples=target.shape[-1]))

    count = len(values)
    padded = jnp.pad(values, ((0, -count % _GROUP), (0, 0)), mode="edge")
    groups = jnp.reshape(padded, (-1, _GROUP, values.shape[-1]))
    return jnp.reshape(lax.map(one, groups), -1)[:count]


def _apart(values: np.ndarray, count: int, *, fill: bool = False) -> list[int]:
    """Rows, the first ones first, that differ from all before; with ``fill`` others to the count.

    They differ where three parameters do by more than two levels.
    """
    scaled = (values - _LOW) / _SPAN * (NUM_LEVELS - 1)
    chosen: list[int] = []
    for row in range(len(values)):
        differences = np.abs(scaled[row] - scaled[chosen]) > _APART_LEVELS
        if np.all(differences.sum(axis=-1) >= _APART_PARAMETERS):
            chosen.append(row)
        if len(chosen) == count:
            return chosen
    others = [row for row in range(len(values)) if row not in chosen] if fill else []
    return (chosen + others)[:count]
