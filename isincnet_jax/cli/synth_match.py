"""``isincnet synth match``: the parameters of the synthesizer that make a sound like IN."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isincnet_jax.cli.commands import output
from isincnet_jax.cli.common import InputFile, OutputAudio, TruncatedOption, positive, say
from isincnet_jax.cli.synth import synth_app

if TYPE_CHECKING:
    import numpy as np

    from isincnet_jax.inversynth.networks import TrainedInverSynth
    from isincnet_jax.inversynth.sound_matching import Match

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
            help="Searches, and N gradient steps, for each that is refined; 30 is good, 0 none.",
        ),
    ] = 0,
    draws: Annotated[
        int,
        typer.Option("--draws", help="Settings drawn and heard besides the likeliest one."),
    ] = 64,
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            help="Of the draws; below 1 nearer to the likeliest one.",
            callback=positive,
        ),
    ] = 1.0,
    refined: Annotated[
        int, typer.Option("--refined", help="Of the nearest draws, so many are refined.", min=1)
    ] = 2,
    solutions: Annotated[
        int,
        typer.Option(
            "--solutions",
            help="Distinct settings to give; OUT is of the nearest, others are OUT-2, ...",
            min=1,
        ),
    ] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 0,
    truncated: TruncatedOption = "refuse",
) -> None:
    """Estimate the parameters that make IN, render them to OUT, and print how close it is.

    Many settings are drawn from what the network believes and heard, the nearest are refined. The
    first second of IN counts; shorter files are followed by silence. The JSON file holds the
    parameters by name, and under "match" the distance, what else was found, and how sure the
    network is of each.
    """
    from isincnet_jax import files
    from isincnet_jax.data import audio_writing
    from isincnet_jax.inversynth.sound_matching import match_sound

    for option, number in (("refine", refine), ("draws", draws)):
        if number < 0:
            raise ValueError(f"--{option} {number}: use 0 or more, 60 for instance")
    outputs = [target, *(target.with_stem(f"{target.stem}-{n}") for n in range(2, solutions + 1))]
    paths = [path.resolve() for path in (source, *outputs, params)]
    if len(set(paths)) < len(paths):
        raise ValueError(f"IN {source}, OUT {target}, --params {params}: give three files")
    subtype = audio_writing.output_subtype(target, "FLOAT")
    estimator = _estimator(model)
    waveform = _read(source, estimator, truncated)
    say(f"model     {estimator.name}")
    begin = time.perf_counter()
    found = match_sound(
        waveform,
        estimator,
        num_draws=draws,
        temperature=temperature,
        num_refined=refined,
        num_steps=refine,
        num_solutions=solutions,
        seed=seed,
    )
    _tell(found, draws=draws, refine=refine, seconds=time.perf_counter() - begin)
    with files.replacing(params) as temporary:  # all files or none
        temporary.write_text(json.dumps(_content(found), indent=1) + "\n", encoding="utf-8")
        for path, values in zip(outputs, found.values, strict=False):
            _write(path, _rendered(values), estimator.sample_rate, subtype)
    say(f"wrote     {params}: {found.values.shape[1]} parameters")


def _tell(found: Match, *, draws: int, refine: int, seconds: float) -> None:
    """Says how near each stage came."""
    say(f"estimate  spectral distance {found.estimate_distance:.4f}")
    if draws:
        say(f"drawn     spectral distance {found.drawn_distance:.4f}, the best of {draws}")
    if refine:
        before, after = found.drawn_distance, float(found.distance[0])
        change = f"{100.0 * (1.0 - after / before):.1f} % less" if after < before else "same"
        say(f"refined   spectral distance {after:.4f}, {change} ({refine} steps)")
    others = [f"{distance:.4f}" for distance in found.distance[1:]]
    if others:
        say(f"others    spectral distance {', '.join(others)}")
    say(f"took      {seconds:.1f} s")


def _content(found: Match) -> dict[str, Any]:
    """What the JSON file holds."""
    from isincnet_jax.inversynth.synth import parameters

    each = [parameters.parameters_to_json(values) for values in found.values]
    about = {
        "spectral_distance": float(found.distance[0]),
        "estimate_distance": found.estimate_distance,
        "drawn_distance": found.drawn_distance,
        "others": [
            {"spectral_distance": float(distance), **values}
            for distance, values in zip(found.distance[1:], each[1:], strict=True)
        ],
        "uncertainty": {name: one._asdict() for name, one in found.beliefs.items()},
    }
    return {**each[0], "match": about}


def _rendered(values: np.ndarray) -> np.ndarray:
    import numpy as np

    from isincnet_jax.inversynth.synth.render import render

    return np.asarray(render(values))


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
