"""Synthesizer of InverSynth: 23 parameters in, a waveform out."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.inversynth.synth import oscillators
from isincnet_jax.inversynth.synth.clock import Clock, make_clock, modulated_phase
from isincnet_jax.inversynth.synth.envelope import adsr
from isincnet_jax.inversynth.synth.gate import gate
from isincnet_jax.inversynth.synth.lowpass import lowpass_circular, lowpass_fft_length
from isincnet_jax.inversynth.synth.parameters import (
    NAMES,
    NUM_PARAMETERS,
    PARAMETERS,
    WAVEFORMS,
    ParameterValues,
    validate,
)
from isincnet_jax.inversynth.synth.timing import check_timing, resolve_note_off

SAMPLE_RATE = 16_384.0
NUM_SAMPLES = 16_384
_GROUP = 8
_HIGHEST_CUTOFF = PARAMETERS[NAMES.index("cutoff")].high
_SHAPES = tuple(getattr(oscillators, name) for name in WAVEFORMS)


def render(
    values: ParameterValues,
    *,
    num_samples: int = NUM_SAMPLES,
    sample_rate: float = SAMPLE_RATE,
    note_off: float | None = None,
) -> Float[jax.Array, "... time"]:
    """Renders sounds: ``y = gate . low-pass . envelope . sum_w A_w x_w(phi_w)``.

    ``phi_w(t) = f_w t + B_w / (2 pi v_w) (1 - cos 2 pi v_w t)`` cycles, for a sine, a saw, a
    triangle and a square. A pure function for jit, vmap and grad. Levels are as the formula has
    them: the four amplitudes may add up to 4, a resonance of 10 may give more.

    Derivatives are finite everywhere. With respect to amplitudes, envelope, cut-off and resonance
    they are those of the formula (one-sided at corners of the envelope); with respect to carriers,
    modulators and deviations they are those of the sine and the triangle, those of the saw lack
    its jumps, those of the square and of the gate are 0.

    On CPUs large batches are rendered in groups of 8, which stay in the cache: give them whole, as
    a leading axis, for under vmap all sounds are rendered at once.

    Args:
        values: floating [..., 23], see :data:`.parameters.PARAMETERS`.
        num_samples: length.
        sample_rate: Hz, at least 8,000: twice the highest cut-off.
        note_off: seconds, when the release begins; by default after half of the clip, which is
            0.5 s of 1 s. The other parameters do not depend on the length.

    Returns:
        [..., num_samples], in the dtype of the values, beginning at time 0 with level 0.

    Raises:
        ValueError: for another last axis, a length, rate or note-off out of range, and, unless
            they are traced, for parameters out of range.

    References:
        O. Barkan, D. Tsiris, N. Koenigstein, O. Katz, "InverSynth: Deep Estimation of Synthesizer
            Parameter Configurations from Audio Signals", IEEE/ACM TASLP 27(12), 2019, section III.
            https://arxiv.org/abs/1812.06349

    Departure:
        The paper leaves the end of the note, the curve of the envelope and the equation of the
        filter open; here: half of the clip, straight lines, and the "cookbook" biquad.
    """
    check_clip(num_samples=num_samples, sample_rate=sample_rate)
    note_off = resolve_note_off(note_off, num_samples=num_samples, sample_rate=sample_rate)
    if not isinstance(values, jax.core.Tracer):
        values = validate(values)
    elif values.ndim < 1 or values.shape[-1] != NUM_PARAMETERS:
        raise ValueError(f"values: shape {list(values.shape)}; the last axis is {NUM_PARAMETERS}")
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float32)
    return _render_batch(values, int(num_samples), float(sample_rate), note_off)


def check_clip(*, num_samples: int, sample_rate: float) -> None:
    """Refuses lengths and rates at which nothing is rendered.

    Args:
        num_samples: of the clip.
        sample_rate: Hz.

    Raises:
        ValueError: as :func:`.timing.check_timing`, and for a rate below twice the highest cut-off.
    """
    check_timing(num_samples=num_samples, sample_rate=sample_rate)
    if sample_rate < 2.0 * _HIGHEST_CUTOFF:
        raise ValueError(
            f"sample_rate={sample_rate} is below {2 * _HIGHEST_CUTOFF:g} Hz, twice the highest "
            "cut-off; render at 8000 Hz or more and resample"
        )


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _render_batch(
    values: jax.Array, num_samples: int, sample_rate: float, note_off: float
) -> jax.Array:
    """:func:`render` of checked arguments; compiled as a whole where the caller does not."""
    clock = make_clock(num_samples, sample_rate)

    def at_once(some: jax.Array) -> jax.Array:
        return _render(some, clock=clock, sample_rate=sample_rate, note_off=note_off)

    count = math.prod(values.shape[:-1])
    if count <= _GROUP:
        return at_once(values)
    flat = jnp.reshape(values, (count, NUM_PARAMETERS))
    sounds = lax.platform_dependent(
        flat, cpu=lambda rows: _in_groups(at_once, rows), default=at_once
    )
    return jnp.reshape(sounds, (*values.shape[:-1], num_samples))


@functools.partial(jax.jit, static_argnums=(2, 3))
def render_notes_of(
    values: jax.Array, note_off: jax.Array, num_samples: int, sample_rate: float
) -> jax.Array:
    """Sounds that end each at a time of its own, unchecked.

    For :mod:`isincnet_jax.inversynth.notes`.

    Args:
        values: [notes, 23]; carriers may lie outside of their range.
        note_off: [notes], seconds.
        num_samples: length of all.
        sample_rate: Hz.

    Returns:
        [notes, num_samples].
    """
    clock = make_clock(num_samples, sample_rate)

    def one(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        return _render(pair[0], clock=clock, sample_rate=sample_rate, note_off=pair[1])

    return lax.map(one, (values, note_off))


def _in_groups(function: Callable[[jax.Array], jax.Array], rows: jax.Array) -> jax.Array:
    count = rows.shape[0]
    # Whole groups of 8 one after the other, and what is left of them at the end.
    whole = count - count % _GROUP
    groups = jnp.reshape(rows[:whole], (-1, _GROUP, NUM_PARAMETERS))
    sounds = lax.map(function, groups).reshape(whole, -1)
    if whole == count:
        return sounds
    return jnp.concatenate([sounds, function(rows[whole:])])


def _render(
    values: jax.Array, *, clock: Clock, sample_rate: float, note_off: float | jax.Array
) -> jax.Array:
    # [..., 4] each, sine, saw, triangle, square; the other seven are [...].
    carriers, modulators, amplitudes, deviations = (
        values[..., first : first + 4] for first in (0, 4, 8, 12)
    )
    attack, decay, sustain, release, cutoff, resonance, gate_frequency = (
        values[..., index] for index in range(16, NUM_PARAMETERS)
    )
    # The phases phi_w(t) are [..., 4, rows, 128].
    phases = modulated_phase(carriers, modulators, deviations, clock)
    # sum_w A_w x_w(phi_w), [..., rows, 128]
    mixed = sum(
        amplitudes[..., index, None, None] * shape(phases[..., index, :, :])
        for index, shape in enumerate(_SHAPES)
    )
    level = adsr(attack, decay, sustain, release, times_s=clock.times_s, note_off=note_off)
    # Rows and columns to the end: XLA's loops over [rows, 128] are several times faster than over
    # what was reshaped within them. A last row that passes the end changes nothing before it.
    filtered = _lowpass_rows(mixed * level, cutoff, resonance, sample_rate)
    return clock.flat(filtered * gate(gate_frequency, clock))


def _lowpass_rows(
    grid: jax.Array, cutoff: jax.Array, resonance: jax.Array, sample_rate: float
) -> jax.Array:
    """The low-pass of clips as [..., rows, 128]."""
    *batch, rows, width = grid.shape
    # Whole rows of zeros behind the clip, so that no row is cut.
    n_fft = lowpass_fft_length(rows * width, sample_rate, multiple_of=width)
    more = n_fft // width - rows
    padded = jnp.pad(grid, [(0, 0)] * len(batch) + [(0, more), (0, 0)])
    flat = jnp.reshape(padded, (*batch, n_fft))
    filtered = lowpass_circular(flat, cutoff, resonance, sample_rate=sample_rate)
    return jnp.reshape(filtered, (*batch, rows + more, width))[..., :rows, :]
