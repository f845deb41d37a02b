"""Methods of the benchmark: callables from waveforms to waveforms, and what they keep of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from isincnet_jax import files
from isincnet_jax.pages import media as report_media


class Coded(NamedTuple):
    """A reconstruction whose size was measured.

    Attributes:
        waveform: [batch, time].
        num_bits: of each clip's code, [batch].
    """

    waveform: Any
    num_bits: Any


@dataclass(frozen=True)
class Method:
    """Method of the benchmark: a way from a waveform to its reconstruction.

    Attributes:
        name: unique.
        family: "linear inverse", "phase retrieval", "vocoder", "tokens", "lossy codec",
            "reference", "user".
        reconstruct: float32 waveform [batch, time] to a waveform of that shape, or to
            :class:`Coded`; gets NumPy arrays.
        description: one line.
        phase: "kept", or "blind" where only magnitudes are used.
        domain: what is kept of the sound, "256 real coefficients/frame, 128 frames/s".
        coefficients_per_s: real numbers kept per second of sound.
        kbit_per_s: as stated; measured from :class:`Coded` otherwise.
        parameters: learned ones.
        checkpoint: "solved", or the name of a file.
        settings: all else that results depend on; what JSON can hold.
        compiled: for one shape at a time: all batches have the same, and a whole one comes first
            that is not timed; one clip otherwise.
        curve: of rate and distortion that it is a point of.
        file_bits: size of the file of one clip [time] of any length, in bits; the marginal rate
            is measured by it.
        given: waveform [batch, time] to the features [batch, frames, bins] that a method which is
            blind to phase starts from; the consistency error is measured by it.
    """

    name: str
    family: str
    reconstruct: Callable[[Float[np.ndarray, "batch time"]], Any]
    description: str = ""
    phase: str = "kept"
    domain: str = ""
    coefficients_per_s: float | None = None
    kbit_per_s: float | None = None
    parameters: int | None = None
    checkpoint: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    compiled: bool = True
    curve: str | None = None
    file_bits: Callable[[Float[np.ndarray, " time"]], float] | None = None
    given: Callable[[Any], Any] | None = None

    def facts(self) -> dict[str, Any]:
        """Facts of the method in the results file, without what is measured.

        Returns:
            JSON values, from "name" to "curve".
        """
        return {
            "name": self.name,
            "family": self.family,
            "description": self.description,
            "phase": self.phase,
            "domain": self.domain,
            "coefficients_per_s": self.coefficients_per_s,
            "kbit_per_s": self.kbit_per_s,
            "marginal_kbit_per_s": None,
            "parameters": self.parameters,
            "checkpoint": self.checkpoint,
            "curve": self.curve,
        }


def marginal_bits(
    file_bits: Callable[[Float[np.ndarray, " time"]], float],
    clip: Float[np.ndarray, " time"],
    num_bits: float,
) -> float:
    """Marginal size: bits that a clip adds to the file of the clip itself.

    A file of T seconds has ``n(T) = fixed + rate T`` bits. The fixed part, headers and tables, is
    most of a short file of some codecs and nothing of a long one; the clip after itself is sound
    of the same kind, so that ``rate T = n(2 T) - n(T)``. The joint costs a little; a coder that
    adapts has learned the clip when it comes again, as it would have learned any longer recording.

    Args:
        file_bits: size of the file of a clip.
        clip: float [time].
        num_bits: size of this clip's file, which is known.

    Returns:
        Bits.

    Example:
        A header of 800 bits, and two bits a sample:

        >>> clip = np.zeros(100)
        >>> marginal_bits(lambda one: 800 + 2 * len(one), clip, 1000)
        200.0
    """
    return float(file_bits(np.concatenate([clip, clip]))) - num_bits


def safe_name(name: str) -> str:
    """A file name for any name: others than letters, digits, dot and minus become ``_``.

    Names that had to be changed end in a digest, so that they stay different.

    Args:
        name: any text, without limit of length.

    Returns:
        At most 69 characters if it was changed.
    """
    safe = re.sub(r"[^A-Za-z0-9.-]+", "_", name).lstrip(".")
    if safe and safe == name:
        return safe
    return f"{safe[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def write_sound(path: Path, waveform: Float[np.ndarray, " time"], sample_rate: int) -> None:
    """Writes 16-bit FLAC, whole or not at all; samples beyond full scale are clipped.

    Args:
        path: of the file; its folders are made.
        waveform: float [time].
        sample_rate: Hz.

    Raises:
        ValueError: for NaN and infinity.
        FileError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as temporary:
        temporary.write_bytes(report_media.as_flac(waveform, sample_rate))


def sound_path(clip: str, method: str) -> str:
    """Path of the sound of a clip and a method ("original" for none), below the results' folder.

    Args:
        clip: name.
        method: name.

    Returns:
        With slashes, "audio/CLIP/METHOD.flac".
    """
    return f"audio/{safe_name(clip)}/{safe_name(method)}.flac"
