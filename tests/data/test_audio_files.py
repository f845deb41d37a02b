"""Audio files: formats, rates, damage, and a disk that is full."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from isincnet_jax.data import audio_ffmpeg, audio_files, audio_writing
from isincnet_jax.data.audio_files import AudioError


@pytest.fixture
def noise(rng):
    return rng.uniform(-0.5, 0.5, (4000, 2)).astype(np.float32)


def _write(path: Path, samples: np.ndarray, *, subtype: str = "FLOAT", rate: int = 16_000) -> Path:
    audio_writing.write_blocks(
        path, [samples], sample_rate=rate, num_channels=samples.shape[1], subtype=subtype
    )
    return path


def _hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "FLOAT", 0.0),
        ("a.wav", "PCM_16", 2.0**-15),
        ("a.wav", "PCM_24", 2.0**-23),
        ("a.flac", "PCM_24", 2.0**-23),
        ("a.aif", "PCM_16", 2.0**-15),
        ("a.W64", "FLOAT", 0.0),
        ("a.rf64", "FLOAT", 0.0),
        ("a.caf", "FLOAT", 0.0),
        ("a.au", "FLOAT", 0.0),
    ],
)
def test_lossless_formats_come_back_within_their_rounding(
    tmp_path, noise, name, subtype, tolerance
):
    path = _write(tmp_path / name, noise, subtype=subtype)
    assert audio_files.audio_info(path) == (16_000, 2, 4000, subtype)
    samples, rate = audio_files.read_audio(path)
    assert rate == 16_000
    assert samples.dtype == np.float32
    assert np.max(np.abs(samples.T - noise)) <= tolerance
    assert soundfile.info(path).subtype == subtype


@pytest.mark.parametrize("name", ["a.ogg", "a.oga", "a.opus", "a.mp3"])
def test_lossy_formats_keep_length_and_spectrum(tmp_path, name):
    time_s = np.arange(16_000) / 16_000
    tone = (0.5 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)[:, None]
    path = _write(tmp_path / name, tone)
    samples, _ = audio_files.read_audio(path)
    assert samples.shape == (1, 16_000) == (1, audio_files.audio_info(path).num_samples)
    spectrum = np.abs(np.fft.rfft(samples[0, 4000:12_000]))
    assert np.argmax(spectrum) == 220  # 440 Hz in bins of 2 Hz
    assert np.max(np.abs(samples[0, 4000:12_000])) == pytest.approx(0.5, rel=0.05)


@given(data=st.data(), length=st.integers(1, 3000), rate=st.sampled_from([8000, 11_025, 48_000]))
def test_resampling_does_not_depend_on_the_blocks(data, length, rate):
    samples = np.random.default_rng(length).uniform(-1, 1, (length, 2)).astype(np.float32)
    cuts = sorted(data.draw(st.lists(st.integers(0, length), max_size=6)))
    pieces = np.split(samples, cuts)

    def resampled(blocks):
        found = list(audio_files.resample_blocks(blocks, source_rate=16_000, target_rate=rate))
        return np.concatenate([np.zeros((0, 2), np.float32), *found])

    whole = resampled([samples])
    assert abs(len(whole) - length * rate / 16_000) <= 1
    np.testing.assert_allclose(resampled(pieces), whole, atol=2e-7)


def test_resampling_agrees_with_scipy(tmp_path, rng):
    # A band-limited signal: every good resampler gives the same one, but at the edges.
    slow = rng.standard_normal(800)
    signal = scipy.signal.resample_poly(slow, 20, 1, window=("kaiser", 14.0))
    signal = (0.3 * signal / np.max(np.abs(signal))).astype(np.float32)
    path = _write(tmp_path / "a.wav", signal[:, None])
    samples, rate = audio_files.read_audio(path, sample_rate=22_050)
    expected = scipy.signal.resample_poly(
        signal.astype(np.float64), 441, 320, window=("kaiser", 14.0)
    )
    assert rate == 22_050
    assert abs(samples.shape[1] - len(expected)) <= 1
    middle = slice(2000, 18_000)
    np.testing.assert_allclose(samples[0, middle], expected[middle], atol=1e-4)


def test_same_rate_is_bit_exact_in_blocks(tmp_path, noise):
    path = _write(tmp_path / "a.wav", noise)
    blocks = list(audio_files.read_blocks(path, sample_rate=16_000, block_samples=999))
    assert [len(block) for block in blocks] == [999, 999, 999, 999, 4]
    np.testing.assert_array_equal(np.concatenate(blocks), noise)


def test_read_audio_stops_at_its_limit(tmp_path, noise):
    path = _write(tmp_path / "a.wav", noise)
    samples, _ = audio_files.read_audio(path, max_duration_s=0.1)
    np.testing.assert_array_equal(samples, noise[:1600].T)
    longer, _ = audio_files.read_audio(path, max_duration_s=100.0)
    assert longer.shape == (2, 4000)


@pytest.mark.filterwarnings("ignore:Exception ignored in.*FileIO")  # audioread leaves it open
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.wav", b"", "an empty file"),
        ("text.wav", b"these are words\n" * 20, "no audio that"),
        ("text.mp3", b"these are words\n" * 20, "no audio that"),
        ("samples.raw", b"\0\1" * 100, "no audio that"),
        ("header.wav", b"RIFF", "no audio that"),
    ],
)
def test_what_is_no_audio_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AudioError, match=rf"{name}: {message}"):
        audio_files.audio_info(path)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(AudioError, match=r"none\.wav: no such file"):
        audio_files.audio_info(tmp_path / "none.wav")
    with pytest.raises(AudioError, match="a directory, not an audio file"):
        audio_files.audio_info(tmp_path)


def test_a_file_without_samples_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 1)), 16_000)
    with pytest.raises(AudioError, match=r"a\.wav: holds no samples"):
        audio_files.audio_info(tmp_path / "a.wav")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_a_number_is_located(tmp_path, noise, bad):
    noise[3200, 1] = bad
    path = tmp_path / "a.wav"
    soundfile.write(path, noise, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav: NaN or infinite samples at 0\.200 s"):
        list(audio_files.read_blocks(path, block_samples=1000))


@pytest.mark.parametrize(
    "name", ["a.wav", "a.aiff", "a.au", "a.w64", "a.rf64", "a.flac", "a.ogg", "a.opus", "a.caf"]
)
@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_a_truncated_file_is_never_half_processed(tmp_path, rng, name, fraction):
    whole = _write(tmp_path / name, rng.uniform(-0.5, 0.5, (16_000, 1)).astype(np.float32))
    assert audio_files.read_audio(whole)[0].shape == (1, 16_000)
    content = whole.read_bytes()
    cut = tmp_path / f"cut{whole.suffix}"
    cut.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(AudioError, match=cut.name):
        audio_files.read_audio(cut)


def _mp3(path: Path, *, bitrate_mode: str) -> bytes:
    fading = np.linspace(1, 0, 160_000) ** 4 * np.random.default_rng(0).uniform(-0.5, 0.5, 160_000)
    soundfile.write(path, fading, 16_000, bitrate_mode=bitrate_mode, compression_level=0.5)
    return path.read_bytes()


def _without_length(content: bytes) -> bytes:
    assert b"Xing" in content[:200] or b"Info" in content[:200]
    return content[content.index(content[:2], 4) :]


def _id3(size: int) -> bytes:
    length = bytes((size >> shift) & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + length + b"\0" * size if size else b""


def test_a_truncated_mp3_is_found_by_its_header(tmp_path):
    content = _mp3(tmp_path / "whole.mp3", bitrate_mode="VARIABLE")
    cut = tmp_path / "cut.mp3"
    cut.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match=r"cut\.mp3: truncated: \d+ of 160000 samples"):
        audio_files.read_audio(cut)


@pytest.mark.parametrize("tag_bytes", [0, 300, 20_000])
def test_an_mp3_without_a_length_is_counted(tmp_path, tag_bytes):
    content = _mp3(tmp_path / "whole.mp3", bitrate_mode="CONSTANT")
    path = tmp_path / "stream.mp3"
    path.write_bytes(_id3(tag_bytes) + _without_length(content))
    samples, _ = audio_files.read_audio(path)
    # Without the header nothing says how much the encoder put before and after: two frames.
    assert 160_000 <= audio_files.audio_info(path).num_samples <= 160_000 + 4 * 576
    assert audio_files.audio_info(path).num_samples == samples.shape[1]
    tagged = tmp_path / "tagged.mp3"
    tagged.write_bytes(_id3(tag_bytes) + content)
    assert audio_files.audio_info(tagged).num_samples == 160_000


def test_an_mp3_whose_length_libsndfile_underestimates_is_refused(tmp_path, caplog):
    content = _mp3(tmp_path / "whole.mp3", bitrate_mode="VARIABLE")
    path = tmp_path / "stream.mp3"
    path.write_bytes(_without_length(content))
    assert soundfile.info(path).frames < 150_000  # the loss that the next line prevents
    with pytest.raises(AudioError, match=r"stream\.mp3: an MP3 of variable bit rate .*ffmpeg"):
        audio_files.audio_info(path)
    assert audio_files.read_audio(path, truncated="keep")[0].size
    assert "bytes would be left out" in caplog.text


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_from_a_pipe_is_not_truncated(tmp_path, noise, size):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise, 16_000, subtype="PCM_16")
    content = path.read_bytes()
    at = content.index(b"data") + 4
    path.write_bytes(content[:at] + struct.pack("<I", size) + content[at + 4 :])
    assert audio_files.read_audio(path)[0].shape == (2, 4000)


def test_a_file_too_short_for_the_new_rate_is_refused(tmp_path):
    path = _write(tmp_path / "a.wav", np.ones((1, 1), np.float32), rate=192_000)
    assert audio_files.read_audio(path)[0].shape == (1, 1)
    with pytest.raises(AudioError, match=r"a\.wav: too short: of 1 samples at 192000 Hz none"):
        audio_files.read_audio(path, sample_rate=16_000)


@pytest.mark.parametrize(
    ("name", "wanted", "expected"),
    [
        ("a.wav", "PCM_24", "PCM_24"),
        ("a.wav", "", "PCM_16"),
        ("a.wav", "MPEG_LAYER_III", "PCM_16"),  # WAV could hold MP3 frames
        ("a.wav", "IMA_ADPCM", "PCM_16"),
        ("a.wav", "VORBIS", "PCM_16"),
        ("a.flac", "FLOAT", "PCM_16"),
        ("a.ogg", "FLOAT", "VORBIS"),
        ("a.ogg", "OPUS", "VORBIS"),
        ("a.opus", "VORBIS", "OPUS"),
        ("A.AIF", "FLOAT", "FLOAT"),
    ],
)
def test_output_subtype(name, wanted, expected):
    assert audio_writing.output_subtype(name, wanted) == expected


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.raw", "a.sd2", "wav"])
def test_unknown_extensions_are_refused(tmp_path, name):
    with pytest.raises(AudioError, match=f"{name}: unknown extension .* use .wav"):
        _write(tmp_path / name, np.zeros((10, 1), np.float32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "num_channels", "rate"),
    [
        ("a.mp3", 8, 16_000),
        ("a.mp3", 1, 96_000),
        ("a.flac", 9, 16_000),
        ("a.opus", 1, 44_100),
        ("a.ogg", 256, 16_000),  # libvorbis would end the process
        ("a.ogg", 1, 250_000),
    ],
)
def test_what_a_container_cannot_hold_is_said(tmp_path, name, num_channels, rate):
    samples = np.zeros((10, num_channels), np.float32)
    with pytest.raises(
        AudioError, match=f"{name}: .* cannot hold {num_channels} channels at {rate}"
    ):
        _write(tmp_path / name, samples, rate=rate)
    assert list(tmp_path.iterdir()) == []


def test_a_long_block_does_not_end_the_process(tmp_path):
    # libsndfile's Vorbis encoder puts a block on the stack: 4 million samples overflow it.
    path = _write(tmp_path / "a.ogg", np.zeros((4_000_000, 1), np.float32))
    assert audio_files.audio_info(path).num_samples == 4_000_000


@pytest.mark.parametrize("where", ["none/a.wav", "file.txt/a.wav"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, where):
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(AudioError, match=r"a\.wav: cannot be written: (No such file|Not a dir)"):
        _write(tmp_path / where, np.zeros((10, 1), np.float32))


def test_a_folder_is_not_overwritten(tmp_path):
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(AudioError, match=r"a\.wav: a directory"):
        _write(tmp_path / "a.wav", np.zeros((10, 1), np.float32))


def _short_write(monkeypatch):
    def write(self, data):
        raise AssertionError  # what soundfile does when libsndfile took fewer samples

    monkeypatch.setattr(soundfile.SoundFile, "write", write)


def _failed_write(monkeypatch):
    def write(self, data):
        raise soundfile.LibsndfileError(2, "")  # "System error."

    monkeypatch.setattr(soundfile.SoundFile, "write", write)


def _lost_write(monkeypatch):
    monkeypatch.setattr(soundfile.SoundFile, "write", lambda self, data: None)


@pytest.mark.parametrize("fail", [_short_write, _failed_write, _lost_write])
def test_a_full_disk_leaves_the_old_file_alone(tmp_path, noise, monkeypatch, fail):
    path = tmp_path / "a.wav"
    path.write_bytes(b"what was there before")
    fail(monkeypatch)
    with pytest.raises(AudioError, match=r"a\.wav: cannot be written: .*is the disk full\?"):
        _write(path, noise)
    assert path.read_bytes() == b"what was there before"
    assert _hidden(tmp_path) == []


def test_errors_of_the_source_are_not_blamed_on_the_target(tmp_path, noise):
    def blocks():
        yield noise
        raise ValueError("in.npz: damaged")

    path = tmp_path / "a.wav"
    with pytest.raises(ValueError, match=r"^in\.npz: damaged$"):
        audio_writing.write_blocks(path, blocks(), sample_rate=16_000, num_channels=2)
    assert list(tmp_path.iterdir()) == []


def test_replacing_is_all_or_nothing(tmp_path):
    path = tmp_path / ("x" * 240 + ".bin")  # near the longest name a file can have
    with audio_writing.replacing(path) as temporary:
        temporary.write_bytes(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"

    def interrupted():
        with audio_writing.replacing(path) as temporary:
            temporary.write_bytes(b"two")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"one"
    assert _hidden(tmp_path) == []
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_file_can_replace_what_it_is_made_from(tmp_path, noise):
    path = _write(tmp_path / "a.wav", noise)
    halves = (block / 2 for block in audio_files.read_blocks(path, block_samples=1000))
    audio_writing.write_blocks(path, halves, sample_rate=16_000, num_channels=2, subtype="FLOAT")
    np.testing.assert_array_equal(audio_files.read_audio(path)[0].T, noise / 2)


@pytest.mark.parametrize("type_", ["<f4", ">f4", "<f8", ">f8", "f2"])
def test_floats_of_any_machine_are_written(tmp_path, noise, type_):
    path = _write(tmp_path / "a.wav", noise.astype(type_))
    expected = noise.astype(type_).astype(np.float32)
    np.testing.assert_array_equal(audio_files.read_audio(path)[0].T, expected)


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize(
    ("block", "message"),
    [
        (np.full((9, 1), 16_000, np.int16), r"type int16: floats .*use pcm / 32768\.0"),
        (np.ones((9, 1), bool), "type bool"),
        (np.ones((9, 1), np.complex64), "type complex64"),
        (np.ones((9, 2), np.float32), r"shape \(9, 2\), not \[time, 1\]"),
        (np.r_[np.zeros(800), np.nan][:, None], r"NaN or infinite samples at 0\.050 s"),
        (np.full((9, 1), np.inf, np.float32), r"NaN or infinite samples at 0\.000 s"),
    ],
)
def test_what_is_no_sound_is_not_written(tmp_path, block, message, subtype):
    path = tmp_path / "a.wav"
    path.write_bytes(b"what was there before")
    with pytest.raises(AudioError, match=rf"a\.wav: .*{message}"):
        audio_writing.write_blocks(
            path, [np.zeros((0, 1)), block], sample_rate=16_000, num_channels=1, subtype=subtype
        )
    assert path.read_bytes() == b"what was there before"
    assert _hidden(tmp_path) == []


def test_doubles_that_are_infinite_in_the_file_are_not_written(tmp_path):
    with pytest.raises(AudioError, match="infinite"):
        _write(tmp_path / "a.wav", np.full((9, 1), 1e300), subtype="FLOAT")
    assert audio_files.audio_info(_write(tmp_path / "b.wav", np.ones((9, 1)))).num_samples == 9


@pytest.mark.parametrize("rate", [0, -8000, 0.5, float("nan")])
def test_impossible_rates_are_not_written(tmp_path, rate):
    with pytest.raises(AudioError, match=r"a\.wav: sample_rate="):
        _write(tmp_path / "a.wav", np.zeros((9, 1)), rate=rate)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [0, -1, 0.5, float("nan"), float("inf"), True])
def test_impossible_rates_are_not_read(tmp_path, noise, rate):
    path = _write(tmp_path / "a.wav", noise)
    for read in (audio_files.read_audio, audio_files.read_blocks):
        with pytest.raises(ValueError, match=r"sample_rate=.*: must be a whole number of Hz"):
            read(path, sample_rate=rate)


@pytest.mark.parametrize("duration", [0, -1.0, float("nan"), float("inf")])
def test_impossible_durations_are_not_read(tmp_path, noise, duration):
    with pytest.raises(ValueError, match=r"max_duration_s=.*: must be positive and finite"):
        audio_files.read_audio(_write(tmp_path / "a.wav", noise), max_duration_s=duration)


@pytest.mark.parametrize("rate", [0, 0xFFFFFFFF])
def test_a_header_of_an_impossible_rate_is_named(tmp_path, noise, rate):
    path = _write(tmp_path / "a.wav", noise, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack("<I", rate)
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"a\.wav: .*impossible sample rate"):
        audio_files.audio_info(path)


def test_very_slow_files_are_resampled_in_small_blocks(tmp_path):
    path = _write(tmp_path / "a.wav", np.zeros((3000, 1), np.float32), rate=1)
    block = next(audio_files.read_blocks(path, sample_rate=16_000))
    assert block.nbytes < 64e6


@pytest.mark.parametrize("name", [b"caf\xe9.wav", b"a\nb.flac", b"-i.wav", b"a\tb'\"<b>.wav"])
def test_odd_names_are_read_and_written(tmp_path, noise, name):
    path = tmp_path / os.fsdecode(name)
    try:
        _write(path, noise, subtype="PCM_24")
    except AudioError:
        pytest.skip("a file system that takes UTF-8 only")
    assert np.max(np.abs(audio_files.read_audio(path)[0].T - noise)) <= 2.0**-23


@pytest.mark.skipif(os.name == "nt", reason="POSIX")
def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "gone.wav").symlink_to("nothing")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    for name, message in (
        ("pipe.wav", "a pipe or device"),
        ("gone.wav", "a link to a file that is missing"),
        ("loop.wav", "cannot be read: Too many levels of symbolic links"),
    ):
        with pytest.raises(AudioError, match=rf"{name}: {message}"):
            audio_files.read_audio(tmp_path / name)


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.flac", "a.ogg", "a.opus", "a.mp3"])
def test_what_is_left_of_a_cut_file_is_kept_on_demand(tmp_path, caplog, name):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (64_000, 1)).astype(np.float32)
    whole, _ = audio_files.read_audio(_write(tmp_path / name, noise))
    cut = tmp_path / f"cut{Path(name).suffix}"
    content = (tmp_path / name).read_bytes()
    cut.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(AudioError, match=cut.name):
        audio_files.read_audio(cut)
    assert caplog.messages == []
    kept, _ = audio_files.read_audio(cut, truncated="keep")
    assert 24_000 < kept.shape[1] < 64_000
    assert audio_files.audio_info(cut, truncated="keep").num_samples == kept.shape[1]
    end = kept.shape[1] - 4000  # lossy codecs lack what overlaps
    np.testing.assert_allclose(kept[:, :end], whole[:, :end], atol=2e-3)
    assert [cut.name in message for message in caplog.messages] == [True]
    sound, _ = audio_files.read_audio(tmp_path / name, truncated="keep")
    np.testing.assert_array_equal(sound, whole)
    assert len(caplog.messages) == 1
    with pytest.raises(ValueError, match="truncated='mend': use 'refuse' or 'keep'"):
        audio_files.read_audio(cut, truncated="mend")


def _with_total(path: Path, total: int) -> Path:
    content = bytearray(path.read_bytes())
    content[21:26] = ((int.from_bytes(content[21:26], "big") >> 36 << 36) | total).to_bytes(
        5, "big"
    )
    path.write_bytes(_id3(300) + content)
    return path


def test_a_flac_file_from_a_pipe_is_read_to_its_end(tmp_path, noise):
    path = _with_total(_write(tmp_path / "a.flac", noise, subtype="PCM_24"), 0)
    assert audio_files.audio_info(path).num_samples == 4000
    assert np.max(np.abs(audio_files.read_audio(path)[0].T - noise)) <= 2.0**-23


def test_a_flac_file_that_holds_more_than_it_says_is_refused(tmp_path, noise, caplog):
    path = _with_total(_write(tmp_path / "a.flac", noise, subtype="PCM_24"), 3999)
    with pytest.raises(AudioError, match=r"a\.flac: its header states 3999 .* holds 4000"):
        audio_files.read_audio(path)
    assert audio_files.read_audio(path, truncated="keep")[0].shape == (2, 4000)
    assert "its header states 3999" in caplog.text


def test_formats_of_ffmpeg_ask_for_it(tmp_path, monkeypatch):
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(AudioError, match=r"a\.m4a: \.m4a files need ffmpeg and ffprobe, which"):
        audio_files.read_audio(path)


@pytest.mark.skipif(not audio_ffmpeg.is_installed(), reason="ffmpeg and ffprobe are not installed")
def test_aac_is_read_through_ffmpeg(tmp_path):
    tone = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000).astype(np.float32)[:, None] / 2
    _write(tmp_path / "a.wav", tone)
    path = tmp_path / "-a: b.m4a"
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", "-c:a", "aac", f"file:{path}"]
    subprocess.run(command, check=True)
    samples, rate = audio_files.read_audio(path)
    assert (len(samples), rate) == (1, 16_000)
    assert np.argmax(np.abs(np.fft.rfft(samples[0, 4000:12_000]))) == 220
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(AudioError, match=r"-a: b\.m4a: no audio that soundfile or ffmpeg can read"):
        audio_files.read_audio(path)
