"""Trained models that come with the package, by name."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

import isincnet_jax as isn
from isincnet_jax.pretrained import hub, registry, stored
from isincnet_jax.pretrained.members import ModelFileError
from isincnet_jax.pretrained.trained import (
    export_trained,
    is_exported,
    load_vocoder,
    starting_parameters,
    vocoder_module,
)
from isincnet_jax.training.trees import CheckpointError
from isincnet_jax.vocoders import losses as vocoder_losses
from isincnet_jax.vocoders.features import VocoderFeatures
from isincnet_jax.vocoders.networks.phase_gradient import PhaseGradientVocoder
from isincnet_jax.vocoders.vocoder import TrainedVocoder, Vocoder

LARGEST = 8_000_000


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A registry with one small vocoder, and one whose file is missing."""
    features = VocoderFeatures("linear", 8000, n_fft=128, win_length=64, hop_length=16)
    network = PhaseGradientVocoder(num_bins=65, n_fft=128, hop_length=16, widths=(8,))
    module = Vocoder(network, features)
    variables = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 64)))
    (tmp_path / "models").mkdir()
    trained = TrainedVocoder(module, variables)
    export_trained(trained, tmp_path / "models" / "small.zip", card={"note": "made by hand"})
    models = {
        name: {"kind": "stored", "summary": "a test", "file": f"models/{name}.zip"}
        for name in ("small", "gone")
    }
    (tmp_path / "registry.json").write_text(json.dumps({"format": 1, "models": models}))
    for name, entry in registry.read_registry(tmp_path / "registry.json").items():
        monkeypatch.setitem(hub.REGISTRY, name, entry)
    return trained


def test_a_model_of_the_package_is_loaded_by_name(shipped, rng):
    loaded = isn.from_pretrained("small")
    assert isinstance(loaded, TrainedVocoder)
    assert loaded.name == "small"
    assert loaded.model.clone(precision=None) == shipped.model.clone(precision=None)
    clip = rng.uniform(-0.5, 0.5, 400).astype(np.float32)
    magnitude = load_vocoder("small").spectrogram(clip)
    found, wanted = (one.synthesize(magnitude, length=400) for one in (loaded, shipped))
    assert found.shape == (400,)
    np.testing.assert_allclose(found, wanted, atol=0.02)  # float16 on disk


def test_training_may_start_from_a_name_or_an_archive(shipped, tmp_path, monkeypatch):
    path = hub.REGISTRY["small"].path
    assert hub.stored_path("small") == hub.stored_path(path) == path
    assert vocoder_module("small") == vocoder_module(path)
    assert vocoder_module("small").features == shipped.features
    wanted = shipped.variables["params"]
    for source in ("small", str(path)):
        assert is_exported(source)
        found = starting_parameters(source, wanted)
        jax.tree.map(
            lambda one, other: np.testing.assert_allclose(one, other, atol=1e-3), found, wanted
        )
    with pytest.raises(CheckpointError, match="small: the parameters do not fit"):
        starting_parameters("small", {**wanted, "more": np.zeros(3)})
    assert is_exported("https://example.org/model.zip#sha256=00")
    for source in (str(tmp_path), str(tmp_path / "models"), "smal", str(tmp_path / "none.zip")):
        assert not is_exported(source)
    monkeypatch.chdir(path.parent)
    assert is_exported("small.zip")


def test_what_has_no_vocoder_is_said(shipped):
    with pytest.raises(ValueError, match="16khz-mel: a preset without weights; trained models are"):
        vocoder_module("16khz-mel")
    with pytest.raises(
        ValueError, match="16khz-inversynth: a stored 'inversynth', no vocoder; use"
    ):
        vocoder_module("16khz-inversynth")
    with pytest.raises(FileNotFoundError, match=r"gone: .* is missing"):
        vocoder_module("gone")


def test_a_missing_file_is_named(shipped, run):
    with pytest.raises(FileNotFoundError, match=r"gone: .*gone\.zip is missing, .* install"):
        isn.from_pretrained("gone")
    status, _, err = run("vocoder spectrogram -i a.wav -o a.npz --model gone")
    assert status == 1
    assert "gone.zip is missing, which comes with the package" in err
    assert len(err.splitlines()) == 1


def test_a_damaged_file_is_named(shipped):
    path = hub.REGISTRY["small"].path
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match=r"small\.zip"):
        isn.from_pretrained("small")


def test_other_arguments_and_names(shipped):
    with pytest.raises(ValueError, match="belongs to an address; 'small' is none"):
        isn.from_pretrained("small", sha256="a" * 64)
    with pytest.raises(ValueError, match="did you mean 'small'"):
        isn.from_pretrained("smal")


def test_names_are_listed_with_what_they_are_for(run):
    status, out, _ = run("describe")
    assert status == 0
    for name, entry in registry.STORED.items():
        assert f"{name} " in out
        assert entry.summary in out


def test_a_model_of_the_package_is_described(shipped, run):
    status, out, err = run("describe small")
    assert status == 0, err
    found = dict(line.split(maxsplit=1) for line in out.splitlines())
    count = sum(leaf.size for leaf in jax.tree.leaves(shipped.variables["params"]))
    assert (found["model"], found["summary"], found["kind"]) == ("small", "a test", "vocoder")
    assert found["parameters"] == f"{count:,}"
    assert found["network"].startswith("kind=phase_gradient, num_bins=65")
    assert "sample_rate=8000" in found["features"]
    assert found["note"] == "made by hand"
    assert "is missing" in run("describe gone")[2]


@pytest.mark.parametrize("name", registry.STORED)
def test_models_of_the_package_are_small_and_intact(name):
    path = registry.STORED[name].path
    assert path.stat().st_size < LARGEST
    found = stored.read_model(path)
    module = found.build_module()
    stored.check_template(found.values, found.kind.template(module))
    assert found.card, "says nothing of its training"
    assert "/" not in str(found.card.get("duration", "")), "names a place"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "multi_stft", "convergence_db"),
    [("22khz-speech-vocoder", 0.36, -24.0), ("22khz-speech-vocoder-mel", 1.1, -10.0)],
)
def test_speech_that_was_held_out_is_as_good_as_said(shared, name, multi_stft, convergence_db):
    clip, rate = soundfile.read(
        shared / "audio/ljspeech_mini/wavs/wavs__LJ050-0212.wav", dtype="float32"
    )
    vocoder = isn.from_pretrained(name)
    assert vocoder.sample_rate == rate
    spectrogram = vocoder.spectrogram(clip)

    def scores(found):
        lengths = jnp.asarray([len(clip)])
        parts = vocoder_losses.score_clips(
            prediction=jnp.asarray(found)[None], target=jnp.asarray(clip)[None], lengths=lengths
        )
        return [float(part[0]) for part in parts]

    found = scores(vocoder.synthesize(spectrogram, length=len(clip)))
    assert found[0] < multi_stft
    assert found[1] < convergence_db
    if vocoder.features.kind == "linear":
        heap = scores(vocoder.synthesize(spectrogram, length=len(clip), heap=True))
        assert heap[0] < found[0] - 0.04
        assert heap[1] < found[1] - 2
        polished = scores(vocoder.synthesize(spectrogram, length=len(clip), polish=5))
        assert polished[0] < 0.32
        assert polished[1] < found[1] - 2
