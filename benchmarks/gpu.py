"""Everything that is measured on one accelerator, in one run of a few minutes, into one file.

    python benchmarks/gpu.py [--minutes 8] [--grid 16x10,1x5] [--pairs 7] [--seconds 0.5] [--quick]

The rates of float32 matrix products by precision, and of copies; SNR and speed of the round trip by
precision (``precision.py``); then the cases of ``operations.py``: encode, decode, round trip and
tokens of the presets, STFT, mel, constant-Q transform, SincConv and a training step, beside PyTorch
(and nnAudio and librosax where they are installed) **on the same device**, each with the fraction
of what the device allows. Both sides are complete when their clocks stop: ours by
``jax.block_until_ready``, the peer's by ``torch.cuda.synchronize``; arrays are on the device before
they start. PyTorch multiplies in full float32, as ours does by default.

**Time.** After ``--minutes`` nothing more is begun: what is left stands under "missing" as "no
time". The order is that of worth, first all operations at the first shape. One case is trusted to
take no longer than the longest so far, but 40 s at the start, so that a run ends in time.

Memory is shared: neither side may hold all of it in advance. Results are written to
``results/gpu_DEVICE.json``. Where there is no accelerator the same runs on the processor, which is
its test: ``--quick`` is small, and writes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import time
import warnings
from collections.abc import Callable
from typing import Any

# Before JAX starts: by default it takes three quarters of the memory, and PyTorch gets none.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import common
import jax
import operations
import precision
import roofline
from torch_peers import check_tokens

from isincnet_jax import provenance

FIRST_CASE_S = 40.0
"""What a case may take before one has been seen."""
QUICK = {"grid": "2x1", "pairs": 2, "seconds": 0.05, "minutes": 4.0}
ON_PROCESSORS = ("librosa", "librosa, 2 threads")
ACCELERATOR_SIZES = (2048, 4096, 8192)


class Clock:
    """What is left of the run's time."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._end = now() + seconds
        self._longest = 0.0

    def left(self) -> float:
        """Seconds."""
        return self._end - self._now()

    def fits(self) -> bool:
        """Whether there is time for one more piece of work."""
        return self.left() > (self._longest or FIRST_CASE_S)

    def run(self, work: Callable[[], Any], name: str, missing: list[str]) -> Any:
        """What the work returns; None, and a line, if it does not fit or fails."""
        if not self.fits():
            missing.append(f"{name}: no time, {self.left():.0f} s left")
            print(f"  MISSING {missing[-1]}", flush=True)
            return None
        begun = self._now()
        found = operations.attempt(work, name, missing)
        self._longest = max(self._longest, self._now() - begun)
        return found


def precision_rows(presets: list[str], calls: int, clock: Clock, missing: list[str]) -> list[Any]:
    """SNR and speed of the round trip by precision."""
    rows = []
    for preset in presets:
        for name in precision.PRECISIONS:
            row = clock.run(
                lambda preset=preset, name=name: precision.measure(preset, name, calls),
                f"round trip, {preset}, precision {name}",
                missing,
            )
            if row is not None:
                rows.append(row)
                print(f"  {preset}, {name}: {row['snr_db']:.1f} dB", flush=True)
    return rows


def operation_rows(args: argparse.Namespace, clock: Clock, missing: list[str]) -> list[Any]:
    """The cases of ``operations.py``: all of the first preset, then the other presets."""
    rows = []
    first, *others = operations.PRESETS[:1] if args.quick else operations.PRESETS
    plans = [([first], list(operations.OPERATIONS))]
    if others:
        plans.append((others, [name for name in operations.CODEC_OPERATIONS if name != "tokens"]))
    for shape in operations.parse_grid(args.grid):
        for presets, names in plans:
            cases = operations.make_cases(shape, names, presets)
            what = f"{shape}, cases of {', '.join(presets)}"
            while case := operations.attempt(lambda cases=cases: next(cases, None), what, missing):
                own = case._replace(
                    peers={n: p for n, p in case.peers.items() if n not in ON_PROCESSORS}
                )
                row = clock.run(
                    lambda own=own, shape=shape: operations.run_case(
                        own, shape, pairs=args.pairs, seconds=args.seconds, missing=missing
                    ),
                    f"{shape}, {case.operation}, {case.variant}",
                    missing,
                )
                if row is not None:
                    rows.append(row)
            jax.clear_caches()
    return rows


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The content of the results file."""
    clock, missing = Clock(60.0 * args.minutes), []
    with contextlib.suppress(ImportError):  # without PyTorch its peers are reported as missing
        check_tokens()
    sizes = roofline.SIZES if jax.default_backend() == "cpu" else ACCELERATOR_SIZES
    limits = {"rounds": 3, "largest": 1 << 26} if args.quick else {}
    machine = roofline.measure(**limits, sizes=sizes)
    products = {
        name: roofline.product_gflops(sizes[-1], limits.get("rounds", 7), precision=name)
        for name in precision.PRECISIONS
    }
    rows = operation_rows(args, clock, missing)
    modes = precision_rows(
        list(precision.PRESETS[:1] if args.quick else precision.PRESETS),
        2 if args.quick else 9,
        clock,
        missing,
    )
    for row in rows:
        operations.add_ceiling(row, machine)
    operations.print_rows(rows, machine)
    precision.print_rows(modes)
    for name, rate in products.items():
        print(f"products {sizes[-1]}^3, precision {name}: {rate:,.0f} GFLOP/s")
    for line in missing:
        print(f"MISSING {line}")
    print(f"{60.0 * args.minutes - clock.left():.0f} s in all")
    return {
        "machine": {**machine.describe(), "products_by_precision_gflops": products},
        "rows": rows,
        "precisions": modes,
        "missing": missing,
    }


def file_name(device: str) -> str:
    """Of the results: "gpu_1_x_nvidia_h200", say."""
    return "gpu_" + re.sub("[^a-z0-9]+", "_", device.lower()).strip("_")


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="after which nothing is begun")
    parser.add_argument("--grid", metavar="BATCHxSECONDS,...", default="16x10,1x5")
    parser.add_argument("--pairs", type=int, default=7, help="the most pairs of a comparison")
    parser.add_argument("--seconds", type=float, default=0.5, help="for the pairs of a comparison")
    parser.add_argument("--quick", action="store_true", help="2 x 1 s, one preset; writes nothing")
    args = parser.parse_args(words)
    if args.quick:
        for name, value in QUICK.items():
            if getattr(args, name) == parser.get_default(name):
                setattr(args, name, value)
    return args


def main() -> None:
    args = parse_arguments()
    warnings.simplefilter("ignore")  # peers' deprecations; nothing of ours warns
    device, load_before = provenance.device_name(), common.load_average()
    print(f"{device}, {args.minutes:g} min at most", flush=True)
    found = measure(args)
    if not args.quick:
        origin = common.describe_run(args, data="uniform noise", load_average_before=load_before)
        common.write_results(file_name(device), {**origin, **found})


if __name__ == "__main__":
    main()
