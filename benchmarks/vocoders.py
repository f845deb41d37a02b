"""Speed of the vocoders: seconds of audio per second of computation, untrained weights.

    python benchmarks/vocoders.py [--calls 10] [--model NAME ...] [--seconds 10] [--write]

One clip at 22,050 Hz with a hop of 256, from features to waveform, jitted, median of the calls. Two
figures are given: of wall-clock time, which other processes on the machine make worse, and of
processor time (of all cores together), which they disturb less and which a single core would
need. The weights are random: they do not change the work. Asked: CNNVocoder 15.8 x real time
(twice the seed's estimate), the small ConvNeXt model 150 x, on two cores.

``--upsampling`` times the stages of CNNVocoder instead: upsampling and then convolving, the two
polyphase convolutions at the low rate, and the taps before the upsampling, see
:func:`.upsampling.upsample_convolve`, which takes the faster of the last two.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import time
from collections.abc import Callable
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import paired
from jax import lax

from isincnet_jax import provenance
from isincnet_jax.nets import upsampling
from isincnet_jax.vocoders.networks.cnn import CNNVocoder
from isincnet_jax.vocoders.networks.convnext import ConvNeXtVocoder
from isincnet_jax.vocoders.networks.istftnet import ISTFTNet

RATE, HOP = 22_050, 256
MODELS: dict[str, Any] = {
    "cnn_vocoder": CNNVocoder(),
    "cnn_vocoder_mel80": CNNVocoder(num_bins=80),
    "convnext_small": ConvNeXtVocoder(num_bins=80, width=256),
    "convnext_small_phase": ConvNeXtVocoder(
        num_bins=513, width=256, num_blocks=7, enter_taps=3, predict="phase"
    ),
    "convnext_published": ConvNeXtVocoder(),
    "istftnet_published": ISTFTNet(),
}
ASKED = {"cnn_vocoder": 15.8, "convnext_small": 150.0, "convnext_small_phase": 150.0}


def random_variables(model: Any, features: jax.Array) -> Any:
    """Variables of the right shapes, variances positive; much faster than initialisation."""
    rng = np.random.default_rng(common.SEED)
    shapes = jax.eval_shape(model.init, jax.random.key(common.SEED), features)
    return jax.tree.map(
        lambda leaf: jnp.asarray(0.01 + 0.02 * np.abs(rng.standard_normal(leaf.shape)), leaf.dtype),
        shapes,
    )


def measure(name: str, *, seconds: float, calls: int) -> dict[str, Any]:
    model = MODELS[name]
    frames = 1 + int(seconds * RATE) // HOP
    rng = np.random.default_rng(common.SEED)
    shape = (1, frames, model.num_bins)
    features = jnp.asarray(rng.uniform(0, 1, shape), jnp.float32)
    variables = random_variables(model, features)
    start = time.perf_counter()
    run = jax.jit(model.apply).lower(variables, features).compile()
    compiled = time.perf_counter() - start
    wall, processor = paired.median_times(
        lambda: jax.block_until_ready(run(variables, features)), calls
    )
    audio = frames * HOP / RATE
    size = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    return {
        "model": name,
        "parameters_million": size / 1e6,
        "compile_s": compiled,
        "wall_s": wall,
        "processor_s": processor,
        "times_real_time": audio / wall,
        "times_real_time_of_processor": audio / processor,
        "asked": ASKED.get(name),
    }


def convolve(sequence: jax.Array, kernel: jax.Array) -> jax.Array:
    return lax.conv_general_dilated(
        sequence, kernel, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )


def upsample_then_convolve(sequence: jax.Array, kernel: jax.Array) -> jax.Array:
    return convolve(upsampling.upsample_linear(sequence), kernel)


def two_polyphase_convolutions(sequence: jax.Array, kernel: jax.Array) -> jax.Array:
    """Both phases as one convolution at the low rate; the two edge samples differ."""
    a, b, c = kernel
    both = jnp.stack(
        [
            jnp.concatenate([0.75 * a + 0.25 * b, 0.25 * a], axis=-1),
            jnp.concatenate([0.25 * a + 0.75 * (b + c), 0.75 * (a + b) + 0.25 * c], axis=-1),
            jnp.concatenate([0.25 * c, 0.25 * b + 0.75 * c], axis=-1),
        ]
    )
    return convolve(sequence, both).reshape(sequence.shape[0], -1, kernel.shape[2])


def _complete(function: Callable[..., Any], *arguments: Any) -> None:
    jax.block_until_ready(function(*arguments))


def measure_upsampling(*, seconds: float, calls: int) -> list[list[Any]]:
    rng = np.random.default_rng(common.SEED)
    widths = (2050, *CNNVocoder().widths)
    time_steps, rows = 1 + int(seconds * RATE) // HOP, []
    ways = (upsample_then_convolve, two_polyphase_convolutions, upsampling.taps_first)
    for inputs, outputs in itertools.pairwise(widths):
        sequence = jnp.asarray(rng.standard_normal((1, time_steps, inputs)), jnp.float32)
        kernel = jnp.asarray(rng.standard_normal((3, inputs, outputs)), jnp.float32)
        row: list[Any] = [f"{inputs} -> {outputs}", time_steps]
        for way in ways:
            run = functools.partial(_complete, jax.jit(way), sequence, kernel)
            row.append(1e3 * paired.median_times(run, calls)[1])
        rows.append(row)
        time_steps *= 2
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--model", nargs="+", choices=tuple(MODELS), default=list(MODELS))
    parser.add_argument("--upsampling", action="store_true")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results")
    args = parser.parse_args()
    if args.upsampling:
        rows = measure_upsampling(seconds=args.seconds, calls=args.calls)
        header = ["channels", "samples", "upsample, convolve", "polyphase", "taps first"]
        common.print_table("Milliseconds of processor time per stage", header, rows)
        return
    results = []
    for name in args.model:
        results.append(measure(name, seconds=args.seconds, calls=args.calls))
        print(f"{name}: {results[-1]['times_real_time']:.1f} x real time", flush=True)
    columns = {
        "parameters (M)": "parameters_million",
        "x real time": "times_real_time",
        "x of processor time": "times_real_time_of_processor",
        "compile (s)": "compile_s",
    }
    rows = [
        [row["model"], *[row[key] for key in columns.values()], row["asked"] or "-"]
        for row in results
    ]
    title = f"Vocoders, one clip of {args.seconds:g} s, {provenance.device_name()}"
    common.print_table(title, ["model", *columns, "asked"], rows)
    print(f"load average {common.load_average()}")
    if args.write:
        origin = common.describe_run(args, load_average=common.load_average())
        common.write_results("vocoders", {**origin, "models": results})


if __name__ == "__main__":
    main()
