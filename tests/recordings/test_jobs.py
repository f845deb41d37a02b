"""Folders of files through any function: planned, in parallel, resumed, never half there."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from isincnet_jax.recordings import jobs as corpus_encoding
from isincnet_jax.recordings import output_folder, output_journal
from isincnet_jax.recordings import workers as file_workers
from isincnet_jax.recordings.output_folder import CONFIGURATION, JOURNAL, Job, OutputError

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


def _run(source, out, make_work, *, settings=SETTINGS, overwrite=False, workers=1):
    """Outcomes by source, and how many were done before."""
    names = corpus_encoding.find_files(source, {".txt"})
    jobs = corpus_encoding.plan_jobs(names, suffix=".up")
    with output_folder.open_output(
        out, settings, jobs, source=source, overwrite=overwrite
    ) as output:
        waiting = corpus_encoding.waiting_jobs(source, jobs, output)
        found = corpus_encoding.run_jobs(source, waiting, output, make_work, num_workers=workers)
        return {outcome.job.source: outcome for outcome in found}, len(jobs) - len(waiting)


def _content(folder: Path) -> dict[str, str]:
    """All files but the two that the folder keeps for itself."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (CONFIGURATION, JOURNAL)
    }


WANTED = {"a.up": "ONE", "b/c.up": "TWO", "b/d/e.up": "THREE", "b/f.up": "FOUR"}


@pytest.mark.parametrize("workers", [1, 3])
def test_all_files_are_made_and_a_second_run_skips_them(source, tmp_path, file_work, workers):
    out = tmp_path / "out"
    found, done = _run(source, out, file_work.make, workers=workers)
    assert (set(found), done) == (set(FILES), 0)
    assert found["b/d/e.txt"] == (Job("b/d/e.txt", "b/d/e.up"), 5.0, 5, "", ())
    assert _content(out) == WANTED
    found, done = _run(source, out, file_work.make, workers=workers)
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


@pytest.mark.parametrize("workers", [1, 2])
def test_failures_do_not_stop_the_others(source, tmp_path, file_work, workers):
    out = tmp_path / "out"
    for text in ("bad", "odd", "gone"):
        (source / f"{text}.txt").write_text(text)
    found, _ = _run(source, out, file_work.make, workers=workers)
    reasons = {name: outcome.reason for name, outcome in found.items() if outcome.reason}
    assert reasons == {
        "bad.txt": "a bad text",
        "odd.txt": "RuntimeError: who knows",
        "gone.txt": reasons["gone.txt"],
    }
    assert "No such file" in reasons["gone.txt"]
    assert ".unfinished" not in reasons["gone.txt"]
    assert _content(out) == WANTED
    found, done = _run(source, out, file_work.make, workers=workers)
    assert (set(found), done) == ({"bad.txt", "odd.txt", "gone.txt"}, 4)


def test_stopping_waits_for_what_is_under_way_and_begins_nothing_more(source, tmp_path, file_work):
    tasks = [
        file_workers.Task(number, source / "a.txt", tmp_path / str(number)) for number in range(50)
    ]
    results = file_workers.run_tasks(tasks, file_work.make, num_workers=2)
    assert next(results).seconds == 3
    results.close()  # what an exception or Ctrl-C in the loop over the results does
    assert 1 <= sum((tmp_path / str(number)).exists() for number in range(50)) < 50


def test_work_is_made_once_and_only_where_there_is_a_task(source, tmp_path, file_work):
    made = []

    def make():
        made.append(1)
        return file_work.make()

    _run(source, tmp_path / "out", make, workers=2)
    _run(source, tmp_path / "out", make, workers=2)
    assert made == [1]


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
    assert len(lines) == 8  # of each file: it will be ours, it is done
    bad = {
        "torn": lines[7][:-9],
        "words": b"words\n",
        "outside": lines[7].replace(b"b/f.up", b"../x.t"),
    }[damage]
    (out / JOURNAL).write_bytes(b"".join([*lines[:7], bad]))
    found, done = _run(source, out, file_work.make)
    assert (set(found), done) == ({"b/f.txt"}, 3)
    assert _content(out) == WANTED
    assert _run(source, out, file_work.make) == ({}, 4)


def test_an_output_folder_has_one_run_at_a_time(source, tmp_path, file_work):
    with (
        output_folder.open_output(tmp_path / "out", SETTINGS, [], source=source),
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


def _untouched(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("overwrite", [False, True])
def test_sources_of_a_run_are_neither_replaced_nor_deleted(source, tmp_path, file_work, overwrite):
    """Into itself, by its name and by a link; made before, so that the journal knows them."""
    out = tmp_path / "out"
    _run(source, out, file_work.make)
    (tmp_path / "link").symlink_to(out)
    before = _untouched(out)
    replaced = [Job("a.up", "a.up")]
    deleted = [Job("a.up", "a.txt")]
    for folder in (out, tmp_path / "link"):
        for jobs in (replaced, deleted):
            if jobs == deleted and not overwrite:
                continue  # which is refused for its other folder of sources
            with (
                pytest.raises(OutputError, match=r"a file that this run reads|, now source="),
                output_folder.open_output(out, SETTINGS, jobs, source=folder, overwrite=overwrite),
            ):
                pass
    assert _untouched(out) == before


def test_another_work_is_refused_whatever_the_options(source, tmp_path, file_work):
    out = tmp_path / "out"
    _run(source, out, file_work.make)
    before = _untouched(out)
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"out: it holds what `upper` made, and this is `lo"):
            _run(source, out, file_work.make, settings={"work": "lower"}, overwrite=overwrite)
    assert _untouched(out) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_that_no_run_made_are_not_replaced(source, tmp_path, file_work, overwrite):
    out = tmp_path / "out"
    (out / "b").mkdir(parents=True)
    (out / "a.up").write_text("precious")
    (out / "b/f.up").write_text("precious")
    before = _untouched(out)
    with pytest.raises(
        OutputError, match=r"out: 2 of the files to make .*, a\.up the first, .*mov"
    ):
        _run(source, out, file_work.make, overwrite=overwrite)
    assert _untouched(out) == before  # not even a journal
    for name in ("a.up", "b/f.up"):
        (out / name).rename(tmp_path / Path(name).name)
    _run(source, out, file_work.make, overwrite=overwrite)
    (out / JOURNAL).unlink()
    with pytest.raises(OutputError, match=r"4 of the files to make .*were these deleted\?"):
        _run(source, out, file_work.make, overwrite=overwrite)
    assert _content(out) == WANTED


def test_overwriting_deletes_only_what_the_journal_knows(source, tmp_path, file_work):
    out = tmp_path / "out"
    _run(source, out, file_work.make)
    (out / "mine.up").write_text("mine")
    (out / "b/c.up").write_text("changed by hand")
    for name in ("a.txt", "b/c.txt"):
        (source / name).unlink()
    _run(source, out, file_work.make, overwrite=True)
    kept = {"mine.up": "mine", "b/c.up": "changed by hand"}
    assert _content(out) == {"b/d/e.up": "THREE", "b/f.up": "FOUR", **kept}
    (source / "b/c.txt").write_text("two")  # which is no longer ours to replace
    with pytest.raises(OutputError, match=r"1 of the files to make are there already, b/c\.up"):
        _run(source, out, file_work.make, overwrite=True)


def test_an_interrupted_overwrite_keeps_its_files(source, tmp_path, file_work):
    out = tmp_path / "out"
    _run(source, out, file_work.make)
    names = corpus_encoding.find_files(source, {".txt"})
    jobs = corpus_encoding.plan_jobs(names, suffix=".up")
    with output_folder.open_output(out, SETTINGS, jobs, source=source, overwrite=True):
        pass
    found, done = _run(source, out, file_work.make)
    assert (set(found), done) == (set(FILES), 0)


def test_a_journal_without_its_configuration_says_nothing(source, tmp_path, file_work):
    out = tmp_path / "out"
    _run(source, out, file_work.make)
    (out / CONFIGURATION).unlink()
    with pytest.raises(OutputError, match="4 of the files to make are there already"):
        _run(source, out, file_work.make, settings={"work": "upper", "loud": False})
    for name in WANTED:
        (out / name).unlink()
    found, done = _run(source, out, file_work.make)
    assert (len(found), done) == (4, 0)


def test_the_configuration_is_read_under_the_lock(source, tmp_path, monkeypatch):
    out, order = tmp_path / "out", []
    lock, check = output_folder._lock, output_folder.check_configuration
    monkeypatch.setattr(output_folder, "_lock", lambda *given: [order.append("lock"), lock(*given)])
    monkeypatch.setattr(
        output_folder,
        "check_configuration",
        lambda *given, **options: [order.append("check"), check(*given, **options)],
    )
    for _ in range(2):
        with output_folder.open_output(out, SETTINGS, [], source=source):
            pass
    assert order == ["lock", "lock", "check"]


def test_another_folder_of_sources_is_not_done(source, tmp_path, file_work):
    out = tmp_path / "out"
    _run(source, out, file_work.make)
    moved = source.rename(tmp_path / "moved")
    with pytest.raises(
        OutputError, match=r"source='.*/in', now source='.*/moved'.*only moved, write its new name"
    ):
        _run(moved, out, file_work.make)
    configuration = json.loads((out / CONFIGURATION).read_text())
    configuration["source"] = str(moved)
    (out / CONFIGURATION).write_text(json.dumps(configuration))
    assert _run(moved, out, file_work.make) == ({}, 4)
    (moved / "a.txt").write_text("won")
    os.utime(moved / "a.txt", ns=(1, 1))
    found, _ = _run(moved, out, file_work.make, overwrite=True)
    assert set(found) == set(FILES)


def test_what_files_were_made_with_can_go_out_of_date(source, tmp_path):
    out = tmp_path / "out"
    jobs = corpus_encoding.plan_jobs(["a.txt", "b/c.txt"], suffix=".up")

    def work(path: Path, target: Path) -> file_workers.Made:
        target.write_text(path.read_text())
        return file_workers.Made(1.0, ("a note",), path.name)

    counts = []
    for current in ("a.txt c.txt", "c.txt"):
        with output_folder.open_output(out, SETTINGS, jobs, source=source) as output:
            waiting = corpus_encoding.waiting_jobs(
                source, jobs, output, is_current=lambda made_with, now=current: made_with in now
            )
            found = list(
                corpus_encoding.run_jobs(source, waiting, output, lambda: work, num_workers=1)
            )
        counts.append([outcome.job.source for outcome in found])
        assert all(outcome.notes == ("a note",) for outcome in found)
    assert counts == [["a.txt", "b/c.txt"], ["a.txt"]]


class _FullDisk:
    """A journal on a disk that fills up: half a line fits, when a text is in it."""

    def __init__(self, file, text: bytes) -> None:
        self._file, self._text = file, text

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, content: bytes) -> int:
        if self._text in content:
            self._file.write(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(content)


@pytest.mark.parametrize("text", [b'b/c.up"', b'b/c.up", "source": "b/c.txt", "size"'])
def test_a_disk_that_is_full_for_the_journal_fails_the_file(source, tmp_path, file_work, text):
    out = tmp_path / "out"
    names = corpus_encoding.find_files(source, {".txt"})
    jobs = corpus_encoding.plan_jobs(names, suffix=".up")
    with output_folder.open_output(out, SETTINGS, jobs, source=source) as output:
        output._journal._file = _FullDisk(output._journal._file, text)
        found = list(corpus_encoding.run_jobs(source, jobs, output, file_work.make, num_workers=1))
    reasons = {outcome.job.source: outcome.reason for outcome in found if outcome.reason}
    assert reasons == {"b/c.txt": "cannot be written: No space left on device"}
    assert _content(out) == {name: text for name, text in WANTED.items() if name != "b/c.up"}
    found, done = _run(source, out, file_work.make)
    assert (set(found), done) == ({"b/c.txt"}, 3)


def test_a_source_that_was_not_there_at_first_fails_alone(source, tmp_path, file_work):
    out = tmp_path / "out"
    jobs = corpus_encoding.plan_jobs(["a.txt", "late.txt"], suffix=".up")

    def make() -> file_workers.Work:
        (source / "late.txt").write_text("late")
        return file_work.make()

    with output_folder.open_output(out, SETTINGS, jobs, source=source) as output:
        found = list(corpus_encoding.run_jobs(source, jobs, output, make, num_workers=1))
    reasons = {outcome.job.source: outcome.reason for outcome in found}
    assert reasons == {
        "a.txt": "",
        "late.txt": "it was not there when the run began; run again",
    }
    assert _content(out) == {"a.up": "ONE"}


def test_a_run_that_dies_between_two_lines_goes_on(source, tmp_path, file_work, monkeypatch):
    out = tmp_path / "out"
    real = output_journal.Journal.append

    def die(journal, *entries, lasting=False):
        if not lasting:
            raise KeyboardInterrupt
        real(journal, *entries, lasting=lasting)

    with monkeypatch.context() as patch:
        patch.setattr(output_journal.Journal, "append", die)
        with pytest.raises(KeyboardInterrupt):
            _run(source, out, file_work.make)
    assert _content(out) == {"a.up": "ONE"}  # it has its name, and no line says that it is done
    found, done = _run(source, out, file_work.make)
    assert (set(found), done) == (set(FILES), 0)
    assert _content(out) == WANTED


def test_a_file_that_appears_during_the_run_is_kept(source, tmp_path, file_work):
    out = tmp_path / "out"
    jobs = corpus_encoding.plan_jobs(["a.txt", "b/c.txt"], suffix=".up")
    with output_folder.open_output(out, SETTINGS, jobs, source=source) as output:
        (out / "a.up").write_text("precious")
        found = corpus_encoding.run_jobs(source, jobs, output, file_work.make, num_workers=1)
        reasons = {outcome.job.source: outcome.reason for outcome in found if outcome.reason}
    assert reasons == {"a.txt": "cannot be written: a file of this name appeared during the run"}
    assert _content(out) == {"a.up": "precious", "b/c.up": "TWO"}


def test_reasons_name_no_path_twice(tmp_path):
    task = file_workers.Task(0, tmp_path / "in.wav", tmp_path / "out.npz")
    for error, reason in (
        (PermissionError(errno.EACCES, "Permission denied", str(task.source)), "Permission denied"),
        (OSError(errno.EIO, "I/O error", "model.zip"), "model.zip: I/O error"),
        (OSError("no number"), "no number"),
    ):
        assert file_workers.reason_of(error, task) == reason


def test_folders_that_cannot_be_listed_are_told(source, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("/d"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    problems = []
    found = corpus_encoding.find_files(source, {".txt"}, problems=problems)
    assert found == ["a.txt", "b/c.txt", "b/f.txt"]
    assert problems == [("b/d", "cannot be listed: Permission denied")]
    with pytest.raises(OutputError, match=r"b/d: cannot be listed: Permission denied"):
        corpus_encoding.find_files(source, {".txt"})


def test_names_that_are_not_utf8_are_found(source):
    odd = os.fsdecode(b"\xe9t\xe9.txt")
    try:
        (source / odd).touch()
    except OSError:
        pytest.skip("a file system that takes UTF-8 only")
    problems = []
    found = corpus_encoding.find_files(source, {".txt"}, problems=problems)
    assert found == sorted([*FILES, odd])
    assert problems == []


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
        with output_folder.open_output(out, SETTINGS, now, source=source) as output:
            waiting = corpus_encoding.waiting_jobs(source, now, output)
            list(corpus_encoding.run_jobs(source, waiting, output, file_work.make, num_workers=1))
    assert _content(out) == {"a.txt.up": "ONE", "b/c.up": "TWO"}
