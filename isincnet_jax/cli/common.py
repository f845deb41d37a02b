"""What the commands share: the application, its options, models and inputs."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

import isincnet_jax
from isincnet_jax import files
from isincnet_jax.cli.commands import Commands, output

if TYPE_CHECKING:
    from isincnet_jax.bank.codec import Codec
    from isincnet_jax.bank.quantizer import Quantizer

app = Commands(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Invertible filterbanks for audio: encode, decode, reconstruct, describe, plot.",
)
plot_app = Commands(no_args_is_help=True, help="Draw a filterbank or a spectrogram.")
app.add_typer(plot_app, name="plot")


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"isincnet {isincnet_jax.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Invertible filterbanks for audio: encode, decode, reconstruct, describe, plot."""


DEFAULT_MODEL = "16khz-linear"
InputFile = Annotated[Path, typer.Argument(metavar="IN", help="Audio file, any format and rate.")]
OutputAudio = Annotated[
    Path, typer.Argument(metavar="OUT", help="Audio file to write.", callback=output)
]
ModelOption = Annotated[
    str,
    typer.Option("--model", help="A preset, an exported folder or .zip, or an iSincNet .ckpt."),
]
BitsOption = Annotated[
    int | None, typer.Option("--q-bits", help="Quantise to so many bits, 2 to 16.")
]
ScalesOption = Annotated[
    str,
    typer.Option("--scales", help="Quantiser scales: 'signal' (two passes) or 'spec' (one pass)."),
]
TruncatedOption = Annotated[
    str,
    typer.Option(
        "--truncated", help="Of damaged or cut audio: 'refuse', or 'keep' what can be read of it."
    ),
]

RefinementsOption = Annotated[
    int,
    typer.Option(
        "--refinements",
        min=0,
        help="Decode so many times what the result lacks: 2 to 5 dB more of an exact inverse, each "
        "for one more encoding and decoding.",
    ),
]


def finite(value: float | None) -> float | None:
    """Callback of every option that takes a number with a fraction: NaN and infinity are none.

    Raises:
        typer.BadParameter: for those, which Python reads as numbers.
    """
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value}: give a finite number")
    return value


def positive(value: float | None) -> float | None:
    """Callback of durations, rates and steps: :func:`finite`, and above 0."""
    if finite(value) is not None and value <= 0:  # type: ignore[operator]
        raise typer.BadParameter(f"{value}: give a number above 0")
    return value


def load_model(name: str) -> Codec:
    """The codec of a preset, an exported model, an address or a checkpoint file.

    Raises:
        ValueError: if there is none, or the model is no filterbank with its inverse.
    """
    from isincnet_jax.bank.codec import Codec
    from isincnet_jax.pretrained import hub, reference

    if name.endswith(".ckpt") or (Path(name).is_file() and not name.endswith(".zip")):
        return reference.load_reference(name)
    codec = hub.from_pretrained(name)
    if not isinstance(codec, Codec):
        raise ValueError(
            f"--model {name}: a {type(codec.model).__name__}; this command needs a filterbank "
            "with its inverse"
        )
    return codec


def say(text: str) -> None:
    """Prints a line, or several."""
    typer.echo(printable(text, sys.stdout))


def warn(text: str) -> None:
    """Prints a line on standard error."""
    typer.echo(printable(text, sys.stderr), err=True)


def printable(text: str, stream: TextIO) -> str:
    """A text that a stream takes, whatever names are in it and whatever its encoding is."""
    text = "\n".join(map(files.shown, text.split("\n")))
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


@contextlib.contextmanager
def warnings_once() -> Iterator[None]:
    """Prints what the package warns of to standard error, a line only once."""
    logger, said = logging.getLogger("isincnet_jax"), set()

    class Once(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if text not in said:
                said.add(text)
                sys.stderr.write(f"{printable(text, sys.stderr)}\n")

    handler = Once(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def open_input(path: Path, codec: Codec, truncated: str = "refuse") -> tuple[Any, Any]:
    """The file's header, and a function that starts reading it at the codec's rate."""
    from isincnet_jax.data import audio_files

    mode: Any = truncated
    info = audio_files.audio_info(path, truncated=mode)
    rate = codec.spec.sample_rate
    if info.sample_rate != rate:
        say(f"{path.name}: resampled from {info.sample_rate} Hz to {rate} Hz")
    return info, lambda: audio_files.read_blocks(path, sample_rate=rate, truncated=mode)


def fitted_quantizer(codec: Codec, read: Any, q_bits: int | None, scales: str) -> Quantizer | None:
    """The quantizer that the options ask for; None without --q-bits."""
    from isincnet_jax.bank import long_signals

    if q_bits is None:
        return None
    if scales not in ("signal", "spec"):
        raise ValueError(f"--scales {scales!r}: use 'signal' or 'spec'")
    quantizer = codec.quantizer(q_bits=q_bits)
    if scales == "spec":
        return quantizer
    return long_signals.fit_quantizer(codec, read(), quantizer=quantizer)
