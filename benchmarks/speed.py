"""Encoding and decoding time beside PyTorch and a plain strided convolution, and start-up time.

    python benchmarks/speed.py [--pairs 11] [--skip-startup]

A batch of 16 clips of 10 s at 16 kHz. Ours and a peer take turns in one process (A B, B A,
A B, ...), each with two calls to settle and a burst of eight; idle OpenMP threads sleep instead of
spinning, so that neither side steals the other's cores. Printed are both medians and the median
of the ratios pair by pair, peer over ours: above 1 we are faster.

The PyTorch peers have the geometry of the reference and its two operations (``torch_peers.py``):
501 taps at stride 125, 256 stacked real kernels or complex64 ones, a decoder of three frames. Our
decoder reads four frames (the causal one 11) and is exact; the reference's three are not. The mel
preset has three times the reference's bins: beside the reference geometry it also meets a
convolution with its own kernels.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
from paired import Operation, compare
from roofline import product_gflops
from torch_peers import TorchPeers, stacked

import isincnet_jax as isn
from isincnet_jax.dsp import framing

BATCH, RATE, DURATION_S = 16, 16_000, 10
LENGTH = RATE * DURATION_S
PRESETS = ("16khz-linear", "16khz-linear-causal", "16khz-mel")
BURST = 8
_IMPORT = """
import time
start = time.perf_counter()
import isincnet_jax
print(time.perf_counter() - start)
"""
_FIRST = """
import time
start = time.perf_counter()
import numpy as np
import isincnet_jax as isn
codec = isn.from_pretrained("16khz-linear")
ready = time.perf_counter()
clip = np.sin(np.arange(80_000, dtype=np.float32))
decoded = np.asarray(codec.decode(codec.encode(clip), length=len(clip)))
assert np.max(np.abs(decoded - clip)) < 1e-4
end = time.perf_counter()
print(ready - start, end - ready, end - start)
"""


def xla_encode(spec: isn.FilterbankSpec, waveform: jax.Array) -> Operation:
    """The same analysis as one strided convolution in XLA."""
    kernels = jnp.asarray(stacked(spec), jnp.float32)
    half = spec.taps // 2

    @jax.jit
    def run(samples: jax.Array, filters: jax.Array) -> jax.Array:
        padded = jnp.pad(samples, ((0, 0), (half, half)))
        return framing.correlate_frames(padded, filters, hop_length=spec.hop_length)

    return lambda: jax.block_until_ready(run(waveform, kernels))


def check_peer(codec: isn.Codec, waveform: jax.Array, peer: Operation) -> None:
    """A peer with our kernels must give our coefficients away from the edges."""
    spec = codec.spec
    first = round(-codec.frame_times_s(LENGTH)[0] * spec.frame_rate_hz)
    ours = np.asarray(codec.encode(waveform))[:, first:]
    result = peer()
    theirs = np.asarray(result) if isinstance(result, jax.Array) else result.cpu().numpy()
    if not isinstance(result, jax.Array):
        theirs = theirs.transpose(0, 2, 1)
    inner = slice(8, theirs.shape[1] - 8)
    difference = np.max(np.abs(ours[:, inner] - theirs[:, inner]))
    if not difference < 1e-5:
        raise SystemExit(f"{codec.name}: a peer differs by {difference:.2g}; not comparable")


def run_comparisons(pairs: int) -> tuple[list[dict[str, Any]], list[str]]:
    waveform = np.random.default_rng(common.SEED).uniform(-0.5, 0.5, (BATCH, LENGTH))
    waveform = waveform.astype(np.float32)
    on_device = jax.device_put(waveform)
    skipped = []
    torch_peers = None
    try:
        torch_peers = TorchPeers(waveform)
    except ImportError as error:
        skipped.append(f"PyTorch peers: {error}")
        print(f"SKIPPED: {skipped[-1]}")
    linear = isn.FilterbankSpec.reference()
    causal = isn.FilterbankSpec.reference(component="real")
    rows = []

    def add(name: str, what: str, peer_name: str, ours: Operation, peer: Operation) -> None:
        row = {"preset": name, "operation": what, "peer": peer_name}
        found = compare(ours, peer, pairs=pairs, audio_s=BATCH * DURATION_S, burst=BURST)
        rows.append({**row, **found})
        print(f"  {name} {what}, {peer_name}: {rows[-1]['ratio']:.2f}", flush=True)

    # The first round is thrown away: until the C library's allocator has adapted to the sizes at
    # hand (seconds, for either side), every large array costs page faults.
    for round_index, name in enumerate((PRESETS[0], *PRESETS)):
        if round_index == 1:
            rows.clear()
        codec = isn.from_pretrained(name)
        spectrogram = jax.block_until_ready(codec.encode(on_device))

        def encode(codec: isn.Codec = codec) -> Any:
            return jax.block_until_ready(codec.encode(on_device))

        def decode(codec: isn.Codec = codec, spectrogram: jax.Array = spectrogram) -> Any:
            return jax.block_until_ready(codec.decode(spectrogram, length=LENGTH))

        plain = xla_encode(codec.spec, on_device)
        check_peer(codec, on_device, plain)
        if torch_peers is not None:
            hop = codec.spec.hop_length
            reference = causal if codec.spec.component == "real" else linear
            same = torch_peers.encode_real(stacked(codec.spec), hop)
            check_peer(codec, on_device, same)
            if codec.spec.num_channels == reference.num_channels:
                add(name, "encode", "PyTorch, real kernels", encode, same)
            else:
                peer = torch_peers.encode_real(stacked(reference), hop)
                add(name, "encode", "PyTorch, reference's 256 kernels", encode, peer)
                add(name, "encode", "PyTorch, the preset's kernels", encode, same)
            if codec.spec.component == "complex":
                peer = torch_peers.encode_complex(reference.design_kernels(), hop)
                add(name, "encode", "PyTorch, complex kernels", encode, peer)
            peer = torch_peers.decode(reference.num_channels, hop)
            add(name, "decode", "PyTorch, Conv1d of 3 frames", decode, peer)
        add(name, "encode", "XLA strided convolution", encode, plain)
    return rows, skipped


def _fresh(code: str, cache: str) -> list[float]:
    environment = {**os.environ, "ISINCNET_CACHE_DIR": cache}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=common.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(word) for word in done.stdout.split()]


def startup_times() -> dict[str, float]:
    """Seconds in fresh processes, import included, interpreter start excluded."""
    imports = [_fresh(_IMPORT, "")[0] for _ in range(5)]
    cold = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(_fresh(_FIRST, cache))
    with tempfile.TemporaryDirectory() as cache:
        _fresh(_FIRST, cache)
        cached = [_fresh(_FIRST, cache) for _ in range(5)]
    names = ("import_and_from_pretrained_s", "first_encode_decode_s", "total_s")
    times = {"import_s": statistics.median(imports)}
    for title, runs in (("cold", cold), ("cached", cached)):
        for name, values in zip(names, zip(*runs, strict=True), strict=True):
            times[f"{title}_{name}"] = statistics.median(values)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=11, help="timed pairs per comparison")
    parser.add_argument("--skip-startup", action="store_true", help="no fresh processes")
    args = parser.parse_args()
    load_before = common.load_average()
    startup = {} if args.skip_startup else startup_times()
    ceiling_before = product_gflops()
    rows, skipped = run_comparisons(args.pairs)
    ceiling = (ceiling_before, product_gflops())
    common.print_table(
        f"{BATCH} x {DURATION_S} s at {RATE} Hz, float32, {args.pairs} pairs; ratio = peer / ours",
        ["", "", "peer", "ours ms", "peer ms", "ratio", "quartiles", "ours x real time", "peer"],
        [
            [r["preset"], r["operation"], r["peer"], r["ours_ms"], r["peer_ms"],
             f"{r['ratio']:.2f}",
             f"{r['ratio_lower_quartile']:.2f}-{r['ratio_upper_quartile']:.2f}",
             round(r["ours_times_real_time"]), round(r["peer_times_real_time"])]
            for r in rows
        ],
    )  # fmt: skip
    if startup:
        common.print_table(
            "Start-up in fresh processes, seconds (median)",
            ["", "s"],
            [
                [name.removesuffix("_s").replace("_", " "), f"{s:.3f}"]
                for name, s in startup.items()
            ],
        )
    print(f"\nMatrix product 2048^3 float32: {ceiling[0]:.0f} then {ceiling[1]:.0f} GFLOP/s")
    if load_before is not None:
        print(f"Load average before the run: {load_before:.2f}")
    origin = common.describe_run(
        args, data="uniform noise", clip_count=BATCH, load_average_before=load_before
    )
    results = {"comparisons": rows, "skipped": skipped, "startup_s": startup}
    common.write_results("speed", {**origin, **results, "matrix_gflops": ceiling})


if __name__ == "__main__":
    main()
