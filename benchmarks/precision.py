"""What the precision of products costs and gives on this device: SNR and speed of the round trip.

    python benchmarks/precision.py [--calls 9] [--write]

``from_pretrained(name, precision=...)`` with "highest" (the default), "high" and "default", which
accelerators may compute by TF32 or bfloat16. White noise, 16 clips of 10 s, all frames. CPUs
compute the three alike.
"""

from __future__ import annotations

import argparse

import common
import jax
import numpy as np
from paired import median_times

import isincnet_jax as isn
from isincnet_jax import provenance

BATCH, DURATION_S = 16, 10
PRESETS = ("16khz-linear", "44khz-linear", "16khz-linear-causal", "16khz-mel")
PRECISIONS = ("highest", "high", "default")


def measure(preset: str, precision: str, calls: int) -> dict[str, object]:
    """One preset at one precision."""
    codec = isn.from_pretrained(preset, precision=precision)
    length = DURATION_S * codec.spec.sample_rate
    rng = np.random.default_rng(common.SEED)
    noise = rng.uniform(-0.5, 0.5, (BATCH, length)).astype(np.float32)
    waveform = jax.device_put(noise)
    spectrogram = jax.block_until_ready(codec.encode(waveform))
    decoded = np.asarray(codec.decode(spectrogram, length=length))
    encode_s, _ = median_times(lambda: jax.block_until_ready(codec.encode(waveform)), calls)
    decode_s, _ = median_times(
        lambda: jax.block_until_ready(codec.decode(spectrogram, length=length)), calls
    )
    audio_s = BATCH * DURATION_S
    return {
        "preset": preset,
        "precision": precision,
        "snr_db": common.snr_db(noise, decoded),
        "encode_times_real_time": audio_s / encode_s,
        "decode_times_real_time": audio_s / decode_s,
    }


def print_rows(rows: list[dict[str, object]]) -> None:
    """The table."""
    common.print_table(
        f"{provenance.device_name()}, {BATCH} x {DURATION_S} s",
        ["preset", "precision", "SNR, dB", "encode, x real time", "decode"],
        [
            [
                row["preset"],
                row["precision"],
                row["snr_db"],
                f"{row['encode_times_real_time']:,.0f}",
                f"{row['decode_times_real_time']:,.0f}",
            ]
            for row in rows
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=9, help="timed calls of each")
    parser.add_argument("--write", action="store_true", help="write results/precision.json")
    args = parser.parse_args()
    rows = [
        measure(preset, precision, args.calls) for preset in PRESETS for precision in PRECISIONS
    ]
    print_rows(rows)
    if args.write:
        common.write_results("precision", {**common.describe_run(args), "rows": rows})


if __name__ == "__main__":
    main()
