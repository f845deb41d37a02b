"""Vocoders frame by frame: equal to the whole clip under any pieces, and no later than stated."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import isincnet_jax as isn
from isincnet_jax.data.demo import demo_waveform
from isincnet_jax.dsp import fourier, streams
from isincnet_jax.phase import propagation, sweeps
from isincnet_jax.vocoders import online
from isincnet_jax.vocoders.features import VocoderFeatures
from isincnet_jax.vocoders.networks.convnext import ConvNeXtVocoder
from isincnet_jax.vocoders.networks.phase_gradient import PhaseGradientVocoder
from isincnet_jax.vocoders.vocoder import TrainedVocoder, Vocoder

HOP, WINDOW = 32, 128
FEATURES = VocoderFeatures("linear", 8000, n_fft=256, win_length=WINDOW, hop_length=HOP)
LENGTHS = (1, 33, 400, 1003)


@functools.cache
def _vocoder(dtype=jnp.float32, **options):
    """One whose network has learned nothing, and is no longer the analytic method."""
    network = PhaseGradientVocoder(
        **{"num_bins": 129, "n_fft": 256, "win_length": WINDOW, "hop_length": HOP, **options},
        widths=(8,),
        halo_bins=2,
        dtype=dtype,
    )
    model = Vocoder(network, FEATURES, dtype=dtype)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 96), dtype))
    keys = iter(jax.random.split(jax.random.key(1), 20))
    moved = [
        leaf + 0.3 * jax.random.normal(next(keys), leaf.shape, leaf.dtype)
        for leaf in jax.tree.leaves(variables)
    ]
    return TrainedVocoder(model, jax.tree.unflatten(jax.tree.structure(variables), moved))


@functools.cache
def _magnitude(length, dtype=jnp.float32):
    clips = np.stack([demo_waveform()[first : first + length] for first in (2000, 9000)])
    return np.asarray(_vocoder(dtype).spectrogram(clips))


@functools.cache
def _offline(length, dtype=jnp.float32):
    return _vocoder(dtype).synthesize(_magnitude(length, dtype), length=length, online=True)


def _run(vocoder, magnitude, cuts, length):
    stream = isn.stream_vocoder(vocoder)
    state, heard = stream.init(magnitude.shape[:-2]), []
    *pieces, last = np.split(magnitude, cuts, axis=-2)
    for piece in pieces:
        state, samples = stream.step(state, piece)
        heard.append(samples)
    heard.append(stream.finish(state, last, length=length))
    return np.concatenate(heard, axis=-1)


@pytest.mark.quick(1)
@pytest.mark.parametrize("part", range(4))
def test_a_hundred_random_pieces_equal_the_whole(part):
    rng = np.random.default_rng(part)
    for number in range(25):
        length = LENGTHS[number % len(LENGTHS)]
        magnitude = _magnitude(length)
        cuts = np.sort(rng.integers(0, magnitude.shape[1] + 1, rng.integers(0, 12)))
        found = _run(_vocoder(), magnitude, cuts, length)
        assert found.dtype == np.float32
        assert found.shape == (2, length)
        # Phases follow from phases: rounding of one frame goes on into all that come.
        np.testing.assert_allclose(found, _offline(length), atol=2e-5)


def test_in_double_precision_they_are_equal_to_its_rounding(rng, x64):
    vocoder, magnitude = _vocoder(jnp.float64), _magnitude(1003, jnp.float64)
    for count in (3, 12):
        cuts = np.sort(rng.integers(0, magnitude.shape[1] + 1, count))
        found = _run(vocoder, magnitude, cuts, 1003)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, _offline(1003, jnp.float64), atol=1e-12)


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "options",
    [
        {"every": 1, "past_frames": 0, "future_frames": 0},
        {"every": 1, "hop_length": 50, "win_length": 121},
        {"hop_length": 64, "win_length": 128, "future_frames": 4, "patch_bins": 3},
    ],
)
def test_other_geometries(options, x64):
    """Windows of odd length, shorter than their frames, no multiple of the hop; no context."""
    geometry = {"win_length": WINDOW, "hop_length": HOP, **options}
    features = VocoderFeatures(
        "linear", 8000, n_fft=256, **{name: geometry[name] for name in ("win_length", "hop_length")}
    )
    network = PhaseGradientVocoder(
        num_bins=129, n_fft=256, widths=(4,), halo_bins=1, dtype=jnp.float64, **geometry
    )
    model = Vocoder(network, features, dtype=jnp.float64)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 200)))
    vocoder = TrainedVocoder(model, variables)
    stream = isn.stream_vocoder(vocoder)
    for length in (60, 903):
        clip = demo_waveform()[2000 : 2000 + length]
        magnitude = np.asarray(vocoder.spectrogram(clip))
        found = _run(vocoder, magnitude, [1, 5, 6], length)
        wanted = vocoder.synthesize(magnitude, length=length, online=True)
        np.testing.assert_allclose(found, wanted, atol=1e-12)
        # What is stated is needed: the last frame of all settles the samples that it says.
        state, samples = stream.step(stream.init(), magnitude)
        assert len(samples) == max(len(magnitude) * network.hop - stream.latency, 0)
        assert state.emitted == len(samples)


@pytest.mark.parametrize("level", [0.0, 1e-12, 1.0])
def test_gradients_are_finite(level):
    def total(vocoder, magnitude):
        return jnp.sum(vocoder.synthesize(magnitude, online=True) ** 2)

    slopes = jax.jit(jax.grad(total, (0, 1)))(_vocoder(), level * _magnitude(400))
    assert all(np.all(np.isfinite(slope)) for slope in jax.tree.leaves(slopes))


@pytest.mark.parametrize("level_db", [0, -20, -40])
def test_the_whole_is_one_forward_sweep_over_the_networks_steps(level_db, x64):
    """Those of the whole clip, relative to its loudest: that online levels do not costs nothing."""
    level = 10 ** (level_db / 20)
    vocoder, magnitude = _vocoder(jnp.float64), level * _magnitude(400, jnp.float64)
    network, variables = vocoder.model.network, {"params": vocoder.variables["params"]["network"]}
    held = np.pad(magnitude, ((0, 0), (3, 2), (0, 0)), mode="edge")
    steps = jax.jit(functools.partial(network.apply, method="steps"))(variables, held)
    steps = jax.tree.map(lambda part: part[:, 3:-2], steps)
    directions = jax.jit(functools.partial(sweeps.swept, sweeps=1))(steps)
    spectrum = propagation.scaled(propagation.counted_from_start(directions), magnitude[..., ::2])
    wanted = fourier.istft(spectrum, n_fft=WINDOW, hop_length=HOP, length=400)
    found = vocoder.synthesize(magnitude, length=400, online=True)
    np.testing.assert_allclose(found, wanted, atol=1e-3 * level)


def test_latency_is_what_is_stated():
    vocoder, magnitude = _vocoder(), _magnitude(1003)[0]
    stream = isn.stream_vocoder(vocoder)
    assert stream.latency == 2 * HOP + WINDOW // 2  # two frames ahead, half a window
    assert stream.total_latency == stream.latency + WINDOW // 2 - 1
    state, seen = stream.init(), []
    for frame in range(len(magnitude)):
        state, samples = stream.step(state, magnitude[frame : frame + 1])
        seen += [frame] * len(samples)
    settled = np.arange(len(seen))
    # Frame t settles a hop of samples from t hop - latency on, none of them later.
    np.testing.assert_array_equal(np.array(seen) * HOP - stream.latency, settled // HOP * HOP)
    # A frame needs the samples up to the end of its window and no more.
    clip = demo_waveform()[2000:3003]
    frame, arrived = 10, 10 * HOP + WINDOW // 2 - 1
    for end, same in ((arrived + 1, True), (arrived, False)):
        cut = np.where(np.arange(1003) < end, clip, 0.0).astype(np.float32)
        found = np.asarray(vocoder.spectrogram(cut))[frame]
        assert np.array_equal(found, magnitude[frame]) is same


def test_the_newest_frame_matters_to_the_oldest_sample_that_it_settles():
    stream, magnitude = isn.stream_vocoder(_vocoder()), _magnitude(1003)[0]
    state, _ = stream.step(stream.init(), magnitude[:12])
    _, samples = stream.step(state, magnitude[12:13])
    _, others = stream.step(state, 0.5 * magnitude[12:13])
    assert np.max(np.abs(samples - others)[: HOP // 4]) > 1e-4


def test_few_shapes_are_compiled(rng):
    before = online._advance._cache_size()
    stream, magnitude = isn.stream_vocoder(_vocoder()), np.tile(_magnitude(1003), (1, 6, 1))
    for _ in range(5):
        state = stream.init(2)
        for piece in np.split(magnitude, np.sort(rng.integers(0, 190, 20)), axis=1):
            state, _ = stream.step(state, piece)
        stream.finish(state)
    assert online._advance._cache_size() - before <= streams.NUM_COMPILED_SHAPES


def test_the_inner_step_works_in_a_scan():
    stream, magnitude = isn.stream_vocoder(_vocoder()), _magnitude(1003)
    state, none = stream.step(stream.init(2), magnitude[:, :2])
    assert none.shape == (2, 0)
    frames = jnp.moveaxis(jnp.asarray(magnitude[:, 2:]), 1, 0)[:, :, None]

    @jax.jit
    def run(carry):
        return lax.scan(stream.advance, carry, frames)[1]

    found = np.moveaxis(np.asarray(run(state.carry)), 0, 1).reshape(2, -1)[:, WINDOW // 2 :]
    np.testing.assert_allclose(found, _offline(1003)[:, : found.shape[1]], atol=2e-5)


@pytest.mark.parametrize("batch", [(), 1, (2, 3)])
def test_leading_axes(batch):
    stream = isn.stream_vocoder(_vocoder())
    axes = (batch,) if isinstance(batch, int) else batch
    magnitude = np.broadcast_to(_magnitude(400)[0], (*axes, 13, 129))
    state, samples = stream.step(stream.init(batch, length=400), magnitude)
    found = np.concatenate([samples, stream.finish(state)], axis=-1)
    np.testing.assert_allclose(found, np.broadcast_to(_offline(400)[0], (*axes, 400)), atol=2e-5)


def test_a_step_leaves_its_state_as_it_was():
    stream, magnitude = isn.stream_vocoder(_vocoder()), _magnitude(400)
    state, _ = stream.step(stream.init(2), magnitude[:, :5])
    again = [stream.step(state, magnitude[:, 5:9])[1] for _ in range(2)]
    np.testing.assert_array_equal(*again)
    assert len(jax.tree.leaves(state)) == 6  # four arrays, two counts


def test_an_empty_signal_is_empty_and_no_frames_are_no_samples():
    stream = isn.stream_vocoder(_vocoder())
    assert stream.finish(stream.init(2)).shape == (2, 0)
    state, samples = stream.step(stream.init(), _magnitude(400)[0, :0])
    assert samples.shape == stream.finish(state).shape == (0,)
    # Without a length, all samples that the frames have.
    assert stream.finish(state, _magnitude(400)[0]).shape == (13 * HOP,)


def test_what_has_no_online_form_is_refused():
    network = ConvNeXtVocoder(num_bins=129, n_fft=256, hop_length=HOP, width=8, num_blocks=1)
    other = TrainedVocoder(Vocoder(network, FEATURES), {})
    with pytest.raises(ValueError, match="ConvNeXtVocoder predicts no steps of phase"):
        isn.stream_vocoder(other)
    with pytest.raises(ValueError, match="ConvNeXtVocoder predicts no steps of phase"):
        other.synthesize(_magnitude(400), online=True)
    with pytest.raises(ValueError, match=r"iterations=2 .*use network.clone\(iterations=0\)"):
        isn.stream_vocoder(_vocoder(iterations=2))
    with pytest.raises(ValueError, match="a heap needs the whole clip"):
        _vocoder().synthesize(_magnitude(400), heap=True, online=True)
    with pytest.raises(TypeError, match="made from a trained vocoder"):
        isn.stream_vocoder(network)  # type: ignore[arg-type]


def test_wrong_frames_and_lengths_are_refused():
    stream, magnitude = isn.stream_vocoder(_vocoder()), _magnitude(400)
    with pytest.raises(ValueError, match=r"this stream takes \[any number, 129\]"):
        stream.step(stream.init(), magnitude)
    with pytest.raises(ValueError, match="looks like decibels"):
        stream.step(stream.init(2), magnitude - 10.0)
    with pytest.raises(TypeError, match="floating"):
        stream.step(stream.init(2), magnitude.astype(np.int32))
    with pytest.raises(TypeError, match=r"traced: .* use advance"):
        jax.jit(lambda frames: stream.step(stream.init(2), frames)[1])(magnitude)
    with pytest.raises(ValueError, match="length=0"):
        stream.init(length=0)
    state, _ = stream.step(stream.init(2, length=400), magnitude)
    with pytest.raises(ValueError, match="init was told length=400"):
        stream.finish(state, length=399)
    with pytest.raises(ValueError, match="length=417: 13 frames of 32 samples have 1 to 416"):
        stream.finish(stream.init(2), magnitude, length=417)
    state, _ = stream.step(stream.init(2), magnitude)
    with pytest.raises(ValueError, match="samples were given out already"):
        stream.finish(state, length=100)
