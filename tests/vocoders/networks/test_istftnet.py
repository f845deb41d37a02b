"""iSTFTNet and the ConvNeXt vocoder: sizes, inverses, phases, frame grids, errors."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from isincnet_jax.dsp import fourier
from isincnet_jax.vocoders import blocks as vocoder_blocks
from isincnet_jax.vocoders.networks.convnext import ConvNeXtVocoder
from isincnet_jax.vocoders.networks.istftnet import ISTFTNet

BINS = 20
MELS = np.random.default_rng(0).uniform(0, 2, (2, 6, BINS)).astype(np.float32)
NET = functools.partial(
    ISTFTNet, num_bins=BINS, width=8, strides=(4, 2), block_taps=(3,), block_dilations=(1, 2)
)
VOCOS = functools.partial(
    ConvNeXtVocoder, num_bins=BINS, width=12, num_blocks=1, n_fft=64, hop_length=16
)
PHASE = functools.partial(VOCOS, num_bins=33, predict="phase")
TIME = 16 * 12 + 5


@functools.lru_cache
def _waveform():
    time = np.arange(TIME)
    clip = 0.3 * np.sin(0.4 * time) + 0.2 * np.sin(1.3 * time + 1)
    return np.stack([clip, 0.1 * clip[::-1]]).astype(np.float32)


@functools.lru_cache
def _spectrum():
    return fourier.stft(_waveform(), n_fft=64, hop_length=16)


def _run(model, *inputs, **options):
    variables = _variables(model, *[value.shape for value in inputs], **options)
    return jax.jit(functools.partial(model.apply, **options))(variables, *inputs)


@functools.lru_cache
def _variables(model, *shapes, **options):
    probes = [jnp.ones(shape, jnp.float32) for shape in shapes]
    return jax.jit(functools.partial(model.init, **options))(jax.random.key(0), *probes)


def _size(model):
    found = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 2, model.num_bins)))
    return sum(leaf.size for leaf in jax.tree.leaves(found["params"]))


def test_sizes_are_the_published_ones():
    assert round(_size(ISTFTNet()) / 1e6, 1) == 13.3
    assert round(_size(ConvNeXtVocoder()) / 1e6, 1) == 13.5
    assert _size(ConvNeXtVocoder(num_bins=80, width=256)) < 4e6


@pytest.mark.quick(0)
@pytest.mark.parametrize("model", [NET(), VOCOS()])
def test_output_has_the_grid_of_the_frames(model):
    assert model.hop in (16, 32)
    whole = _run(model, MELS)
    assert whole.shape == (2, 6 * model.hop)
    assert whole.dtype == np.float32
    assert np.all(np.isfinite(whole))
    shorter = _run(model, MELS, length=5 * model.hop + 3)
    assert shorter.shape[1] // model.hop + 1 == 6
    np.testing.assert_allclose(shorter, whole[:, : shorter.shape[1]], atol=1e-6)


@pytest.mark.quick(1)
@pytest.mark.parametrize("model", [NET(), VOCOS()])
def test_clips_of_one_frame_and_silence(model):
    variables = _variables(model, MELS.shape)
    assert jax.eval_shape(model.apply, variables, MELS[:, :1]).shape == (2, model.hop)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1))
    def gradient(params, features):
        return jnp.sum(model.apply(params, features) ** 2)

    for leaf in jax.tree.leaves(gradient(variables, 0 * MELS[:, :1])):
        assert np.all(np.isfinite(leaf))


def test_compression_inside_is_the_logarithm_outside():
    inside = _run(VOCOS(floor=0.5), MELS)
    variables = _variables(VOCOS(floor=0.5), MELS.shape)
    outside = VOCOS(compression="none")
    logs = np.log(np.maximum(MELS, 0.5))
    np.testing.assert_allclose(jax.jit(outside.apply)(variables, logs), inside, atol=1e-6)


@pytest.mark.quick(0)
def test_the_spectrum_is_inverted_as_it_is():
    model = VOCOS()
    real, imag = _run(model, MELS, method="spectrum")
    wanted = fourier.istft(lax.complex(real, imag), n_fft=64, hop_length=16, length=90)
    np.testing.assert_allclose(_run(model, MELS, length=90), wanted, atol=1e-6)


def test_large_outputs_neither_overflow_nor_stop_gradients():
    values = jnp.array([-200.0, 0.0, 4.0, 500.0])
    found = vocoder_blocks.bounded_exp(values, 100.0)
    np.testing.assert_allclose(found, [0, 1, np.exp(4), 100], rtol=1e-5)
    gradient = jax.jit(jax.grad(lambda v: jnp.sum(vocoder_blocks.bounded_exp(v, 100.0))))(values)
    np.testing.assert_allclose(gradient, [0, 1, np.exp(4), 0], rtol=1e-5)


@pytest.mark.quick(0)
def test_given_phases_are_the_start():
    """Before training, magnitudes with their own phases come back as the waveform."""
    model = PHASE(with_initial=True)
    magnitude = jnp.abs(_spectrum())
    variables = jax.jit(model.init)(jax.random.key(0), magnitude, initial=_spectrum())
    found = jax.jit(functools.partial(model.apply, length=TIME))(
        variables, magnitude, initial=_spectrum()
    )
    np.testing.assert_allclose(found, _waveform(), atol=1e-4)
    # Corrections act on the phase, never on the magnitude.
    shaken = jax.tree.map(
        lambda leaf: leaf + 0.3 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), variables
    )
    spectrum = jax.jit(functools.partial(model.apply, method="spectrum"))
    real, imag = spectrum(shaken, magnitude, initial=_spectrum())
    np.testing.assert_allclose(np.hypot(real, imag), magnitude, atol=1e-3)
    assert np.max(np.abs(lax.complex(real, imag) - _spectrum())) > 0.1


@pytest.mark.quick(0)
def test_phases_without_a_start_are_those_of_tones():
    """The start is right for tones at the bins' centres that have phase 0 at sample 0."""
    model = PHASE()
    tone = np.cos(2 * np.pi * 9 / 64 * np.arange(TIME)).astype(np.float32)[None]
    spectrum = fourier.stft(tone, n_fft=64, hop_length=16)
    real, imag = _run(model, jnp.abs(spectrum), method="spectrum")
    inner = slice(2, -3)
    np.testing.assert_allclose(
        lax.complex(real, imag)[:, inner, 9], spectrum[:, inner, 9], atol=1e-3
    )


@pytest.mark.quick(0)
def test_the_output_level_is_that_of_the_magnitudes():
    model = PHASE()
    magnitude = np.abs(_spectrum())
    loud, quiet = _run(model, magnitude), _run(model, 0.01 * magnitude)
    np.testing.assert_allclose(quiet, 0.01 * loud, atol=1e-6)


def test_gradients_through_phases_are_finite_on_silence():
    model = PHASE(with_initial=True)
    zero = jnp.zeros((1, 4, 33), jnp.float32)
    start = jnp.zeros((1, 4, 33), jnp.complex64)
    variables = jax.jit(model.init)(jax.random.key(0), zero, initial=start)
    gradient = jax.jit(jax.grad(lambda v: jnp.sum(model.apply(v, zero + 1.0, initial=start) ** 2)))
    for leaf in jax.tree.leaves(gradient(variables)):
        assert np.all(np.isfinite(leaf))


@pytest.mark.quick(2)
@pytest.mark.parametrize(("taps", "stride"), [(16, 8), (4, 2), (5, 3), (3, 3), (7, 2)])
def test_transposed_convolution_is_pytorchs(taps, stride, golden):
    arrays = golden("torch_layers")
    sequence, kernel, wanted = (
        arrays[f"transposed_{taps}_{stride}/{name}"] for name in ("input", "kernel", "output")
    )
    found = vocoder_blocks.transposed_convolution(
        jnp.asarray(sequence), jnp.asarray(kernel), stride=stride
    )
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ISTFTNet(width=6), "multiple of 4"),
        (lambda: ISTFTNet(strides=()), "strides="),
        (lambda: ISTFTNet(block_taps=(4,)), "must be odd"),
        (lambda: ISTFTNet(hop_length=9), "at most 8"),
        (lambda: ISTFTNet(compression="db"), "compression='db'"),
        (lambda: ConvNeXtVocoder(taps=4), "taps=4"),
        (lambda: ConvNeXtVocoder(hop_length=600), "at most 512"),
        (lambda: ConvNeXtVocoder(predict="phases"), "predict='phases'"),
        (lambda: ConvNeXtVocoder(predict="phase"), "use num_bins=513"),
        (lambda: ConvNeXtVocoder(with_initial=True), "no effect"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("model", [NET(), VOCOS()])
def test_other_spectrograms_are_refused(model):
    init = functools.partial(jax.eval_shape, model.init, jax.random.key(0))
    with pytest.raises(ValueError, match="its bins must be 20"):
        init(jnp.zeros((1, 4, 33)))
    with pytest.raises(ValueError, match="transposed"):
        init(jnp.zeros((1, BINS, 4)))
    with pytest.raises(ValueError, match="at least one frame"):
        init(jnp.zeros((1, 0, BINS)))


def test_other_starts_are_refused():
    magnitude = jnp.ones((1, 4, 33))
    with pytest.raises(ValueError, match="none is given"):
        jax.eval_shape(PHASE(with_initial=True).init, jax.random.key(0), magnitude)
    with pytest.raises(ValueError, match="one is given"):
        jax.eval_shape(
            PHASE().init, jax.random.key(0), magnitude, initial=lax.complex(magnitude, magnitude)
        )
    with pytest.raises(ValueError, match="complex coefficients"):
        jax.eval_shape(
            functools.partial(PHASE(with_initial=True).init, jax.random.key(0), magnitude),
            initial=magnitude,
        )
