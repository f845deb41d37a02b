"""NumPy's scalars as sizes, numbers and flags: Python's own after construction, for all classes."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import pkgutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax.bank import uniform_quantizer
from isincnet_jax.constant_q.dsp.gabor_spec import GaborSpec
from isincnet_jax.constant_q.dsp.nonuniform_spec import NonuniformSpec
from isincnet_jax.data.pipeline import BatchPlan
from isincnet_jax.dsp import auditory, companding, fourier, settling
from isincnet_jax.linen import SettledModule
from isincnet_jax.spectrograms.dsp import time_stretch
from isincnet_jax.training.augmentation import AugmentationSpec
from isincnet_jax.training.loop import LoopSpec
from isincnet_jax.training.optimizers import OptimizerSpec
from isincnet_jax.vocoders.features import VocoderFeatures

NOISE = np.random.default_rng(0).standard_normal((1, 2000)).astype(np.float32)
INTEGERS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers(kind):
    found = settling.settled_integer("n", kind(100))
    assert (type(found), found) == (int, 100)


@pytest.mark.parametrize("make", [np.array, jnp.int32, jnp.asarray])
def test_arrays_of_no_axes_are_settled(make):
    found = settling.settled_integer("n", make(100))
    assert (type(found), found) == (int, 100)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "must be an integer"),
        (np.bool_(True), "must be an integer"),
        (128.0, "n=128.0 must be an integer; use n=128"),
        (np.float32(128.0), "must be an integer; use n=128"),
        (128.5, "n=128.5 must be an integer$"),
        ("128", "must be an integer"),
        (np.array([128]), "must be an integer"),
        (None, "must be an integer"),
    ],
)
def test_what_is_no_integer(value, message):
    for error in (TypeError, ValueError):
        with pytest.raises(error, match=message):
            settling.settled_integer("n", value)


def test_numbers_and_flags():
    assert type(settling.settled_number("x", np.float32(0.5))) is float
    assert type(settling.settled_number("x", np.int16(3))) is int
    assert settling.settled_number("x", np.float16(np.inf)) == np.inf
    assert settling.settled_flag("x", np.bool_(False)) is False
    assert settling.settled_flag("x", jnp.asarray(True)) is True
    for rule, value in (
        (settling.settled_number, True),
        (settling.settled_number, "0.5"),
        (settling.settled_flag, 1),
        (settling.settled_flag, np.int8(0)),
    ):
        with pytest.raises(settling.SettingError, match=r"x=.* must be"):
            rule("x", value)


def _traced(value):
    return jax.jit(lambda n: settling.settled_integer("n", n))(value)


def test_traced_values_are_refused():
    with pytest.raises(settling.SettingError, match=r"n is traced.*static_argnames"):
        _traced(3)


def _modules():
    for found in pkgutil.walk_packages(isn.__path__, "isincnet_jax."):
        if not found.name.endswith("__main__") and ".tf." not in found.name:
            importlib.import_module(found.name)

    def below(kind):
        for one in kind.__subclasses__():
            yield one
            yield from below(one)

    return [one for one in below(nn.Module) if one.__module__.startswith("isincnet_jax.")]


def test_every_module_of_the_package_is_settled():
    found = _modules()
    assert len(found) > 40
    assert [one.__name__ for one in found if not issubclass(one, SettledModule)] == []


SPEC = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=17)
MADE = {
    "STFT": lambda n: isn.STFT(n_fft=n(64), hop_length=n(16), win_length=n(64)),
    "InverseSTFT": lambda n: isn.InverseSTFT(n_fft=n(64), hop_length=n(16)),
    "GriffinLim": lambda n: isn.GriffinLim(n_fft=n(64), n_iter=n(2)),
    "MelSpectrogram": lambda n: isn.MelSpectrogram(n_fft=n(64), n_mels=n(8), hop_length=n(16)),
    "MFCC": lambda n: isn.MFCC(n_mfcc=n(4), n_mels=n(20), n_fft=n(100)),
    "CQT": lambda n: isn.CQT(n_bins=n(12), fmin=n(100), hop_length=n(64)),
    "SincConv": lambda n: isn.SincConv(num_filters=n(4), kernel_size=n(31), stride=n(2)),
    "SincNet": lambda n: isn.SincNet(SPEC, learnable_filters=True, window_terms=n(2)),
    "PitchShift": lambda n: isn.PitchShift(n_steps=n(3), n_fft=n(64)),
    "PCEN": lambda n: isn.PCEN(sample_rate=n(100), hop_length=n(2)),
    "GaussianPooling": lambda n: isn.GaussianPooling(kernel_size=n(31), hop_length=n(4)),
    "LeafFrontend": lambda n: isn.LeafFrontend(num_filters=n(4), kernel_size=n(31)),
    "ISTFTNet": lambda n: isn.ISTFTNet(),
    "FilterbankSpec": lambda n: isn.FilterbankSpec(hop_length=n(8), num_bins=n(17), min_hz=n(0)),
    "LappedSpec": lambda n: isn.LappedSpec(sample_rate=n(100), hop_length=n(64)),
    "DecoderSpec": lambda n: isn.DecoderSpec(num_frames=n(4)),
    "GaborSpec": lambda n: GaborSpec(n_bins=n(24), bins_per_octave=n(12), fmin=n(40)),
    "NonuniformSpec": lambda n: NonuniformSpec(
        num_bins=n(24), min_hz=n(40), max_hz=n(100), hop_length=n(8)
    ),
    "OptimizerSpec": lambda n: OptimizerSpec(total_steps=n(100), step_every=n(3)),
    "LoopSpec": lambda n: LoopSpec(num_steps=n(3)),
    "BatchPlan": lambda n: BatchPlan(batch_size=n(4), crop_samples=n(100)),
    "AugmentationSpec": lambda n: AugmentationSpec(requantize_bits=(n(4), n(8))),
    "VocoderFeatures": lambda n: VocoderFeatures(n_fft=n(64), win_length=n(64), hop_length=n(16)),
    "Quantizer": lambda n: isn.Quantizer(np.ones(1, np.float32), n(8)),
    "UniformQuantizer": lambda n: uniform_quantizer.make_uniform_quantizer(n(2)),
}


def _static(made):
    return [getattr(made, field.name) for field in dataclasses.fields(made)]


@pytest.mark.parametrize("kind", [np.uint8, np.int16], ids=["uint8", "int16"])
@pytest.mark.parametrize("name", MADE)
def test_what_is_made_of_numpy_is_what_is_made_of_python(name, kind):
    made, expected = MADE[name](kind), MADE[name](int)
    assert made == expected
    for found, value in zip(_static(made), _static(expected), strict=True):
        assert type(found) is type(value)
        assert not isinstance(found, np.generic)


@pytest.mark.parametrize("name", ["causal", "tight"])
def test_flags_of_a_spec(name):
    spec = isn.FilterbankSpec(hop_length=32, num_bins=65, **{name: np.bool_(False)})
    assert spec.digest() == isn.FilterbankSpec(hop_length=32, num_bins=65).digest()
    assert isn.FilterbankSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert spec.replace(hop_length=np.int64(16)).digest() == spec.replace(hop_length=16).digest()
    with pytest.raises(TypeError, match=rf"{name}=1 must be True or False"):
        isn.FilterbankSpec(**{name: 1})


def test_fields_of_layers_are_refused_when_they_are_made():
    with pytest.raises(TypeError, match=r"hop_length=16.0 must be an integer; use hop_length=16"):
        isn.STFT(n_fft=64, hop_length=16.0)
    with pytest.raises(TypeError, match=r"center=1 must be True or False"):
        isn.STFT(n_fft=64, center=1)
    with pytest.raises(TypeError, match=r"sample_rate='8000' must be a number"):
        isn.SincConv(sample_rate="8000")


def test_settled_sizes_compute_what_python_sizes_do():
    """Each of these overflowed."""
    long = jnp.asarray(np.tile(NOISE, (1, 20)))
    for made, expected in (
        (isn.STFT(n_fft=512, hop_length=np.int16(128)), isn.STFT(n_fft=512, hop_length=128)),
        (isn.PitchShift(n_steps=np.uint8(3), n_fft=256), isn.PitchShift(n_steps=3, n_fft=256)),
    ):
        program = jax.jit(
            lambda x, made=made, expected=expected: [
                layer.apply({}, x) for layer in (made, expected)
            ]
        )
        np.testing.assert_array_equal(*program(long))


def test_pure_functions():
    options = {"n_fft": np.int16(512), "hop_length": np.int8(64), "length": np.int32(2000)}

    @jax.jit
    def calls(noise):
        same = [
            fourier.stft(noise, n_fft=np.int16(512), hop_length=np.uint8(128)),
            fourier.stft(noise, n_fft=512, hop_length=128),
        ]
        again = fourier.istft(fourier.stft(noise, n_fft=512, hop_length=64), **options)
        return *same, again

    settled, plain, again = calls(jnp.asarray(NOISE))
    np.testing.assert_array_equal(settled, plain)
    np.testing.assert_allclose(again, NOISE, atol=1e-5)
    stretch = functools.partial(
        time_stretch.time_stretch, rate=np.float32(0.5), n_fft=np.uint8(128)
    )
    assert jax.eval_shape(stretch, jnp.asarray(NOISE)).shape == (1, 4000)
    weights = auditory.mel_weights(np.uint16(22_050), n_fft=np.int16(512), n_mels=np.int8(20))
    assert weights is auditory.mel_weights(22_050, n_fft=512, n_mels=20)  # one cache entry
    assert companding.check_q_bits(np.int64(8)) == 8
    with pytest.raises(TypeError, match=r"n_fft=512.0 must be an integer; use n_fft=512"):
        fourier.stft(jnp.asarray(NOISE), n_fft=512.0)
    with pytest.raises(TypeError, match="n_fft is traced"):
        jax.jit(fourier.stft)(jnp.asarray(NOISE), n_fft=512)


def test_lengths_at_calls():
    codec = isn.build_codec(isn.SincNet(SPEC))
    spectrogram = codec.encode(NOISE)
    expected = codec.decode(spectrogram, length=2000)
    for length in (jnp.int32(2000), np.int16(2000), np.array(2000)):
        np.testing.assert_array_equal(codec.decode(spectrogram, length=length), expected)
        found = codec.model.apply(codec.variables, spectrogram, length=length, method="decode")
        assert found.shape == (1, 2000)
    with pytest.raises(TypeError, match=r"length=2000.0 must be an integer; use length=2000"):
        codec.decode(spectrogram, length=2000.0)
    with pytest.raises(TypeError, match=r"length is traced.*static"):
        jax.jit(codec.decode)(spectrogram, length=2000)
    inverse = isn.InverseSTFT(n_fft=64)
    spectrum = isn.STFT(n_fft=64, output_format="complex").apply({}, NOISE)
    assert inverse.apply({}, spectrum, length=jnp.int32(2000)).shape == (1, 2000)
    with pytest.raises(TypeError, match="length is traced"):
        jax.jit(lambda n: inverse.apply({}, spectrum, length=n))(2000)


def test_bits_of_a_codec():
    codec = isn.build_codec(isn.SincNet(SPEC))
    quantizer = codec.quantizer(q_bits=np.int64(8))
    assert type(quantizer.q_bits) is int
    assert quantizer == codec.quantizer(q_bits=8)
    with pytest.raises(ValueError, match="q_bits"):
        codec.quantizer(q_bits=True)


@pytest.mark.parametrize("layer", [isn.STFT, isn.CQT, isn.MelSpectrogram, isn.InvertibleCQT])
@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_rates_are_positive_and_finite(layer, rate):
    with pytest.raises(ValueError, match=r"sample_rate=.* must be|fmax"):
        layer(sample_rate=rate)


def test_nan_is_no_setting():
    """Comparisons with NaN are false: checks of ranges would let it pass."""
    for make in (
        lambda: settling.settled_number("x", float("nan")),
        lambda: isn.PCEN(eps=float("nan")),
        lambda: isn.FilterbankSpec(min_hz=np.float32("nan")),
        lambda: isn.CFP(frequency_resolution=float("nan")),
        lambda: auditory.mel_weights(float("nan"), n_fft=512),
    ):
        with pytest.raises(ValueError, match="nan"):
            make()
