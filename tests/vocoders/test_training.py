"""Vocoder training: losses, scores, the step on one device and eight, discriminators."""

from __future__ import annotations

import functools
import logging

import flax.linen as nn
import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from isincnet_jax.dsp import spectral_distances
from isincnet_jax.training import compiled, optimizers, parallel
from isincnet_jax.training import state as train_state
from isincnet_jax.training.augmentation import AugmentationSpec
from isincnet_jax.vocoders import losses as vocoder_losses
from isincnet_jax.vocoders import training as vocoding

RATE = 8000
SAMPLES = 256
BATCH = 16


class Tiny(nn.Module):
    """A vocoder of eight numbers a frame, with BatchNorm over the devices."""

    @nn.compact
    def __call__(self, waveform, *, train=False):
        x = jnp.abs(waveform.reshape(*waveform.shape[:-1], -1, 8))
        # A bias here would have a gradient of pure rounding, which Adam makes large.
        x = nn.Dense(8, use_bias=False)(x)
        x = nn.BatchNorm(use_running_average=not train, axis_name="data" if train else None)(x)
        return nn.Dense(8)(nn.tanh(x)).reshape(waveform.shape)


class Critic(nn.Module):
    """One discriminator of one layer."""

    @nn.compact
    def __call__(self, waveform):
        hidden = nn.tanh(nn.Dense(4)(waveform.reshape(*waveform.shape[:-1], -1, 16)))
        return [nn.Dense(1)(hidden)[..., 0]], [[hidden]]


@functools.lru_cache
def _setup(start_step=None):
    model, critic = Tiny(), Critic()
    optimizer = optimizers.make_optimizer(optimizers.OptimizerSpec(1e-2))
    waveform = jnp.zeros((1, SAMPLES))
    variables = jax.jit(model.init)(jax.random.key(0), waveform)

    def generate(variables, waveform, key):
        del key
        return model.apply(variables, waveform, train=True, mutable=["batch_stats"])

    adversary = None
    if start_step is not None:
        adversary = vocoding.Adversary(
            lambda params, waveform: critic.apply({"params": params}, waveform),
            optimizers.make_optimizer(optimizers.OptimizerSpec(1e-2)),
            start_step=start_step,
            weight=0.5,
        )
    step = vocoding.make_vocoder_step(
        generate,
        loss=vocoder_losses.vocoder_loss({"l1": 1.0, "log_stft": 0.0}, sample_rate=RATE),
        optimizer=optimizer,
        sample_rate=RATE,
        augmentation=AugmentationSpec(polarity=0.5),
        adversary=adversary,
    )
    state = train_state.create_state(variables, optimizer, key=jax.random.key(1))
    if adversary is not None:
        critics = jax.jit(critic.init)(jax.random.key(2), waveform)["params"]
        state = state.replace(fixed={**state.fixed, **adversary.first_state(critics)})
    return state, step


def _batch(number):
    return np.random.default_rng(number).uniform(-1, 1, (BATCH, SAMPLES)).astype(np.float32)


@functools.lru_cache
def _mapped(num_devices, start_step):
    step = parallel.parallel_step(_setup(start_step)[1], devices=jax.devices()[:num_devices])
    return compiled.CompiledStep(step, tell=lambda memory: None)


def _run(num_devices, batches, start_step=None):
    devices = jax.devices()[:num_devices]
    mapped = _mapped(num_devices, start_step)
    state, history = parallel.replicate(_setup(start_step)[0], devices), []
    for batch in batches:
        split = parallel.split_batch(batch, num_devices)
        state, metrics = mapped(state, parallel.shard(split, devices))
        history.append(parallel.first_copy(metrics))
    return parallel.first_copy(state), history


def _same(one, other):
    return all(
        np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


def _magnitude(clip, n_fft, hop, win):
    found = librosa.stft(
        clip, n_fft=n_fft, hop_length=hop, win_length=win, pad_mode="reflect", dtype=np.complex128
    )
    return np.abs(found).T


def test_the_reference_loss_is_the_published_formula(rng):
    clips = rng.uniform(-1, 1, (2, 2, 5000)).astype(np.float32)
    found = jax.jit(vocoder_losses.reference_loss)(prediction=clips[0], target=clips[1])
    for index in range(2):
        predicted, wanted = (_magnitude(clip[index], 2048, 256, 1024) for clip in clips)
        logs = np.abs(np.log(np.maximum(predicted, 1e-5)) - np.log(np.maximum(wanted, 1e-5)))
        plain = np.abs(predicted - wanted)[:, :500]
        expected = logs.mean() + logs[:, :500].mean() + plain.mean()
        assert found[index] == pytest.approx(expected, rel=1e-4)


def test_the_mel_loss_is_that_of_librosas_filters(rng):
    clips = rng.uniform(-1, 1, (2, 5000)).astype(np.float32)
    loss = functools.partial(vocoder_losses.log_mel, sample_rate=22_050)
    weights = librosa.filters.mel(sr=22_050, n_fft=1024, n_mels=80)
    mels = [np.log(np.maximum(_magnitude(c, 1024, 256, 1024) @ weights.T, 1e-5)) for c in clips]
    found = jax.jit(loss)(prediction=clips[0], target=clips[1])
    assert found == pytest.approx(np.mean(np.abs(mels[0] - mels[1])), rel=1e-4)


@pytest.mark.parametrize("name", ["reference", "log_mel", "multi_stft"])
def test_gradients_are_finite_on_silence_and_losses_0_at_equality(name):
    """The published square root has a gradient of NaN at 0."""
    loss = vocoder_losses.vocoder_losses(RATE)[name]
    clip = _batch(0)[0]

    @jax.jit
    def value_and_slope(prediction, target):
        return jax.value_and_grad(lambda p: loss(prediction=p, target=target))(prediction)

    silence = np.zeros_like(clip)
    for prediction, target in ((silence, clip), (silence, silence), (clip, silence)):
        value, slope = value_and_slope(prediction, target)
        assert np.isfinite(value)
        assert np.all(np.isfinite(slope))
    assert value_and_slope(clip, clip)[0] == 0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"multi_stf": 1.0}, "did you mean 'multi_stft'"),
        ({"log_mel": -1.0}, "weights are 0 or positive"),
        ({"reference": 0.0}, "no loss has a positive weight"),
    ],
)
def test_impossible_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        vocoder_losses.vocoder_loss(weights, sample_rate=RATE)


def test_impossible_adversaries():
    with pytest.raises(ValueError, match="start_step=-1"):
        vocoding.Adversary(lambda p, x: ([x], [[x]]), optimizers.make_optimizer, start_step=-1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind='wasserstein' is unknown"):
        vocoding.Adversary(lambda p, x: ([x], [[x]]), optimizers.make_optimizer, kind="wasserstein")  # type: ignore[arg-type]


@pytest.mark.quick(0)
def test_scores_do_not_see_the_padding(rng):
    lengths = np.array([4000, 2400, 4000], np.int32)
    target = rng.uniform(-1, 1, (3, 4000)).astype(np.float32)
    prediction = (target + 0.1 * rng.standard_normal(target.shape)).astype(np.float32)
    prediction[2] = target[2]
    scores = jax.jit(vocoder_losses.score_clips)(
        prediction=prediction, target=target, lengths=lengths
    )
    one = jax.jit(spectral_distances.multi_stft)(prediction=prediction[:1], target=target[:1])
    assert scores.multi_stft[0] == pytest.approx(float(one[0]), rel=1e-5)
    magnitudes = [_magnitude(clip[0], 2048, 256, 1024) for clip in (prediction, target)]
    ratio = np.linalg.norm(magnitudes[0] - magnitudes[1]) / np.linalg.norm(magnitudes[1])
    assert scores.convergence_db[0] == pytest.approx(20 * np.log10(ratio), abs=1e-3)
    assert scores.multi_stft[2] == pytest.approx(0, abs=1e-6)
    assert scores.convergence_db[2] == pytest.approx(-200)
    # Whatever stands beyond the length, the score is the same, and near that of the short clip.
    other = prediction.copy()
    other[1, 2400:] = 1e3
    again = jax.jit(vocoder_losses.score_clips)(prediction=other, target=target, lengths=lengths)
    np.testing.assert_array_equal(again.multi_stft, scores.multi_stft)
    short = jax.jit(spectral_distances.multi_stft)(
        prediction=prediction[1:2, :2400], target=target[1:2, :2400]
    )
    assert scores.multi_stft[1] == pytest.approx(float(short[0]), rel=0.05)


@pytest.mark.quick(0)
def test_eight_devices_learn_the_same():
    start_step = 2
    batches = [_batch(number) for number in range(4)]
    one, one_history = _run(1, batches, start_step)
    eight, eight_history = _run(8, batches, start_step)
    for name in ("params", "fixed"):
        trees = (getattr(one, name), getattr(eight, name))
        for a, b in zip(*map(jax.tree.leaves, trees), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)
    for a, b in zip(one_history, eight_history, strict=True):
        assert a.keys() == b.keys()
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
    assert {"l1", "log_stft", "grad_norm", "skipped"} < one_history[0].keys()
    assert not _same(one.params, _setup(start_step)[0].params)
    assert not _same(one.fixed["batch_stats"], _setup(start_step)[0].fixed["batch_stats"])


@pytest.mark.quick(0)
def test_discriminators_rest_until_their_step():
    start = _setup(2)[0].fixed[vocoding.ADVERSARY]
    resting, history = _run(1, [_batch(0), _batch(1)], 2)
    plain, _ = _run(1, [_batch(0), _batch(1)])
    assert _same(resting.fixed[vocoding.ADVERSARY], start)
    for a, b in zip(jax.tree.leaves(resting.params), jax.tree.leaves(plain.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert all(row["adversarial"] == row["discriminator"] == 0 for row in history)
    awake, history = _run(1, [_batch(number) for number in range(3)], 2)
    found = awake.fixed[vocoding.ADVERSARY]
    assert not _same(found["params"], start["params"])
    assert not _same(found["opt_state"], start["opt_state"])
    last = history[-1]
    assert last["adversarial"] > 0
    assert last["discriminator"] > 0
    spectral = last["l1"] + 0.5 * last["adversarial"] + 2.0 * last["feature_matching"]
    assert last["loss"] == pytest.approx(spectral, rel=1e-5)
    assert set(vocoding.generator_variables(awake)) == {"params", "batch_stats"}


@pytest.mark.parametrize("num_good", [1, 3])
def test_a_bad_step_changes_nothing_that_is_learned_or_collected(num_good):
    """Before the discriminators start and after."""
    broken, batches = _batch(9), [_batch(number) for number in range(num_good)]
    broken[3, 3] = np.nan
    good, _ = _run(8, batches, 2)
    state, history = _run(8, [*batches, broken], 2)
    assert [int(metrics["skipped"]) for metrics in history] == [0] * num_good + [1]
    for name in ("params", "fixed", "opt_state"):
        assert _same(getattr(state, name), getattr(good, name)), name


def test_one_program_for_the_whole_run(caplog):
    """Discriminators wake up, epochs end: no second compilation, and another shape is an error."""
    memory = []
    step = parallel.parallel_step(_setup(2)[1], devices=jax.devices()[:1])
    step = compiled.CompiledStep(step, tell=memory.append)
    state = parallel.replicate(_setup(2)[0], jax.devices()[:1])
    batches = [parallel.shard(_batch(number)[None], jax.devices()[:1]) for number in range(6)]
    state, _ = step(state, batches[0])
    with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax"):
        for batch in batches[1:]:
            state, _ = step(state, batch)
    assert not [record for record in caplog.records if "ompil" in record.getMessage()]
    assert len(memory) == 1
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(_setup(2)[0]))
    assert memory[0].arguments >= weights + batches[0].nbytes
    assert memory[0].total >= memory[0].arguments
    assert "MiB a device" in memory[0].describe()
    with pytest.raises(TypeError, match="differ"):
        step(state, batches[0][:, :8])
