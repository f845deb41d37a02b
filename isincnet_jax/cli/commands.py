"""Commands of Typer that make the folders of their outputs and name options in their errors."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
import typer.core

from isincnet_jax.cli import progress

EXPECTED = (ValueError, TypeError, OSError, ImportError, RuntimeError, MemoryError)
"""Errors that a user can mend: one line and exit status 1."""

# Typer's own, or Click's: newer versions of Typer have a copy of Click inside.
USAGE_ERROR: Any = typer.BadParameter.__base__
"""Wrong usage, whose text is :func:`usage_text`: one line and exit status 2."""

_OUTPUTS = "isincnet_jax.outputs"
# name=value or name= as messages write it; not in addresses, nor in --config.name=value.
_KEYWORD = re.compile(r"(?<![\w.?&/-])([a-z]\w*)=((?:None|True|False)\b|(?=[\s:;,]|$))?")
_AFFIXES = re.compile("^num_|_(s|hz|db|ms)$")


class CommandError(ValueError):
    """An error whose message is as the command line needs it."""


class Commands(typer.Typer):
    """An application whose commands are of :class:`Command`."""

    def command(self, name: str | None = None, **options: Any) -> Any:
        """Registers a command, see :meth:`typer.Typer.command`.

        Args:
            name: of the command; the function's if None.
            options: as of Typer; ``cls`` is :class:`Command` unless given.

        Returns:
            A decorator that returns the function as it is.
        """
        return super().command(name, **{"cls": Command, **options})


class Command(typer.core.TyperCommand):
    """A command that makes the folders of its outputs and names its options in errors.

    While it is silent, it shows that it works, see :mod:`.progress`.
    """

    def invoke(self, ctx: Any) -> Any:
        """Runs the command.

        Args:
            ctx: of Click, with the outputs that :func:`output` noted.

        Returns:
            What the command returns.

        Raises:
            CommandError: for an error of :data:`EXPECTED` that names keywords which are options;
                others are raised as they are.
        """
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(progress.working(ctx.command_path))
                for path in ctx.meta.get(_OUTPUTS, ()):
                    stack.enter_context(made_folder(path))
                return super().invoke(ctx)
        except EXPECTED as error:
            text = str(error)
            named = name_options(text, options_of(self.params))
            if named == text:
                raise
            raise CommandError(named) from error


def output(context: typer.Context, value: Path | None) -> Path | None:
    """Callback of an argument or option: a file or folder to write, its own folder is made.

    What the command then leaves empty, as when it fails, is removed again.

    Args:
        context: of the command; remembers the path.
        value: as it was parsed; None where the option was not given.

    Returns:
        The same.
    """
    if value is not None:
        context.meta.setdefault(_OUTPUTS, []).append(value)
    return value


@contextlib.contextmanager
def made_folder(path: Path) -> Iterator[None]:
    """Makes the folder of ``path``; removes what was made, and ``path`` itself, if it stays empty.

    Args:
        path: of the file or folder to write.

    Yields:
        Nothing, while its folder is there.

    Raises:
        OSError: if it cannot be made; the message names ``path``.
    """
    # What is not there yet, the innermost first: nothing else is ever removed.
    fresh = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise OSError(f"{path}: cannot be written: Not a directory") from error
        except OSError as error:
            raise OSError(f"{path}: cannot be written: {error.strerror or error}") from error
        yield
    finally:
        within = [one for one in path.rglob("*") if one.is_dir()] if path in fresh else []
        for folder in (*sorted(within, reverse=True), *fresh):  # from the innermost on
            with contextlib.suppress(OSError):  # it has content, or is a file
                folder.rmdir()


def options_of(parameters: Iterable[Any]) -> dict[str, str]:
    """Options as they are written, by the names of functions' parameters and by their own.

    Args:
        parameters: of a command, Click's.

    Returns:
        Long options as they are written, "--sample-rate", by names with underscores.
    """
    found: dict[str, str] = {}
    for parameter in parameters:
        longs = [option for option in parameter.opts if option.startswith("--")]
        for name in (*longs, *([parameter.name] if longs else [])):
            found.setdefault(name.removeprefix("--").replace("-", "_"), longs[0])
    return found


def usage_text(error: Any) -> str:
    """Usage error in one line, with the command whose help says more.

    Args:
        error: of :data:`USAGE_ERROR`.

    Returns:
        The line; empty where the help has been printed instead, for want of arguments.
    """
    message = error.format_message().rstrip(".")
    hint = f"; see {error.ctx.command_path} --help" if message and error.ctx else ""
    return f"{message[:1].lower()}{message[1:]}{hint}"


def name_options(text: str, options: Mapping[str, str]) -> str:
    """A message in which keywords that are options of the command are written as such.

    Args:
        text: "sample_rate=0 must be positive", "or switch it off with loudness_db=None".
        options: of the command, see :func:`options_of`.

    Returns:
        The message; keywords of no option stay as they are.

    Example:
        >>> options = {"duration": "--duration", "no_loudness": "--no-loudness"}
        >>> name_options("duration_s=9: too long, or use loudness_db=None", options)
        '--duration 9: too long, or use --no-loudness'
    """

    def written(match: re.Match[str]) -> str:
        keyword, constant = match.groups()
        for name in (keyword, *_shorter(keyword)):
            off = options.get(f"no_{name}")
            if constant in ("None", "False") and off is not None:
                return off
            if name in options:
                if constant is None:
                    return f"{options[name]} "
                return options[name] if constant in ("", "True") else f"no {options[name]}"
        return match[0]

    return _KEYWORD.sub(written, text)


def _shorter(keyword: str) -> list[str]:
    """Without its unit, and without ``num_``."""
    found = []
    while (shorter := _AFFIXES.sub("", keyword, count=1)) != keyword:
        found.append(shorter)
        keyword = shorter
    return found
