"""Files that appear whole or not at all: links, rights, pipes, folders, names."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from isincnet_jax import files
from isincnet_jax.files import FileError

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX")


def _rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nothing_heavy_is_imported():
    code = "import sys, isincnet_jax.files; print({'jax', 'numpy', 'soundfile'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@posix
@pytest.mark.parametrize("rights", [0o600, 0o640, 0o755])
def test_a_replaced_file_keeps_its_rights(tmp_path, rights):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(rights)
    seen = []
    with files.replacing(path) as temporary:
        seen.append(_rights(temporary) & 0o077 & ~rights)  # never more open, not for a moment
        temporary.write_text("new")
    assert (path.read_text(), _rights(path), seen) == ("new", rights, [0])
    assert os.listdir(tmp_path) == ["a.txt"]


@posix
def test_new_files_and_folders_get_the_rights_of_any_and_nobody_sets_the_umask(
    tmp_path, monkeypatch
):
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", None)
        files.write_text(tmp_path / "a", "x")
        with files.replacing_folder(tmp_path / "b"):
            pass
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert (_rights(tmp_path / "a"), _rights(tmp_path / "b")) == (0o640, 0o750)


@posix
def test_links_are_written_through(tmp_path):
    (tmp_path / "far").mkdir()
    for name, there in (("whole", True), ("dangling", False)):
        target, link = tmp_path / "far" / name, tmp_path / name
        if there:
            target.write_text("old")
        link.symlink_to(Path("far", name))
        files.write_text(link, "new")
        assert link.is_symlink()
        assert target.read_text() == "new"
    folder = tmp_path / "folder"
    folder.symlink_to("far", target_is_directory=True)
    with files.replacing_folder(folder) as temporary:
        (temporary / "one").write_text("1")
    assert folder.is_symlink()
    assert os.listdir(tmp_path / "far") == ["one"]
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@posix
def test_what_cannot_be_written_is_named_with_the_cause(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("loop", "cannot be written: Too many levels of symbolic links"),
        ("none/a", "cannot be written: No such file or directory"),
        ("file/a", "cannot be written: Not a directory"),
        (".", "a directory"),
        ("pipe", "a pipe that no program reads"),
    ):
        with pytest.raises(FileError, match=message) as caught:
            files.write_text(tmp_path / name, "x")
        assert str(caught.value).startswith(str(tmp_path / name))
    with (
        pytest.raises(FileError, match="a file, not a folder"),
        files.replacing_folder(tmp_path / "file"),
    ):
        pass
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, ValueError)


@posix
def test_devices_and_pipes_are_written_to(tmp_path):
    files.write_text("/dev/null", "x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files.write_text(pipe, "through")
    found.append(os.read(end, 100))
    os.close(end)
    assert found == [b"through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_an_error_of_the_block_is_not_blamed_on_the_target(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"other"), files.replacing(tmp_path / "a"):
        open(tmp_path / "other")  # noqa: SIM115
    full = OSError(28, "No space left on device")
    with (
        pytest.raises(FileError, match=r"a: cannot be written: No"),
        files.replacing(tmp_path / "a"),
    ):
        raise full
    assert os.listdir(tmp_path) == []


def test_a_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    place = tmp_path / "model"
    with files.replacing_folder(place) as temporary:
        (temporary / "a").write_text("1")
        assert not place.exists()
    with pytest.raises(KeyboardInterrupt), files.replacing_folder(place):
        raise KeyboardInterrupt
    rename = os.rename

    def fail(source, target):
        if Path(target) == place and not Path(source).name.endswith(".replaced"):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with (
        pytest.raises(FileError, match="model: cannot be written: Input/output error"),
        files.replacing_folder(place) as temporary,
    ):
        (temporary / "a").write_text("3")
    assert os.listdir(tmp_path) == ["model"]
    assert (place / "a").read_text() == "1"
    with (
        pytest.raises(FileError, match=r"model: cannot be written: No such"),
        files.replacing_folder(place) as temporary,
    ):
        files.write_text(temporary / "b" / "c", "x")


def test_threads_write_files_of_the_rights_of_any(tmp_path):
    threads = [
        threading.Thread(target=files.write_text, args=(tmp_path / str(n), "x")) for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (tmp_path / "plain").touch()
    assert len({_rights(path) for path in tmp_path.iterdir()}) == 1


@pytest.mark.parametrize("name", ["x" * 250, "é" * 120 + ".wav", "a." + "y" * 240, "-n", "a\nb"])
def test_long_and_odd_names(tmp_path, name):
    files.write_text(tmp_path / name, "x")
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain ü.wav", "plain ü.wav"),
        ("caf\udce9.wav", r"caf\xe9.wav"),
        ("a\nb\tc\x1b[31m", r"a\nb\tc\x1b[31m"),
        ("half \ud800", r"half \ud800"),
    ],
)
def test_shown(name, expected):
    assert files.shown(name) == expected
    files.shown(name).encode()


def test_first_line():
    assert files.first_line(OSError(2, "No such file", "x")) == "No such file"
    assert files.first_line(ValueError("\n one \ntwo")) == "one"
    assert files.first_line(MemoryError()) == "MemoryError"


def test_text_that_utf8_lacks_is_escaped(tmp_path):
    files.write_text(tmp_path / "a", "caf\udce9")
    assert (tmp_path / "a").read_bytes() == rb"caf\udce9"


@posix
def test_put_keeps_rights_and_links(tmp_path):
    for name in ("made", "far"):
        (tmp_path / name).write_text(name)
    (tmp_path / "far").chmod(0o600)
    (tmp_path / "link").symlink_to("far")
    files.put(tmp_path / "made", tmp_path / "link")
    assert sorted(os.listdir(tmp_path)) == ["far", "link"]
    assert (tmp_path / "link").is_symlink()
    assert ((tmp_path / "far").read_text(), _rights(tmp_path / "far")) == ("made", 0o600)
