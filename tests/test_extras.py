"""What needs an optional package says so at once, and names the extra that brings it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from isincnet_jax import extras
from isincnet_jax.data import audio_files
from isincnet_jax.data.tf import tensorflow_import
from isincnet_jax.pretrained import hub

ROOT = Path(__file__).parents[1]


@pytest.fixture
def block(monkeypatch):
    """Makes modules look as if they were not installed."""

    def hide(*modules: str) -> None:
        for module in modules:
            monkeypatch.setitem(sys.modules, module, None)

    return hide


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Recordings, and work that must not be begun."""
    (tmp_path / "in").mkdir()
    (tmp_path / "bands.npz").write_bytes(b"")
    for name in ("a", "b"):
        soundfile.write(tmp_path / "in" / f"{name}.wav", 0.1 * np.ones(100), 8000)

    def begun(*arguments: object, **options: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(hub, "from_pretrained", begun)
    for name in ("audio_info", "read_audio", "read_blocks"):
        monkeypatch.setattr(audio_files, name, begun)
    return tmp_path


@pytest.mark.parametrize("module", extras.OPTIONAL)
def test_the_extra_is_named(block, module):
    package = extras.OPTIONAL[module]
    block(module)
    assert not extras.is_installed(module)
    for use in (extras.require, lambda name: extras.importing(name).__enter__()):
        with pytest.raises(ImportError) as caught:
            use(module)
        assert package.name in str(caught.value)
        what = f"'isincnet-jax[{package.extra}]'" if package.extra else package.name
        assert f"pip install {what}" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_extras_bring_the_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for module, package in extras.OPTIONAL.items():
        if not package.extra:
            continue
        brought = " ".join(project["optional-dependencies"][package.extra]).lower()
        if "[runs]" in brought:
            brought += " ".join(project["optional-dependencies"]["runs"]).lower()
        name = package.name.lower().replace(" ", "-")
        assert name in brought, module


def test_what_is_installed_may_be_broken():
    with pytest.raises(ImportError, match=r"Matplotlib \(cannot be imported: no libGL\): pip"):  # noqa: SIM117
        with extras.importing("matplotlib"):
            raise ImportError("no libGL")


def test_modules_made_by_hand_count_as_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", type(sys)("h5py"))
    assert extras.is_installed("h5py")


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("matplotlib", "plot filters new/picture.png"),
        ("matplotlib", "plot spectrogram in/a.wav new/picture.png"),
        ("matplotlib", "filters bands.npz new/pictures"),
        ("flatbuffers", "export 16khz-linear new/program.stablehlo"),
        ("onnx", "export 16khz-linear new/model.onnx"),
        ("h5py", "synth generate --num-examples 2"),
        ("ml_collections", "vocoder train in"),
        ("pyloudnorm", "prepare in new/out"),
        ("pyloudnorm", "benchmark in"),
        ("pesq", "benchmark in --no-loudness --speech"),
        ("pystoi", "benchmark in --no-loudness --speech --metrics stoi"),
        ("visqol", "benchmark in --no-loudness --metrics snr_db,visqol"),
        ("huggingface_hub", "push 16khz-linear me/mine"),
    ],
)
def test_commands_refuse_before_any_work(run, folder, block, module, line):
    before = sorted(folder.rglob("*"))
    block(module)
    status, out, err = run(line)
    assert (status, out) == (1, "")
    assert re.fullmatch(r"isincnet: error: [^\n]+\n", err), err
    assert extras.explanation(module).partition(", or")[0] in err
    if module == "pyloudnorm":
        assert "or switch it off with --no-loudness" in err
    assert sorted(folder.rglob("*")) == before


def test_token_files_need_no_extra(run, tmp_path, block):
    block(*extras.OPTIONAL)
    for name in ("a", "b"):
        (tmp_path / "in").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "in" / f"{name}.wav", 0.1 * np.ones(100), 8000)
    for line in (
        "encode in/a.wav new/a.isn",
        "encode in/a.wav new/a.isn --snr 20 --optimise",
        "encode in coded --step 0.01",
        "encode in other --format .isn",
        "decode coded/a.isn new/a.wav",
        "decode coded back",
        "describe coded/a.isn",
    ):
        status, _, err = run(line)
        assert (status, err) == (0, ""), line
    assert len(list(tmp_path.rglob("*.isn"))) == 5
    assert len(list(tmp_path.rglob("*.wav"))) == 5


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("matplotlib", "plot spectrogram gone new/picture.png"),
        ("matplotlib", "filters gone.npz new/pictures"),
        ("ml_collections", "vocoder train gone"),
        ("pyloudnorm", "prepare gone new/out"),
        ("pyloudnorm", "benchmark gone"),
        ("pesq", "benchmark gone --no-loudness --speech"),
    ],
)
def test_what_is_missing_is_said_before_what_reads_it(run, folder, block, module, line):
    block(module)
    status, out, err = run(line)
    assert (status, out) == (1, "")
    assert re.fullmatch(r"isincnet: error: gone(\.\w+)?: no such (file|folder)[^\n]*\n", err), err
    assert not (folder / "new").exists()


def test_tf_data_names_what_does_without(block):
    block("tensorflow_datasets")
    with pytest.raises(ImportError, match=r"tf.data needs TensorFlow Datasets: .*NumPy pipeline"):
        tensorflow_import.import_tensorflow.__wrapped__()


def test_scripts_end_in_one_line():
    """Of a script whose imports need an extra: no traceback."""
    code = (
        "import runpy, sys; sys.modules['ml_collections'] = None; "
        f"runpy.run_path({str(ROOT / 'experiments' / 'train.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: training needs ml-collections: pip install 'isincnet-jax[runs]'\n"


def _unguarded(path: Path) -> list[str]:
    """Import statements of optional packages that would fail without naming an extra."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded: set[ast.AST] = set()
    for node in ast.walk(tree):
        with_items = [ast.unparse(item) for item in getattr(node, "items", [])]
        is_guard = isinstance(node, ast.With) and any("importing" in text for text in with_items)
        if is_guard or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            guarded.update(ast.walk(node))
    found = []
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names.append(node.module or "")
        found += [
            f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
            for name in names
            if name.partition(".")[0] in extras.OPTIONAL and node not in guarded
        ]
    return found


def test_every_import_of_an_optional_package_names_its_extra():
    found = []
    for folder in ("isincnet_jax", "experiments", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            found += _unguarded(path)
    # Scripts of training begin with extras.require_or_exit, and the package of tasks imports it.
    rooms = ("experiments/", "isincnet_jax/tasks/")
    others = [one for one in found if not (one.startswith(rooms) and "ml_collections" in one)]
    # Benchmarks beside PyTorch are run where it is.
    peers = [one for one in others if one.startswith("benchmarks/") and ": torch" in one]
    assert not set(others) - set(peers)
