"""Nonuniform banks, scale by scale: how exact, how many numbers, how fast beside ``16khz-mel``.

    python benchmarks/nonuniform.py [--audio DIR] [--every N] [--pairs N] [--write]

128 bands at 16 kHz on every scale, whole clips in the ragged layout: real numbers a sample, of a
second of sound and of 10 s with their padding, arrays, frame bounds, and SNR of encode -> decode in
float32 of clips and of awkward signals (noise of 1 sample, primes and others, impulses at both
edges); the same of slices. Then 16 clips of 10 s there and back by ``16khz-mel-ragged`` and by
``16khz-mel``, in turns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import common
import jax
import numpy as np
from paired import compare

import isincnet_jax as isn
from isincnet_jax.constant_q.dsp.gabor_tables import array_grid

SCALES = ("mel", "mel_htk", "erb", "bark", "linear", "log")
RATE, BINS, SECONDS, BATCH = 16_000, 128, 10, 16
LENGTHS = (1, 2, 3, 5, 64, 127, 1009, 4095, 10_007, 65_537, 100_003)


def trip(layer: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Encode and decode, jitted together per length."""

    @jax.jit
    def both(samples: jax.Array) -> jax.Array:
        return layer.decode(layer.encode(samples), length=samples.shape[-1])

    return lambda samples: np.asarray(both(samples))


def of_awkward_signals(layer: Any) -> float:
    """The worst SNR in dB."""
    rng = np.random.default_rng(common.SEED)
    returned, worst = trip(layer), math.inf
    for length in LENGTHS:
        signals = np.zeros((3, length), np.float32)
        signals[0] = rng.uniform(-1, 1, length)
        signals[1, 0] = signals[2, -1] = 1.0
        pairs = zip(signals, returned(signals), strict=True)
        worst = min(worst, *(common.snr_db(one, other) for one, other in pairs))
    jax.clear_caches()  # the tables of every length are constants of their programs
    return worst


def of_clips(layer: Any, clips: list[np.ndarray]) -> list[float]:
    """SNR in dB of every clip that is not silent."""
    returned = trip(layer)
    found = [common.snr_db(clip, returned(clip)) for clip in clips]
    return [value for value in found if not math.isnan(value)]


def read(args: Any) -> tuple[str, list[np.ndarray]]:
    """Up to 10 s of every channel, at 16 kHz; those that are longer are cut."""
    folder = common.audio_folder(args.audio)
    if folder is None:
        return "demo clip", [isn.demo_waveform(RATE)]
    files = common.find_files(folder)[:: args.every]
    clips = []
    for clip in common.read_clips(files, folder):
        samples = clip.samples[: SECONDS * clip.sample_rate]
        samples = common.resample(samples, clip.sample_rate, RATE)
        # Whole seconds: every length costs a compilation.
        clips.append(samples[: max(len(samples) // RATE * RATE, min(len(samples), RATE))])
    return folder.name, clips


def of_scale(scale: str, clips: list[np.ndarray]) -> dict[str, Any]:
    options = {"sample_rate": RATE, "num_bins": BINS, "scale": scale, "layout": "ragged"}
    layer, sliced = isn.NonuniformBank(**options), isn.SlicedNonuniformBank(**options)
    found = of_clips(layer, clips)
    bounds = layer.frame_bounds(SECONDS * RATE)
    return {
        "scale": scale,
        "per_second": 2 * sum(bins / hop for bins, hop in array_grid(layer.spec, "ragged")),
        "ten_seconds": layer.redundancy(SECONDS * RATE),
        "matrix": isn.NonuniformBank(**{**options, "layout": "matrix"}).redundancy(SECONDS * RATE),
        "arrays": len(layer.hop_lengths),
        "lower": bounds.lower,
        "upper": bounds.upper,
        "worst_db": min(found),
        "median_db": float(np.median(found)),
        "awkward_worst_db": of_awkward_signals(layer),
        "sliced_awkward_worst_db": of_awkward_signals(sliced),
        "sliced_latency_ms": 1e3 * sliced.latency / RATE,
    }


def of_speed(pairs: int) -> dict[str, Any]:
    rng = np.random.default_rng(common.SEED)
    waveform = rng.uniform(-0.5, 0.5, (BATCH, SECONDS * RATE)).astype(np.float32)
    row: dict[str, Any] = {"ours": "16khz-mel-ragged", "peer": "16khz-mel"}
    sides = {}
    for side in ("ours", "peer"):
        codec = isn.from_pretrained(row[side])
        spectrogram = jax.block_until_ready(codec.encode(waveform))
        sides[side] = {
            "encode": lambda codec=codec: codec.encode(waveform),
            "decode": lambda codec=codec, given=spectrogram: codec.decode(
                given, length=waveform.shape[-1]
            ),
            "there and back": lambda codec=codec: codec.decode(
                codec.encode(waveform), length=waveform.shape[-1]
            ),
        }
        row[f"{side}_snr_db"] = common.snr_db(waveform, np.asarray(sides[side]["there and back"]()))
    for what in sides["ours"]:
        row[what] = compare(
            lambda what=what: jax.block_until_ready(sides["ours"][what]()),
            lambda what=what: jax.block_until_ready(sides["peer"][what]()),
            pairs=pairs,
            audio_s=BATCH * SECONDS,
        )
    return row


def main() -> None:
    parser = common.parser_with_audio(__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th file only")
    parser.add_argument("--pairs", type=int, default=15, help="measurements of each side")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results")
    args = parser.parse_args()
    load = common.load_average()
    speed = of_speed(args.pairs)
    data, clips = read(args)
    rows = []
    for scale in SCALES:
        rows.append(of_scale(scale, clips))
        print(rows[-1], flush=True)
    common.print_table(
        f"Nonuniform banks, {BINS} bands at {RATE} Hz",
        ["scale", "per second", "10 s", "arrays", "clips: worst", "awkward: worst", "sliced"],
        [
            [row["scale"], f"{row['per_second']:.2f}", f"{row['ten_seconds']:.2f}",
             str(row["arrays"]), f"{row['worst_db']:.1f}", f"{row['awkward_worst_db']:.1f}",
             f"{row['sliced_awkward_worst_db']:.1f}"]
            for row in rows
        ],
    )  # fmt: skip
    common.print_table(
        "16khz-mel-ragged beside 16khz-mel",
        ["", "ours, ms", "16khz-mel, ms", "ratio", "quartiles"],
        [
            [what, f"{speed[what]['ours_ms']:.0f}", f"{speed[what]['peer_ms']:.0f}",
             f"{speed[what]['ratio']:.2f}",
             f"{speed[what]['ratio_lower_quartile']:.2f}-{speed[what]['ratio_upper_quartile']:.2f}"]
            for what in ("encode", "decode", "there and back")
        ],
    )  # fmt: skip
    if args.write:
        origin = common.describe_run(
            args, data=data, clip_count=len(clips), load_average_before=load
        )
        common.write_results("nonuniform", {**origin, "scales": rows, "speed": speed})


if __name__ == "__main__":
    main()
