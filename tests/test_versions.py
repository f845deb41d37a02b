"""The versions that ``pyproject.toml`` promises, and the scripts of ``.ci/`` that try them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _script(name: str):
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / ".ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


corners = _script("corners")
xla_flags = _script("xla_flags")


def _requirements() -> dict[str, Requirement]:
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    found = map(Requirement, [*PROJECT["dependencies"], *extras])
    return {one.name: one for one in found if one.name != "isincnet-jax"}


@pytest.mark.parametrize("pinned", corners.COLAB)
def test_colab_has_what_is_asked_for(pinned):
    (exact,) = Requirement(pinned).specifier
    name = Requirement(pinned).name
    if name == "jaxlib":  # comes with jax
        name = "jax"
    assert _requirements()[name].specifier.contains(exact.version)


def test_checkpoints_wait_for_the_next_orbax():
    assert not _requirements()["orbax-checkpoint"].specifier.contains("1.0.0")


@pytest.mark.parametrize("name", ["flatbuffers", "jax", "flax", "numba", "numpy", "typer"])
def test_the_core_needs(name):
    assert name in {Requirement(line).name for line in PROJECT["dependencies"]}


def test_every_dependency_has_a_floor():
    assert all(
        any(part.operator == ">=" for part in one.specifier) for one in _requirements().values()
    )


def test_notebooks_bring_no_tensorflow():
    extras = PROJECT["optional-dependencies"]

    def names(extra: str) -> set[str]:
        found = [Requirement(line) for line in extras[extra]]
        inner = [names(sub) for one in found if one.name == "isincnet-jax" for sub in one.extras]
        return {one.name for one in found}.union(*inner)

    assert {"matplotlib", "ml-collections", "h5py"} <= names("notebooks")
    assert not {name for name in names("notebooks") if name.startswith("tensorflow")}


def test_classifiers_begin_at_the_oldest_python():
    assert PROJECT["requires-python"] == f">={corners.pythons()[0]}"
    assert corners.COLAB_PYTHON in corners.pythons()


class TestFlags:
    def test_unknown_flags_are_dropped_and_known_ones_stay(self, tmp_path):
        flags = ["--xla_backend_optimization_level=0", "--xla_no_such_flag=1"]
        assert xla_flags.known(flags, tmp_path / "known.json") == flags[:1]

    def test_answers_are_kept(self, tmp_path, monkeypatch):
        asked = []
        monkeypatch.setattr(xla_flags, "is_known", lambda flag: asked.append(flag) or flag != "--b")
        cache = tmp_path / "known.json"
        assert xla_flags.known(["--a", "--b"], cache) == ["--a"]
        assert xla_flags.known(["--b", "--c", "--a"], cache) == ["--c", "--a"]
        assert asked == ["--a", "--b", "--c"]
        cache.write_text("{")
        assert xla_flags.known(["--b"], cache) == []

    def test_another_failure_is_no_answer(self, monkeypatch):
        done = subprocess.CompletedProcess([], 1, stdout="", stderr="No module named 'jax'")
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
        with pytest.raises(RuntimeError, match="No module named 'jax'"):
            xla_flags.is_known("--a")


class TestCorners:
    @pytest.fixture
    def place(self, tmp_path, monkeypatch):
        """Makes stand-ins for interpreters, in this test's PATH and pyenv folder."""
        monkeypatch.setenv("PATH", f"{tmp_path / 'path'}{os.pathsep}/usr/bin{os.pathsep}/bin")
        monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))

        def make(where: str, version: str, *, status: int = 0) -> str:
            path = tmp_path / where / f"python{version}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"#!/bin/sh\necho {version}\nexit {status}\n")
            path.chmod(0o755)
            return str(path)

        return make

    def test_interpreters_on_path_and_of_pyenv(self, place):
        assert corners.interpreter("3.97") is None
        of_pyenv = place("pyenv/versions/3.97.1/bin", "3.97")
        assert corners.interpreter("3.97") == of_pyenv
        place("path", "3.97", status=127)  # a shim of a version that is not switched on
        assert corners.interpreter("3.97") == of_pyenv
        on_path = place("path", "3.97")
        assert corners.interpreter("3.97") == on_path

    def test_a_missing_interpreter_is_told(self, monkeypatch, capsys):
        monkeypatch.setattr(corners, "interpreter", lambda version: None)
        monkeypatch.setattr(corners, "run", lambda *_, **__: "")
        corners.main([])
        told = capsys.readouterr().out.splitlines()
        assert told[0] == "corner colab: SKIPPED, no Python 3.13 found"
        assert told[1].startswith("corner newest: SKIPPED, no Python 3.13 or 3.12 or ")
        assert told[2] == "corner floors: SKIPPED, no Python 3.11 found"

    def test_what_cannot_be_installed_is_an_error(self):
        with pytest.raises(subprocess.CalledProcessError):
            corners.run(sys.executable, "-c", "raise SystemExit(2)")

    def test_replaced_packages_are_named(self):
        before = {"jaxlib": "0.7.2", "ml_dtypes": "0.5.0"}
        corners.check_kept(before, [{"name": "ml-dtypes", "version": "0.5.0"}])
        corners.check_kept(before, [{"name": "isincnet-jax", "version": "0.1.0"}])
        with pytest.raises(RuntimeError, match=r"\{'jaxlib': '0.7.2 -> 0.12.0'\}"):
            corners.check_kept(before, [{"name": "jaxlib", "version": "0.12.0"}])

    def test_floors_that_were_not_reached_are_errors(self):
        extras = PROJECT["optional-dependencies"]
        names = [*PROJECT["dependencies"], *extras["plots"], *extras["runs"]]
        floors = {one.name: min(part.version for part in one.specifier if part.operator == ">=")
                  for one in map(Requirement, names)}  # fmt: skip
        corners.check_floors(floors)
        corners.check_floors({**floors, "numpy": "2.0.0"})
        with pytest.raises(RuntimeError, match=r"numpy>=2.0: 2.1.3 is the oldest"):
            corners.check_floors({**floors, "numpy": "2.1.3"})
