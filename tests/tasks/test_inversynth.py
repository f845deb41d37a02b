"""Estimators of synthesizer settings from the command line: configs, errors, runs, resuming."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import resilience

import isincnet_jax as isn
from isincnet_jax.inversynth import matching, scores
from isincnet_jax.inversynth.corpus import SynthSettings
from isincnet_jax.inversynth.generation import generate
from isincnet_jax.inversynth.networks import NETWORKS, TrainedInverSynth
from isincnet_jax.inversynth.synth.parameters import NAMES
from isincnet_jax.pretrained.trained import load_inversynth
from isincnet_jax.tasks.inversynth_scores import Outcome
from isincnet_jax.training.checkpoints import Checkpoints

CONFIG = resilience.common.ROOT / "experiments" / "configs" / "inversynth.py"
TINY = {
    "data.batch_size": 8,
    "optimizer.warmup_steps": 2,
    "train.num_steps": 8,
    "train.log_every": 1,
    "train.evaluate_every": 4,
    "train.save_every": 4,
    "evaluation.validation_clips": 12,
    "evaluation.test_clips": 20,
    "evaluation.batch_size": 8,
}


def _arguments(folder, *options, network="C1"):
    given = [f"--config.{name}={value}" for name, value in TINY.items()]
    return [f"--config={CONFIG}:{network}", *given, f"--config.workdir={folder}", *options]


def _config(folder, *options, **more):
    from isincnet_jax.tasks import command

    return command.read_config(_arguments(folder, *options, **more))


@pytest.fixture
def run(script):
    """Runs the command in a process of its own."""

    def call(folder, *options, num_devices=1, **more):
        arguments = _arguments(folder, *options, **more)
        return script("train_inversynth.py", arguments, num_devices=num_devices)

    return call


@pytest.fixture
def main(in_process, tmp_path):
    """Runs the command in this process; the message it ends with, before anything is written."""

    def call(*options, **more):
        message = in_process("train_inversynth", _arguments(tmp_path / "run", *options, **more))
        assert not (tmp_path / "run" / "log.jsonl").exists()
        return str(message)

    return call


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("model.network=C7", r"network='C7' is unknown; use C1, .*mixer"),
        ("model.learnable_filters=True", r"there is no bank"),
        ("model.bank=True model.bank_scale=bagpipe", r"bagpipe"),
        ("data.source=web", r"data\.source='web' is unknown; use stream or disk"),
        ("data.source=disk data=/nowhere", r"/nowhere/InverSynth_data\.hdf5: no such file"),
        ("data.batch_size=9", r"batch_size=9 does not divide by 8 devices"),
        ("evaluation.test_clips=0", r"evaluation\.test_clips=0 must be at least 1"),
        ("evaluation.batch_size=0", r"evaluation\.batch_size=0 must be at least 1"),
        ("data.clips_per_epoch=0", r"data\.clips_per_epoch=0 must be at least 1"),
        ("loss.kind=mse", r"loss='mse' is unknown"),
        ("loss.smoothing=1.0", r"smoothing=1\.0"),
        ("optimizer.accumulate=2", r"optimizer\.accumulate=2: .* use 1"),
        ("train.num_steps=0 train.epochs=0", r"train\.epochs=0 must be positive"),
        ("model.netwrok=C1", r"did you mean --config\.model\.network\?"),
    ],
)
def test_one_clear_message(main, options, message):
    text = main(*(f"--config.{option}" for option in options.split()))
    assert re.search(message, text), text
    assert len(text.splitlines()) < 3


def test_unknown_networks_are_named(main):
    assert "inversynth:C7 is unknown; use C1, C2, C3" in main(network="C7")


def test_the_config_knows_every_network():
    from isincnet_jax.tasks import inversynth as train_inversynth

    for name in NETWORKS:
        config = _config("run", network=name)
        assert train_inversynth.build_module(config).network == name


def test_epochs_names_and_folders_are_resolved(tmp_path):
    """The options of the seed: epochs of the data there are, output directory / run name."""
    from isincnet_jax.tasks import inversynth as train_inversynth
    from isincnet_jax.tasks import inversynth_data

    options = ("train.num_steps=0", "train.epochs=3", "data.clips_per_epoch=80", "workdir=")
    config = _config(tmp_path, *(f"--config.{option}" for option in options))
    config.output_dir, config.run_name = str(tmp_path), "first"
    data = inversynth_data.build_data(config)
    found = train_inversynth.resolved(config, data)
    assert found.train.num_steps == 30
    assert found.workdir == str(tmp_path / "first")
    assert config.train.num_steps == 0  # what was given stays


def test_a_run_is_not_gone_on_with_unless_asked(main, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    assert "a run is there; go on with resume=True" in main("--config.resume=False")


def test_help_is_one_screen(help_of):
    text = help_of("train_inversynth")
    assert "--config.data=DIR" in text
    assert len(text.splitlines()) < 25


def test_held_out_sounds_are_the_same_every_time_and_no_others(tmp_path):
    from isincnet_jax.tasks import inversynth_data

    data = inversynth_data.build_data(_config(tmp_path))
    found = {
        split: [levels for _, levels in data.held_out(split, 20, 8)]
        for split in ("validation", "test")
    }
    assert [len(levels) for levels in found["test"]] == [8, 8, 4]
    again = [levels for _, levels in data.held_out("test", 20, 8)]
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate(found["test"]))
    rows = {row.tobytes() for part in found.values() for row in np.concatenate(part)}
    assert len(rows) == 40


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A generated data set: the options that name it."""
    folder = tmp_path_factory.mktemp("corpus")
    generate(SynthSettings("few", 40), directory=folder, waves=folder / "waves")
    return (
        "--config.data.source=disk",
        f"--config.data={folder}",
        f"--config.data.waves={folder / 'waves'}",
        "--config.data.name=few",
    )


@pytest.mark.tail
def test_sounds_on_disk_are_split_by_index(corpus, tmp_path):
    """Every epoch has every training sound once; resuming goes on in its order."""
    from isincnet_jax.tasks import command, inversynth_data

    arguments = _arguments(tmp_path, *corpus)
    config = command.read_config(arguments, aliases={"data": "data.path"})
    data = inversynth_data.build_data(config)
    assert data.draw is None
    assert data.clips_per_epoch == 32
    batches = data.batches(0)
    epochs = [[next(batches) for _ in range(4)] for _ in range(2)]
    batches.close()
    rows = [
        {row.tobytes() for _, levels in epoch for row in np.asarray(levels).reshape(-1, 23)}
        for epoch in epochs
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 32
    held = {
        row.tobytes()
        for split in ("validation", "test")
        for _, levels in data.held_out(split, 100, 8)
        for row in levels
    }
    assert len(held) == 8
    assert not held & rows[0]
    later = data.batches(5)
    waveform, levels = next(later)
    later.close()
    np.testing.assert_array_equal(waveform, epochs[1][1][0])
    np.testing.assert_array_equal(levels, epochs[1][1][1])
    assert waveform.shape == (8, 1, 16_384)


def test_shares_that_leave_a_split_empty_are_refused():
    from isincnet_jax.tasks import inversynth_data

    with pytest.raises(ValueError, match=r"held_out=0\.1 of 3 sounds leaves a split empty"):
        inversynth_data.split_indices(3, 0.1)


def _states(folder):
    with Checkpoints(folder, read_only=True) as checkpoints:
        return {step: checkpoints.read_arrays(step)[0] for step in checkpoints.steps}


@pytest.mark.quick(0)
def test_a_run_goes_on_bit_for_bit_exports_and_scores(run, tmp_path):
    done = run(tmp_path / "whole")
    assert "random patches: correlation of STFT" in done.stdout
    result = json.loads((tmp_path / "whole" / "result.json").read_text())
    assert result["best_step"] in (4, 8)
    names = [row["name"] for row in result["test"]["parameters"]]
    assert len(names) == 24
    assert names[-1] == "all"
    assert result["test"]["sounds"]["num_clips"] == 20
    assert result["test"]["random"]["stft_mean"] < 100
    found = isn.from_pretrained(tmp_path / "whole" / "export")
    assert isinstance(found, TrainedInverSynth)

    shutil.copytree(tmp_path / "whole", tmp_path / "half")
    shutil.rmtree(tmp_path / "half" / "checkpoints" / "8")
    assert "resumed from step 4" in run(tmp_path / "half").stderr
    whole, half = _states(tmp_path / "whole")[8], _states(tmp_path / "half")[8]
    assert whole.keys() == half.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(values, half[name], err_msg=name)

    started = run(tmp_path / "next", f"--config.init_from={tmp_path / 'whole' / 'export'}")
    assert "started from the weights of" in started.stderr


@pytest.mark.quick(0)
def test_a_run_from_disk_on_eight_devices(run, tmp_path, corpus):
    run(tmp_path / "disk", *corpus, "--config.loss.kind=sigmoid", num_devices=8)
    log = [json.loads(line) for line in (tmp_path / "disk" / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in log if row["kind"] == "train"]
    assert len(losses) == 8
    assert losses[-1] < losses[0]
    assert jax.tree.leaves(_states(tmp_path / "disk")[8])


@pytest.fixture
def evaluate(monkeypatch, capsys, tmp_path):
    """Evaluates guesses, interrupted when so many sounds are rendered: status, error, results."""
    from isincnet_jax.tasks import inversynth_evaluation as evaluation

    rng = np.random.default_rng(0)
    noise = rng.standard_normal((50, 16_384)).astype(np.float32)
    score = scores.score_sounds(noise[:3], noise[3:6])
    folder = tmp_path / "out"

    def guess(clips):
        return rng.random((len(clips), 23, 16))

    def outcome(variables, batches):
        levels = np.concatenate([levels for _, levels in batches])
        ranks = scores.rank_levels(guess(levels), levels)
        return Outcome(scores.score_parameters(ranks, NAMES), score, score, num_clips=len(levels))

    def refine(values, target, **options):
        return matching.Refined(values, np.full(len(values), 0.5), np.ones(len(values)))

    trained = SimpleNamespace(model=None, variables=None, scores=guess)
    monkeypatch.setattr(evaluation, "load_inversynth", lambda model: trained)
    monkeypatch.setattr(evaluation, "Evaluator", lambda model: SimpleNamespace(outcome=outcome))
    monkeypatch.setattr(matching, "refine", refine)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(line="", *, at=None, times=1, **stubs):
        rendered = 0

        def render(values):
            nonlocal rendered
            rendered += len(values)
            for _ in range(times if rendered == at else 0):
                signal.raise_signal(signal.SIGINT)
            return noise[: len(values)]

        for name, value in {"_render": render, **stubs}.items():
            monkeypatch.setattr(evaluation, name, value)
        arguments = ["evaluate_inversynth.py", "some", "--out", str(folder), *line.split()]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as end:
            evaluation.main()
        path = folder / "result.json"
        result = json.loads(path.read_text()) if path.exists() else None
        return end.value.code, capsys.readouterr().err.replace(str(tmp_path), ""), result

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_an_evaluation_writes_its_page(evaluate, tmp_path):
    status, err, result = evaluate("--clips 110 --refined-clips 20 --listen 1")
    assert (status, err) == (0, "")
    assert result["num_clips"] == 110
    assert result["refinement"]["num_clips"] == 20
    assert "Sound 1" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize(
    ("options", "kept", "refined"),
    [
        # 50 sounds of each batch are rendered, then 50, 10 estimates, 10 refined and so on.
        ({"at": 100}, "/out/index.html has the scores of 100 sounds", None),
        ({"at": 150 + 70}, "/out/index.html has the scores of 150 sounds, 10 refined", 10),
        ({"at": 150 + 80, "times": 2}, "/out/index.html has the scores of 150 sounds", None),
    ],
)
def test_an_evaluation_that_is_stopped_keeps_what_it_has(evaluate, options, kept, refined):
    status, err, result = evaluate("--clips 150 --refined-clips 30", **options)
    assert (status, err) == (130, f"stopped as asked: {kept}\n")
    assert f"scores of {result['num_clips']} sounds" in kept
    assert result.get("refinement", {}).get("num_clips") == refined


def test_an_evaluation_that_is_stopped_before_says_so(evaluate):
    def load(name):
        signal.raise_signal(signal.SIGINT)
        return SimpleNamespace(model=None, variables=None)

    stopped = evaluate(load_inversynth=load)
    assert stopped == (130, "stopped as asked: nothing was written\n", None)


def test_an_evaluation_of_no_model_is_one_line(evaluate, tmp_path):
    status, _, result = evaluate(load_inversynth=lambda _: load_inversynth(tmp_path / "gone"))
    assert re.fullmatch(r"error: no preset [^\n]+", status)
    assert result is None
