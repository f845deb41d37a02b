"""From an estimate of the parameters to a better one: search and descent through the renderer."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import fourier
from isincnet_jax.synth.parameters import NAMES, NUM_PARAMETERS, PARAMETERS, ParameterValues
from isincnet_jax.synth.render import SAMPLE_RATE, render
from isincnet_jax.typing import Waveform

PerClip = Float[jax.Array, "..."]

RESOLUTIONS = ((256, 128), (1024, 256), (2048, 512))
"""Samples of a frame and of a hop of the STFTs that :func:`spectral_distance` compares."""

FLOOR = 1e-3
"""-60 dB re the loudest cell of the target: what lies below counts little."""

_SILENCE = 1e-5  # magnitude, where a sine of amplitude 1 has 1: a target below is silent
NUM_STEPS = 60
NUM_SWEEPS = 2

_DESCENDED = ("amplitude", "attack", "decay", "sustain", "release", "cutoff", "resonance")
# Large effects first: what gates and filters everything, then what each oscillator plays.
_SEARCHED = ("gate", "cutoff", "release", "carrier", "modulation", "modulator", "amplitude")
_SEARCHED_LAST = ("attack", "sustain", "decay", "resonance")

_LOW = np.array([parameter.low for parameter in PARAMETERS])
_HIGH = np.array([parameter.high for parameter in PARAMETERS])
_LEVELS = np.stack([parameter.levels for parameter in PARAMETERS])


def _places(kinds: tuple[str, ...]) -> list[int]:
    return [place for kind in kinds for place, name in enumerate(NAMES) if name.startswith(kind)]


class Refined(NamedTuple):
    """What :func:`refine` found.

    Attributes:
        values: [..., 23], the best ever seen.
        distance: [...], of their sound from the target, see :func:`spectral_distance`.
        before: [...], that of the values at the start.
    """

    values: Float[jax.Array, "... parameters"]
    distance: PerClip
    before: PerClip


def spectral_distance(*, prediction: Waveform, target: Waveform) -> PerClip:
    """How far a sound is from another in the magnitudes of its STFTs; 0 if they are equal.

    The mean over three STFTs (Hann, frames of 256, 1024 and 2048 samples) of the sum of

    - spectral convergence, ``||P - T|| / ||T||``, and
    - the mean of ``|ln((P + floor) / (T + floor))|`` over all cells, where the floor is 60 dB below
      the loudest cell of the target.

    Levels count: twice the level is another sound. Scaling both sounds changes nothing. Phases
    do not count.

    Args:
        prediction: [..., time], floating.
        target: [..., time].

    Returns:
        [...]; gradients are finite on silence.

    References:
        R. Yamamoto, E. Song and J.-M. Kim, "Parallel WaveGAN", ICASSP 2020, section 2.2 (spectral
            convergence, log magnitude, several resolutions). https://arxiv.org/abs/1910.11480

    Departure:
        The floor, which follows the target: half of a gated sound is silence, and logarithms of
        its rounding errors would be most of the distance.
    """
    return _distance(prediction, _spectra(target))


def _spectra(waveform: Waveform) -> tuple[jax.Array, ...]:
    """Magnitudes [..., frames, bins] of each resolution."""
    return tuple(
        fourier.stft_power(
            waveform * (2.0 / float(fourier.stft_window("hann", n_fft, n_fft).sum())),
            n_fft=n_fft,
            hop_length=hop_length,
            pad_mode="constant",
            power=1.0,
        )
        for n_fft, hop_length in RESOLUTIONS
    )


def _distance(prediction: Waveform, wanted: tuple[jax.Array, ...]) -> PerClip:
    total = jnp.zeros((), prediction.dtype)
    for found, target in zip(_spectra(prediction), wanted, strict=True):
        loudest = jnp.max(target, axis=(-2, -1), keepdims=True)
        floor = FLOOR * jnp.maximum(loudest, _SILENCE)
        logs = jnp.mean(jnp.abs(jnp.log((found + floor) / (target + floor))), axis=(-2, -1))
        # The floor under both roots: the first is 0 at equality with a gradient of 0.
        least = floor[..., 0, 0]
        squares = jnp.sum((found - target) ** 2, axis=(-2, -1))
        error = squares / (jnp.sqrt(squares + least**2) + least)
        total += logs + error / jnp.sqrt(jnp.sum(target**2, axis=(-2, -1)) + least**2)
    return total / len(RESOLUTIONS)


def refine(
    values: ParameterValues,
    target: Waveform,
    *,
    num_steps: int = NUM_STEPS,
    num_sweeps: int = NUM_SWEEPS,
    learning_rate: float = 0.03,
    sample_rate: float = SAMPLE_RATE,
    note_off: float | None = None,
) -> Refined:
    """Improves estimates of the parameters of sounds, and keeps the best ever seen of each.

    Sweeps and descents alternate. A sweep goes through the parameters, renders all 16 levels of
    each, and takes the best of them if it is better than the value at hand: the distance has many
    minima over carriers, modulators, deviations and the gate. A descent is ``num_steps /
    num_sweeps`` steps of Adam on amplitudes, envelope, cut-off and resonance, each scaled to 0..1
    and kept there; all others are held.

    Clips do not depend on each other. Compiled once per shape and setting.

    Args:
        values: floating [..., 23], the estimates.
        target: [..., time], the sounds, with the same leading axes.
        num_steps: of the descents together; 0: only sweeps.
        num_sweeps: through the parameters; 0: one descent only.
        learning_rate: of the first step of a descent, as a part of a parameter's range; it falls
            to a tenth along a cosine.
        sample_rate: Hz.
        note_off: seconds, see :func:`.render.render`.

    Returns:
        :class:`Refined`, in the dtype of the values.

    Raises:
        ValueError: for shapes that do not belong together, numbers below 0 or a learning rate that
            is not positive, and what :func:`.render.render` refuses.
    """
    if values.ndim < 1 or values.shape[-1] != NUM_PARAMETERS:
        raise ValueError(f"values: shape {list(values.shape)}; the last axis is {NUM_PARAMETERS}")
    if target.shape[:-1] != values.shape[:-1]:
        raise ValueError(
            f"values {list(values.shape)}, target {list(target.shape)}: a sound for each estimate "
            "is wanted, with the same leading axes"
        )
    if num_steps < 0 or num_sweeps < 0:
        raise ValueError(f"num_steps={num_steps}, num_sweeps={num_sweeps}: use 0 or more")
    if not learning_rate > 0:
        raise ValueError(f"learning_rate={learning_rate} must be positive")
    start = jnp.asarray(values)
    plan = _Plan(
        int(num_steps), int(num_sweeps), float(learning_rate), float(sample_rate), note_off
    )
    flat = jnp.reshape(start, (-1, NUM_PARAMETERS))
    sounds = jnp.reshape(jnp.asarray(target, start.dtype), (len(flat), -1))
    found = _refine(flat, sounds, plan)
    lead = start.shape[:-1]
    return Refined(*(jnp.reshape(part, (*lead, *part.shape[1:])) for part in found))


class _Plan(NamedTuple):
    num_steps: int
    num_sweeps: int
    learning_rate: float
    sample_rate: float
    note_off: float | None


@functools.partial(jax.jit, static_argnames="plan")
def _refine(values: jax.Array, target: jax.Array, plan: _Plan) -> Refined:
    def one(pair: tuple[jax.Array, jax.Array]) -> Refined:
        return _refine_one(*pair, plan)

    # On CPUs one clip after the other: its candidates fill the caches.
    return lax.platform_dependent(
        (values, target), cpu=lambda pairs: lax.map(one, pairs), default=jax.vmap(one)
    )


def _refine_one(values: jax.Array, target: jax.Array, plan: _Plan) -> Refined:
    """[23] and [time]."""
    wanted = _spectra(target)

    def distance(some: jax.Array) -> jax.Array:
        sound = render(
            some,
            num_samples=target.shape[-1],
            sample_rate=plan.sample_rate,
            note_off=plan.note_off,
        )
        return _distance(sound, wanted)

    before = distance(values)
    best = (values, before)
    descents = plan.num_sweeps + 1
    for number in range(descents):
        if number:
            best = _sweep(best, distance)
        steps = plan.num_steps * (number + 1) // descents - plan.num_steps * number // descents
        if steps:
            best = _descend(best, distance, steps, plan.learning_rate)
    return Refined(*best, before)


_Best = tuple[jax.Array, jax.Array]


def _sweep(best: _Best, distance: functools.partial) -> _Best:
    order = np.array(_places((*_SEARCHED, *_SEARCHED_LAST)))
    levels = jnp.asarray(_LEVELS, best[0].dtype)

    def search(best: _Best, place: jax.Array) -> tuple[_Best, None]:
        values, least = best
        column = jnp.arange(NUM_PARAMETERS) == place
        candidates = jnp.where(column, levels[place][:, None], values)
        distances = distance(candidates)
        chosen = jnp.argmin(distances)
        better = distances[chosen] < least
        return (
            jnp.where(better, candidates[chosen], values),
            jnp.where(better, distances[chosen], least),
        ), None

    return lax.scan(search, best, order)[0]


def _descend(best: _Best, distance, steps: int, learning_rate: float) -> _Best:
    dtype = best[0].dtype
    low, span = jnp.asarray(_LOW, dtype), jnp.asarray(_HIGH - _LOW, dtype)
    free = np.array(_places(_DESCENDED))
    held = best[0]
    optimizer = optax.adam(
        optax.cosine_decay_schedule(learning_rate, steps, alpha=0.1), b1=0.9, b2=0.99
    )

    def values_of(scaled: jax.Array) -> jax.Array:
        return held.at[free].set(low[free] + span[free] * scaled)

    def step(carry, _):
        scaled, state, best = carry
        distance_of, gradient = jax.value_and_grad(lambda some: distance(values_of(some)))(scaled)
        best = _better(best, (values_of(scaled), distance_of))
        updates, state = optimizer.update(gradient, state)
        return (jnp.clip(scaled + updates, 0.0, 1.0), state, best), None

    scaled = (held[free] - low[free]) / span[free]
    carry, _ = lax.scan(step, (scaled, optimizer.init(scaled), best), length=steps)
    scaled, _, best = carry
    return _better(best, (values_of(scaled), distance(values_of(scaled))))


def _better(best: _Best, other: _Best) -> _Best:
    better = other[1] < best[1]
    return jnp.where(better, other[0], best[0]), jnp.where(better, other[1], best[1])
