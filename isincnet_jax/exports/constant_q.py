"""Graphs of constant-Q layers: kernels at several rates, half-band filters between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from isincnet_jax.constant_q.dsp.multirate import KernelGroup, band_step, halfband
from isincnet_jax.constant_q.layers import ConstantQLayer
from isincnet_jax.exports.graph import Builder, Graph, Number, combined, largest_of
from isincnet_jax.exports.spectrograms import formatted, framed


def build_constant_q(layer: ConstantQLayer, variables: Any) -> Graph:
    """Graph of a constant-Q layer: what :mod:`.multirate_analysis` computes, as convolutions.

    A filter or kernel whose taps lie apart is a dilated convolution.

    Args:
        layer: any, but for the format "phase".
        variables: its variables.

    Returns:
        The graph.
    """
    used: Any = layer.apply(variables, method="correlations")
    build, hop = Builder(), layer.hop_length
    waveform = build.input("waveform", "batch", "time")
    frame = layer.bank.frame_length
    padded = framed(
        build, waveform, frame_length=frame, hop=hop, center=layer.center, pad_mode=layer.pad_mode
    )
    whole: Any = padded.size(1) - frame
    frames = build.let("frames", whole // hop + 1)
    taps = halfband(used.tolerance)
    reach = len(taps) // 2
    lows, highs = _ranges(used.groups, hop=hop, frames=frames, reach=reach)
    # The full-rate line from sample lows[0] to highs[0] relative to frame 0, which stands at
    # frame // 2; zeros where there is none.
    position = frame // 2
    begin = position + lows[0]
    before = max(-begin, 0)
    stop = combined("+", highs[0], position + 1 + before)
    line = build.pad(padded, before, largest_of(stop - padded.size(1) - before, 0), name="line")
    lines = [build.reshape(line, -1, line.size(1), 1, name="line")]
    starts = [begin + before - lows[0]]  # place of sample 0 relative to frame 0, level by level
    for level in range(1, len(lows)):
        step = band_step(hop, level - 1)
        ratio, spread = band_step(hop, level) // step, 2 ** (level - 1) // step
        first = starts[-1] + ratio * lows[level] - reach * spread
        last = combined("*", highs[level], ratio) + (starts[-1] + reach * spread + 1)
        some = build.slice(lines[-1], first, last, axis=1, name="band")
        filtered = build.constant(taps[None, None], "halfband")
        lines.append(
            build.convolve(some, filtered, stride=ratio, dilation=spread, name=f"rate_{level}")
        )
        starts.append(-lows[level])
    real, imag = [], []
    for index, group in enumerate(used.groups):
        step = band_step(hop, group.level)
        spread, stride = 2**group.level // step, hop // step
        bins, length = group.taps.shape
        parts = (np.real(group.taps), np.imag(group.taps))
        if used.kernels is not None:
            parts = tuple(np.asarray(part, np.float64) for part in used.kernels[index])
        kernels = build.constant(np.concatenate([parts[0], -parts[1]])[:, None], f"kernels_{index}")
        first = starts[group.level] + group.first * spread
        last = (frames - 1) * stride + (first + (length - 1) * spread + 1)
        some = build.slice(lines[group.level], first, last, axis=1, name="band")
        found = build.convolve(some, kernels, stride=stride, dilation=spread, name="bins")
        real.append(build.slice(found, 0, bins, axis=2, name="real"))
        imag.append(build.slice(found, bins, 2 * bins, axis=2, name="imag"))
    both = build.concat([*real, *imag], axis=2, name="both")
    count = sum(len(group.taps) for group in used.groups)
    if used.scale is not None:
        both = build.pointwise("mul", both, build.constant(np.tile(used.scale, 2), "scale"))
    output = formatted(build, both, bins=count, output_format=layer.output_format)
    channels = count * (2 if layer.output_format == "complex" else 1)
    return build.build(("spectrogram", output, ("batch", "frames", channels)))


def _ranges(
    groups: tuple[KernelGroup, ...], *, hop: int, frames: Any, reach: int
) -> tuple[list[int], list[Number]]:
    """First and last sample that is needed of every level's signal, relative to frame 0."""
    lows: list[int] = []
    highs: list[Number] = []
    for level in reversed(range(max(group.level for group in groups) + 1)):
        step = band_step(hop, level)
        spread = 2**level // step
        low: list[int] = []
        high: list[Number] = []
        for group in groups:
            if group.level == level:
                low.append(group.first * spread)
                reached = (group.first + group.taps.shape[1] - 1) * spread
                high.append((frames - 1) * (hop // step) + reached)
        if lows:
            ratio = band_step(hop, level + 1) // step
            low.append(ratio * lows[-1] - reach * spread)
            high.append(combined("*", highs[-1], ratio) + (reach * spread + 1))  # type: ignore[operator]
        lows.append(min(low))
        most = high[0]
        for other in high[1:]:
            most = largest_of(most, other)
        highs.append(most)
    return lows[::-1], highs[::-1]
