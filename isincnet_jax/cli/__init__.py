"""The ``isincnet`` command. Heavy modules are imported inside the commands that need them."""

from __future__ import annotations

import functools
import sys
from typing import Any

import typer.main

# Importing a module registers its commands, in the order in which the help lists them.
from isincnet_jax.cli import (  # noqa: F401
    archives,
    benchmark,
    commands,
    export,
    optimize,
    pictures,
    preparation,
    push,
    reconstruction,
    streaming,
    synth,
    synth_match,
    synth_render,
    vocoder,
)
from isincnet_jax.cli.common import app, printable, warnings_once


@functools.cache
def _command() -> Any:
    """The parser, made once: a process may call :func:`main` many times."""
    return typer.main.get_command(app)


def main() -> None:
    """Runs the command; errors become one line, with status 2 for wrong usage and 1 for others."""
    try:
        with warnings_once():
            # Standalone, Typer would say in several lines what is wrong with the usage.
            sys.exit(_command()(prog_name="isincnet", standalone_mode=False))
    except commands.EXPECTED as error:
        _end(str(error) or type(error).__name__, 1)
    except commands.USAGE_ERROR as error:
        _end(commands.usage_text(error), 2)


def _end(text: str, status: int) -> None:
    if text:
        line = printable(" ".join(text.split()), sys.stderr)
        sys.stderr.write(f"isincnet: error: {line}\n")
    sys.exit(status)
