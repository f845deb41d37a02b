"""``isincnet synth render``: the sound of settings, at any pitch, length and rate, or a tune."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isincnet_jax import extras
from isincnet_jax.cli.commands import output
from isincnet_jax.cli.common import finite, positive, refuse_missing, say
from isincnet_jax.cli.synth import synth_app

if TYPE_CHECKING:
    import numpy as np


@synth_app.command()
def render(
    source: Annotated[
        Path, typer.Argument(metavar="PARAMS", help="JSON file of parameters, as `match` writes.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="Audio file to write.", callback=output)
    ],
    *,
    note: Annotated[
        float | None,
        typer.Option("--note", help="MIDI number; 69 (A4) has PARAMS' carriers.", callback=finite),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            "--duration",
            help="Of OUT, seconds; 1 unless told, or all of the tune.",
            callback=positive,
        ),
    ] = None,
    note_off: Annotated[
        float | None,
        typer.Option(
            "--note-off", help="When the release begins, s; half of it.", callback=positive
        ),
    ] = None,
    sample_rate: Annotated[int, typer.Option("--sample-rate", help="Hz, at least 8000.")] = 16_384,
    other: Annotated[
        Path | None,
        typer.Option("--to", metavar="PARAMS", help="Other parameters, on the way to which..."),
    ] = None,
    share: Annotated[
        float, typer.Option("--share", help="...the sound lies, 0 to 1.", callback=finite)
    ] = 0.5,
    midi: Annotated[
        Path | None,
        typer.Option("--midi", metavar="FILE", help="MIDI file to play, with one voice."),
    ] = None,
) -> None:
    """Render PARAMS to OUT: one note, or a tune."""
    import numpy as np

    from isincnet_jax.data import audio_writing
    from isincnet_jax.inversynth import notes as tunes
    from isincnet_jax.inversynth.synth.render import render as render_sound

    if midi is not None and (note is not None or note_off is not None):
        raise ValueError("--midi has its notes: leave --note and --note-off out")
    subtype = audio_writing.output_subtype(target, "FLOAT")
    values = _settings(source)
    if other is not None:
        values = tunes.interpolate(values, _settings(other), share)
    whole_s = 1.0 if duration is None else duration
    if midi is not None:
        refuse_missing(midi)
        extras.require("mido")
        played = tunes.read_midi(midi)
        say(f"{midi.name}: {len(played)} notes")
        sound = tunes.render_notes(values, played, sample_rate=sample_rate, duration_s=duration)
    elif note is not None:
        held_s = 0.5 * whole_s if note_off is None else note_off
        one = tunes.Note(note, 0.0, held_s)
        sound = tunes.render_notes(values, [one], sample_rate=sample_rate, duration_s=whole_s)
    else:
        num_samples = max(1, round(whole_s * sample_rate))
        sound = np.asarray(
            render_sound(
                values, num_samples=num_samples, sample_rate=sample_rate, note_off=note_off
            )
        )
    audio_writing.write_blocks(
        target, [sound[:, None]], sample_rate=sample_rate, num_channels=1, subtype=subtype
    )
    peak = float(np.max(np.abs(sound)))
    loud = f"peak {peak:.2f}" + ("" if peak <= 1 else ", beyond full scale")
    say(f"wrote {target}: {len(sound) / sample_rate:.2f} s, {sample_rate} Hz, {loud}")


def _settings(path: Path) -> np.ndarray:
    """Values of a JSON file.

    Raises:
        ValueError: for no such file, or one without all parameters in their ranges.
    """
    import numpy as np

    from isincnet_jax.inversynth.synth.parameters import NAMES, validate

    refuse_missing(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        values = np.array([content[name] for name in NAMES], np.float64)
    except KeyError as error:
        raise ValueError(f"{path}: parameter {error} is missing") from error
    except (ValueError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no JSON file of parameters ({error})") from error
    try:
        return validate(values).astype(np.float32)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
