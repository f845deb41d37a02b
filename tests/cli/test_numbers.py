"""Numbers of the command line: NaN and infinity are none, durations are above 0."""

from __future__ import annotations

import typing

import pytest
import typer

from isincnet_jax import cli  # noqa: F401  # registers the commands
from isincnet_jax.cli import common

POSITIVE = {"duration", "length", "seconds", "chunk_ms", "step"}


def _floating(app, path=()):
    """Every option with a fraction: the command, the option's name, and its declaration."""
    for group in app.registered_groups:
        yield from _floating(group.typer_instance)
    for command in app.registered_commands:
        hints = typing.get_type_hints(command.callback, include_extras=True)
        for name, hint in hints.items():
            kind, *extras = typing.get_args(hint) or (hint,)
            if float in (kind, *typing.get_args(kind)):
                yield f"{command.callback.__name__} {name}", name, extras[0]


FLOATING = list(_floating(common.app))


def test_all_of_them_are_found():
    assert {name for _, name, _ in FLOATING} >= POSITIVE


@pytest.mark.parametrize(("label", "name", "option"), FLOATING, ids=[case[0] for case in FLOATING])
def test_what_is_no_number_is_refused(label, name, option):
    for value in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(typer.BadParameter, match="give a finite number"):
            option.callback(value)
    if name in POSITIVE:
        for value in (0.0, -1.0):
            with pytest.raises(typer.BadParameter, match="give a number above 0"):
                option.callback(value)
    assert option.callback(1.5) == 1.5


def test_it_is_a_usage_error(run):
    status, _, err = run("synth generate --length nan")
    assert status == 2
    assert "--length" in err
    assert "nan: give a finite number" in err
