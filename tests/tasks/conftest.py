"""Runs of ``experiments/train.py`` on a tiny model and generated music."""

from __future__ import annotations

import importlib
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import resilience

from isincnet_jax.files import locked

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--config.train.num_steps=40", "--config.train.save_every=10")


@pytest.fixture(scope="session")
def start(base):
    """Runs the command in a process of its own; no output may have a traceback."""

    def call(name, *options, status=0, **more):
        done = resilience.run(base / name, *SHORT, *options, **more)
        output = done.stdout + done.stderr
        assert "Traceback" not in output, output
        assert done.returncode == status, output
        return done.stderr

    return call


@pytest.fixture(scope="session")
def finished(base, start):
    """A run of 40 steps on one device: its folder and what it printed."""
    output = base / "finished.txt"
    with locked(base / "finished.lock"):
        if not output.exists():
            output.write_text(start("finished"))
    return base / "finished", output.read_text()


@pytest.fixture
def script(base):
    """Runs an experiment in a process of its own; no output may have a traceback."""

    def call(name, arguments, *, num_devices=1):
        done = subprocess.run(
            [sys.executable, str(ROOT / "experiments" / name), *arguments],
            env=resilience.environment(base, num_devices=num_devices),
            capture_output=True,
            text=True,
            check=False,
        )
        output = done.stdout + done.stderr
        assert "Traceback" not in output, output
        assert done.returncode == 0, output
        return done

    return call


@pytest.fixture
def in_process(monkeypatch):
    """Runs an experiment's main in this process: what it ends with, a message or a status."""
    from isincnet_jax.tasks import command

    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(command, "silence_threads", lambda: None)
    monkeypatch.setattr(logging, "basicConfig", lambda **options: None)

    def call(name, arguments):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(name).main()
        return ended.value.code

    return call


@pytest.fixture
def help_of(monkeypatch, capsys):
    """What an experiment prints for ``--help``."""

    def call(name):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
        importlib.import_module(name).main()
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return call


@pytest.fixture
def main(base, in_process, capsys, worker_id):
    """Runs the command in this process: exit status and standard error."""

    def call(*options, name=f"bad-{worker_id}"):
        code = in_process("train", resilience.command(base / name, *SHORT, *options)[2:])
        return (1, code) if isinstance(code, str) else (code or 0, capsys.readouterr().err)

    call.folder = base / f"bad-{worker_id}"
    return call
