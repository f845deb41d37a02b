"""Matching of sounds: from an estimate of the parameters to a better one, through the renderer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import checks, fourier
from isincnet_jax.inversynth.synth.parameters import (
    NAMES,
    NUM_PARAMETERS,
    PARAMETERS,
    ParameterValues,
    validate,
)
from isincnet_jax.inversynth.synth.render import SAMPLE_RATE, render
from isincnet_jax.typing import Waveform

PerClip = Float[jax.Array, "..."]

RESOLUTIONS = ((256, 128), (1024, 256), (2048, 512))
"""Samples of a frame and of a hop of the STFTs that :func:`spectral_distance` compares."""

FLOOR = 1e-3
"""-60 dB re the loudest cell of the target: what lies below counts little."""

_MEMORY, _LONG_MEMORY, _TINY = 0.9, 0.99, 1e-8  # of Adam
_SILENCE = 1e-5  # magnitude, where a sine of amplitude 1 has 1: a target below is silent
NUM_STEPS = 60
NUM_SWEEPS = 2

Distance: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]
"""Of a prediction [..., time] from a target [time], to [...]."""

_LOW = np.array([parameter.low for parameter in PARAMETERS])
_HIGH = np.array([parameter.high for parameter in PARAMETERS])
_LEVELS = np.stack([parameter.levels for parameter in PARAMETERS])


def _places(*kinds: str) -> np.ndarray:
    return np.array(
        [place for kind in kinds for place, name in enumerate(NAMES) if name.startswith(kind)]
    )


_DESCENDED = _places("amplitude", "attack", "decay", "sustain", "release", "cutoff", "resonance")
# What gates and filters everything, then what the oscillators play, then the rest.
_SEARCHED = _places(
    *("gate", "cutoff", "release", "carrier", "modulation", "modulator", "amplitude"),
    *("attack", "sustain", "decay", "resonance"),
)


class Refined(NamedTuple):
    """Result of :func:`refine`.

    Attributes:
        values: [..., 23], the best ever seen.
        distance: [...], of their sound from the target, see :func:`spectral_distance`.
        before: [...], that of the values at the start.
    """

    values: Float[jax.Array, "... parameters"]
    distance: PerClip
    before: PerClip


def spectral_distance(*, prediction: Waveform, target: Waveform) -> PerClip:
    """Distance of a sound from another in the magnitudes of its STFTs; 0 if they are equal.

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
    checks.check_floating_waveform(prediction, "prediction")
    checks.check_floating_waveform(target, "target")
    return _distance(prediction, _spectra(target))


def distance_to(
    target: jax.Array, distance: Distance | None = None
) -> Callable[[jax.Array], jax.Array]:
    """Distance of sounds from one target, whose part is computed once.

    Args:
        target: [time].
        distance: as of :func:`refine`.

    Returns:
        A function of sounds [..., time] to [...].
    """
    if distance is not None:
        return lambda sound: distance(sound, target)
    wanted = _spectra(target)
    return lambda sound: _distance(sound, wanted)


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
        # [..., 1, 1]: the floor follows the clip, and is never that of a silent one.
        loudest = jnp.max(target, axis=(-2, -1), keepdims=True)
        floor = FLOOR * jnp.maximum(loudest, _SILENCE)
        logs = jnp.mean(jnp.abs(jnp.log((found + floor) / (target + floor))), axis=(-2, -1))
        # The floor under both roots: the first is 0 at equality with a gradient of 0.
        least = floor[..., 0, 0]
        squares = jnp.sum((found - target) ** 2, axis=(-2, -1))
        # sqrt(s + f^2) - f = s / (sqrt(s + f^2) + f), without cancellation.
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
    distance: Distance | None = None,
) -> Refined:
    """Improves estimates of the parameters of sounds, and keeps the best ever seen of each.

    Descents and sweeps alternate, with a descent first and last. A descent is ``num_steps /
    (num_sweeps + 1)`` steps of Adam on amplitudes, envelope, cut-off and resonance, each scaled to
    0..1 and kept there; all others are held. A sweep goes through all parameters, renders the 16
    levels of each, and takes the best of them if it is better than the value at hand: the distance
    has many minima over carriers, modulators, deviations and the gate.

    Clips do not depend on each other. Compiled once per shape, whatever the numbers of
    steps and sweeps.

    Args:
        values: floating [..., 23], the estimates.
        target: [..., time], the sounds, with the same leading axes.
        num_steps: of the descents together; 0: only sweeps.
        num_sweeps: through the parameters; 0: one descent and no search.
        learning_rate: of the first step of a descent, as a part of a parameter's range; it falls
            to a tenth along a cosine.
        sample_rate: Hz.
        note_off: seconds, see :func:`.render.render`.
        distance: differentiable function of (prediction [..., time], target [time]) to [...];
            None for :func:`spectral_distance`. A function is compiled once: give the same one.

    Returns:
        :class:`Refined`, in the dtype of the values.

    Raises:
        ValueError: for shapes that do not belong together, numbers below 0 or a learning rate that
            is not positive, values out of range (unless they are traced), a target that is not
            finite, and what :func:`.render.render` refuses.

    References:
        D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015,
            algorithm 1. https://arxiv.org/abs/1412.6980
        O. Barkan, S. Shvartzman, N. Uzrad, M. Laufer, A. Elharar and N. Koenigstein,
            "InverSynth II: sound matching via self-supervised synthesizer-proxy and
            inference-time finetuning", ISMIR 2023 (finetuning of each estimate).
    """
    checks.check_floating_waveform(target, "target")
    checks.check_floating(values, "values")
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
    if not isinstance(values, jax.core.Tracer):
        validate(values)
    if not isinstance(target, jax.core.Tracer) and not np.isfinite(np.asarray(target)).all():
        raise ValueError("target: some samples are not finite; there is nothing to come nearer to")
    start = jnp.asarray(values)
    flat = jnp.reshape(start, (-1, NUM_PARAMETERS))
    sounds = jnp.reshape(jnp.asarray(target, start.dtype), (len(flat), target.shape[-1]))
    schedule = _Schedule(
        jnp.asarray(num_steps, jnp.int32),
        jnp.asarray(num_sweeps, jnp.int32),
        jnp.asarray(learning_rate, start.dtype),
    )
    setting = _Setting(float(sample_rate), note_off, distance)
    found = _refine(flat, sounds, schedule, setting)
    lead = start.shape[:-1]
    return Refined(*(jnp.reshape(part, (*lead, *part.shape[1:])) for part in found))


class _Schedule(NamedTuple):
    num_steps: jax.Array
    num_sweeps: jax.Array
    learning_rate: jax.Array


_Best: TypeAlias = tuple[jax.Array, jax.Array]  # values and their distance
_Distance: TypeAlias = Callable[[jax.Array], jax.Array]


class _Setting(NamedTuple):
    """What is compiled in: rate, end of the note, and the distance, None for ours."""

    sample_rate: float
    note_off: float | None
    distance: Distance | None


@functools.partial(jax.jit, static_argnums=3)
def _refine(
    values: jax.Array, target: jax.Array, schedule: _Schedule, setting: _Setting
) -> Refined:
    def one(pair: tuple[jax.Array, jax.Array]) -> Refined:
        to_target = distance_to(pair[1], setting.distance)

        def distance(some: jax.Array) -> jax.Array:
            sound = render(
                some,
                num_samples=target.shape[-1],
                sample_rate=setting.sample_rate,
                note_off=setting.note_off,
            )
            return to_target(sound)

        return _refine_one(pair[0], distance, schedule)

    # On CPUs one clip after the other: its candidates fill the caches.
    return lax.platform_dependent(
        (values, target), cpu=lambda pairs: lax.map(one, pairs), default=jax.vmap(one)
    )


def _refine_one(values: jax.Array, distance: _Distance, schedule: _Schedule) -> Refined:
    num_descents = schedule.num_sweeps + 1
    before = distance(values)

    def descend_again(number: jax.Array, best: _Best) -> _Best:
        best = lax.cond(number > 0, lambda best: _sweep(best, distance), lambda best: best, best)
        done = schedule.num_steps * number // num_descents
        steps = schedule.num_steps * (number + 1) // num_descents - done
        return _descend(best, distance, steps, schedule.learning_rate)

    # Descent, sweep, descent, ..., descent; the steps are shared out evenly, none is lost.
    found, least = lax.fori_loop(0, num_descents, descend_again, (values, before))
    return Refined(found, least, before)


def _sweep(best: _Best, distance: _Distance) -> _Best:
    levels = jnp.asarray(_LEVELS, best[0].dtype)

    def search(best: _Best, place: jax.Array) -> tuple[_Best, None]:
        values, _ = best
        own = jnp.arange(NUM_PARAMETERS) == place
        # [16, 23]: the values at hand with every level of this parameter.
        candidates = jnp.where(own, levels[place][:, None], values)
        distances = distance(candidates)
        chosen = jnp.argmin(distances)
        return _better(best, (candidates[chosen], distances[chosen])), None

    return lax.scan(search, best, jnp.asarray(_SEARCHED))[0]


def _descend(best: _Best, distance: _Distance, steps: jax.Array, learning_rate: jax.Array) -> _Best:
    # Only these are descended: the distance has a useful slope over them, scaled to 0..1.
    held = best[0]
    low, span = (jnp.asarray(table[_DESCENDED], held.dtype) for table in (_LOW, _HIGH - _LOW))

    def values_of(scaled: jax.Array) -> jax.Array:
        return held.at[_DESCENDED].set(low + span * scaled)

    def step(number: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        scaled, mean, square, *best = carry
        found, gradient = jax.value_and_grad(lambda some: distance(values_of(some)))(scaled)
        # m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2
        mean = _MEMORY * mean + (1.0 - _MEMORY) * gradient
        square = _LONG_MEMORY * square + (1.0 - _LONG_MEMORY) * gradient**2
        # Adam, algorithm 1: m / (1 - 0.9^(n + 1)) over sqrt(v / (1 - 0.99^(n + 1))).
        place = number.astype(held.dtype)
        seen, long_seen = (1.0 - decay ** (place + 1.0) for decay in (_MEMORY, _LONG_MEMORY))
        direction = (mean / seen) / (jnp.sqrt(square / long_seen) + _TINY)
        # Along half a cosine from 0.55 + 0.45 = 1 of the rate to 0.55 - 0.45 = 0.1 of it.
        turn = np.pi * place / jnp.maximum(steps, 1).astype(held.dtype)
        rate = learning_rate * (0.55 + 0.45 * jnp.cos(turn))
        best = _better((best[0], best[1]), (values_of(scaled), found))
        return jnp.clip(scaled - rate * direction, 0.0, 1.0), mean, square, *best

    scaled = (held[_DESCENDED] - low) / span
    nothing = jnp.zeros_like(scaled)
    scaled, _, _, *found = lax.fori_loop(0, steps, step, (scaled, nothing, nothing, *best))
    return _better((found[0], found[1]), (values_of(scaled), distance(values_of(scaled))))


def _better(best: _Best, other: _Best) -> _Best:
    better = other[1] < best[1]
    return jnp.where(better, other[0], best[0]), jnp.where(better, other[1], best[1])
