"""Speed of the synthesizer: sounds of one second at 16,384 Hz per second of computation.

    python benchmarks/synthesizer.py [--batch 256] [--calls 10] [--write]

Random parameters, jitted, median of the calls. Two figures are given: of wall-clock time, which
other processes on the machine make worse, and of processor time (of all cores together), which
they disturb less and which a single core would need. Asked: 1,000 sounds per second on two cores.

* ``render``: parameters to waveforms.
* ``sample_batch``: keys to random parameters and waveforms, as in training.
* ``gradient``: of the energy of the waveforms with respect to all parameters, as in refinement.
* ``two processes``: ``render`` in two processes at once, what two cores give together.
* ``scipy, one by one``: the same sound in float64 NumPy and SciPy, one after the other.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import paired
import scipy.signal

from isincnet_jax import provenance
from isincnet_jax.inversynth.synth.parameters import values_from_levels
from isincnet_jax.inversynth.synth.render import NUM_SAMPLES, SAMPLE_RATE, render
from isincnet_jax.inversynth.synth.sampling import sample_batch, sample_levels

ASKED = 1000.0
WAVES = (
    np.sin,
    scipy.signal.sawtooth,
    functools.partial(scipy.signal.sawtooth, width=0.5),
    scipy.signal.square,
)


def random_values(batch: int) -> jax.Array:
    return values_from_levels(sample_levels(jax.random.key(common.SEED), batch))


def rendering(batch: int) -> Callable[[], Any]:
    return functools.partial(jax.jit(render), random_values(batch))


def sampling(batch: int) -> Callable[[], Any]:
    run = jax.jit(sample_batch, static_argnums=(1,))
    return lambda: run(jax.random.key(common.SEED), batch)


def differentiating(batch: int) -> Callable[[], Any]:
    run = jax.jit(jax.grad(lambda values: jnp.sum(render(values) ** 2)))
    return functools.partial(run, random_values(batch))


def scipy_sound(values: np.ndarray) -> np.ndarray:
    """One sound, as directly as NumPy and SciPy have it."""
    times = np.arange(NUM_SAMPLES) / SAMPLE_RATE
    carriers, modulators, amplitudes, deviations = values[:16].reshape(4, 4)
    attack, decay, sustain, release, cutoff, resonance, gate = values[16:]
    mixed = np.zeros(NUM_SAMPLES)
    for index, wave in enumerate(WAVES):
        angle = 2 * np.pi * modulators[index] * times
        swing = deviations[index] / modulators[index] * (1 - np.cos(angle))
        mixed += amplitudes[index] * wave(2 * np.pi * carriers[index] * times + swing)
    off = 0.5
    held = np.interp(np.minimum(times, off), [0, attack, attack + decay], [0, 1, sustain])
    shaped = mixed * held * np.clip(1 - (times - off) / release, 0, 1)
    angle = 2 * np.pi * cutoff / SAMPLE_RATE
    cosine, alpha = np.cos(angle), np.sin(angle) / (2 * resonance)
    b = np.array([0.5, 1.0, 0.5]) * (1 - cosine)
    filtered = scipy.signal.lfilter(b, [1 + alpha, -2 * cosine, 1 - alpha], shaped)
    return filtered * (1 + scipy.signal.square(2 * np.pi * gate * times)) / 2


def scipy_rendering(batch: int) -> Callable[[], Any]:
    values = np.asarray(random_values(batch), np.float64)
    return lambda: [scipy_sound(row) for row in values]


def largest_difference(count: int = 64) -> float:
    """Of both synthesizers: root mean square of the difference over that of the sounds, worst."""
    values = random_values(count)
    ours = np.asarray(jax.jit(render)(values), np.float64)
    theirs = np.stack([scipy_sound(row) for row in np.asarray(values, np.float64)])
    return float(np.max(np.std(ours - theirs, axis=1) / np.std(theirs, axis=1)))


def _worker(job: tuple[int, int]) -> tuple[float, float]:
    """Begin and end of the calls of one process, by the wall clock."""
    batch, calls = job
    run = rendering(batch)
    jax.block_until_ready(run())
    jax.block_until_ready(run())
    start = time.time()
    for _ in range(calls):
        jax.block_until_ready(run())
    return start, time.time()


def two_processes(batch: int, calls: int) -> dict[str, Any]:
    """Sounds per second of two processes, over the time in which either ran."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        spans = list(pool.map(_worker, [(batch, calls)] * 2))
    seconds = max(end for _, end in spans) - min(start for start, _ in spans)
    return {"operation": "two processes", "sounds_per_s": 2 * calls * batch / seconds}


def measure(name: str, make: Callable[[int], Callable[[], Any]], batch: int, calls: int) -> dict:
    operation = make(batch)
    wall, processor = paired.median_times(lambda: jax.block_until_ready(operation()), calls)
    return {
        "operation": name,
        "batch": batch,
        "sounds_per_s": batch / wall,
        "sounds_per_processor_s": batch / processor,
        "processor_ms_per_sound": 1e3 * processor / batch,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results")
    args = parser.parse_args()
    cases: list[tuple[str, Callable[[int], Callable[[], Any]], int]] = [
        ("render", rendering, args.batch),
        ("render", rendering, 16),
        ("render", rendering, 1),
        ("sample_batch", sampling, args.batch),
        ("gradient", differentiating, 16),
        ("scipy, one by one", scipy_rendering, 32),
    ]
    results = [measure(name, make, batch, args.calls) for name, make, batch in cases]
    if jax.default_backend() == "cpu":
        results.append({**two_processes(args.batch, 4 * args.calls), "batch": args.batch})
    difference = largest_difference()
    columns = ["sounds_per_s", "sounds_per_processor_s", "processor_ms_per_sound"]
    rows = [
        [row["operation"], row["batch"], *[row.get(column, "-") for column in columns]]
        for row in results
    ]
    title = f"Synthesizer, sounds of 1 s at {SAMPLE_RATE:g} Hz, {provenance.device_name()}"
    common.print_table(title, ["operation", "batch", *columns], rows)
    print(f"asked: {ASKED:g} sounds/s; load average {common.load_average()}")
    print(f"largest relative difference from SciPy, RMS: {difference:.2g}")
    if args.write:
        origin = common.describe_run(args, load_average=common.load_average())
        found = {"asked_sounds_per_s": ASKED, "largest_relative_difference": difference}
        common.write_results("synthesizer", {**origin, **found, "operations": results})


if __name__ == "__main__":
    main()
