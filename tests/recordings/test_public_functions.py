"""Recordings through a codec by the public functions: the same as by hand, and what they report."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile

import isincnet_jax as isn
from isincnet_jax.dsp import distances
from isincnet_jax.tokens import archive, token_file

RATE = 8000
SPEC = isn.FilterbankSpec(sample_rate=RATE, hop_length=16, num_bins=17, shape="none")
LAPPED = isn.LappedSpec(sample_rate=RATE, hop_length=16)


@pytest.fixture(scope="module")
def codec():
    return isn.build_codec(isn.SincNet(SPEC))


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """Two recordings, one of them stereo, and one that is none."""
    monkeypatch.chdir(tmp_path)
    Path("in/b").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, shape in (("a.wav", 900), ("b/c.wav", (1201, 2))):
        soundfile.write(f"in/{name}", rng.uniform(-0.5, 0.5, shape), RATE, "FLOAT")
    Path("in/empty.wav").write_bytes(b"")
    return tmp_path


def test_a_file_equals_the_codec(clips, codec):
    said = []
    made = isn.encode_file("in/b/c.wav", "c.npz", model=codec, say=said.append)
    assert made.seconds == pytest.approx(1201 / RATE)
    assert said[-1].startswith("wrote c.npz")
    samples = soundfile.read("in/b/c.wav", dtype="float32")[0].T
    with archive.ArchiveReader("c.npz") as reader:
        rows = np.concatenate(list(reader.rows()))
    np.testing.assert_allclose(rows.transpose(1, 0, 2), codec.encode(samples), atol=1e-6)
    # A preset of that name there is not: by the bank, which is noted; by the codec, which is not.
    assert isn.decode_file("c.npz", "one.wav").notes == (
        "no 'custom' with its bank here; decoding by the bank's inverse",
    )
    assert isn.decode_file("c.npz", "two.wav", model=codec).notes == ()
    for name in ("one.wav", "two.wav"):
        found = soundfile.read(name, dtype="float32")[0].T
        assert distances.snr_db(prediction=found, target=samples) > 110


def test_a_codec_decodes_with_its_own_weights(clips, codec):
    learned = isn.build_codec(isn.SincNet(SPEC, learnable_decoder=True))
    louder = learned.replace(variables=jax.tree.map(lambda leaf: 2 * leaf, learned.variables))
    isn.encode_file("in/a.wav", "a.npz", model=learned)
    isn.decode_file("a.npz", "once.wav", model=learned, model_rate=True)
    isn.decode_file("a.npz", "twice.wav", model=louder)
    once, twice = (soundfile.read(name)[0] for name in ("once.wav", "twice.wav"))
    np.testing.assert_allclose(twice, 2 * once, atol=1e-5)
    other = isn.build_codec(isn.SincNet(SPEC.replace(num_bins=33)))
    with pytest.raises(ValueError, match=r"another bank .* leave model= out"):
        isn.decode_file("a.npz", "never.wav", model=other)
    assert not Path("never.wav").exists()


def test_figures_are_those_of_the_file(clips, codec):
    found = isn.reconstruct_file("in/b/c.wav", "c.wav", model=codec, q_bits=6)
    target, prediction = (soundfile.read(name)[0] for name in ("in/b/c.wav", "c.wav"))
    sums = distances.error_sums(prediction=prediction, target=target)
    assert (found.length, found.subtype, found.is_rounded) == (1201, "FLOAT", False)
    assert found.snr_db == pytest.approx(sums.snr_db, abs=1e-4)
    assert found.si_sdr_db == pytest.approx(sums.si_sdr_db, abs=1e-4)
    assert (found.mse, found.mae, found.peak) == pytest.approx(
        (sums.mse, sums.mae, sums.prediction_peak), rel=1e-5
    )
    assert found.clipped == np.count_nonzero(np.abs(prediction) > 1)
    assert np.isnan(found.speed)
    assert isn.reconstruct_file("in/a.wav", "a.wav", model=codec, with_speed=True).speed > 0


def test_a_folder_reports_as_it_goes(clips, codec, capsys):
    reports = []
    report = isn.encode_folder("in", "out", model=codec, jobs=1, progress=reports.append)
    assert [each.last and each.last.job.source for each in reports] == [
        None,
        "a.wav",
        "b/c.wav",
        "empty.wav",
    ]
    assert [each.num_made for each in reports] == [0, 1, 2, 2]
    assert (report.num_files, report.num_waiting, report.num_done_before) == (3, 3, 0)
    assert dict(report.failed) == {"empty.wav": "an empty file"}
    assert report.audio_s == pytest.approx(2101 / RATE)
    sizes = [path.stat().st_size for path in Path("out").rglob("*.npz")]
    assert (len(sizes), sum(sizes)) == (2, report.num_bytes)
    again = isn.encode_folder("in", "out", model=codec, jobs=1)
    assert (again.num_made, again.num_done_before) == (0, 2)
    back = isn.decode_folder("out", "back", suffix=".flac", model=codec, jobs=1)
    assert (back.num_made, dict(back.failed), dict(back.notes)) == (2, {}, {})
    assert soundfile.info("back/b/c.flac").frames == 1201
    assert capsys.readouterr() == ("", "")  # nothing is printed


def test_an_interrupted_folder_goes_on(clips, codec):
    def interrupt(report):
        if report.num_made == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        isn.encode_folder("in", "out", model=codec, q_bits=8, jobs=1, progress=interrupt)
    assert not list(Path("out").glob(".unfinished-*"))
    report = isn.encode_folder("in", "out", model=codec, q_bits=8, jobs=1)
    assert (report.num_done_before, report.num_made) == (1, 1)


@pytest.mark.quick(0)
def test_a_codec_reaches_the_workers_of_token_files(clips):
    codec = isn.build_lapped_codec(isn.LappedBank(LAPPED), step=0.01)
    isn.encode_folder("in", "alone", suffix=".isn", model=codec, jobs=1)
    report = isn.encode_folder("in", "several", suffix=".isn", model=codec, jobs=2)
    assert report.num_made == 2
    for name in ("a.isn", "b/c.isn"):
        assert Path("alone", name).read_bytes() == Path("several", name).read_bytes()
        with token_file.TokenReader(f"alone/{name}") as reader:
            assert reader.header.spec == LAPPED
            assert reader.header.step == pytest.approx(0.01)


def test_a_token_file_equals_the_codec(clips):
    codec = isn.build_lapped_codec(isn.LappedBank(LAPPED), step=0.01)
    said = []
    made = isn.encode_file("in/a.wav", "a.isn", model=codec, say=said.append)
    assert made.seconds == pytest.approx(900 / RATE)
    assert said[-1].startswith("wrote a.isn: 1 x 900 codes, step 0.01, ")
    samples = soundfile.read("in/a.wav", dtype="float32")[0]
    codes = np.asarray(codec.quantizer().encode(codec.encode(samples)))
    with token_file.TokenReader("a.isn") as reader:
        assert np.mean(reader.codes()[0] != codes.ravel()[:900]) < 1e-2
    # The file says all that decoding takes, so that no codec is wanted; one may be insisted on.
    assert isn.decode_file("a.isn", "one.wav").notes == ()
    isn.decode_file("a.isn", "two.wav", model=codec)
    assert Path("one.wav").read_bytes() == Path("two.wav").read_bytes()
    decoded = np.asarray(codec.decode(codec.quantizer().decode(codes), length=900))
    np.testing.assert_allclose(soundfile.read("one.wav")[0], decoded, atol=0.011)
    other = isn.build_lapped_codec(isn.LappedBank(LAPPED.replace(hop_length=32)))
    with pytest.raises(ValueError, match=r"another bank .* leave model= out"):
        isn.decode_file("a.isn", "never.wav", model=other)
    assert not Path("never.wav").exists()


def test_a_curve_makes_the_same_tokens_for_ten_rounds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("in.wav", isn.demo_waveform(22_050)[:30_000], 22_050)
    said = []
    isn.encode_file("in.wav", "first.isn", kbps=24.0, curve=True, say=said.append)
    assert abs(8e-3 * Path("first.isn").stat().st_size * 22_050 / 30_000 - 24) < 0.24
    assert re.search(r"codes, quality \d\.\d\d, one curve, ", said[-1])
    with token_file.TokenReader("first.isn") as reader:
        first = reader.codes()
    source = "first.isn"
    for index in range(10):
        isn.decode_file(source, "back.wav")
        samples, rate = soundfile.read("back.wav")
        soundfile.write("back.wav", samples, rate, "PCM_16")
        source = f"{index % 2}.isn"
        isn.encode_file("back.wav", source, like="first.isn")
        with token_file.TokenReader(source) as reader:
            np.testing.assert_array_equal(reader.codes(), first)
    assert Path(source).read_bytes() == Path("first.isn").read_bytes()


def test_a_file_gets_bank_and_rate_of_another(clips):
    soundfile.write("high.wav", 0.3 * isn.demo_waveform(22_050)[:5000], 22_050)
    isn.encode_file("in/a.wav", "a.isn", quality=8.0, curve=True)
    notes = isn.encode_file("high.wav", "b.isn", like="a.isn").notes
    assert notes == (f"resampled from 22050 Hz to {RATE} Hz",)
    with token_file.TokenReader("a.isn") as one, token_file.TokenReader("b.isn") as other:
        assert other.header.spec == one.header.spec
        assert other.header.step == one.header.step
        assert other.header.original_rate == 22_050


def test_a_folder_for_ears(clips):
    report = isn.encode_folder("in", "out", quality=6.0, jobs=1)
    assert list(report.failed) == ["empty.wav"]
    isn.encode_file("in/a.wav", "a.isn", quality=6.0)
    assert Path("a.isn").read_bytes() == Path("out/a.isn").read_bytes()
    with pytest.raises(ValueError, match=r"its files were made with .*quality"):
        isn.encode_folder("in", "out", quality=7.0, jobs=1)
    assert isn.encode_folder("in", "out", quality=6.0, jobs=1).num_done_before == 2


def test_token_files_hold_tiled_frames_of_a_fixed_window(clips, codec):
    zeros = isn.build_lapped_codec(isn.LappedBank(LAPPED.replace(framing="zeros")))
    learned = isn.build_lapped_codec(isn.LappedBank(LAPPED, learnable=True))
    for one, message in (
        (codec, "^model=custom: .isn files hold frames of a lapped bank"),
        (zeros, "^model=custom: .isn files hold tiled frames of a fixed window"),
        (learned, "^model=custom: .isn files hold tiled frames of a fixed window"),
    ):
        with pytest.raises(ValueError, match=message):
            isn.encode_file("in/a.wav", "a.isn", model=one)
        with pytest.raises(ValueError, match=message):
            isn.encode_folder("in", "out", suffix=".isn", model=one)
    with pytest.raises(ValueError, match=r"^model=custom: \.npz files hold frames of a filterbank"):
        isn.encode_file("in/a.wav", "a.npz", model=zeros)
    assert sorted(path.name for path in clips.iterdir()) == ["in"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: isn.encode_file("gone.wav", "a.npz"), "gone.wav: no such file"),
        (lambda: isn.encode_file("in/a.wav", "a.wav"), r"end in \.npz or \.isn; use a\.npz"),
        (lambda: isn.encode_file("in/a.wav", "a.wav", snr_db=9.0), r"or \.isn; use a\.isn"),
        (lambda: isn.encode_file("in/a.wav", "a.npz", step=1.0), "^a.npz: step= makes entropy-"),
        (
            lambda: isn.encode_file("in/a.wav", "a.npz", step=1.0, optimise=True),
            r"^a\.npz: step= and optimise= make .*; use a\.isn",
        ),
        (lambda: isn.encode_file("in/a.wav", "a.isn", step=1.0, q_bits=4), "^q_bits=: .isn files"),
        (lambda: isn.encode_file("in/a.wav", "a.isn", step=1.0, snr_db=9), "^step= and snr_db= ex"),
        (lambda: isn.encode_file("in/a.wav", "a.isn", snr_db=300), "snr_db=300: use -10 to 100"),
        (
            lambda: isn.encode_file("in/a.wav", "a.isn", kbps=9.0, snr_db=9.0),
            "^snr_db= and kbps= exclude",
        ),
        (
            lambda: isn.encode_file("in/a.wav", "a.isn", quality=9.0, optimise=True),
            "^optimise= and quality= exclude each other: ears hear what it rounds away",
        ),
        (lambda: isn.encode_file("in/a.wav", "a.isn", quality=21), "^quality=21: use 0 to 20"),
        (lambda: isn.encode_file("in/a.wav", "a.isn", kbps=-1.0), "^kbps=-1: use a positive"),
        (lambda: isn.encode_file("in/a.wav", "a.isn", curve=True), "^curve=: .* give quality= or"),
        (lambda: isn.encode_file("in/a.wav", "a.isn", like="b.isn"), "^like=b.isn: no such file"),
        (
            lambda: isn.encode_file("in/a.wav", "a.isn", like="in/a.wav", model="16khz-lapped"),
            "^like= and model= exclude each other: the file has its bank",
        ),
        (lambda: isn.encode_file("in/a.wav", "a.npz", quality=5.0), "^a.npz: quality= makes ent"),
        (
            lambda: isn.encode_folder("in", "out", suffix=".wav"),
            r"suffix=\.wav: use \.npz or \.isn",
        ),
        (
            lambda: isn.encode_folder("in", "out", suffix=".npz", snr_db=20.0),
            r"^suffix=\.npz: snr_db= makes .*; use suffix=\.isn",
        ),
        (lambda: isn.encode_folder("in", "out", scales="best"), "scales='best'"),
        (lambda: isn.encode_folder("in", "out", jobs=0), "jobs=0: use at least 1"),
        (lambda: isn.decode_folder("in", "out", suffix="wav"), r"suffix=wav: .* use \.wav"),
        (lambda: isn.decode_file("gone.npz", "a.wav"), "gone.npz: no such file"),
        (lambda: isn.reconstruct_file("gone.wav", "a.wav"), "gone.wav: no such file"),
    ],
)
def test_errors_name_keywords(clips, call, message):
    with pytest.raises(ValueError, match=message):
        call()
    assert sorted(path.name for path in clips.iterdir()) == ["in"]


def test_codes_at_the_ends_of_fixed_scales_are_told(tmp_path):
    shares = []
    for gain in (0.1, 8.0):
        samples = gain * isn.demo_waveform(16_000)[:8000]
        soundfile.write(tmp_path / "a.wav", samples, 16_000, "FLOAT")
        said = []
        isn.encode_file(
            tmp_path / "a.wav", tmp_path / "a.npz", q_bits=8, scales="spec", say=said.append
        )
        found = re.search(r"bytes; (.*) % of the codes at an end of the scale$", said[-1])
        with np.load(tmp_path / "a.npz") as stored:
            codes = stored["codes"]
        shares.append(float(found[1]))
        expected = 100 * np.mean((codes == 0) | (codes == 254))
        assert abs(shares[-1] - expected) <= 0.005
    assert shares[0] == 0
    assert shares[1] > 1
    isn.encode_file(tmp_path / "a.wav", tmp_path / "a.npz", q_bits=8, say=said.append)
    assert said[-1].endswith(" bytes")


def test_token_files_have_nothing_to_refine(clips):
    isn.encode_file("in/a.wav", "a.isn")
    with pytest.raises(ValueError, match=r"refinements=2: the bank of a\.isn is orthonormal"):
        isn.decode_file("a.isn", "b.wav", refinements=2)
    assert not Path("b.wav").exists()
