"""Every notebook runs from top to bottom, as a user would run it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import sys
import types
from pathlib import Path

import pytest

COLAB = Path(__file__).parents[1] / "colab"
NOTEBOOKS = sorted(COLAB.glob("*.ipynb"))
CELL = (COLAB / "first_cell.py").read_text(encoding="utf-8")


def _execute(path: Path):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=480, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    )
    client.execute()  # raises CellExecutionError where a cell does
    return notebook


@pytest.mark.quick(0)
@pytest.mark.filterwarnings("ignore")  # of the Jupyter machinery, not of the notebook's kernel
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_draws(path):
    notebook = _execute(path)
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    pictures = [out for out in outputs if "image/png" in out.get("data", {})]
    assert pictures, "the notebook draws nothing"
    assert not [out for out in outputs if out.output_type == "error"]


@pytest.mark.parametrize(
    "name", ["quickstart", "sincconv_step_by_step", "filter_shapes", "vocoder"]
)
def test_the_notebook_is_there(name):
    assert name in [path.stem for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_the_same_first_cell(path):
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    first = next(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert first == CELL.strip(), "run: python .ci/first_cell.py"


class TestFirstCell:
    """The cell in a folder of its own, with a pip, a JAX and a driver that only tell."""

    PIP = """
import json, os, pathlib, sys
told = {"words": sys.argv[1:], "pins": pathlib.Path(sys.argv[sys.argv.index("-c") + 1]).read_text()}
pathlib.Path(os.environ["PIP_TOLD"]).write_text(json.dumps(told))
sys.stderr.write("pip's own words")
sys.exit(int(os.environ["PIP_STATUS"]))
"""

    @pytest.fixture
    def run_cell(self, tmp_path, monkeypatch):
        """A function that runs the cell, and returns the words and pins that pip got, or None."""
        stubs, told = tmp_path / "stubs", tmp_path / "told.json"
        for folder in ("stubs", "bin", "clone/colab"):
            (tmp_path / folder).mkdir(parents=True)
        (stubs / "pip.py").write_text(self.PIP)
        plugin = stubs / "jax_cuda12_plugin-0.7.2.dist-info"
        plugin.mkdir()
        plugin.joinpath("METADATA").write_text("Name: jax-cuda12-plugin\nVersion: 0.7.2\n")
        monkeypatch.syspath_prepend(stubs)
        monkeypatch.setenv("PYTHONPATH", str(stubs))
        monkeypatch.setenv("PIP_TOLD", str(told))
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
        monkeypatch.chdir(tmp_path / "clone" / "colab")
        exists = Path.exists
        monkeypatch.setattr(
            Path, "exists", lambda path: str(path) != "/dev/nvidia0" and exists(path)
        )
        find_spec = importlib.util.find_spec

        def call(repository="", *, installed=False, status=0, platform="cpu", driver=None):
            device = types.SimpleNamespace(platform=platform, device_kind="a kind")
            jax = types.SimpleNamespace(__version__="0.7.2", devices=lambda: [device])
            monkeypatch.setitem(sys.modules, "jax", jax)
            monkeypatch.setenv("PIP_STATUS", str(status))
            monkeypatch.setattr(
                importlib.util,
                "find_spec",
                lambda name: (
                    (object() if installed else None) if name == "isincnet_jax" else find_spec(name)
                ),
            )
            if driver is not None:
                program = tmp_path / "bin" / "nvidia-smi"
                program.write_text(f"#!/bin/sh\nexit {driver}\n")
                program.chmod(0o755)
            exec(CELL.replace('REPOSITORY = ""', f"REPOSITORY = {repository!r}"), {})
            return json.loads(told.read_text()) if told.exists() else None

        return call

    def make_clone(self, tmp_path):
        (tmp_path / "clone" / "pyproject.toml").touch()
        (tmp_path / "clone" / "isincnet_jax").mkdir()

    def test_it_is_short_and_the_owner_fills_one_line_in(self):
        assert len(CELL.splitlines()) <= 40
        assert len(re.findall(r"^REPOSITORY = ", CELL, flags=re.MULTILINE)) == 1

    def test_nothing_is_installed_twice(self, run_cell):
        assert run_cell("https://example.org/x", installed=True) is None

    @pytest.mark.parametrize("prefix", ["", "git+"])
    def test_the_repository_comes_first(self, prefix, run_cell, tmp_path):
        self.make_clone(tmp_path)
        words = run_cell(f"{prefix}https://example.org/x")["words"]
        assert words[0] == "install"
        assert words[-1] == "isincnet-jax[notebooks] @ git+https://example.org/x"

    def test_then_the_clone(self, run_cell, tmp_path, capsys):
        self.make_clone(tmp_path)
        assert run_cell()["words"][-1] == f"{tmp_path / 'clone'}[notebooks]"
        assert "REPOSITORY" not in capsys.readouterr().out

    def test_then_pypi(self, run_cell, tmp_path, capsys):
        (tmp_path / "clone" / "pyproject.toml").touch()  # of another project
        assert run_cell()["words"][-1] == "isincnet-jax[notebooks]"
        assert "REPOSITORY is empty" in capsys.readouterr().out

    @pytest.mark.parametrize("repository", ["", "https://example.org/x"])
    def test_a_failure_says_what_to_fill_in(self, repository, run_cell):
        with pytest.raises(RuntimeError, match=r"(?s)could not install.*pip's own words") as caught:
            run_cell(repository, status=1)
        assert ("into REPOSITORY" in str(caught.value)) == (not repository)

    def test_what_jax_needs_is_pinned_as_it_is(self, run_cell):
        told = run_cell("https://example.org/x")
        pins = told["pins"].splitlines()
        assert "jax-cuda12-plugin==0.7.2" in pins
        for name in ("jax", "jaxlib", "numpy", "flax", "orbax-checkpoint"):
            assert f"{name}=={importlib.metadata.version(name)}" in pins
        assert not {"-U", "--upgrade", "--force-reinstall"} & set(told["words"])

    @pytest.mark.parametrize(
        ("platform", "driver", "loud"),
        [("cpu", 0, True), ("cpu", 9, False), ("cpu", None, False), ("gpu", 0, False)],
    )
    def test_an_idle_gpu_is_told_loudly(self, platform, driver, loud, run_cell, capsys):
        run_cell(installed=True, platform=platform, driver=driver)
        told = capsys.readouterr().out
        assert f"JAX 0.7.2 runs on {platform.upper()}, a kind" in told
        assert ("THERE IS A GPU, BUT JAX RUNS ON THE CPU" in told) == loud


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs(path):
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells if cell.cell_type == "code")
