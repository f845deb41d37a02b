"""Plain ``jax.jit`` over 8 devices keeps a sharded batch where it is: the programs gather nothing.

What is compared is the program that XLA made, and its results with one device's.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import isincnet_jax as isn
from isincnet_jax.bank.dsp import uniform
from isincnet_jax.bank.sincnet import SincNet

BATCH = 16
EPS = np.finfo(np.float32).eps


@pytest.fixture
def split():
    """Places arrays over all devices, split along their first axis."""
    mesh = Mesh(np.asarray(jax.devices()), ("data",))
    placement = NamedSharding(mesh, PartitionSpec("data"))
    return lambda tree: jax.device_put(tree, placement)


def _check(function, fixed, batch, split):
    """One program for all devices: nothing is gathered, and each device has its own results."""
    placed = split(batch)
    compiled = jax.jit(function).lower(fixed, placed).compile()
    assert "all-gather" not in compiled.as_text()
    assert "all-to-all" not in compiled.as_text()
    found, wanted = compiled(fixed, placed), jax.jit(function)(fixed, batch)
    for here, there in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert len({shard.data.shape[0] for shard in here.addressable_shards}) == 1
        assert here.addressable_shards[0].data.shape[0] * 8 == here.shape[0]
        # XLA may group the rows of a product or a transform otherwise.
        assert np.max(np.abs(here - there)) <= 32 * EPS * np.max(np.abs(there))


def _noise(length):
    drawn = np.random.default_rng(3).uniform(-0.5, 0.5, (BATCH, length))
    return drawn.astype(np.float32)


def _gradient(function):
    return lambda fixed, x: jax.grad(
        lambda x: sum(jnp.sum(jnp.abs(part) ** 2) for part in jax.tree.leaves(function(fixed, x)))
    )(x)


# By FFTs both ways, by FFTs in the encoder, lapped, and by matrix products.
CODECS = {
    "257 bins": lambda: isn.build_codec(
        SincNet(isn.FilterbankSpec(sample_rate=8000, hop_length=64, num_bins=257, shape="none"))
    ),
    "22khz-linear": lambda: isn.from_pretrained("22khz-linear"),
    "16khz-lapped": lambda: isn.from_pretrained("16khz-lapped"),
    "16khz-linear-causal": lambda: isn.from_pretrained("16khz-linear-causal"),
}


def test_the_first_codec_has_ffts_both_ways():
    assert uniform.choose_method(257, operation="analysis") == "fft"
    assert uniform.choose_method(257, operation="synthesis") == "fft"


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", CODECS)
def test_codecs(name, split):
    codec = CODECS[name]()
    waveform = _noise(4096)

    def encode(codec, waveform):
        return codec.encode(waveform)

    def decode(codec, spectrogram):
        return codec.decode(spectrogram, length=4096)

    def round_trip(codec, waveform):
        return decode(codec, encode(codec, waveform))

    _check(encode, codec, waveform, split)
    _check(decode, codec, np.asarray(codec.encode(waveform)), split)
    _check(_gradient(round_trip), codec, waveform, split)


GABOR = {"sample_rate": 8000, "fmin": 500.0, "n_bins": 12}
# With the length of a clip: "large" ones are more than CPUs take at once, block after block.
LAYERS = {
    "STFT": (lambda: isn.STFT(n_fft=256, hop_length=64, output_format="complex"), 4096),
    "InvertibleCQT": (lambda: isn.InvertibleCQT(**GABOR), 4096),
    "InvertibleCQT ragged": (lambda: isn.InvertibleCQT(**GABOR, layout="ragged"), 4096),
    "NonuniformBank ragged": (
        lambda: isn.NonuniformBank(sample_rate=8000, num_bins=12, layout="ragged"), 4096
    ),
    "STFT trainable": (lambda: isn.STFT(n_fft=64, hop_length=16, trainable_kernels=True), 1024),
    "STFT log": (
        lambda: isn.STFT(
            sample_rate=8000, n_fft=128, hop_length=32, freq_scale="log", fmin=500.0, fmax=3000.0
        ),
        2048,
    ),
    "MelSpectrogram large": (
        lambda: isn.MelSpectrogram(sample_rate=8000, n_fft=512, hop_length=32, n_mels=8),
        16_384,
    ),
    "MelSpectrogram": (
        lambda: isn.MelSpectrogram(sample_rate=8000, n_fft=512, hop_length=128, n_mels=8),
        4096,
    ),
    "CFP": (lambda: isn.CFP(sample_rate=8000, win_length=129, hop_length=64), 1024),
    "MFCC": (lambda: isn.MFCC(sample_rate=8000, n_fft=64, hop_length=16, n_mels=8, n_mfcc=5), 512),
    "SlicedCQT": (lambda: isn.SlicedCQT(**GABOR), 2048),
    "CQT1992v2": (
        lambda: isn.CQT1992v2(sample_rate=8000, hop_length=32, fmin=500.0, n_bins=12), 1024
    ),
}  # fmt: skip


@pytest.mark.quick(2)
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, split):
    build, length = LAYERS[name]
    layer = build()
    waveform = _noise(length)
    variables = jax.jit(layer.init)(jax.random.key(0), waveform[:1])
    _check(layer.apply, variables, waveform, split)
    _check(_gradient(layer.apply), variables, waveform, split)


@pytest.mark.quick(0)
@pytest.mark.parametrize("layout", ["matrix", "ragged"])
def test_the_invertible_cqt_comes_back(layout, split):
    layer = isn.InvertibleCQT(**GABOR, layout=layout)
    waveform = _noise(4096)
    coefficients = jax.tree.map(np.asarray, layer.apply({}, waveform, method="encode"))

    def decode(_, coefficients):
        return layer.apply({}, coefficients, length=4096, method="decode")

    _check(decode, 0.0, coefficients, split)
    _check(_gradient(decode), 0.0, coefficients, split)
