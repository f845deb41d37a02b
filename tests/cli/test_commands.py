"""The command line: what it prints, what it leaves behind, and how it fails."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile
import typer.testing

import isincnet_jax as isn
from isincnet_jax import cli
from isincnet_jax.bank import uniform_quantizer
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp import distances
from isincnet_jax.pretrained import registry
from isincnet_jax.tokens import archive, token_file

RATE = 16_000
COMMAND = Path(sys.executable).with_name("isincnet")


@pytest.fixture
def fails(run, tmp_path):
    """Runs a command that must fail with one line, and leave the folder as it was."""

    def content():
        return {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")}

    def call(line: str, message: str) -> None:
        before = content()
        status, _, err = run(line)
        assert status == 1
        assert re.fullmatch(r"isincnet: error: [^\n]+\n", err), err
        assert re.search(message, err), err
        assert content() == before

    return call


def _noise(length: int, num_channels: int = 1) -> np.ndarray:
    generator = np.random.default_rng(length + num_channels)
    return generator.uniform(-0.5, 0.5, (length, num_channels)).astype(np.float32)


def _tones(rate: int, length: int, num_channels: int = 1) -> np.ndarray:
    """Well below half of 8 kHz, so that resampling keeps it."""
    time_s = np.arange(length)[:, None] / rate
    pitch_hz = 300.0 * (1 + np.arange(num_channels))
    fade = np.sin(np.pi * np.arange(length) / length)[:, None] ** 2
    return (0.3 * fade * np.sin(2 * np.pi * pitch_hz * time_s)).astype(np.float32)


def _write(name: str, samples: np.ndarray, *, rate: int = RATE, subtype: str = "FLOAT") -> None:
    soundfile.write(name, samples, rate, subtype=subtype)


def _read(name: str) -> np.ndarray:
    return soundfile.read(name, dtype="float32", always_2d=True)[0]


def _figure(out: str, name: str) -> float:
    return float(re.search(rf"^{name} +(-?inf|[-\d.e+]+)", out, re.MULTILINE)[1])


def test_help_lists_the_commands():
    result = typer.testing.CliRunner().invoke(cli.app, ["--help"])
    assert result.exit_code == 0
    for command in ("reconstruct", "encode", "decode", "describe", "plot", "demo"):
        assert re.search(rf"\b{command}\b", result.output)


@pytest.mark.parametrize("command", ["reconstruct", "encode", "decode", "describe", "demo", "plot"])
def test_every_command_has_help(command):
    assert typer.testing.CliRunner().invoke(cli.app, [command, "--help"]).exit_code == 0


def test_help_is_quick():
    code = (
        "import sys\nfrom isincnet_jax import cli\n"
        "for option in ('--help', '--version'):\n    sys.argv = ['isincnet', option]\n"
        "    try:\n        cli.main()\n    except SystemExit as end:\n        assert not end.code\n"
        "heavy = {'jax', 'flax', 'numpy', 'scipy', 'librosa', 'soundfile', 'tensorflow', 'torch',"
        " 'matplotlib'}\nassert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    ("name", "subtype", "num_channels", "step"),
    [
        ("mono.wav", "FLOAT", 1, 0.0),
        ("stereo.wav", "PCM_16", 2, 2.0**-15),
        ("eight.wav", "PCM_24", 8, 2.0**-23),
        ("stereo.flac", "PCM_16", 2, 2.0**-15),
    ],
)
def test_reconstruct_keeps_format_and_samples(run, name, subtype, num_channels, step):
    noise = _noise(4000, num_channels)
    _write(name, noise, subtype=subtype)
    status, out, err = run(f"reconstruct {name} out{Path(name).suffix}")
    assert (status, err) == (0, "")
    info = soundfile.info(f"out{Path(name).suffix}")
    assert (info.samplerate, info.channels, info.frames) == (RATE, num_channels, 4000)
    assert info.subtype == subtype
    found, wanted = _read(info.name), _read(name)
    assert np.max(np.abs(found - wanted)) <= step + 2e-6
    assert _figure(out, "SNR") > 120
    assert _figure(out, "SI-SDR") > 120
    assert _figure(out, "MSE") < 1e-12
    assert _figure(out, "peak") == pytest.approx(np.max(np.abs(wanted)), abs=1e-4)
    assert "resampled" not in out
    if subtype == "FLOAT":
        sums = distances.error_sums(prediction=found, target=wanted)
        assert _figure(out, "SNR") == pytest.approx(sums.snr_db, abs=0.01)
        assert _figure(out, "MAE") == pytest.approx(sums.mae, rel=1e-3)


@pytest.mark.quick(0)
def test_refinements_raise_the_snr(run):
    soundfile.write("a.wav", _noise(3000), RATE, subtype="FLOAT")
    found = []
    for count in (0, 1):
        status, out, _ = run(f"reconstruct a.wav b.wav --model 16khz-mel --refinements {count}")
        assert status == 0
        found.append(float(re.search(r"SNR +([\d.]+) dB", out)[1]))
    assert found[1] > found[0] + 1
    assert run("encode a.wav a.npz --model 16khz-mel")[0] == 0
    assert run("decode a.npz c.wav --refinements 1")[0] == 0
    error = soundfile.read("c.wav")[0] - soundfile.read("a.wav")[0]
    noise = soundfile.read("a.wav")[0]
    assert 10 * np.log10(np.sum(noise**2) / np.sum(error**2)) > found[0] + 1
    assert run("reconstruct a.wav b.wav --refinements -1")[0] != 0


def test_reconstruct_a_lossy_file_to_plain_samples(run):
    _write("in.ogg", _tones(RATE, 8000, 2), subtype="VORBIS")
    status, out, _ = run("reconstruct in.ogg out.wav")
    assert status == 0
    assert soundfile.info("out.wav").subtype == "PCM_16"
    assert np.max(np.abs(_read("out.wav") - _read("in.ogg"))) < 2.0**-14
    assert "wrote   out.wav: 0.50 s, PCM_16" in out


@pytest.mark.parametrize("rate", [8000, 22_050, 192_000])
def test_reconstruct_resamples_and_says_so(run, rate):
    _write("in.wav", _tones(rate, rate // 2), rate=rate)
    status, out, _ = run("reconstruct in.wav out.wav")
    assert status == 0
    assert f"in.wav: resampled from {rate} Hz to 16000 Hz\n" in out
    assert soundfile.info("out.wav").samplerate == RATE
    found, expected = _read("out.wav"), _tones(RATE, RATE // 2)
    assert abs(len(found) - len(expected)) <= 1
    length = min(len(found), len(expected))
    assert np.max(np.abs(found[:length] - expected[:length])) < 1e-3


@pytest.mark.quick(1)
@pytest.mark.parametrize("scales", ["signal", "spec"])
@pytest.mark.parametrize(("q_bits", "least_db"), [(2, -10), (8, 30), (16, 70)])
def test_bits_buy_quality(run, q_bits, least_db, scales):
    _write("in.wav", isn.demo_waveform(RATE)[:16_000])
    status, out, _ = run(f"reconstruct in.wav out.wav --q-bits {q_bits} --scales {scales}")
    assert status == 0
    assert f", {q_bits} bits\n" in out
    assert least_db < _figure(out, "SNR") < 6.1 * q_bits + 20
    sums = distances.error_sums(prediction=_read("out.wav"), target=_read("in.wav"))
    assert _figure(out, "SNR") == pytest.approx(sums.snr_db, abs=0.01)


def test_a_silent_file_stays_silent(run):
    _write("in.wav", np.zeros((4000, 1)))
    for options in ("", "--q-bits 8"):
        status, out, _ = run(f"reconstruct in.wav out.wav {options}")
        assert status == 0
        assert "SNR     inf dB (no error)" in out
        np.testing.assert_array_equal(_read("out.wav"), np.zeros((4000, 1)))


def test_clipping_is_counted(run):
    loud = 1.5 * np.sign(_noise(4000))
    _write("in.wav", loud)
    _, out, _ = run("reconstruct in.wav out.wav")
    assert "(4000 samples beyond full scale)" in out


@pytest.mark.quick(1)
@pytest.mark.parametrize("length", [1, 2, 126])
def test_the_shortest_files_work(run, length):
    _write("in.wav", np.full((length, 1), 0.5))
    assert run("reconstruct in.wav out.wav")[0] == 0
    np.testing.assert_allclose(_read("out.wav"), 0.5, atol=1e-5)
    assert run("encode in.wav a.npz --q-bits 8")[0] == 0
    assert run("decode a.npz back.wav")[0] == 0
    assert _read("back.wav").shape == (length, 1)


def test_a_file_can_be_overwritten_by_itself(run):
    noise = _noise(4000)
    _write("in.wav", noise)
    assert run("reconstruct in.wav in.wav")[0] == 0
    np.testing.assert_allclose(_read("in.wav"), noise, atol=2e-6)


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "command", ["reconstruct {} out.wav", "encode {} out.npz", "plot spectrogram {} out.png"]
)
def test_bad_input_is_one_line(fails, command):
    Path("empty.wav").write_bytes(b"")
    Path("text.wav").write_text("these are words\n" * 50)
    Path("folder.wav").mkdir()
    _write("none.wav", np.zeros((0, 1)))
    _write("short.wav", np.ones((1, 1)), rate=192_000)
    for name, value in (("nan.wav", np.nan), ("inf.wav", np.inf)):
        _write(name, np.where(np.arange(4000) == 800, value, 0.1))
    _write("whole.wav", _noise(4000))
    content = Path("whole.wav").read_bytes()
    Path("cut.wav").write_bytes(content[: len(content) // 2])
    fails(command.format("missing.wav"), r"missing\.wav: no such file")
    fails(command.format("empty.wav"), r"empty\.wav: an empty file")
    fails(command.format("text.wav"), r"text\.wav: no audio that soundfile")
    fails(command.format("folder.wav"), r"folder\.wav: a directory")
    fails(command.format("none.wav"), r"none\.wav: holds no samples")
    fails(command.format("short.wav"), r"short\.wav: too short")
    fails(command.format("nan.wav"), r"nan\.wav: NaN or infinite samples at 0\.050 s")
    fails(command.format("inf.wav"), r"inf\.wav: NaN or infinite samples at 0\.050 s")
    fails(command.format("cut.wav"), r"cut\.wav: truncated")


def test_bad_options_are_one_line(fails, run):
    _write("in.wav", _noise(4000))
    for q_bits in (0, 1, 17, -3):
        fails(f"reconstruct in.wav out.wav --q-bits {q_bits}", f"--q-bits {q_bits}.*2 to 16")
        fails(f"encode in.wav out.npz --q-bits {q_bits}", f"--q-bits {q_bits}.*2 to 16")
    fails("reconstruct in.wav out.wav --q-bits 8 --scales best", "'signal' or 'spec'")
    fails("reconstruct in.wav out.wav --model 16khz-liner", "did you mean '16khz-linear'")
    fails("describe 16khz", "no preset '16khz'")
    fails("encode in.wav out.txt", r"out\.txt: encoded files end in \.npz or \.isn; use out\.npz")
    fails("plot spectrogram in.wav out.gif", r"out\.gif: pictures end in")
    fails("plot filters out", "pictures end in")
    for seconds in ("0", "-1", "nan", "inf"):
        _refused(run, "plot spectrogram in.wav out.png", f"--seconds {seconds}")


def _refused(run, line, option):
    """A number that is none, or not above 0, is a usage error that names the option."""
    status, _, err = run(f"{line} {option}")
    assert status == 2
    name, value = option.split()
    rule = "give a number above 0" if value in ("0", "-1") else "give a finite number"
    assert re.fullmatch(f"isincnet: error: [^\n]*{name}[^\n]*{rule}[^\n]*\n", err), err


def test_bad_output_is_one_line(fails, run):
    _write("in.wav", _noise(4000))
    Path("file.txt").write_text("x")
    Path("folder.wav").mkdir()
    Path("folder.npz").mkdir()
    assert run("encode in.wav good.npz")[0] == 0
    for command in ("reconstruct in.wav {}.wav", "encode in.wav {}.npz", "decode good.npz {}.wav"):
        fails(command.format("file.txt/out"), r"out\.\w+: cannot be written: Not a directory")
        fails(command.format("folder"), r"folder\.\w+: a directory")
    for command in ("reconstruct in.wav", "decode good.npz"):
        fails(f"{command} out.xyz", r"out\.xyz: unknown extension '\.xyz'; use \.wav")
        fails(f"{command} out", "unknown extension ''")
    fails("demo file.txt", r"file\.txt")
    fails("plot filters none/here/out.bmp", r"pictures end in")
    fails("reconstruct in.wav none/here/out.xyz", "unknown extension")  # and no folder is left
    _write("eight.wav", _noise(4000, 8))
    fails("reconstruct eight.wav out.mp3", r"out\.mp3: MP3 .* cannot hold 8 channels")


def test_a_short_write_leaves_the_old_file_alone(fails, monkeypatch):
    _write("in.wav", _noise(4000))
    Path("out.wav").write_bytes(b"what was there before")
    with monkeypatch.context() as patch:
        patch.setattr(soundfile.SoundFile, "write", lambda self, data: None)
        fails("reconstruct in.wav out.wav", r"out\.wav: cannot be written: .*is the disk full")


@pytest.mark.quick(2)
@pytest.mark.parametrize("options", ["", "--q-bits 12", "--q-bits 8 --scales spec"])
def test_encode_and_decode_restore_rate_and_length(run, options):
    tones = _tones(44_100, 22_051, 2)
    _write("in.wav", tones, rate=44_100, subtype="PCM_16")
    status, out, _ = run(f"encode in.wav a.npz {options}")
    assert status == 0
    assert "resampled from 44100 Hz to 16000 Hz" in out
    assert re.search(r"wrote a\.npz: \d+ frames x 2 audio channels x 256 ", out)
    status, out, _ = run("decode a.npz back.wav")
    assert status == 0
    assert "resampled from 16000 Hz back to 44100 Hz" in out
    info = soundfile.info("back.wav")
    assert (info.samplerate, info.channels, info.frames) == (44_100, 2, 22_051)
    assert info.subtype == ("PCM_24" if options else "FLOAT")
    error = _read("back.wav") - tones
    tolerance = 2e-4 if not options else 2e-2
    assert np.sqrt(np.mean(error**2)) < tolerance
    assert run("decode a.npz model.wav --model-rate")[0] == 0
    assert soundfile.info("model.wav").samplerate == RATE
    assert soundfile.info("model.wav").frames in (8000, 8001)


def test_float_archives_decode_to_120_db(run):
    noise = _noise(4000, 2)
    _write("in.wav", noise)
    assert run("encode in.wav a.npz")[0] == 0
    assert run("decode a.npz back.wav --model 16khz-linear")[0] == 0
    assert distances.snr_db(prediction=_read("back.wav"), target=noise) > 120
    with np.load("a.npz") as stored:
        codec = isn.from_pretrained("16khz-linear")
        whole = np.asarray(codec.encode(noise.T)).transpose(1, 0, 2)
        np.testing.assert_allclose(stored["coefficients"], whole, atol=1e-6)


@pytest.mark.quick(1)
@pytest.mark.parametrize("q_bits", [5, 8, 11])
def test_codes_survive_the_file(run, q_bits):
    _write("in.wav", _noise(4000, 2))
    assert run(f"encode in.wav a.npz --q-bits {q_bits}")[0] == 0
    with archive.ArchiveReader("a.npz") as reader:
        stored = np.concatenate(list(reader.rows()))
        quantizer = reader.quantizer()
        assert reader.header.model == "16khz-linear"
        assert reader.header.length == reader.header.original_length == 4000
    codec = isn.from_pretrained("16khz-linear")
    spectrogram = codec.encode(_noise(4000, 2).T)
    expected = np.asarray(quantizer.encode(spectrogram)).transpose(1, 0, 2)
    np.testing.assert_array_equal(stored, expected)
    assert stored.dtype == (np.uint8 if q_bits <= 8 else np.uint16)
    assert run("decode a.npz back.wav")[0] == 0
    decoded = codec.decode(quantizer.decode(expected.transpose(1, 0, 2)), length=4000)
    np.testing.assert_allclose(_read("back.wav"), np.asarray(decoded).T, atol=2.0**-22 + 2e-6)


def test_decode_refuses_what_does_not_fit(fails, run):
    _write("in.wav", _noise(4000))
    assert run("encode in.wav a.npz --q-bits 8")[0] == 0
    Path("out.wav").write_bytes(b"what was there before")
    fails(
        "decode a.npz out.wav --model 16khz-linear-causal",
        r"a\.npz: was encoded with another bank \(16khz-linear, .*leave --model out",
    )
    content = Path("a.npz").read_bytes()
    Path("cut.npz").write_bytes(content[: len(content) // 2])
    fails("decode cut.npz out.wav", r"cut\.npz: no spectrogram archive")
    middle = content.index(b"codes.npy") + 2000
    Path("bad.npz").write_bytes(content[:middle] + bytes(40) + content[middle + 40 :])
    fails("decode bad.npz out.wav", r"error: bad\.npz: damaged")
    np.savez("plain.npz", a=np.ones(3))
    fails("decode plain.npz out.wav", r"plain\.npz: no spectrogram archive")
    fails("decode in.wav out.wav", r"in\.wav: no spectrogram archive")
    fails("decode none.npz out.wav", r"none\.npz: no such file")


def test_decode_falls_back_to_the_bank_and_says_so(run):
    noise = _noise(4000)
    spec = FilterbankSpec(sample_rate=RATE, hop_length=100, num_bins=110, shape="none")
    codec = isn.build_codec(isn.SincNet(spec))
    rows = np.asarray(codec.encode(noise.T)).transpose(1, 0, 2)
    for model in ("gone.ckpt", "16khz-linear"):  # the latter's bank has changed since
        header = archive.Header(spec, model, 4000, 4000, RATE)
        archive.write_archive("a.npz", [rows], make_header=lambda header=header: header)
        status, out, _ = run("decode a.npz back.wav")
        assert status == 0
        assert f"a.npz: no '{model}' with its bank here; decoding by the bank's inverse" in out
        assert distances.snr_db(prediction=_read("back.wav"), target=noise) > 120


def test_a_hostile_checkpoint_is_refused(fails):
    import pickle
    import zipfile

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (Path("exploded"),))

    _write("in.wav", _noise(4000))
    with zipfile.ZipFile("16000fs_128fps_128bins_lin_complex_ncausal.ckpt", "w") as file:
        file.writestr("root/data.pkl", pickle.dumps(Bomb(), protocol=2))
    name = "16000fs_128fps_128bins_lin_complex_ncausal.ckpt"
    fails(f"reconstruct in.wav out.wav --model {name}", f"{name}: .* refused")
    fails(f"describe {name}", f"{name}: .* refused")
    Path("text.ckpt").write_text("words")
    fails("encode in.wav out.npz --model text.ckpt", r"text\.ckpt: not a zip-format checkpoint")
    fails("plot filters out.png --model none.ckpt", r"none\.ckpt: no such file")
    assert not Path("exploded").exists()


def test_describe_lists_all_names(run):
    status, out, _ = run("describe")
    assert status == 0
    found = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert found == {name: entry.summary for name, entry in registry.REGISTRY.items()}
    assert set(isn.PRESETS) < set(found)


@pytest.mark.quick(2)
@pytest.mark.parametrize("name", list(isn.PRESETS))
def test_describe_every_preset(run, name):
    status, out, err = run(f"describe {name}")
    assert (status, err) == (0, "")
    spec = isn.PRESETS[name].spec
    assert re.search(rf"^model +{name}$", out, re.MULTILINE)
    assert re.search(rf"^sample rate +{spec.sample_rate} Hz$", out, re.MULTILINE)
    assert re.search(r"^exactness +exact: -\d+ dB", out, re.MULTILINE)
    assert f"{spec.num_channels} channels" in out


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", registry.LAPPED)
def test_describe_every_lapped_preset(run, name):
    status, out, err = run(f"describe {name}")
    assert (status, err) == (0, "")
    spec = registry.LAPPED[name].spec
    assert re.search(rf"^model +{name}$", out, re.MULTILINE)
    assert re.search(rf"^sample rate +{spec.sample_rate} Hz$", out, re.MULTILINE)
    assert re.search(rf"^frames .*\(hop_length {spec.hop_length}\)$", out, re.MULTILINE)
    assert re.search(r"^expected SNR in float32 +135 dB", out, re.MULTILINE)
    assert re.search(r"^tokens +rounded to a step of 0\.015625,", out, re.MULTILINE)
    assert f"{spec.sample_rate} a second, 1 per sample" in out


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", registry.NONUNIFORM)
def test_describe_every_nonuniform_preset(run, name):
    status, out, err = run(f"describe {name}")
    assert (status, err) == (0, "")
    spec = registry.NONUNIFORM[name].spec
    assert re.search(rf"^model +{name}$", out, re.MULTILINE)
    assert re.search(rf"^sample rate +{spec.sample_rate} Hz$", out, re.MULTILINE)
    assert re.search(r"^frame bounds +1 to 1, condition number 1$", out, re.MULTILINE)
    assert re.search(r"^delay +a whole clip; \d+ samples slice by slice", out, re.MULTILINE)
    assert re.search(r"real numbers a second, 2\.[23]\d+ per sample; 2\.3\d+ of 10 s", out)


def test_nonuniform_models_are_drawn_encoded_and_refused_elsewhere(run):
    _write("some.wav", _tones(44_100, 4410, 2), rate=44_100)
    model = "--model 16khz-mel-ragged"
    assert run(f"plot spectrogram some.wav out.png {model} --seconds 0.05")[0] == 0
    assert np.std(matplotlib.image.imread("out.png")) > 0.05
    assert run(f"encode some.wav out.isn {model} --snr 20")[0] == 0
    described = run("describe out.isn")[1]
    assert "nonuniform, 128 bands, mel_slaney" in described
    assert "4410 samples, 44100 Hz" in described
    assert run("decode out.isn back.wav")[0] == 0
    assert soundfile.info("back.wav").frames == 4410
    for command in ("encode some.wav out.npz", "plot filters out.svg"):
        status, _, err = run(f"{command} {model}")
        assert status != 0
        assert "a nonuniform bank, which this does not take" in err


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", ["out.png", "out.pdf", "out.SVG"])
def test_pictures_are_drawn(run, name):
    _write("some $tune$.wav", _tones(44_100, 4410, 2), rate=44_100)
    assert run(f"plot spectrogram 'some $tune$.wav' {name} --seconds 0.05")[0] == 0
    first = Path(name).read_bytes()
    magic = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    assert first.startswith(magic[Path(name).suffix.lower()])
    assert run(f"plot filters {name} --model 16khz-linear-causal")[0] == 0
    assert Path(name).read_bytes() != first
    if name.endswith("png"):
        assert np.std(matplotlib.image.imread(name)) > 0.05
    assert sorted(os.listdir()) == sorted([name, "some $tune$.wav"])


def test_demo(run):
    status, out, _ = run("demo results/demo --model 16khz-linear")
    assert status == 0
    assert sorted(os.listdir("results/demo")) == [
        "filterbank.png",
        "original.wav",
        "reconstructed.wav",
        "reconstructed_8bit.wav",
        "spectrogram.png",
    ]
    original = _read("results/demo/original.wav")
    np.testing.assert_array_equal(original[:, 0], isn.demo_waveform(RATE))
    exact = _read("results/demo/reconstructed.wav")
    coarse = _read("results/demo/reconstructed_8bit.wav")
    assert distances.snr_db(prediction=exact, target=original) > 120
    assert 35 < distances.snr_db(prediction=coarse, target=original) < 60
    assert np.std(matplotlib.image.imread("results/demo/spectrogram.png")) > 0.05
    assert out.count("SI-SDR") == 2


def test_a_long_file_in_blocks_equals_one_go(run):
    noise = _noise(120 * RATE)
    _write("in.wav", noise)
    status, out, _ = run("reconstruct in.wav out.wav")
    assert status == 0
    assert "wrote   out.wav: 120.00 s" in out
    codec = isn.from_pretrained("16khz-linear")
    whole = np.asarray(codec.decode(codec.encode(noise.T), length=len(noise))).T
    np.testing.assert_allclose(_read("out.wav"), whole, atol=2e-6)
    np.testing.assert_allclose(_read("out.wav"), noise, atol=5e-6)


def _subprocess(line: str, folder: Path, *, limit_kilobytes: int | None = None):
    isn.from_pretrained("16khz-linear")  # into the cache, which the subprocess shares
    command = [str(COMMAND), *shlex.split(line)]
    if limit_kilobytes is not None:  # no file may grow beyond: what a full disk looks like
        limited = f'ulimit -f {limit_kilobytes} && exec "$0" "$@"'
        command = [shutil.which("bash") or "bash", "-c", limited, *command]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.quick(0)
def test_the_installed_command_works(tmp_path):
    soundfile.write(tmp_path / "in.wav", _noise(4000), RATE, subtype="FLOAT")
    done = _subprocess("reconstruct in.wav out.wav", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert _figure(done.stdout, "SNR") > 120
    done = _subprocess("reconstruct none.wav out.wav", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "isincnet: error: none.wav: no such file\n"


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "line",
    [
        "reconstruct in.wav out.wav",
        "encode in.wav out.npz",
        "plot filters out.png",
        "encode --step 0.001 in.wav out.isn",
    ],
)
def test_a_full_disk_is_one_line(tmp_path, line):
    soundfile.write(tmp_path / "in.wav", _noise(40_000), RATE, subtype="FLOAT")
    target = tmp_path / line.split()[-1]
    target.write_bytes(b"what was there before")
    done = _subprocess(line, tmp_path, limit_kilobytes=20)
    assert done.returncode == 1
    pattern = rf"isincnet: error: {re.escape(target.name)}: cannot be written: [^\n]+\n"
    assert re.fullmatch(pattern, done.stderr), done.stderr
    assert target.read_bytes() == b"what was there before"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in.wav", target.name])


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("pattern", "num_channels"),
    [("musdb_mini/**/*.mp3", 2), ("librosa_examples/*robin*.ogg", 2), ("gtzan_*/**/*.wav", 1)],
)
def test_real_recordings(run, shared, pattern, num_channels):
    found = sorted((shared / "audio").glob(pattern))
    if not found:
        pytest.skip(f"no {pattern} in the shared material")
    source = found[0]
    info = soundfile.info(source)
    status, out, _ = run(f"reconstruct '{source}' out.flac")
    assert status == 0
    assert f"resampled from {info.samplerate} Hz to {RATE} Hz" in out
    written = soundfile.info("out.flac")
    assert written.channels == num_channels == info.channels
    assert written.frames == pytest.approx(info.frames * RATE / info.samplerate, abs=1)
    assert _figure(out, "SNR") > 115


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("options", "rate", "kind"),
    [
        ("", 44_100, "in 21 frames, of one size"),
        ("--step 0.02 --optimise", 44_100, r"in \d+ frames, 128 to 4096 samples long"),
        ("--model 16khz-lapped", RATE, "in 15 frames, of one size"),
        ("--quality 12", 44_100, "in 21 frames, of one size"),
    ],
)
def test_token_files_restore_rate_and_length(run, options, rate, kind):
    tones = _tones(44_100, 22_051, 2)
    _write("in.wav", tones, rate=44_100, subtype="PCM_16")
    status, out, _ = run(f"encode in.wav a.isn {options}")
    assert status == 0
    length = 22_051 * rate // 44_100
    assert re.search(rf"wrote a\.isn: 2 x {length} codes, .*, \S+ dB, .* kbit/s\n", out)
    assert (f"resampled from 44100 Hz to {RATE} Hz" in out) == (rate == RATE)
    status, out, _ = run("describe a.isn")
    assert status == 0
    assert re.search(rf"^bank +lapped, {rate} Hz, hop \d+, sine window, tiled$", out, re.MULTILINE)
    code = "quality .*, bands anew every 3 superframes" if "quality" in options else r"step 0\.\d+"
    assert re.search(rf"^code +{code}$", out, re.MULTILINE)
    assert re.search(rf"^codes +{length} per audio channel, {kind}$", out, re.MULTILINE)
    assert re.search(r"^original +22051 samples, 44100 Hz$", out, re.MULTILINE)
    assert run("decode a.isn back.wav")[0] == 0
    info = soundfile.info("back.wav")
    assert (info.samplerate, info.channels, info.frames) == (44_100, 2, 22_051)
    assert info.subtype == "PCM_24"
    error = _read("back.wav") - tones
    assert np.sqrt(np.mean(error**2)) < 2e-2


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_24", 24)])
def test_lossless_files_restore_every_bit(run, subtype, bits):
    _write("in.wav", _tones(44_100, 5001, 2), rate=44_100, subtype=subtype)
    status, out, _ = run("encode in.wav a.isn --lossless")
    assert status == 0
    assert re.search(rf"wrote a\.isn: 2 x 5001 codes, and {bits}-bit samples exactly, step", out)
    status, out, _ = run("describe a.isn")
    assert status == 0
    assert re.search(
        rf"^samples +held exactly, {bits} bits, MD5 [0-9a-f]{{32}}$", out, re.MULTILINE
    )
    assert run("decode a.isn back.wav")[0] == 0
    assert soundfile.info("back.wav").subtype == subtype
    exact, back = (soundfile.read(name, dtype="int32")[0] for name in ("in.wav", "back.wav"))
    np.testing.assert_array_equal(back, exact)
    assert run("decode a.isn base.wav --base")[0] == 0
    base = soundfile.read("base.wav", dtype="int32")[0]
    assert not np.array_equal(base, exact)
    np.testing.assert_allclose(base / 2**31, exact / 2**31, atol=0.2)


def test_lossless_files_refuse_what_they_cannot_keep(run, fails):
    _write("in.wav", _tones(44_100, 5001, 1), rate=44_100, subtype="FLOAT")
    fails(
        "encode in.wav a.isn --lossless", r"in\.wav: its samples \(FLOAT\) .*leave --lossless out"
    )
    _write("in.wav", _tones(44_100, 5001, 1), rate=44_100, subtype="PCM_16")
    fails("encode in.wav a.isn --lossless --model 16khz-lapped", "44100 Hz.*leave --model out")
    fails(
        "encode in.wav a.isn --lossless --optimise", "--lossless and --optimise exclude each other"
    )
    fails("encode in.wav a.npz --lossless", r"--lossless makes entropy-coded files; use a\.isn")
    assert run("encode in.wav a.isn --lossless")[0] == 0
    content = bytearray(Path("a.isn").read_bytes())
    content[-1] ^= 1
    Path("a.isn").write_bytes(content)
    for command in ("decode a.isn out.wav", "describe a.isn"):
        fails(command, r"a\.isn: damaged \(the checksum of residual 0 is wrong\)")


def test_token_files_hold_the_codes_of_the_codec(run):
    """Of each audio channel alone, where a preset fixes the step; a copy of theirs is no middle."""
    samples = np.stack([isn.demo_waveform(RATE)[:8000], np.zeros(8000, np.float32)], axis=1)
    _write("in.wav", samples)
    assert run("encode in.wav a.isn --model 16khz-lapped")[0] == 0
    codec = isn.from_pretrained("16khz-lapped")
    codes = np.asarray(codec.quantizer().encode(codec.encode(samples.T)))
    with token_file.TokenReader("a.isn") as coded:
        # A coefficient on the border of two codes may fall to either side.
        found = coded.codes()
        assert np.mean(found != codes.reshape(2, -1)[:, :8000]) < 1e-3
        assert not found[1].any()
        assert coded.header.length == coded.header.original_length == 8000
        assert (coded.header.spec, coded.header.step) == (codec.spec, codec.step)
    assert run("decode a.isn coded.wav")[0] == 0
    plain = np.asarray(codec.decode(codec.quantizer().decode(codes), length=8000))
    np.testing.assert_allclose(_read("coded.wav"), plain.T, atol=codec.step)
    assert run("encode coded.wav again.isn --model 16khz-lapped")[0] == 0
    with token_file.TokenReader("again.isn") as coded:
        np.testing.assert_array_equal(coded.codes(), found)
    assert run("encode in.wav a.npz --q-bits 6")[0] == 0
    assert Path("a.isn").stat().st_size < Path("a.npz").stat().st_size


@pytest.mark.quick(1)
@pytest.mark.parametrize("snr_db", [10, 25, 60])
def test_the_step_is_searched(run, snr_db):
    waveform = isn.demo_waveform(RATE)[:16_000]
    _write("in.wav", waveform)
    status, out, _ = run(f"encode in.wav a.isn --snr {snr_db}")
    assert status == 0
    assert run("decode a.isn back.wav")[0] == 0
    sums = distances.error_sums(prediction=_read("back.wav"), target=_read("in.wav"))
    assert sums.snr_db == pytest.approx(snr_db, abs=0.05)
    assert float(re.search(r" (\S+) dB", out)[1]) == pytest.approx(sums.snr_db, abs=0.02)


@pytest.mark.quick(0)
def test_long_token_files_in_blocks_equal_one_go(run):
    """A block has some million codes; of four audio channels, none is a middle or a side."""
    noise = _noise(20 * RATE + 77, 4)
    _write("in.wav", noise)
    assert run("encode in.wav a.isn --model 16khz-lapped --step 0.02")[0] == 0
    codec = isn.from_pretrained("16khz-lapped")
    quantizer = uniform_quantizer.make_uniform_quantizer(0.02)
    whole = np.asarray(quantizer.encode(codec.encode(noise.T)))
    whole = whole.reshape(4, -1)[:, : len(noise)]
    with token_file.TokenReader("a.isn") as reader:
        assert len(list(reader.blocks())) == 2
    with token_file.TokenReader("a.isn") as reader:
        codes = reader.codes()
    # A coefficient on the border of two codes may fall to either side.
    assert np.mean(codes != whole) < 1e-4
    assert np.max(np.abs(codes - whole)) <= 1


def test_bad_token_files_and_options_are_one_line(fails, run):
    _write("in.wav", _noise(4000))
    fails("encode in.wav out.npz --step 1", r"--step makes entropy-coded files; use out\.isn")
    fails("encode in.wav out.npz --optimise", r"--optimise makes entropy-coded files; use out\.isn")
    fails("encode in.wav out.isn --step 1 --snr 20", "--step and --snr exclude each other")
    fails("encode in.wav out.isn --q-bits 8", r"--q-bits: .*use --step or --snr, or write out\.npz")
    fails("encode in.wav out.isn --snr 300", "--snr 300: use -10 to 100 dB")
    fails("encode in.wav out.isn --kbps 1e4", r"--kbps 10000: the nearest .* kbit/s; use that")
    fails("encode in.wav out.isn --kbps 9 --quality 9", "--quality and --kbps exclude each other")
    fails("encode in.wav out.isn --like none.isn", r"--like none\.isn: no such file")
    status, out, _ = run("encode in.wav ears.isn --kbps 30")
    assert status == 0
    assert re.search(r"29\.[7-9]|30\.[0-3] kbit/s", out)
    fails(
        "encode in.wav out.isn --like ears.isn", "--like ears.isn: .* make it with --curve or --s"
    )
    assert run("encode in.wav ears.isn --quality 5 --curve")[0] == 0
    assert run("encode in.wav again.isn --like ears.isn")[0] == 0
    assert Path("again.isn").read_bytes() == Path("ears.isn").read_bytes()
    for option in ("--step 0", "--step nan", "--snr nan"):
        _refused(run, "encode in.wav out.isn", option)
    for step in ("1e-12", "1e-29"):  # beyond 2^20, and beyond any integer
        fails(f"encode in.wav out.isn --step {step}", "use a larger step")
    fails("encode in.wav out.isn --model 16khz-linear", "16khz-linear: .*use 16khz-lapped or")
    fails(
        "encode in.wav out.npz --model 16khz-lapped",
        "16khz-lapped: a lapped bank, .* encode",
    )
    _write("silent.wav", np.zeros((4000, 1)))
    fails("encode silent.wav out.isn", "silent.* use --step")
    assert run("encode silent.wav silent.isn --step 0.01")[0] == 0
    assert run("decode silent.isn back.wav")[0] == 0
    assert not _read("back.wav").any()
    content = bytearray(Path("silent.isn").read_bytes())
    content[-3] ^= 1
    Path("bad.isn").write_bytes(content)
    for command in ("decode bad.isn out.wav", "describe bad.isn"):
        fails(command, r"bad\.isn: damaged \(the checksum of block 0 is wrong\)")
    fails("decode none.isn out.wav", r"none\.isn: no such file")
    for model in ("16khz-linear", "16khz-lapped-fast"):
        fails(f"decode silent.isn out.wav --model {model}", "encoded with another bank")
    assert run("decode silent.isn back.wav --model 16khz-lapped")[0] == 0
