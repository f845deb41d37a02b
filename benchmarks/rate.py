"""Rate and distortion: SNR and kbit/s of token files beside other codecs.

    python benchmarks/rate.py [--audio DIR] [--quick]

The clips of ``tokens.py``: 20 validation clips of gtzan_mini, first 5 s, mono, 16 kHz, -23 LUFS;
and of the first 5 s of the tracks of musdb_mini at 44.1 kHz. Every figure is a mean over clips.
Rates of our codes are those of whole ``.isn`` files, headers included, beside the order-0 entropy
of their codes (one histogram per clip, free); each file is decoded and its SNR measured.

Rates of other codecs are those of whole files, too, and marginal: what 5 s more of the same sound
add, without what every file begins with. SNR of lossy codecs is that of the whole clip, after the
shift by which the decoded clip fits best (within 0.2 s, by cross-correlation) and without any gain.
They are made for ears, not for SNR.
"""

from __future__ import annotations

import functools
import io
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import common
import numpy as np
import tokens

import isincnet_jax as isn
from isincnet_jax.data import corpora, pipeline, preparation
from isincnet_jax.pretrained.registry import LAPPED
from isincnet_jax.tokens import token_file, token_writer

TARGETS_DB = (10, 15, 20, 25, 30, 40, 50)
HOPS = (128, 256, 512, 1024, 2048)
MUSDB_STEPS = (5e-4, 2e-3)
LOSSY = (
    ("OPUS", "OGG", "OPUS", (1.0, 0.9, 0.8, 0.6, 0.4, 0.2, 0.0)),
    ("Vorbis", "OGG", "VORBIS", (0.9, 0.7, 0.5, 0.3, 0.1, 0.0)),
    ("MP3", "MP3", "MPEG_LAYER_III", (0.9, 0.7, 0.5, 0.3, 0.1, 0.0)),
)


def order0_bits(codes: np.ndarray) -> float:
    """Order-0 entropy of integers, all of them together: the histogram is free."""
    _, counts = np.unique(codes, return_counts=True)
    return float(-np.sum(counts * np.log2(counts / counts.sum())))


def store(clip: np.ndarray, spec: isn.LappedSpec, **options: Any) -> dict[str, float]:
    """Writes a clip to an .isn file and reads it back: SNR, kbit/s and speed."""
    duration_s = len(clip) / spec.sample_rate
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.isn"
        read = functools.partial(iter, [clip[:, None]])
        start = time.perf_counter()
        written = token_writer.write_token_file(path, read, spec=spec, **options)
        middle = time.perf_counter()
        with token_file.TokenReader(path) as reader:
            found = np.concatenate(list(reader.samples()))[:, 0]
        end = time.perf_counter()
        with token_file.TokenReader(path) as reader:
            codes = reader.codes()
    return {
        "snr_db": common.snr_db(clip, found),
        "order0_kbps": order0_bits(codes) / duration_s / 1e3,
        "file_kbps": 8e-3 * written.num_bytes / duration_s,
        "encode_x_real_time": duration_s / (middle - start),
        "decode_x_real_time": duration_s / (end - middle),
        "step": written.header.step,
    }


def mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def measure(clips: np.ndarray, spec: isn.LappedSpec, **options: Any) -> dict[str, float]:
    rows = [store(clip, spec, **options) for clip in clips]
    # At a step that is known already, a file is written without a search.
    known = [
        store(clip, spec, **{**options, "snr_db": None, "step": row["step"]})
        for clip, row in zip(clips, rows, strict=True)
    ]
    for row, again in zip(rows, known, strict=True):
        row["encode_x_real_time"] = again["encode_x_real_time"]
    return {**mean_of(rows), "worst_snr_db": min(row["snr_db"] for row in rows)}


def musdb_clips(folder: Path | None) -> np.ndarray | None:
    """[clips, time] at 44.1 kHz, mono, -23 LUFS; the first 5 s of every track."""
    if folder is None or not (folder / "musdb_mini").is_dir():
        print("skipped 44.1 kHz: no musdb_mini")
        return None
    source = corpora.open_source("folder", str(folder / "musdb_mini"), sample_rate=44_100)
    subsets = {"clips": [track.name for track in source.tracks]}
    prepared = preparation.prepare(source, subsets, sample_rate=44_100, loudness_db=-23.0)
    return pipeline.validation_clips(prepared.corpora["clips"], duration_s=5.0)[1]


def at_ratios_of_the_complex_bank(clips: np.ndarray, step: float) -> dict[str, dict[str, float]]:
    """Each clip at the SNR that a step gives the coefficients of 44khz-linear."""
    from isincnet_jax.bank.uniform_quantizer import make_uniform_quantizer

    codec, quantizer = isn.from_pretrained("44khz-linear"), make_uniform_quantizer(step)
    spec = LAPPED["44khz-lapped"].spec
    rows: dict[str, list[dict[str, float]]] = {}
    for clip in clips:
        values = quantizer.decode(quantizer.encode(codec.encode(clip[None])))
        wanted = common.snr_db(clip, np.asarray(codec.decode(values, length=len(clip)))[0])
        for name, optimise in (("one size", False), ("following", True)):
            row = store(clip, spec, snr_db=wanted, optimise=optimise)
            rows.setdefault(f"{name}, as step {step:g} of 44khz-linear", []).append(row)
    return {name: mean_of(found) for name, found in rows.items()}


def best_shift(original: np.ndarray, decoded: np.ndarray, rate: int) -> int:
    """Samples by which ``decoded`` comes late, within 0.2 s, by cross-correlation."""
    size = 2 * max(len(original), len(decoded))
    spectrum = np.fft.rfft(decoded, size) * np.conj(np.fft.rfft(original, size))
    correlation = np.fft.irfft(spectrum, size)
    reach = rate // 5
    shifts = np.r_[0 : reach + 1, -reach:0]
    return int(shifts[np.argmax(correlation[shifts])])


def other_codec(
    clips: np.ndarray, rate: int, *, container: str, subtype: str, level: float | None
) -> dict[str, float]:
    """SNR and kbit/s of a codec of soundfile."""
    import soundfile

    rows = []
    for clip in clips:
        sizes = []
        for sound in (np.concatenate([clip, clip]), clip):
            memory = io.BytesIO()
            options = {} if level is None else {"compression_level": level}
            soundfile.write(memory, sound, rate, format=container, subtype=subtype, **options)
            sizes.append(memory.getbuffer().nbytes)
        memory.seek(0)
        decoded = soundfile.read(memory, dtype="float32")[0]
        shift = best_shift(clip, decoded, rate)
        aligned = np.pad(decoded, (max(-shift, 0), len(clip)))[max(shift, 0) :][: len(clip)]
        per_byte = 8e-3 * rate / len(clip)
        rows.append(
            {"snr_db": common.snr_db(clip, aligned), "shift": abs(shift),
             "file_kbps": per_byte * sizes[1], "marginal_kbps": per_byte * (sizes[0] - sizes[1])}
        )  # fmt: skip
    return mean_of(rows)


def measure_others(clips: np.ndarray, rate: int) -> dict[str, dict[str, float]]:
    import soundfile

    rows = {
        f"FLAC {subtype[4:]} bits": other_codec(
            clips, rate, container="FLAC", subtype=subtype, level=1.0
        )
        for subtype in ("PCM_16", "PCM_24")
    }
    for name, container, subtype, levels in LOSSY:
        if subtype not in soundfile.available_subtypes(container):
            print(f"skipped {name}: not in this libsndfile")
            continue
        for level in levels:
            row = other_codec(clips, rate, container=container, subtype=subtype, level=level)
            rows[f"{name}, compression {level:g}"] = row
    return rows


def print_rows(title: str, table: dict[str, dict[str, float]]) -> None:
    fields = {
        "snr_db": "SNR dB",
        "worst_snr_db": "worst",
        "order0_kbps": "order 0",
        "file_kbps": "file kbit/s",
        "marginal_kbps": "marginal",
        "encode_x_real_time": "write x",
        "decode_x_real_time": "read x",
    }
    shown = [key for key in fields if any(key in row for row in table.values())]
    rows = [[name, *(row.get(key, math.nan) for key in shown)] for name, row in table.items()]
    common.print_table(title, ["", *(fields[key] for key in shown)], rows)


def main() -> None:
    parser = common.parser_with_audio(__doc__ or "")
    parser.add_argument("--quick", action="store_true", help="every fourth clip")
    args = parser.parse_args()
    folder = common.audio_folder(args.audio)
    clips, data = tokens.load_clips(folder)
    clips = clips[:: 4 if args.quick else 1]
    spec = LAPPED["16khz-lapped"].spec
    measure(clips[:1], spec, snr_db=25.0, optimise=True)  # compiles
    tables: dict[str, dict[str, dict[str, float]]] = {
        "frames of one size": {
            f"{target} dB": measure(clips, spec, snr_db=float(target)) for target in TARGETS_DB
        },
        "frames and rounding that follow the recording": {
            f"{target} dB": measure(clips, spec, snr_db=float(target), optimise=True)
            for target in TARGETS_DB
        },
        "frames of other sizes, 25 dB": {
            f"hop {hop}": measure(clips, spec.replace(hop_length=hop), snr_db=25.0) for hop in HOPS
        },
    }
    musdb = musdb_clips(folder)
    if musdb is not None:
        tables["44.1 kHz"] = {
            name: row
            for step in MUSDB_STEPS
            for name, row in at_ratios_of_the_complex_bank(musdb, step).items()
        }
    tables["other codecs"] = measure_others(clips, tokens.RATE)
    for title, table in tables.items():
        print_rows(title, table)
    print(f"\n{len(clips)} clips: {data}")
    origin = common.describe_run(args, data=data, clip_count=len(clips))
    common.write_results("rate", {**origin, "load_average": common.load_average(), **tables})


if __name__ == "__main__":
    main()
