"""``isincnet synth match``: the parameters of the synthesizer that make a sound like IN."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isincnet_jax.cli.commands import output
from isincnet_jax.cli.common import InputFile, OutputAudio, TruncatedOption, say
from isincnet_jax.cli.synth import synth_app

if TYPE_CHECKING:
    import numpy as np

    from isincnet_jax.inversynth.networks import TrainedInverSynth

MATCHING_MODEL = "16khz-inversynth"
_SILENT = 1e-4  # of full scale, -80 dB


@synth_app.command()
def match(
    source: InputFile,
    target: OutputAudio,
    *,
    params: Annotated[
        Path,
        typer.Option(
            "--params", help="JSON file of parameters to write.", dir_okay=False, callback=output
        ),
    ],
    model: Annotated[
        str, typer.Option("--model", help="An estimator: a name, exported folder or .zip.")
    ] = MATCHING_MODEL,
    refine: Annotated[
        int,
        typer.Option(
            "--refine",
            metavar="N",
            help="Search, and N gradient steps through the synthesizer; 60 is good, 0 is none.",
        ),
    ] = 0,
    truncated: TruncatedOption = "refuse",
) -> None:
    """Estimate the parameters that make IN, render them to OUT, and print how close it is.

    The first second of IN counts; shorter files are followed by silence.
    """
    from isincnet_jax import files
    from isincnet_jax.data import audio_writing
    from isincnet_jax.inversynth.synth import parameters

    if refine < 0:
        raise ValueError(f"--refine {refine}: use 0 or more steps, 60 for instance")
    paths = [path.resolve() for path in (source, target, params)]
    if len(set(paths)) < len(paths):
        raise ValueError(f"IN {source}, OUT {target}, --params {params}: give three files")
    subtype = audio_writing.output_subtype(target, "FLOAT")
    estimator = _estimator(model)
    waveform = _read(source, estimator, truncated)
    say(f"model     {estimator.name}")
    values, rendered = _match(estimator, waveform, refine)
    text = json.dumps(parameters.parameters_to_json(values), indent=1) + "\n"
    with files.replacing(params) as temporary:  # both files or none
        temporary.write_text(text, encoding="utf-8")
        _write(target, rendered, estimator.sample_rate, subtype)
    say(f"wrote     {params}: {len(values)} parameters")


def _estimator(name: str) -> TrainedInverSynth:
    from isincnet_jax.pretrained import registry, trained

    if name == MATCHING_MODEL and name not in registry.REGISTRY:
        raise ValueError(
            f"{name}: this version of the package comes without it; give --model, the export "
            "folder of experiments/train_inversynth.py"
        )
    return trained.load_inversynth(name)


def _read(path: Path, estimator: TrainedInverSynth, truncated: str) -> np.ndarray:
    """One second of one channel, at the estimator's rate; says what it changes."""
    import numpy as np

    from isincnet_jax.data import audio_files

    rate, length = estimator.sample_rate, estimator.num_samples
    mode: Any = truncated
    info = audio_files.audio_info(path, truncated=mode)
    if info.sample_rate != rate:
        say(f"{path.name}: resampled from {info.sample_rate} Hz to {rate} Hz")
    # A sample more than is used, so that longer files are known.
    channels, _ = audio_files.read_audio(
        path, sample_rate=rate, max_duration_s=(length + 1) / rate, truncated=mode
    )
    if len(channels) > 1:
        say(f"{path.name}: {len(channels)} channels, their mean is used")
    waveform = channels.mean(axis=0)
    found = len(waveform)
    if found > length:
        say(f"{path.name}: {info.num_samples / info.sample_rate:.2f} s, cropped to the first 1 s")
    elif found < length:
        say(f"{path.name}: {found / rate:.3f} s, padded with silence to 1 s")
    waveform = np.pad(waveform[:length], (0, max(0, length - found))).astype(np.float32)
    if np.max(np.abs(waveform)) < _SILENT:
        where = "its first second is" if found > length else "it is"
        raise ValueError(
            f"{path}: {where} silent (below -80 dB of full scale); no parameters make silence, "
            "give a sound"
        )
    return waveform


def _match(
    estimator: TrainedInverSynth, waveform: np.ndarray, refine: int
) -> tuple[np.ndarray, np.ndarray]:
    """The parameters and their sound; says how close they are."""
    import jax.numpy as jnp
    import numpy as np

    from isincnet_jax.inversynth import matching
    from isincnet_jax.inversynth.synth import parameters
    from isincnet_jax.inversynth.synth.render import render

    # Scores [23, levels] to the likeliest level of each parameter, and its value.
    levels = jnp.argmax(estimator.scores(waveform), axis=-1)
    values = parameters.values_from_levels(levels)
    rendered = render(values)
    before = matching.spectral_distance(prediction=rendered, target=jnp.asarray(waveform))
    say(f"estimate  spectral distance {float(before):.4f}")
    if refine:
        begin = time.perf_counter()
        refined = matching.refine(values, jnp.asarray(waveform), num_steps=refine)
        after = float(refined.distance)
        change = f"{100.0 * (1.0 - after / float(before)):.1f} % less" if after < before else "same"
        seconds = time.perf_counter() - begin
        say(f"refined   spectral distance {after:.4f}, {change} ({refine} steps, {seconds:.1f} s)")
        values, rendered = refined.values, render(refined.values)
    return np.asarray(values), np.asarray(rendered)


def _write(path: Path, rendered: np.ndarray, sample_rate: int, subtype: str) -> None:
    import numpy as np

    from isincnet_jax.data import audio_writing

    audio_writing.write_blocks(
        path, [rendered[:, None]], sample_rate=sample_rate, num_channels=1, subtype=subtype
    )
    peak = float(np.max(np.abs(rendered)))
    is_kept = subtype in ("FLOAT", "DOUBLE")
    beyond = f"; peak {peak:.2f} is beyond full scale" if peak > 1 else ""
    beyond += " and was clipped: write a .wav" if beyond and not is_kept else ""
    say(f"wrote     {path}: {len(rendered) / sample_rate:g} s, {sample_rate} Hz, {subtype}{beyond}")
