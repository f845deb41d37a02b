"""Commands on a terminal show that they work within a second, and leave nothing of it behind."""

from __future__ import annotations

import logging
import sys
import threading
import time

import numpy as np
import pytest
import soundfile

from isincnet_jax import cli
from isincnet_jax.cli import commands, common, progress


@pytest.fixture
def terminal(monkeypatch, capsys):
    """Standard error is taken for a terminal; the text so far is read by calling it."""
    monkeypatch.setattr(progress, "QUIET_S", 0.02)
    monkeypatch.setattr(progress, "_is_terminal", lambda: True)
    return capsys.readouterr


def _until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "nothing was shown"
        time.sleep(0.01)


def _shown_by(work):
    """Runs it while the line is watched; waits until there is one."""
    with progress.working("isincnet it"):
        line = progress._lines[-1]
        _until(lambda: line._shown)
        work(line)


def test_it_becomes_visible_within_a_second():
    """The wait and one tick, without what a busy machine adds."""
    assert progress.QUIET_S + progress._TICK_S < 1.0


def test_silence_is_filled_and_wiped(terminal):
    _shown_by(lambda line: None)
    found = terminal()
    assert found.err.startswith("\r\x1b[Kisincnet it: working, 0 s")
    assert found.err.endswith(progress._WIPE)
    assert found.out == ""


def test_output_wipes_the_line_first(terminal):
    def work(line):
        common.say("on standard output")
        _until(lambda: line._shown)
        common.warn("on standard error")
        _until(lambda: line._shown)
        sys.stderr.write("unasked\n")

    _shown_by(work)
    found = terminal()
    assert found.out == "on standard output\n"
    # every line of text begins where the line of progress was
    for text in ("on standard error", "unasked"):
        before = found.err[: found.err.index(text)]
        assert before.endswith(progress._WIPE)
    assert found.err.endswith("unasked\n")


def test_it_says_what_the_command_is_at(terminal):
    def work(line):
        progress.count("tracks")(3, 40)
        _until(lambda: "3 of 40 tracks" in line._shown)

    _shown_by(work)
    assert "isincnet it: 3 of 40 tracks, 0 s" in terminal().err


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_everything_is_as_it_was_after_an_error(terminal, error):
    streams, threads = (sys.stdout, sys.stderr), threading.active_count()
    with pytest.raises(error), progress.working("isincnet it"):
        raise error
    assert (sys.stdout, sys.stderr) == streams
    assert threading.active_count() == threads
    assert progress._lines == []
    progress.note("nobody listens")


def test_logs_and_pipes_hold_nothing_of_it(monkeypatch, capsys):
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    with progress.working("isincnet it"):
        assert progress._lines == []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    with progress.working("isincnet it"):
        assert progress._lines == []
    assert capsys.readouterr().err == ""


def _leaves(command, name=""):
    """All commands below one, by their names."""
    for key, one in getattr(command, "commands", {}).items():
        yield from _leaves(one, f"{name} {key}".strip())
    if not hasattr(command, "commands"):
        yield name, command


def test_every_command_is_watched():
    found = dict(_leaves(cli._command()))
    assert {"encode", "benchmark", "prepare", "vocoder train", "synth match"} <= set(found)
    assert all(isinstance(one, commands.Command) for one in found.values())


@pytest.mark.tail
def test_prepared_tracks_are_counted(run, terminal, monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "songs").mkdir()
    for name in range(4):
        noise = rng.uniform(-0.5, 0.5, 8000).astype(np.float32)
        soundfile.write(tmp_path / "songs" / f"{name}.wav", noise, 8000)
    noted = []
    monkeypatch.setattr(progress, "note", noted.append)
    for line, what in (
        ("prepare songs out --sample-rate 8000 --no-loudness", "tracks"),
        ("vocoder preprocess songs index --sample-rate 8000", "recordings"),
    ):
        noted.clear()
        status, _, error = run(line)
        assert status == 0, error
        assert noted == [f"{done} of 4 {what}" for done in (1, 2, 3, 4)]
    assert logging.getLogger("isincnet_jax").handlers == []
