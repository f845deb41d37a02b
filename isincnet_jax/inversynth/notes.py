"""Notes of the synthesizer: its sounds at other pitches, for other lengths, one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax import extras
from isincnet_jax.inversynth.synth.parameters import (
    NAMES,
    PARAMETERS,
    WAVEFORMS,
    ParameterValues,
    validate,
)
from isincnet_jax.inversynth.synth.render import SAMPLE_RATE, check_clip, render_notes_of

OWN_NOTE = 69
"""At this number, A4, the carriers are those of the settings."""

_NUM_CARRIERS = len(WAVEFORMS)
_RELEASE = NAMES.index("release")
_FADE_S = 0.004
_BLOCK_S = 0.25  # lengths are rounded up to these: few programs are compiled
_DRUMS = 9  # MIDI's channel 10
_IS_PITCH = np.array([parameter.logarithmic for parameter in PARAMETERS])


class Note(NamedTuple):
    """A note.

    Attributes:
        number: MIDI's, 0 to 127, 69 for A4; parts are allowed.
        start_s: seconds, 0 or more.
        duration_s: seconds until its release begins, positive.
        velocity: factor of its amplitude, above 0, up to 1.
    """

    number: float = float(OWN_NOTE)
    start_s: float = 0.0
    duration_s: float = 0.5
    velocity: float = 1.0


def interpolate(
    values: ParameterValues, other: ParameterValues, share: float
) -> Float[np.ndarray, "... parameters"]:
    """Interpolation of settings: carriers evenly in pitch, all others in their value.

    Args:
        values: [..., 23], at share 0.
        other: [..., 23], at share 1.
        share: 0 to 1.

    Returns:
        [..., 23], float32 unless both are float64.

    Raises:
        ValueError: for values out of range, and a share outside of 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share}: use 0 (the first sound) to 1 (the other)")
    start, end = (validate(some) for some in (values, other))
    # start + share (end - start); carriers start (end / start)^share
    safe = np.where(_IS_PITCH, start, 1.0)
    pitch = safe * (np.where(_IS_PITCH, end, 1.0) / safe) ** share
    return np.where(_IS_PITCH, pitch, start + share * (end - start)).astype(
        np.result_type(start, end)
    )


def render_notes(
    values: ParameterValues,
    notes: Sequence[Note],
    *,
    sample_rate: float = SAMPLE_RATE,
    duration_s: float | None = None,
) -> Float[np.ndarray, " time"]:
    """Renders notes with one voice: a note ends what is left of the one before it.

    Every carrier is moved by the interval between a note's number and 69; modulators, deviations,
    envelope, filter and gate are those of the settings, and begin anew with every note.

    Args:
        values: [23], settings.
        notes: in any order; of those that begin together the highest sounds.
        sample_rate: Hz, 8,000 or more.
        duration_s: of the whole; None: to the end of the last release.

    Returns:
        float32 [time].

    Raises:
        ValueError: for values out of range, no notes, notes that cannot be, carriers above half the
            sample rate, and what :func:`.render.render` refuses.

    Example:
        >>> from isincnet_jax.inversynth.synth.parameters import values_from_levels
        >>> values = values_from_levels(np.full(23, 7, np.int32))
        >>> tune = [Note(69, 0.0, 0.1), Note(76, 0.2, 0.1)]
        >>> render_notes(values, tune, sample_rate=8192.0, duration_s=0.5).shape
        (4096,)
    """
    settings = validate(values)
    if settings.ndim != 1:
        raise ValueError(f"values: shape {list(settings.shape)}; give one sound, [23]")
    voice = _one_voice(notes)
    carriers = settings[:_NUM_CARRIERS] * 2.0 ** (
        (np.array([[note.number] for note in voice]) - OWN_NOTE) / 12.0
    )
    if carriers.max() > sample_rate / 2:
        raise ValueError(
            f"a note with a carrier of {carriers.max():.0f} Hz, above half of sample_rate="
            f"{sample_rate:g}; use lower notes or a higher rate"
        )
    release_s = float(settings[_RELEASE])
    ends = [later.start_s for later in voice[1:]] + [math.inf]
    lengths = [
        min(note.duration_s + release_s, end - note.start_s)
        for note, end in zip(voice, ends, strict=True)
    ]
    total_s = voice[-1].start_s + lengths[-1] if duration_s is None else duration_s
    num_samples = max(1, round(total_s * sample_rate)) if total_s > 0 else 0
    check_clip(num_samples=num_samples, sample_rate=sample_rate)
    rows = np.repeat(settings[None].astype(np.float32), len(voice), axis=0)
    rows[:, :_NUM_CARRIERS] = carriers
    blocks = math.ceil(max(lengths) / _BLOCK_S)
    sounds = render_notes_of(
        jnp.asarray(rows),
        jnp.asarray([note.duration_s for note in voice], jnp.float32),
        round(blocks * _BLOCK_S * sample_rate),
        float(sample_rate),
    )
    found = np.zeros(num_samples, np.float32)
    for note, sound, length_s in zip(voice, np.asarray(sounds), lengths, strict=True):
        first = round(note.start_s * sample_rate)
        count = min(round(length_s * sample_rate), num_samples - first)
        if count > 0:
            found[first : first + count] += note.velocity * _faded(sound[:count], sample_rate)
    return found


def _one_voice(notes: Sequence[Note]) -> list[Note]:
    """Notes by their start, the highest of those that begin together."""
    if not notes:
        raise ValueError("there are no notes; give one or more")
    for note in notes:
        fits = (
            0 <= note.number <= 127
            and 0 <= note.start_s < math.inf
            and 0 < note.duration_s < math.inf
            and 0 < note.velocity <= 1
        )
        if not fits:
            raise ValueError(
                f"{note}: a note has a number of 0 to 127, a start of 0 s or later, a duration "
                "above 0 s, and a velocity above 0, up to 1"
            )
    highest: dict[float, Note] = {}
    for note in sorted(notes, key=lambda note: note.number):
        highest[note.start_s] = note
    return [highest[start] for start in sorted(highest)]


def _faded(sound: np.ndarray, sample_rate: float) -> np.ndarray:
    """A sound that is cut off, without a click."""
    fade = min(round(_FADE_S * sample_rate), len(sound))
    level = np.ones(len(sound), np.float32)
    level[len(sound) - fade :] = np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return sound * level


def read_midi(path: str | Path) -> list[Note]:
    """Notes of a MIDI file, all tracks and channels but the drums.

    Args:
        path: of the file.

    Returns:
        Notes by their start, in seconds by the file's tempos; chords are not taken apart here.

    Raises:
        ImportError: without mido.
        ValueError: for a file that is none, or has no notes.
        OSError: if it cannot be read.
    """
    with extras.importing("mido"):
        import mido  # noqa: PLC0415
    try:
        messages = list(mido.MidiFile(str(path)))  # in time, with seconds between them
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(f"{path}: no MIDI file ({error})") from error
    except (EOFError, ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{path}: no MIDI file ({error or 'it ends early'})") from error
    notes: list[Note] = []
    sounding: dict[tuple[int, int], tuple[float, float]] = {}
    now = 0.0

    def end(place: tuple[int, int]) -> None:
        start, velocity = sounding.pop(place)
        if now > start:
            notes.append(Note(float(place[1]), start, now - start, velocity))

    for message in messages:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == _DRUMS:
            continue
        place = (message.channel, message.note)
        if place in sounding:
            end(place)
        if message.type == "note_on" and message.velocity:
            sounding[place] = (now, message.velocity / 127)
    for place in list(sounding):  # notes that the file never ends
        end(place)
    if not notes:
        raise ValueError(f"{path}: has no notes")
    return sorted(notes, key=lambda note: note.start_s)
