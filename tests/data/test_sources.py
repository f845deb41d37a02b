"""Sources: decoding, conditioning, what cannot be read; any folder; generated music."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import scipy.signal
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from isincnet_jax.data import generated, sources
from isincnet_jax.data.audio_files import AudioError
from isincnet_jax.data.sources import NoDataError, Source, SourceTrack


def _waveform(found):
    return found.samples * np.float32(found.scale)


@pytest.fixture
def folder(tmp_path, rng):
    noise = rng.uniform(-0.5, 0.5, (8000, 2))
    for name in ("a.wav", "sub/b.00001.flac", "sub/c.wav", "sub/c.ogg", ".hidden/d.wav", "e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if name.endswith("txt"):
            (tmp_path / name).write_text("not audio")
        else:
            soundfile.write(tmp_path / name, noise, 8000)
    (tmp_path / "bad.wav").write_bytes(b"RIFF no more")
    return tmp_path


def test_a_folder_lists_its_files_by_relative_names(folder):
    source = sources.folder_source(folder)
    assert [(track.name, track.group) for track in source.tracks] == [
        ("a", "."),
        ("bad", "."),
        ("sub/b.00001", "sub"),
        ("sub/c.ogg", "sub"),
        ("sub/c.wav", "sub"),
    ]


def test_what_cannot_be_read_is_reported_and_skipped(folder, caplog):
    source, skipped = sources.folder_source(folder), {}
    read = list(sources.read_tracks(source, sample_rate=8000, loudness_db=None, skipped=skipped))
    assert [found.track.name for found in read] == ["a", "sub/b.00001", "sub/c.ogg", "sub/c.wav"]
    assert list(skipped) == ["bad"]
    assert "bad.wav" in skipped["bad"]
    assert "skipped bad:" in caplog.text
    assert "1 of 5 tracks skipped" in caplog.text


def test_channels_are_averaged(folder):
    source = sources.folder_source(folder)
    (found,) = sources.read_tracks(source, sample_rate=8000, loudness_db=None, names=["sub/c.wav"])
    both, _ = soundfile.read(folder / "sub" / "c.wav")
    np.testing.assert_allclose(_waveform(found), both.mean(axis=1), atol=2e-5)


def test_resampling_agrees_with_scipy_away_from_the_edges(rng):
    slow = scipy.signal.resample_poly(rng.standard_normal(400), 10, 1, window=("kaiser", 14.0))
    waveform = (0.2 * slow / np.max(np.abs(slow))).astype(np.float32)
    samples, scale = sources.condition(
        waveform[None], source_rate=16_000, sample_rate=12_000, loudness_db=None
    )
    expected = scipy.signal.resample_poly(waveform.astype(float), 3, 4, window=("kaiser", 14.0))
    assert len(samples) == len(expected) == 3000
    np.testing.assert_allclose((samples * scale)[600:-600], expected[600:-600], atol=1e-4)


def test_loudness_is_in_the_scale(rng):
    from isincnet_jax.data import loudness

    noise = rng.uniform(-0.9, 0.9, 16_000).astype(np.float32)
    samples, scale = sources.condition(
        noise[None], source_rate=16_000, sample_rate=16_000, loudness_db=-30.0
    )
    assert np.max(np.abs(samples)) == 32_767
    level_db = loudness.integrated_loudness(samples * scale, sample_rate=16_000)
    assert level_db == pytest.approx(-30.0, abs=0.01)


def test_a_track_without_a_sample_at_the_new_rate_is_skipped():
    def stream(wanted):
        for track in tracks:
            yield track, lambda: (np.ones((1, 1), np.float32), 192_000)

    tracks, skipped = (SourceTrack("dot", "x"),), {}
    source = Source("test", tracks, stream)
    assert not list(
        sources.read_tracks(source, sample_rate=8000, loudness_db=None, skipped=skipped)
    )
    assert skipped == {"dot": "dot: too short: no sample is left at 8000 Hz"}


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_keep_the_order_and_stay_a_few_tracks_ahead(threads):
    opened = []

    def stream(wanted):
        for index, track in enumerate(tracks):
            opened.append(index)
            yield track, lambda i=index: (np.full((1, 10), i + 1, np.float32), 8000)

    tracks = tuple(SourceTrack(f"t{i:02d}", "x") for i in range(20))
    source = Source("test", tracks, stream)
    read = sources.read_tracks(source, sample_rate=8000, loudness_db=None, num_threads=threads)
    for index, found in enumerate(read):
        assert found.track is tracks[index]
        assert _waveform(found)[0] == pytest.approx(index + 1)
        assert len(opened) <= index + threads + 1


def test_other_errors_are_not_swallowed():
    def broken():
        raise RuntimeError("a bug, no bad file")

    source = Source("test", (SourceTrack("a", "x"),), lambda wanted: iter([(track, broken)]))
    track = source.tracks[0]
    with pytest.raises(RuntimeError, match="a bug"):
        list(sources.read_tracks(source, sample_rate=8000, loudness_db=None))


def test_an_unreadable_file_is_skipped():
    def denied():
        raise PermissionError(13, "Permission denied", "x.wav")

    track, skipped = SourceTrack("a", "x"), {}
    source = Source("test", (track,), lambda wanted: iter([(track, denied)]))
    list(sources.read_tracks(source, sample_rate=8000, loudness_db=None, skipped=skipped))
    assert "Permission denied" in skipped["a"]
    assert issubclass(AudioError, ValueError)


def test_known_faults_are_reported(caplog):
    source = Source("test", (), lambda wanted: iter(()), missing={"jazz.00054": "corrupt"})
    with caplog.at_level(logging.WARNING):
        list(sources.read_tracks(source, sample_rate=8000, loudness_db=None))
    assert "test: skipped jazz.00054: corrupt" in caplog.text


def test_folders_without_audio_are_named(tmp_path):
    with pytest.raises(NoDataError, match=r"none: no such folder"):
        sources.folder_source(tmp_path / "none")
    with pytest.raises(NoDataError, match="no audio files"):
        sources.folder_source(tmp_path)


@given(
    index=st.integers(0, 8), rate=st.sampled_from([4000, 16_000, 22_050]), seed=st.integers(0, 9)
)
def test_generated_music_is_finite_and_depends_on_its_arguments_only(index, rate, seed):
    name, group = generated.generated_names(9)[index]
    track = generated.generated_track(name, sample_rate=rate, duration_s=0.5, seed=seed)
    assert track.shape == (rate // 2,)
    assert track.dtype == np.float32
    assert np.max(np.abs(track)) == pytest.approx(0.8)
    assert name.startswith(f"{group}/")
    again = generated.generated_track(name, sample_rate=rate, duration_s=0.5, seed=seed)
    np.testing.assert_array_equal(track, again)
    other = generated.generated_track(name, sample_rate=rate, duration_s=0.5, seed=seed + 1)
    assert np.max(np.abs(track - other)) > 0.1


def test_generated_tracks_differ_from_each_other():
    names = generated.generated_names(9)
    assert [group for _, group in names[:3]] == ["chords", "plucks", "rhythm"]
    tracks = [
        generated.generated_track(name, sample_rate=8000, duration_s=1.0) for name, _ in names
    ]
    spectra = [np.abs(np.fft.rfft(track)) for track in tracks]
    for i, one in enumerate(spectra):
        for other in spectra[:i]:
            alike = np.dot(one, other) / np.linalg.norm(one) / np.linalg.norm(other)
            assert alike < 0.95


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "opera/opera.00000"}, "groups are chords, plucks, rhythm"),
        ({"sample_rate": 2000}, "sample_rate=2000: generated music needs at least 4000"),
        ({"duration_s": 0.0}, r"duration_s=0\.0: has no sample"),
    ],
)
def test_impossible_music_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        generated.generated_track(**({"name": "plucks/x", "sample_rate": 8000} | change))
    with pytest.raises(ValueError, match="num_tracks=0"):
        generated.generated_names(0)
