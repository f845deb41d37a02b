"""Classifier training: the loss, the step on one device and eight, RMSprop, decisions."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.classifiers import training as classification
from isincnet_jax.training import optimizers, parallel
from isincnet_jax.training import state as train_state

CLASSES = 3


class Tiny(nn.Module):
    """A layer, BatchNorm over the devices, a layer."""

    @nn.compact
    def __call__(self, waveform, *, train=False):
        # A bias here would have a gradient of pure rounding, which Adam makes large.
        x = nn.Dense(5, use_bias=False, name="frontend")(waveform)
        x = nn.BatchNorm(use_running_average=not train, axis_name="data" if train else None)(x)
        return nn.Dense(CLASSES)(nn.relu(x))


@functools.lru_cache
def _setup():
    model, optimizer = Tiny(), optimizers.make_optimizer(optimizers.OptimizerSpec(1e-2))
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8)))

    def classify(variables, waveform, key):
        return model.apply(variables, waveform, train=True, mutable=["batch_stats"])

    step = classification.make_classification_step(
        classify, optimizer=optimizer, label_smoothing=0.1
    )
    return train_state.create_state(variables, optimizer, key=jax.random.key(1)), step


def _batch(number, size=16):
    rng = np.random.default_rng(number)
    targets = rng.dirichlet(np.ones(CLASSES), size)
    return rng.standard_normal((size, 8)).astype(np.float32), targets.astype(np.float32)


def _run(num_devices, batches):
    state, step = _setup()
    devices = jax.devices()[:num_devices]
    mapped = parallel.parallel_step(step, devices=devices)
    state, history = parallel.replicate(state, devices), []
    for batch in batches:
        split = tuple(parallel.split_batch(part, num_devices) for part in batch)
        state, metrics = mapped(state, parallel.shard(split, devices))
        history.append(parallel.first_copy(metrics))
    return parallel.first_copy(state), history


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_is_the_formula(smoothing):
    logits, targets = (np.random.default_rng(0).standard_normal((4, CLASSES)) for _ in range(2))
    targets = scipy.special.softmax(targets, axis=-1)
    smooth = (1 - smoothing) * targets + smoothing / CLASSES
    wanted = -np.sum(smooth * scipy.special.log_softmax(logits, axis=-1), axis=-1)
    found = classification.cross_entropy(
        jnp.asarray(logits, jnp.float32),
        jnp.asarray(targets, jnp.float32),
        label_smoothing=smoothing,
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.tail
def test_eight_devices_share_batch_statistics():
    batches = [_batch(number) for number in range(5)]
    one, one_history = _run(1, batches)
    eight, eight_history = _run(8, batches)
    start = _setup()[0]
    for name, tree in (("params", one.params), ("fixed", one.fixed)):
        other, first = getattr(eight, name), getattr(start, name)
        for a, b, c in zip(*map(jax.tree.leaves, (tree, other, first)), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
            assert np.any(a != c)  # learned, and collected
    for a, b in zip(one_history, eight_history, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
        assert a["accuracy"] == pytest.approx(b["accuracy"])


def test_statistics_are_those_of_the_whole_batch():
    waveform, targets = _batch(0)
    start = _setup()[0]
    hidden = waveform @ np.asarray(start.params["frontend"]["kernel"])
    after = _run(8, [(waveform, targets)])[0].fixed["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(after["mean"], 0.01 * hidden.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(after["var"], 0.99 + 0.01 * hidden.var(axis=0), atol=1e-6)


def test_a_bad_step_changes_nothing_that_is_learned_or_collected():
    waveform, targets = _batch(0)
    broken = waveform.copy()
    broken[3, 3] = np.nan
    state, history = _run(8, [(waveform, targets), (broken, targets)])
    good, _ = _run(8, [(waveform, targets)])
    assert [int(metrics["skipped"]) for metrics in history] == [0, 1]
    for name in ("params", "fixed", "opt_state"):
        trees = (getattr(state, name), getattr(good, name))
        for a, b in zip(*map(jax.tree.leaves, trees), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("filter_rate", [0.0, 0.1, None])
def test_rmsprop_is_the_recipe(filter_rate):
    rate, decay, eps = 1e-2, 0.95, 1e-8
    spec = optimizers.OptimizerSpec(
        rate,
        filter_learning_rate=filter_rate,
        filter_paths=("frontend",),
        weight_decay=0.0,
        schedule="constant",
        clip_norm=None,
        eps=eps,
    )
    optimizer = classification.make_rmsprop(spec, decay=decay)
    rng = np.random.default_rng(0)
    params = {"frontend": jnp.ones(3), "main": jnp.ones(3)}
    state = optimizer.init(params)
    wanted = {name: np.ones(3) for name in params}
    mean_square = {name: np.zeros(3) for name in params}
    rates = {"frontend": rate if filter_rate is None else filter_rate, "main": rate}
    for _ in range(5):
        gradients = {name: rng.standard_normal(3).astype(np.float32) for name in params}
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradients, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        for name, gradient in gradients.items():
            mean_square[name] = decay * mean_square[name] + (1 - decay) * gradient**2
            wanted[name] -= rates[name] * gradient / (np.sqrt(mean_square[name]) + eps)
    for name, array in wanted.items():
        np.testing.assert_allclose(params[name], array, rtol=1e-5)


@settings(max_examples=10)
@given(st.integers(1, 5), st.integers(2, 4), st.integers(1, 3), st.integers(0, 99))
def test_decisions_are_sums_of_log_posteriors(num_tracks, num_classes, num_features, seed):
    rng = np.random.default_rng(seed)
    owner = np.concatenate([np.arange(num_tracks), rng.integers(-1, num_tracks, 9)])
    logits = 3 * rng.standard_normal((len(owner), num_classes))
    embeddings = rng.standard_normal((len(owner), num_features))
    labels = rng.integers(0, num_classes, num_tracks)
    batches = [
        (np.stack([logits[part], logits[part]]).sum(axis=0) / 2, owner[part])
        for part in (slice(0, num_tracks), slice(num_tracks, None))
    ]
    features = iter([embeddings[:num_tracks], embeddings[num_tracks:]])
    scores = classification.score_tracks(lambda chunks: (chunks, next(features)), batches, labels)
    for track in range(num_tracks):
        own = logits[owner == track]
        total = scipy.special.log_softmax(own, axis=-1).sum(axis=0)
        np.testing.assert_allclose(scores.log_posteriors[track], total, rtol=1e-9)
        assert scores.predicted[track] == np.argmax(total)
        np.testing.assert_allclose(
            scores.embeddings[track], embeddings[owner == track].mean(axis=0), atol=1e-12
        )
        assert scores.chunk_hits[track] == np.sum(own.argmax(axis=-1) == labels[track])
    assert scores.accuracy == np.mean(scores.predicted == labels)
    assert scores.confusion().sum() == num_tracks
    assert scores.confusion().trace() == scores.num_hits


def test_a_track_may_win_against_most_of_its_chunks():
    logits = np.log(np.array([[0.51, 0.49], [0.51, 0.49], [0.01, 0.99]]))
    scores = classification.score_tracks(
        lambda chunks: (chunks, chunks), [(logits, np.zeros(3, np.int64))], [1]
    )
    assert scores.accuracy == 1.0
    assert scores.chunk_accuracy == pytest.approx(1 / 3)


def test_tracks_without_chunks_are_refused():
    with pytest.raises(ValueError, match="1 of 2 tracks have no chunk"):
        classification.score_tracks(
            lambda chunks: (chunks, chunks), [(np.zeros((1, 2)), np.zeros(1, np.int64))], [0, 1]
        )


@settings(max_examples=10)
@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from([0.9, 0.95]))
def test_wilson_interval_is_that_of_scipy(hits, misses, confidence):
    if hits + misses == 0:
        with pytest.raises(ValueError, match="num_trials=0"):
            classification.wilson_interval(0, 0)
        return
    wanted = scipy.stats.binomtest(hits, hits + misses).proportion_ci(confidence, method="wilson")
    found = classification.wilson_interval(hits, hits + misses, confidence=confidence)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: classification.wilson_interval(3, 2), "num_hits=3"),
        (lambda: classification.wilson_interval(1, 2, confidence=95), "confidence=95"),
        (lambda: classification.make_rmsprop(optimizers.OptimizerSpec()), "weight_decay=0.0001"),
        (
            lambda: classification.make_rmsprop(
                optimizers.OptimizerSpec(weight_decay=0.0), decay=1.0
            ),
            "decay=1.0",
        ),
        (
            lambda: classification.make_classification_step(
                lambda *arguments: None, optimizer=None, label_smoothing=1.0
            ),
            "label_smoothing=1.0",
        ),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
