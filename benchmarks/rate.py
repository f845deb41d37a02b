"""Rate and distortion: SNR and kbit/s of coded spectrograms beside other codecs.

    python benchmarks/rate.py [--audio DIR] [--quick]

The clips of ``tokens.py``: 20 validation clips of gtzan_mini, first 5 s, mono, 16 kHz, -23 LUFS.
Every figure is a mean over clips. Rates of our codes are those of whole ``.isn`` files, headers
included, beside the order-0 entropy (one histogram per clip, free) and the estimate of the
probability model that the file uses; each file is decoded and compared code by code.

SNR of lossy codecs is that of the whole clip, after the shift by which the decoded clip fits best
(within 0.2 s, by cross-correlation) and without any gain. They are made for ears, not for SNR.
"""

from __future__ import annotations

import io
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import numpy as np
import tokens

import isincnet_jax as isn
from isincnet_jax.bank.uniform_quantizer import make_uniform_quantizer
from isincnet_jax.tokens import entropy, token_file
from isincnet_jax.tokens.token_header import TokenHeader

BITS = tuple(range(2, 13))
REFERENCE_BITS = (8, 9, 10)
STEPS = (8e-3, 4e-3, 2e-3, 1.4e-3, 1e-3, 7e-4, 5e-4, 2.5e-4, 1.25e-4, 6e-5)
TARGETS_DB = (10, 15, 20, 25, 30, 40, 50)
LOSSY = (
    ("OPUS", "OGG", "OPUS", (1.0, 0.9, 0.8, 0.6, 0.4, 0.2, 0.0)),
    ("Vorbis", "OGG", "VORBIS", (0.9, 0.7, 0.5, 0.3, 0.1, 0.0)),
    ("MP3", "MP3", "MPEG_LAYER_III", (0.9, 0.7, 0.5, 0.3, 0.1, 0.0)),
)


def store(
    codec: isn.Codec, codes: np.ndarray, quantizer: Any, length: int, scales: np.ndarray | None
) -> dict[str, float]:
    """Writes codes [frames, channels] to an .isn file and reads them back: kbit/s and speed."""
    header = TokenHeader(
        spec=codec.spec,
        model=codec.name,
        length=length,
        original_length=length,
        original_rate=codec.spec.sample_rate,
        audio_channels=1,
        **TokenHeader.describe_quantizer(quantizer),
    )
    duration_s = length / codec.spec.sample_rate
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.isn"
        start = time.perf_counter()
        written = token_file.write_token_file(path, [codes[:, None]], header=header, scales=scales)
        middle = time.perf_counter()
        with token_file.TokenReader(path) as reader:
            found = np.concatenate(list(reader.rows()))
        end = time.perf_counter()
    np.testing.assert_array_equal(found[:, 0], codes)
    return {
        "order0_kbps": entropy.order0_bits(codes) / duration_s / 1e3,
        "model_kbps": written.model_bits / duration_s / 1e3,
        "file_kbps": 8e-3 * written.num_bytes / duration_s,
        "encode_x_real_time": duration_s / (middle - start),
        "decode_x_real_time": duration_s / (end - middle),
    }


def mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def measure(codec: isn.Codec, clips: np.ndarray, make: Callable[[Any], Any]) -> dict[str, float]:
    """One quantizer per clip, made from its spectrogram [1, frames, channels]."""
    rows = []
    for clip in clips:
        spectrogram = codec.encode(clip[None])
        quantizer = make(spectrogram)
        codes = quantizer.encode(spectrogram)
        decoded = np.asarray(codec.decode(quantizer.decode(codes), length=len(clip)))[0]
        kept = np.asarray(codes)[0].astype(quantizer.storage_dtype)
        scales = getattr(quantizer, "scale", None)
        stored = store(codec, kept, quantizer, len(clip), scales)
        rows.append({"snr_db": common.snr_db(clip, decoded), **stored})
    worst = min(row["snr_db"] for row in rows)
    return {**mean_of(rows), "worst_snr_db": worst}


def step_for(codec: isn.Codec, clip: np.ndarray, snr_db: float) -> float:
    """The step at which one clip is decoded with a ratio, by bisection to 0.01 dB."""
    spectrogram = codec.encode(clip[None])
    low, high = math.log(1e-6), math.log(0.1)
    middle = low
    for _ in range(20):
        middle = (low + high) / 2
        quantizer = make_uniform_quantizer(math.exp(middle))
        values = quantizer.decode(quantizer.encode(spectrogram))
        found = common.snr_db(clip, np.asarray(codec.decode(values, length=len(clip)))[0])
        if abs(found - snr_db) < 0.01:
            break
        low, high = (middle, high) if found > snr_db else (low, middle)
    return math.exp(middle)


def measure_at(codec: isn.Codec, clips: np.ndarray, snr_db: float) -> dict[str, float]:
    """A step per clip, so that every clip has the same ratio."""
    rows = []
    for clip in clips:
        quantizer = make_uniform_quantizer(step_for(codec, clip, snr_db))
        rows.append(measure(codec, clip[None], lambda _, quantizer=quantizer: quantizer))
    return mean_of(rows)


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
        memory = io.BytesIO()
        options = {} if level is None else {"compression_level": level}
        soundfile.write(memory, clip, rate, format=container, subtype=subtype, **options)
        size = memory.getbuffer().nbytes
        memory.seek(0)
        decoded = soundfile.read(memory, dtype="float32")[0]
        shift = best_shift(clip, decoded, rate)
        aligned = np.pad(decoded, (max(-shift, 0), len(clip)))[max(shift, 0) :][: len(clip)]
        rows.append(
            {"snr_db": common.snr_db(clip, aligned), "shift": abs(shift),
             "file_kbps": 8e-3 * size * rate / len(clip)}
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
        "model_kbps": "model",
        "file_kbps": "file kbit/s",
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
    clips, data = tokens.load_clips(common.audio_folder(args.audio))
    clips = clips[:: 4 if args.quick else 1]
    codec = isn.from_pretrained("16khz-linear")
    trained = tokens.reference_codec(tokens.WEIGHTS)
    tables: dict[str, dict[str, dict[str, float]]] = {
        "uniform code, the same SNR for all clips": {
            f"{target} dB": measure_at(codec, clips, target) for target in TARGETS_DB
        },
        "uniform code, the same step for all clips": {
            f"step {step:g}": measure(
                codec, clips, lambda _, step=step: make_uniform_quantizer(step)
            )
            for step in STEPS
        },
        "companded code, scales from the signal": {
            f"{bits} bits": measure(
                codec,
                clips,
                lambda spectrogram, bits=bits: codec.quantizer(q_bits=bits).fit(spectrogram),
            )
            for bits in BITS
        },
    }
    if trained is not None:
        tables["reference: its weights and its code"] = {
            f"{bits} bits, {bits * trained.spec.num_channels * trained.spec.frame_rate_hz / 1e3:g}"
            " kbit/s raw": measure(
                trained,
                clips,
                lambda _, bits=bits: trained.quantizer(q_bits=bits, code="reference"),
            )
            for bits in REFERENCE_BITS
        }
    tables["other codecs"] = measure_others(clips, tokens.RATE)
    for title, table in tables.items():
        print_rows(title, table)
    print(f"\n{len(clips)} clips: {data}")
    origin = common.describe_run(args, data=data, clip_count=len(clips))
    common.write_results("rate", {**origin, "load_average": common.load_average(), **tables})


if __name__ == "__main__":
    main()
