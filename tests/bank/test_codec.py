"""Codec: a frozen pytree with NumPy manners."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import isincnet_jax as isn

SPEC = isn.FilterbankSpec(sample_rate=8000, hop_length=16, num_bins=17, shape="none")


@functools.cache
def _codec() -> isn.Codec:
    return isn.build_codec(isn.SincNet(SPEC, projections=("mel_slaney",)), name="small")


@pytest.fixture
def waveform(rng):
    return rng.uniform(-1, 1, (2, 700)).astype(np.float32)


def test_it_is_a_pytree(waveform):
    codec = _codec()
    leaves, structure = jax.tree.flatten(codec)
    assert leaves
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    again = jax.tree.unflatten(structure, leaves)
    assert (again.model, again.name) == (codec.model, "small")
    np.testing.assert_array_equal(again.encode(waveform), codec.encode(waveform))
    doubled = jax.tree.map(lambda leaf: 2 * leaf, codec)
    np.testing.assert_allclose(
        doubled.encode(waveform), 2 * np.asarray(codec.encode(waveform)), rtol=1e-6
    )


def test_it_is_frozen():
    with pytest.raises(AttributeError):
        _codec().name = "other"


def test_it_passes_through_jit(waveform):
    compiled = []

    @jax.jit
    def reconstruct(codec, samples):
        compiled.append(1)
        return codec.decode(codec.encode(samples), length=samples.shape[-1])

    found = reconstruct(_codec(), waveform)
    np.testing.assert_allclose(found, waveform, atol=1e-5)
    reconstruct(jax.tree.map(lambda leaf: leaf + 0, _codec()), waveform)
    assert len(compiled) == 1


def test_it_maps_over_clips(waveform):
    mapped = jax.vmap(_codec().encode)(jnp.asarray(waveform))
    np.testing.assert_allclose(mapped, _codec().encode(waveform), atol=1e-6)


def test_numpy_doubles_are_cast(waveform):
    codec = _codec()
    exact = codec.encode(waveform)
    assert exact.dtype == jnp.float32
    np.testing.assert_array_equal(codec.encode(waveform.astype(np.float64)), exact)
    spectrogram = np.asarray(exact)
    np.testing.assert_array_equal(
        codec.decode(spectrogram.astype(np.float64), length=700),
        codec.decode(spectrogram, length=700),
    )


def test_integers_are_refused():
    with pytest.raises(TypeError, match=r"int16|int32"):
        _codec().encode(np.zeros(100, np.int16))


def test_channels_last_are_refused():
    with pytest.raises(ValueError, match=r"waveform\.shape=\(80000, 2\): the last axis is time"):
        _codec().encode(np.zeros((80_000, 2), np.float32))


@pytest.mark.parametrize("length", [1, 16, 700, 701])
def test_frames_are_counted_and_placed(length):
    codec = _codec()
    num_frames = codec.encode(np.zeros(length, np.float32)).shape[0]
    assert codec.num_frames(length) == num_frames
    times_s = codec.frame_times_s(length)
    assert times_s.shape == (num_frames,)
    np.testing.assert_allclose(np.diff(times_s), 16 / 8000)
    assert np.count_nonzero(times_s == 0.0) == 1


def test_a_click_is_loudest_in_the_frame_at_its_time():
    codec = _codec()
    click = np.zeros(800, np.float32)
    click[25 * 16] = 1.0
    energy = np.sum(np.asarray(codec.encode(click)) ** 2, axis=-1)
    assert codec.frame_times_s(800)[np.argmax(energy)] == pytest.approx(25 * 16 / 8000)


def test_without_a_length_the_longest_clip_comes_back(waveform):
    codec = _codec()
    spectrogram = codec.encode(waveform)
    decoded = codec.decode(spectrogram)
    longest = SPEC.bank.longest_length(spectrogram.shape[1])
    assert decoded.shape == (2, longest)
    assert 700 <= longest < 700 + 16
    assert codec.num_frames(longest) == codec.num_frames(700) < codec.num_frames(longest + 1)
    np.testing.assert_allclose(decoded[:, :700], waveform, atol=1e-5)


def test_scales_are_offered(waveform):
    codec = _codec()
    mel = codec.encode(waveform, scale="mel_slaney")
    assert mel.shape == codec.encode(waveform).shape
    assert codec.decode(mel, scale="mel_slaney", length=700).shape == (2, 700)
    with pytest.raises(ValueError, match="this model offers linear, mel_slaney"):
        codec.encode(waveform, scale="bark")


def test_the_key_does_not_matter(waveform):
    other = isn.build_codec(_codec().model, key=jax.random.key(7))
    np.testing.assert_array_equal(other.encode(waveform), _codec().encode(waveform))


def test_its_quantizer_fits_its_channels(waveform):
    quantizer = _codec().quantizer(q_bits=12)
    assert np.shape(quantizer.scale) == (SPEC.num_channels,)
    quiet = waveform / 100  # full-scale noise is louder in the treble than the scales allow
    codes = quantizer.encode(_codec().encode(quiet))
    assert codes.dtype == jnp.int32
    decoded = _codec().decode(quantizer.decode(codes), length=700)
    assert np.max(np.abs(np.asarray(decoded) - quiet)) < 0.001
    with pytest.raises(ValueError, match="q_bits=1"):
        _codec().quantizer(q_bits=1)


def test_gradients_on_silence_are_finite():
    codec = _codec()

    def loss(samples):
        return jnp.sum(jnp.abs(codec.encode(samples))) + jnp.sum(
            codec.decode(codec.encode(samples), length=100) ** 2
        )

    assert np.all(np.isfinite(jax.jit(jax.grad(loss))(jnp.zeros(100))))


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
@pytest.mark.parametrize("scale", ["linear", "mel"])  # folded and strided
def test_no_clips_at_all(shape, scale):
    spec = isn.FilterbankSpec(
        sample_rate=8000, hop_length=16, num_bins=17 if scale == "linear" else 48, scale=scale
    )
    codec = isn.build_codec(isn.SincNet(spec))
    spectrogram = codec.encode(np.zeros((*shape, 100), np.float32))
    assert spectrogram.shape == (*shape, codec.num_frames(100), spec.num_channels)
    assert codec.decode(spectrogram, length=100).shape == (*shape, 100)


@pytest.mark.parametrize("num_bins", [17, 257])  # matrices, and an FFT where there is one
def test_half_precision(num_bins):
    spec = isn.FilterbankSpec(sample_rate=8000, hop_length=num_bins - 7, num_bins=num_bins)
    waveform = np.random.default_rng(0).uniform(-1, 1, 1000).astype(np.float32)
    narrow = isn.build_codec(isn.SincNet(spec, dtype=jnp.bfloat16))
    spectrogram = narrow.encode(jnp.asarray(waveform, jnp.bfloat16))
    decoded = np.asarray(narrow.decode(spectrogram, length=1000).astype(jnp.float32))
    # Eight bits of mantissa, and the noise gain of the bank.
    assert np.sqrt(np.mean((decoded - waveform) ** 2)) < 0.1
