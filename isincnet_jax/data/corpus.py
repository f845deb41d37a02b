"""Corpus of clips in one array: what training and evaluation read. NumPy only.

All tracks of a corpus stand one after the other in a flat int16 array, in memory or mapped from
a file. Every track uses the whole int16 range; its factor ``scale`` leads back to the waveform
and holds the gain of the loudness normalisation:

    waveform = scale * integers.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Int16

PEAK = 32_767  # the largest integer of a track


class CorpusError(ValueError):
    """A corpus that cannot be read, written or used; the message names it and the reason."""


@dataclass(frozen=True)
class Track:
    """Track of a corpus, and where it stands in the array.

    Attributes:
        name: unique within a source, "blues/blues.00000" for instance.
        group: genre, song or folder; splits are stratified by it.
        start: first sample in the array of the corpus.
        length: samples.
        scale: factor from integers to the waveform, a float32 number.
    """

    name: str
    group: str
    start: int
    length: int
    scale: float


@dataclass(frozen=True, eq=False)
class Corpus:
    """Tracks of one rate, mono.

    Attributes:
        sample_rate: Hz.
        tracks: sorted by name when a source was read.
        samples: int16 [time of all tracks], in memory or memory-mapped.
        loudness_db: integrated loudness that tracks were brought to, LUFS; None if they were not.
        source: what it was made from, for people.
    """

    sample_rate: int
    tracks: tuple[Track, ...]
    samples: Int16[np.ndarray, " time"]
    loudness_db: float | None = None
    source: str = ""

    def __len__(self) -> int:
        return len(self.tracks)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tracks, in order."""
        return tuple(track.name for track in self.tracks)

    @functools.cached_property
    def lengths(self) -> Int[np.ndarray, " tracks"]:
        """Samples of each track, int64 [tracks], read only."""
        lengths = np.array([track.length for track in self.tracks], dtype=np.int64)
        lengths.setflags(write=False)
        return lengths

    @property
    def duration_s(self) -> float:
        """Seconds of all tracks together."""
        return float(np.sum(self.lengths)) / self.sample_rate

    def clip(
        self, index: int, *, start: int = 0, length: int | None = None
    ) -> Float[np.ndarray, " time"]:
        """A part of a track.

        Args:
            index: of the track.
            start: first sample, from the beginning of the track.
            length: samples; to the end of the track if None.

        Returns:
            float32 [time], a copy.

        Raises:
            ValueError: if the part does not lie within the track.
        """
        track = self.tracks[index]
        length = track.length - start if length is None else length
        if start < 0 or length < 0 or start + length > track.length:
            raise ValueError(
                f"start={start}, length={length}: {track.name} has samples 0 to {track.length}"
            )
        clip = np.empty(length, np.float32)
        self.fill(clip, index, start=start)
        return clip

    def fill(self, target: Float[np.ndarray, " time"], index: int, *, start: int) -> None:
        """Writes a part of a track into an array, without checks; what batches are made by.

        Args:
            target: float32 [time], written whole; its length is that of the part.
            index: of the track.
            start: first sample, from the beginning of the track; the part must lie within it.
        """
        track = self.tracks[index]
        begin = track.start + start
        np.multiply(
            self.samples[begin : begin + len(target)],
            np.float32(track.scale),
            out=target,
            dtype=np.float32,
        )

    def select(self, names: Collection[str]) -> Corpus:
        """The corpus of some tracks; it shares the samples.

        Args:
            names: of tracks, in any order; the corpus keeps its own.

        Returns:
            A corpus of the same array.

        Raises:
            CorpusError: for names that are not there.
        """
        wanted = set(names)
        missing = sorted(wanted - set(self.names))
        if missing:
            raise CorpusError(
                f"{missing[0]!r} and {len(missing) - 1} more: no such tracks among {len(self)}"
                if len(missing) > 1
                else f"{missing[0]!r}: no such track among {len(self)}"
            )
        tracks = tuple(track for track in self.tracks if track.name in wanted)
        return Corpus(self.sample_rate, tracks, self.samples, self.loudness_db, self.source)


def quantize(
    waveform: Float[np.ndarray, " time"], *, gain: float = 1.0
) -> tuple[Int16[np.ndarray, " time"], float]:
    """The integers of a track and the factor that leads back, with a gain on the way.

    The error is at most half a step of ``gain * peak / 32767``. A waveform within [-1, 1] after
    the gain comes back within [-1, 1], in float32 too. Silence has the factor 1 / 32767.

    Args:
        waveform: float [time], finite.
        gain: factor on the waveform that comes back.

    Returns:
        int16 [time], and the factor, a number that float32 can hold.

    Raises:
        ValueError: for NaN or infinite samples.
    """
    peak = float(np.max(np.abs(waveform), initial=0.0))
    if not np.isfinite(peak):
        raise ValueError("waveform: NaN or infinite samples; samples must be finite")
    if peak == 0.0:
        return np.zeros(len(waveform), np.int16), float(np.float32(1 / PEAK))
    # waveform = peak / 32767 * integers: the loudest sample is the largest integer
    integers = np.rint(waveform.astype(np.float64) * (PEAK / peak)).astype(np.int16)
    scale = np.float32(gain * peak / PEAK)
    if gain * peak <= 1.0 and np.float32(PEAK) * scale > np.float32(1.0):
        scale = np.nextafter(scale, np.float32(0.0))  # float32 rounding would pass full scale
    return integers, float(scale)


def assemble(
    parts: Sequence[tuple[str, str, Int16[np.ndarray, " _time"], float]],
    *,
    sample_rate: int,
    loudness_db: float | None = None,
    source: str = "",
) -> Corpus:
    """A corpus in memory from (name, group, int16 [time], scale), sorted by name.

    Args:
        parts: tracks, in any order; put one after the other as they come.
        sample_rate: Hz.
        loudness_db: LUFS that they were brought to; None if they were not.
        source: what it is, for people.

    Returns:
        A corpus with one int16 array.

    Raises:
        CorpusError: if a name comes twice or a track has no samples.
    """
    tracks, start = [], 0
    for name, group, integers, scale in parts:
        tracks.append(Track(name, group, start, len(integers), scale))
        start += len(integers)
    check_tracks(tracks, num_samples=start, where=source or "corpus")
    samples = np.concatenate([np.zeros(0, np.int16), *(part[2] for part in parts)])
    tracks.sort(key=lambda track: track.name)
    return Corpus(sample_rate, tuple(tracks), samples, loudness_db, source)


def check_tracks(tracks: Iterable[Track], *, num_samples: int, where: str) -> None:
    """Refuses tracks that stand outside the array, are empty, have no scale, or share a name.

    Args:
        tracks: of one corpus.
        num_samples: of the array.
        where: file or source, for the message.

    Raises:
        CorpusError: naming ``where`` and the track.
    """
    seen: set[str] = set()
    for track in tracks:
        if track.name in seen:
            raise CorpusError(f"{where}: two tracks are called {track.name!r}; names are unique")
        seen.add(track.name)
        if track.length < 1:
            raise CorpusError(f"{where}: {track.name!r} has no samples")
        if track.start < 0 or track.start + track.length > num_samples:
            raise CorpusError(
                f"{where}: damaged: {track.name!r} ends at sample "
                f"{track.start + track.length} of {num_samples}"
            )
        if not 0 < track.scale < np.inf:
            raise CorpusError(f"{where}: damaged: {track.name!r} has the scale {track.scale}")
