"""Every notebook runs from top to bottom, as a user would run it."""

from __future__ import annotations

from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "colab").glob("*.ipynb"))


def _execute(path: Path):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=480, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    )
    client.execute()  # raises CellExecutionError where a cell does
    return notebook


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "name", ["sincconv_step_by_step", "filter_shapes", "spectrograms", "inversynth"]
)
def test_the_package_is_installed_as_in_the_quick_start(name):
    nbformat = pytest.importorskip("nbformat")

    def first_code(stem: str) -> str:
        notebook = nbformat.read(NOTEBOOKS[0].with_name(f"{stem}.ipynb"), as_version=4)
        return next(cell.source for cell in notebook.cells if cell.cell_type == "code")

    assert first_code(name) == first_code("quickstart")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs(path):
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells if cell.cell_type == "code")
