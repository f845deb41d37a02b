"""``isincnet synth``: sounds of the FM synthesizer and their parameters.

Other files add commands to :data:`synth_app`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isincnet_jax import extras
from isincnet_jax.cli import progress
from isincnet_jax.cli.commands import Commands, output
from isincnet_jax.cli.common import app, positive, say

synth_app = Commands(
    no_args_is_help=True, help="The FM synthesizer: sounds with known parameters, and back."
)
app.add_typer(synth_app, name="synth")

_REPORTED = 5_000


@synth_app.callback()
def _group() -> None:  # with it the only command keeps its name
    """The FM synthesizer: sounds with known parameters, and back."""


@synth_app.command()
def generate(
    *,
    num_examples: Annotated[
        int, typer.Option("--num-examples", "--num_examples", help="Sounds to make.")
    ] = 150,
    name: Annotated[str, typer.Option("--name", help="Of the data set.")] = "InverSynth",
    dataset_directory: Annotated[
        Path,
        typer.Option(
            "--dataset-directory", "--dataset_directory", help="For labels.", callback=output
        ),
    ] = Path("test_datasets"),
    wavefile_directory: Annotated[
        Path,
        typer.Option(
            "--wavefile-directory",
            "--wavefile_directory",
            help="For wave files.",
            callback=output,
        ),
    ] = Path("test_waves"),
    length: Annotated[
        float,
        typer.Option(
            "--length",
            help="Of each sound, seconds.",
            callback=positive,
        ),
    ] = 1.0,
    sample_rate: Annotated[
        int, typer.Option("--sample-rate", "--sample_rate", help="Hz, at least 8000.")
    ] = 16_384,
    sampling_method: Annotated[
        str, typer.Option("--sampling-method", "--sampling_method", help="random.")
    ] = "random",
    regenerate_samples: Annotated[
        bool,
        typer.Option(
            "--regenerate-samples",
            "--regenerate_samples",
            help="Draw parameters again and render all; the same --seed draws the same.",
        ),
    ] = False,
    regenerate_audio: Annotated[
        bool,
        typer.Option("--regenerate-audio", "--regenerate_audio", help="Render all sounds anew."),
    ] = False,
    normalise: Annotated[
        bool, typer.Option("--normalise", help="Bring every sound to a peak of 1.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the random parameters.")] = 0,
) -> None:
    """Write random sounds and their parameters: wave files, an HDF5 of labels, a JSON of facts.

    Only what is missing is made; a data set of other settings is not touched unless asked.
    """
    extras.require("h5py")
    from isincnet_jax.inversynth.corpus import SynthSettings
    from isincnet_jax.inversynth.generation import generate as make

    settings = SynthSettings(
        name=name,
        num_examples=num_examples,
        length=length,
        sample_rate=sample_rate,
        sampling_method=sampling_method,
        normalise=normalise,
        seed=seed,
    )
    done = make(
        settings,
        directory=dataset_directory,
        waves=wavefile_directory,
        regenerate_samples=regenerate_samples,
        regenerate_audio=regenerate_audio,
        progress=_Progress(),
    )
    parameters = "drawn" if done.new_samples else "as they were"
    say(f"parameters: {num_examples} sounds, {parameters}: {done.files.labels}")
    say(f"sounds: {done.written} written, {done.kept} kept: {done.files.waves}")
    if done.peak > 1:
        say(f"peak {done.peak:.2f} is beyond full scale (32-bit float files keep it); --normalise")


class _Progress:
    """Says how many sounds there are, every so many."""

    def __init__(self) -> None:
        self._said = 0

    def __call__(self, done: int, total: int) -> None:
        progress.note(f"{done} of {total} sounds")
        if done < total and done // _REPORTED > self._said:
            self._said = done // _REPORTED
            say(f"{done} of {total} sounds")
