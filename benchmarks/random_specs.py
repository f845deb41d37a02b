"""The SNR that is predicted of a bank in float32 beside the one measured, on random banks.

    python benchmarks/random_specs.py [--count 500] [--seed 0]

Every bank has a random scale, shape, window and normalisation, hop 1 to 40, 2 to 100 bins, filters
of 1 to 8 hops; real or complex, causal or not, tight or not, zero or reflect padding. White noise
of a random length, some 4000 samples in all, goes through ``encode`` and ``decode``. Banks that
cannot be inverted are drawn again.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import common
import jax
import numpy as np

import isincnet_jax as isn
from isincnet_jax.bank import design, exactness
from isincnet_jax.bank import solve as decoding
from isincnet_jax.bank.dsp import kernels, shapes
from isincnet_jax.bank.solved import EXACT_SNR_DB
from isincnet_jax.dsp import scales

WINDOWS = ("hann", "hamming", "blackman", "boxcar", "cosine", "nuttall", "bartlett", "flattop")
WITHIN_DB = 6.0
_SHORTEST, _LONGEST = 30, 4000
_SAMPLES = 4000
# Reflected clips that are solved as a whole take long where they have many samples.
_MOST_UNKNOWNS = 600


def draw_spec(rng: np.random.Generator) -> tuple[isn.FilterbankSpec, int]:
    """A random bank that can be inverted, and a length in samples."""
    while True:
        spec = _any_spec(rng)
        length = int(rng.integers(_SHORTEST, _LONGEST))
        if spec is None or spec.redundancy < 1.0:
            continue
        if not design.is_invertible(spec.replace(tight=False)):
            continue
        solved = decoding.design_decoder(spec)
        whole = 2 * (solved.taps + spec.bank.taps + 2 * spec.hop_length)
        if spec.padding == "reflect" and _MOST_UNKNOWNS < length < whole:
            if whole > _LONGEST:
                continue
            length = whole
        return spec, length


def _any_spec(rng: np.random.Generator) -> isn.FilterbankSpec | None:
    hop = int(rng.integers(1, 41))
    try:
        return isn.FilterbankSpec(
            sample_rate=int(rng.choice([8000, 16_000, 22_050, 44_100])),
            hop_length=hop,
            num_bins=int(rng.integers(2, 101)),
            kernel_size=int(rng.integers(hop, 8 * hop + 2)),
            scale=str(rng.choice(list(scales.SCALES))),
            component="complex" if rng.random() < 0.5 else "real",
            causal=bool(rng.random() < 0.3),
            shape=str(rng.choice(list(shapes.SHAPES))),
            window=str(rng.choice(WINDOWS)),
            normalization=str(rng.choice(kernels.NORMALIZATIONS)),  # type: ignore[arg-type]
            padding="zeros" if rng.random() < 0.5 else "reflect",
            tight=bool(rng.random() < 0.2),
        )
    except ValueError:  # windows of too few taps, causal tight banks and the like
        return None


def measure(spec: isn.FilterbankSpec, length: int, rng: np.random.Generator) -> float:
    """SNR in dB of a round trip of white noise."""
    clips = max(_SAMPLES // length, 1)
    waveform = rng.standard_normal((clips, length)).astype(np.float32)
    codec = isn.build_codec(isn.SincNet(spec))
    decoded = np.asarray(codec.decode(codec.encode(waveform), length=length))
    return min(common.snr_db(waveform, decoded), 200.0)  # impulses return without any error


def run_one(rng: np.random.Generator) -> dict[str, Any]:
    """One bank: what was predicted and what was measured."""
    spec, length = draw_spec(rng)
    measured = measure(spec, length, rng)
    told = exactness.expect(spec)
    clip = exactness.expect(spec, length=length)
    return {
        "measured_db": measured,
        "predicted_db": clip.expected_snr_db,
        "told_db": told.expected_snr_db,
        "least_db": told.least_snr_db,
        "claims": "exact" if told.is_exact else "float64" if told.is_exact_in_float64 else "none",
        "length": length,
        "condition": design.frame_bounds(spec).condition,
        "noise_gain": decoding.design_decoder(spec).noise_gain,
        "spec": spec.to_dict(),
    }


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of many banks."""
    measured = np.asarray([row["measured_db"] for row in rows])
    found: dict[str, Any] = {"banks": len(rows), "worst_db": float(measured.min())}
    for name in ("predicted_db", "told_db"):
        difference = np.asarray([row[name] for row in rows]) - measured
        spread = np.percentile(difference, [0, 2.5, 50, 97.5, 100])
        found[name] = {
            "within_6_db": float(np.mean(np.abs(difference) <= WITHIN_DB)),
            "difference_percentiles_db": [float(value) for value in spread],
        }
    for claim in ("exact", "float64", "none"):
        some = [row["measured_db"] for row in rows if row["claims"] == claim]
        found[claim] = {
            "banks": len(some),
            "worst_db": min(some, default=None),
            "below_115_db": sum(value < EXACT_SNR_DB for value in some),
        }
    return found


def describe_row(row: dict[str, Any]) -> str:
    """A bank in a few words."""
    spec = isn.FilterbankSpec.from_dict(row["spec"])
    words = [spec.scale, spec.component, spec.shape, spec.window, spec.normalization]
    words += [spec.padding]
    words += [name for name in ("causal", "tight") if getattr(spec, name)]
    sizes = (
        f"hop {spec.hop_length}, {spec.num_bins} bins, {spec.taps} taps, {row['length']} samples"
    )
    return f"{' '.join(words)}, {sizes}"


def print_results(rows: list[dict[str, Any]], found: dict[str, Any]) -> None:
    common.print_table(
        "SNR in dB of random banks, by what is claimed of them",
        ["claim", "banks", "worst", "below 115 dB"],
        [[name, *found[name].values()] for name in ("exact", "float64", "none")],
    )
    common.print_table(
        "predicted less measured, dB",
        ["", "within 6 dB", "least", "2.5 %", "median", "97.5 %", "most"],
        [
            [
                label,
                f"{100 * found[name]['within_6_db']:.1f} %",
                *found[name]["difference_percentiles_db"],
            ]
            for label, name in (("of the clip's length", "predicted_db"), ("of any", "told_db"))
        ],
    )
    for title, key in (
        ("lowest SNR", lambda row: row["measured_db"]),
        ("worst predicted", lambda row: -abs(row["predicted_db"] - row["measured_db"])),
    ):
        common.print_table(
            f"{title}, dB",
            ["measured", "predicted", "of any length", "condition", "noise gain", "bank"],
            [
                [
                    *(row[name] for name in ("measured_db", "predicted_db", "told_db")),
                    *(f"{row[name]:.3g}" for name in ("condition", "noise_gain")),
                    describe_row(row),
                ]
                for row in sorted(rows, key=key)[:12]
            ],
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=500, help="banks")
    parser.add_argument("--seed", type=int, default=0)
    args: argparse.Namespace = parser.parse_args()
    begin, rows = time.perf_counter(), []
    for index in range(args.count):
        # Each bank has a generator of its own, so that any of them can be looked at again.
        rows.append(run_one(np.random.default_rng([args.seed, index])))
        if index % 20 == 19:
            jax.clear_caches()  # programs are compiled for one bank and one length
            print(f"{index + 1} banks: {time.perf_counter() - begin:.0f} s", flush=True)
    found = summarize(rows)
    print_results(rows, found)
    origin = common.describe_run(args, data="white noise", clip_count=len(rows))
    common.write_results("random_specs", {**origin, **found, "rows": rows})


if __name__ == "__main__":
    main()
