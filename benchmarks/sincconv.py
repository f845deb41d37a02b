"""SincConv beside SincConv_fast in PyTorch: forward time, with the filters computed every time.

    python benchmarks/sincconv.py [--pairs 7]

80 filters of 251 taps, a batch of 16 clips of 10 s at 16 kHz, no padding, strides 1 and 160. The
peer is written from the published formulas: half of the filters from sines and a window,
mirrored, and ``F.conv1d``. Both are checked to give the same output, then take turns in one
process (A B, B A, ...) in bursts. Printed are both medians, the median of the ratios pair by pair
(peer over ours: above 1 we are faster) and the same of processor time, which other processes on
the machine disturb less.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
from paired import Operation, compare
from program import Program
from torch_peers import torch_device

from isincnet_jax.frontends import sinc_bands
from isincnet_jax.frontends.sinc_conv import SincConv

BATCH, RATE, DURATION_S = 16, 16_000, 10
FILTERS, TAPS = 80, 251
STRIDES = {1: 2, 160: 60}  # and calls per burst


def torch_peer(waveform: np.ndarray, stride: int) -> Operation:
    """SincConv_fast's forward pass: filters from the two parameters, then the convolution."""
    import torch

    device = torch_device()
    low_hz, band_hz = sinc_bands.initial_parameters(
        FILTERS, scale="mel_htk", low_hz=30, high_hz=RATE / 2 - 100
    )
    low_, band_ = (
        torch.tensor(values, dtype=torch.float32, device=device)[:, None]
        for values in (low_hz, band_hz)
    )
    half = TAPS // 2
    place = torch.linspace(0, TAPS / 2 - 1, steps=half, device=device)
    window = 0.54 - 0.46 * torch.cos(2 * math.pi * place / TAPS)
    nu = 2 * math.pi * torch.arange(-half, 0, device=device)[None] / RATE
    clips = torch.from_numpy(waveform).to(device)[:, None]

    def run() -> Any:
        with torch.no_grad():
            low = 50 + torch.abs(low_)
            high = torch.clamp(low + 50 + torch.abs(band_), 50, RATE / 2)
            left = (torch.sin(high * nu) - torch.sin(low * nu)) / (nu / 2) * window
            middle = 2 * (high - low)
            filters = torch.cat([left, middle, torch.flip(left, dims=[1])], dim=1) / middle
            frames = torch.nn.functional.conv1d(clips, filters[:, None], stride=stride)
        if device == "cuda":
            torch.cuda.synchronize()
        return frames

    return run


def our_layer(waveform: np.ndarray, stride: int) -> Program:
    layer = SincConv(num_filters=FILTERS, kernel_size=TAPS, sample_rate=RATE, stride=stride)
    clips = jax.device_put(waveform)
    variables = layer.init(jax.random.key(common.SEED), jnp.zeros((1, TAPS), jnp.float32))
    return Program(layer.apply, variables, clips)


def check_equal(ours: Operation, peer: Operation) -> float:
    """Largest difference relative to the largest value; ends the run if it is no rounding."""
    found, wanted = ours(), peer().cpu().numpy().transpose(0, 2, 1)
    scale, worst = 0.0, 0.0
    for mine, theirs in zip(found, wanted, strict=True):
        scale = max(scale, float(np.max(np.abs(theirs))))
        worst = max(worst, float(np.max(np.abs(np.asarray(mine) - theirs))))
    if not worst < 1e-5 * scale:
        raise SystemExit(f"the peer differs by {worst / scale:.2g}; not comparable")
    return worst / scale


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=7, help="timed pairs per stride")
    args = parser.parse_args()
    load_before = common.load_average()
    rng = np.random.default_rng(common.SEED)
    waveform = rng.uniform(-0.5, 0.5, (BATCH, RATE * DURATION_S)).astype(np.float32)
    rows = []
    for stride, burst in STRIDES.items():
        ours, peer = our_layer(waveform, stride), torch_peer(waveform, stride)
        difference = check_equal(ours, peer)
        found = compare(ours, peer, pairs=args.pairs, audio_s=BATCH * DURATION_S, burst=burst)
        rows.append({"stride": stride, **found, "largest_difference": difference})
        print(f"  stride {stride}: {found['ratio']:.2f}", flush=True)
    common.print_table(
        f"SincConv, {FILTERS} x {TAPS}, {BATCH} x {DURATION_S} s at {RATE} Hz, float32; ratio = "
        "SincConv_fast in PyTorch / ours",
        ["stride", "ours ms", "peer ms", "ratio", "quartiles", "ratio of processor time"],
        [
            [r["stride"], r["ours_ms"], r["peer_ms"], f"{r['ratio']:.2f}",
             f"{r['ratio_lower_quartile']:.2f}-{r['ratio_upper_quartile']:.2f}",
             f"{r['processor_time_ratio']:.2f}"]
            for r in rows
        ],
    )  # fmt: skip
    origin = common.describe_run(
        args, data="uniform noise", clip_count=BATCH, load_average_before=load_before
    )
    common.write_results("sincconv", {**origin, "comparisons": rows})


if __name__ == "__main__":
    main()
