"""Vocoders from the command line: kinds, errors, whole runs, resuming, several devices."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
import resilience
import scipy.signal

import isincnet_jax as isn
from isincnet_jax.training.checkpoints import Checkpoints

CONFIGS = resilience.common.ROOT / "experiments" / "configs"
TINY = {
    "data.source": "generated",
    "data.sample_rate": 8000,
    "data.crop_s": 0.128,
    "data.batch_size": 8,
    "model.n_fft": 128,
    "model.win_length": 64,
    "model.hop_length": 16,
    "model.n_mels": 10,
    "model.bank_bins": 17,
    "model.cnn.widths": "(8,8,4,4)",
    "model.cnn.image_widths": "(1,2)",
    "model.cnn.post_blocks": 1,
    "model.convnext.width": 8,
    "model.convnext.num_blocks": 1,
    "model.convnext.n_fft": 128,
    "model.istftnet.width": 8,
    "model.istftnet.strides": "(4,)",
    "model.istftnet.block_taps": "(3,)",
    "model.magnitude.width": 8,
    "model.magnitude.num_blocks": 1,
    "model.phase_gradient.widths": "(8,)",
    "model.phase_points": 64,
    "loss.log_mel": "None",  # 8 kHz has empty filters of 80 mels
    "adversary.periods": "(2,)",
    "adversary.period_widths": "(4,4)",
    "adversary.resolution_widths": "(4,4,4)",
    "optimizer.warmup_steps": 2,
    "train.num_steps": 20,
    "train.log_every": 1,
    "train.evaluate_every": 10,
    "train.save_every": 10,
    "evaluation.max_clips": 2,
    "evaluation.duration_s": 1.0,
}


def _arguments(folder, *options, kind="cnn"):
    given = [f"--config.{name}={value}" for name, value in TINY.items()]
    config = f"--config={CONFIGS / 'vocoder.py'}:{kind}"
    return [config, *given, f"--config.workdir={folder}", *options]


def _config(folder, *options, **more):
    from isincnet_jax.tasks import command

    return command.read_config(_arguments(folder, *options, **more))


@pytest.fixture
def run(script):
    """Runs the command in a process of its own."""

    def call(folder, *options, num_devices=1, **more):
        arguments = _arguments(folder, *options, **more)
        return script("train_vocoder.py", arguments, num_devices=num_devices)

    return call


@pytest.fixture
def main(in_process, tmp_path):
    """Runs the command in this process; the message it ends with, before anything is written."""

    def call(*options, **more):
        message = in_process("train_vocoder", _arguments(tmp_path / "run", *options, **more))
        assert not (tmp_path / "run" / "log.jsonl").exists()
        return str(message)

    return call


@pytest.mark.quick(5)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("data.source=folder data=/nowhere", r"/nowhere: no such folder"),
        ("data.batch_size=9", r"batch_size=9 does not divide by 8 devices"),
        ("model.kind=wavenet", r"kind='wavenet' is unknown; use cnn, convnext, istftnet"),
        ("model.input=cqt", r"kind='cqt' is unknown; use linear, mel_slaney"),
        ("model.hop_length=32", r"network\.hop=16: the features and the vocoder have 32"),
        ("loss.reference=0.0", r"no loss has a positive weight"),
        ("loss.reference=None loss.l1=-1.0", r"loss 'l1' has weight -1\.0"),
        ("optimizer.accumulate=2", r"optimizer\.accumulate=2: .* use 1"),
        ("model.kind=magnitude adversary.enabled=True", r"judge waveforms; magnitude"),
        ("model.kind=phase_gradient adversary.enabled=True", r"judge waveforms; phase_gradient"),
        ("evaluation.max_clips=0", r"evaluation\.max_clips=0"),
        ("adversary.enabled=True adversary.kind=wasserstein", r"kind='wasserstein' is unknown"),
        ("model.convnext.widht=4", r"did you mean --config\.model\.convnext\.width\?"),
    ],
)
def test_one_clear_message(main, options, message):
    text = main(*(f"--config.{option}" for option in options.split()))
    assert re.search(message, text), text
    assert len(text.splitlines()) < 3


def test_unknown_kinds_are_named(main):
    assert "wavenet is unknown; use cnn, cnn_mel, convnext" in main(kind="wavenet")


def test_help_is_one_screen(help_of):
    text = help_of("train_vocoder")
    assert "--config.data=DIR" in text
    assert len(text.splitlines()) < 25


def _full_size(kind):
    """The vocoder of a config as it stands, its shapes only."""
    from isincnet_jax.tasks import command, compose, vocoder_parts
    from isincnet_jax.vocoders.vocoder import Vocoder

    config = command.read_config([f"--config={CONFIGS / 'vocoder.py'}:{kind}"])
    parts = vocoder_parts.KINDS[config.model.kind](config)
    module = Vocoder(parts.network, parts.features, parts.input_scale)
    clip = jax.ShapeDtypeStruct((1, compose.crop_samples(config)), np.float32)
    found, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), clip)
    assert found.shape == clip.shape
    compose.build_optimizer(config, undivided="vocoders")
    with pytest.raises(AttributeError):
        config.model.new_field = 1
    return parts, sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.quick(4)
@pytest.mark.parametrize(
    ("kind", "shown", "millions"),
    [
        ("cnn", "linear", 8.41),
        ("cnn_mel", "mel_slaney", None),
        ("convnext", "linear", None),
        ("convnext_phase", "linear", None),
        ("convnext_mel", "mel_slaney", None),
        ("convnext_bank", "bank", None),
        ("istftnet", "linear", None),
        ("istftnet_mel", "mel_slaney", 13.3),
        ("magnitude_mel", "mel_slaney", 1.995),
        ("phase_gradient", "linear", 0.00866),
    ],
)
def test_every_config_makes_a_vocoder(kind, shown, millions):
    parts, count = _full_size(kind)
    assert parts.features.kind == shown
    if millions is not None:
        assert count == pytest.approx(millions * 1e6, rel=5e-3)
    elif kind.startswith("convnext"):
        assert 2 * count < 8e6 + 2e5  # float16 on disk


def test_magnitudes_are_learned_from_the_clips_own(tmp_path, rng):
    from isincnet_jax.tasks import vocoder_parts

    built = vocoder_parts.build_vocoder(_config(tmp_path, kind="magnitude_mel"))
    clip = np.asarray(rng.standard_normal((2, 1024)) * 0.1, np.float32)
    run = jax.jit(lambda clip: built.generate(built.variables, clip, jax.random.key(0))[0])
    score = jax.jit(lambda found, clip: built.loss(prediction=found, target=clip))
    estimate = run(clip)
    window = scipy.signal.get_window("hann", 64)
    frames = np.lib.stride_tricks.sliding_window_view(
        np.pad(clip, ((0, 0), (32, 32)), mode="reflect"), 64, axis=1
    )[:, ::16]
    magnitude = np.abs(np.fft.rfft(frames * window, 128)).astype(np.float32)
    total, terms = score(estimate, clip)
    assert list(terms) == ["magnitude"]
    logs = np.abs(np.log(np.maximum(estimate, 1e-5)) - np.log(np.maximum(magnitude, 1e-5)))
    errors = np.linalg.norm((estimate - magnitude).reshape(2, -1), axis=1)
    errors /= np.linalg.norm(magnitude.reshape(2, -1), axis=1)
    np.testing.assert_allclose(total, np.mean(logs.mean((1, 2)) + errors), rtol=1e-3)
    right, _ = score(magnitude, clip)
    assert float(right) < 1e-3


def test_phases_are_learned_from_the_clips_own(tmp_path, rng):
    from isincnet_jax.tasks import vocoder_parts

    built = vocoder_parts.build_vocoder(_config(tmp_path, kind="phase_gradient"))
    time = np.arange(1024) / 8000
    clips = [0.3 * np.sin(2 * np.pi * 900 * time), 0.1 * rng.standard_normal(1024)]
    clip = np.asarray(clips, np.float32)
    surprised = jax.jit(lambda clip: built.generate(built.variables, clip, jax.random.key(0))[0])(
        clip
    )
    # Likelier than uniform phases, untrained: they are those of the magnitudes' own clips.
    assert np.all(np.asarray(surprised) < -0.3)
    total, terms = jax.jit(lambda said: built.loss(prediction=said, target=clip))(surprised)
    np.testing.assert_allclose(total, np.mean(surprised), rtol=1e-5)
    assert list(terms) == ["surprise"]


@pytest.mark.quick(0)
def test_a_step_in_this_process_uses_all_devices(tmp_path):
    """Whole crops through features, network and loss, on eight devices, one program."""
    from isincnet_jax.tasks import compose, vocoder_parts
    from isincnet_jax.training import parallel

    options = [f"--config.loss.{name}=None" for name in ("multi_stft", "reference")]
    config = _config(tmp_path, *options, "--config.loss.log_stft=1.0", kind="convnext_phase")
    built, training = vocoder_parts.build_vocoder(config), vocoder_parts.build_training(config)
    step = vocoder_parts.build_step(config, built, training, None)
    data = compose.build_data(config)
    batches = data.batches(0)
    state = parallel.replicate(training.first_state(config, built))
    for _ in range(4):
        state, metrics = step(state, next(batches))
    batches.close()
    assert step.memory.total > 0
    values = parallel.first_copy(metrics)
    assert np.isfinite(values["loss"])
    assert values["skipped"] == 0
    copies = [np.asarray(leaf) for leaf in jax.tree.leaves(state.params)]
    assert all(np.array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape)) for leaf in copies)


@pytest.mark.quick(0)
@pytest.mark.parametrize(
    "kind",
    [
        "cnn_mel",
        "convnext",
        "convnext_mel",
        "convnext_bank",
        "istftnet",
        "istftnet_mel",
        "magnitude_mel",
        "phase_gradient",
    ],
)
def test_every_kind_trains(in_process, capsys, tmp_path, kind):
    """In this process, on eight devices; processes of their own are started for ``cnn`` below."""
    assert not in_process("train_vocoder", _arguments(tmp_path / "run", kind=kind))
    printed = capsys.readouterr().out
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    found = result["splits"]["validation"]
    assert f"loss {found['multi_stft']:.3f}" in printed
    assert found["score"] == -found["multi_stft"]
    assert result["memory"]["temporary"] > 0
    vocoder = isn.from_pretrained(tmp_path / "run" / "export")
    clip = np.random.default_rng(0).uniform(-1, 1, 4000).astype(np.float32)
    assert np.std(vocoder.synthesize(vocoder.spectrogram(clip), length=4000)) > 0


@pytest.mark.parametrize(
    "kind", ["cnn", "convnext_phase", "convnext_bank", "istftnet_mel", "magnitude_mel"]
)
def test_a_stored_vocoder_says_the_config_that_makes_it(tmp_path, kind):
    """As texts of a command line, tuples and all."""
    from isincnet_jax.pretrained.trained import export_trained
    from isincnet_jax.tasks import command, fine_tuning, vocoder_parts
    from isincnet_jax.vocoders.vocoder import TrainedVocoder, Vocoder

    config = _config(tmp_path, "--config.model.fmax=3500", kind=kind)
    parts = vocoder_parts.KINDS[config.model.kind](config)
    module = Vocoder(parts.network, parts.features, parts.input_scale)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 64), "f4"))
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    path = export_trained(TrainedVocoder(module, variables), tmp_path / "mine.zip")

    base, fields = fine_tuning.vocoder_config(str(path))
    assert (fields["init_from"], fields["workdir"]) == (str(path), "runs/fine-tuned-mine")
    arguments = [f"--config.{name}={value}" for name, value in fields.items()]
    again = command.read_config([f"--config={CONFIGS / 'vocoder.py'}:{base}", *arguments])
    made = vocoder_parts.KINDS[again.model.kind](again)
    assert made.network == parts.network
    assert made.features == parts.features
    assert again.data.sample_rate == 8000


CHEAP = ("--config.loss.multi_stft=None", "--config.optimizer.learning_rate=3e-3")


@pytest.mark.quick(0)
def test_a_run_resumes_with_its_discriminators(run, tmp_path):
    # Of few clips and steps: one with discriminators takes a hundred times one without.
    train = ("num_steps=8", "evaluate_every=4", "save_every=4")
    options = (*CHEAP, *(f"--config.train.{one}" for one in train), "--config.data.batch_size=2")
    options += ("--config.adversary.enabled=True", "--config.adversary.start_step=2")
    done = run(tmp_path / "one", *options)
    assert "the compiled step takes" in done.stderr
    scores = {
        record["step"]: record["multi_stft"]
        for record in resilience.records(tmp_path / "one")
        if record["kind"] == "evaluation"
    }
    result = json.loads((tmp_path / "one" / "result.json").read_text())
    assert result["best_step"] == min(scores, key=lambda step: scores[step])
    exported = result["splits"]["validation"]["multi_stft"]
    assert exported == pytest.approx(min(scores.values()), rel=5e-3)  # weights of 16 bits

    before = _arrays(tmp_path / "one")
    shutil.rmtree(tmp_path / "one" / "checkpoints" / "8")
    assert "resumed from step 4" in run(tmp_path / "one", *options).stderr
    after = _arrays(tmp_path / "one")
    for part in ("batch_stats", "adversary.params", "adversary.opt_state"):
        assert any(part in name for name in after), part
    for name, array in before.items():
        np.testing.assert_array_equal(array, after[name], err_msg=name)


@pytest.mark.quick(0)
def test_a_run_learns_and_is_the_same_on_eight_devices(run, tmp_path):
    found = {}
    for num_devices in (1, 8):
        folder = tmp_path / str(num_devices)
        run(folder, *CHEAP, "--config.train.num_steps=40", num_devices=num_devices)
        records = [r for r in resilience.records(folder) if r["kind"] == "train"]
        found[num_devices] = {
            name: np.array([record[name] for record in records])
            for name in ("reference", "grad_norm")
        }
    losses = found[1]["reference"]
    assert np.mean(losses[-8:]) < 0.9 * np.mean(losses[:8])
    # The first step has the rate 0. Later ones differ more: logarithms of small magnitudes have
    # large gradients that depend on rounding, and Adam makes all gradients equally large.
    np.testing.assert_allclose(found[8]["reference"][:2], losses[:2], rtol=1e-5)
    np.testing.assert_allclose(found[8]["grad_norm"][:2], found[1]["grad_norm"][:2], rtol=2e-2)
    np.testing.assert_allclose(found[8]["reference"], losses, rtol=0.1)


@pytest.mark.quick(0)
def test_a_run_starts_from_an_exported_vocoder(run, tmp_path):
    run(tmp_path / "one", *CHEAP)
    option = f"--config.init_from={tmp_path / 'one' / 'export'}"
    run(tmp_path / "next", *CHEAP, option, "--config.train.num_steps=10")
    first, begun = (
        next(r["loss"] for r in resilience.records(tmp_path / name) if r["kind"] == "train")
        for name in ("one", "next")
    )
    assert begun < first


@pytest.mark.quick(0)
def test_sigterm_saves_and_the_run_goes_on(base, run, tmp_path):
    script, folder = str(CONFIGS.parent / "train_vocoder.py"), tmp_path / "run"
    options = ("--config.train.num_steps=100000", "--config.train.save_every=100000")
    options = (*options, "--config.train.evaluate_every=0")
    process = subprocess.Popen(
        [sys.executable, script, *_arguments(folder, *options, kind="convnext_phase")],
        env=resilience.environment(base),
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("step 5 "):
            break
    process.terminate()
    text = process.communicate(timeout=240)[1]
    assert process.returncode == 128 + signal.SIGTERM, text
    assert "Traceback" not in text
    (step,) = resilience.complete_steps(folder)
    done = run(folder, f"--config.train.num_steps={step + 3}", kind="convnext_phase")
    assert f"resumed from step {step} " in done.stderr
    assert (folder / "export" / "config.json").is_file()


def _arrays(folder):
    with Checkpoints(folder, read_only=True, best_metric="score") as run:
        return run.read_arrays(run.steps[-1])[0]
