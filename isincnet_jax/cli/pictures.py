"""``isincnet describe``, ``plot``, ``filters`` and ``demo``: what models are, do and learned."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from isincnet_jax import extras
from isincnet_jax.cli.commands import output
from isincnet_jax.cli.common import (
    InputFile,
    ModelOption,
    app,
    plot_app,
    positive,
    refuse_missing,
    say,
    warn,
)
from isincnet_jax.cli.reconstruction import reconstruct
from isincnet_jax.pretrained.load import DEFAULT_MODEL, load_any, load_codec, load_model

if TYPE_CHECKING:
    import numpy as np

_EXPECTED = "needs an .npz with steps [n], low_hz and high_hz [n, filters] of a training run"

OutputPicture = Annotated[
    Path, typer.Argument(metavar="OUT", help="Picture: .png, .pdf, .svg.", callback=output)
]


@app.command()
def describe(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A preset, a .ckpt file, or an .isn file.")
    ] = None,
) -> None:
    """Print a model's geometry, frame bounds, exactness, delay and rates; without MODEL, list."""
    from isincnet_jax.pretrained import hub, registry, stored

    if model is None:
        width = max(map(len, hub.REGISTRY))
        for name, entry in hub.REGISTRY.items():
            say(f"{name:{width}s} {entry.summary}")
        return
    entry = hub.REGISTRY.get(model)
    if isinstance(entry, registry.Stored):
        found = stored.read_model(hub.shipped_file(model, entry))
        for label, value in [("model", model), ("summary", entry.summary), *found.describe()]:
            say(f"{label:24s} {value}")
        return
    if Path(model).suffix.lower() == ".isn":
        refuse_missing(Path(model))
        _describe_tokens(Path(model))
        return
    from isincnet_jax.pretrained import description

    for label, value in description.describe(load_any(model)):
        say(f"{label:24s} {value}")


def _describe_tokens(path: Path) -> None:
    """Prints what a token file says about itself, and checks that all of it decodes."""
    from isincnet_jax.tokens import block_file, noise_shape, ragged_file, token_file

    if block_file.read_version(path) == ragged_file.VERSION:
        _describe_ragged(path)
        return
    with token_file.TokenReader(path) as reader:
        header = reader.header
        frames = sum(len(block) for _, block in reader.blocks())
    samples = "not held exactly"
    if header.bits:
        with token_file.TokenReader(path) as reader:
            for _ in reader.pcm():
                pass
        samples = f"held exactly, {header.bits} bits, MD5 {header.md5.hex()}"
    size = path.stat().st_size
    duration_s = header.length / header.spec.sample_rate
    kind = (
        "of one size"
        if header.largest == header.smallest
        else f"{header.smallest} to {header.largest} samples long"
    )
    for label, value in (
        ("token file", f"{path}, {size} bytes, intact"),
        ("bank", header.spec.describe()),
        ("code", noise_shape.describe(header)),
        ("recording", f"{duration_s:.2f} s, {header.audio_channels} audio channels"),
        ("original", f"{header.original_length} samples, {header.original_rate} Hz"),
        ("samples", samples),
        ("codes", f"{header.length} per audio channel, in {frames} frames, {kind}"),
        ("bit rate", f"{8e-3 * size / duration_s:.1f} kbit/s"),
    ):
        say(f"{label:22s} {value}")


def _describe_ragged(path: Path) -> None:
    from isincnet_jax.recordings import ragged
    from isincnet_jax.tokens import ragged_file

    with ragged_file.RaggedReader(path) as reader:
        header, spec = reader.header, ragged.codec_of(reader).spec
        reader.codes()
    size, duration_s = path.stat().st_size, header.length / spec.sample_rate
    for label, value in (
        ("token file", f"{path}, {size} bytes, intact"),
        ("bank", f"nonuniform, {len(spec.given_centers_hz)} bands, {spec.scale}, {spec.window}"),
        ("code", f"one step, {header.step:.4g}"),
        ("recording", f"{duration_s:.2f} s, {header.audio_channels} audio channels"),
        ("original", f"{header.original_length} samples, {header.original_rate} Hz"),
        ("codes", f"{header.num_codes} per audio channel, in {len(header.arrays)} arrays"),
        ("bit rate", f"{8e-3 * size / duration_s:.1f} kbit/s"),
    ):
        say(f"{label:22s} {value}")


@plot_app.command("filters")
def plot_filters(
    target: OutputPicture,
    model: ModelOption = DEFAULT_MODEL,
) -> None:
    """Draw a model's impulse responses, frequency responses and their sum."""
    extras.require("matplotlib")
    from isincnet_jax import plots

    codec = load_codec(model)
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
    target: OutputPicture,
    model: ModelOption = DEFAULT_MODEL,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds",
            help="Draw so much of IN.",
            callback=positive,
        ),
    ] = 10.0,
) -> None:
    """Draw the signed coefficients and the magnitude of the first channel of IN.

    Of a nonuniform bank, whose coefficients are complex, the magnitude.
    """
    refuse_missing(source)
    extras.require("matplotlib")
    import numpy as np

    from isincnet_jax import plots
    from isincnet_jax.constant_q.nonuniform_codec import NonuniformCodec
    from isincnet_jax.data import audio_files

    codec = load_any(model)
    samples, rate = audio_files.read_audio(
        source, sample_rate=round(codec.spec.sample_rate), max_duration_s=seconds
    )
    waveform = samples[0]
    title = f"{source.name}, {codec.name}, {len(waveform) / rate:.2f} s"
    if isinstance(codec, NonuniformCodec):
        times = codec.frame_times_s(len(waveform))
        # Magnitudes of one scale in all arrays, without the frames of the padding.
        amplitudes = codec.in_scale("amplitude").encode(waveform)
        kept = [int(np.sum(one < len(waveform) / rate)) for one in times]
        figure = plots.plot_magnitude(
            [np.asarray(one)[:count] for one, count in zip(amplitudes, kept, strict=True)],
            frame_times_s=[one[:count] for one, count in zip(times, kept, strict=True)],
            frequencies_hz=codec.frequencies,
            title=title,
        )
    else:
        figure = plots.plot_spectrogram(
            np.asarray(codec.encode(waveform)),
            frame_times_s=codec.frame_times_s(len(waveform)),
            center_hz=codec.spec.center_hz,
            is_complex=getattr(codec.spec, "component", "real") == "complex",
            title=title,
        )
    _save_figure(figure, target)


def _save_figure(figure: Any, target: Path) -> None:
    from isincnet_jax import files

    if target.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise ValueError(f"{target}: pictures end in .png, .pdf or .svg")
    with files.replacing(target) as temporary:
        figure.savefig(temporary, dpi=150)
    say(f"wrote {target}")


@app.command("filters")
def draw_learned_filters(
    source: Annotated[
        Path, typer.Argument(metavar="BANDS.npz", help="Band edges of a run, from the trainer.")
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="OUT_DIR", help="Folder, made if missing.", callback=output)
    ],
    sample_rate: Annotated[
        int, typer.Option("--sample-rate", min=1, help="Of the run, Hz.")
    ] = 16_000,
    kernel_size: Annotated[int, typer.Option("--kernel-size", help="Taps of the filters.")] = 251,
    shape: Annotated[str, typer.Option("--shape", help="Spectral shape of the bands.")] = "sinc",
) -> None:
    """Draw how filters learned: movement.png, cumulative.png and training.gif in OUT_DIR."""
    refuse_missing(source, f"no such file; {_EXPECTED}")
    extras.require("matplotlib")
    from isincnet_jax import files, plots

    bands = _read_bands(source)
    first, last = int(bands.steps[0]), int(bands.steps[-1])
    before, after = (bands.low_hz[0], bands.high_hz[0]), (bands.low_hz[-1], bands.high_hz[-1])
    design: dict[str, Any] = {"sample_rate": sample_rate, "kernel_size": kernel_size}
    design["shape"] = shape
    # What cannot be drawn is found before the folder is touched.
    banks = {
        f"step {step}": plots.band_kernels(*edges, **design)
        for step, edges in ((first, before), (last, after))
    }
    figures = {
        "movement.png": plots.plot_filter_movement(
            *before, *after, sample_rate=sample_rate, title=f"{source.name}, step {first} to {last}"
        ),
        "cumulative.png": plots.plot_cumulative_response(
            banks, sample_rate=sample_rate, title=source.name
        ),
    }
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: a file, not a folder for pictures")
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:  # all pictures take their places, or none does
        for name, figure in figures.items():
            target = stack.enter_context(files.replacing(folder / name))
            figure.savefig(target, dpi=150)
        target = stack.enter_context(files.replacing(folder / "training.gif"))
        animation = plots.animate_filters(
            bands.low_hz, bands.high_hz, bands.steps, title=source.name, **design
        )
        animation.save(target, writer="pillow", dpi=80)
    for name in (*figures, "training.gif"):
        say(f"wrote {folder / name}")


class _Bands(NamedTuple):
    """Band edges over training: steps [n], Hz [n, filters]."""

    steps: np.ndarray
    low_hz: np.ndarray
    high_hz: np.ndarray


def _read_bands(path: Path) -> _Bands:
    """Reads what the trainer wrote.

    Raises:
        ValueError: if it is no such file, or its numbers are no bands.
    """
    import zipfile
    import zlib

    import numpy as np

    from isincnet_jax.plots.bands import checked_bands

    if not path.is_file():
        raise ValueError(f"{path}: no such file; {_EXPECTED}")
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            bands = _Bands(*(np.asarray(file[name]) for name in _Bands._fields))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: {_EXPECTED}") from error
    steps, low, high = bands
    # steps [records], edges [records, filters], real numbers
    fits = steps.ndim == 1 and low.ndim == 2 and low.size and low.shape == high.shape
    if not fits or len(steps) != len(low) or not all(each.dtype.kind in "iuf" for each in bands):
        found = ", ".join(f"{name} {list(each.shape)}" for name, each in bands._asdict().items())
        raise ValueError(f"{path}: {_EXPECTED}; found {found}")
    if not np.all(np.isfinite(steps)) or np.any(np.diff(steps) <= 0):
        raise ValueError(f"{path}: its steps must increase")
    try:
        return _Bands(steps, *checked_bands(low, high))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Made if missing.", callback=output)
    ] = Path("demo_output"),
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
    if not extras.is_installed("matplotlib"):
        warn(f"no pictures: {extras.explanation('matplotlib')}")
        return
    plot_spectrogram(original, folder / "spectrogram.png", model)
    plot_filters(folder / "filterbank.png", model)
