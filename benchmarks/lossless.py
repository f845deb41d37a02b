"""Lossless files: size and speed beside FLAC -8.

    python benchmarks/lossless.py [--audio DIR] [--quick]

Three sets of clips of 16 bits: the 20 validation clips of ``tokens.py`` (mono, 16 kHz, -23 LUFS),
the first 5 s of the same files as they are (mono, 22.05 kHz), and the first 5 s of every file of
musdb_mini (stereo, 44.1 kHz; decoded MP3, with next to nothing above 16.7 kHz). Sizes are those of
whole files, headers included, means over clips; every file is decoded, and its samples compared.
FLAC is libsndfile's at its highest level. The base layer is set to several signal-to-noise ratios,
the first of which is the default. Speed is in seconds of audio per second of one core's time.
"""

from __future__ import annotations

import functools
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import common
import numpy as np
import soundfile
import tokens

import isincnet_jax as isn
from isincnet_jax.recordings.options import recording_spec
from isincnet_jax.tokens import pcm, token_file, token_writer
from isincnet_jax.tokens.token_writer import LOSSLESS_SNR_DB

BASES_DB = (LOSSLESS_SNR_DB, 20.0, 25.0)
DURATION_S = 5


def read_stereo(files: list[Path]) -> list[np.ndarray]:
    """First 5 s of files, int64 [time, audio channels], rounded to 16 bits."""
    found = []
    for path in files:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        found.append(rounded(samples[: DURATION_S * rate]))
    return found


def rounded(samples: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as integers of 16 bits."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int64)


def load_sets(folder: Path | None) -> dict[str, tuple[int, list[np.ndarray]]]:
    """Rate, and clips [time, audio channels] of integers, by the name of the set."""
    clips, _ = tokens.load_clips(folder)
    found = {"16 kHz": (tokens.RATE, [rounded(clip[:, None]) for clip in clips])}
    if folder is None:
        print("skipped 22.05 and 44.1 kHz: no audio folder")
        return found
    files = sorted(folder.glob("gtzan_mini/genres/*/*.0000[56].wav"))
    if files:
        found["22.05 kHz"] = (22_050, read_stereo(files))
    files = sorted(folder.glob("musdb_mini/*/*.mp3"))
    if files:
        found["44.1 kHz, stereo"] = (44_100, read_stereo(files))
    return found


def flac_bytes(clip: np.ndarray, rate: int) -> int:
    memory = io.BytesIO()
    soundfile.write(
        memory, clip.astype(np.int16), rate, format="FLAC", subtype="PCM_16", compression_level=1.0
    )
    return memory.getbuffer().nbytes


def store(clip: np.ndarray, rate: int, snr_db: float) -> dict[str, float]:
    """Writes a clip, reads both layers back, and compares the samples."""
    spec = recording_spec(rate)
    floats = pcm.as_floats(clip, 16)
    read = functools.partial(iter, [floats])
    duration_s = len(clip) / rate
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.isn"
        begin = time.process_time()
        written = token_writer.write_token_file(path, read, spec=spec, snr_db=snr_db, bits=16)
        middle = time.process_time()
        with token_file.TokenReader(path) as reader:
            found = np.concatenate(list(reader.pcm()))
        end = time.process_time()
        with token_file.TokenReader(path) as reader:
            base = np.concatenate(list(reader.samples()))
        alone = token_writer.write_token_file(path, read, spec=spec, step=written.header.step)
    if not np.array_equal(found, clip):
        raise SystemExit("the samples that were read are not those that were written")
    flac = flac_bytes(clip, rate)
    per_byte = 8e-3 / duration_s
    return {
        "file_kbps": per_byte * written.num_bytes,
        "base_kbps": per_byte * alone.num_bytes,
        "base_snr_db": common.snr_db(floats, base),
        "flac_kbps": per_byte * flac,
        "of_flac_percent": 100 * written.num_bytes / flac,
        "encode_x_real_time": duration_s / (middle - begin),
        "decode_x_real_time": duration_s / (end - middle),
    }


def measure(clips: list[np.ndarray], rate: int, snr_db: float) -> dict[str, float]:
    """Means over clips."""
    rows = [store(clip, rate, snr_db) for clip in clips]
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    # Of the whole set, not the mean of ratios.
    means["of_flac_percent"] = 100 * means["file_kbps"] / means["flac_kbps"]
    worst = max(row["of_flac_percent"] for row in rows)
    return {**means, "worst_of_flac_percent": worst, "clips": len(clips)}


def main() -> None:
    parser = common.parser_with_audio(__doc__ or "")
    parser.add_argument("--quick", action="store_true", help="every fourth clip")
    args = parser.parse_args()
    folder = common.audio_folder(args.audio)
    store(rounded(isn.demo_waveform(8000)[:4000, None]), 8000, 20.0)  # compiles
    rows: list[dict[str, Any]] = []
    for name, (rate, clips) in load_sets(folder).items():
        chosen = clips[:: 4 if args.quick else 1]
        for snr_db in BASES_DB:
            row = measure(chosen, rate, snr_db)
            rows.append({"set": name, "snr_db": snr_db, **row})
    keys = [key for key in rows[0] if key != "set"]
    common.print_table(
        "Lossless", ["", *keys], [[row["set"], *(row[key] for key in keys)] for row in rows]
    )
    data = "no audio folder" if folder is None else "gtzan_mini and musdb_mini"
    common.write_results(
        "lossless", {**common.describe_run(args, data=f"{data}, first 5 s"), "table": rows}
    )


if __name__ == "__main__":
    main()
