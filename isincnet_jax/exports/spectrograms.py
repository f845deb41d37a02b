"""Graphs of spectrogram layers: STFT, and weighted bins of its power (mel, gammatone, MFCC)."""

from __future__ import annotations

from typing import Any

import numpy as np

from isincnet_jax.dsp import fourier
from isincnet_jax.exports.graph import Builder, Graph, Value, largest_of
from isincnet_jax.spectrograms.dsp import nonuniform
from isincnet_jax.spectrograms.mel import MFCC
from isincnet_jax.spectrograms.stft import STFT, normalizing_factor
from isincnet_jax.spectrograms.weighted_bins import WeighedSpectrogram

_TINY_POWER = 1e-20
_FLOOR = 1e-10


def framed(
    build: Builder,
    waveform: Value,
    *,
    frame_length: int,
    hop: int,
    center: bool,
    pad_mode: str,
) -> Value:
    """Clips of which nothing but their frames remains, see :func:`.centering.pad_frames`.

    Args:
        build: of the graph.
        waveform: [batch, time].
        frame_length: samples per frame.
        hop: samples between frames.
        center: whether the middle of frame 0 is sample 0.
        pad_mode: "constant", "reflect", "edge" or "symmetric".

    Returns:
        [batch, padded], up to ``hop - 1`` samples longer than its frames.
    """
    length = waveform.size(1)
    if not center:
        build.require(length, frame_length, f"time >= {frame_length}")
        return waveform
    build.require(length, 1, "time >= 1")
    left = frame_length // 2
    whole: Any = length + (2 * left - frame_length)
    total = whole // hop * hop + frame_length
    after = build.let("after", largest_of(total - left - length, 0))
    return build.continued(waveform, left, after, pad_mode)


def formatted(build: Builder, both: Value, *, bins: int, output_format: str) -> Value:
    """Formats of spectra, see :func:`.formats.format_parts`.

    Args:
        build: of the graph.
        both: [batch, frames, 2 bins], real parts before imaginary ones.
        bins: how many.
        output_format: "magnitude", "power" or "complex", which leaves both parts as they are.

    Returns:
        [batch, frames, bins], or twice as many.

    Raises:
        ValueError: for "phase": ONNX has no arctangent of two arguments.
    """
    if output_format == "complex":
        return both
    if output_format == "phase":
        raise ValueError(
            "output_format='phase' is not exported, ONNX having no atan2; use 'complex', which "
            "comes as real and imaginary parts"
        )
    squares = build.pointwise("mul", both, both, name="squares")
    real = build.slice(squares, 0, bins, axis=2, name="real")
    imag = build.slice(squares, bins, 2 * bins, axis=2, name="imag")
    power = build.pointwise("add", real, imag, name="power")
    if output_format == "power":
        return power
    root = build.pointwise("sqrt", build.pointwise("add", power, _TINY_POWER), name="root")
    return build.pointwise("sub", root, _TINY_POWER**0.5, name="magnitude")


def build_stft(layer: STFT, params: Any) -> Graph:
    """Graph of an STFT layer.

    Args:
        layer: any, but for the format "phase".
        params: its parameters, if it has some.

    Returns:
        The graph.
    """
    build = Builder()
    waveform = build.input("waveform", "batch", "time")
    found = _spectra(build, waveform, layer, params)
    bins = len(layer.frequencies)
    output = formatted(build, found, bins=bins, output_format=layer.output_format)
    channels = bins * (2 if layer.output_format == "complex" else 1)
    return build.build(("spectrogram", output, ("batch", "frames", channels)))


def _spectra(build: Builder, waveform: Value, layer: STFT, params: Any) -> Value:
    fixed = fourier.stft_window(layer.window, layer.taps, layer.n_fft)
    taper = np.asarray(params["taper"], np.float64) if layer.trainable_window else fixed
    taper = taper * normalizing_factor(fixed, layer.normalization)
    padded = framed(
        build,
        waveform,
        frame_length=layer.n_fft,
        hop=layer.hop,
        center=layer.center,
        pad_mode=layer.pad_mode,
    )
    if layer.freq_scale == "none" and not layer.trainable_kernels:
        window = build.constant(taper, "window")
        bins = len(layer.frequencies)
        return build.fourier(padded, window, hop=layer.hop, bins=bins, name="spectra")
    if layer.trainable_kernels:
        kernels = np.asarray(params["kernels"], np.float64)
    else:
        basis = nonuniform.fourier_kernels(
            layer.frequencies, n_fft=layer.n_fft, sample_rate=layer.sample_rate
        )
        kernels = np.concatenate([np.real(basis), np.imag(basis)])
    constant = build.constant((kernels * taper)[:, None], "kernels")
    return build.analyse(padded, constant, hop=layer.hop, name="spectra")


def build_weighed(layer: WeighedSpectrogram, params: Any) -> Graph:
    """Graph of a layer of weighted bins: mel, gammatone.

    Args:
        layer: any.
        params: its parameters, if it has some.

    Returns:
        The graph.
    """
    build = Builder()
    waveform = build.input("waveform", "batch", "time")
    found, filters = _weighed(build, waveform, layer, params)
    return build.build(("spectrogram", found, ("batch", "frames", filters)))


def _weighed(build: Builder, waveform: Value, layer: Any, params: Any) -> tuple[Value, int]:
    trained = layer.trainable_stft
    stft = STFT(
        sample_rate=layer.sample_rate,
        n_fft=layer.n_fft,
        win_length=layer.win_length,
        hop_length=layer.hop_length,
        window=layer.window,
        center=layer.center,
        pad_mode=layer.pad_mode,
        trainable_kernels=trained,
    )
    spectra = _spectra(build, waveform, stft, params["stft"] if trained else None)
    wanted = "power" if layer.power == 2 else "magnitude"
    values = formatted(build, spectra, bins=layer.n_fft // 2 + 1, output_format=wanted)
    if layer.power not in (1, 2):
        # max(x, f)^p min(x / f, 1): the power, and a line below the floor f, as in JAX.
        above = build.pointwise("pow", build.pointwise("max", values, _FLOOR), float(layer.power))
        below = build.pointwise("min", build.pointwise("mul", values, 1 / _FLOOR), 1.0)
        values = build.pointwise("mul", above, below, name="power")
    weights = np.asarray(params["basis"] if layer.is_trainable() else layer.design())
    matrix = build.constant(weights.T, "filters")
    return build.matmul(values, matrix, name="weighed"), len(weights)


def build_mfcc(layer: MFCC, params: Any) -> Graph:
    """Graph of mel-frequency cepstra.

    Args:
        layer: any.
        params: its parameters, if it has some.

    Returns:
        The graph.
    """
    build = Builder()
    waveform = build.input("waveform", "batch", "time")
    mel = layer.mel_layer()
    inner = params["mel"] if mel.is_trainable() or mel.trainable_stft else None
    power, _ = _weighed(build, waveform, mel, inner)
    level = build.pointwise("log", build.pointwise("max", power, 1e-10))
    level = build.pointwise("mul", level, 10 / np.log(10), name="level_db")
    if layer.top_db is not None:
        least = build.pointwise("sub", build.largest(level, axes=(1, 2)), float(layer.top_db))
        level = build.pointwise("max", level, least, name="level_db")
    matrix = build.constant(layer.matrix().T, "cosines")
    found = build.matmul(level, matrix, name="cepstra")
    return build.build(("spectrogram", found, ("batch", "frames", layer.n_mfcc)))
