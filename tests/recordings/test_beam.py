"""The Beam transform on the runners of this process: same bytes, failures, retries, reruns."""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import importlib.util
import io
import json
import operator
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile

from isincnet_jax.recordings.output_folder import (
    CONFIGURATION,
    JOURNAL,
    UNFINISHED,
    Job,
    OutputError,
)

beam = pytest.importorskip("apache_beam")

from apache_beam.io.filesystem import BeamIOError, FileMetadata  # noqa: E402
from apache_beam.io.localfilesystem import LocalFileSystem  # noqa: E402
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner  # noqa: E402
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner  # noqa: E402
from apache_beam.testing.util import assert_that, equal_to  # noqa: E402

from isincnet_jax.recordings import beam as beam_encoding  # noqa: E402

HERE = Path(__file__).parent
SCRIPT = HERE.parents[1] / "experiments" / "encode_corpus.py"
OURS = {CONFIGURATION, f"{beam_encoding.FAILURES}.jsonl"}
WANTED = {"a.up": "ONE", "b/c.up": "TWO"}
COUNTS = {"made": 0, "skipped": 0, "failed": 0, "milliseconds_of_audio": 0}
DONE = {"seconds": 3.0, "num_bytes": 3, "skipped": False}


@pytest.fixture
def file_work(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    import file_work

    return file_work


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "in [1]"  # brackets mean something to Beam's patterns
    (folder / "b").mkdir(parents=True)
    (folder / "a.txt").write_text("one")
    (folder / "b" / "c.txt").write_text("two")
    (folder / ".hidden.txt").write_text("three")
    return folder


def _run(
    source,
    out,
    make_work,
    *,
    done=None,
    failures=(),
    names=None,
    overwrite=False,
    runner=FnApiRunner,
):
    """Runs the transform and checks its two collections."""
    settings = {"work": "upper"}
    jobs = beam_encoding.find_jobs(str(source), suffix=".up", suffixes={".txt"})
    begin = beam_encoding.prepare_output(
        str(out), settings, jobs, source=str(source), overwrite=overwrite
    )
    pipeline = beam.Pipeline(runner=runner())
    transform = beam_encoding.MakeFiles(
        make_work, source=str(source), out=str(out), not_before=begin
    )
    found = pipeline | beam.Create(jobs) | transform
    if done is not None:
        assert_that(found[beam_encoding.DONE], equal_to(done), label="done")
        assert_that(found[beam_encoding.FAILURES], equal_to(list(failures)), label="failures")
    if names is not None:
        made = found[beam_encoding.DONE] | beam.Map(operator.itemgetter("source"))
        assert_that(made, equal_to(names), label="names")
    _ = found | beam_encoding.WriteReport(str(out))
    pipeline.run().wait_until_finish()
    counts = beam_encoding.read_report(str(out))
    beam_encoding.clear_unfinished(str(out))
    return counts


def _content(folder: Path) -> dict[str, str]:
    """All visible files but the configuration and the list of failures."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in OURS and UNFINISHED not in str(path)
    }


def _done(source: str, target: str) -> dict:
    return {"source": source, "target": target, **DONE}


def test_files_are_made_once(source, tmp_path, file_work):
    out = tmp_path / "out [2]"
    made = [_done("a.txt", "a.up"), _done("b/c.txt", "b/c.up")]
    counts = _run(source, out, file_work.make, done=made)
    assert counts == {"made": 2, "skipped": 0, "failed": 0, "milliseconds_of_audio": 6000}
    assert _content(out) == WANTED
    os.utime(out / "b/c.up", (1, 1))  # older than its source
    counts = _run(source, out, file_work.make)
    assert (counts["made"], counts["skipped"]) == (1, 1)
    counts = _run(source, out, file_work.make, overwrite=True)
    assert (counts["made"], counts["skipped"]) == (2, 0)


def test_what_cannot_be_read_goes_to_the_failures(source, tmp_path, file_work):
    (source / "x.txt").write_text("bad")
    failure = {"source": "x.txt", "target": "x.up", "reason": "a bad text"}
    made = [_done("a.txt", "a.up"), _done("b/c.txt", "b/c.up")]
    counts = _run(source, tmp_path / "out", file_work.make, done=made, failures=[failure])
    assert counts["failed"] == 1
    assert _content(tmp_path / "out") == WANTED


def test_a_full_disk_is_the_runner_s_affair(source, tmp_path, file_work):
    (source / "x.txt").write_text("full")
    with pytest.raises(Exception, match="cannot be written"):
        _run(source, tmp_path / "out", file_work.make)


def _fail_once(source, tmp_path) -> None:
    """The first attempt at x.txt raises OSError when half of its file is written."""
    (source / "x.txt").write_text(f"once {tmp_path / 'mark'}")


def test_a_runner_that_retries_completes(source, tmp_path, file_work):
    _fail_once(source, tmp_path)
    # The bundle is tried again from its beginning: what it had made is neither lost nor doubled.
    _run(
        source,
        tmp_path / "out",
        functools.partial(_Counting, tmp_path / "calls"),
        names=["a.txt", "b/c.txt", "x.txt"],
        runner=BundleBasedDirectRunner,
    )
    assert (tmp_path / "mark").exists()
    assert (tmp_path / "calls").read_text().count(".txt\n") >= 4
    content = _content(tmp_path / "out")
    assert content.pop("x.up").startswith("ONCE")
    assert content == WANTED
    counts = _run(source, tmp_path / "out", file_work.make)
    assert (counts["made"], counts["skipped"]) == (0, 3)


class _Counting:
    """The work, with a log of calls."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __call__(self, source: Path, target: Path) -> float:
        import file_work

        with self._log.open("a") as log:
            log.write(f"{source.name}\n")
        return file_work.upper(source, target)


def test_a_rerun_completes_where_the_runner_gives_up(source, tmp_path, file_work):
    _fail_once(source, tmp_path)
    with pytest.raises(Exception, match="the network is down"):
        _run(source, tmp_path / "out", file_work.make)  # the FnApiRunner tries once
    found = _content(tmp_path / "out")
    assert found.items() <= WANTED.items()  # whole files, and no part of the one that failed
    counts = _run(source, tmp_path / "out", file_work.make)
    assert (counts["made"], counts["skipped"]) == (3 - len(found), len(found))
    assert {"x.up", *WANTED} == set(_content(tmp_path / "out"))


def test_a_copy_that_breaks_off_leaves_nothing_visible(source, tmp_path, file_work, monkeypatch):
    real = beam_encoding.shutil.copyfileobj

    def half(file, copy):
        if UNFINISHED in str(copy.name):
            copy.write(file.read(1))
            raise OSError("the disk is full")
        real(file, copy)

    with monkeypatch.context() as patch:
        patch.setattr(beam_encoding.shutil, "copyfileobj", half)
        with pytest.raises(Exception, match="the disk is full"):
            _run(source, tmp_path / "out", file_work.make)
    assert not [path for path in (tmp_path / "out").rglob("*.up")]
    left = tmp_path / "out" / f"{UNFINISHED}dead"  # of a worker that was killed
    left.mkdir()
    (left / "x.up").write_text("hal")
    _run(source, tmp_path / "out", file_work.make)
    assert not left.exists()
    assert _content(tmp_path / "out") == WANTED


def test_another_configuration_is_refused(source, tmp_path, file_work):
    out = str(tmp_path / "out")
    prepare = functools.partial(beam_encoding.prepare_output, out, jobs=[], source=str(source))
    prepare({"q_bits": 8})
    (tmp_path / "out" / JOURNAL).touch()
    with pytest.raises(OutputError, match=r"out: .* with q_bits=8, now q_bits=6"):
        prepare({"q_bits": 6})
    with pytest.raises(OutputError, match=r"source='.*', now source='.*/other'"):
        prepare({"q_bits": 8}, source=str(tmp_path / "other"))
    with pytest.raises(OutputError, match=r"it holds what `None` made, and this is `decode`"):
        prepare({"work": "decode"}, overwrite=True)
    assert (tmp_path / "out" / JOURNAL).exists()
    prepare({"q_bits": 6}, overwrite=True)
    assert not (tmp_path / "out" / JOURNAL).exists()
    with pytest.raises(OutputError, match="no files to work on"):
        beam_encoding.find_jobs(str(source), suffix=".npz")


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_that_no_run_made_are_not_replaced(source, tmp_path, file_work, overwrite):
    out = tmp_path / "out"
    (out / "b").mkdir(parents=True)
    (out / "b/c.up").write_text("precious")
    with pytest.raises(OutputError, match=r"out: 1 of the files to make .*, b/c\.up the first"):
        _run(source, out, file_work.make, overwrite=overwrite)
    assert _content(out) == {"b/c.up": "precious"}


def test_a_file_is_no_output_folder(source, tmp_path, file_work):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="out: a file, not a folder to write to"):
        _run(source, tmp_path / "out", file_work.make)


def test_a_file_that_cannot_be_opened_goes_to_the_failures(
    source, tmp_path, file_work, monkeypatch
):
    real = beam_encoding.FileSystems.open

    def refuse(path, **options):
        if path.endswith("a.txt"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, **options)

    monkeypatch.setattr(beam_encoding.FileSystems, "open", refuse)
    failure = {
        "source": "a.txt",
        "target": "a.up",
        "reason": "cannot be read: Permission denied",
    }
    made = [_done("b/c.txt", "b/c.up")]
    counts = _run(source, tmp_path / "out", file_work.make, done=made, failures=[failure])
    assert (counts["made"], counts["failed"]) == (1, 1)


def test_a_file_that_is_gone_goes_to_the_failures(source, tmp_path, file_work, monkeypatch):
    out = tmp_path / "out"
    _run(source, out, file_work.make)
    real = beam_encoding.find_jobs
    monkeypatch.setattr(
        beam_encoding,
        "find_jobs",
        lambda *given, **options: [*real(*given, **options), Job("gone.txt", "gone.up")],
    )
    assert _run(source, out, file_work.make)["failed"] == 1
    (out / "gone.up").write_text("GONE")
    counts = _run(source, out, file_work.make)
    assert (counts["skipped"], counts["failed"]) == (2, 1)


def test_relative_folders_with_characters_of_patterns(source, tmp_path, file_work, monkeypatch):
    monkeypatch.chdir(tmp_path)
    counts = _run("in [1]", "out [2]", file_work.make)
    assert (counts["made"], counts["failed"]) == (2, 0)
    assert _content(tmp_path / "out [2]") == WANTED
    assert _run("in [1]/", "out [2]/", file_work.make)["skipped"] == 2


def test_names_that_are_not_utf8_are_told(source, monkeypatch):
    name = f"{source}/" + os.fsdecode(b"\xe9.txt")
    monkeypatch.setattr(beam_encoding, "_files_below", lambda _: [name])
    with pytest.raises(OutputError, match=r"\\xe9\.txt: its name is not UTF-8; rename it"):
        beam_encoding.find_jobs(str(source), suffix=".up", suffixes={".txt"})


def test_jobs_are_those_of_the_command(source):
    for name in ("d.wav", "d.flac", "b/d.wav"):
        (source / name).touch()
    found = beam_encoding.find_jobs(str(source), suffix=".npz")
    assert found == [
        Job("b/d.wav", "b/d.npz"),
        Job("d.flac", "d.flac.npz"),
        Job("d.wav", "d.wav.npz"),
    ]


class _Stored(io.BytesIO):
    """An object that is there when it is closed."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.name = path

    def close(self) -> None:
        if not self.closed:
            ObjectStore.objects[self.name] = (self.getvalue(), time.time())
        super().close()


class ObjectStore(LocalFileSystem):
    """Objects by name in memory, as gs:// has them: no folders, and renaming is copying."""

    objects: ClassVar[dict[str, tuple[bytes, float]]] = {}

    @classmethod
    def scheme(cls):
        return "mem"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def mkdirs(self, path):
        pass

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        for path, (content, updated) in list(self.objects.items()):
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(content), updated)

    def create(self, path, mime_type="", compression_type=None):
        return _Stored(path)

    def open(self, path, mime_type="", compression_type=None):
        return io.BytesIO(self.objects[path][0])

    def rename(self, source_file_names, destination_file_names):
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            if target in self.objects:
                raise BeamIOError("something is there")
            self.objects[target] = self.objects.pop(source)

    def exists(self, path):
        return path in self.objects

    def last_updated(self, path):
        return self.objects[path][1]

    def metadata(self, path):
        content, updated = self.objects[path]
        return FileMetadata(path, len(content), updated)

    def delete(self, paths):
        for path in paths:
            del self.objects[path]


def test_folders_of_an_object_store(file_work):
    store = ObjectStore.objects
    store.clear()
    for name, text in (("a.txt", b"one"), ("b/c.txt", b"two"), ("x.txt", b"bad")):
        store[f"mem://bucket/in/{name}"] = (text, time.time())
    store["mem://bucket/input/z.txt"] = (b"not ours", time.time())
    store[f"mem://bucket/out/{UNFINISHED}1/a.up"] = (b"hal", time.time())
    counts = _run("mem://bucket/in", "mem://bucket/out", file_work.make)
    assert (counts["made"], counts["failed"]) == (2, 1)
    made = {name.removeprefix("mem://bucket/out/") for name in store if "/out/" in name}
    assert made == {"a.up", "b/c.up", *OURS}
    assert store["mem://bucket/out/b/c.up"][0] == b"TWO"
    counts = _run("mem://bucket/in", "mem://bucket/out", file_work.make)
    assert (counts["made"], counts["skipped"]) == (0, 2)
    counts = _run("mem://bucket/in", "mem://bucket/out", file_work.make, overwrite=True)
    assert (counts["made"], counts["skipped"]) == (2, 0)


def test_without_beam_the_extra_is_named():
    code = (
        "import sys\nsys.modules['apache_beam'] = None\n"
        "try:\n    import isincnet_jax.recordings.beam\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'isincnet-jax[beam]'" in done.stdout


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("encode_corpus", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--q-bit 8", "--q-bit 8"),
        ("--optimize --runner=DirectRunner", "--optimize"),
        ("--direct_num_worker=4 --direct_num_workers=4", "--direct_num_worker=4"),
        ("more", "more"),
    ],
)
def test_the_script_refuses_options_that_nobody_knows(script, options, named):
    with pytest.raises(ValueError, match=rf"^{named}: no option of this script"):
        script.main(["in", "out", *options.split()])


def test_the_script_takes_what_only_a_job_server_knows(script, monkeypatch):
    given = {}
    monkeypatch.setattr(script, "run", lambda *_, **options: given.update(options) or COUNTS)
    line = "in out --optimise --snr 20 --flink_master=host:8081 -- --strange=3"
    assert script.main(line.split()) == 0
    assert given["pipeline_arguments"] == ["--flink_master=host:8081", "--strange=3"]
    configuration = given["configuration"]
    assert (given["suffix"], configuration["snr_db"], configuration["optimise"]) == (
        ".isn",
        20,
        True,
    )
    with pytest.raises(ValueError, match=r"suffix=\.npz: optimise= makes entropy-coded files"):
        script.main(["in", "out", "--optimise", "--format", ".npz"])


@pytest.mark.quick(0)
def test_the_script_gives_the_bytes_of_the_command(run, script, tmp_path, capsys):
    rng = np.random.default_rng(2)
    for name, rate in (("a.wav", 16_000), ("b/c.flac", 22_050)):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "in" / name, 0.2 * rng.standard_normal((3001, 2)), rate)
    (tmp_path / "in" / "bad.wav").write_bytes(b"no audio at all" * 9)
    assert run("encode in here --q-bits 8")[0] == 1
    folder, out = str(tmp_path / "in"), str(tmp_path / "there")
    assert script.main([folder, out, "--q-bits", "8", "--direct_num_workers=1"]) == 1
    assert (
        "encoded 2 files: 0.3 s of audio; 0 were done already, 1 failed" in capsys.readouterr().out
    )
    for name in ("a.npz", "b/c.npz"):
        assert Path("here", name).read_bytes() == Path("there", name).read_bytes()
    failures = [json.loads(line) for line in Path("there/failures.jsonl").read_text().splitlines()]
    assert [failure["source"] for failure in failures] == ["bad.wav"]
    assert "no audio that soundfile" in failures[0]["reason"]
    assert "file.wav" not in failures[0]["reason"]
    with contextlib.suppress(FileNotFoundError):
        Path("in/bad.wav").unlink()
    assert script.main([folder, out, "--q-bits", "8"]) == 0
    with pytest.raises(OutputError, match="q_bits=8, now q_bits=7"):
        script.main([folder, out, "--q-bits", "7"])
    visible = {path.name for path in Path("there").rglob("*")}
    assert visible == {"a.npz", "b", "c.npz", "failures.jsonl", CONFIGURATION}
