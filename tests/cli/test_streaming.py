"""``isincnet stream`` and ``isincnet export``: what they print and what they leave behind."""

from __future__ import annotations

import json
import re

import jax.export
import numpy as np
import pytest
import soundfile

import isincnet_jax as isn

RATE = 8000


@pytest.fixture
def model(tmp_path, run):
    """A small codec's folder, in the working folder of ``run``."""
    spec = isn.FilterbankSpec(
        sample_rate=RATE, hop_length=16, num_bins=17, shape="none", causal=True
    )
    isn.export_pretrained(isn.build_codec(isn.SincNet(spec)), tmp_path / "small")
    return "small"


def _noise(length: int, num_channels: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (length, num_channels)).astype(np.float32)


def _figure(out: str, pattern: str) -> float:
    return float(re.search(pattern, out)[1])


@pytest.mark.tail
def test_a_file_streams_to_another(run, model):
    noise = _noise(RATE, 2)
    soundfile.write("in.wav", noise, RATE, subtype="FLOAT")
    status, out, err = run(f"stream in.wav out.wav --model {model} --chunk-ms 10")
    assert (status, err) == (0, "")
    found, rate = soundfile.read("out.wav", dtype="float32", always_2d=True)
    assert rate == RATE
    assert found.shape == noise.shape
    np.testing.assert_allclose(found, noise, atol=2e-6)
    assert "latency 31 samples (3.88 ms): encoder 0, decoder 31" in out
    assert "chunks  100 of 10 ms" in out
    worst = _figure(out, r"worst ([\d.]+) ms")
    assert 0 < _figure(out, r"mean ([\d.]+) ms") <= worst
    assert re.search(r"late +\d+ of 100", out)

    status, out, _ = run(f"stream in.wav low.wav --model {model} --chunk-ms 3.3 --low-latency")
    assert status == 0
    assert "latency 15 samples (1.88 ms)" in out
    found = soundfile.read("low.wav", dtype="float32", always_2d=True)[0]
    np.testing.assert_allclose(found, noise, atol=2e-6)


def test_a_lapped_bank_streams_and_has_one_inverse(run):
    noise = _noise(3000, 1)
    soundfile.write("in.wav", noise, 16_000, subtype="FLOAT")
    status, out, err = run("stream in.wav out.wav --model 16khz-lapped-fast --chunk-ms 20")
    assert (status, err) == (0, "")
    found, _ = soundfile.read("out.wav", dtype="float32", always_2d=True)
    np.testing.assert_allclose(found, noise, atol=2e-6)
    # 2 N - 1 and N / 2 samples of N = 128.
    assert "latency 319 samples (19.94 ms): encoder 255, decoder 64" in out
    status, _, err = run("stream in.wav low.wav --model 16khz-lapped --low-latency")
    assert status == 1
    assert "--low-latency: 16khz-lapped is orthonormal" in err


def test_a_chunk_of_no_samples_is_refused(run, model):
    soundfile.write("in.wav", _noise(100, 1), RATE)
    status, _, err = run(f"stream in.wav out.wav --model {model} --chunk-ms 0.01")
    assert status == 1
    assert "less than one sample" in err


def test_export_writes_a_program_and_its_description(run, model):
    status, out, err = run(f"export {model} out.stablehlo --part encode --platforms cpu")
    assert (status, err) == (0, "")
    assert "input   waveform [batch, time] float32" in out
    assert "output  spectrogram [batch, floordiv(" in out
    with open("out.stablehlo.json") as file:
        description = json.load(file)
    assert description["sample_rate"] == RATE
    with open("out.stablehlo", "rb") as file:
        program = jax.export.deserialize(file.read())
    waveform = _noise(500, 1).T
    wanted = np.asarray(isn.from_pretrained(model).encode(waveform))
    np.testing.assert_allclose(np.asarray(program.call(waveform)), wanted, atol=2e-6)
    assert run(f"export {model} other.stablehlo --part everything")[0] == 1


def test_the_suffix_says_what_is_exported(run, model):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    status, out, err = run(f"export {model} out.onnx --part encode")
    assert (status, err) == (0, "")
    assert "output  spectrogram [batch, frames, " in out
    waveform = _noise(500, 1).T
    (found,) = onnxruntime.InferenceSession("out.onnx").run(None, {"waveform": waveform})
    wanted = np.asarray(isn.from_pretrained(model).encode(waveform))
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    status, out, err = run(f"export {model} out.py")
    assert (status, err) == (0, "")
    with open("out.py") as file:
        assert "(torch.nn.Module):" in file.read()
    for wrong, why in {
        "out.tflite": ".onnx (ONNX) or .py (PyTorch)",
        "x.onnx --platforms cpu": "--platforms",
        "x.py --part encode": "--part",
    }.items():
        status, _, err = run(f"export {model} {wrong}")
        assert status == 1
        assert why in err
