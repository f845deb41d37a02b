"""From the arguments of a command to its exit status, the same for all experiments."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import ml_collections

from isincnet_jax.data.corpus import CorpusError
from isincnet_jax.tasks.command import read_config
from isincnet_jax.tasks.process import Screen, connect, keep_memory, silence_threads
from isincnet_jax.training.checkpoints import CheckpointError
from isincnet_jax.training.loop import DivergedError


def run_command(
    work: Callable[[ml_collections.ConfigDict], int], *, about: str, default: Path | None = None
) -> None:
    """A command: reads its config, works, ends with an exit status.

    Errors that a user can mend are one message, without a traceback.

    Args:
        work: config to exit status.
        about: what ``--help`` prints.
        default: file of the config if none is named, for commands that take ``--config.data=DIR``
            for ``--config.data.path=DIR``; None for :func:`.arguments.read_config`'s own.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(about.strip())  # noqa: T201
        return
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # else TensorFlow announces it at length
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[Screen()], force=True)
    logging.getLogger("jax").setLevel(logging.WARNING)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax logs what it raises as well
    silence_threads()
    keep_memory()
    try:
        given = sys.argv[1:]
        config = read_config(given if default is None else _spelled_out(given, default))
        if "hosts" in config:
            connect(config.hosts)
        sys.exit(work(config))
    except OSError as error:
        reason = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
        sys.exit(f"error: {reason or error}")
    except (CorpusError, CheckpointError, DivergedError, ImportError, ValueError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _spelled_out(arguments: Sequence[str], default: Path) -> list[str]:
    """``--config.data=DIR`` is short for ``--config.data.path=DIR``."""
    short, full = "--config.data", "--config.data.path"
    known = [
        full + argument.removeprefix(short)
        if argument == short or argument.startswith(short + "=")
        else argument
        for argument in arguments
    ]
    return [f"--config={default}", *known]
