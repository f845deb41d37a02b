"""From a fresh process to the first decoded clip, for every preset and shipped model.

    python benchmarks/first_use.py [--models NAME,...] [--runs 3] [--cached] [--write]

A process of its own for each run, with an empty cache of designs unless ``--cached``. Told apart:

* **import**: the package and what it takes to have ``from_pretrained``, for the most part JAX,
  whose share a process shows that imports JAX alone;
* **design**: ``from_pretrained``: kernels and the exact decoder are computed, weights read;
* **compile**: what the first encoding and decoding of a clip of 5 s take more than the second ones;
* **run**: the second ones.

**total** is until the first decoded clip lies in a NumPy array; the start of the interpreter is not
in it. Vocoders turn a clip into their spectrogram and back; InverSynth estimates settings, which is
its first result. Processor seconds of user and system stand beside the wall's: on a machine with
other work they are the steadier. Printed are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

import common

from isincnet_jax import provenance
from isincnet_jax.pretrained.registry import REGISTRY

LIMIT_S = 2.0
"""What no preset should take on an idle machine."""
PARTS = ("import", "design", "compile", "run", "total")
_ONLY_JAX = """
import time
begin = time.perf_counter()
import jax.numpy
print(time.perf_counter() - begin)
"""
_FIRST = """
import json, resource, sys, time

def now():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime

begin = now()
import numpy as np
import isincnet_jax as isn
load = isn.from_pretrained
imported = now()
model = load(sys.argv[1])
designed = now()
rate = model.spec.sample_rate if hasattr(model, "spec") else model.sample_rate
length = getattr(model, "num_samples", 5 * rate)
clip = np.sin(np.arange(length, dtype=np.float32))

def use():
    if hasattr(model, "decode"):
        return np.asarray(model.decode(model.encode(clip), length=length))
    if hasattr(model, "scores"):
        return np.asarray(model.scores(clip))
    return np.asarray(model.synthesize(model.spectrogram(clip), length=length))

found = use()
first = now()
assert np.all(np.isfinite(found))
if hasattr(model, "decode"):
    assert np.max(np.abs(found - clip)) < 1e-4
again = now()
use()
end = now()

def passed(start, stop):
    return [after - before for before, after in zip(start, stop)]

run = passed(again, end)
print(json.dumps({
    "import": passed(begin, imported),
    "design": passed(imported, designed),
    "compile": [max(both - own, 0.0) for both, own in zip(passed(designed, first), run)],
    "run": run,
    "total": passed(begin, first),
}))
"""


def _fresh(code: str, *words: str, cache: str = "") -> str:
    """What a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=common.ROOT,
        env={**os.environ, "ISINCNET_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def first_use(name: str, *, runs: int, cached: bool) -> dict[str, dict[str, float]]:
    """Medians of the parts in seconds; designs are found in a cache, or are not."""
    found = []
    with tempfile.TemporaryDirectory() as kept:
        if cached:
            _fresh(_FIRST, name, cache=kept)
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as empty:
                found.append(json.loads(_fresh(_FIRST, name, cache=kept if cached else empty)))
    sides = ("wall_s", "processor_s")
    return {
        part: dict(
            zip(
                sides,
                map(statistics.median, zip(*(run[part] for run in found), strict=True)),
                strict=True,
            )
        )
        for part in PARTS
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", metavar="NAME,...", help="all of the registry if not given")
    parser.add_argument("--runs", type=int, default=3, help="processes of each")
    parser.add_argument("--cached", action="store_true", help="designs are in the cache already")
    parser.add_argument("--write", action="store_true", help="write results/first_use.json")
    args = parser.parse_args()
    names = args.models.split(",") if args.models else list(REGISTRY)
    load_before = common.load_average()
    jax_s = statistics.median(float(_fresh(_ONLY_JAX)) for _ in range(args.runs))
    rows: list[dict[str, Any]] = []
    for name in names:
        rows.append({"model": name, **first_use(name, runs=args.runs, cached=args.cached)})
        total = rows[-1]["total"]
        print(f"  {name}: {total['wall_s']:.2f} s", flush=True)
    common.print_table(
        f"First use on {provenance.device_name()}, seconds (of all processors), median of "
        f"{args.runs}; JAX alone imports in {jax_s:.2f} s",
        ["model", *PARTS],
        [
            [row["model"], *("{wall_s:.2f} ({processor_s:.2f})".format(**row[p]) for p in PARTS)]
            for row in rows
        ],
    )
    slow = [row["model"] for row in rows if row["total"]["wall_s"] > LIMIT_S]
    print(f"\nabove {LIMIT_S:g} s: {', '.join(slow) or 'none'}")
    if load_before is not None:
        print(f"Load average before the run: {load_before:.2f}")
    if args.write:
        origin = common.describe_run(args, load_average_before=load_before)
        common.write_results("first_use", {**origin, "jax_import_s": jax_s, "rows": rows})


if __name__ == "__main__":
    main()
