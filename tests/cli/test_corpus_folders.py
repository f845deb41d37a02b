"""``isincnet encode DIR OUT`` and ``decode DIR OUT``: the same files as one at a time, resumed."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import rich.console
import soundfile

import isincnet_jax as isn
from isincnet_jax.recordings import decoder as corpus_decoder
from isincnet_jax.recordings import encoder as corpus_encoder
from isincnet_jax.recordings import jobs as corpus_encoding
from isincnet_jax.recordings import options as corpus_options
from isincnet_jax.recordings.output_folder import CONFIGURATION, JOURNAL
from isincnet_jax.tokens import archive

RATE = 16_000
COMMAND = Path(sys.executable).with_name("isincnet")
SOURCES = {
    "a.wav": (RATE, 1, 4000),
    "b/c.flac": (44_100, 2, 5001),
    "b/d/e.wav": (RATE, 2, 1),
    "b/d/f.ogg": (22_050, 1, 7000),
}


def _write(name: str, rate: int, num_channels: int, length: int) -> None:
    rng = np.random.default_rng(length)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(name, rng.uniform(-0.5, 0.5, (length, num_channels)), rate)


@pytest.fixture
def corpus(run):
    """Runs commands in a folder with the corpus ``in``."""
    for name, shape in SOURCES.items():
        _write(f"in/{name}", *shape)
    return run


def _files(folder: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() and path.name not in (CONFIGURATION, JOURNAL)
    }


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("options", "suffix"),
    [("--q-bits 8", ".npz"), ("--jobs 3", ".npz"), ("--step 0.05 --jobs 1", ".isn")],
)
def test_a_folder_gives_the_files_of_one_at_a_time(corpus, options, suffix):
    status, out, err = corpus(f"encode in out {options}")
    assert (status, err) == (0, "")
    assert re.search(r"^\[4/4\] .*: \d+\.\d s$", out, re.MULTILINE)
    assert re.search(
        r"^encoded 4 files: 0\.7 s of audio in .* x real time\), \d+ bytes$", out, re.M
    )
    wanted = {str(Path(name).with_suffix(suffix)) for name in SOURCES}
    found = _files("out")
    assert set(found) == wanted
    single = re.sub(r" *--jobs \d", "", options)
    for name in SOURCES:
        assert corpus(f"encode in/{name} one{suffix} {single}")[0] == 0
        assert Path(f"one{suffix}").read_bytes() == found[str(Path(name).with_suffix(suffix))]
    times = {path: path.stat().st_mtime_ns for path in Path("out").rglob(f"*{suffix}")}
    status, out, _ = corpus(f"encode in out {options}")
    assert status == 0
    assert "out: 4 of 4 files are done already" in out
    assert times == {path: path.stat().st_mtime_ns for path in Path("out").rglob(f"*{suffix}")}


@pytest.mark.quick(0)
@pytest.mark.parametrize("options", ["--step 0.05", "--optimise", "--model 16khz-lapped"])
def test_threads_give_the_same_bytes(corpus, options):
    assert corpus(f"encode in serial {options} --format .isn --jobs 1")[0] == 0
    assert corpus(f"encode in parallel {options} --format .isn --jobs 2")[0] == 0
    assert _files("serial") == _files("parallel")
    assert corpus("decode serial back --jobs 2")[0] == 0
    assert set(_files("back")) == {str(Path(name).with_suffix(".wav")) for name in SOURCES}


@pytest.mark.quick(1)
@pytest.mark.parametrize("options", ["", "--model-rate --format .flac"])
def test_decoding_a_folder(corpus, options):
    assert corpus("encode in codes --q-bits 12")[0] == 0
    status, out, _ = corpus(f"decode codes back {options}")
    assert status == 0
    assert re.search(r"^decoded 4 files: 0\.7 s of audio", out, re.MULTILINE)
    suffix = ".flac" if options else ".wav"
    single = "--model-rate" if options else ""
    for name in SOURCES:
        coded = Path("codes", name).with_suffix(".npz")
        assert corpus(f"decode {coded} one{suffix} {single}")[0] == 0
        back = Path("back", name).with_suffix(suffix)
        assert Path(f"one{suffix}").read_bytes() == back.read_bytes()
    _, out, _ = corpus(f"decode codes back {options}")
    assert "back: 4 of 4 files are done already" in out


def test_bad_files_are_told_at_the_end(corpus):
    Path("in/empty.wav").write_bytes(b"")
    Path("in/text.flac").write_text("these are words\n" * 50)
    content = Path("in/a.wav").read_bytes()
    Path("in/cut.wav").write_bytes(content[: len(content) // 2])
    status, out, err = corpus("encode in out")
    assert (status, err) == (1, "")
    assert re.search(r"^failed: empty\.wav: an empty file$", out, re.MULTILINE)
    assert re.search(r"^failed: text\.flac: no audio that soundfile", out, re.MULTILINE)
    assert re.search(r"^failed: cut\.wav: truncated", out, re.MULTILINE)
    assert out.endswith("3 of 7 files failed; nothing was written for them\n")
    assert len(_files("out")) == 4
    _write("in/cut.wav", RATE, 1, 3000)
    Path("in/empty.wav").unlink()
    Path("in/text.flac").unlink()
    status, out, _ = corpus("encode in out")
    assert status == 0
    assert "4 of 5 files are done already" in out


def test_silence_has_no_ratio_and_fails_alone(corpus):
    soundfile.write("in/silent.wav", np.zeros(3000), RATE)
    status, out, _ = corpus("encode in out --snr 20 --jobs 1")
    assert status == 1
    assert "failed: silent.wav: --snr: the recording is silent" in out
    assert len(_files("out")) == 4


@pytest.mark.quick(0)
def test_another_configuration_is_refused(corpus):
    assert corpus("encode in out --q-bits 8")[0] == 0
    before = _files("out")
    for options, difference in (
        ("--q-bits 6", r"--q-bits 8, now --q-bits 6; use another folder, or --overwrite"),
        ("", "--q-bits 8, now no --q-bits"),
        ("--q-bits 8 --scales spec", "--scales 'signal', now --scales 'spec'"),
        ("--q-bits 8 --model 16khz-mel", "--model '16khz-linear', now --model '16khz-mel'"),
        ("--format .isn", r"--format '\.npz', now --format '\.isn'"),
    ):
        status, _, err = corpus(f"encode in out {options}")
        assert status == 1
        assert re.fullmatch(
            rf"isincnet: error: out: its files were made with .*{difference}.*\n", err
        )
    assert _files("out") == before
    assert corpus("encode in out --q-bits 8 --model 16khz-linear")[0] == 0  # as if left out
    assert _files("out") == before
    assert corpus("encode in out --format .isn --overwrite --jobs 1")[0] == 0
    before = _files("out")
    for options, difference in (
        ("--snr 20", "--snr 25.0, now --snr 20.0"),
        ("--step 0.02", "no --step, now --step 0.02"),
        ("--optimise --snr 25", "no --optimise, now --optimise"),
        ("--model 16khz-lapped", "no --model, now --model '16khz-lapped'"),
        ("--quality 5", "--quality 5"),
        ("--format .npz", r"--format '\.isn', now --format '\.npz'"),
    ):
        status, _, err = corpus(f"encode in out --format .isn {options}")
        assert status == 1
        assert re.fullmatch(
            rf"isincnet: error: out: its files were made with .*{difference}.*\n", err
        )
    assert "4 of 4 files are done already" in corpus("encode in out --snr 25")[1]
    assert _files("out") == before
    assert set(_files("out")) == {str(Path(name).with_suffix(".isn")) for name in SOURCES}


def test_weights_from_a_file_belong_to_the_configuration():
    spec = isn.FilterbankSpec(sample_rate=8000, hop_length=16, num_bins=17, shape="none")
    codec = isn.build_codec(isn.SincNet(spec, learnable_decoder=True))
    options = corpus_encoder.EncodeOptions("my-model")
    changed = codec.replace(variables=jax.tree.map(lambda leaf: 2 * leaf, codec.variables))
    found = [options.prepare(codec=one).configuration for one in (codec, codec, changed)]
    assert found[0] == found[1]
    assert found[0]["bank"] == found[2]["bank"]
    assert found[0]["weights"] != found[2]["weights"]
    assert json.dumps(found[0])


def test_the_step_of_a_codec_belongs_to_the_configuration():
    bank = isn.LappedBank(isn.LappedSpec(sample_rate=8000, hop_length=16))
    options = corpus_encoder.EncodeOptions("my-model")
    found = [
        options.prepare(".isn", codec=isn.build_lapped_codec(bank, step=step)).configuration
        for step in (0.01, 0.01, 0.02)
    ]
    assert found[0] == found[1]
    assert found[0]["bank"] == found[2]["bank"]
    assert found[0]["step"] != found[2]["step"]
    assert json.dumps(found[0])


def test_names_that_differ_by_suffix_are_kept_apart(corpus):
    _write("in/a.flac", RATE, 1, 2000)
    assert corpus("encode in out")[0] == 0
    assert {"a.wav.npz", "a.flac.npz"} < set(_files("out"))
    for name, length in (("a.wav.npz", 4000), ("a.flac.npz", 2000)):
        with archive.ArchiveReader(f"out/{name}") as reader:
            assert reader.header.length == length


def test_bad_options_are_one_line(corpus):
    for line, message in (
        ("encode in out.npz", r"in: a directory, but out\.npz names a single file"),
        ("encode in out --jobs 0", "--jobs 0: use at least 1"),
        ("encode in out --format .wav", r"--format \.wav: use \.npz or \.isn"),
        ("encode in out --format .npz --snr 20", r"--format \.npz: .*use --format \.isn"),
        ("encode in out --format .npz --optimise", r"--format \.npz: .*use --format \.isn"),
        ("encode in out --format .isn --q-bits 8", r"--q-bits: .*write --format \.npz"),
        ("encode in out --format .isn --model 16khz-linear", "16khz-linear: .*16khz-lapped or"),
        ("encode in out --step 0.1 --snr 20", "exclude each other"),
        ("encode in out --step 1e31", r"--step 1e\+31 must lie between"),
        ("encode in out --q-bits 40", "--q-bits 40.*2 to 16"),
        ("encode in out --scales best", "'signal' or 'spec'"),
        ("encode in out --model 16khz-liner", "did you mean '16khz-linear'"),
        ("encode in in/a.wav", r"in/a\.wav: a file, not a folder"),
        ("encode in/b/d/e.wav out.npz --jobs 2", r"--jobs: for folders; in/b/d/e\.wav is none"),
        ("encode in/a.wav out.npz --overwrite", "--overwrite: for folders"),
        ("decode in/a.wav out.wav --format .wav", "--format: for folders"),
        ("decode in out", r"in: no files to work on below it \(\.isn, \.npz\)"),
        ("decode in out --format .xyz", r"unknown extension '\.xyz'"),
        ("decode in out --format wav", r"use \.wav"),
        ("decode in out.wav", r"in: a directory, but out\.wav names a single file"),
        ("encode nope codes", r"nope: no such file"),
        ("decode nope out", r"nope: no such file"),
    ):
        status, _, err = corpus(line)
        assert status == 1, line
        assert re.fullmatch(rf"isincnet: error: .*{message}.*\n", err), err
    assert not Path("out").exists()


def test_a_terminal_gets_a_bar(corpus, monkeypatch, capsys):
    real = rich.console.Console
    monkeypatch.setattr(
        rich.console, "Console", lambda: real(force_terminal=True, width=100, color_system=None)
    )
    status, out, _ = corpus("encode in out")
    assert status == 0
    assert "4/4 files, 1 s of audio" in out
    assert "[4/4]" not in out


@pytest.mark.parametrize("option", ["", " --overwrite"])
def test_decoding_never_takes_its_own_sources(corpus, option):
    assert corpus("encode in codes")[0] == 0
    assert corpus("encode in in")[0] == 0  # beside the recordings
    before = _files("codes"), _files("in")
    for folder in ("codes", "in"):
        status, _, err = corpus(f"decode {folder} {folder}{option}")
        assert status == 1
        assert err == (
            f"isincnet: error: {folder}: it holds what `encode` made, and this is `decode`; use "
            "another folder\n"
        )
    assert (_files("codes"), _files("in")) == before


@pytest.mark.parametrize("option", ["", " --overwrite"])
def test_decoding_over_the_recordings_is_refused(corpus, option):
    assert corpus("encode in codes --q-bits 4")[0] == 0
    before = _files("in")
    status, _, err = corpus(f"decode codes in{option}")
    assert status == 1
    assert re.fullmatch(
        r"isincnet: error: in: 2 of the files to make are there already, a\.wav the first, .*; "
        r"they are not replaced, .*: move them away, or use another folder\n",
        err,
    )
    assert _files("in") == before
    assert not Path("in", JOURNAL).exists()


def test_another_corpus_of_the_same_names_and_times_is_not_done(corpus):
    for name in ("one", "two"):
        Path(name).mkdir()
        soundfile.write(f"{name}/a.wav", np.full(3000, 0.1 * len(name)), RATE)
        os.utime(f"{name}/a.wav", ns=(1, 1))
    assert corpus("encode one out")[0] == 0
    status, _, err = corpus("encode two out")
    assert status == 1
    assert re.search(r"source='.*/one', now source='.*/two'; use another folder", err)


def _make_codec(seed: int):
    """A codec with weights of its own."""
    spec = isn.FilterbankSpec(sample_rate=8000, hop_length=16, num_bins=17, shape="none")
    codec = isn.build_codec(isn.SincNet(spec, learnable_decoder=True))
    return codec.replace(variables=jax.tree.map(lambda leaf: (1 + seed) * leaf, codec.variables))


def test_a_model_that_is_gone_is_told_once(run, monkeypatch):
    for index in range(3):
        _write(f"in/{index}.wav", 8000, 1, 900 + index)
    monkeypatch.setattr(corpus_options, "load_model", lambda _: _make_codec(0))
    monkeypatch.setattr(corpus_decoder, "load_model", lambda _: _make_codec(0))
    assert run("encode in codes --model mine")[0] == 0
    status, out, _ = run("decode codes back")
    assert status == 0
    note = "note: no 'mine' with its bank here; decoding by the bank's inverse (3 files)"
    assert out.splitlines().count(note) == 1
    assert "3 of 3 files are done already" in run("decode codes back")[1]
    Path("mine").mkdir()  # it is there again: what was made without it is not done
    status, out, _ = run("decode codes back")
    assert "note:" not in out
    assert "decoded 3 files" in out
    assert "3 of 3 files are done already" in run("decode codes back")[1]
    monkeypatch.setattr(corpus_decoder, "load_model", lambda _: _make_codec(1))  # retrained
    assert "decoded 3 files" in run("decode codes back")[1]
    assert "3 of 3 files are done already" in run("decode codes back")[1]
    Path("mine").rmdir()  # nothing better than what is there
    assert "3 of 3 files are done already" in run("decode codes back")[1]


def test_folders_that_cannot_be_listed_make_the_status_1(corpus, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path) == "in/b/d":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    assert corpus("encode in out")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        for option in ("", " --overwrite"):
            status, out, _ = corpus(f"encode in out{option}")
            assert status == 1
            assert f"encoded {2 if option else 0} files" in out
            assert out.endswith("left out: b/d: cannot be listed: Permission denied\n")
    assert {"b/d/e.npz", "b/d/f.npz"} < set(_files("out"))  # not taken for superseded
    assert "2 of 4 files are done already" in corpus("encode in out")[1]


@pytest.mark.parametrize("name", ["C.ISN", "C.NPZ"])
def test_suffixes_are_read_in_any_case(corpus, name):
    Path("codes/.hidden").mkdir(parents=True)
    assert corpus(f"encode in/a.wav codes/{name}")[0] == 0
    hidden = "a.npz" if name == "C.ISN" else "a.isn"
    Path("codes/.hidden", hidden).write_bytes(b"")
    assert corpus(f"decode codes/{name} one.wav")[0] == 0
    assert corpus("decode codes back")[0] == 0
    assert Path("back/C.wav").read_bytes() == Path("one.wav").read_bytes()


def test_sums_are_told_whatever_ends_a_run(corpus, monkeypatch):
    Path("in/0.wav").write_bytes(b"")
    real = corpus_encoding.run_jobs

    def run_jobs(*given, **options):
        for number, outcome in enumerate(real(*given, **options)):
            yield outcome
            if number == 2:
                raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(corpus_encoding, "run_jobs", run_jobs)
    status, out, err = corpus("encode in out --jobs 1")
    assert status == 1
    assert "the disk is gone" in err
    assert "encoded 2 files" in out
    assert "failed: 0.wav: an empty file" in out


def test_targets_without_a_source_are_told(corpus):
    assert corpus("encode in out")[0] == 0
    Path("in/a.wav").rename("in/z.wav")
    status, out, _ = corpus("encode in out")
    assert status == 0
    assert "1 files in out have no source any more; they stay as they are" in out
    assert {"a.npz", "z.npz"} < set(_files("out"))


@pytest.mark.quick(1)
@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_compilations_do_not_grow_with_the_files(padding, compilations, tmp_path):
    spec = isn.FilterbankSpec(
        sample_rate=8000, hop_length=16, num_bins=24, shape="none", padding=padding
    )
    encode = corpus_encoder.FileEncoder(
        corpus_encoder.EncodeOptions("bank", q_bits=8), isn.build_codec(isn.SincNet(spec))
    )
    rng = np.random.default_rng(0)
    known = np.geomspace(600, 20_000, 14).astype(int)  # all sizes that blocks are filled up to
    counts = []
    with compilations() as compiled:
        for number, length in enumerate([*known, *rng.integers(600, 20_000, 12)]):
            soundfile.write(tmp_path / "in.wav", rng.uniform(-0.5, 0.5, length), 8000)
            encode(tmp_path / "in.wav", tmp_path / f"{number}.npz")
            counts.append(len(compiled))
    assert counts[0] > 0
    assert counts[-1] == counts[len(known) - 1]  # other lengths, no other program


def _interruptible() -> None:
    """Under nohup and in the background of a shell script, processes inherit that it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.quick(0)
@pytest.mark.parametrize(
    ("number", "options"),
    [
        (signal.SIGKILL, "--q-bits 8 --jobs 2"),
        (signal.SIGKILL, "--q-bits 8 --jobs 1"),
        (signal.SIGINT, "--q-bits 8 --jobs 2"),
        (signal.SIGKILL, "--step 0.1 --jobs 2"),
        (signal.SIGINT, "--step 0.1 --jobs 2"),
    ],
)
def test_an_interrupted_run_goes_on(run, tmp_path, number, options):
    for index in range(12):
        _write(f"in/{index}.wav", 44_100, 2, 150_000 + 999 * index)
    journal = tmp_path / "out" / JOURNAL
    command = [str(COMMAND), "encode", "in", "out", *options.split()]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_interruptible,  # noqa: PLW1509  # nothing but a system call
    ) as begun:
        while not (journal.exists() and journal.read_bytes().count(b'"size"') >= 2):
            assert begun.poll() is None, begun.communicate()
            time.sleep(0.005)
        os.killpg(begun.pid, number) if number == signal.SIGINT else begun.kill()
        out, err = begun.communicate(timeout=240)
    suffix = ".isn" if "step" in options else ".npz"
    visible = [path for path in Path("out").rglob(f"*{suffix}") if ".unfinished" not in str(path)]
    assert 2 <= len(visible) < 12
    if number == signal.SIGINT:
        assert (begun.returncode, err) == (130, "")
        assert "the same command goes on from here" in out
        assert not list(Path("out").glob(".*"))
    before = _files("out")
    assert run(f"encode in undisturbed {options} --jobs 1")[0] == 0
    status, out, _ = run(f"encode in out {options} --jobs 1")
    assert status == 0
    assert int(re.search(r"out: (\d+) of 12 files are done already", out)[1]) >= 2
    after, wanted = _files("out"), _files("undisturbed")
    assert after == wanted
    assert all(wanted[path.name] == before[path.name] for path in visible)
