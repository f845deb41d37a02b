"""What the coder of token files begins with, found on training clips: ``tokens/frame_coder.json``.

    python benchmarks/frame_coder_prior.py [--audio DIR]

The first 5 s of the 50 training clips of gtzan_mini (``genres/*/*.0000[0-4].wav``) at 16 kHz, and
of some of training/music and training/speech at 22.05 kHz; mono, -23 LUFS, in lapped frames of 128
to 2048 samples, at steps of 20, 25, 30 and 40 dB. Three things are found, by the codes that the
coder would code:

1. ``neighbours``: weights of the expected magnitude, non-negative, by maximum likelihood of a
   geometric distribution, for each size of a frame;
2. ``chances``: how often a decision is a 1 at an expected magnitude;
3. ``weights``: of the mixer, the mean of what it has learned at the end of the clips.

A change of this file changes the format of token files.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import common
import numpy as np
import scipy.optimize
import tokens
from numba import njit

import isincnet_jax as isn
from isincnet_jax.tokens import coding_kernels as kernels
from isincnet_jax.tokens import frame_coder, lapped_frames
from isincnet_jax.tokens.coding_tables import tables
from isincnet_jax.tokens.frame_coder import FrameCoder, Prior

SIZES = (128, 256, 512, 1024, 2048)
SNRS_DB = (20.0, 25.0, 30.0, 40.0)
ROUNDS = 4
TARGET = Path(frame_coder.__file__).with_name("frame_coder.json")


def read_clips(folder: Path) -> list[np.ndarray]:
    genres = sorted(folder.glob("**/gtzan_mini/genres/*/*.0000[0-4].wav"))
    music = sorted(folder.glob("training/music/**/*.ogg"))[::12]
    speech = sorted(folder.glob("training/speech/**/*.ogg"))[::180]
    if not (genres and music and speech):
        raise SystemExit(f"{folder}: gtzan_mini, training/music and training/speech are needed")
    clips = []
    for files, rate in ((genres, tokens.RATE), (music + speech, None)):
        for clip in common.read_clips(files, folder):
            start = clip.samples[: tokens.DURATION_S * clip.sample_rate]
            if len(start) > clip.sample_rate and np.ptp(start) > 0:
                at_rate = start if rate is None else common.resample(start, clip.sample_rate, rate)
                clips.append(tokens.normalise(at_rate))
    return clips


def codes_of(clip: np.ndarray, size: int, snr_db: float) -> np.ndarray:
    """Codes [frames, size] at a ratio; what is left behind the last whole frame is left out."""
    spec = isn.LappedSpec(sample_rate=tokens.RATE, hop_length=size)
    count = len(clip) // size
    frames = lapped_frames.analyse([clip[:, None]], [size] * count, 0, spec)
    values = np.stack([frame.values[:, 0] for frame in frames])
    low, high = -14.0, 2.0
    for _ in range(40):
        middle = (low + high) / 2
        step = np.exp(middle)
        noise = np.sum(np.square(values - step * np.rint(values / step)))
        is_fine = np.sum(np.square(values)) > noise * 10 ** (snr_db / 10)
        low, high = (middle, high) if is_fine else (low, middle)
    return np.rint(values / np.exp(low)).astype(np.int64)


def mixture(clips: list[np.ndarray], sizes: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Codes of all clips, sizes and ratios in turns."""
    for index, clip in enumerate(clips):
        size = sizes[index % len(sizes)]
        yield codes_of(clip, size, SNRS_DB[(index // len(sizes)) % len(SNRS_DB)])


@njit
def surroundings(codes, around, logarithms, features, counts, ones):
    """What lies around each code: features of the sum, and decisions by the expected magnitude."""
    num_frames, size = codes.shape
    pad = kernels.PAD
    empty = np.zeros(size + 2 * pad, np.int64)
    last, second, third, slow = empty.copy(), empty.copy(), empty.copy(), empty.copy()
    contexts = np.zeros(kernels.CONTEXTS, np.int64)
    row = 0
    for frame in range(num_frames):
        sizes = np.zeros(size + 2 * pad, np.int64)
        wide = np.int64(0)
        past = kernels.Past(last, second, third, slow)
        for index in range(size):
            p = index + pad
            wide += (sizes[p - 1] * 32 - wide) >> 3
            expected = kernels._expect(
                past, sizes, empty, p, around, logarithms, wide, contexts, 0, False
            )
            features[row, 0] = sizes[p - 1] * 16
            features[row, 1] = sizes[p - 2] * 16
            features[row, 2] = (sizes[p - 3] + sizes[p - 4]) * 16
            features[row, 3] = last[p] * 16
            features[row, 4] = (last[p + 1] + last[p - 1]) * 16
            features[row, 5] = (last[p + 2] + last[p - 2]) * 16
            features[row, 6] = second[p] * 16
            features[row, 7] = (second[p + 1] + second[p - 1]) * 16
            features[row, 8] = third[p] * 16
            features[row, 9] = slow[p]
            features[row, 10] = slow[p + 1] + slow[p - 1]
            features[row, 11] = wide >> 1
            row += 1
            magnitude = abs(codes[frame, index])
            sizes[p] = magnitude
            for level in range(min(magnitude + 1, kernels.UNARY)):
                counts[level, expected] += 1
                ones[level, expected] += magnitude > level
            if magnitude >= kernels.UNARY:
                beyond, found = magnitude - kernels.UNARY + 1, 0
                while beyond >> (found + 1):
                    found += 1
                for step in range(found + 1):
                    decision = min(kernels.UNARY + step, kernels.DECISIONS - 1)
                    counts[decision, expected] += 1
                    ones[decision, expected] += step < found
        slow = slow + ((sizes * 16 - slow + 4) >> 3)
        last, second, third = sizes, last, second


def look(codes: np.ndarray, around: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    features = np.zeros((codes.size, 12), np.int64)
    counts, ones = np.zeros((2, kernels.DECISIONS, kernels.LEVELS))
    surroundings(codes, around, tables().logarithms, features, counts, ones)
    return features, counts, ones


def fit_neighbours(clips: list[np.ndarray], size: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    chosen = []
    for codes in mixture(clips, (size,)):
        features, _, _ = look(codes, np.ones(12, np.int64))
        some = rng.choice(codes.size, min(codes.size, 20_000), replace=False)
        chosen.append(np.column_stack([features[some] / 16, np.abs(codes).ravel()[some]]))
    rows = np.concatenate(chosen)
    features, magnitudes = rows[:, :-1], rows[:, -1]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        # -log of a geometric distribution of mean e: (1 + m) log(1 + e) - m log(e)
        mean = features @ weights + 0.06
        value = (1 + magnitudes) * np.log1p(mean) - magnitudes * np.log(mean)
        slope = (1 + magnitudes) / (1 + mean) - magnitudes / mean
        return float(value.mean()), features.T @ slope / len(magnitudes)

    found = scipy.optimize.minimize(
        loss, np.full(12, 0.08), jac=True, bounds=[(0, None)] * 12, method="L-BFGS-B"
    )
    return np.rint(found.x * 256).astype(np.int64)


def fit_chances(clips: list[np.ndarray], neighbours: dict[int, np.ndarray]) -> np.ndarray:
    counts, ones = np.zeros((2, kernels.DECISIONS, kernels.LEVELS))
    for codes in mixture(clips, SIZES):
        _, some, of_them = look(codes, neighbours[codes.shape[1]])
        counts, ones = counts + some, ones + of_them
    # Where little was seen, a geometric distribution of the expected magnitude counts as well.
    mean = (2.0 ** (np.arange(kernels.LEVELS) / 6) - 1) / 4 + 0.02
    smooth = np.array([1.0, 2.0, 4.0, 2.0, 1.0])
    counts, ones = (
        np.stack([np.convolve(row, smooth, "same") for row in table]) for table in (counts, ones)
    )
    chances = (ones + 20 * (mean / (1 + mean)).clip(0.004, 0.97)) / (counts + 20)
    return np.clip(np.rint(chances * 65536), 64, 65472).astype(np.int64)


def fit_weights(clips: list[np.ndarray], prior: Prior) -> Prior:
    """One round: the mean of the weights at the end of the clips, by how far they moved."""
    sums = np.zeros(prior.weights.shape)
    moved = np.zeros(len(prior.weights))
    bits = codes_seen = 0
    begin = np.repeat(prior.weights, 64, axis=0)
    for codes in mixture(clips, SIZES[1:]):
        coder = FrameCoder(1, prior=prior)
        for frame in codes:
            coder.encode(frame[None])
        bits, codes_seen = bits + 8 * len(coder.finish()), codes_seen + codes.size
        weights = coder.model.mixer.weights
        distance = np.abs(weights - begin).sum(axis=-1).reshape(3, -1, 64)
        parts = weights.reshape(3, -1, 64, weights.shape[-1])
        sums += np.sum(parts * distance[..., None], axis=(0, 2))
        moved += distance.sum(axis=(0, 2))
    print(f"{bits / codes_seen:.4f} bits a code")
    found = np.where(moved[:, None] > 0, sums / np.maximum(moved, 1)[:, None], prior.weights)
    return prior._replace(weights=np.rint(found).astype(np.int64))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", type=Path, default=None)
    folder = common.audio_folder(parser.parse_args().audio)
    if folder is None:
        raise SystemExit("no audio: give --audio DIR with gtzan_mini below it")
    clips = read_clips(folder)
    neighbours = {size: fit_neighbours(clips, size) for size in SIZES}
    chances = fit_chances(clips, neighbours)
    weights = np.zeros((kernels.DECISIONS, 2 * kernels.CONTEXTS + 1), np.int64)
    weights[:, : kernels.CONTEXTS] = (1 << 16) * 3 // 10
    prior = Prior(weights, chances, neighbours)
    for _ in range(ROUNDS):
        prior = fit_weights(clips, prior)
    content = {
        "weights": prior.weights.tolist(),
        "chances": prior.chances.tolist(),
        "neighbours": {str(size): row.tolist() for size, row in prior.neighbours.items()},
    }
    TARGET.write_text(json.dumps(content, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
