"""``isincnet describe``, ``plot`` and ``demo``: what a model is and does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from isincnet_jax.cli import token_files
from isincnet_jax.cli.common import (
    DEFAULT_MODEL,
    InputFile,
    ModelOption,
    app,
    load_model,
    plot_app,
    say,
)
from isincnet_jax.cli.reconstruction import reconstruct


@app.command()
def describe(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A preset, a .ckpt file, or an .isn file.")
    ] = None,
) -> None:
    """Print a model's geometry, frame bounds, exactness, delay and rates; without MODEL, list."""
    from isincnet_jax.pretrained import hub

    if model is None:
        for name, preset in hub.PRESETS.items():
            say(f"{name:22s} {preset.summary}")
        return
    codec = token_files.load_described(model)
    if codec is None:
        return
    from isincnet_jax.models import description

    for label, value in description.describe(codec):
        say(f"{label:22s} {value}")


@plot_app.command("filters")
def plot_filters(
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Picture: .png, .pdf, .svg.")],
    model: ModelOption = DEFAULT_MODEL,
) -> None:
    """Draw a model's impulse responses, frequency responses and their sum."""
    from isincnet_jax import plots

    codec = load_model(model)
    spec = codec.spec
    figure = plots.plot_filterbank(
        spec.design_kernels(),
        sample_rate=spec.sample_rate,
        center_hz=spec.center_hz,
        title=codec.name,
    )
    _save_figure(figure, target)


@plot_app.command("spectrogram")
def plot_spectrogram(
    source: InputFile,
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Picture: .png, .pdf, .svg.")],
    model: ModelOption = DEFAULT_MODEL,
    seconds: Annotated[float, typer.Option("--seconds", help="Draw so much of IN.")] = 10.0,
) -> None:
    """Draw the signed coefficients and the magnitude of the first channel of IN."""
    import numpy as np

    from isincnet_jax import plots
    from isincnet_jax.data import audio_files

    codec = load_model(model)
    if not 0 < seconds < math.inf:
        raise ValueError(f"--seconds {seconds}: must be positive and finite")
    samples, rate = audio_files.read_audio(
        source, sample_rate=codec.spec.sample_rate, max_duration_s=seconds
    )
    waveform = samples[0]
    figure = plots.plot_spectrogram(
        np.asarray(codec.encode(waveform)),
        frame_times_s=codec.frame_times_s(len(waveform)),
        center_hz=codec.spec.center_hz,
        is_complex=codec.spec.component == "complex",
        title=f"{source.name}, {codec.name}, {len(waveform) / rate:.2f} s",
    )
    _save_figure(figure, target)


def _save_figure(figure: Any, target: Path) -> None:
    from isincnet_jax.data import audio_writing

    if target.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise ValueError(f"{target}: pictures end in .png, .pdf or .svg")
    with audio_writing.replacing(target) as temporary:
        figure.savefig(temporary, dpi=150)
    say(f"wrote {target}")


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER")] = Path("demo_output"),
    model: ModelOption = DEFAULT_MODEL,
) -> None:
    """Reconstruct the built-in clip into FOLDER: audio, spectrogram and filterbank pictures."""
    from isincnet_jax.data import audio_writing
    from isincnet_jax.data.demo import demo_waveform

    codec = load_model(model)
    rate = codec.spec.sample_rate
    folder.mkdir(parents=True, exist_ok=True)
    original = folder / "original.wav"
    audio_writing.write_blocks(
        original, [demo_waveform(rate)[:, None]], sample_rate=rate, num_channels=1, subtype="FLOAT"
    )
    reconstruct(original, folder / "reconstructed.wav", model)
    say("")
    reconstruct(original, folder / "reconstructed_8bit.wav", model, q_bits=8)
    say("")
    plot_spectrogram(original, folder / "spectrogram.png", model)
    plot_filters(folder / "filterbank.png", model)
