"""Graph of a sinc convolution: the filters in use as one strided convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from isincnet_jax.exports.graph import Builder, Graph
from isincnet_jax.exports.spectrograms import framed
from isincnet_jax.frontends.sinc_conv import SincConv


def build_sinc_conv(layer: SincConv, variables: Any) -> Graph:
    """Graph of a sinc convolution; the filters are those that its parameters stand for now.

    Args:
        layer: any that takes one channel, in float32.
        variables: its variables.

    Returns:
        The graph.

    Raises:
        ValueError: for a layer that mixes channels, or one of another dtype.
    """
    if layer.mix_channels or np.dtype(layer.dtype) != np.float32:
        raise ValueError(
            f"mix_channels={layer.mix_channels}, dtype={np.dtype(layer.dtype)}: a graph takes one "
            "channel in float32"
        )
    filters = np.asarray(layer.apply(variables, method="filters"))
    build = Builder()
    waveform = build.input("waveform", "batch", "time")
    padded = framed(
        build,
        waveform,
        frame_length=layer.reach,
        hop=layer.stride,
        center=layer.padding == "same",
        pad_mode=layer.pad_mode,
    )
    kernels = build.constant(filters[:, None], "filters")
    line = build.reshape(padded, -1, padded.size(1), 1, name="line")
    found = build.convolve(line, kernels, stride=layer.stride, dilation=layer.dilation)
    return build.build(("spectrogram", found, ("batch", "frames", len(filters))))
