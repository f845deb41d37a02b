"""Banks optimised through their solved decoders, beside the banks that they start from.

    python benchmarks/optimized_banks.py [--audio DIR] [--only PART] [--write]

Banks are optimised on 24 clips of 2 s of ``training/music``; figures are of the 20 validation clips
of ``tokens.py`` (gtzan_mini) and of 20 clips of 5 s of ljspeech_mini. How many clips to train on,
and the parts that are free in ``bits``, were decided with the figures on music in view.

* ``bits``: ``16khz-linear``'s rate, hop, bins and taps at 4 bits, the peaks of each clip as scales.
* ``mel``: 128 mel bins at hop 125, which have no inverse, led to one within 10 % of their centres.
* ``lapped``: windows of the lapped bank, kbit/s of the token coder at 25 dB (one step per clip, no
  header), at several hops.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import common
import numpy as np
import tokens

import isincnet_jax as isn
from isincnet_jax.bank import statistics, targets
from isincnet_jax.pretrained.registry import PRESETS
from isincnet_jax.tokens.frame_coder import FrameCoder

TRAINED_CLIPS, TRAINED_S, HELD_S = 24, 2, 5
Q_BITS, SNR_DB = 4, 25.0
MEL = isn.FilterbankSpec(scale="mel", num_bins=128, hop_length=125, shape="gauss")
HOPS = (256, 512, 1024, 2048)
BETAS = (4.0, 5.0, 6.0, 8.0, 4 * np.pi)
STEP_ROUNDS = 12


def clips_of(folder: Path, pattern: str, count: int, duration_s: int) -> np.ndarray:
    """The middles of some files, mono, 16 kHz, -23 LUFS, [clips, time]."""
    files = sorted(folder.glob(pattern))
    order = np.random.default_rng(common.SEED).permutation(len(files))
    length, found = duration_s * tokens.RATE, []
    for index in order:
        for clip in common.read_clips([files[index]], folder):
            samples = common.resample(clip.samples, clip.sample_rate, tokens.RATE)
            if len(samples) < HELD_S * tokens.RATE or np.max(np.abs(samples)) < 1e-3:
                continue
            start = (len(samples) - length) // 2
            found.append(tokens.normalise(samples)[start : start + length])
            break
        if len(found) == count:
            break
    return np.stack(found)


def facts(found: Any, started: float) -> dict[str, Any]:
    """The certificate, and what the descent took."""
    told = found.certificate
    return {
        "condition": told.bounds.condition,
        "start_condition": told.start_bounds.condition,
        "noise_gain": told.noise_gain,
        "worst_snr_db": told.worst_snr_db,
        "expected_snr_db": told.expected_snr_db,
        "largest_shift": told.largest_shift,
        "latency_ms": told.latency_ms,
        "steps": len(found.losses) - 1,
        "seconds": time.perf_counter() - started,
    }


def at_few_bits(train: np.ndarray, held: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """SNR at 4 bits: today's window with other decoders, and what was optimised."""
    spec, wanted = PRESETS["16khz-linear"].spec, targets.SnrAtBits(Q_BITS)

    def row(codec: isn.Codec) -> dict[str, Any]:
        return {f"{name}_db": wanted.measure(codec, clips) for name, clips in held.items()}

    noise = statistics.measured_noise(train, spec=spec, q_bits=Q_BITS)
    noise = tuple(np.maximum(noise, 1e-6 * noise.mean()).tolist())
    exact = isn.DecoderSpec("least_squares", num_frames=8, noise_variance=noise)
    today = {
        "16khz-linear": None,
        "its window, 8 frames": isn.DecoderSpec(num_frames=8),
        "its window, 8 frames, least noise": exact,
    }
    rows = {
        name: row(isn.build_codec(isn.SincNet(spec, decoder or isn.DecoderSpec())))
        for name, decoder in today.items()
    }
    parts: dict[str, dict[str, float]] = {
        "window": {"window": 6},
        "window, centres within 10 %": {"window": 6, "center": 0.1},
        "window, centres within 50 %": {"window": 6, "center": 0.5},
    }
    for name, free in parts.items():
        started = time.perf_counter()
        found = isn.optimize_bank(
            spec,
            train,
            target=f"SNR at {Q_BITS} bits",
            held_out=held["music"],
            free=free,
            steps=25,
        )
        rows[f"optimised: {name}"] = {**row(found.codec), **facts(found, started)}
        print(f"  {name}: {rows[f'optimised: {name}']}", flush=True)
    return rows


def invertible_mel(train: np.ndarray, held: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """A mel bank without an inverse, and the bank that it was led to: round trips in float32."""
    import warnings

    def row(codec: isn.Codec) -> dict[str, Any]:
        found = {}
        for name, clips in held.items():
            again = np.asarray(codec.decode(codec.encode(clips), length=clips.shape[-1]))
            found[f"{name}_db"] = float(np.mean(targets.snr_db(again, clips)))
            found[f"{name}_worst_db"] = float(np.min(targets.snr_db(again, clips)))
        return found

    rows = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", isn.NotInvertibleWarning)
        for shape in ("sinc", "gauss"):
            rows[f"128 mel bins, {shape}"] = row(
                isn.build_codec(isn.SincNet(MEL.replace(shape=shape)))
            )
    started = time.perf_counter()
    found = isn.optimize_bank(
        MEL,
        train[:4],
        target="noise of 20 dB",
        held_out=held["music"],
        free={"center": 0.1, "bandwidth": 2.0},
    )
    rows["optimised: centres within 10 %, bandwidths"] = {
        **row(found.codec),
        **facts(found, started),
    }
    return rows


def coded_kbps(codec: isn.LappedCodec, clips: np.ndarray) -> float:
    """Rate of the token coder at 25 dB: one step for each clip, frames of one size, no header."""
    num_bytes = 0
    for clip, rows in zip(clips, np.asarray(codec.encode(clips), np.float64), strict=True):
        energy = float(np.sum(clip.astype(np.float64) ** 2))
        step = np.sqrt(12 * energy / clip.size) * 10 ** (-SNR_DB / 20)
        for _ in range(STEP_ROUNDS):
            error = float(np.sum((rows - step * np.rint(rows / step)) ** 2))
            step *= 10 ** ((10 * np.log10(energy / error) - SNR_DB) / 20)
        coder = FrameCoder(1)
        for row in np.rint(rows / step).astype(np.int64):
            coder.encode(np.ascontiguousarray(row[None]))
        num_bytes += len(coder.finish())
    return 8e-3 * num_bytes * tokens.RATE / clips.size


def lapped_windows(train: np.ndarray, held: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Rates of the usual windows and of learned ones, at several hops."""
    rows = []
    for hop in HOPS:
        spec = isn.LappedSpec(hop_length=hop)
        usual = {
            "sine": spec,
            "vorbis": spec.replace(window="vorbis"),
            **{f"kbd, beta {b:.3g}": spec.replace(window="kbd", beta=b) for b in BETAS},
        }
        codecs = {name: isn.build_lapped_codec(isn.LappedBank(one)) for name, one in usual.items()}
        for terms in (4, hop // 2):
            found = isn.optimize_bank(
                spec,
                train,
                target=f"bits at {SNR_DB:g} dB",
                held_out=held["music"],
                free={"window": terms},
            )
            codecs[f"optimised, {terms} terms"] = found.codec  # type: ignore[assignment]
        for name, codec in codecs.items():
            rates = {f"{one}_kbps": coded_kbps(codec, clips) for one, clips in held.items()}
            rows.append({"hop": hop, "window": name, **rates})
    return rows


PARTS = {"bits": at_few_bits, "mel": invertible_mel, "lapped": lapped_windows}


def main() -> None:
    parser = common.parser_with_audio(__doc__ or "")
    parser.add_argument("--only", choices=list(PARTS), help="one part, which cannot be written")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results")
    args = parser.parse_args()
    folder = common.audio_folder(args.audio)
    if folder is None or not (folder / "training" / "music").is_dir():
        raise SystemExit("no training/music in the audio folder; name its parent with --audio")
    if args.only and args.write:
        raise SystemExit("--only measures a part; leave it out to write all")
    train = clips_of(folder, "training/music/**/*.ogg", TRAINED_CLIPS, TRAINED_S)
    music, data = tokens.load_clips(folder)
    speech = clips_of(folder, "ljspeech_mini/wavs/*.wav", len(music), HELD_S)
    held = {"music": music, "speech": speech}
    chosen = {name: part for name, part in PARTS.items() if args.only in (None, name)}
    found = {name: part(train, held) for name, part in chosen.items()}
    for name, rows in found.items():
        listed = rows if isinstance(rows, list) else [{"": key, **r} for key, r in rows.items()]
        header = list(dict.fromkeys(key for row in listed for key in row))
        cells = [[row.get(key, "") for key in header] for row in listed]
        common.print_table(f"{name}; held out: {data}, and ljspeech_mini", header, cells)
    if args.write:
        origin = common.describe_run(
            args, data=f"{data}; ljspeech_mini, the middle 5 s", clip_count=len(music) + len(speech)
        )
        common.write_results("optimized_banks", {**origin, **found})


if __name__ == "__main__":
    main()
