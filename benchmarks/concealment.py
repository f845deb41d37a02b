"""Lost frames of an encoded recording: zeros in their place, and what is left of them used.

    python benchmarks/concealment.py --data LJSPEECH_DIR [--splits DIR] [--split test] [--write]

Every clip of the split, resampled to 16 kHz, is encoded with ``16khz-linear`` and quantised with
8 bits; frames are lost independently of each other (seed 0), and it is decoded with zeros for them,
and by ``isn.conceal`` after some iterations. Means over clips of the signal-to-noise ratio in dB
against the recording, and, where the extra "perceptual" is installed, of STOI.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np

import isincnet_jax as isn
from isincnet_jax import provenance
from isincnet_jax.benchmark import perceptual
from isincnet_jax.data.corpora import build_corpora
from isincnet_jax.dsp import distances

PRESET, RATE, BITS = "16khz-linear", 16_000, 8
LOSSES, ITERATIONS = (0.1, 0.2, 0.3, 0.5), (10, 40, 160)


def measure(codec: isn.Codec, clips: list[np.ndarray], loss: float) -> list[dict[str, Any]]:
    """Scores of zeros and of each number of iterations, at one share of lost frames."""
    rng, rows = np.random.default_rng(common.SEED), {}
    for clip in clips:
        target = jnp.asarray(clip)[None]
        spectrogram = codec.encode(target)
        quantizer = codec.quantizer(q_bits=BITS).fit(spectrogram)
        spectrogram = quantizer.decode(quantizer.encode(spectrogram))
        known = jnp.asarray(rng.random((spectrogram.shape[-2], 1)) >= loss)
        zeroed = codec.decode(jnp.where(known, spectrogram, 0), length=len(clip))
        _score(rows, "zeros", zeroed, clip, 0.0)
        for number in ITERATIONS:
            options: Any = {"length": len(clip), "iterations": number}
            jax.block_until_ready(isn.conceal(codec, spectrogram, known, **options))  # compiles
            start = time.perf_counter()
            found = jax.block_until_ready(isn.conceal(codec, spectrogram, known, **options))
            _score(rows, f"{number} iterations", found, clip, time.perf_counter() - start)
    seconds = sum(len(clip) for clip in clips) / RATE
    return [
        {
            "lost": loss,
            "method": name,
            "snr_db": float(np.mean([one[0] for one in found])),
            "worst_snr_db": float(np.min([one[0] for one in found])),
            "stoi": None if found[0][1] is None else float(np.mean([one[1] for one in found])),
            "times_real_time": seconds / max(sum(one[2] for one in found), 1e-9)
            if name != "zeros"
            else None,
        }
        for name, found in rows.items()
    ]


def _score(rows: dict[str, Any], name: str, found: Any, clip: np.ndarray, seconds: float) -> None:
    prediction = np.asarray(found)[0]
    usable = "stoi" in perceptual.usable(speech=True)
    stoi = (
        perceptual.score("stoi", prediction=prediction, target=clip, sample_rate=RATE)
        if usable
        else None
    )
    snr_db = distances.snr_db(prediction=prediction, target=clip)
    rows.setdefault(name, []).append((snr_db, stoi, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="LJSpeech's folder, or any")
    parser.add_argument("--splits", type=Path, help="train.txt, validation.txt, test.txt")
    parser.add_argument("--split", default="test")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results")
    args = parser.parse_args()
    corpora = build_corpora(
        "folder", args.data, sample_rate=RATE, loudness_db=None, splits=args.splits
    )
    corpus = corpora[args.split]
    clips = [np.asarray(corpus.clip(index), np.float32) for index in range(len(corpus))]
    codec = isn.from_pretrained(PRESET)
    rows = [row for loss in LOSSES for row in measure(codec, clips, loss)]
    common.print_table(
        f"{len(clips)} clips, {PRESET}, {BITS} bits, {provenance.device_name()}",
        list(rows[0]),
        [list(row.values()) for row in rows],
    )
    if args.write:
        origin = common.describe_run(args, clip_count=len(clips))
        common.write_results("concealment", {**origin, "bits": BITS, "rows": rows})


if __name__ == "__main__":
    main()
