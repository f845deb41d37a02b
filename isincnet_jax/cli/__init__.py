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
    pictures,
    preparation,
    reconstruction,
    streaming,
    synth,
    synth_match,
    vocoder,
)
from isincnet_jax.cli.common import app, printable, warnings_once


@functools.cache
def _command() -> Any:
    """The parser, made once: a process may call :func:`main` many times."""
    return typer.main.get_command(app)


def main() -> None:
    """Runs the command; errors that a user can mend become one line and exit status 1."""
    try:
        with warnings_once():
            _command()()
    except commands.EXPECTED as error:
        text = " ".join(str(error).split()) or type(error).__name__
        sys.stderr.write(f"isincnet: error: {printable(text, sys.stderr)}\n")
        sys.exit(1)
