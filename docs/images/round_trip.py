"""Draws the picture of README.md: a waveform, its signed spectrogram, and what decoding changes.

``python docs/images/round_trip.py`` writes round_trip.png beside itself.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from PIL import Image

import isincnet_jax as isn
from isincnet_jax.dsp.distances import snr_db

INK, BLUE, RED = "#1b1d22", "#0072b2", "#d55e00"
START_S, DURATION_S = 0.8, 1.2  # of the built-in clip


def draw() -> Figure:
    """The figure, three rows over one time axis."""
    codec = isn.from_pretrained("16khz-linear")
    rate = codec.spec.sample_rate
    waveform = isn.demo_waveform(rate)[int(START_S * rate) :][: int(DURATION_S * rate)]
    spectrogram = codec.encode(waveform)
    decoded = codec.decode(spectrogram, length=len(waveform))
    snr = float(snr_db(prediction=decoded, target=waveform))
    error = np.asarray(decoded, np.float64) - waveform

    figure = Figure(figsize=(9, 5.4), layout="constrained", facecolor="white")
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(1, 3, 1))
    time_s = np.arange(len(waveform)) / rate
    top.plot(time_s, waveform, color=BLUE, linewidth=0.5)
    top.set(ylabel="waveform", ylim=np.array([-1.05, 1.05]) * np.max(np.abs(waveform)))

    cosine = np.asarray(spectrogram)[:, : codec.spec.num_bins]
    signed = np.cbrt(cosine)  # shows quiet coefficients beside loud ones, and keeps the signs
    limit = float(np.quantile(np.abs(signed), 0.99))
    middle.pcolormesh(
        codec.frame_times_s(len(waveform)),
        codec.spec.center_hz / 1000,
        signed.T,
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        shading="nearest",
        rasterized=True,
    )
    middle.set(ylabel="frequency (kHz)", ylim=(0, rate / 2000))
    middle.yaxis.set_major_locator(MultipleLocator(2))
    middle.set_title(
        "encode: signed spectrogram, cosine channels (cube root)", fontsize="medium", loc="left"
    )

    bottom.plot(time_s, 1e7 * error, color=RED, linewidth=0.5)
    bottom.set(ylabel="difference\n(1e-7)", xlabel="time (s)", xlim=(0, len(waveform) / rate))
    bottom.set_title(
        f"decode: the waveform again, {snr:.0f} dB; what differs", fontsize="medium", loc="left"
    )
    for axis in (top, middle, bottom):
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=INK)
    figure.align_ylabels()
    return figure


if __name__ == "__main__":
    content = io.BytesIO()
    draw().savefig(content, dpi=110)
    # 128 colours take a third of the bytes and look the same.
    Image.open(content).convert("RGB").quantize(128).save(
        Path(__file__).with_suffix(".png"), optimize=True
    )
