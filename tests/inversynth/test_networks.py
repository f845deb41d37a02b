"""InverSynth's networks: sizes as published, convolutions against Flax's, front ends, refusals."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.inversynth import features as inversynth_features
from isincnet_jax.inversynth.networks import NETWORKS, InverSynth, TrainedInverSynth
from isincnet_jax.nets import strided_convolution
from isincnet_jax.nets.mixer import Mixer

# Millions, table II of the paper; CE2E_2D has none there.
PUBLISHED = {
    "C1": 1.175,
    "C2": 1.157,
    "C3": 1.156,
    "C4": 1.155,
    "C5": 1.155,
    "C6": 1.155,
    "C6XL": 2.280,
    "CE2E": 1.917,
}
LENGTH = inversynth_features.NUM_SAMPLES


def shapes_of(model, batch=1):
    clip = jax.ShapeDtypeStruct((batch, LENGTH), jnp.float32)
    return jax.eval_shape(model.init_with_output, jax.random.key(0), clip)


def size_of(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_the_published_ones(name):
    scores, variables = shapes_of(InverSynth(name), batch=3)
    assert f"{size_of(variables) / 1e6:.3f}" == f"{PUBLISHED[name]:.3f}"
    assert scores.shape == (3, 23, 16)


def test_the_variant_of_ce2e_has_small_last_kernels():
    last = NETWORKS["CE2E_2D"].layers[-2:]
    assert [(layer.frame_taps, layer.bin_taps) for layer in last] == [(1, 1), (1, 1)]
    wide, small = (size_of(shapes_of(InverSynth(name))[1]) for name in ("CE2E", "CE2E_2D"))
    assert wide - small == 2 * 8 * 128 * 128


def test_the_learned_front_end_has_the_size_of_the_spectrogram():
    """64 frames of 257 channels for C6's first kernel, and for its last picture as in C6."""
    learned, fixed = (shapes_of(InverSynth(name))[1]["params"] for name in ("CE2E", "C6"))
    assert learned["wave_3"]["kernel"].shape == (8, 1, 128, 257)
    assert (
        learned["hidden"]["kernel"].shape == fixed["hidden"]["kernel"].shape == (2 * 3 * 128, 512)
    )


def test_layers_of_the_body_are_flax_convolutions(rng):
    """The whole of C3 against flax.linen.Conv and a NumPy front end."""
    model = InverSynth("C3")
    waveform = rng.standard_normal((2, LENGTH)).astype(np.float32)
    variables = jax.jit(model.init)(jax.random.key(1), waveform)
    found = jax.jit(model.apply)(variables, waveform)

    @jax.jit
    def oracle(params, picture):
        x = picture[..., None]
        for number, layer in enumerate(NETWORKS["C3"].layers):
            taps = (layer.frame_taps, layer.bin_taps)
            strides = (layer.frame_stride, layer.bin_stride)
            conv = nn.Conv(layer.features, taps, strides, padding="SAME")
            x = nn.relu(conv.apply({"params": params[f"conv_{number}"]}, x))
        x = x.reshape((x.shape[0], -1))
        x = nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
        return x @ params["scores"]["kernel"] + params["scores"]["bias"]

    expected = oracle(variables["params"], numpy_picture(waveform).astype(np.float32))
    np.testing.assert_allclose(found.reshape(2, -1), expected, atol=2e-5, rtol=1e-4)


def numpy_picture(waveform):
    """The log spectrogram, float64, frame by frame."""
    padded = np.pad(waveform.astype(np.float64), ((0, 0), (128, 128)))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    frames = np.stack([padded[:, 256 * t : 256 * t + 512] * window for t in range(64)], axis=1)
    power = np.abs(np.fft.rfft(frames * 2 / window.sum())) ** 2
    return (np.log(power + 1e-10) / 2 + 7.5) / 2.9


@functools.partial(jax.jit, static_argnames=("strides", "native"))
def both_ways(image, kernel, strides, native):
    def value(image, kernel):
        if native:
            conv = nn.Conv(
                kernel.shape[-1], kernel.shape[:2], strides, padding="SAME", use_bias=False
            )
            found = conv.apply({"params": {"kernel": kernel}}, image)
        else:
            found = strided_convolution.convolve(image, kernel, strides=strides)
        return jnp.sum(jnp.sin(found)), found

    (_, found), slopes = jax.value_and_grad(value, argnums=(0, 1), has_aux=True)(image, kernel)
    return found, slopes


@pytest.mark.parametrize(
    ("size", "taps", "strides"),
    [((8, 33), (3, 5), (2, 4)), ((7, 10), (4, 1), (3, 1)), ((3, 5), (6, 9), (5, 8))],
)
def test_products_are_convolutions_with_their_gradients(rng, size, taps, strides):
    image = rng.standard_normal((2, *size, 3)).astype(np.float32)
    kernel = rng.standard_normal((*taps, 3, 4)).astype(np.float32)
    found, expected = (both_ways(image, kernel, strides, native) for native in (False, True))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=3e-5, rtol=3e-5)


BANK = FilterbankSpec(sample_rate=16_384, hop_length=256, num_bins=32, scale="mel_slaney")


@pytest.mark.parametrize(("network", "learnable"), [("C1", True), ("CE2E", False)])
def test_a_sinc_bank_takes_the_place_of_the_front_end(rng, network, learnable):
    """Its filters are variables, learned ones get gradients, and no learned 1-D layer is left."""
    model = InverSynth(network, spec=BANK, learnable_filters=learnable)
    scores, variables = shapes_of(model)
    assert scores.shape == (1, 23, 16)
    names = set(variables["params"]) | set(variables.get("filterbank", {}))
    assert "analysis" in names
    assert not [name for name in names if name.startswith("wave")]
    assert ("filterbank" in variables) is not learnable
    if learnable:
        waveform = rng.standard_normal((1, LENGTH)).astype(np.float32)
        values = jax.jit(model.init)(jax.random.key(0), waveform)

        @jax.jit
        def slopes(values):
            return jax.grad(lambda v: jnp.sum(model.apply(v, waveform) ** 2))(values)

        center = np.asarray(slopes(values)["params"]["analysis"]["center"])
        assert np.all(np.isfinite(center))
        assert np.max(np.abs(center)) > 0


def test_silence_has_finite_scores_and_gradients():
    model = InverSynth("C1")
    silence = np.zeros((1, LENGTH), np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), silence)

    @jax.jit
    def slope(x):
        return jax.value_and_grad(lambda x: jnp.sum(model.apply(variables, x)))(x)

    assert all(np.all(np.isfinite(part)) for part in slope(silence))


def test_a_trained_network_gives_its_scores_for_any_leading_axes(rng):
    model = InverSynth("C1")
    waveform = rng.standard_normal((2, 3, LENGTH)).astype(np.float32)
    trained = TrainedInverSynth(model, jax.jit(model.init)(jax.random.key(0), waveform[0]))
    found = trained.scores(waveform)
    assert found.shape == (2, 3, 23, 16)
    np.testing.assert_allclose(found[1], trained.scores(waveform[1]), atol=1e-5)
    assert (trained.sample_rate, trained.num_samples) == (16_384, LENGTH)


def test_the_mixer_uses_all_frames_and_no_other_clip(rng):
    """Every frame moves the scores of its clip only."""
    mixer = Mixer(5, width=8, num_blocks=1, summary=2, hidden=8)
    picture = rng.standard_normal((2, 4, 6)).astype(np.float32)
    variables = jax.jit(mixer.init)(jax.random.key(0), picture)

    @jax.jit
    def slope(picture):
        return jax.grad(lambda x: jnp.sum(jnp.sin(mixer.apply(variables, x)[0])))(picture)

    found = np.asarray(slope(picture))
    assert np.all(np.any(found[0] != 0, axis=-1))
    assert not np.any(found[1])


def test_unknown_networks_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'C7' is unknown.*C1, .*C6XL, CE2E, CE2E_2D"):
        InverSynth("C7")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"learnable_filters": True}, "no bank"),
        ({"num_levels": 1}, "num_levels=1"),
        ({"num_parameters": 0}, "num_parameters=0"),
    ],
)
def test_settings_that_make_no_network_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        InverSynth("C1", **fields)


@pytest.mark.parametrize(
    ("clip", "error", "message"),
    [
        (np.zeros((1, 16_000), np.float32), ValueError, "16384 samples"),
        (np.zeros((1, LENGTH), np.int16), TypeError, "floating"),
    ],
)
def test_other_lengths_and_integers_are_refused(clip, error, message):
    with pytest.raises(error, match=message):
        InverSynth("C1").init(jax.random.key(0), clip)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spec": FilterbankSpec(sample_rate=44_100, hop_length=256, num_bins=64)}, "16384 Hz"),
        ({"dtype": jnp.bfloat16}, "dtype=bfloat16: use float32 or float64"),
    ],
)
def test_other_rates_and_dtypes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        InverSynth("C3", **options)
