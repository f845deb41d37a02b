"""Folders of files through any function: planned, in parallel, resumed, never half there."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isincnet_jax.data import corpus_encoding, file_workers, output_folder
from isincnet_jax.data.output_folder import CONFIGURATION, JOURNAL, Job, OutputError

HERE = Path(__file__).parent
FILES = {"a.txt": "one", "b/c.txt": "two", "b/d/e.txt": "three", "b/f.txt": "four"}
SETTINGS = {"work": "upper", "loud": True}


@pytest.fixture
def file_work(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))  # which processes inherit
    import file_work

    return file_work


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "in"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def _run(source, out, make_work, *, settings=SETTINGS, overwrite=False, workers=1, kind="threads"):
    """Outcomes by source, and how many were done before."""
    names = corpus_encoding.find_files(source, {".txt"})
    jobs = corpus_encoding.plan_jobs(names, suffix=".up")
    with output_folder.open_output(out, settings, jobs, overwrite=overwrite) as output:
        waiting = corpus_encoding.waiting_jobs(source, jobs, output)
        found = corpus_encoding.run_jobs(
            source, waiting, output, make_work, num_workers=workers, kind=kind
        )
        return {outcome.job.source: outcome for outcome in found}, len(jobs) - len(waiting)


def _content(folder: Path) -> dict[str, str]:
    """All files but the two that the folder keeps for itself."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (CONFIGURATION, JOURNAL)
    }


WANTED = {"a.up": "ONE", "b/c.up": "TWO", "b/d/e.up": "THREE", "b/f.up": "FOUR"}


@pytest.mark.parametrize(("workers", "kind"), [(1, "threads"), (3, "threads"), (2, "processes")])
def test_all_files_are_made_and_a_second_run_skips_them(source, tmp_path, file_work, workers, kind):
    out = tmp_path / "out"
    found, done = _run(source, out, file_work.make, workers=workers, kind=kind)
    assert (set(found), done) == (set(FILES), 0)
    assert found["b/d/e.txt"] == (Job("b/d/e.txt", "b/d/e.up"), 5.0, 5, "")
    assert _content(out) == WANTED
    found, done = _run(source, out, file_work.make, workers=workers, kind=kind)
    assert (found, done) == ({}, 4)
    assert not list(out.glob(".*"))


def test_what_changed_is_made_again(source, tmp_path, file_work):
    out = tmp_path / "out"
    _run(source, out, file_work.make)
    (source / "a.txt").write_text("won")  # the same size
    os.utime(source / "a.txt", ns=(1, 1))
    (out / "b/c.up").unlink()
    (out / "b/f.up").write_text("cut")
    found, done = _run(source, out, file_work.make)
    assert (set(found), done) == ({"a.txt", "b/c.txt", "b/f.txt"}, 1)
    assert _content(out) == {**WANTED, "a.up": "WON"}


@pytest.mark.parametrize(("workers", "kind"), [(1, "threads"), (2, "threads"), (2, "processes")])
def test_failures_do_not_stop_the_others(source, tmp_path, file_work, workers, kind):
    out = tmp_path / "out"
    for text in ("bad", "odd", "gone"):
        (source / f"{text}.txt").write_text(text)
    found, _ = _run(source, out, file_work.make, workers=workers, kind=kind)
    reasons = {name: outcome.reason for name, outcome in found.items() if outcome.reason}
    assert reasons == {
        "bad.txt": "a bad text",
        "odd.txt": "RuntimeError: who knows",
        "gone.txt": reasons["gone.txt"],
    }
    assert "No such file" in reasons["gone.txt"]
    assert ".unfinished" not in reasons["gone.txt"]
    assert _content(out) == WANTED
    found, done = _run(source, out, file_work.make, workers=workers, kind=kind)
    assert (set(found), done) == ({"bad.txt", "odd.txt", "gone.txt"}, 4)


def test_a_process_that_dies_takes_only_its_file_along(source, tmp_path, file_work):
    for number in range(3):
        (source / f"a{number}.txt").write_text("die" if number == 1 else "live")
    (source / "z.txt").write_text("die")
    found, _ = _run(source, tmp_path / "out", file_work.make, workers=2, kind="processes")
    reasons = {name: outcome.reason for name, outcome in found.items() if outcome.reason}
    assert reasons == dict.fromkeys(["a1.txt", "z.txt"], file_workers.DIED)
    assert _content(tmp_path / "out") == {**WANTED, "a0.up": "LIVE", "a2.up": "LIVE"}


def test_workers_that_cannot_begin_say_why(source, tmp_path, file_work):
    found, _ = _run(source, tmp_path / "out", file_work.make_nothing, workers=2, kind="processes")
    assert {outcome.reason for outcome in found.values()} == {"ImportError: something is missing"}


def test_stopping_ends_the_processes(source, tmp_path, file_work):
    pids = tmp_path / "pids"
    pids.mkdir()
    for number in range(2):
        (source / f"z{number}.txt").write_text(f"wait {pids}")
    tasks = [
        file_workers.Task(number, source / name, tmp_path / str(number))
        for number, name in enumerate(("a.txt", "z0.txt", "z1.txt"))
    ]
    results = file_workers.run_tasks(tasks, file_work.make, num_workers=2, kind="processes")
    assert next(results).seconds == 3
    before = time.monotonic()
    results.close()  # what an exception or Ctrl-C in the loop over the results does
    assert time.monotonic() - before < 20
    assert not [child for child in multiprocessing.active_children() if "Spawn" in child.name]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
def test_processes_end_with_a_killed_parent(source, tmp_path):
    pids = tmp_path / "pids"
    pids.mkdir()
    (source / "a.txt").write_text(f"wait {pids}")
    (source / "b/c.txt").write_text(f"wait {pids}")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "if __name__ == '__main__':\n"
        "    sys.path.insert(0, sys.argv[1])\n    import file_work\n"
        "    from isincnet_jax.data.file_workers import Task, run_tasks\n"
        "    root = Path(sys.argv[2])\n"
        "    tasks = [Task(0, root / 'a.txt', root / '0'), Task(1, root / 'b/c.txt', root / '1')]\n"
        "    list(run_tasks(tasks, file_work.make, num_workers=2, kind='processes'))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    with subprocess.Popen([sys.executable, str(script), str(HERE), str(source)]) as process:
        deadline = time.monotonic() + 60
        while len(list(pids.iterdir())) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    workers = [int(path.name) for path in pids.iterdir()]
    while any(_is_running(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_another_configuration_is_refused(source, tmp_path, file_work):
    out = tmp_path / "out"
    _run(source, out, file_work.make)
    changed = {"work": "upper", "loud": False, "new": 3}
    with pytest.raises(OutputError, match="loud=True, now loud=False; new=None, now new=3; use an"):
        _run(source, out, file_work.make, settings=changed)
    (source / "a.txt").unlink()
    found, done = _run(source, out, file_work.make, settings=changed, overwrite=True)
    assert (len(found), done) == (3, 0)
    assert _content(out) == {name: text for name, text in WANTED.items() if name != "a.up"}
    assert json.loads((out / CONFIGURATION).read_text())["loud"] is False
    (out / CONFIGURATION).write_text("{")
    with pytest.raises(OutputError, match="damaged"):
        _run(source, out, file_work.make)


@pytest.mark.parametrize("damage", ["torn", "words", "outside"])
def test_a_damaged_journal_costs_no_more_than_work(source, tmp_path, file_work, damage):
    out = tmp_path / "out"
    _run(source, out, file_work.make)
    lines = (out / JOURNAL).read_bytes().splitlines(keepends=True)
    bad = {
        "torn": lines[2][:-9],
        "words": b"words\n",
        "outside": lines[2].replace(b"b/d/e.up", b"../x.txt"),
    }[damage]
    (out / JOURNAL).write_bytes(b"".join([*lines[:2], bad]))
    found, done = _run(source, out, file_work.make)
    assert (len(found), done) == (2, 2)
    assert (out / JOURNAL).read_bytes() == b"".join(lines)
    assert _content(out) == WANTED


def test_an_output_folder_has_one_run_at_a_time(source, tmp_path, file_work):
    with (
        output_folder.open_output(tmp_path / "out", SETTINGS, []),
        pytest.raises(OutputError, match="another run is working on it"),
    ):
        _run(source, tmp_path / "out", file_work.make)


def test_remains_of_a_killed_run_are_cleared(source, tmp_path, file_work):
    left = tmp_path / "out" / f"{output_folder.UNFINISHED}abc"
    left.mkdir(parents=True)
    (left / "0.up").write_text("half")
    _run(source, tmp_path / "out", file_work.make)
    assert _content(tmp_path / "out") == WANTED


def test_folders_that_cannot_be_used(source, tmp_path, file_work):
    (tmp_path / "file").write_text("x")
    for out in ("file", "file/below"):
        with pytest.raises(OutputError, match=f"{out}: (a file, not|cannot be written)"):
            _run(source, tmp_path / out, file_work.make)
    with pytest.raises(OutputError, match="none: no such folder"):
        corpus_encoding.find_files(tmp_path / "none")
    with pytest.raises(OutputError, match=r"in: no files to work on below it \(.*\.wav"):
        corpus_encoding.find_files(source)
    with pytest.raises(ValueError, match="num_workers=0"):
        _run(source, tmp_path / "out", file_work.make, workers=0)


def test_a_target_that_is_a_folder_fails_alone(source, tmp_path, file_work):
    (tmp_path / "out" / "a.up").mkdir(parents=True)
    found, _ = _run(source, tmp_path / "out", file_work.make)
    assert "cannot be written" in found["a.txt"].reason
    assert [name for name, outcome in found.items() if outcome.reason] == ["a.txt"]


def test_hidden_files_are_left_out(tmp_path):
    for name in ("a.wav", ".b.wav", ".c/d.wav", "e/F.FLAC", "e/g.txt", "e/.h.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert corpus_encoding.find_files(tmp_path) == ["a.wav", "e/F.FLAC"]


def test_targets_keep_folders_and_are_told_apart():
    names = ["a.wav", "a.flac", "b/a.wav", "b/c.d.wav", "e"]
    targets = [job.target for job in corpus_encoding.plan_jobs(names, suffix=".npz")]
    assert targets == ["a.wav.npz", "a.flac.npz", "b/a.npz", "b/c.d.npz", "e.npz"]
    with pytest.raises(
        OutputError, match=r"a\.flac and a\.flac\.wav would both become a\.flac\.npz"
    ):
        corpus_encoding.plan_jobs(["a.flac", "a.flac.wav", "a.wav"], suffix=".npz")


def test_a_new_neighbour_of_the_same_name_moves_the_old_target(source, tmp_path, file_work):
    out = tmp_path / "out"
    jobs = [[Job("a.txt", "a.up")], [Job("a.txt", "a.txt.up"), Job("b/c.txt", "b/c.up")]]
    for now in jobs:
        with output_folder.open_output(out, SETTINGS, now) as output:
            waiting = corpus_encoding.waiting_jobs(source, now, output)
            list(
                corpus_encoding.run_jobs(
                    source, waiting, output, file_work.make, num_workers=1, kind="threads"
                )
            )
    assert _content(out) == {"a.txt.up": "ONE", "b/c.up": "TWO"}
