"""Notebooks: each runs from top to bottom, as a user would run it, and is stored as it ran."""

from __future__ import annotations

import base64
import importlib.metadata
import importlib.util
import io
import json
import re
import sys
import types
from pathlib import Path

import pytest
import resilience

COLAB = Path(__file__).parents[1] / "colab"
NOTEBOOKS = sorted(COLAB.glob("*.ipynb"))
CELL = (COLAB / "first_cell.py").read_text(encoding="utf-8")


def _script(path: Path):
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


common = _script(COLAB.parent / ".ci" / "first_cell.py")
execute = _script(COLAB / "execute.py")

# What runs are shortened by: every cell still trains, stops, resumes and draws.
SHORTER = {
    "train": {
        '"num_steps": 800': '"num_steps": 40',
        "stop_at=400": "stop_at=20",
        "num_steps=100": "num_steps=15",
    },
    "vocoder": {
        "counts = (1, 2, 5, 10, 20)": "counts = (1, 2)",
        '"--steps", 40': '"--steps", 15',
    },
}


def _stored(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _code(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _execute(path: Path):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    for long, short in SHORTER.get(path.stem, {}).items():
        [cell] = [one for one in _code(notebook) if long in one.source]
        cell.source = cell.source.replace(long, short)
    client = nbclient.NotebookClient(
        notebook, timeout=480, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    )
    client.execute()  # raises CellExecutionError where a cell does
    return notebook


@pytest.mark.quick(0)
@pytest.mark.filterwarnings("ignore")  # of the Jupyter machinery, not of the notebook's kernel
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_draws(path, base, monkeypatch):
    # On one device, as readers have it, and what one notebook compiles serves all.
    for name, value in resilience.environment(base).items():
        monkeypatch.setenv(name, value)
    notebook = _execute(path)
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    pictures = [out for out in outputs if "image/png" in out.get("data", {})]
    assert pictures, "the notebook draws nothing"
    assert not [out for out in outputs if out.output_type == "error"]


def test_every_notebook_has_its_place_in_the_order():
    assert sorted(common.ORDER) == [path.stem for path in NOTEBOOKS]


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
class TestStored:
    """What stands in the repository."""

    def test_it_is_small(self, path):
        assert path.stat().st_size <= 1_000_000

    def test_it_shows_what_its_code_does(self, path):
        notebook = _stored(path)
        noted = notebook["metadata"].get("isincnet_jax", {}).get("executed")
        assert noted == execute.digest(notebook), f"run: python colab/execute.py {path.stem}"
        assert all(cell["execution_count"] for cell in _code(notebook))
        outputs = [output for cell in _code(notebook) for output in cell["outputs"]]
        assert any("image/png" in output.get("data", {}) for output in outputs)

    def test_no_output_holds_sound_paths_or_errors(self, path):
        for cell in _code(_stored(path)):
            texts = [one for one in cell["outputs"] if "image/png" not in one.get("data", {})]
            assert texts == execute.stripped(texts)
            text = json.dumps(cell["outputs"])
            assert not re.search(r"audio/|<audio|text/html", text)
            for output in cell["outputs"]:
                assert output["output_type"] != "error"
                shown = output.get("text", "") or output["data"]["text/plain"]
                assert not execute.PATHS.search("".join(shown))

    def test_common_cells_are_those_of_the_script(self, path):
        notebook = _stored(path)
        assert common.furnished(notebook, path.stem, cell=CELL) == notebook, (
            "run: python .ci/first_cell.py"
        )

    def test_contents_lead_to_sections_and_links_to_notebooks(self, path):
        notebook = _stored(path)
        text = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
        anchors = re.findall(r'<a name="(.*?)"></a>', text)
        assert len(anchors) == len(set(anchors))
        links = re.findall(r"\]\((.*?)\)", text)
        assert {link[1:] for link in links if link.startswith("#")} == set(anchors)
        for link in links:
            assert link.startswith(("#", "https://")) or (COLAB / link).is_file(), link


class TestCommonCells:
    """Badge, contents and links, with and without the repository's address."""

    def notebook(self, repository: str) -> dict:
        cell = CELL.replace('REPOSITORY = ""', f'REPOSITORY = "{repository}"')
        return common.furnished(_stored(COLAB / "quickstart.ipynb"), "quickstart", cell=cell)

    def text(self, repository: str, name: str) -> str:
        [cell] = [one for one in self.notebook(repository)["cells"] if one["id"] == name]
        return "".join(cell["source"])

    @pytest.mark.parametrize(
        "address", ["https://github.com/o/n", "git+https://github.com/o/n.git"]
    )
    def test_the_badge_opens_the_notebook_in_colab(self, address):
        colab = "https://colab.research.google.com/github/o/n/blob/main/colab"
        assert f"({colab}/quickstart.ipynb)" in self.text(address, "colab-badge")
        assert "badge.svg" in self.text(address, "colab-badge")
        assert f"({colab}/tokens.ipynb)" in self.text(address, "colab-next")
        assert f'REPOSITORY = "{address}"' in "".join(_code(self.notebook(address))[0]["source"])

    @pytest.mark.parametrize("address", ["", "https://example.org/o/n"])
    def test_without_an_address_on_github_there_is_none(self, address):
        assert "badge.svg" not in self.text(address, "colab-badge")
        assert "(tokens.ipynb)" in self.text(address, "colab-next")

    def test_once_more_changes_nothing(self):
        once = self.notebook("")
        assert common.furnished(once, "quickstart", cell=CELL) == once


class TestStripped:
    """What is stored of outputs."""

    def of(self, **data):
        output = {"output_type": "display_data", "metadata": {"x": 1}, "data": data}
        [found] = execute.stripped([output])
        assert found["metadata"] == {}
        return found["data"]

    def test_sounds_and_animations_are_named_only(self):
        sound = {"text/plain": "<Audio>", "text/html": "<audio src='data:audio/wav;base64,QUJD'>"}
        assert self.of(**sound) == {"text/plain": "(a sound: run the cell to hear it)"}
        assert self.of(**{"text/html": ["<script>", "</script>"]}) == {
            "text/plain": "(an animation: run the cell to see it)"
        }

    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            ("page: /tmp/x-1/page.html, 3 MB\n", "page: page.html, 3 MB\n"),
            ("/root/a b", "a b"),
            ("12 tokens/s, [batch/time] at https://example.org/a/b", None),
            ("<https://example.org/a/b> and loss/step", None),
        ],
    )
    def test_paths_lose_their_folders(self, text, kept):
        stdout = {"output_type": "stream", "name": "stdout", "text": text}
        stderr = {"output_type": "stream", "name": "stderr", "text": text}
        assert execute.stripped([stderr, stdout]) == [{**stdout, "text": kept or text}]
        assert self.of(**{"text/plain": [text]}) == {"text/plain": kept or text}

    def test_a_picture_gets_a_palette(self):
        image = pytest.importorskip("PIL.Image")
        content = io.BytesIO()
        image.linear_gradient("L").convert("RGBA").save(content, format="PNG")
        text = base64.b64encode(content.getvalue()).decode()
        data = self.of(**{"image/png": text, "text/plain": "<Figure>"})
        with image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as picture:
            assert (picture.size, picture.mode) == ((256, 256), "P")

    def test_what_was_printed_in_parts_is_one_text(self):
        parts = [{"output_type": "stream", "name": "stdout", "text": [one]} for one in ("a\n", "b")]
        assert execute.stripped(parts) == [{**parts[0], "text": "a\nb"}]

    def test_an_error_is_not_stored(self):
        with pytest.raises(ValueError, match="ZeroDivisionError: by zero"):
            execute.stripped(
                [{"output_type": "error", "ename": "ZeroDivisionError", "evalue": "by zero"}]
            )


class TestUpload:
    """The quick start's upload, with a Colab that only tells."""

    @pytest.fixture
    def run_cell(self, monkeypatch):
        def call(ticked: bool, uploaded: dict | None):
            colab = None if uploaded is None else types.ModuleType("google.colab")
            if colab is not None:
                colab.files = types.SimpleNamespace(upload=lambda: uploaded)
                monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
            monkeypatch.setitem(sys.modules, "google.colab", colab)
            cells = _stored(COLAB / "quickstart.ipynb")["cells"]
            [source] = ["".join(one["source"]) for one in cells if one["id"] == "cell-upload"]
            names: dict = {}
            exec(source.replace("upload = False", f"upload = {ticked}"), names)
            return names["audio_file"]

        return call

    def test_nothing_is_asked_for_by_default(self, run_cell):
        assert run_cell(False, None) is None

    def test_the_first_file_is_taken(self, run_cell):
        assert run_cell(True, {"mine.wav": b"", "other.wav": b""}) == "mine.wav"
        assert run_cell(True, {}) is None

    def test_outside_of_colab_it_says_what_to_do(self, run_cell, capsys):
        assert run_cell(True, None) is None
        assert "put the path of a file into audio_file" in capsys.readouterr().out
