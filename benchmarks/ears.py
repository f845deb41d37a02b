"""Token files for ears: what perceptual models say of them, by kbit/s.

    python benchmarks/ears.py [--audio DIR] [--quick]

Validation clips, from which nothing was chosen, mono, -23 LUFS with the peak kept at or below 1,
first 5 s: the six of musdb_mini at 44.1 kHz, 20 of gtzan_mini (``genres/*/*.0000[56].wav``) at
22.05 kHz, and every fifth of ljspeech_mini at 16 kHz. ViSQOL is the one of audio at 48 kHz; PESQ
(wide band) and STOI for speech only. Every figure is a mean over clips. Rates are those of whole
``.isn`` files of 5 s, headers included (0.13 kbit/s of them); side information is that of the step
indices, coded alone.
"""

from __future__ import annotations

import functools
import importlib.metadata
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import common
import numpy as np
import rate

import isincnet_jax as isn
from isincnet_jax import extras
from isincnet_jax.benchmark import perceptual
from isincnet_jax.data import loudness
from isincnet_jax.recordings.options import recording_spec
from isincnet_jax.tokens import band_steps, step_search, token_file, token_writer
from isincnet_jax.tokens.frame_coder import FrameCoder

DURATION_S = 5.0
SPEECH_RATE = 16_000


class Clips(NamedTuple):
    """Clips [time] each, their rate, and what they are."""

    samples: list[np.ndarray]
    sample_rate: int
    is_speech: bool


def read_starts(
    paths: Iterable[Path], folder: Path, sample_rate: int, *, is_speech: bool = False
) -> Clips:
    """First 5 s of files, -23 LUFS, at a rate."""
    found = []
    for clip in common.read_clips(list(paths), folder):
        start = clip.samples[: int(DURATION_S * clip.sample_rate)]
        sound = common.resample(start, clip.sample_rate, sample_rate)
        gain = loudness.loudness_gain(sound, sample_rate=sample_rate, loudness_db=-23.0)
        found.append((gain * sound).astype(np.float32))
    return Clips(found, sample_rate, is_speech)


def validation_clips(folder: Path) -> dict[str, Clips]:
    genres = sorted(folder.glob("**/gtzan_mini/genres/*/*.0000[56].wav"))
    speech = sorted(folder.glob("**/ljspeech_mini/wavs/*.wav"))[::5]
    musdb = rate.musdb_clips(folder)
    found = {} if musdb is None else {"MUSDB18, 44.1 kHz": Clips(list(musdb), 44_100, False)}
    found["GTZAN, 22.05 kHz"] = read_starts(genres, folder, 22_050)
    found["LJSpeech, 16 kHz"] = read_starts(speech, folder, SPEECH_RATE, is_speech=True)
    return {name: clips for name, clips in found.items() if clips.samples}


def write(
    path: Path, clip: np.ndarray, spec: isn.LappedSpec, **options: Any
) -> token_writer.Written:
    read = functools.partial(iter, [clip[:, None]])
    return token_writer.write_token_file(path, read, spec=spec, **options)


def write_uniform(
    path: Path, clip: np.ndarray, spec: isn.LappedSpec, *, kbps: float
) -> token_writer.Written:
    """One step for all, at a rate."""

    def trial(step: float) -> float:
        num_bytes = write(path, clip, spec, step=step).num_bytes
        return 8e-3 * num_bytes * spec.sample_rate / len(clip)

    step = step_search.search_rate(trial, start=0.02, kbps=kbps)
    return write(path, clip, spec, step=step)


def side_bytes(path: Path) -> int:
    """Bytes of the step indices of a file, coded alone."""
    total = 0
    with token_file.TokenReader(path) as reader:
        for layout, _ in reader.blocks():
            coder, before = FrameCoder(reader.header.audio_channels), None
            for indices in layout.indices:
                before = band_steps.code_indices(coder, indices, before, indices.shape)
            total += len(coder.finish())
    return total


def score(
    clip: np.ndarray, spec: isn.LappedSpec, write_file: Callable[..., Any], *, is_speech: bool
) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.isn"
        written = write_file(path, clip, spec)
        with token_file.TokenReader(path) as reader:
            decoded = np.concatenate(list(reader.samples()))[:, 0]
        side = side_bytes(path)
    pair = {"prediction": decoded, "target": clip, "sample_rate": spec.sample_rate}
    values = {"visqol": perceptual.score("visqol", **pair, speech=False)}
    if is_speech:
        values |= {name: perceptual.score(name, **pair) for name in ("pesq", "stoi")}
    per_byte = 8e-3 * spec.sample_rate / len(clip)
    return {
        "kbps": per_byte * written.num_bytes,
        "side_kbps": per_byte * side,
        "quality": band_steps.step_quality(written.header.step),
        "snr_db": common.snr_db(clip, decoded),
        **{name: np.nan if value is None else value for name, value in values.items()},
    }


def measure(
    clips: Clips, write_file: Callable[..., Any], *, spec: isn.LappedSpec | None = None
) -> dict[str, float]:
    spec = recording_spec(clips.sample_rate, for_ears=True) if spec is None else spec
    rows = [score(clip, spec, write_file, is_speech=clips.is_speech) for clip in clips.samples]
    return {"clips": len(rows), **rate.mean_of(rows)}


def methods(clips: Clips) -> dict[str, Callable[..., Any]]:
    """What is measured of a set: the rate that counts, with and without ears, and others."""
    usual, *others = (16, 12, 24) if clips.is_speech else (20, 12, 32)
    return {
        f"following, {usual} kbit/s": functools.partial(write, kbps=float(usual)),
        f"one curve, {usual} kbit/s": functools.partial(write, kbps=float(usual), curve=True),
        f"one step, {usual} kbit/s": functools.partial(write_uniform, kbps=float(usual)),
        **{
            f"following, {kbps} kbit/s": functools.partial(write, kbps=float(kbps))
            for kbps in others
        },
    }


def print_rows(title: str, table: dict[str, dict[str, float]]) -> None:
    fields = list(next(iter(table.values())))
    rows = [[name, *row.values()] for name, row in table.items()]
    common.print_table(title, ["", *fields], rows)


def main() -> None:
    parser = common.parser_with_audio(__doc__ or "")
    parser.add_argument("--quick", action="store_true", help="every fourth clip")
    args = parser.parse_args()
    for module in ("visqol", "pesq", "pystoi"):
        extras.require(module)
    folder = common.audio_folder(args.audio)
    if folder is None:
        raise SystemExit("musdb_mini, gtzan_mini and ljspeech_mini are needed: use --audio DIR")
    tables = {}
    sets = validation_clips(folder)
    for name, whole in sets.items():
        clips = whole._replace(samples=whole.samples[:: 4 if args.quick else 1])
        tables[name] = {}
        for label, write_file in methods(clips).items():
            tables[name][label] = measure(clips, write_file)
            print(name, label, tables[name][label], flush=True)
        print_rows(name, tables[name])
    count = sum(len(clips.samples) for clips in sets.values())
    data = "first 5 s of clips of musdb_mini, gtzan_mini and ljspeech_mini, mono, -23 LUFS"
    origin = common.describe_run(args, data=data, clip_count=count)
    names = ("visqol-python", "pesq", "pystoi")
    origin["versions"] |= {name: importlib.metadata.version(name) for name in names}
    common.write_results("ears", {**origin, "sets": tables})


if __name__ == "__main__":
    main()
