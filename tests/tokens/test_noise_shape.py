"""Token files for ears: what is written is read, rates are reached, curves make the same tokens."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from token_sounds import SPEC, codes_of, music, samples_of, snr_db, write

import isincnet_jax as isn
from isincnet_jax.tokens import band_steps, block_coder, lapped_frames, noise_shape, token_file
from isincnet_jax.tokens.block_file import TokenFileError
from isincnet_jax.tokens.token_file import TokenReader


def reconstruction(samples, spec, path):
    """The samples of a mono file by the formulas, from its recording and its step indices."""
    with TokenReader(path) as reader:
        header = reader.header
        layouts = [layout for layout, _ in reader.blocks()]
    assert len(layouts) == 1
    sizes, (tail, rest) = (
        [spec.hop_length] * (len(samples) // spec.hop_length),
        (header.tiling.tail(len(samples))),
    )
    frames = []
    for number, frame in enumerate(lapped_frames.analyse([samples], sizes + tail, rest, spec)):
        group = 0 if header.mode == 1 else number // header.num_shared
        edges = band_steps.band_edges(len(frame.values), spec.sample_rate)
        factors = 2.0 ** (layouts[0].indices[group][0] / 2)
        steps = (header.step * np.repeat(factors, np.diff(edges)))[:, None]
        frames.append(lapped_frames.Frame(frame.size, steps * np.rint(frame.values / steps)))
    return np.concatenate(list(lapped_frames.synthesise(frames, spec)))


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("hop", [2, 64, 1024, 4096])
@pytest.mark.parametrize("curve", [False, True])
def test_sound_is_that_of_the_rounded_coefficients(tmp_path, rng, rate, hop, curve):
    spec = isn.LappedSpec(sample_rate=rate, hop_length=hop)
    for length in (1, 3 * hop + 5, 1500):
        samples = music(rng, length)
        path = tmp_path / "a.isn"
        written = write(path, samples, spec=spec, quality=11.3, curve=curve)
        # A ratio at a tie, as float32, may round either way: a hundredth of the sound's level.
        np.testing.assert_allclose(
            samples_of(path), reconstruction(samples, spec, path), atol=1e-3 * np.abs(samples).max()
        )
        np.testing.assert_allclose(snr_db(samples, samples_of(path)), written.snr_db, atol=0.02)


@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 1500),
    num_audio=st.integers(1, 3),
    quality=st.floats(0, 20),
    curve=st.booleans(),
)
@example(seed=0, length=1024, num_audio=2, quality=5.0, curve=False)
@example(seed=0, length=63, num_audio=1, quality=20.0, curve=True)
def test_what_is_written_is_what_is_read(tmp_path, seed, length, num_audio, quality, curve):
    samples = music(np.random.default_rng(seed), length, num_audio)
    path = tmp_path / "a.isn"
    written = write(path, samples, quality=quality, curve=curve)
    with TokenReader(path) as reader:
        assert reader.header == written.header
    found = samples_of(path)
    assert found.shape == samples.shape
    if np.isfinite(written.snr_db) and written.snr_db > 1e-3:
        np.testing.assert_allclose(snr_db(samples, found), written.snr_db, atol=0.01)


@pytest.mark.parametrize("curve", [False, True])
@pytest.mark.parametrize("kbps", [8.0, 16.0, 24.0])
def test_the_rate_is_the_one_that_was_asked_for(tmp_path, rng, kbps, curve):
    samples = music(rng, 24_000)  # 3 s
    written = write(tmp_path / "a.isn", samples, kbps=kbps, curve=curve)
    assert abs(8e-3 * written.num_bytes / 3 - kbps) <= 0.01 * kbps
    again = write(
        tmp_path / "a.isn",
        samples,
        quality=band_steps.step_quality(written.header.step),
        curve=curve,
    )
    assert again.num_bytes == written.num_bytes


def test_more_quality_is_more_of_everything(tmp_path, rng):
    samples = music(rng, 8000, 2)
    found = [write(tmp_path / "a.isn", samples, quality=quality) for quality in range(0, 21, 4)]
    assert all(np.diff([one.num_bytes for one in found]) > 0)
    assert all(np.diff([one.snr_db for one in found]) > 1)


def test_rates_that_a_recording_cannot_have_are_named(tmp_path, rng):
    for samples, kbps in (
        (music(rng, 8000), 300.0),
        (music(rng, 8000), 0.1),
        (np.zeros((8000, 1)), 9),
    ):
        with pytest.raises(
            ValueError, match=r"^kbps=\S+: the nearest .* is [\d.]+ kbit/s; use that$"
        ):
            write(tmp_path / "a.isn", samples.astype(np.float32), kbps=kbps)


@pytest.mark.parametrize("curve", [False, True])
@pytest.mark.parametrize("level", [0.0, 1e-7, 3e-6])
def test_what_nobody_hears_costs_next_to_nothing(tmp_path, rng, level, curve):
    samples = (level * rng.standard_normal((40_000, 1))).astype(np.float32)  # 5 s
    for quality in (0.0, 10.0, 20.0):
        written = write(tmp_path / "a.isn", samples, quality=quality, curve=curve)
        assert not codes_of(tmp_path / "a.isn").any()
        assert 8e-3 * written.num_bytes / 5 < 0.5


def test_noise_is_below_the_threshold_where_that_bounds_it(tmp_path, rng):
    """A whisper at the finest quality: the error of each band, by an independent transform."""
    spec = isn.LappedSpec(sample_rate=16_000, hop_length=256)
    samples = (3e-4 * rng.standard_normal((16_000, 1))).astype(np.float32)
    write(tmp_path / "a.isn", samples, spec=spec, quality=20.0)
    error = (samples_of(tmp_path / "a.isn") - samples)[:, 0].astype(np.float64)
    power = np.abs(np.fft.rfft(error)) ** 2 / len(error) ** 2 * 2
    hz = np.fft.rfftfreq(len(error), 1 / 16_000)
    edges = band_steps.band_edges(1 << 16, 16_000) * (8000 / 2**16)
    for low, high in itertools.pairwise(edges[2:]):
        inside = (hz >= low) & (hz < high)
        level_db = 96 + 10 * np.log10(2 * power[inside].sum())
        threshold_db = band_steps.hearing_threshold_db(hz[inside]).min()
        assert threshold_db - 6 < level_db < threshold_db + 1  # an index is 3 dB; bands overlap


@pytest.mark.parametrize("num_audio", [1, 2])
def test_tokens_made_like_a_curve_are_the_same_ten_times(tmp_path, rng, num_audio):
    samples = music(rng, 5000, num_audio)
    path, other = tmp_path / "a.isn", tmp_path / "b.isn"
    for quality in (0.0, 6.0, 11.0):
        first = write(path, samples, quality=quality, curve=True)
        codes = codes_of(path)
        for _ in range(10):
            stored = np.rint(samples_of(path) * 32768) / 32768
            again = write(other, stored.astype(np.float32), like=token_file.read_like(path))
            np.testing.assert_array_equal(codes_of(other), codes)
            assert again.header == first.header
            path.write_bytes(other.read_bytes())


def test_another_recording_gets_the_curve(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(block_coder, "_BLOCK_CODES", 3000)
    path, other = tmp_path / "a.isn", tmp_path / "b.isn"
    write(path, music(rng, 9000), quality=9.0, curve=True)
    like = token_file.read_like(path)
    assert len(like.layouts) > 2
    write(other, music(rng, 40_000), like=like)
    with TokenReader(other) as reader:
        assert reader.header.step == like.header.step
        for layout, _ in reader.blocks():
            np.testing.assert_array_equal(layout.indices[0], like.layouts[0].indices[0])


def test_steps_are_taken_over_too(tmp_path, rng):
    path, other = tmp_path / "a.isn", tmp_path / "b.isn"
    samples = music(rng, 3000, 2)
    write(path, samples, step=float(np.float32(0.01)))
    write(other, samples, like=token_file.read_like(path))
    assert other.read_bytes() == path.read_bytes()


def test_files_that_follow_their_recording_are_not_taken_over(tmp_path, rng):
    path, samples = tmp_path / "a.isn", music(rng, 3000)
    spec = SPEC.replace(hop_length=256)
    write(path, samples, quality=5.0)
    with pytest.raises(ValueError, match=r"a\.isn: its steps follow its own recording; make it"):
        token_file.read_like(path)
    write(path, samples, spec=spec, step=0.01, optimise=True)
    with pytest.raises(ValueError, match=r"a\.isn: its frames follow its own recording; make it"):
        token_file.read_like(path)
    with pytest.raises(TokenFileError, match="no such file"):
        token_file.read_like(tmp_path / "none.isn")
    write(path, samples, step=0.01)
    with pytest.raises(ValueError, match="like=: a file of 1 audio channels, the recording has 2"):
        write(path, np.repeat(samples, 2, axis=1), like=token_file.read_like(path))
    for wrong in ({"optimise": True, "quality": 5.0}, {"curve": True, "step": 0.01}):
        with pytest.raises(ValueError, match=r"^(optimise|curve)=: "):
            write(path, samples, **wrong)


def test_every_damaged_byte_is_found(tmp_path, rng):
    path = tmp_path / "a.isn"
    write(path, music(rng, 400, 2), quality=9.0)
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 0x11]) + content[position + 1 :]
        )
        with pytest.raises(TokenFileError, match=r"^[^\n]*a\.isn: (no token|damaged)[^\n]*$"):
            codes_of(path)


def test_blocks_stand_alone(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(block_coder, "_BLOCK_CODES", 3000)
    samples = music(rng, 10_000, 2)
    written = write(tmp_path / "a.isn", samples, quality=9.0)
    with TokenReader(tmp_path / "a.isn") as reader:
        payloads = [reader._read_block(index) for index in range(3)]
        plans = list(block_coder.plan_blocks(reader.header.tiling, 10_000, 2))
    with TokenReader(tmp_path / "a.isn") as reader:
        blocks = list(reader.blocks())
    every = written.header.every
    layout, codes = block_coder.decode_block(
        payloads[2], plans[2], written.header.tiling, 2, every=every
    )
    np.testing.assert_array_equal(layout.indices, blocks[2][0].indices)
    np.testing.assert_array_equal(np.concatenate(codes), np.concatenate(blocks[2][1]))


def test_loud_bands_get_more_noise_than_quiet_ones(tmp_path, rng):
    time = np.arange(16_000)[:, None]
    quiet_later = np.where(time < 8000, 1.0, 0.01) * rng.standard_normal((16_000, 1)) * 0.1
    write(tmp_path / "a.isn", quiet_later.astype(np.float32), quality=8.0)
    error = samples_of(tmp_path / "a.isn") - quiet_later
    loud, quiet = (np.mean(np.square(part)) for part in (error[1000:7000], error[9000:15_000]))
    # 40 dB less sound, 28 dB less noise at the exponent 0.7
    assert abs(10 * np.log10(loud / quiet) - 28) < 3


def test_a_file_says_what_its_steps_follow(tmp_path, rng):
    samples = music(rng, 1000)
    headers = [
        write(tmp_path / "a.isn", samples, **options).header
        for options in ({"step": 0.01}, {"quality": 7.0, "curve": True}, {"quality": 7.0})
    ]
    assert [noise_shape.describe(header) for header in headers] == [
        "step 0.01",
        "quality 7.00, one curve",
        "quality 7.00, bands anew every 6 superframes",
    ]


def test_a_soft_side_is_as_noisy_as_the_middle(tmp_path, rng):
    """Not finer: beside the middle nobody hears it, and the file is little longer than of one."""
    middle = 0.1 * rng.standard_normal((16_000, 1))
    side = 0.01 * rng.standard_normal((16_000, 1))
    both = np.concatenate([middle + side, middle - side], axis=1).astype(np.float32)
    alone = write(tmp_path / "a.isn", both[:, :1], quality=7.0).num_bytes
    # The middle has 3 dB more than either ear, half a bit for each of its codes.
    assert write(tmp_path / "a.isn", both, quality=7.0).num_bytes < 1.4 * alone
    error = samples_of(tmp_path / "a.isn") - both
    noise = [np.mean(np.square(error @ turn)) / 2 for turn in ([1, 1], [1, -1])]
    assert noise[1] > 0.1 * np.mean(np.square(side))  # of the side little is left
    assert noise[0] < 0.2 * np.mean(np.square(middle))
