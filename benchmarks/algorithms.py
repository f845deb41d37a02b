"""Every exact algorithm of encoding and decoding, also those that are not chosen.

    python benchmarks/algorithms.py [--calls 9] [--bins 128,257] [--skip-strided]

Measures what ``isincnet_jax/bank/algorithms.py`` chooses from. Uniform banks of several sizes,
whose N = 2 (bins - 1) has small, middling and large prime factors, go through all methods of
:mod:`.uniform`; the mel and the causal preset through the strided convolution, the
convolution over blocks, even and odd parts, and shared products. Two shapes each: 16 clips of 10 s
and one clip of 5 s at 16 kHz. Candidates take turns, call by call, and the median of each is
printed, with "*" at the one that the package chooses and, at the end, how far each choice lies
behind the fastest. All candidates are tested to equal the direct sum in float64.
"""

from __future__ import annotations

import argparse
import functools
import math
import statistics
from collections.abc import Callable
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
from paired import timed_once

import isincnet_jax as isn
from isincnet_jax.bank.dsp import uniform, uniform_analysis, uniform_synthesis
from isincnet_jax.dsp import framing
from isincnet_jax.frontends import symmetric_correlation
from isincnet_jax.spectrograms.dsp import shared_products

RATE = 16_000
SHAPES = ((16, 10), (1, 5))
HOPS = {65: 64, 128: 125, 129: 128, 256: 240, 257: 256, 510: 344, 512: 344, 513: 512, 1025: 512}
PRESETS = ("16khz-mel", "16khz-linear-causal")

Candidates = dict[str, Callable[[], Any]]


def timed_in_turns(candidates: Candidates, calls: int) -> dict[str, float]:
    """Median milliseconds of each."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for call in range(calls + 2):
        for name, run in candidates.items():
            seconds, _ = timed_once(run)
            if call >= 2:  # the first two settle
                times[name].append(1e3 * seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def ready(function: Any, *arrays: Any) -> Callable[[], Any]:
    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(*arrays))


def noise(*shape: int) -> jax.Array:
    rng = np.random.default_rng(common.SEED)
    return jnp.asarray(rng.uniform(-0.5, 0.5, shape), jnp.float32)


def uniform_rows(num_bins: int, calls: int) -> list[dict[str, Any]]:
    """Encoding and decoding with a Hann window of four hops."""
    hop = HOPS[num_bins]
    window = jnp.asarray(np.hanning(4 * hop + 1), jnp.float32)
    dual = jnp.asarray(np.hanning(4 * hop + 2)[1:-1], jnp.float32)
    reach = 2 * hop - 1
    rows = []
    for batch, seconds in SHAPES:
        length = RATE * seconds
        grid = framing.frame_grid(length, hop_length=hop, lead=reach, trail=reach, padding="zeros")
        analyse = functools.partial(
            uniform_analysis.uniform_analysis,
            num_bins=num_bins,
            hop_length=hop,
            grid=grid,
            lead=reach,
            trail=reach,
            padding="zeros",
        )
        synthesise = functools.partial(
            uniform_synthesis.uniform_synthesis,
            num_bins=num_bins,
            hop_length=hop,
            lead=2 * hop,
            first_frame=grid.first,
            length=length,
        )
        waveform = noise(batch, length)
        spectrogram = noise(batch, grid.num_frames, 2 * num_bins)
        for operation, function, methods, arrays in (
            ("analysis", analyse, ("folded", "fft"), (waveform, window)),
            ("synthesis", synthesise, ("folded", "mirrored", "fft"), (spectrogram, dual)),
        ):
            times = timed_in_turns(
                {
                    method: ready(functools.partial(function, method=method), *arrays)
                    for method in methods
                },
                calls,
            )
            chosen = uniform.choose_method(num_bins, operation=operation)
            rows.append(row(f"{num_bins} bins", operation, batch, seconds, times, chosen))
    return rows


def strided_rows(preset: str, calls: int) -> list[dict[str, Any]]:
    """Encoding with the kernels of a preset, and a real uniform one by its fold."""
    spec = isn.from_pretrained(preset).spec
    kernels = jnp.asarray(spec.bank.kernels, jnp.float32)
    hop, taps = spec.hop_length, kernels.shape[1]
    candidates = {
        "strided": framing.correlate_frames,
        "blocks": framing.correlate_blocks,
        "shared": shared_products.correlate_shared,
    }
    if spec.is_symmetric:
        candidates["even_odd"] = functools.partial(
            symmetric_correlation.correlate_folded, symmetry="even_odd"
        )
    rows = []
    for batch, seconds in SHAPES:
        length = RATE * seconds
        grid = spec.bank.frame_grid(length)
        padded = framing.pad_for_frames(
            noise(batch, length),
            grid=grid,
            hop_length=hop,
            lead=taps // 2,
            trail=taps - 1 - taps // 2,
            padding="zeros",
        )
        runs = {
            name: ready(functools.partial(function, hop_length=hop), padded, kernels)
            for name, function in candidates.items()
        }
        chosen = "strided"
        if spec.bank.dense is not spec.bank:
            chosen = "folded"
            filters = jnp.asarray(spec.bank.filters, jnp.float32)
            runs[chosen] = ready(spec.bank.analyse, noise(batch, length), filters)
        rows.append(row(preset, "analysis", batch, seconds, timed_in_turns(runs, calls), chosen))
    return rows


def row(
    bank: str, operation: str, batch: int, seconds: int, times: dict[str, float], chosen: str
) -> dict[str, Any]:
    return {
        "bank": bank,
        "operation": operation,
        "batch": batch,
        "seconds": seconds,
        "ms": times,
        "chosen": chosen,
        "behind_fastest": times[chosen] / min(times.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=9, help="timed calls of each")
    parser.add_argument("--bins", help=f"of {', '.join(map(str, HOPS))}; all unless told")
    parser.add_argument("--skip-strided", action="store_true", help="uniform banks only")
    args = parser.parse_args()
    sizes = [int(size) for size in args.bins.split(",")] if args.bins else list(HOPS)
    if unknown := set(sizes) - set(HOPS):
        raise SystemExit(f"--bins {args.bins}: {unknown} are not among {list(HOPS)}")
    load_before = common.load_average()
    rows = [found for size in sizes for found in uniform_rows(size, args.calls)]
    if not args.skip_strided:
        rows += [found for preset in PRESETS for found in strided_rows(preset, args.calls)]
    common.print_table(
        "Milliseconds; * is what the package chooses",
        ["bank", "", "clips", "candidates", "choice / fastest"],
        [
            [
                found["bank"],
                found["operation"],
                f"{found['batch']} x {found['seconds']} s",
                ", ".join(
                    f"{name}{'*' if name == found['chosen'] else ''} {ms:.2f}"
                    for name, ms in found["ms"].items()
                ),
                f"{found['behind_fastest']:.2f}",
            ]
            for found in rows
        ],
    )
    behind = [found["behind_fastest"] for found in rows]
    mean = math.exp(statistics.mean(math.log(value) for value in behind))
    print(f"\nChoices take {mean:.2f} x the fastest on average, {max(behind):.2f} x at worst")
    origin = common.describe_run(args, load_average_before=load_before)
    common.write_results("algorithms", {**origin, "rows": rows, "mean_behind": mean})


if __name__ == "__main__":
    main()
