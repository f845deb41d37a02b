"""``isincnet filters``: pictures of how filters learned, all of them or none."""

from __future__ import annotations

import re

import matplotlib.image
import numpy as np
import PIL.Image
import pytest

from isincnet_jax import plots

NAMES = {"movement.png", "cumulative.png", "training.gif"}
LOW = np.array([[100.0, 900.0, 3000.0], [120.0, 850.0, 3100.0], [150.0, 800.0, 3300.0]])
HIGH = LOW + np.array([100.0, 200.0, 400.0])
STEPS = np.array([0, 10, 40])


def _write(name="bands.npz", **changes):
    arrays = {"steps": STEPS, "low_hz": LOW, "high_hz": HIGH, **changes}
    np.savez(name, **{key: value for key, value in arrays.items() if value is not None})


def _content(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.tail
def test_three_pictures(run, tmp_path):
    _write("a $bank$.npz", low_hz=LOW.astype(np.float32), high_hz=HIGH.astype(np.float32))
    status, out, err = run("filters 'a $bank$.npz' new/pictures --kernel-size 129")
    assert status == 0, err
    assert {path.name for path in (tmp_path / "new" / "pictures").iterdir()} == NAMES
    assert len(out.splitlines()) == 3
    for name in ("movement.png", "cumulative.png"):
        assert np.std(matplotlib.image.imread(f"new/pictures/{name}")) > 0.05
    with PIL.Image.open("new/pictures/training.gif") as picture:
        assert picture.n_frames == 3


@pytest.mark.quick(0)
def test_one_step_and_old_pictures_are_replaced(run, tmp_path):
    _write(steps=STEPS[:1], low_hz=LOW[:1], high_hz=HIGH[:1])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "movement.png").write_bytes(b"old")
    status, _, err = run("filters bands.npz out --shape gauss")
    assert status == 0, err
    assert {path.name for path in (tmp_path / "out").iterdir()} == NAMES
    assert np.std(matplotlib.image.imread("out/movement.png")) > 0.05


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"steps": None}, "", r"bands\.npz: needs an \.npz with steps \[n\]"),
        ({"steps": STEPS[:2]}, "", r"found steps \[2\], low_hz \[3, 3\]"),
        ({"steps": STEPS[::-1]}, "", r"bands\.npz: its steps must increase"),
        ({"high_hz": HIGH[:, :2]}, "", r"high_hz \[3, 2\]"),
        ({"low_hz": HIGH}, "", r"bands\.npz: 0 <= low_hz < high_hz"),
        ({"low_hz": np.full_like(LOW, np.nan)}, "", r"bands\.npz: .*finite"),
        ({"low_hz": LOW.astype(str)}, "", "needs an"),
        ({"low_hz": np.array([None, 1])}, "", "needs an"),
        ({"low_hz": LOW[:0], "high_hz": HIGH[:0], "steps": STEPS[:0]}, "", "needs an"),
        ({}, "--sample-rate 4000", r"lies above half of --sample-rate 4000"),
        ({}, "--kernel-size 4", "--kernel-size 4 must be odd"),
        ({}, "--shape round", "--shape 'round' is unknown"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run, tmp_path, changes, options, message):
    _write(**changes)
    before = _content(tmp_path)
    status, _, err = run(f"filters bands.npz out {options}")
    assert status == 1
    assert re.fullmatch(r"isincnet: error: [^\n]+\n", err), err
    assert re.search(message, err), err
    assert _content(tmp_path) == before


@pytest.mark.parametrize("rate", ["nan", "0", "16000.5"])
def test_a_rate_that_is_none_is_a_usage_error(run, tmp_path, rate):
    _write()
    before = _content(tmp_path)
    status, _, err = run(f"filters bands.npz out --sample-rate {rate}")
    assert status == 2
    assert "--sample-rate" in err
    assert _content(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no archive", None])
def test_files_that_are_no_archives(run, tmp_path, content):
    if content is not None:
        (tmp_path / "bands.npz").write_bytes(content)
    status, _, err = run("filters bands.npz out")
    assert status == 1
    assert re.fullmatch(r"isincnet: error: bands\.npz: [^\n]+\n", err), err
    assert not (tmp_path / "out").exists()


def test_a_plain_array_is_no_archive(run, tmp_path):
    np.save("bands.npy", LOW)
    status, _, err = run("filters bands.npy out")
    assert status == 1
    assert re.fullmatch(r"isincnet: error: bands\.npy: needs an [^\n]+\n", err), err


def test_the_folder_may_not_be_a_file(run, tmp_path):
    _write()
    (tmp_path / "out").write_bytes(b"mine")
    status, _, err = run("filters bands.npz out")
    assert status == 1
    assert err == "isincnet: error: out: a file, not a folder for pictures\n"
    assert (tmp_path / "out").read_bytes() == b"mine"


def test_a_failure_while_writing_leaves_the_old_pictures(run, tmp_path, monkeypatch):
    _write()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "movement.png").write_bytes(b"old")

    class Broken:
        def save(self, *args, **options):
            raise OSError("disk full")

    monkeypatch.setattr(plots, "animate_filters", lambda *args, **options: Broken())
    status, _, err = run("filters bands.npz out")
    assert status == 1
    assert "disk full" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["movement.png"]
    assert (tmp_path / "out" / "movement.png").read_bytes() == b"old"
