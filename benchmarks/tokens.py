"""Quality and rate of quantised spectrograms: SNR against bits, codes and decoders.

    python benchmarks/tokens.py [--audio DIR]

The 20 validation clips of gtzan_mini (``genres/*/*.0000[56].wav``), first 5 s, mono, 16 kHz,
-23 LUFS with the peak kept at or below 1; where they are missing, the built-in demo clip.
Rates are of 16,000 Hz audio: raw bits, and order-0 entropy with one table per clip ("one table")
or one per channel over all clips ("per channel"), side information not counted.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import common
import jax
import numpy as np

import isincnet_jax as isn
from isincnet_jax import extras

RATE = 16_000
DURATION_S = 5
LEVEL_LUFS = -23.0
BITS = (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16)
MUS = (15.0, 30.0, 60.0, 100.0, 255.0)
WEIGHTS = "16000fs_128fps_128bins_lin_complex_ncausal.ckpt"
CAUSAL_WEIGHTS = "16000fs_128fps_128bins_lin_real_causal.ckpt"


def load_clips(folder: Path | None) -> tuple[np.ndarray, str]:
    """Clips [clips, time] and what they are."""
    files = sorted(folder.glob("**/genres/*/*.0000[56].wav")) if folder else []
    files = [path for path in files if "gtzan_mini" in path.parts] or files
    if folder is None or not files:
        return normalise(isn.demo_waveform(RATE))[None], "demo clip, 4 s"
    clips = []
    for clip in common.read_clips(files, folder):
        start = clip.samples[: DURATION_S * clip.sample_rate]
        clips.append(normalise(common.resample(start, clip.sample_rate, RATE)))
    shortest = min(map(len, clips))
    data = f"{files[0].parents[2].name}: genres/*/*.0000[56].wav, first {shortest / RATE:g} s"
    return np.stack([clip[:shortest] for clip in clips]), data


def normalise(samples: np.ndarray) -> np.ndarray:
    """-23 LUFS, but no peak beyond 1."""
    with extras.importing("pyloudnorm"):
        import pyloudnorm

    level = pyloudnorm.Meter(RATE).integrated_loudness(samples.astype(np.float64))
    gain = 10.0 ** ((LEVEL_LUFS - level) / 20.0)
    return (samples * min(gain, 1.0 / np.max(np.abs(samples)))).astype(np.float32)


def entropy_bits(counts: np.ndarray) -> float:
    """Order-0 entropy of a histogram in bits per symbol."""
    share = counts[counts > 0] / np.sum(counts)
    return float(-np.sum(share * np.log2(share)))


def measure_rate(codes: np.ndarray, spec: isn.FilterbankSpec, q_bits: int) -> dict[str, float]:
    """Rates in kbit/s of codes [clips, frames, channels]."""
    symbols_per_s = spec.num_channels * spec.frame_rate_hz
    levels = 2**q_bits
    by_clip = [entropy_bits(np.bincount(clip.ravel(), minlength=levels)) for clip in codes]
    by_channel = [
        entropy_bits(np.bincount(codes[..., channel].ravel(), minlength=levels))
        for channel in range(codes.shape[-1])
    ]
    return {
        "raw_kbps": q_bits * symbols_per_s / 1e3,
        "entropy_kbps": float(np.mean(by_clip)) * symbols_per_s / 1e3,
        "entropy_by_channel_kbps": float(np.mean(by_channel)) * symbols_per_s / 1e3,
    }


@jax.jit
def _codes(quantizer: isn.Quantizer, spectrogram: jax.Array) -> jax.Array:
    return quantizer.encode(spectrogram)


@jax.jit
def _values(quantizer: isn.Quantizer, codes: jax.Array) -> jax.Array:
    return quantizer.decode(codes)


def measure(
    clips: np.ndarray,
    codec: isn.Codec,
    q_bits: int,
    *,
    fit: bool = False,
    decoders: tuple[isn.Codec, ...] = (),
    **options: Any,
) -> list[dict[str, float]]:
    """SNR and rate of the same codes with one decoder after another; the codec's own first."""
    spectrogram = codec.encode(clips)
    quantizer = codec.quantizer(q_bits=q_bits, **options)
    if fit:
        quantizer = quantizer.fit(spectrogram)
    codes = _codes(quantizer, spectrogram)
    beyond = float(np.mean(np.abs(np.asarray(spectrogram)) > np.asarray(quantizer.scale)))
    values = _values(quantizer, codes)
    rate = measure_rate(np.asarray(codes), codec.spec, q_bits)
    rows = []
    for decoder in (codec, *decoders):
        decoded = np.asarray(decoder.decode(values, length=clips.shape[-1]))
        ratios = [common.snr_db(*pair) for pair in zip(clips, decoded, strict=True)]
        rows.append(
            {"mean_db": float(np.mean(ratios)), "min_db": min(ratios), "clipped": beyond, **rate}
        )
    return rows


def with_frames(codec: isn.Codec, num_frames: int) -> isn.Codec:
    """The codec of the same bank whose exact decoder spans more frames."""
    return isn.build_codec(isn.SincNet(codec.spec, isn.DecoderSpec(num_frames=num_frames)))


def reference_codec(name: str) -> isn.Codec | None:
    path = common.weights_file(name)
    if path is None:
        print(f"skipped {name}: no shared/reference_weights beside the checkout")
        return None
    return isn.load_reference(path)


def sweep_bits(clips: np.ndarray) -> dict[str, dict[int, dict[str, float]]]:
    """Every code and decoder of the linear bank at every number of bits."""
    linear = isn.from_pretrained("16khz-linear")
    dual = with_frames(linear, 8)
    trained = reference_codec(WEIGHTS)
    table: dict[str, dict[int, dict[str, float]]] = {}

    def add(q_bits: int, titles: tuple[str, ...], rows: list[dict[str, float]]) -> None:
        for title, row in zip(titles, rows, strict=True):
            table.setdefault(title, {})[q_bits] = row

    for q_bits in BITS:
        titles = ("signal scales, 4 frames", "signal scales, 8 frames")
        add(q_bits, titles, measure(clips, linear, q_bits, fit=True, decoders=(dual,)))
        titles = ("spec scales, 4 frames", "spec scales, 8 frames")
        add(q_bits, titles, measure(clips, linear, q_bits, decoders=(dual,)))
        titles = ("reference code, exact 4 frames", "reference code, exact 8 frames")
        rows = measure(clips, linear, q_bits, decoders=(dual,), code="reference")
        add(q_bits, titles, rows)
        if trained is not None:
            rows = measure(clips, trained, q_bits, code="reference")
            add(q_bits, ("reference code, trained weights",), rows)
    return table


def sweep_banks(clips: np.ndarray) -> dict[str, dict[str, float]]:
    """Other banks at 8 bits."""
    table = {}
    for name in ("16khz-linear", "16khz-mel", "16khz-linear-causal"):
        codec = isn.from_pretrained(name)
        for title, fit in (("signal scales", True), ("spec scales", False)):
            table[f"{name}, {title}"] = measure(clips, codec, 8, fit=fit)[0]
        table[f"{name}, reference code"] = measure(clips, codec, 8, code="reference")[0]
    trained = reference_codec(CAUSAL_WEIGHTS)
    if trained is not None:
        title = "reference real causal, trained weights, its code"
        table[title] = measure(clips, trained, 8, code="reference")[0]
    return table


def sweep_mu(clips: np.ndarray) -> dict[str, dict[str, float]]:
    codec = isn.from_pretrained("16khz-linear")
    return {
        f"mu {mu:g}, {title}": measure(clips, codec, 8, fit=fit, mu=mu)[0]
        for title, fit in (("signal scales", True), ("spec scales", False))
        for mu in MUS
    }


def print_rows(title: str, table: dict[str, dict[str, float]]) -> None:
    common.print_table(
        title,
        ["", "SNR mean", "min", "raw kbit/s", "one table", "per channel", "clipped"],
        [
            [name, row["mean_db"], row["min_db"], row["raw_kbps"], row["entropy_kbps"],
             row["entropy_by_channel_kbps"], f"{row['clipped']:.1e}"]
            for name, row in table.items()
        ],
    )  # fmt: skip


def main() -> None:
    args = common.parser_with_audio(__doc__ or "").parse_args()
    clips, data = load_clips(common.audio_folder(args.audio))
    bits, banks, mus = sweep_bits(clips), sweep_banks(clips), sweep_mu(clips)
    header = ["", *(f"q={q_bits}" for q_bits in BITS)]
    for title, field in (
        ("SNR in dB, mean over clips, 16khz-linear", "mean_db"),
        ("SNR in dB, worst clip", "min_db"),
        ("Order-0 entropy in kbit/s, one table per clip", "entropy_kbps"),
        ("Order-0 entropy in kbit/s, a table per channel", "entropy_by_channel_kbps"),
        ("Raw kbit/s", "raw_kbps"),
    ):
        rows = [[name, *(row[field] for row in by_bits.values())] for name, by_bits in bits.items()]
        if field.endswith("kbps"):  # the decoder changes no rate
            seen: dict[tuple[float, ...], list[Any]] = {}
            for row in rows:
                row[0] = row[0].removesuffix(", 4 frames").removesuffix(", exact 4 frames")
                seen.setdefault(tuple(row[1:]), row)
            rows = list(seen.values())
        common.print_table(title, header, rows)
    print_rows("8 bits, all banks", banks)
    print_rows("8 bits, 16khz-linear, by mu", mus)
    print(f"\n{len(clips)} clips: {data}")
    assert all(math.isfinite(row["mean_db"]) for row in banks.values())
    origin = common.describe_run(args, data=data, clip_count=len(clips))
    common.write_results("tokens", {**origin, "bits": bits, "banks_8_bits": banks, "mu": mus})


if __name__ == "__main__":
    main()
