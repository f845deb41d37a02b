"""ONNX models: run by onnxruntime without JAX, they equal the codecs, quantizers and layers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import jax
import jax.numpy as jnp
import onnx
import onnxruntime
from exported_files import noise, run_outside, snr_db

import isincnet_jax as isn
from isincnet_jax.bank.uniform_quantizer import make_uniform_quantizer
from isincnet_jax.exports.graph import Builder
from isincnet_jax.exports.onnx_graph import read_ports
from isincnet_jax.pretrained.registry import LAPPED, PRESETS

PARTS = ("encode", "decode", "round-trip")
SMALL = {"sample_rate": 8000, "hop_length": 16, "num_bins": 17, "shape": "none"}
KINDS = {
    "zeros": {},
    "causal": {"causal": True, "component": "real", "num_bins": 24},
    "reflect": {"padding": "reflect"},
    "learned": {"padding": "reflect"},
}
# Sums of some hundreds of products in another order.
RELATIVE = 1e-5
LENGTHS = (1, 7, 100, 333, 1009)


def _small(kind: str):
    if kind == "lapped":
        return isn.build_lapped_codec(isn.LappedBank(isn.LappedSpec(8000, 16)))
    if kind == "centred":
        spec = isn.LappedSpec(8000, 16, framing="zeros")
        return isn.build_lapped_codec(isn.LappedBank(spec, learnable=True))
    spec = isn.FilterbankSpec(**{**SMALL, **KINDS[kind]})
    return isn.build_codec(isn.SincNet(spec, learnable_decoder=kind == "learned"))


def _check(found, wanted):
    assert found.shape == wanted.shape
    assert np.max(np.abs(found - wanted)) <= RELATIVE * np.max(np.abs(wanted))


def _check_codec(codec, folder, lengths, *, decoded=None):
    """All parts at all lengths: equal to the codec, and the round trip above 120 dB."""
    for part in PARTS:
        isn.export_onnx(codec, folder / f"{part}.onnx", part=part)
    decoded = lengths if decoded is None else decoded
    given, wanted, waveforms = {}, {}, {}
    for index, length in enumerate(lengths):
        waveform = noise(1 + index % 2, length)
        spectrogram = np.asarray(codec.encode(waveform))
        given[f"encode {length}"], wanted[f"encode {length}"] = waveform, spectrogram
        if length in decoded:
            given[f"decode {length}"] = spectrogram
            wanted[f"decode {length}"] = np.asarray(codec.decode(spectrogram))
            given[f"round-trip {length}"] = waveforms[f"round-trip {length}"] = waveform
    found = run_outside("onnx", folder, given)
    for key, value in wanted.items():
        _check(found[key], value)
    for key, value in waveforms.items():
        if isinstance(codec, isn.Codec) and codec.model.learnable_decoder:
            # Edges are not solved: no exact round trip, but that of the codec.
            spectrogram = wanted[key.replace("round-trip", "encode")]
            decoded = np.asarray(codec.decode(spectrogram, length=value.shape[-1]))
            assert snr_db(decoded, found[key]) >= 120, key
            continue
        assert snr_db(value, found[key]) >= 120, key


def test_zero_padding_at_any_length(tmp_path):
    _check_codec(_small("zeros"), tmp_path, LENGTHS)


@pytest.mark.quick(0)
@pytest.mark.parametrize("kind", ["causal", "learned"])
def test_other_banks_at_any_length(kind, tmp_path):
    _check_codec(_small(kind), tmp_path, LENGTHS)


@pytest.mark.quick(1)
@pytest.mark.parametrize("kind", ["lapped", "centred"])
def test_lapped_banks_at_any_length(kind, tmp_path):
    codec = _small(kind)
    for part in PARTS:
        isn.export_onnx(codec, tmp_path / f"{part}.onnx", part=part)
    given, wanted = {}, {}
    for length in (1, 15, 16, 31, 48, 333):
        given[f"encode {length}"] = given[f"round-trip {length}"] = noise(2, length)
        wanted[f"encode {length}"] = np.asarray(codec.encode(noise(2, length)))
    given["decode 48"] = wanted["encode 48"]
    found = run_outside("onnx", tmp_path, given)
    for key, value in wanted.items():
        _check(found[key], value)
    for key in given:
        if key not in wanted:
            assert snr_db(noise(2, int(key.split()[1])), found[key]) >= 120, key


@pytest.mark.quick(0)
def test_reflection_at_any_length_and_solved_edges_of_whole_hops(tmp_path):
    codec = _small("reflect")
    lengths = (1, 7, 333, 800, 1168)
    _check_codec(codec, tmp_path, lengths, decoded=(800, 1168))
    session = onnxruntime.InferenceSession(tmp_path / "round-trip.onnx")
    told = session.get_modelmeta().custom_metadata_map
    assert "time % 16 == 0, where edges are solved" in json.loads(told["constraints"])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PRESETS, *LAPPED])
def test_every_preset(name, tmp_path):
    codec = isn.from_pretrained(name)
    hop = codec.spec.hop_length
    lengths = (1, 100, 3 * hop, 4003, 20_000)
    whole = (3 * hop,) if isinstance(codec, isn.LappedCodec) else lengths
    _check_codec(codec, tmp_path, lengths, decoded=whole)


def test_quantizers(tmp_path):
    spectrogram = np.random.default_rng(0).standard_normal((2, 9, 34)).astype(np.float32)
    codec: Any = _small("zeros")
    plain = codec.quantizer(q_bits=8, scale=np.linspace(0.5, 2, 34, dtype=np.float32))
    quantizers = {
        "plain": plain,
        "fitted": plain.fit(spectrogram[:1]),
        "reference": codec.quantizer(q_bits=6, code="reference"),
        "uniform": make_uniform_quantizer(0.1),
    }
    given, wanted = {}, {}
    for name, quantizer in quantizers.items():
        for part in ("encode", "decode"):
            isn.export_onnx(quantizer, tmp_path / f"{name}-{part}.onnx", part=part)
        codes = np.asarray(quantizer.encode(spectrogram))
        given[f"{name}-encode"], wanted[f"{name}-encode"] = spectrogram, codes
        given[f"{name}-decode"] = codes
        wanted[f"{name}-decode"] = np.asarray(quantizer.decode(codes))
    found = run_outside("onnx", tmp_path, given)
    for key, value in wanted.items():
        assert found[key].dtype == value.dtype
        if key.endswith("encode"):  # rounding of logarithms may decide at the edge of a cell
            assert np.max(np.abs(found[key] - value)) <= 1
            assert np.mean(found[key] != value) < 0.01
        else:
            _check(found[key], value)
    with pytest.raises(ValueError, match="one clip or of all"):
        isn.export_onnx(plain.fit(spectrogram), tmp_path / "x.onnx")


LAYERS = {
    "stft": isn.STFT(n_fft=256, output_format="complex"),
    "mel": isn.MelSpectrogram(n_fft=512, hop_length=128, n_mels=20, pad_mode="symmetric"),
    "cqt": isn.CQT(fmin=220.0, n_bins=24),
    "sinc": isn.SincConv(num_filters=8, kernel_size=51, stride=10, padding="same"),
    "log-stft": isn.STFT(n_fft=300, freq_scale="log", freq_bins=50, pad_mode="edge"),
    "trained-stft": isn.STFT(
        n_fft=256,
        center=False,
        trainable_kernels=True,
        trainable_window=True,
        output_format="power",
        normalization="window",
    ),
    "trained-mel": isn.MelSpectrogram(
        n_fft=512, n_mels=20, power=0.7, trainable_stft=True, trainable_mel=True
    ),
    "norm-mel": isn.MelSpectrogram(n_fft=512, n_mels=20, norm=np.inf),
    "mfcc": isn.MFCC(n_fft=512, n_mels=20, n_mfcc=13),
    "gammatone": isn.Gammatonegram(n_fft=512, n_bins=20, power=1.0, pad_mode="constant"),
    "odd-hop-cqt": isn.CQT(fmin=110.0, n_bins=36, hop_length=125, output_format="complex"),
    "trained-cqt": isn.CQT1992(fmin=220.0, n_bins=24, trainable_kernels=True),
    "recursive-cqt": isn.CQT2010v2(fmin=110.0, n_bins=36, trainable_kernels=True),
    "vqt": isn.VQT(fmin=110.0, n_bins=36, gamma=None),
    "complex-sinc": isn.SincConv(
        num_filters=8, kernel_size=51, component="complex", stride=3, dilation=2, shape="gauss"
    ),
}


@pytest.mark.quick(2)
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, tmp_path):
    layer, given, wanted = LAYERS[name], {}, {}
    lengths = (3000, 700) if name in ("trained-stft", "complex-sinc") else (3000, 700, 100)
    variables = layer.init(jax.random.key(0), jnp.asarray(noise(1, lengths[0])))
    isn.export_onnx(layer, tmp_path / f"{name}.onnx", variables=variables)
    for length in lengths:
        given[f"{name} {length}"] = noise(2, length)
        value: Any = np.asarray(layer.apply(variables, jnp.asarray(noise(2, length))))
        if np.iscomplexobj(value):
            value = np.concatenate([value.real, value.imag], axis=-1)
        wanted[f"{name} {length}"] = value
    found = run_outside("onnx", tmp_path, given)
    for key, value in wanted.items():
        _check(found[key], value)


def test_a_model_says_what_it_is(tmp_path):
    codec = _small("zeros")
    path = isn.export_onnx(codec, tmp_path / "encode.onnx", part="encode")
    model = onnx.load(path)
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert isn.FilterbankSpec.from_dict(json.loads(told["spec"])) == codec.spec
    assert (told["part"], told["sample_rate"], told["hop_length"]) == ("encode", "8000", "16")
    assert told["library"] == f"isincnet_jax {isn.__version__}"
    assert told["jax"] == jax.__version__
    assert read_ports(path) == [
        "input   waveform [batch, time] float32",
        "output  spectrogram [batch, frames, 34] float32",
        "where   time >= 1",
    ]
    assert {one.op_type for one in model.graph.node} >= {"Conv", "Pad"}


def test_what_has_no_graph_is_refused(tmp_path):
    path = tmp_path / "x.onnx"
    with pytest.raises(ValueError, match="use encode, decode, round-trip"):
        isn.export_onnx(_small("zeros"), path, part="all")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="16khz-mel say"):
        isn.export_onnx(isn.from_pretrained("16khz-mel-ragged"), path)
    with pytest.raises(TypeError, match="Chroma has no graph"):
        isn.export_onnx(isn.Chroma(), path)
    with pytest.raises(ValueError, match="a layer has none"):
        isn.export_onnx(isn.STFT(), path, part="encode")
    with pytest.raises(ValueError, match="no atan2; use 'complex'"):
        isn.export_onnx(isn.STFT(output_format="phase"), path)
    with pytest.raises(ValueError, match="give those of layer"):
        isn.export_onnx(isn.STFT(trainable_kernels=True), path)
    with pytest.raises(ValueError, match="give those of layer"):
        isn.export_onnx(isn.SincConv(), path)
    assert not path.exists()


def test_graphs_are_checked():
    build = Builder()
    value = build.input("x", "batch", 3)
    with pytest.raises(ValueError, match="no pointwise operation"):
        build.pointwise("add", value)
    with pytest.raises(ValueError, match="pad_mode='wrap'"):
        build.continued(value, 1, 1, "wrap")
    with pytest.raises(ValueError, match="another array"):
        build.build(("x", value, ("batch", 3)))
