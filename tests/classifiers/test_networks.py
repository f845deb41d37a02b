"""Classifiers: SincNet's size and gradients, the small network behind any front end."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.classifiers import networks as classifier
from isincnet_jax.frontends.sinc_conv import SincConv
from isincnet_jax.spectrograms.mel import MelSpectrogram

SINCNET = functools.partial(
    classifier.SincNetClassifier,
    4,
    num_filters=(6, 5),
    kernel_sizes=(31, 3),
    pool_sizes=(3, 2),
    hidden=(8, 7),
)
WAVEFORM = np.random.default_rng(0).uniform(-0.5, 0.5, (8, 240)).astype(np.float32)


def _small(**options):
    frontend = MelSpectrogram(sample_rate=8000, n_fft=64, hop_length=16, n_mels=8)
    return classifier.AudioClassifier(frontend, 3, widths=(4, 6), **options)


@functools.lru_cache
def _variables(module):
    return jax.jit(module.init)(jax.random.key(0), WAVEFORM)


def test_sincnet_has_the_size_of_the_recipe():
    module = classifier.SincNetClassifier(462)
    variables = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 3200)))
    total, frames, channels = 2 * 3200, 3200, 1  # LayerNorm of the waveform
    for width, taps in ((80, 251), (60, 5), (60, 5)):
        total += 2 * 80 if channels == 1 else taps * channels * width + width
        frames, channels = (frames - taps + 1) // 3, width
        total += 2 * frames * width  # LayerNorm
    inputs = frames * channels
    total += 2 * inputs
    for _ in range(3):
        total += inputs * 2048 + 2 * 2048  # no bias, BatchNorm
        inputs = 2048
    total += 2048 * 462 + 462
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == total
    assert inputs == 2048
    assert frames * channels == 6420


def test_sincnet_is_its_parts_in_order():
    module = SINCNET()
    variables = _variables(module)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])

    def over_time(x, name):
        x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
        return x * params[name]["scale"] + params[name]["bias"]

    def leaky(x):
        return np.where(x > 0, x, 0.2 * x)

    def pooled(x, size):
        frames = x.shape[1] // size
        return x[:, : frames * size].reshape(len(x), frames, size, -1).max(axis=2)

    x = over_time(WAVEFORM.astype(np.float64)[..., None], "input_norm")[..., 0]
    bank = SincConv(
        num_filters=6, kernel_size=31, sample_rate=16_000, padding="valid", parametrization="hz"
    )
    sines = jax.jit(bank.apply)({"params": variables["params"]["frontend"]}, x.astype(np.float32))
    x = leaky(over_time(pooled(np.abs(np.asarray(sines, np.float64)), 3), "norm_0"))
    kernel = params["conv_1"]["kernel"]
    windows = np.lib.stride_tricks.sliding_window_view(x, 3, axis=1)
    x = np.einsum("btck,kco->bto", windows, kernel) + params["conv_1"]["bias"]
    x = leaky(over_time(pooled(x, 2), "norm_1")).reshape(len(x), -1)
    x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    for layer in range(2):
        x = leaky(x @ params[f"dense_{layer}"]["kernel"] / np.sqrt(1 + 1e-5))
    logits, vectors = jax.jit(functools.partial(module.apply, method="features"))(
        variables, WAVEFORM
    )
    np.testing.assert_allclose(vectors, x, atol=1e-4 * np.abs(x).max())
    scores = x @ params["classes"]["kernel"]
    np.testing.assert_allclose(logits, scores, atol=1e-4 * np.abs(scores).max())


def test_time_norm_is_layer_norm_over_time(rng):
    ours = classifier._TimeNorm(1e-3)
    flax = nn.LayerNorm(
        epsilon=1e-3, reduction_axes=-2, feature_axes=(-2, -1), use_fast_variance=False
    )
    x = jnp.asarray(rng.standard_normal((5, 11, 3)), jnp.float32)
    params = jax.tree.map(
        lambda leaf: leaf + jnp.asarray(rng.standard_normal(leaf.shape), jnp.float32),
        ours.init(jax.random.key(0), x),
    )
    weight = jnp.asarray(rng.standard_normal(x.shape), jnp.float32)
    found, wanted = (
        jax.value_and_grad(
            lambda p, x, norm=norm: jnp.vdot(weight, norm.apply(p, x)), argnums=(0, 1)
        )(params, x)
        for norm in (ours, flax)
    )
    for a, b in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)


@pytest.mark.quick(1)
@pytest.mark.parametrize("module", [SINCNET(), _small(), _small(compression="pcen")])
def test_gradients_are_finite_on_silence(module):
    variables = _variables(module)

    def loss(params, waveform):
        logits, _ = module.apply(
            {**variables, "params": params},
            waveform,
            train=True,
            rngs={"dropout": jax.random.key(0)},
            mutable=["batch_stats"],
        )
        return logits[0, 0] - logits[1, 1]

    silence = np.zeros_like(WAVEFORM)
    found = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables["params"], silence)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found))


def test_sincnet_does_not_hear_the_level():
    module = SINCNET()
    one, other = (
        jax.jit(module.apply)(_variables(module), gain * WAVEFORM) for gain in (1.0, 1e-3)
    )
    np.testing.assert_allclose(one, other, atol=1e-3 * float(jnp.max(jnp.abs(one))))


@pytest.mark.parametrize("compression", ["log", "pcen", "none"])
def test_compressions_differ_by_their_parameters(compression):
    variables = _variables(_small(compression=compression))
    assert ("pcen" in variables["params"]) == (compression == "pcen")
    assert "frontend" not in variables["params"]  # a fixed front end has none


def test_masks_and_dropout_in_training_only():
    module = _small(max_masked_frames=4, max_masked_bins=3)
    variables = _variables(module)
    apply = jax.jit(functools.partial(_train, module))
    one, other = (apply(variables, WAVEFORM, jax.random.key(seed))[0] for seed in (0, 1))
    assert np.any(one != other)
    assert np.all(np.isfinite(jax.jit(module.apply)(variables, WAVEFORM)))  # without a key


def _train(module, variables, waveform, key):
    return module.apply(
        variables, waveform, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
    )


@pytest.mark.quick(0)
@pytest.mark.parametrize("make", [SINCNET, _small])
def test_eight_devices_share_batch_statistics(make):
    options = {} if make is SINCNET else {"dropout": 0.0, "max_masked_frames": 0}
    if make is _small:
        options["max_masked_bins"] = 0
    module = make(axis_name="data", **options)
    variables, key = _variables(make(**options)), jax.random.key(0)
    mapped = jax.pmap(functools.partial(_train, module), axis_name="data", in_axes=(None, 0, None))
    logits, state = mapped(variables, WAVEFORM[:, None], key)
    wanted, whole = jax.jit(functools.partial(_train, make(**options)))(variables, WAVEFORM, key)
    scale = float(np.abs(wanted).max())
    # Sums over devices in another order, through several normalisations in float32.
    np.testing.assert_allclose(np.asarray(logits)[:, 0], wanted, atol=3e-5 * scale)
    for a, b in zip(*map(jax.tree.leaves, (state, whole)), strict=True):
        everywhere = np.broadcast_to(b, a.shape)
        np.testing.assert_allclose(np.asarray(a), everywhere, rtol=1e-5, atol=1e-5)


def test_masks_are_stretches_of_all_widths():
    x = jnp.ones((500, 9, 7))
    for axis, widest in ((1, 4), (2, 20)):
        hidden = np.asarray(classifier._mask(x, jax.random.key(0), axis=axis, widest=widest)) == 0
        along = hidden.all(axis=3 - axis)
        np.testing.assert_array_equal(along, hidden.any(axis=3 - axis))
        counts = along.sum(axis=1)
        assert set(counts) == set(range(min(widest, x.shape[axis]) + 1))
        starts = (np.diff(along.astype(int), axis=1, prepend=0) == 1).sum(axis=1)
        assert starts.max() == 1
        assert along.any(axis=0).all()


class _Plain(nn.Module):
    def __call__(self, waveform):
        return waveform.reshape(*waveform.shape[:-1], -1, 2)


class _Pairs(nn.Module):
    def __call__(self, waveform):
        x = waveform.reshape(*waveform.shape[:-1], -1, 2)
        return jnp.concatenate([x, x[..., ::-1]], axis=-1)


@pytest.mark.parametrize("bank", [_Plain(), _Pairs()])
def test_energies_are_mean_squares(bank):
    waveform = np.arange(22, dtype=np.float32)
    is_complex = isinstance(bank, _Pairs)
    layer = classifier.BandEnergies(bank, pool=3, is_complex=is_complex)
    energies = waveform.reshape(-1, 2)[:9] ** 2  # 11 frames: the last two are dropped
    if is_complex:
        energies = energies + energies[:, ::-1]
    wanted = energies.reshape(3, 3, 2).mean(axis=1)
    np.testing.assert_allclose(jax.jit(layer.apply)({}, jnp.asarray(waveform)), wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SINCNET(pool_sizes=(3,)), r"pool_sizes=\(3,\)"),
        (lambda: _small(compression="db"), "compression='db' is unknown; use none, log, pcen"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
