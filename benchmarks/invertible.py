"""How exactly the invertible constant-Q transforms return every clip.

    python benchmarks/invertible.py [--audio DIR] [--whole] [--every N]

Signal-to-noise ratio in dB of encode -> decode in float32, edges included, for every channel of
every file at its own rate and 12, 24, 36, 48 and 96 bins per octave, up to half the sample rate:
whole clips as a matrix, and every eighth of them ragged and in slices too. A clip is cut at its end
to one of a few lengths (at most one sixteenth is lost), because every new length costs a
compilation; ``--whole`` keeps every clip's own. Then white noise of short, prime and other awkward
lengths, and impulses at the edges. Peers' inverses are in ``spectrograms.py``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import common
import jax
import numpy as np

import isincnet_jax as isn

RESOLUTIONS = (12, 24, 36, 48, 96)
LENGTHS = (1, 2, 3, 5, 64, 127, 1009, 4095, 10_007, 65_537, 100_003)
CLEAR_EVERY = 40
SPARSE = 8
EXCERPTS = 16


def round_trip(name: str, rate: int, resolution: int) -> Callable[[np.ndarray], np.ndarray]:
    """Encode and decode, jitted together per length."""
    options = {"sample_rate": rate, "n_bins": None, "bins_per_octave": resolution}
    layers = {
        "matrix": lambda: isn.InvertibleCQT(**options),
        "ragged": lambda: isn.InvertibleCQT(**options, layout="ragged"),
        "sliced": lambda: isn.SlicedCQT(**options),
    }
    layer = layers[name]()

    @jax.jit
    def both(samples: jax.Array) -> jax.Array:
        return layer.decode(layer.encode(samples), length=samples.shape[-1])

    return lambda samples: np.asarray(both(samples))


def cut(samples: np.ndarray) -> np.ndarray:
    """The clip without its end, so that it has one of a few lengths."""
    length = len(samples)
    step = max(1, 2 ** math.floor(math.log2(max(length, 1))) // EXCERPTS)
    return samples[: length // step * step]


def summary(values: list[float]) -> dict[str, Any]:
    finite = [value for value in values if math.isfinite(value)]
    return {
        "worst_db": min(finite),
        "median_db": float(np.median(finite)),
        "count": len(finite),
    }


def of_clips(clips: list[common.Clip], name: str, resolution: int) -> list[float]:
    found, trips = [], {}
    for index, clip in enumerate(sorted(clips, key=lambda c: (c.sample_rate, len(c.samples)))):
        if index % CLEAR_EVERY == 0:
            jax.clear_caches()  # the tables of every length are constants of their programs
        trip = trips.setdefault(clip.sample_rate, round_trip(name, clip.sample_rate, resolution))
        value = common.snr_db(clip.samples, trip(clip.samples))
        if not math.isnan(value):
            found.append(value)
    return found


def of_awkward_signals(name: str, resolution: int) -> list[float]:
    rng = np.random.default_rng(common.SEED)
    found = []
    for rate in (8000, 44_100):
        trip = round_trip(name, rate, resolution)
        for length in LENGTHS:
            noise = rng.uniform(-1, 1, length).astype(np.float32)
            impulses = np.zeros((2, length), np.float32)
            impulses[0, 0] = impulses[1, -1] = 1.0
            found.extend(common.snr_db(signal, trip(signal)) for signal in (noise, *impulses))
    return found


def main() -> None:
    parser = common.parser_with_audio(__doc__)
    parser.add_argument("--whole", action="store_true", help="do not cut clips")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th clip only")
    args = parser.parse_args()
    started = time.perf_counter()
    folder = common.audio_folder(args.audio)
    if folder is None:
        clips = [common.Clip("demo", isn.demo_waveform(22_050), 22_050)]
    else:
        clips = list(common.read_clips(common.find_files(folder)[:: args.every], folder))
    if not args.whole:
        clips = [clip._replace(samples=cut(clip.samples)) for clip in clips]
    results: dict[str, Any] = {}
    for resolution in RESOLUTIONS:
        for name in ("matrix", "ragged", "sliced"):
            chosen = clips if name == "matrix" else clips[::SPARSE]
            values = summary(of_clips(chosen, name, resolution))
            values["awkward_worst_db"] = min(of_awkward_signals(name, resolution))
            results[f"{name}, {resolution} per octave"] = values
            elapsed = time.perf_counter() - started
            print(f"  {name} {resolution}: {values} after {elapsed:.0f} s", flush=True)
    common.print_table(
        "Round trip of the invertible constant-Q transform, dB",
        ["", "clips: worst", "clips: median", "channels", "awkward signals: worst"],
        [
            [name, row["worst_db"], row["median_db"], row["count"], row.get("awkward_worst_db", "")]
            for name, row in results.items()
        ],
    )
    origin = common.describe_run(
        args,
        data=folder.name if folder else "demo clip",
        clip_count=len(clips),
        elapsed_s=time.perf_counter() - started,
    )
    common.write_results("invertible", {**origin, "results": results})


if __name__ == "__main__":
    main()
