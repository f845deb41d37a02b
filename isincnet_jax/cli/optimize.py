"""``isincnet optimize``: a bank designed through its own inverse, from a folder of sounds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isincnet_jax import extras
from isincnet_jax.cli import progress
from isincnet_jax.cli.commands import output
from isincnet_jax.cli.common import app, positive, say
from isincnet_jax.pretrained.load import load_model

if TYPE_CHECKING:
    import numpy as np

_LOUDNESS_DB = -23.0
_CLIP_S = 1.0
_QUIETEST = 1e-3


@app.command()
def optimize(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Bank to begin with: a preset or an export.")
    ],
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of audio to train on.")],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder or .zip to write.", callback=output)
    ],
    *,
    goal: Annotated[
        str,
        typer.Option(
            "--target", help="'SNR at 4 bits', 'noise of 20 dB', 'bits at 25 dB'; any number."
        ),
    ] = "SNR at 4 bits",
    free: Annotated[
        str | None,
        typer.Option(
            "--free",
            help="What may move, and how far, such as center=0.1,bandwidth=1.3,window=4,shape=0.2.",
        ),
    ] = None,
    latency_ms: Annotated[
        float | None,
        typer.Option(
            "--latency-ms", help="Longest delay of the bank in a stream, ms.", callback=positive
        ),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", help="Of the descent.", min=1)] = 40,
    seconds: Annotated[
        float,
        typer.Option("--seconds", help="Sound to train on, a second of a file.", callback=positive),
    ] = 30.0,
) -> None:
    """Descend to the filters from whose coefficients most comes back; OUT is a MODEL.

    A fifth of the clips is held out, and what the bank gains is measured on these.
    """
    extras.require("pyloudnorm")
    from isincnet_jax.bank.optimization import optimize_bank
    from isincnet_jax.pretrained.folder import export_pretrained

    parts = None if free is None else dict(_parts(free))
    codec = load_model(model)
    clips = _clips(source, sample_rate=codec.spec.sample_rate, count=math.ceil(seconds / _CLIP_S))
    say(f"{len(clips)} clips of {_CLIP_S:g} s at {codec.spec.sample_rate} Hz from {source}")
    found = optimize_bank(
        codec.spec, clips, target=goal, free=parts, latency_ms=latency_ms, steps=steps
    )
    certificate = dataclasses.asdict(found.certificate)
    card: dict[str, Any] = {"target": goal, "begun with": codec.name, "certificate": certificate}
    export_pretrained(found.codec, target, card=card)
    for line in found.certificate.describe().splitlines():
        say(line)
    say(f"wrote {target}; next: isincnet describe {target}")


def _parts(text: str) -> Iterator[tuple[str, float]]:
    """Names and numbers of ``--free``.

    Raises:
        ValueError: for what is no such list.
    """
    for item in text.split(","):
        name, _, number = item.partition("=")
        try:
            value = float(number)
        except ValueError as error:
            raise ValueError(f"free={text!r}: {item!r} is no name=number") from error
        yield name.strip(), int(value) if value.is_integer() else value


def _clips(source: Path, *, sample_rate: int, count: int) -> np.ndarray:
    """Middles of as many recordings, [clips, time] float32, each at one loudness.

    Raises:
        ValueError: if there are fewer than five that are long and loud enough.
    """
    import numpy as np

    from isincnet_jax.data.sources import folder_source, read_tracks

    tracks = folder_source(source)
    # Not the first ones: these may be of one recording.
    order = np.random.default_rng(0).permutation(len(tracks.tracks))
    length, found = round(_CLIP_S * sample_rate), []
    with progress.working("reading"):
        for index in order:
            names = [tracks.tracks[index].name]
            read = read_tracks(
                tracks, sample_rate=sample_rate, loudness_db=_LOUDNESS_DB, names=names,
                num_threads=1,
            )  # fmt: skip
            for one in read:
                start = (len(one.samples) - length) // 2
                clip = one.samples[max(start, 0) :][:length] * np.float32(one.scale)
                if len(clip) == length and np.max(np.abs(clip)) > _QUIETEST:
                    found.append(clip.astype(np.float32))
            if len(found) == count:
                break
    if len(found) < 5:
        raise ValueError(
            f"{source}: {len(found)} recordings of {_CLIP_S:g} s or more that are not silent; "
            "give 5 or more"
        )
    return np.stack(found)
