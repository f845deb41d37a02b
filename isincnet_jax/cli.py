"""The ``isincnet`` command. Heavy modules are imported inside the commands that need them."""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np

    from isincnet_jax.layers.quantizer import Quantizer
    from isincnet_jax.models.archive import Header
    from isincnet_jax.models.autoencoder import Codec

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Invertible filterbanks for audio: encode, decode, reconstruct, describe, plot.",
)
plot_app = typer.Typer(no_args_is_help=True, help="Draw a filterbank or a spectrogram.")
app.add_typer(plot_app, name="plot")

_DEFAULT_MODEL = "16khz-linear"
InputFile = Annotated[Path, typer.Argument(metavar="IN", help="Audio file, any format and rate.")]
ModelOption = Annotated[
    str, typer.Option("--model", help="A preset, or an iSincNet .ckpt file. See `describe`.")
]
BitsOption = Annotated[
    int | None, typer.Option("--q-bits", help="Quantise to so many bits, 2 to 16.")
]
ScalesOption = Annotated[
    str,
    typer.Option("--scales", help="Quantiser scales: 'signal' (two passes) or 'spec' (one pass)."),
]


def main() -> None:
    """Runs the command; errors that a user can mend become one line and exit status 1."""
    try:
        app()
    except (ValueError, TypeError, OSError, ImportError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        sys.stderr.write(f"isincnet: error: {text}\n")
        sys.exit(1)


def _load_model(name: str) -> Codec:
    from isincnet_jax.pretrained import hub, reference

    if name.endswith(".ckpt") or Path(name).is_file():
        return reference.load_reference(name)
    return hub.from_pretrained(name)


def _say(text: str) -> None:
    typer.echo(text)


def _compiled_speed(codec: Codec, num_channels: int, length: int) -> float:
    """Encoding and decoding of one block once compiled, as a multiple of real time."""
    import jax
    import numpy as np

    length = min(length, 16 * codec.spec.sample_rate)
    noise = np.random.default_rng(0).uniform(-1, 1, (num_channels, length)).astype(np.float32)
    seconds = math.inf
    for _ in range(3):
        begin = time.perf_counter()
        jax.block_until_ready(codec.decode(codec.encode(noise), length=length))
        seconds = min(seconds, time.perf_counter() - begin)
    return length / codec.spec.sample_rate / seconds


def _open_input(path: Path, codec: Codec) -> tuple[Any, Any]:
    """The file's header, and a function that starts reading it at the codec's rate."""
    from isincnet_jax.data import audio_files

    info = audio_files.audio_info(path)
    rate = codec.spec.sample_rate
    if info.sample_rate != rate:
        _say(f"{path.name}: resampled from {info.sample_rate} Hz to {rate} Hz")
    return info, lambda: audio_files.read_blocks(path, sample_rate=rate)


def _fitted_quantizer(codec: Codec, read: Any, q_bits: int | None, scales: str) -> Quantizer | None:
    """The quantizer that the options ask for; None without --q-bits."""
    from isincnet_jax.models import blocks

    if q_bits is None:
        return None
    if scales not in ("signal", "spec"):
        raise ValueError(f"--scales {scales!r}: use 'signal' or 'spec'")
    quantizer = codec.quantizer(q_bits=q_bits)
    if scales == "spec":
        return quantizer
    return blocks.fit_quantizer(codec, read(), quantizer=quantizer)


@app.command()
def reconstruct(
    source: InputFile,
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Audio file to write.")],
    model: ModelOption = _DEFAULT_MODEL,
    q_bits: BitsOption = None,
    scales: ScalesOption = "signal",
) -> None:
    """Encode and decode IN, write the result to OUT, and print how close it is.

    OUT has the model's sample rate and all channels of IN. Long files are processed in blocks.
    """
    from isincnet_jax.data import audio_writing

    begin = time.perf_counter()
    codec = _load_model(model)
    info, read = _open_input(source, codec)
    subtype = audio_writing.output_subtype(target, info.subtype)
    quantizer = _fitted_quantizer(codec, read, q_bits, scales)
    meter = _Meter()
    audio_writing.write_blocks(
        target,
        meter.reconstruct(codec, read(), quantizer),
        sample_rate=codec.spec.sample_rate,
        num_channels=info.num_channels,
        subtype=subtype,
    )
    elapsed = time.perf_counter() - begin
    bits = f", {q_bits} bits" if q_bits is not None else ""
    _say(
        f"model   {codec.name}: {codec.spec.num_channels} channels, "
        f"{codec.spec.frame_rate_hz:g} frames/s{bits}"
    )
    meter.report()
    length = meter.sums.count // info.num_channels
    speed = _compiled_speed(codec, info.num_channels, length)
    _say(f"speed   {speed:.0f} x real time once compiled ({elapsed:.1f} s in all)")
    _say(f"wrote   {target}: {length / codec.spec.sample_rate:.2f} s, {subtype}")


class _Meter:
    """Counts errors and clipping while blocks pass by."""

    def __init__(self) -> None:
        from isincnet_jax.dsp import distances

        self.sums = distances.ErrorSums()
        self.clipped = 0

    def reconstruct(
        self, codec: Codec, source: Iterator[np.ndarray], quantizer: Quantizer | None
    ) -> Iterator[np.ndarray]:
        """Yields the reconstruction of a sequence of blocks."""
        import numpy as np

        from isincnet_jax.dsp import distances
        from isincnet_jax.models import blocks

        for target, prediction in blocks.reconstruct_blocks(codec, source, quantizer=quantizer):
            self.sums += distances.error_sums(prediction=prediction, target=target)
            self.clipped += int(np.count_nonzero(np.abs(prediction) > 1.0))
            yield prediction

    def report(self) -> None:
        """Prints the figures."""
        sums = self.sums
        beyond = f" ({self.clipped} samples beyond full scale)" if self.clipped else ""
        _say(f"MSE     {sums.mse:.3e}")
        _say(f"MAE     {sums.mae:.3e}")
        _say(f"SNR     {_decibel_text(sums.snr_db)}")
        _say(f"SI-SDR  {_decibel_text(sums.si_sdr_db)}")
        _say(f"peak    {sums.prediction_peak:.4f}{beyond}")


def _decibel_text(value_db: float) -> str:
    if math.isinf(value_db):
        return "inf dB (no error)" if value_db > 0 else "-inf dB (silent input)"
    return f"{value_db:.2f} dB"


@app.command()
def encode(
    source: InputFile,
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Archive to write, .npz.")],
    model: ModelOption = _DEFAULT_MODEL,
    q_bits: BitsOption = None,
    scales: ScalesOption = "signal",
) -> None:
    """Encode IN into coefficients (float32) or, with --q-bits, into codes."""
    import numpy as np

    from isincnet_jax.data import audio_writing
    from isincnet_jax.models import archive, blocks

    if target.suffix != ".npz":
        raise ValueError(f"{target}: archives end in .npz; use {target.with_suffix('.npz').name}")
    codec = _load_model(model)
    info, read = _open_input(source, codec)
    quantizer = _fitted_quantizer(codec, read, q_bits, scales)
    counted = _Counter(read())
    rows = blocks.encode_blocks(codec, counted)
    with audio_writing.replacing(target) as temporary:
        num_frames = archive.write_archive(
            temporary,
            rows if quantizer is None else blocks.quantize_rows(rows, quantizer),
            make_header=lambda: archive.Header(
                spec=codec.spec,
                model=model,
                length=counted.rows,
                original_length=info.num_samples,
                original_rate=info.sample_rate,
                q_bits=quantizer.q_bits if quantizer else 0,
                mu=quantizer.mu if quantizer else 0.0,
                code=quantizer.code if quantizer else "symmetric",
            ),
            scales=None if quantizer is None else np.asarray(quantizer.scale),
        )
    kind = "float32 coefficients" if quantizer is None else f"{quantizer.q_bits}-bit codes"
    _say(
        f"wrote {target}: {num_frames} frames x {info.num_channels} audio channels x "
        f"{codec.spec.num_channels} {kind}, {target.stat().st_size} bytes"
    )


class _Counter:
    """An iterator over arrays that counts the rows that went by."""

    def __init__(self, blocks: Iterator[np.ndarray]) -> None:
        self._blocks = blocks
        self.rows = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self.rows += len(block)
            yield block


@app.command()
def decode(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Archive of `isincnet encode`.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Audio file to write.")],
    model: Annotated[
        str | None, typer.Option("--model", help="Insist on this model instead of the archive's.")
    ] = None,
    model_rate: Annotated[
        bool, typer.Option("--model-rate", help="Keep the model's rate; do not resample back.")
    ] = False,
) -> None:
    """Decode an archive; the result has the original's rate and length unless told otherwise."""
    from isincnet_jax.data import audio_files, audio_writing
    from isincnet_jax.models import archive, blocks

    with archive.ArchiveReader(source) as reader:
        header = reader.header
        codec = _codec_of(header, model, source)
        quantizer = reader.quantizer()
        rows = reader.rows()
        num_channels, rows = _peek_channels(rows)
        if quantizer is not None:
            rows = blocks.dequantize_rows(rows, quantizer)
        samples = blocks.decode_blocks(codec, rows, length=header.length)
        rate = header.spec.sample_rate if model_rate else header.original_rate
        length = header.length if model_rate else header.original_length
        if rate != header.spec.sample_rate:
            _say(f"{source.name}: resampled from {header.spec.sample_rate} Hz back to {rate} Hz")
        resampled = audio_files.resample_blocks(
            samples, source_rate=header.spec.sample_rate, target_rate=rate
        )
        written = audio_writing.write_blocks(
            target,
            blocks.exactly(resampled, length),
            sample_rate=rate,
            num_channels=num_channels,
            subtype="PCM_24" if header.q_bits else "FLOAT",
        )
    _say(f"wrote {target}: {written / rate:.2f} s, {num_channels} channels, {rate} Hz")


def _peek_channels(rows: Iterator[np.ndarray]) -> tuple[int, Iterator[np.ndarray]]:
    """The audio channels of the first chunk, and the sequence with it."""
    first = next(rows)  # an archive has rows, or its reader says that it is damaged
    return first.shape[1], itertools.chain([first], rows)


def _codec_of(header: Header, model: str | None, source: Path) -> Codec:
    """The codec that made an archive: by name if that still has the same bank, else by spec."""
    from isincnet_jax.layers.sincnet import SincNet
    from isincnet_jax.models.autoencoder import build_codec
    from isincnet_jax.pretrained import hub

    if model is not None:
        codec = _load_model(model)
        if codec.spec == header.spec:
            return codec
        raise ValueError(
            f"{source}: was encoded with another bank ({header.model}, {header.spec.digest()}) "
            f"than {model} ({codec.spec.digest()}); leave --model out"
        )
    if header.model in hub.PRESETS or Path(header.model).is_file():
        codec = _load_model(header.model)
        if codec.spec == header.spec:
            return codec
    _say(f"{source.name}: no {header.model!r} with its bank here; decoding by the bank's inverse")
    return build_codec(SincNet(header.spec), name=f"bank {header.spec.digest()}")


@app.command()
def describe(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A preset or a .ckpt file.")
    ] = None,
) -> None:
    """Print a model's geometry, frame bounds, exactness, delay and rates; without MODEL, list."""
    from isincnet_jax.pretrained import hub

    if model is None:
        for name, preset in hub.PRESETS.items():
            _say(f"{name:22s} {preset.summary}")
        return
    from isincnet_jax.models import description

    for label, value in description.describe(_load_model(model)):
        _say(f"{label:22s} {value}")


@plot_app.command("filters")
def plot_filters(
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Picture: .png, .pdf, .svg.")],
    model: ModelOption = _DEFAULT_MODEL,
) -> None:
    """Draw a model's impulse responses, frequency responses and their sum."""
    from isincnet_jax import plots

    codec = _load_model(model)
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
    model: ModelOption = _DEFAULT_MODEL,
    seconds: Annotated[float, typer.Option("--seconds", help="Draw so much of IN.")] = 10.0,
) -> None:
    """Draw the signed coefficients and the magnitude of the first channel of IN."""
    import numpy as np

    from isincnet_jax import plots
    from isincnet_jax.data import audio_files

    codec = _load_model(model)
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
    _say(f"wrote {target}")


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER")] = Path("demo_output"),
    model: ModelOption = _DEFAULT_MODEL,
) -> None:
    """Reconstruct the built-in clip into FOLDER: audio, spectrogram and filterbank pictures."""
    from isincnet_jax.data import audio_writing
    from isincnet_jax.data.demo import demo_waveform

    codec = _load_model(model)
    rate = codec.spec.sample_rate
    folder.mkdir(parents=True, exist_ok=True)
    original = folder / "original.wav"
    audio_writing.write_blocks(
        original, [demo_waveform(rate)[:, None]], sample_rate=rate, num_channels=1, subtype="FLOAT"
    )
    reconstruct(original, folder / "reconstructed.wav", model)
    _say("")
    reconstruct(original, folder / "reconstructed_8bit.wav", model, q_bits=8)
    _say("")
    plot_spectrogram(original, folder / "spectrogram.png", model)
    plot_filters(folder / "filterbank.png", model)


if __name__ == "__main__":
    main()
