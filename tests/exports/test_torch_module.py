"""PyTorch modules: run without JAX, they equal codecs and layers, with their gradients."""

from __future__ import annotations

import ast

import numpy as np
import pytest

pytest.importorskip("torch")

import jax
import jax.numpy as jnp
from exported_files import noise, run_outside, snr_db

import isincnet_jax as isn
from isincnet_jax.pretrained.registry import LAPPED, PRESETS

SMALL = {"sample_rate": 8000, "hop_length": 16, "num_bins": 17, "shape": "none"}
GRADIENT = 1e-4


def _near(found, wanted, relative=1e-5):
    assert found.shape == wanted.shape
    assert np.max(np.abs(found - wanted)) <= relative * np.max(np.abs(wanted))


def _check_codec(codec, folder, lengths, *, graded):
    isn.to_torch(codec, folder / "net.py", name="Net")
    given, wanted = {}, {}
    for length in lengths:
        waveform = noise(2, length)
        spectrogram = np.asarray(codec.encode(waveform))
        given[f"net encode {length}"] = given[f"net forward {length}"] = waveform
        given[f"net decode {length}"] = spectrogram
        wanted[f"net encode {length}"] = spectrogram
        wanted[f"net decode {length}"] = np.asarray(codec.decode(spectrogram, length=length))
        if length != graded:
            continue
        calls = {
            "encode": (codec.encode, waveform, spectrogram.shape),
            "decode": (lambda s: codec.decode(s, length=graded), spectrogram, waveform.shape),
        }
        for method, (call, argument, shape) in calls.items():
            cotangent = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
            (gradient,) = jax.vjp(call, jnp.asarray(argument))[1](jnp.asarray(cotangent))
            key = f"net {method} {length}"
            given[f"{key} cotangent"], wanted[f"{key} gradient"] = cotangent, np.asarray(gradient)
    found = run_outside("torch", folder, given)
    for key, value in wanted.items():
        _near(found[key], value, GRADIENT if key.endswith("gradient") else 1e-5)
    for length in lengths:
        assert snr_db(noise(2, length), found[f"net forward {length}"]) >= 120, length


@pytest.mark.quick(1)
@pytest.mark.parametrize("kind", ["zeros", "lapped", "centred", "reflect"])
def test_codecs_and_their_gradients(kind, tmp_path):
    if kind in ("zeros", "reflect"):
        codec = isn.build_codec(isn.SincNet(isn.FilterbankSpec(**SMALL, padding=kind)))
    else:
        framing = "tiled" if kind == "lapped" else "zeros"
        codec = isn.build_lapped_codec(isn.LappedBank(isn.LappedSpec(8000, 16, framing=framing)))
    lengths = (800, 1168) if kind == "reflect" else (1, 15, 333)
    _check_codec(codec, tmp_path, lengths, graded=lengths[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PRESETS, *LAPPED])
def test_every_preset(name, tmp_path):
    codec = isn.from_pretrained(name)
    _check_codec(codec, tmp_path, (1, 2 * codec.spec.hop_length - 1, 20_001), graded=20_001)


@pytest.mark.quick(0)
@pytest.mark.parametrize(
    "layer",
    [
        isn.STFT(n_fft=256, output_format="complex"),
        isn.MelSpectrogram(n_fft=512, n_mels=20),
        isn.CQT(fmin=220.0, n_bins=24),
        isn.SincConv(num_filters=8, kernel_size=51, stride=10, padding="same"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_and_their_gradients(layer, tmp_path):
    waveform = jnp.asarray(noise(2, 3000))
    variables = layer.init(jax.random.key(0), waveform)
    isn.to_torch(layer, tmp_path / "net.py", variables=variables, name="Net")

    def call(waveform):
        value = layer.apply(variables, waveform)
        return jnp.concatenate([value.real, value.imag], -1) if jnp.iscomplexobj(value) else value

    wanted, pull = jax.vjp(call, waveform)
    cotangent = np.random.default_rng(1).standard_normal(wanted.shape).astype(np.float32)
    (gradient,) = pull(jnp.asarray(cotangent))
    key = "net forward 3000"
    given = {key: np.asarray(waveform), f"{key} cotangent": cotangent}
    found = run_outside("torch", tmp_path, given)
    _near(found[key], np.asarray(wanted))
    _near(found[f"{key} gradient"], np.asarray(gradient), GRADIENT)


def _load(path):
    namespace = {}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    return namespace


def test_files_are_plain_code(tmp_path):
    import torch

    codec = isn.build_codec(isn.SincNet(isn.FilterbankSpec(**SMALL)), name="16khz-mine")
    path = isn.to_torch(codec, tmp_path / "mine.py", trainable=True)
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        for alias in getattr(node, "names", [])
        if isinstance(node, ast.Import)
    }
    assert imported == {"base64", "torch"}
    net = _load(path)["Mine16khz"]()
    assert sorted(dict(net.named_parameters())) == ["analysis", "synthesis"]
    assert net.encode(torch.zeros(100)).shape == (10, 34)
    assert net.encode(torch.zeros(2, 3, 100)).shape == (2, 3, 10, 34)
    assert net.decode(torch.zeros(2, 3, 10, 34), length=99).shape == (2, 3, 99)
    with pytest.raises(ValueError, match=r"expected \[..., frames, 34\]"):
        net.decode(torch.zeros(10, 33))
    with pytest.raises(ValueError, match="a length that has so many frames"):
        net.decode(torch.zeros(10, 34), length=300)
    with pytest.raises(ValueError, match="time >= 1"):
        net.encode(torch.zeros(2, 0))
    with pytest.raises(ValueError, match="no name of a Python class"):
        isn.to_torch(codec, tmp_path / "other.py", name="class")


def test_quantizers(tmp_path):
    import torch

    spectrogram = noise(9, 34)[None]
    spec = isn.FilterbankSpec(**SMALL)
    quantizer = isn.build_codec(isn.SincNet(spec)).quantizer(q_bits=5).fit(spectrogram)
    net = _load(isn.to_torch(quantizer, tmp_path / "tokens.py"))["Quantizer"]()
    codes = np.asarray(quantizer.encode(spectrogram))
    found = net.encode(torch.tensor(spectrogram)).numpy()
    assert found.dtype == np.int32
    assert np.mean(found != codes) < 0.01
    decoded = net.decode(torch.tensor(codes)).numpy()
    np.testing.assert_allclose(decoded, np.asarray(quantizer.decode(codes)), rtol=1e-6)
