"""Options that commands share, the application, and how it prints."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, TextIO

import typer

import isincnet_jax
from isincnet_jax import files
from isincnet_jax.cli.commands import Commands, output

app = Commands(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Invertible filterbanks for audio: encode, decode, reconstruct, describe, plot.",
)
plot_app = Commands(no_args_is_help=True, help="Draw a filterbank or a spectrogram.")
app.add_typer(plot_app, name="plot")

_SHOWN = 5  # of the files that were left out


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

    Args:
        value: as it was parsed; None where the option was not given.

    Returns:
        The same.

    Raises:
        typer.BadParameter: for those, which Python reads as numbers.
    """
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value}: give a finite number")
    return value


def positive(value: float | None) -> float | None:
    """Callback of durations, rates and steps: :func:`finite`, and above 0.

    Args:
        value: as it was parsed; None where the option was not given.

    Returns:
        The same.

    Raises:
        typer.BadParameter: for 0 or less, NaN and infinity.
    """
    if finite(value) is not None and value <= 0:  # type: ignore[operator]
        raise typer.BadParameter(f"{value}: give a number above 0")
    return value


LoudnessOption = Annotated[
    float,
    typer.Option("--loudness", help="Integrated loudness of every track, LUFS.", callback=finite),
]
NoLoudnessOption = Annotated[
    bool, typer.Option("--no-loudness", help="Leave the levels as they are.")
]


def refuse_missing(path: Path, what: str = "no such file") -> None:
    """Input of a command: asked for before optional packages are, and before any work.

    Args:
        path: of a file or folder; a link that leads nowhere is left to who reads it.
        what: is wrong if it is not there, and what to give.

    Raises:
        ValueError: if nothing is there.
    """
    if not os.path.lexists(path):
        raise ValueError(f"{path}: {what}")


def say(text: str) -> None:
    """Prints a line, or several.

    Args:
        text: of one line or several, of any characters.
    """
    typer.echo(printable(text, sys.stdout))


def warn(text: str) -> None:
    """Prints a line on standard error.

    Args:
        text: of one line or several, of any characters.
    """
    typer.echo(printable(text, sys.stderr), err=True)


def say_skipped(skipped: Mapping[str, str], *, what: str = "skipped") -> None:
    """Prints how many files were left out, and why the first of them were; nothing for none.

    Args:
        skipped: reasons by name.
        what: stands before their number.
    """
    if skipped:
        say(f"{what}: {len(skipped)}")
    for name, reason in list(skipped.items())[:_SHOWN]:
        say(f"  {name}: {reason}")


def printable(text: str, stream: TextIO) -> str:
    """A text that a stream takes, whatever names are in it and whatever its encoding is.

    Args:
        text: lines.
        stream: that they will be written to; UTF-8 is assumed where it names no encoding.

    Returns:
        The text; characters that the stream cannot encode are written out as escapes.
    """
    text = "\n".join(map(files.shown, text.split("\n")))
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


@contextlib.contextmanager
def warnings_once() -> Iterator[None]:
    """Prints what the package warns of to standard error, a line only once.

    Yields:
        Nothing; the handler is removed at the end.
    """
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
