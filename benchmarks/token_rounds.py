"""Tokens of sound that is encoded again and again: how many stay what they were.

    python benchmarks/token_rounds.py [--audio DIR] [--rounds 500]

The clips of ``tokens.py``: 20 validation clips of gtzan_mini, first 5 s, mono, 16 kHz, -23 LUFS.
``16khz-lapped`` at the steps that give each clip 15, 25, 40 and 60 dB once, kept for all rounds; a
round is tokens, sound, 16-bit PCM, tokens. A round that changes nothing ends a clip: all to come
are like it. Slices begin and end on the grid of hops, shifts are by whole hops; their tokens are
compared beside the ends, where the overlaps are the same.
"""

from __future__ import annotations

from typing import Any

import common
import jax.numpy as jnp
import numpy as np
import tokens

import isincnet_jax as isn
from isincnet_jax.bank.uniform_quantizer import make_uniform_quantizer
from isincnet_jax.tokens.step_search import search_step

TARGETS_DB = (15.0, 25.0, 40.0, 60.0)
SHOWN = (1, 10, 500)


def pcm16(sound: np.ndarray) -> np.ndarray:
    return (np.clip(np.rint(sound * 32768.0), -32768, 32767) / 32768.0).astype(np.float32)


def follow(codec: isn.LappedCodec, clip: np.ndarray, step: float, rounds: int) -> dict[int, float]:
    """Share of tokens that are those of the first encoding, by round."""
    quantizer = make_uniform_quantizer(step)
    first = codes = np.asarray(quantizer.encode(codec.encode(clip)))
    shares: dict[int, float] = {}
    for index in range(1, rounds + 1):
        sound = np.asarray(codec.decode(quantizer.decode(jnp.asarray(codes)), length=len(clip)))
        again = np.asarray(quantizer.encode(codec.encode(pcm16(sound))))
        shares[index] = float(np.mean(again == first))
        if (again == codes).all():
            break
        codes = again
    return {index: shares[min(index, max(shares))] for index in SHOWN}


def on_the_grid(codec: isn.LappedCodec, clip: np.ndarray, step: float) -> dict[str, float]:
    """Share of tokens of slices, and of clips shifted by hops, that are those of the whole clip."""
    quantizer, hop = make_uniform_quantizer(step), codec.spec.hop_length
    whole = np.asarray(quantizer.encode(codec.encode(clip)))
    part = np.asarray(quantizer.encode(codec.encode(clip[20 * hop : 60 * hop])))
    moved = np.asarray(quantizer.encode(codec.encode(np.concatenate([clip[: 3 * hop], clip]))))
    return {
        "slice": float(np.mean(part[1:-1] == whole[21:59])),
        "shift": float(np.mean(moved[4:-1] == whole[1:-1])),
    }


def main() -> None:
    parser = common.parser_with_audio(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=500)
    args = parser.parse_args()
    clips, data = tokens.load_clips(common.audio_folder(args.audio))
    codec = isn.from_pretrained("16khz-lapped")
    rows: list[dict[str, Any]] = []
    for target in TARGETS_DB:
        found = []
        for clip in clips:
            values = np.asarray(codec.encode(clip), np.float64)

            def ratio(step: float, values: np.ndarray = values) -> float:
                noise = np.sum(np.square(values - step * np.rint(values / step)))
                return float(10 * np.log10(np.sum(np.square(values)) / noise))

            step = search_step(ratio, start=0.01, snr_db=target, tolerance_db=0.02)
            found.append(
                {**follow(codec, clip, step, args.rounds), **on_the_grid(codec, clip, step)}
            )
        rows.append(
            {
                "snr_db": target,
                **{f"round {key}": float(np.mean([one[key] for one in found])) for key in SHOWN},
                **{key: float(np.mean([one[key] for one in found])) for key in ("slice", "shift")},
                "clips_without_change": sum(one[SHOWN[-1]] == 1.0 for one in found),
            }
        )
    fields = list(rows[0])
    common.print_table(
        "Share of tokens that stay", fields, [[row[key] for key in fields] for row in rows]
    )
    origin = common.describe_run(args, data=data, clip_count=len(clips))
    common.write_results("token_rounds", {**origin, "rounds": args.rounds, "rows": rows})


if __name__ == "__main__":
    main()
