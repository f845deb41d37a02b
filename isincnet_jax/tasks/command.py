"""Command line of an experiment: a config file and changes to its fields, to an exit status.

The parser is ours, not ``config_flags``: lists divided by commas, None where it is allowed, and
errors of one line that name the nearest field, as ``tests/tasks/test_command.py`` wants them.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import functools
import logging
import os
import runpy
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ml_collections

from isincnet_jax.host_memory import keep_memory
from isincnet_jax.tasks.config import Config
from isincnet_jax.tasks.process import Screen, connect, silence_threads
from isincnet_jax.tasks.run import Outcome
from isincnet_jax.training.checkpoints import CheckpointError
from isincnet_jax.training.loop import DivergedError

_logger = logging.getLogger("train")
_MAY_BE_NONE = ("data.loudness_db", "optimizer.clip_norm", "optimizer.filter_learning_rate")


class ArgumentsError(ValueError):
    """A command line that names no config, or does not fit it."""


def configs_folder() -> Path:
    """Folder of the configs: in an installed package, or in ``experiments/`` of a checkout.

    Returns:
        A folder with ``default.py`` and its kin.
    """
    installed = Path(__file__).parent / "configs"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "experiments/configs"


def run_command(
    work: Callable[[Config], Outcome | int],
    *,
    about: str | None,
    config: str,
    aliases: Mapping[str, str] = MappingProxyType({"data": "data.path"}),
    arguments: Sequence[str] | None = None,
) -> None:
    """A command: reads its config, works, ends with an exit status.

    Errors that a user can mend are one message, without a traceback.

    Args:
        work: config to exit status, or to an outcome whose text is printed.
        about: what ``--help`` prints.
        config: name of the config in :func:`configs_folder` if the arguments name none.
        aliases: short names of fields.
        arguments: of the command, without its name; those of this process if None.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(arguments):
        print((about or "").strip())  # noqa: T201
        return
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # else TensorFlow announces it at length
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[Screen()], force=True)
    logging.getLogger("jax").setLevel(logging.WARNING)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax logs what it raises as well
    silence_threads()
    keep_memory()
    with ending():
        read = read_config(arguments, default=config, aliases=aliases)
        if "hosts" in read:
            connect(read.hosts)
        outcome = work(read)
        if isinstance(outcome, Outcome):
            if outcome.text:
                print(outcome.text)  # noqa: T201
            outcome = outcome.status
        sys.exit(outcome)


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """End of a command: errors that a user can mend are one message, without a traceback.

    Yields:
        Nothing.

    Raises:
        SystemExit: with the message of such an error, or 130 after Ctrl-C.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
        sys.exit(f"error: {reason or error}")
    except (CheckpointError, DivergedError, ImportError, ValueError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def read_config(
    arguments: Sequence[str],
    *,
    default: str = "gtzan.py",
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> Config:
    """The config that ``--config=FILE`` and ``--config.field=value`` describe.

    ``FILE:text`` gives the text to ``get_config``. Values are written as in Python, text without
    quotes; the type of a field stays. Where only the number of steps is given, warm-up takes a
    tenth of them at most.

    Args:
        arguments: of the command, without its name.
        default: name of the config in :func:`configs_folder` if the arguments name none.
        aliases: short names of fields, such as "data" of "data.path".

    Returns:
        An ``ml_collections.ConfigDict``, locked: it takes no new fields.

    Raises:
        ArgumentsError: for a config file that cannot be loaded, fields that it does not have,
            values of another type, and anything else that is not an option.
    """
    path, changes = str(configs_folder() / default), []
    for name, value in _options(arguments):
        if name:
            changes.append((aliases.get(name, name), value))
        else:
            path = value
    config = _load(path)
    names = list(_field_names(config))
    for name, text in changes:
        if name not in names:
            raise ArgumentsError(f"--config.{name}: no such field{_hint(name, names)}")
        _change(config, name, text)
    _shorten_warmup(config, {name for name, _ in changes})
    return config


def _shorten_warmup(config: Config, given: Collection[str]) -> None:
    """Warm-up of a run whose steps are given: the config's own may be longer than the run."""
    for name in given:
        part, found, _ = name.rpartition("train.num_steps")
        if not found or f"{part}optimizer.warmup_steps" in given:
            continue
        section = functools.reduce(getattr, part.split(".")[:-1], config)
        tenth = section.train.num_steps // 10
        if 0 <= tenth < section.optimizer.warmup_steps and section.train.num_steps > 0:
            section.optimizer.warmup_steps = tenth
            _logger.info("warm-up of %d steps, a tenth of the run", tenth)


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names behind ``config.``, empty for the file, and values, as ``=value`` or the next one."""
    rest = iter(arguments)
    for argument in rest:
        option, equals, value = argument.partition("=")
        if not option.startswith("-"):
            raise ArgumentsError(f"unexpected argument {argument!r}; options begin with --config")
        head, _, name = option.lstrip("-").partition(".")
        if head != "config":
            raise ArgumentsError(
                f"unknown option {option}; options are --config=FILE, --config.field=value, --help"
            )
        value = value if equals else next(rest, "")
        if not (equals and name) and not value:
            raise ArgumentsError(f"{option} has no value; write {option}=VALUE")
        yield name, value


def _load(argument: str) -> Config:
    path, colon, text = argument.partition(":")
    if not Path(path).is_file():
        known = ", ".join(sorted(file.name for file in configs_folder().glob("[!_]*.py")))
        raise ArgumentsError(f"--config={path}: no such file; {configs_folder()} has {known}")
    try:
        return runpy.run_path(path)["get_config"](*([text] if colon else [])).lock()
    except Exception as error:  # a program: it may raise anything
        raise ArgumentsError(
            f"--config={path}: is no config: {type(error).__name__}: {_one_line(error)}"
        ) from error


def _field_names(config: Config, prefix: str = "") -> Iterator[str]:
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            yield from _field_names(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def _hint(name: str, names: Sequence[str]) -> str:
    last = name.rpartition(".")[2]
    inside = [other for other in names if other.startswith(f"{name}.")]
    same_end = [other for other in names if other.rpartition(".")[2] == last]
    near = inside or same_end or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"; did you mean --config.{near[0]}?"
    return f"; the fields and what they mean are in {configs_folder() / 'default.py'}"


def _change(config: Config, name: str, text: str) -> None:
    kind = _type_of(config, name)
    value = _value(text, kind)
    try:
        if value is None and name not in _MAY_BE_NONE and not name.startswith("loss."):
            raise TypeError("None fits any field of a ConfigDict")
        config.update_from_flattened_dict({name: value})
    except TypeError as error:
        raise ArgumentsError(f"--config.{name}={text}: must be of type {kind.__name__}") from error


def _type_of(config: Config, name: str) -> type:
    head, _, rest = name.partition(".")
    return _type_of(config[head], rest) if rest else config.get_type(head)


def _value(text: str, kind: type) -> Any:
    if kind is str:
        return text
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if kind in (tuple, list) and not isinstance(value, (tuple, list)):
        value = text.split(",")
    return kind(value) if kind in (tuple, list) else value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).replace("\\n", " ").split())[:200]
