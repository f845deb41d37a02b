"""Classifiers from the command line: errors, a whole run, its end after an interruption."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import resilience

from isincnet_jax.training.checkpoints import Checkpoints

CONFIGS = resilience.common.ROOT / "experiments" / "configs"
TINY = {
    "data.source": "generated",
    "data.sample_rate": 8000,
    "data.chunk_s": 0.25,
    "data.batch_size": 8,
    "data.mixup": 0.0,
    "model.num_filters": 8,
    "model.kernel_size": 65,
    "model.hop_length": 80,
    "model.widths": "(8,16)",
    "model.dropout": 0.0,
    "model.max_masked_frames": 0,
    "model.max_masked_bins": 0,
    "optimizer.warmup_steps": 2,
    "train.num_steps": 20,
    "train.log_every": 1,
    "train.evaluate_every": 10,
    "train.save_every": 10,
    "evaluation.hop_s": 0.5,
}


def _arguments(folder, *options, config="classifier_genre.py:mel"):
    given = [f"--config.{name}={value}" for name, value in TINY.items()]
    return [f"--config={CONFIGS / config}", *given, f"--config.workdir={folder}", *options]


@pytest.fixture
def run(script):
    """Runs the command in a process of its own."""

    def call(folder, *options, num_devices=1, **more):
        arguments = _arguments(folder, *options, **more)
        return script("train_classifier.py", arguments, num_devices=num_devices)

    return call


@pytest.fixture
def main(in_process, tmp_path):
    """Runs the command in this process; the message it ends with, before anything is written."""

    def call(*options, **more):
        message = in_process("train_classifier", _arguments(tmp_path / "run", *options, **more))
        assert not (tmp_path / "run" / "log.jsonl").exists()
        return str(message)

    return call


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("data.source=gtzan data=/nowhere", r"(?s)/nowhere.*genres\.tar\.gz.*source=generated"),
        ("data.source=speakers data=/nowhere", r"(?s)/nowhere.*LibriSpeech.*source=generated"),
        ("data.source=gtzn", r"source='gtzn' is unknown; use gtzan, speakers or generated"),
        ("data.batch_size=9", r"batch_size=9 does not divide by 8 devices"),
        ("model.kind=vgg", r"kind='vgg' is unknown; use mel, sincnet, leaf"),
        ("model.compression=db", r"compression='db' is unknown"),
        ("optimizer.kind=sgd", r"optimizer\.kind='sgd' is unknown; use adamw or rmsprop"),
        ("optimizer.kind=rmsprop", r"weight_decay=0\.0001: RMSprop has none"),
        ("optimizer.warmup_steps=20", r"warmup_steps=20 must be below total_steps=20"),
        ("data.batchsize=4", r"did you mean --config\.data\.batch_size\?"),
    ],
)
def test_one_clear_message(main, options, message):
    text = main(*(f"--config.{option}" for option in options.split()))
    assert re.search(message, text), text
    assert len(text.splitlines()) < 20


def test_unknown_kinds_are_named(main):
    assert "vgg is unknown; use mel, sincnet" in main(config="classifier_genre.py:vgg")


def test_help_is_one_screen(help_of):
    text = help_of("train_classifier")
    assert "--config.data=DIR" in text
    assert len(text.splitlines()) < 25


@pytest.mark.parametrize(
    "kind", ["mel", "sincnet", "leaf", "efficient_leaf", "sincnet_classifier", "ms_sincresnet"]
)
@pytest.mark.parametrize("config", ["classifier_genre.py", "classifier_speaker.py"])
def test_configs_make_optimizers(kind, config):
    from isincnet_jax.tasks import classifier_parts, command

    fields = command.read_config([f"--config={CONFIGS / config}:{kind}"])
    assert fields.model.kind == kind
    classifier_parts.build_optimizer(fields, ("frontend",))
    with pytest.raises(AttributeError):
        fields.model.new_field = 1


@pytest.mark.quick(0)
@pytest.mark.parametrize(
    ("config", "options"),
    [
        ("classifier_genre.py:sincnet", ()),
        ("classifier_genre.py:leaf", ()),
        ("classifier_genre.py:efficient_leaf", ()),
        ("classifier_genre.py:ms_sincresnet", ("--config.model.num_frames=32",)),
        ("classifier_speaker.py", ("--config.model.hidden=(8,)", "--config.train.num_steps=21")),
    ],
)
def test_every_kind_trains(run, tmp_path, config, options):
    if config == "classifier_speaker.py":
        options = (*options, "--config.optimizer.warmup_steps=0")
    done = run(tmp_path / "run", *options, config=config)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["filter_movement_hz"] > 0
    assert "centres of filters moved" in done.stdout
    losses = [r["loss"] for r in resilience.records(tmp_path / "run") if r["kind"] == "train"]
    assert np.all(np.isfinite(losses))


@pytest.mark.quick(0)
def test_a_run_learns_resumes_and_is_the_same_on_eight_devices(run, tmp_path):
    done = run(tmp_path / "one", "--config.train.num_steps=60")
    result = json.loads((tmp_path / "one" / "result.json").read_text())
    test = result["splits"]["test"]
    assert result["classes"] == ["chords", "plucks", "rhythm"]
    assert test["tracks"] == 3
    assert test["accuracy"] == np.trace(test["confusion"]) / 3
    assert test["interval"][0] < test["accuracy"] < test["interval"][1] or test["accuracy"] == 1
    assert re.search(rf"test +3 +{100 * test['accuracy']:.2f} %", done.stdout)
    records = resilience.records(tmp_path / "one")
    hits = [record["accuracy"] for record in records if record["kind"] == "train"]
    assert np.mean(hits[-10:]) > 0.6  # of 80 chunks; by chance 0.33, with a deviation of 0.05

    shutil.copytree(tmp_path / "one", tmp_path / "cut")
    last = tmp_path / "cut" / "checkpoints" / "60"
    before = _arrays(tmp_path / "cut")
    shutil.rmtree(last)
    text = run(tmp_path / "cut", "--config.train.num_steps=60").stderr
    assert "resumed from step 50" in text
    after = _arrays(tmp_path / "cut")
    assert any("batch_stats" in name for name in after)
    for name, array in before.items():
        np.testing.assert_array_equal(array, after[name], err_msg=name)

    run(tmp_path / "eight", num_devices=8)
    run(tmp_path / "again")
    losses = [
        [r["loss"] for r in resilience.records(tmp_path / name) if r["kind"] == "train"]
        for name in ("eight", "again")
    ]
    np.testing.assert_allclose(*losses, atol=1e-4)
    assert len(records) == 60 + 6


def _arrays(folder):
    with Checkpoints(folder, read_only=True, best_metric="accuracy") as run:
        return run.read_arrays(run.steps[-1])[0]
