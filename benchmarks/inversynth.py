"""Time of a training step of InverSynth's networks: sounds drawn, rendered and learned from.

    python benchmarks/inversynth.py [--batch 64] [--calls 3] [--network NAME ...] [--write]

One step as ``experiments/train_inversynth.py`` takes it, compiled, on all devices of one kind:
levels drawn from a key, sounds rendered, forward, backward and Adam. Median wall-clock time, and
processor time of all cores, per sound.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import common
import jax
import jax.numpy as jnp

from isincnet_jax import provenance
from isincnet_jax.inversynth.features import NUM_SAMPLES
from isincnet_jax.tasks import command, compose
from isincnet_jax.tasks import inversynth as train_inversynth
from isincnet_jax.tasks.inversynth_data import build_data
from isincnet_jax.training import parallel
from isincnet_jax.training.state import create_state

NETWORKS = ("C1", "C3", "C6", "C6XL", "CE2E", "mixer")
CONFIG = common.ROOT / "experiments" / "configs" / "inversynth.py"


def measure(network: str, *, batch: int, calls: int) -> dict[str, Any]:
    options = [f"--config={CONFIG}:{network}", f"--config.data.batch_size={batch}"]
    config = command.read_config([*options, "--config.train.num_steps=1000"])
    module, data = train_inversynth.build_module(config), build_data(config)
    optimizer = compose.build_optimizer(config, undivided="sounds")
    step = train_inversynth.build_step(config, module, optimizer, data)
    clip = jnp.zeros((1, NUM_SAMPLES), jnp.float32)
    variables = jax.jit(module.init)(jax.random.key(common.SEED), clip)
    state = parallel.replicate(create_state(variables, optimizer, key=jax.random.key(common.SEED)))
    batches, wall, processor = data.batches(0), [], []
    for number in range(calls + 2):
        start, used = time.perf_counter(), time.process_time()
        state, metrics = step(state, next(batches))
        jax.block_until_ready(metrics)
        if number > 1:
            wall.append(time.perf_counter() - start)
            processor.append(time.process_time() - used)
    return {
        "network": network,
        "parameters_million": sum(leaf.size for leaf in jax.tree.leaves(variables)) / 1e6,
        "step_s": statistics.median(wall),
        "wall_ms_per_sound": 1e3 * statistics.median(wall) / batch,
        "processor_ms_per_sound": 1e3 * statistics.median(processor) / batch,
        "memory_mib": step.memory.total / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--calls", type=int, default=3)
    parser.add_argument("--network", nargs="+", default=list(NETWORKS))
    parser.add_argument("--write", action="store_true", help="write benchmarks/results")
    args = parser.parse_args()
    rows = [measure(name, batch=args.batch, calls=args.calls) for name in args.network]
    title = f"Training steps of {args.batch} sounds, {provenance.device_name()}"
    common.print_table(title, list(rows[0]), [list(row.values()) for row in rows])
    if args.write:
        load = common.load_average()
        common.write_results(
            "inversynth_steps", common.describe_run(args, load_average=load, rows=rows)
        )


if __name__ == "__main__":
    main()
