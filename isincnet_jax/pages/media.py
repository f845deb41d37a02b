"""Media of a page: sounds and pictures of chosen clips, as base64 texts.

Pictures are PNG files with a palette, written with zlib: no drawing library is wanted for them.
All pictures of a clip share one scale: 0 dB is the loudest cell of its original.
"""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jaxtyping import Float, UInt8

from isincnet_jax.dsp import windows

FLOOR_DB = -80.0
"""Level below which a spectrogram is drawn as silence."""

DIFFERENCE_DB = 24.0
"""Largest level difference that a picture tells apart."""

_ROWS = 128  # of a picture
_MAX_COLUMNS = 400
_LEVELS = 65  # 1.25 dB a step; odd, so that "no difference" has a colour of its own
_FLAC_MAGIC = b"fLaC"

_HEAT = "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4"
_SIGNED = "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f"


class _MediaError(ValueError):
    """An audio file that cannot be used; the page says so and goes on without it."""


def _color_table(anchors: str) -> UInt8[np.ndarray, "levels 3"]:
    """Colours of the levels, linear between the anchors (hexadecimal, parted by spaces)."""
    known = np.array([list(bytes.fromhex(anchor)) for anchor in anchors.split()], np.float64)
    at = np.linspace(0, len(known) - 1, _LEVELS)
    channels = [np.interp(at, np.arange(len(known)), channel) for channel in known.T]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


HEAT = _color_table(_HEAT)
"""Dark to bright, for levels: the anchors of Matplotlib's inferno."""

SIGNED = _color_table(_SIGNED)
"""Blue over white to red, for differences: the anchors of ColorBrewer's RdBu."""


def levels(
    values: Float[np.ndarray, "..."], *, low: float, high: float
) -> UInt8[np.ndarray, "..."]:
    """Colour levels of values: indices into a colour table.

    Args:
        values: floating, of any shape.
        low: value of the first colour; less counts as this.
        high: value of the last colour, above ``low``; more counts as this.

    Returns:
        Uint8 of the same shape, 0 to 64.
    """
    scaled = (np.clip(values, low, high) - low) / (high - low)
    return np.rint(scaled * (_LEVELS - 1)).astype(np.uint8)


def encode_png(
    indices: UInt8[np.ndarray, "height width"], *, colors: UInt8[np.ndarray, "levels 3"]
) -> bytes:
    """PNG file of palette indices.

    Args:
        indices: uint8 [height, width], the first row on top.
        colors: palette, uint8 [levels, 3], at most 256.

    Returns:
        Content of the file.

    References:
        W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", section 11,
        https://www.w3.org/TR/png-3/
    """
    height, width = indices.shape
    rows = np.pad(indices, ((0, 0), (1, 0)))  # each row begins with its filter: 0, none
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", colors.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def spectrogram_power(
    waveform: Float[np.ndarray, " time"], *, sample_rate: int
) -> Float[np.ndarray, "rows columns"]:
    """Power spectrogram on a linear frequency axis; at most 400 columns over the clip.

    Frames of about 32 ms with a Hann window; neighbouring bins are averaged to 128 rows.

    Args:
        waveform: floating, [time], 1 sample or more.
        sample_rate: Hz.

    Returns:
        Float64 [128, columns], row 0 the lowest frequencies.
    """
    # A power of 2, so that 128 divides the n_fft / 2 bins below Nyquist; 100 columns a second.
    n_fft = max(2 * _ROWS, 1 << round(np.log2(0.032 * sample_rate)))
    columns = max(1, min(_MAX_COLUMNS, len(waveform) * 100 // sample_rate))
    centers = (np.arange(columns) + 0.5) * len(waveform) / columns
    padded = np.pad(waveform, n_fft // 2)
    begins = np.floor(centers).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[begins]
    bins = np.fft.rfft(frames * windows.get_window("hann", n_fft, fftbins=True), axis=1)[
        :, : n_fft // 2
    ]
    power = np.abs(bins) ** 2
    return power.reshape(columns, _ROWS, -1).mean(axis=2).T  # [columns, rows, bins of a row]


def decibels(power: Float[np.ndarray, "..."], *, reference: float) -> Float[np.ndarray, "..."]:
    """Level in dB of a power, not below :data:`FLOOR_DB`.

    Args:
        power: not negative, of any shape.
        reference: power of 0 dB, positive.

    Returns:
        dB, of the same shape.
    """
    return 10 * np.log10(np.maximum(power / reference, 10 ** (FLOOR_DB / 10)))


def _read_track(folder: Path, name: str) -> tuple[bytes, Float[np.ndarray, " time"], int]:
    """A sound named in the results: its FLAC file, its samples (mean of channels), its rate.

    Args:
        folder: of the results file.
        name: path relative to it.

    Raises:
        _MediaError: for a file that is missing, outside the folder, damaged, empty or not finite.
    """
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise _MediaError(f"{name}: lies outside the folder of the results")
        content = path.read_bytes()
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float64", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "error_string", error)
        raise _MediaError(f"{name}: cannot be read: {reason}") from error
    except ValueError as error:  # a null byte in the path
        raise _MediaError(f"{name!r}: {error}") from error
    if not samples.size:
        raise _MediaError(f"{name}: holds no samples")
    if not np.all(np.isfinite(samples)):
        raise _MediaError(f"{name}: holds samples that are not finite")
    if not content.startswith(_FLAC_MAGIC):
        content = as_flac(samples, rate)
    return content, samples.mean(axis=1), rate


def as_flac(samples: Float[np.ndarray, "time ..."], rate: int) -> bytes:
    """FLAC file of 16 bits in memory; samples beyond full scale are clipped.

    Args:
        samples: full scale is 1; [time] or [time, channels].
        rate: Hz.

    Returns:
        Content of the file.

    Raises:
        ValueError: for NaN and infinity, which would become full scale.
    """
    if not np.all(np.isfinite(samples)):
        raise ValueError("samples hold NaN or infinity, which no sound has")
    target = io.BytesIO()
    soundfile.write(target, np.clip(samples, -1, 1), rate, format="FLAC", subtype="PCM_16")
    return target.getvalue()


def clip_media(folder: Path, paths: list[str | None]) -> tuple[dict[str, Any], list[str]]:
    """Media of one clip: sounds and pictures.

    Args:
        folder: of the results file.
        paths: of the original and then of each method, None where there is none.

    Returns:
        ``{"duration_s", "sample_rate", "tracks"}``, one track a path (None where nothing can be
        played) with base64 texts "audio", "level", "difference" and "error" (the last three None
        where they make no sense), and what went wrong.
    """
    sounds: list[tuple[bytes, np.ndarray, int] | None] = []
    problems = []
    for path in paths:
        try:
            sounds.append(None if path is None else _read_track(folder, path))
        except _MediaError as error:
            sounds.append(None)
            problems.append(str(error))
    first = next((sound for sound in sounds if sound is not None), None)
    if first is None:
        return {"duration_s": 0.0, "sample_rate": 0, "tracks": [None] * len(paths)}, problems
    # The original, or the first method that has a sound, sets rate, length and 0 dB.
    _, guide, rate = first
    peak = float(np.max(spectrogram_power(guide, sample_rate=rate)))
    tracks: list[dict[str, str | None] | None] = []
    for index, sound in enumerate(sounds):
        track = None
        if sound is not None:
            track = {"audio": _text(sound[0]), "level": None, "difference": None, "error": None}
            if sound[2] == rate:
                # The original has no difference from itself.
                original = guide if index and sounds[0] is not None else None
                track |= _pictures(
                    _fitted(sound[1], len(guide)), original, sample_rate=rate, peak=peak or 1.0
                )
            else:
                problems.append(f"{paths[index]}: {sound[2]} Hz, not {rate} Hz: no pictures")
        tracks.append(track)
    duration_s = len(guide) / rate
    return {"duration_s": duration_s, "sample_rate": rate, "tracks": tracks}, problems


def _pictures(
    waveform: np.ndarray, original: np.ndarray | None, *, sample_rate: int, peak: float
) -> dict[str, str | None]:
    """Level, and against an original the difference of levels and the level of the difference."""
    level = decibels(spectrogram_power(waveform, sample_rate=sample_rate), reference=peak)
    texts: dict[str, str | None] = {"level": _picture(level, signed=False)}
    if original is not None:
        wanted = spectrogram_power(original, sample_rate=sample_rate)
        missed = spectrogram_power(waveform - original, sample_rate=sample_rate)
        texts["difference"] = _picture(level - decibels(wanted, reference=peak), signed=True)
        texts["error"] = _picture(decibels(missed, reference=peak), signed=False)
    return texts


def _picture(values_db: np.ndarray, *, signed: bool) -> str:
    low, high = (-DIFFERENCE_DB, DIFFERENCE_DB) if signed else (FLOOR_DB, 0.0)
    indices = levels(values_db, low=low, high=high)[::-1]  # low frequencies below
    return _text(encode_png(indices, colors=SIGNED if signed else HEAT))


def _fitted(waveform: np.ndarray, length: int) -> np.ndarray:
    return np.pad(waveform[:length], (0, max(0, length - len(waveform))))


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def text_bytes(tracks: list[dict[str, str | None] | None]) -> int:
    """Size of tracks in the page.

    Args:
        tracks: base64 texts, as :func:`clip_media` gives them.

    Returns:
        Bytes.
    """
    return sum(len(text or "") for track in tracks if track for text in track.values())
