"""One rule for what layers and pure functions take."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax.bank.uniform_quantizer import make_uniform_quantizer
from isincnet_jax.benchmark import metrics
from isincnet_jax.constant_q.dsp import nonstationary_gabor, sliced_gabor
from isincnet_jax.constant_q.dsp.gabor_spec import GaborSpec
from isincnet_jax.constant_q.dsp.slice_spec import SliceSpec
from isincnet_jax.data import loudness
from isincnet_jax.dsp import auditory, checks, companding, distances, fourier, spectral_distances
from isincnet_jax.dsp.cepstral_distances import mel_cepstral_distortion_db
from isincnet_jax.inversynth import features as inversynth_features
from isincnet_jax.inversynth import matching
from isincnet_jax.nets.pooling import squared_modulus
from isincnet_jax.phase import heap_integration, mel_inversion, propagation, retrieval
from isincnet_jax.spectrograms.dsp import cfp, chroma, pcen, time_stretch
from isincnet_jax.training import augmentation
from isincnet_jax.vocoders import compression as vocoder_features
from isincnet_jax.vocoders import losses as vocoder_losses

STFT = {"n_fft": 64, "hop_length": 16}
GABOR = GaborSpec(sample_rate=8000, fmin=500.0, n_bins=12)
OPERATORS = retrieval.stft_operators(**STFT, length=96)._asdict()
MELS = np.ones((4, 33))
LOSSES = {**vocoder_losses.vocoder_losses(8000.0), "matching": matching.spectral_distance}

OF_WAVEFORMS = {
    "stft": lambda x: fourier.stft(x, **STFT),
    "stft_power": lambda x: fourier.stft_power(x, **STFT),
    "time_stretch": lambda x: time_stretch.time_stretch(x, rate=1.5, **STFT),
    "pitch_shift": lambda x: time_stretch.pitch_shift(x, n_steps=2.0, **STFT),
    "resample": lambda x: time_stretch.resample(x, ratio=0.5, length=20),
    "cfp": cfp.combined_frequency_periodicity,
    "cqt": lambda x: isn.CQT1992v2(hop_length=32).apply({}, x),
    "recursive_cqt": lambda x: isn.CQT2010v2(hop_length=32).apply({}, x),
    "spectrogram_features": isn.spectrogram_features,
    "mel_preset": isn.mel_preset("whisper").features,
    "log_stft": inversynth_features.log_stft,
    "analyse": lambda x: nonstationary_gabor.analyse(x, spec=GABOR),
    "analyse_slices": lambda x: sliced_gabor.analyse_slices(x, spec=SliceSpec(GABOR)),
    "magnitude": lambda x: spectral_distances.magnitude(
        x, spectral_distances.Resolution(64, 16, 64)
    ),
    "integrated_loudness": lambda x: loudness.integrated_loudness(x[0], sample_rate=8000),
    "augment": lambda x: augmentation.augment(
        x,
        jax.random.key(0),
        spec=augmentation.AugmentationSpec(),
        first_index=0,
        sample_rate=8000,
    ),
    "polish": lambda x: retrieval.polish(x, jnp.ones((2, 7, 33)), **OPERATORS),
}
OF_PAIRS = {
    **{
        name: lambda x, loss=loss: loss(prediction=x, target=jnp.zeros(x.shape))
        for name, loss in LOSSES.items()
    },
    **{
        f"{name}'s target": lambda x, loss=loss: loss(prediction=jnp.zeros(x.shape), target=x)
        for name, loss in LOSSES.items()
    },
    "mel_cepstral_distortion_db": lambda x: mel_cepstral_distortion_db(
        prediction=x, target=np.ones(x.shape), sample_rate=8000
    ),
    "snr_db": lambda x: distances.snr_db(prediction=x, target=np.ones(x.shape)),
    "si_sdr_db": lambda x: distances.error_sums(prediction=np.ones(x.shape), target=x).si_sdr_db,
    "score_clip": lambda x: metrics.score_clip(
        prediction=x[0], target=np.ones(x[0].shape), sample_rate=8000, names=["snr_db"]
    ),
}
OF_SPECTROGRAMS = {
    "griffin_lim": lambda x: retrieval.griffin_lim(x, **OPERATORS),
    "admm": lambda x: retrieval.admm(x, **OPERATORS),
    "mel_to_magnitude": lambda x: mel_inversion.mel_to_magnitude(x[..., :4], MELS),
    "mel_admm": lambda x: mel_inversion.mel_admm(x[..., :4], MELS, **OPERATORS),
    "pcen": lambda x: pcen.pcen(x, smoothing=0.1),
    "smooth_frames": lambda x: pcen.smooth_frames(x, smoothing=0.1),
    "weigh_bins": lambda x: auditory.weigh_bins(x, MELS),
    "power_to_db": auditory.power_to_db,
    "normalize_frames": lambda x: chroma.normalize_frames(x, norm=2.0),
    "normalize_magnitude": vocoder_features.normalize_magnitude,
    "squared_modulus": lambda x: squared_modulus(x[..., :4]),
    "propagated_phase": lambda x: propagation.propagated_phase(
        x, n_fft=64, hop_length=16, gamma=100.0
    ),
    "heap integration": lambda x: heap_integration.phase_gradient_heap_integration(
        x, n_fft=64, hop_length=16, gamma=100.0, key=jax.random.key(0)
    ),
    "magnitude_distance": lambda x: vocoder_losses.magnitude_distance(
        prediction=x, target=jnp.ones(x.shape)
    ),
    "consistency_db": lambda x: vocoder_losses.consistency_db(
        prediction=jnp.ones(x.shape), target=x
    ),
    "encode_symmetric": lambda x: companding.encode_symmetric(x, q_bits=8, mu=30.0),
    "encode_reference": lambda x: companding.encode_reference(x, q_bits=8),
    "uniform code": make_uniform_quantizer(0.1).encode,
}
OF_SPECTRA = {
    "istft": lambda x: fourier.istft(x, **STFT, length=96),
    "phase_vocoder": lambda x: time_stretch.phase_vocoder(x, rate=1.5),
}
REAL = {**OF_WAVEFORMS, **OF_PAIRS, **OF_SPECTROGRAMS}


def _values(name, dtype):
    shape = (2, 7, 33) if name in OF_SPECTROGRAMS or name in OF_SPECTRA else (2, 96)
    return np.ones(shape, dtype)


def _trace(function, values):
    """Checks are made while tracing, of what is closed over as well; nothing is compiled."""
    return jax.eval_shape(lambda: function(values))


@pytest.mark.parametrize("name", REAL)
def test_pure_functions_refuse_what_layers_refuse(name):
    for dtype in (np.int16, np.bool_, np.float16, jnp.bfloat16, np.complex64):
        with pytest.raises(TypeError, match=r"dtype=.*float32 or float64, are needed"):
            _trace(REAL[name], _values(name, dtype))
    with pytest.raises(TypeError, match="another machine's byte order"):
        _trace(REAL[name], _values(name, np.dtype(np.float32).newbyteorder()))


@pytest.mark.parametrize("name", OF_SPECTRA)
def test_spectra_are_complex(name):
    for dtype in (np.int16, np.float32, np.float16):
        with pytest.raises(TypeError, match=r"dtype=.*complex64 or complex128, are needed"):
            _trace(OF_SPECTRA[name], _values(name, dtype))


def test_traced_values_are_checked_the_same():
    for transform in (jax.jit, jax.vmap):
        with pytest.raises(TypeError, match=r"waveform\.dtype=int16"):
            transform(lambda x: fourier.stft(x, **STFT))(_values("stft", np.int16))


def test_lists_are_refused():
    with pytest.raises(TypeError, match=r"waveform is a list.*np.asarray\(waveform, np.float32\)"):
        fourier.stft([0.0] * 100, **STFT)
    with pytest.raises(TypeError, match="codes is a tuple"):
        companding.decode_symmetric((1, 2), q_bits=8, mu=30.0)


def test_double_precision_is_rounded_without_x64():
    found = fourier.stft(np.ones((2, 96)), **STFT)
    assert found.dtype == np.complex64


def test_a_named_dtype_is_the_only_one():
    checks.check_floating(np.ones(3, np.float16), "values", dtype=np.float16)
    with pytest.raises(TypeError, match=r"values\.dtype=float32 but the layer works in float16"):
        checks.check_floating(np.ones(3, np.float32), "values", dtype=np.float16)


@pytest.mark.parametrize("shape", [(), (3, 0)])
def test_a_waveform_has_a_sample(shape):
    with pytest.raises(ValueError, match="the last axis is time and needs a sample"):
        checks.check_floating_waveform(np.ones(shape, np.float32))


@pytest.mark.parametrize("shape", [(80_000, 2), (80_000, 1), (1, 80_000, 2), (1000, 8)])
def test_time_is_the_last_axis(shape):
    """Soundfile reads [time, channels]: a batch of many clips of two samples, it seems."""
    waveform = np.zeros(shape, np.float32)
    message = f"{shape[-2]} clips of {shape[-1]}; use np.swapaxes"
    with pytest.raises(ValueError, match=message):
        checks.check_floating_waveform(waveform)
    for name in ("stft", "cqt"):
        with pytest.raises(ValueError, match=message):
            _trace(jax.jit(OF_WAVEFORMS[name]), waveform)


@pytest.mark.parametrize("shape", [(1,), (80_000,), (2, 80_000), (999, 2), (1000, 9), (4, 8, 1)])
def test_short_clips_are_no_channels(shape):
    checks.check_floating_waveform(jax.ShapeDtypeStruct(shape, np.float32))


CODES = {
    "symmetric": (lambda c: companding.decode_symmetric(c, q_bits=4, mu=30.0), 0, 14),
    "reference": (lambda c: companding.decode_reference(c, q_bits=4), 0, 15),
    "uniform": (make_uniform_quantizer(0.5).decode, -(1 << 20), 1 << 20),
}


@pytest.mark.parametrize("name", CODES)
def test_codes_out_of_range(name):
    """Concrete ones are refused, traced ones are NaN: never a number that looks like any other."""
    decode, low, high = CODES[name]
    inside = jnp.asarray([low, 0, high], jnp.int32)
    np.testing.assert_allclose(jax.jit(decode)(inside), decode(inside), rtol=1e-6)
    for wrong in (low - 1, high + 1, np.iinfo(np.int32).max):
        codes = np.asarray([0, wrong], np.int32)
        with pytest.raises(ValueError, match=f"those of this code are {low} to {high}"):
            decode(codes)
        with pytest.raises(ValueError, match=f"those of this code are {low} to {high}"):
            decode(jnp.asarray(codes))
        found = jax.jit(decode)(codes)
        assert np.isfinite(found[0])
        assert np.isnan(found[1])
        # What a traced function closes over is concrete, too.
        closed = jax.jit(functools.partial(decode, jnp.asarray(codes)))
        with pytest.raises(ValueError, match=f"those of this code are {low} to {high}"):
            closed()
    with pytest.raises(TypeError, match="codes are integers"):
        decode(np.zeros(3, np.float32))
    assert decode(np.zeros((0, 3), np.int32)).shape == (0, 3)


def test_narrow_integers_hold_fewer_bounds_than_the_code_has():
    codes = jnp.arange(16, dtype=jnp.uint8)
    found = jax.jit(lambda c: companding.decode_symmetric(c, q_bits=4, mu=30.0))(codes)
    np.testing.assert_array_equal(np.isnan(found), np.arange(16) == 15)
    found = jax.jit(make_uniform_quantizer(0.5).decode)(codes)
    np.testing.assert_allclose(found, 0.5 * np.arange(16))


QUANTIZERS = {
    "symmetric": isn.Quantizer(np.ones(3, np.float32), 8),
    "reference": isn.Quantizer(np.ones(1, np.float32), 8, code="reference"),
    "uniform": make_uniform_quantizer(0.1),
}


@pytest.mark.parametrize("name", QUANTIZERS)
def test_nan_has_no_code(name):
    quantizer = QUANTIZERS[name]
    values = np.full((2, 3), 0.25, np.float32)
    values[1, 1] = np.nan
    with pytest.raises(ValueError, match="some values are NaN, which have no code"):
        quantizer.encode(values)
    with pytest.raises(ValueError, match="some values are NaN, which have no code"):
        quantizer.encode(jnp.asarray(values))
    for call in (quantizer.straight_through, jax.jit(quantizer.straight_through)):
        found = np.asarray(call(jnp.asarray(values)))
        np.testing.assert_array_equal(np.isnan(found), np.isnan(values))
    if name == "symmetric":
        with pytest.raises(ValueError, match="some values are NaN"):
            quantizer.fit(values)


def test_empty_batches_of_pure_functions():
    for name in ("stft", "time_stretch", "pitch_shift", "cfp", "spectrogram_features", "analyse"):
        found = jax.eval_shape(OF_WAVEFORMS[name], jnp.zeros((0, 96)))
        assert all(leaf.shape[0] == 0 for leaf in jax.tree.leaves(found))
    for name in LOSSES:
        assert _trace(OF_PAIRS[name], jnp.zeros((0, 2048))).shape == (0,)
    for quantizer in QUANTIZERS.values():
        codes = quantizer.encode(np.zeros((0, 4, 3), np.float32))
        assert quantizer.decode(codes).shape == (0, 4, 3)
    assert distances.error_sums(prediction=np.zeros((0, 4)), target=np.zeros((0, 4))).count == 0


@pytest.mark.parametrize("name", OF_PAIRS)
def test_losses_promote_no_ranks(name):
    if name in LOSSES:
        with jax.numpy_rank_promotion("raise"):
            jax.eval_shape(jax.grad(lambda x: jnp.sum(OF_PAIRS[name](x))), jnp.ones((2, 4096)))
