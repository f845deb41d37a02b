"""The ``isincnet`` command. Heavy modules are imported inside the commands that need them."""

from __future__ import annotations

import sys

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


def main() -> None:
    """Runs the command; errors that a user can mend become one line and exit status 1."""
    try:
        with warnings_once():
            app()
    except commands.EXPECTED as error:
        text = " ".join(str(error).split()) or type(error).__name__
        sys.stderr.write(f"isincnet: error: {printable(text, sys.stderr)}\n")
        sys.exit(1)
