"""``isincnet synth match`` as a user types it; the network is one that knows nothing."""

from __future__ import annotations

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from isincnet_jax.inversynth.networks import InverSynth, TrainedInverSynth
from isincnet_jax.inversynth.synth.parameters import NAMES, validate, values_from_levels
from isincnet_jax.inversynth.synth.render import render
from isincnet_jax.pretrained import registry
from isincnet_jax.pretrained.trained import export_trained

RATE = 16_384
_render = jax.jit(render)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """C1, whose scores do not depend on what it hears: each parameter's middle level."""
    module = InverSynth("C1")
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, RATE), jnp.float32))
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    bias = np.zeros((23, 16), np.float32)
    bias[:, 7] = 1.0
    variables["params"]["scores"]["bias"] = bias.ravel()
    folder = tmp_path_factory.mktemp("model") / "export"
    return export_trained(TrainedInverSynth(module, variables), folder)


@pytest.fixture(scope="module")
def middle():
    """The sound of all middle levels."""
    return np.asarray(_render(values_from_levels(np.full(23, 7, np.int32))))


def _written(path):
    """The values of a file of parameters, which are in their ranges."""
    content = json.loads(path.read_text())
    assert list(content) == [*NAMES, "match"]
    return validate(np.array([content[name] for name in NAMES]))


def _call(run, model, more=""):
    return run(
        f"synth match in.wav out.wav --params out.json --model {model} {more or '--draws 0'}"
    )


@pytest.mark.quick(0)
def test_match_writes_the_sound_and_its_parameters(run, tmp_path, model, middle):
    soundfile.write(tmp_path / "in.wav", 0.5 * middle, RATE, subtype="FLOAT")
    status, out, err = _call(run, model)
    assert (status, err) == (0, "")
    assert float(re.search(r"estimate +spectral distance ([\d.]+)", out)[1]) > 0.1
    assert "resampled" not in out
    assert "padded" not in out
    assert "refined" not in out
    samples, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(samples, middle, atol=1e-4)
    values = _written(tmp_path / "out.json")
    np.testing.assert_allclose(values, values_from_levels(np.full(23, 7, np.int32)), rtol=1e-6)


@pytest.mark.quick(0)
def test_refinement_comes_nearer(run, tmp_path, model, middle):
    soundfile.write(tmp_path / "in.wav", 0.5 * middle, RATE, subtype="FLOAT")
    status, out, _ = _call(run, model, "--draws 0 --refine 6")
    assert status == 0
    before, after = (float(text) for text in re.findall(r"spectral distance ([\d.]+)", out))
    assert after < 0.85 * before
    assert "% less (6 steps" in out
    _written(tmp_path / "out.json")


@pytest.mark.quick(0)
def test_draws_are_heard_and_told(run, tmp_path, model, middle):
    soundfile.write(tmp_path / "in.wav", 0.5 * middle, RATE, subtype="FLOAT")
    status, out, _ = _call(run, model, "--draws 15 --solutions 2 --seed 3")
    assert status == 0
    estimate, drawn, other = (float(t) for t in re.findall(r"spectral distance ([\d.]+)", out))
    assert drawn <= estimate
    assert drawn <= other
    told = json.loads((tmp_path / "out.json").read_text())["match"]
    assert told["spectral_distance"] == pytest.approx(drawn, abs=1e-4)
    assert [one["spectral_distance"] for one in told["others"]] == pytest.approx([other], abs=1e-4)
    assert set(told["uncertainty"]) == set(NAMES)
    sound = soundfile.read(tmp_path / "out-2.wav", dtype="float32")[0]
    values = np.array([told["others"][0][name] for name in NAMES], np.float32)
    np.testing.assert_allclose(sound, _render(values), atol=1e-4)


@pytest.mark.quick(0)
def test_other_rates_channels_and_lengths_are_said(run, tmp_path, model):
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (12_000, 2))
    soundfile.write(tmp_path / "in.wav", noise, 8_000)
    status, out, _ = _call(run, model)
    assert status == 0
    assert "in.wav: resampled from 8000 Hz to 16384 Hz" in out
    assert "in.wav: 2 channels, their mean is used" in out
    assert "in.wav: 1.50 s, cropped to the first 1 s" in out
    soundfile.write(tmp_path / "in.wav", noise[:4_000, 0], RATE)
    status, out, _ = _call(run, model)
    assert status == 0
    assert "in.wav: 0.244 s, padded with silence to 1 s" in out
    assert soundfile.info(tmp_path / "out.wav").frames == RATE


def _fails(run, tmp_path, line, message):
    before = sorted(path.name for path in tmp_path.iterdir())
    status, _, err = run(line)
    assert status == 1
    assert re.fullmatch(r"isincnet: error: [^\n]+\n", err), err
    assert message in err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_silence_is_refused(run, tmp_path, model):
    line = f"synth match in.wav out.wav --params out.json --model {model}"
    soundfile.write(tmp_path / "in.wav", np.zeros(RATE), RATE)
    _fails(run, tmp_path, line, "it is silent")
    late = np.concatenate([np.zeros(RATE), 0.5 * np.ones(RATE)])
    soundfile.write(tmp_path / "in.wav", late, RATE)
    _fails(run, tmp_path, line, "its first second is silent")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("match in.wav out.wav --params o.json --refine -1", "--refine -1: use 0 or more"),
        ("match in.wav out.wav --params o.json --draws -1", "--draws -1: use 0 or more"),
        ("match in.wav in.wav --params o.json", "give three files"),
        ("match in.wav out.wav --params out.wav", "give three files"),
        ("match in.wav out.xyz --params o.json", "unknown extension"),
        ("match in.wav out.wav --params o.json --model nosuch", "no preset 'nosuch'"),
        ("match in.wav out.wav --params o.json --model 16khz-linear", "no InverSynth"),
    ],
)
def test_bad_options_are_one_line(run, tmp_path, line, message):
    soundfile.write(tmp_path / "in.wav", 0.1 * np.ones(100), RATE)
    _fails(run, tmp_path, f"synth {line}", message)


def test_a_folder_that_cannot_be_made_leaves_neither_file(run, tmp_path, model):
    soundfile.write(tmp_path / "in.wav", 0.1 * np.ones(100), RATE)
    for out, params in (("in.wav/out.wav", "o.json"), ("out.wav", "in.wav/o.json")):
        line = f"synth match in.wav {out} --params {params} --model {model}"
        _fails(run, tmp_path, line, "cannot be written")


def test_without_the_shipped_model_an_own_one_is_asked_for(run, tmp_path, monkeypatch):
    monkeypatch.delitem(registry.REGISTRY, "16khz-inversynth", raising=False)
    soundfile.write(tmp_path / "in.wav", 0.1 * np.ones(100), RATE)
    _fails(run, tmp_path, "synth match in.wav out.wav --params o.json", "give --model")
