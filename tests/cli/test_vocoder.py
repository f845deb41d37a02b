"""``isincnet vocoder``: CNNVocoder's four commands, from a folder like LJSpeech's to sound."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

import isincnet_jax
from isincnet_jax.data import corpora, recording_index
from isincnet_jax.pretrained.trained import export_trained, load_vocoder
from isincnet_jax.vocoders.features import VocoderFeatures
from isincnet_jax.vocoders.networks.convnext import ConvNeXtVocoder
from isincnet_jax.vocoders.networks.phase_gradient import PhaseGradientVocoder
from isincnet_jax.vocoders.vocoder import TrainedVocoder, Vocoder

RATE = 8000
FEATURES = VocoderFeatures("linear", RATE, n_fft=128, win_length=64, hop_length=16)
GEOMETRY = "--sample-rate 8000 --n-fft 128 --win 64 --hop 16"


def _tone(seconds, seed=0, level=0.3):
    rng, times = np.random.default_rng(seed), np.arange(round(seconds * RATE)) / RATE
    wave = np.sin(2 * np.pi * rng.uniform(200, 900) * times) + 0.1 * rng.standard_normal(len(times))
    return (level * wave / np.max(np.abs(wave))).astype(np.float32)


def _ljspeech(folder, count=12):
    """A folder of LJSpeech's layout, with four recordings that cannot be used."""
    (folder / "wavs").mkdir(parents=True)
    for number in range(count):
        name = folder / "wavs" / f"LJ001-{number:04d}.wav"
        soundfile.write(name, _tone(1 + 0.1 * number, number), RATE)
    soundfile.write(folder / "wavs" / "LJ002-0001.wav", _tone(0.2), RATE)
    soundfile.write(
        folder / "wavs" / "LJ002-0002.wav", np.array([0.1, np.nan] * 5000), RATE, "FLOAT"
    )
    (folder / "wavs" / "LJ002-0003.wav").write_bytes(b"RIFF, and nothing else")
    lines = [f'LJ001-{number:04d}|"A text|A text' for number in range(count)]
    text = "\n".join([*lines, "LJ009-0001|Gone|Gone"])
    (folder / "metadata.csv").write_text(text + "\n")
    return folder


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """An untrained vocoder, stored."""
    network = ConvNeXtVocoder(
        num_bins=65, width=8, num_blocks=1, n_fft=128, win_length=64, hop_length=16, predict="phase"
    )
    module = Vocoder(network, FEATURES)
    variables = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 64)))
    return export_trained(TrainedVocoder(module, variables), tmp_path_factory.mktemp("v") / "model")


@pytest.fixture
def model(stored, tmp_path):
    """The same as a folder beside the test's files."""
    return shutil.copytree(stored, tmp_path / "model")


def test_preprocess_checks_and_divides(run, tmp_path):
    _ljspeech(tmp_path / "lj")
    status, out, err = run("vocoder preprocess lj index --sample-rate 8000 --workers 2")
    assert status == 0, err
    counts = dict(re.findall(r"(train|validation|test): (\d+) files", out))
    assert counts == {"train": "10", "validation": "1", "test": "1"}
    assert "skipped: 4" in out
    for reason in ("0.200 s, shorter than 0.95 s", "NaN or infinite", "in metadata.csv, but there"):
        assert reason in out
    assert {path.name for path in (tmp_path / "index").iterdir()} == {
        "manifest.json",
        "train.txt",
        "validation.txt",
        "test.txt",
    }
    manifest = json.loads((tmp_path / "index" / "manifest.json").read_text())
    assert manifest["durations_s"]["wavs/LJ001-0003"] == pytest.approx(1.3)
    assert sum(path.stat().st_size for path in (tmp_path / "index").iterdir()) < 10_000
    # The pipeline reads exactly what the index says.
    fields = recording_index.data_fields(tmp_path / "index")
    found = corpora.build_corpora(
        "folder",
        fields["data.path"],
        sample_rate=fields["data.sample_rate"],
        loudness_db=None,
        splits=fields["data.splits"],
    )
    assert {split: str(len(corpus)) for split, corpus in found.items()} == counts
    assert run("vocoder preprocess lj index --seed 3")[0] == 0  # an index may be replaced


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("preprocess nowhere index", "nowhere: no such folder"),
        ("preprocess empty index", "no audio files"),
        ("preprocess few index", "1 usable recordings of 1, too few to divide"),
        ("preprocess lj lj", "lj: exists and is no index"),
        ("preprocess lj index --min-duration 60", "0 usable recordings .* shorter than 60 s"),
        ("preprocess lj index --sample-rate 0", "at least 1 Hz"),
        ("train nowhere", "nowhere: no such folder"),
        ("train damaged", "manifest.json: damaged"),
    ],
)
def test_bad_folders(run, tmp_path, line, message):
    _ljspeech(tmp_path / "lj", count=3)
    for name in ("empty", "few", "damaged"):
        (tmp_path / name).mkdir()
    soundfile.write(tmp_path / "few" / "a.wav", _tone(1.5), RATE)
    (tmp_path / "damaged" / "manifest.json").write_text("{")
    status, _, err = run(f"vocoder {line}")
    assert status == 1
    assert re.search(message, err), err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "index").exists()


def test_what_spectrogram_writes_synthesize_reads(run, tmp_path, model):
    """CNNVocoder's own two steps disagreed about the name of the array."""
    clip = _tone(1.5)
    soundfile.write(tmp_path / "a.wav", clip, RATE, "FLOAT")
    status, out, err = run(f"vocoder spectrogram -i a.wav -o a.npz {GEOMETRY}")
    assert status == 0, err
    assert "751 frames x 65 bins, linear magnitudes, 1.50 s" in out
    status, _, err = run("vocoder synthesize --model_path model --spec_path a.npz --out_path b.wav")
    assert status == 0, err
    found, rate = soundfile.read(tmp_path / "b.wav", dtype="float32")
    assert (len(found), rate) == (len(clip), RATE)
    vocoder = load_vocoder(model)
    np.testing.assert_allclose(
        found, vocoder.synthesize(vocoder.spectrogram(clip), length=len(clip)), atol=1e-5
    )
    assert run("vocoder synthesize --model model --spec a.npz --out c.wav --chunk 150")[0] == 0
    parts, _ = soundfile.read(tmp_path / "c.wav", dtype="float32")
    np.testing.assert_allclose(parts, found, atol=1e-5)


def test_online_is_what_a_stream_makes(run, tmp_path):
    network = PhaseGradientVocoder(num_bins=65, n_fft=128, hop_length=16, widths=(4,))
    module = Vocoder(network, FEATURES)
    variables = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 64)))
    vocoder = load_vocoder(export_trained(TrainedVocoder(module, variables), tmp_path / "steps"))
    soundfile.write(tmp_path / "a.wav", _tone(0.2), RATE, "FLOAT")
    assert run("vocoder spectrogram -i a.wav -o a.npz --model steps")[0] == 0
    status, _, err = run("vocoder synthesize --model steps --spec a.npz --out b.wav --online")
    assert status == 0, err
    found, _ = soundfile.read(tmp_path / "b.wav", dtype="float32")
    stream = isincnet_jax.stream_vocoder(vocoder)
    magnitude = np.asarray(vocoder.spectrogram(_tone(0.2)))
    wanted = stream.finish(stream.init(), magnitude, length=len(found))
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.quick(0)
def test_polishing_brings_the_magnitudes_nearer(run, tmp_path, model):
    vocoder, clip = load_vocoder(model), _tone(1.0)
    soundfile.write(tmp_path / "a.wav", clip, RATE, "FLOAT")
    assert run("vocoder spectrogram -i a.wav -o a.npz --model model")[0] == 0
    line = "vocoder synthesize --model model --spec a.npz --chunk 200"
    wanted, distances = vocoder.spectrogram(clip), []
    for count in (0, 4):
        status, _, err = run(f"{line} --out b{count}.wav --polish {count}")
        assert status == 0, err
        found, _ = soundfile.read(tmp_path / f"b{count}.wav", dtype="float32")
        distances.append(np.linalg.norm(vocoder.spectrogram(found) - wanted))
    assert distances[1] < 0.7 * distances[0]
    np.testing.assert_allclose(
        found, vocoder.synthesize(wanted, length=RATE, polish=4), atol=1e-4 * np.max(np.abs(found))
    )
    for way in ("heap", "online"):
        status, _, err = run(f"{line} --out c.wav --{way}")
        assert status == 1
        assert f"--{way}: ConvNeXtVocoder predicts no steps of phase" in err
    status, _, err = run(f"{line} --out c.wav --polish -1")
    assert status == 1
    assert "error: --polish -1 must be 0 or more" in err


def test_levels_are_kept(run, tmp_path, model):
    """CNNVocoder's synthesis scaled everything to one peak."""
    levels = []
    for name, level in (("loud", 0.8), ("soft", 0.008)):
        soundfile.write(tmp_path / f"{name}.wav", _tone(1.0, level=level), RATE, "FLOAT")
        assert run(f"vocoder spectrogram -i {name}.wav -o {name}.npz --model model")[0] == 0
        assert run(f"vocoder synthesize --model model --spec {name}.npz --out {name}2.wav")[0] == 0
        levels.append(np.std(soundfile.read(tmp_path / f"{name}2.wav")[0]))
    assert levels[0] / levels[1] == pytest.approx(100, rel=0.05)


def test_spectrograms_of_several_channels_and_other_rates(run, tmp_path):
    stereo = np.stack([_tone(1.0), np.zeros(RATE, np.float32)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 2 * RATE)
    status, out, _ = run(
        "vocoder spectrogram -i a.wav -o a.npz --kind mel_htk --n-mels 9 " + GEOMETRY
    )
    assert status == 0
    assert "resampled from 16000 Hz to 8000 Hz" in out
    assert "2 channels averaged to one" in out
    with np.load(tmp_path / "a.npz") as archive:
        facts = {name: archive[name].item() for name in archive.files if name != "spectrogram"}
        assert archive["spectrogram"].shape == (251, 9)
    assert facts["kind"] == "mel_htk"
    assert facts["scale"] == "linear"
    assert (facts["n_fft"], facts["win_length"], facts["hop_length"]) == (128, 64, 16)


def _damage(name, change):
    with np.load(name) as archive:
        arrays = dict(archive)
    arrays = {**arrays, **change(arrays)}
    np.savez(name, **{key: value for key, value in arrays.items() if value is not None})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"hop_length": 32}, r"hop_length=32 \(model takes 16\); make it by isincnet"),
        (lambda a: {"sample_rate": 22050}, r"sample_rate=22050 \(model takes 8000\)"),
        (lambda a: {"kind": "mel_slaney"}, "field 'fmax' is missing"),
        (lambda a: {"spectrogram": a["spectrogram"] * np.nan}, "a.npz: .* NaN or infinite"),
        (lambda a: {"spectrogram": a["spectrogram"][:0]}, "a.npz: .* is empty"),
        (lambda a: {"spectrogram": a["spectrogram"][:, 1:]}, "a.npz: .* its bins must be 65"),
        (lambda a: {"spectrogram": 20 * np.log10(a["spectrogram"] + 1e-5)}, "looks like decibels"),
        (lambda a: {"spectrogram": a["spectrogram"] * 1j}, "take its magnitude"),
        (lambda a: {"scale": "dB"}, "scale='dB': vocoders take linear magnitudes"),
        (lambda a: {"length": 10**6}, "length=1000000: 126 frames"),
        (lambda a: {"spectrogram": None, "spec": a["spectrogram"]}, "has no array 'spectrogram'"),
    ],
)
def test_bad_spectrograms(run, tmp_path, model, change, message):
    soundfile.write(tmp_path / "a.wav", _tone(0.25), RATE)
    assert run(f"vocoder spectrogram -i a.wav -o a.npz {GEOMETRY}")[0] == 0
    _damage("a.npz", change)
    status, _, err = run("vocoder synthesize --model model --spec a.npz --out b.wav")
    assert status == 1
    assert re.search(message, err), err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "b.wav").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("synthesize --model gone --spec a.npz --out b.wav", "'gone'"),
        ("synthesize --model 16khz-linear --spec a.npz --out b.wav", "a SincNet, no vocoder"),
        ("synthesize --model model --spec gone.npz --out b.wav", "gone.npz: no such file"),
        ("synthesize --model model --spec a.wav --out b.wav", "a.wav: is no .npz archive"),
        ("synthesize --model model --spec a.npz --out b.xyz", "unknown extension"),
        ("spectrogram -i gone.wav -o b.npz", "gone.wav: no such file"),
        ("spectrogram -i a.wav -o b.npy", "spectrograms end in .npz; use b.npz"),
        ("spectrogram -i a.wav -o b.npz --kind cqt", "--kind 'cqt' is unknown"),
        ("spectrogram -i a.wav -o b.npz --n-mels 40", "--n-mels 40 has no effect"),
        ("spectrogram -i a.wav -o b.npz --model model --hop 8", "leave out hop-length"),
    ],
)
def test_bad_arguments(run, tmp_path, model, line, message):
    soundfile.write(tmp_path / "a.wav", _tone(0.25), RATE)
    assert run(f"vocoder spectrogram -i a.wav -o a.npz {GEOMETRY}")[0] == 0
    status, _, err = run(f"vocoder {line}")
    assert status == 1
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.glob("b.*"))


SMALL = "--config.data.crop_s=0.256 --config.optimizer.warmup_steps=0"


def _isincnet(folder, line, status=0):
    """A command in a process of its own, on one device."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=1"  # the last counts
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    site = folder / "site"
    environment["PYTHONPATH"] = str(
        site if site.is_dir() else Path(isincnet_jax.__file__).parents[1]
    )
    command = [sys.executable, "-m", "isincnet_jax.cli", *shlex.split(line)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == status, done.stderr
    return done


@pytest.mark.quick(0)
def test_fine_tuning_begins_with_a_model_and_is_scored_beside_it(tmp_path, model):
    folder = _ljspeech(tmp_path / "lj")
    for name in ("LJ002-0001", "LJ002-0002", "LJ002-0003"):
        (folder / "wavs" / f"{name}.wav").unlink()
    line = f"vocoder train lj --model model --steps 4 --batch-size 4 {SMALL}"
    done = _isincnet(tmp_path, f"{line} --config.evaluation.duration_s=1")
    assert "started from the weights of model" in done.stderr
    result = json.loads((tmp_path / "runs/fine-tuned-model/result.json").read_text())
    assert result["config"]["train"]["evaluate_every"] == 200
    tuned, before = load_vocoder(tmp_path / "runs/fine-tuned-model/export"), load_vocoder(model)
    assert tuned.features == before.features == FEATURES
    kernels = [jax.tree.leaves(one.variables["params"]) for one in (before, tuned)]
    moved = [float(jnp.max(jnp.abs(one - other))) for one, other in zip(*kernels, strict=True)]
    assert 0 < max(moved) < 1e-2  # four steps of Adam of 1e-3 at most
    found = result["splits"]["test"]
    assert f"test: 1 clips, multi-resolution STFT loss {found['multi_stft']:.3f}" in done.stdout
    assert f"test, model: multi-resolution STFT loss {found['init_from']['multi_stft']:.3f}" in (
        done.stdout
    )
    names = {"multi_stft", "convergence_db", "mcd_db", "consistency_db", "score"}
    assert names <= set(found["init_from"])
    # What is said of the model it started from is so.
    (name,) = corpora.build_corpora("folder", tmp_path / "lj", sample_rate=RATE, loudness_db=None)[
        "test"
    ].names
    clip, _ = soundfile.read(tmp_path / "lj" / f"{name}.wav", dtype="float32")
    clip = clip[:RATE]
    given = np.asarray(before.spectrogram(clip))
    again = np.asarray(before.spectrogram(before.synthesize(given, length=RATE)))
    error_db = 20 * np.log10(np.linalg.norm(again - given) / np.linalg.norm(given))
    assert found["init_from"]["consistency_db"] == pytest.approx(error_db, abs=0.1)


def test_what_cannot_be_fine_tuned_is_said(run, tmp_path, model):
    _ljspeech(tmp_path / "lj", count=3)
    for line, message in (
        ("--model model --kind cnn", "--model model says what is trained: leave out --kind"),
        (
            "--model 16khz-linear",
            "16khz-linear: a preset without weights; trained models are 22khz",
        ),
        ("--model gone", "no preset 'gone'"),
    ):
        status, _, err = run(f"vocoder train lj {line}")
        assert status == 1
        assert message in err
        assert len(err.splitlines()) == 1
    network = ConvNeXtVocoder(
        **{"num_bins": 65, "width": 8, "num_blocks": 1, "n_fft": 128, "hop_length": 16},
        floor=1e-3,
    )
    module = Vocoder(network, FEATURES)
    variables = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 64)))
    export_trained(TrainedVocoder(module, variables), tmp_path / "odd.zip")
    status, _, err = run("vocoder train lj --model odd.zip")
    assert status == 1
    assert "odd.zip: its network has" in err
    assert "which no field of configs/vocoder.py says" in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.quick(0)
def test_from_a_folder_to_sound(tmp_path):
    """All four commands as processes, in order, from a folder like an installed wheel's."""
    _ljspeech(tmp_path / "lj")
    package, unused = Path(isincnet_jax.__file__).parent, shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, tmp_path / "site" / "isincnet_jax", ignore=unused)
    configs = tmp_path / "site" / "isincnet_jax" / "tasks" / "configs"
    shutil.copytree(package.parent / "experiments" / "configs", configs, ignore=unused)
    small = {
        "data.crop_s": 0.256,
        "model.n_fft": 128,
        "model.win_length": 64,
        "model.hop_length": 16,
        "model.convnext.width": 8,
        "model.convnext.num_blocks": 1,
        "model.convnext.n_fft": 128,
        "optimizer.warmup_steps": 0,
    }
    fields = " ".join(f"--config.{name}={value}" for name, value in small.items())
    isincnet = functools.partial(_isincnet, tmp_path)

    isincnet("vocoder preprocess lj index --sample-rate 8000")
    done = isincnet(
        f"vocoder train index --kind convnext_phase --workdir run --steps 4 --batch-size 4 {fields}"
    )
    assert "the compiled step takes" in done.stderr
    assert "multi-resolution STFT loss" in done.stdout
    isincnet("vocoder spectrogram -i lj/wavs/LJ001-0001.wav -o a.npz --model run/export")
    isincnet("vocoder synthesize --model run/export --spec a.npz --out a.wav --polish 2")
    found, rate = soundfile.read(tmp_path / "a.wav")
    assert (len(found), rate) == (8800, RATE)
    assert np.std(found) > 0.01
    failed = isincnet("vocoder train index --kind wavenet", status=1)
    assert "vocoder:wavenet is unknown" in failed.stderr
    assert str(configs) in failed.stderr
