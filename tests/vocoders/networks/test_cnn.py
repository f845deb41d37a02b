"""CNNVocoder: the reference's numbers and size, its faults repaired, its options."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.vocoders import compression as vocoder_features
from isincnet_jax.vocoders.networks import cnn_reference as cnn_vocoder_reference
from isincnet_jax.vocoders.networks import residual_blocks
from isincnet_jax.vocoders.networks.cnn import CNNVocoder

BINS = 17
SMALL = functools.partial(
    CNNVocoder, num_bins=BINS, image_widths=(1, 2, 2), widths=(6, 4), post_blocks=1
)
FEATURES = np.random.default_rng(0).uniform(0, 1, (3, 5, BINS)).astype(np.float32)


@functools.lru_cache
def _variables(model):
    variables = jax.jit(model.init)(jax.random.key(0), FEATURES)
    # Statistics as after some training: BatchNorm then does something in evaluation.
    rng = np.random.default_rng(1)
    statistics = jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(0.2, 0.8, leaf.shape), jnp.float32),
        variables["batch_stats"],
    )
    return {"params": variables["params"], "batch_stats": statistics}


@functools.lru_cache
def _apply(model, **options):
    return jax.jit(functools.partial(model.apply, **options))


def test_parity_with_the_reference(golden):
    stored = golden("cnn_vocoder_small")
    model, variables = cnn_vocoder_reference.load_reference(stored)
    assert model == CNNVocoder(
        num_bins=33,
        image_widths=(1,) * 6 + (2,) * 3,
        widths=(24, 16, 8),
        stage_blocks=1,
        post_blocks=2,
    )
    spectrogram = stored["spectrogram"].transpose(0, 2, 1)
    coarse, fine = _apply(model, method="outputs")(variables, spectrogram)
    np.testing.assert_allclose(coarse, stored["pre"], atol=1e-5)
    np.testing.assert_allclose(fine, stored["post"], atol=1e-5)


def test_size_is_the_published_one():
    found = jax.eval_shape(CNNVocoder().init, jax.random.key(0), jnp.zeros((1, 2, 1025)))
    size = sum(leaf.size for leaf in jax.tree.leaves(found["params"]))
    assert size == 8_409_645
    assert round(size / 1e6, 2) == 8.41
    wave = jax.eval_shape(CNNVocoder().apply, found, jnp.zeros((1, 81, 1025)))
    assert wave.shape == (1, 20_736)


@pytest.mark.quick(0)
def test_synthesis_does_not_use_batch_statistics():
    """A fault of the seed: BatchNorm was left in training mode at synthesis."""
    model = SMALL()
    apply, variables = _apply(model), _variables(model)
    together = apply(variables, FEATURES)
    alone = apply(variables, FEATURES[1:2])
    np.testing.assert_allclose(alone[0], together[1], atol=1e-6)
    training = _apply(model, train=True, mutable="batch_stats")
    trained, collected = training(variables, FEATURES)
    assert np.max(np.abs(trained - together)) > 1e-2
    assert not jax.tree.all(
        jax.tree.map(np.array_equal, collected["batch_stats"], variables["batch_stats"])
    )


@pytest.mark.quick(0)
def test_gradients_are_finite_on_silence():
    """A fault of the seed: the square root of its loss had a NaN gradient at 0."""
    model = SMALL()

    @jax.jit
    @jax.grad
    def gradient(params, features, target):
        waveform = model.apply({**_variables(model), "params": params}, features)
        options = {"n_fft": 32, "hop_length": 8, "win_length": 16}
        found = vocoder_features.spectrogram_features(0.0 * waveform + target, **options)
        return jnp.sum(found) + jnp.sum(waveform**2)

    silence = jnp.zeros((3, 20), jnp.float32)
    for leaf in jax.tree.leaves(gradient(_variables(model)["params"], 0 * FEATURES, silence)):
        assert np.all(np.isfinite(leaf))


@pytest.mark.quick(0)
def test_the_output_level_is_kept():
    """A fault of the seed: the output was scaled to its peak."""
    model = SMALL()
    variables = _variables(model)
    loud = _apply(model)(variables, FEATURES)
    linear = variables["params"]["head_0"]["linear"]
    head = {**variables["params"]["head_0"], "linear": jax.tree.map(lambda leaf: leaf / 64, linear)}
    quiet = _apply(model)({**variables, "params": {"head_0": head}}, FEATURES)
    before = np.asarray(loud) / (1 - np.abs(loud))
    after = np.asarray(quiet) / (1 - np.abs(quiet))
    np.testing.assert_allclose(after, before / 64, atol=1e-5)
    assert np.max(np.abs(loud)) < 1


@pytest.mark.quick(0)
def test_statistics_of_devices_are_shared():
    model, alone = SMALL(axis_name="data"), SMALL()
    variables = _variables(alone)
    halves = np.concatenate([FEATURES, FEATURES[:1]]).reshape(2, 2, 5, BINS)
    train = functools.partial(model.apply, train=True, mutable=["batch_stats"])
    split = jax.pmap(train, axis_name="data", in_axes=(None, 0), devices=jax.devices()[:2])
    found, statistics = split(variables, halves)
    wanted, whole = _apply(alone, train=True, mutable="batch_stats")(
        variables, halves.reshape(4, 5, BINS)
    )
    np.testing.assert_allclose(found.reshape(4, -1), wanted, atol=1e-4)
    for shared, one in zip(jax.tree.leaves(statistics), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(shared[0], one, atol=1e-5)
        np.testing.assert_array_equal(shared[0], shared[1])


@pytest.mark.quick(0)
def test_heads_are_summed_as_in_mcnn():
    model = SMALL(num_heads=2)
    variables = _variables(model)
    params = dict(variables["params"])
    params |= {
        "head_weights": jnp.array([0.7, -0.4]),
        "gain": jnp.array(1.5),
        "bend": jnp.array(-2.0),
    }
    found = _apply(model)({**variables, "params": params}, FEATURES)
    total = 0.0
    for index, weight in enumerate((0.7, -0.4)):
        name = f"head_{index}"
        one = {key: {"head_0": tree[name]} for key, tree in variables.items()}
        bounded = np.asarray(_apply(SMALL())(one, FEATURES))
        total += weight * bounded / (1 - np.abs(bounded))  # the softsign undone
    np.testing.assert_allclose(found, 1.5 * total / (1 + np.abs(2 * total)), atol=1e-5)


@pytest.mark.quick(0)
def test_length_and_options():
    model = SMALL(stage_blocks=1)
    variables = _variables(model)
    whole = _apply(model)(variables, FEATURES)
    assert whole.shape == (3, 5 * model.hop) == (3, 20)
    found = _apply(model, length=13)(variables, FEATURES)
    np.testing.assert_allclose(found, whole[:, :13], atol=1e-6)
    longer = functools.partial(model.apply, length=22)
    assert jax.eval_shape(longer, variables, FEATURES).shape == (3, 22)
    assert jax.eval_shape(model.apply, variables, FEATURES[:, :1]).shape == (3, 4)
    assert "blocks" in variables["params"]["head_0"]["stage_1"]


def test_image_networks_of_any_width_are_one_convolution(rng):
    """Few channels go through shifted products, more through the library's convolution."""
    image = rng.standard_normal((2, 3, 6, 7)).astype(np.float32)
    for outputs in (2, 4):
        kernel = rng.standard_normal((3, 3, 3, outputs)).astype(np.float32)
        wanted = jax.lax.conv_general_dilated(
            image, kernel, (1, 1), "SAME", dimension_numbers=("NCHW", "HWIO", "NCHW")
        )
        found = jax.jit(residual_blocks.convolve_image)(image, kernel)
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_bad_arguments_are_refused(golden):
    with pytest.raises(ValueError, match="widths="):
        CNNVocoder(widths=())
    with pytest.raises(ValueError, match="num_heads=0"):
        CNNVocoder(num_heads=0)
    with pytest.raises(ValueError, match="post_blocks=-1"):
        CNNVocoder(post_blocks=-1)
    init = functools.partial(jax.eval_shape, SMALL().init, jax.random.key(0))
    with pytest.raises(ValueError, match="transposed"):
        init(jnp.zeros((1, BINS, 5)))
    with pytest.raises(ValueError, match=r"\[batch, frames, bins\]"):
        init(jnp.zeros((5, BINS)))
    with pytest.raises(ValueError, match="at least one frame"):
        init(jnp.zeros((1, 0, BINS)))


def test_other_weights_are_refused(golden):
    stored = {
        name: values for name, values in golden("cnn_vocoder_small").items() if "param" in name
    }
    with pytest.raises(ValueError, match=r"head\.extra\.weight"):
        cnn_vocoder_reference.load_reference({**stored, "param/head.extra.weight": np.zeros(3)})
    missing = {name: values for name, values in stored.items() if name != "param/linear.bias"}
    with pytest.raises(ValueError, match="linear"):
        cnn_vocoder_reference.load_reference(missing)
    with pytest.raises(ValueError, match="no pre_conv"):
        cnn_vocoder_reference.load_reference({})


@pytest.mark.quick(1)
@pytest.mark.parametrize("as_image", [True, False])
def test_a_run_is_its_units_in_a_row(as_image, rng):
    """In evaluation, in training, and in the statistics that are collected."""
    shape = (2, 3, 6, 7) if as_image else (2, 9, 3)
    values = rng.standard_normal(shape).astype(np.float32)
    run = residual_blocks.ResidualRun(2, as_image=as_image)
    unit = residual_blocks.ResidualUnit(3, as_image=as_image)
    variables = jax.jit(run.init)(jax.random.key(0), values)
    ramp = np.array([0, 0.1, 0.2], np.float32)
    params, statistics = (
        jax.tree.map(lambda leaf: leaf + ramp, dict(variables[key]))
        for key in ("params", "batch_stats")
    )
    variables = {"params": params, "batch_stats": statistics}
    for train in (False, True):
        apply = jax.jit(functools.partial(unit.apply, train=train, mutable="batch_stats"))
        wanted = values
        for block in range(2):
            steps = {index: 2 * block + index for index in (0, 1)}
            one = {
                "params": {
                    **{
                        f"conv_{index}": {key: params[key][step] for key in ("kernel", "bias")}
                        for index, step in steps.items()
                    },
                    **{
                        f"norm_{index}": {
                            "scale": params["scale"][step],
                            "bias": params["offset"][step],
                        }
                        for index, step in steps.items()
                    },
                },
                "batch_stats": {
                    f"norm_{index}": {key: statistics[key][step] for key in ("mean", "var")}
                    for index, step in steps.items()
                },
            }
            wanted, collected = apply(one, wanted)
        whole = jax.jit(functools.partial(run.apply, train=train, mutable="batch_stats"))
        found, seen = whole(variables, values)
        np.testing.assert_allclose(found, wanted, atol=1e-4)
        for key in ("mean", "var"):
            wanted_last = collected["batch_stats"]["norm_1"][key]
            np.testing.assert_allclose(seen["batch_stats"][key][3], wanted_last, atol=1e-5)
