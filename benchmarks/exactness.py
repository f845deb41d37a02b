"""How exactly every preset decodes what it has encoded, beside librosa and the reference.

    python benchmarks/exactness.py [--audio DIR] [--quick] [--whole]

Signal-to-noise ratio in dB of encode -> decode over whole clips, edges included, for every
channel of every file, resampled to the preset's rate. A clip is cut at its end to one of a few
lengths (at most one sixteenth is lost), because every new length costs a compilation; the first
file of every folder keeps its own length, and ``--whole`` keeps every clip's. Further: very
short clips, prime lengths, ten minutes, float64, linearity, and the mel projection.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import common
import jax.numpy as jnp
import numpy as np
from common import Clip

import isincnet_jax as isn
from isincnet_jax import jax_names

RoundTrip = Callable[[np.ndarray], np.ndarray]

LENGTHS = (1, 2, 3, 124, 125, 126, 127, 251, 1009, 10007, 100003)
EXCERPTS = 16
LONG_S = 600.0
SHORTEST_S = 0.5
QUICK_FILES = 3
REFERENCES = {
    "reference 16 kHz linear complex": "16000fs_128fps_128bins_lin_complex_ncausal.ckpt",
    "reference 44.1 kHz linear complex": "44100fs_350fps_128bins_lin_complex_ncausal.ckpt",
    "reference 16 kHz real causal": "16000fs_128fps_128bins_lin_real_causal.ckpt",
}


def codec_round_trip(codec: isn.Codec, *, scale: str | None = None) -> RoundTrip:
    def apply(samples: np.ndarray) -> np.ndarray:
        spectrogram = codec.encode(samples, scale=scale)
        return np.asarray(codec.decode(spectrogram, length=samples.shape[-1], scale=scale))

    return apply


def librosa_round_trip(samples: np.ndarray) -> np.ndarray:
    import librosa

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # clips shorter than n_fft
        transform = librosa.stft(samples, n_fft=2048, hop_length=512)
        return librosa.istft(transform, n_fft=2048, hop_length=512, length=samples.shape[-1])


def grid_length(length: int, sample_rate: int) -> int:
    """The largest odd length of a geometric grid of step 16/15 that does not exceed ``length``."""
    shortest = SHORTEST_S * sample_rate
    if length <= shortest:
        return length
    step = math.floor(math.log(length / shortest) / math.log(16 / 15) + 1e-9)
    return (math.floor(shortest * (16 / 15) ** step) - 1) | 1


def at_rate(clips: Iterable[Clip], sample_rate: int, uncut: set[str]) -> list[Clip]:
    """Resampled and cut copies, silent ones left out."""
    copies = []
    for clip in clips:
        samples = common.resample(clip.samples, clip.sample_rate, sample_rate)
        if clip.name not in uncut:
            samples = samples[: grid_length(len(samples), sample_rate)]
        if np.any(samples):
            copies.append(Clip(clip.name, samples, sample_rate))
    return copies


def measure(round_trip: RoundTrip, clips: Iterable[Clip]) -> dict[str, Any]:
    """Worst and mean SNR over clips."""
    ratios = {clip.name: common.snr_db(clip.samples, round_trip(clip.samples)) for clip in clips}
    worst = min(ratios, key=ratios.__getitem__)
    return {
        "worst_db": ratios[worst],
        "mean_db": float(np.mean(list(ratios.values()))),
        "worst_clip": worst,
        "clips": len(ratios),
    }


def loud_excerpts(samples: np.ndarray, length: int, count: int) -> np.ndarray:
    """Excerpts around the loudest tenth of a clip, [count, length]; the clip repeats."""
    block = max(len(samples) // 10, 1)
    energy = [np.sum(samples[i : i + block] ** 2) for i in range(0, len(samples) - block, block)]
    start = int(np.argmax(energy)) * block if energy else 0
    tiled = np.tile(samples, 1 + -(-(start + block + length) // len(samples)))
    offsets = start + np.linspace(0, block - 1, count).astype(int)
    excerpts = np.stack([tiled[offset : offset + length] for offset in offsets])
    return excerpts[np.any(excerpts != 0.0, axis=1)]


def measure_lengths(round_trip: RoundTrip, samples: np.ndarray) -> dict[int, float]:
    """Worst SNR of excerpts of each length."""
    found = {}
    for length in LENGTHS:
        excerpts = loud_excerpts(samples, length, EXCERPTS if length < 1000 else 4)
        decoded = round_trip(excerpts)
        found[length] = min(map(common.snr_db, excerpts, decoded))
    return found


def measure_linearity(codec: isn.Codec, stems: list[Clip]) -> float:
    """Largest difference of S(mix) from the sum of the S(stem), over the largest |S(mix)|."""
    rate = codec.spec.sample_rate
    tracks = [common.resample(stem.samples, stem.sample_rate, rate) for stem in stems]
    shortest = min(map(len, tracks))
    tracks = np.stack([track[:shortest] for track in tracks])
    parts = np.asarray(codec.encode(tracks), np.float64).sum(axis=0)
    mix = np.asarray(codec.encode(tracks.sum(axis=0)), np.float64)
    return float(np.max(np.abs(mix - parts)) / np.max(np.abs(mix)))


class Corpus:
    """The clips of a run, at any rate."""

    def __init__(self, folder: Path | None, *, quick: bool, whole: bool) -> None:
        self.stems: list[Clip] = []
        if folder is None:
            self.clips, self.uncut, self.first = None, {"demo"}, {"demo"}
            return
        files = common.find_files(folder)
        if not files:
            raise SystemExit(f"{folder}: no audio files")
        by_folder: dict[Path, list[Path]] = {}
        for path in files:
            by_folder.setdefault(path.parent, []).append(path)
        if quick:
            files = [path for group in by_folder.values() for path in group[:QUICK_FILES]]
        self.clips = list(common.read_clips(files, folder))
        first = {group[0].relative_to(folder).as_posix() for group in by_folder.values()}
        self.first = {clip.name for clip in self.clips if clip.name.split("#")[0] in first}
        self.uncut = {clip.name for clip in self.clips} if whole else self.first
        self.stems = [
            clip
            for clip in self.clips
            if "/stems/" in f"/{clip.name}" and not clip.name.endswith("#1")
        ]
        self._cache: dict[int, list[Clip]] = {}

    def at(self, sample_rate: int) -> list[Clip]:
        """All clips at a rate; the last rate is kept."""
        if self.clips is None:
            return [Clip("demo", isn.demo_waveform(sample_rate), sample_rate)]
        if sample_rate not in self._cache:
            self._cache = {sample_rate: at_rate(self.clips, sample_rate, self.uncut)}
        return self._cache[sample_rate]

    def subset(self, sample_rate: int) -> list[Clip]:
        """The first file of every folder."""
        return [clip for clip in self.at(sample_rate) if clip.name in self.first]

    def music(self, sample_rate: int) -> np.ndarray:
        """One clip of music: of the reference's own demo, if it is there."""
        clips = self.at(sample_rate)
        wanted = [c for c in clips if "invertibility" in c.name and ".mp3" in c.name]
        return (wanted or clips)[0].samples


def run_preset(name: str, corpus: Corpus, *, quick: bool) -> dict[str, Any]:
    codec = isn.from_pretrained(name)
    rate = codec.spec.sample_rate
    round_trip = codec_round_trip(codec)
    row = {"sample_rate": rate, **measure(round_trip, corpus.at(rate))}
    row["lengths_db"] = measure_lengths(round_trip, corpus.music(rate))
    row["longest_s"] = 60.0 if quick else LONG_S
    count = round(row["longest_s"] * rate)
    music = corpus.music(rate)
    long = np.tile(music, -(-count // len(music)))[:count]
    row["longest_db"] = common.snr_db(long, round_trip(long))
    if corpus.stems:
        row["linearity_error"] = measure_linearity(codec, corpus.stems)
    if name == "16khz-linear":
        row["mel_projection"] = measure(codec_round_trip(codec, scale="mel"), corpus.at(rate))
    row["float64"] = run_float64(name, corpus)
    return row


def run_float64(name: str, corpus: Corpus) -> dict[str, Any]:
    """The same in double precision, on 5 s of the first file of every folder."""
    with jax_names.enable_x64(True):
        codec = isn.from_pretrained(name, dtype=jnp.float64)
        round_trip = codec_round_trip(codec)
        rate = codec.spec.sample_rate
        clips = [clip._replace(samples=clip.samples[: 5 * rate]) for clip in corpus.subset(rate)]
        clips = [clip for clip in clips if np.any(clip.samples)]
        row = measure(lambda samples: round_trip(samples.astype(np.float64)), clips)
        short = measure_lengths(lambda s: round_trip(s.astype(np.float64)), corpus.music(rate))
    return {**row, "lengths_db": short}


def run_peers(corpus: Corpus, rate: int) -> dict[str, Any]:
    rows = {}
    trips: dict[str, RoundTrip] = {f"librosa STFT, {rate} Hz": librosa_round_trip}
    for title, file in REFERENCES.items():
        path = common.weights_file(file)
        if path is None:
            print(f"skipped {title}: no shared/reference_weights beside the checkout")
            continue
        codec = isn.load_reference(path)
        if codec.spec.sample_rate == rate:
            trips[title] = codec_round_trip(codec)
    for title, round_trip in trips.items():
        rows[title] = {"sample_rate": rate, **measure(round_trip, corpus.at(rate))}
        rows[title]["lengths_db"] = measure_lengths(round_trip, corpus.music(rate))
    return rows


def print_results(results: dict[str, Any], seconds: dict[str, float]) -> None:
    rows = results["presets"] | results["peers"]
    longest = next(iter(results["presets"].values()))["longest_s"]
    common.print_table(
        "SNR in dB of encode -> decode, float32, whole clips with their edges",
        ["", "rate", "clips", "worst", "mean", f"{longest:g} s", "worst clip"],
        [
            [n, r["sample_rate"], r["clips"], r["worst_db"], r["mean_db"],
             r.get("longest_db", "-"), r["worst_clip"]]
            for n, r in rows.items()
        ],
    )  # fmt: skip
    common.print_table(
        "SNR in dB by clip length in samples, float32, worst of several excerpts",
        ["", *map(str, LENGTHS)],
        [[name, *row["lengths_db"].values()] for name, row in rows.items()],
    )
    presets = results["presets"]
    common.print_table(
        "float64, 5 s of the first file of every folder; linearity of float32; seconds taken",
        ["", "clips", "worst", "mean", "worst length", "|S(mix) - sum S| / max", "s"],
        [
            [n, r["float64"]["clips"], r["float64"]["worst_db"], r["float64"]["mean_db"],
             min(r["float64"]["lengths_db"].values()),
             f"{r['linearity_error']:.1e}" if "linearity_error" in r else "-", seconds[n]]
            for n, r in presets.items()
        ],
    )  # fmt: skip
    mel = presets["16khz-linear"]["mel_projection"]
    print(
        f"\n16khz-linear through its mel projection and back: worst {mel['worst_db']:.1f} dB "
        f"({mel['worst_clip']}), mean {mel['mean_db']:.1f} dB, {mel['clips']} clips"
    )


def main() -> None:
    parser = common.parser_with_audio(__doc__ or "")
    parser.add_argument("--quick", action="store_true", help="three files of every folder")
    parser.add_argument("--whole", action="store_true", help="cut no clip; 20 minutes and more")
    args: argparse.Namespace = parser.parse_args()
    folder = common.audio_folder(args.audio)
    corpus = Corpus(folder, quick=args.quick, whole=args.whole)
    results: dict[str, Any] = {"presets": {}, "peers": {}}
    seconds = {}
    # Rate by rate, so that every clip is resampled once per rate.
    by_rate: dict[int, list[str]] = {}
    for name, preset in isn.PRESETS.items():
        by_rate.setdefault(preset.spec.sample_rate, []).append(name)
    for rate, names in by_rate.items():
        for name in names:
            start = time.perf_counter()
            results["presets"][name] = run_preset(name, corpus, quick=args.quick)
            seconds[name] = time.perf_counter() - start
            print(f"{name}: {seconds[name]:.0f} s", flush=True)
        start = time.perf_counter()
        results["peers"] |= run_peers(corpus, rate)
        print(f"peers at {rate} Hz: {time.perf_counter() - start:.0f} s", flush=True)
    print_results(results, seconds)
    origin = common.describe_run(
        args,
        data="demo clip" if folder is None else f"{folder.name}, every channel of every file",
        clip_count=max(row["clips"] for row in results["presets"].values()),
    )
    common.write_results("exactness", {**origin, **results})


if __name__ == "__main__":
    main()
