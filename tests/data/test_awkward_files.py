"""Real files that other libraries stumbled over: the right samples, or one line that says why."""

from __future__ import annotations

import re
import shutil
import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.io.wavfile
import soundfile

from isincnet_jax.data import audio_files
from isincnet_jax.data.audio_files import AudioError

REFUSED = {  # what is to be said of them; what is not named here is read
    "faulty__04 - wrong number": "flac channel changed mid stream",
    "faulty__05 - wrong total": "its header states 39842 samples, and it holds 109487",
    "faulty__11": "unknown error in flac decoder",
    "uncommon__03": "flac channel changed mid stream",
    "crash-cbd": "Malformed 'fmt ' chunk",
    "crash-e54": "Unspecified internal error",
    "bad_riff_header": "Format not recognised",
    "extension_size_incomplete": "unimplemented format",
    "incomplete_riff_header": "Format not recognised",
    "no_child_chunks": "No 'data' chunk",
    "unsupported_format_code": "holds no samples",
    "rect_24bit_nowave": "Format not recognised",
    "Pnossnd": "Unspecified internal error",
    "APEv2": "truncated: 9263 of 8519275 samples",
    "issue-554": "truncated: 3503 of 18033664 samples",
    "emptyfile": "an empty file",
    "bad_audio_file_lyrics3": "Format not recognised",
    "zero_channels": "Format not recognised",
    "incomplete-chunk": "No 'data' chunk",
    "45bit": "unimplemented format",
    "53bit": "unimplemented format",
    "empty_flac": "unknown error in flac decoder",
    "excessive_alloc": "Format not recognised",
    "invalid_sample_rate": "an impossible sample rate",
    "tinytag__tests__samples__test.opus": "truncated: its last Ogg page is cut off",
}
OF_FFMPEG = (  # libsndfile does not know them; ffmpeg may, and its versions differ
    *("faulty__06", "uncommon__07", "uncommon__10", "uncommon__11", "64bit", ".spx"),
)
NOT_STATED = ("uncommon__04", "mpeglayer3", "silence-22khz")  # or another length


@pytest.fixture(scope="module")
def awkward(shared):
    folder = shared / "audio" / "awkward"
    if not folder.is_dir():
        pytest.skip("no audio/awkward in the shared material")
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "INDEX.tsv")


def _has(path, names):
    return [name for name in names if name in path.name]


def _oracle(path):
    """The samples that scipy, or soundfile, reads, [time, channels]."""
    if path.suffix == ".wav":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                samples = scipy.io.wavfile.read(path)[1]
            except Exception:  # what it does not know, it refuses in many ways
                samples = None
        if samples is not None and samples.size:
            samples = samples[:, None] if samples.ndim == 1 else samples
            if samples.dtype.kind == "u":
                samples = samples.astype(np.int16) - 128
                return samples / 128
            scale = 1 if samples.dtype.kind == "f" else 2.0 ** (8 * samples.dtype.itemsize - 1)
            return samples / scale
    if _has(path, NOT_STATED[:1]):  # of unknown length, at which soundfile fails
        return None
    return soundfile.read(path, dtype="float64", always_2d=True)[0]


def test_every_file_gives_its_samples_or_one_line(awkward):
    read = 0
    for path in awkward:
        expected = _has(path, REFUSED)
        tracemalloc.start()
        try:
            samples, rate = audio_files.read_audio(path)
            info = audio_files.audio_info(path)
        except AudioError as error:
            text = str(error)
            assert text.startswith(f"{path}: "), text
            assert "\n" not in text
            assert _has(path, OF_FFMPEG) or (expected and REFUSED[expected[0]] in text), text
            continue
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 80e6, path
        read += 1
        assert not expected, path
        assert (rate, samples.shape[0]) == (info.sample_rate, info.num_channels)
        assert samples.dtype == np.float32
        assert np.all(np.isfinite(samples))
        if _has(path, OF_FFMPEG):
            continue
        if not _has(path, NOT_STATED):
            assert samples.shape[1] == info.num_samples, path
        oracle = _oracle(path)
        if oracle is not None:
            assert oracle.shape == samples.T.shape, path
            np.testing.assert_allclose(samples.T, oracle, atol=2e-7, err_msg=str(path))
    assert read >= (60 if shutil.which("ffmpeg") else 57)


def test_what_can_be_read_of_them_is_kept_on_demand(awkward, caplog):
    kept = {}
    for path in awkward:
        if _has(path, ("faulty__05", "uncommon__03", "APEv2", "issue-554", "samples__test.opus")):
            samples, _ = audio_files.read_audio(path, truncated="keep")
            assert samples.shape[1] == audio_files.audio_info(path, truncated="keep").num_samples
            assert f"{path}: the " in caplog.messages[-1]
            kept[path.name[-30:]] = samples.shape
    assert len(kept) == 5
    assert (1, 109_487) in kept.values()


@pytest.mark.quick(0)
def test_the_command_line_does_the_same(awkward, run, tmp_path):
    for path in awkward:
        if _has(path, OF_FFMPEG):
            continue
        shutil.copy(path, tmp_path / f"in{path.suffix}")
        status, _, err = run(f"encode in{path.suffix} out.npz --model 16khz-linear")
        assert "Traceback" not in err
        left = sorted(p.name for p in tmp_path.iterdir())
        if _has(path, REFUSED):
            assert status == 1
            assert re.fullmatch(rf"isincnet: error: in\{path.suffix}: [^\n]+\n", err), err
            assert REFUSED[_has(path, REFUSED)[0]] in err
            assert left == [f"in{path.suffix}"]
        else:
            assert status == 0, (path, err)
            assert left == sorted([f"in{path.suffix}", "out.npz"])
            (tmp_path / "out.npz").unlink()
        (tmp_path / f"in{path.suffix}").unlink()
