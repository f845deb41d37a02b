"""Header of a token file: 77 bytes that tell its bank, lengths, rates, quantiser and samples."""

from __future__ import annotations

import dataclasses
import math
import struct
from typing import get_args

import numpy as np

from isincnet_jax.bank.dsp.lapped_transform import LappedWindow
from isincnet_jax.bank.lapped_spec import LappedSpec
from isincnet_jax.tokens.band_steps import LEAST_SHARED
from isincnet_jax.tokens.integer_synthesis import LARGEST_HOP
from isincnet_jax.tokens.lapped_frames import Tiling

_WINDOWS = get_args(LappedWindow)
# Window, mode, audio channels, smallest frame and superframe; hop, rates, lengths, beta, step,
# offsets; bits of the samples and their MD5. A mode is 0, 1, or 2 + 4 n.
_LAYOUT = struct.Struct("<BBHHHIIIQQdffffB16s")
UNIFORM, CURVE, FOLLOWING = range(3)
"""Modes: one step; step indices of bands that stay the same, or follow the recording."""
_ONCE = 1 << 20
MOST_AUDIO = 64
"""Audio channels."""
LARGEST_FRAME = 1 << 15
_LONGEST = 1 << 48
SAMPLE_BITS = (8, 16, 24)
"""Of the integers that lossless files hold."""


@dataclasses.dataclass(frozen=True)
class TokenHeader:
    """Header of a token file.

    Attributes:
        spec: the lapped bank, tiled.
        audio_channels: 1 to 64.
        length: samples per audio channel at ``spec.sample_rate``.
        original_length: samples of the recording at its own rate.
        original_rate: Hz, of the recording.
        step: of the uniform quantiser, a positive float32.
        largest: samples of a superframe; ``spec.hop_length`` where frames have one size.
        smallest: samples of the smallest frame.
        offsets: what is added to magnitudes of 1, of 2, and of more, float32 between -1/2 and 1/2.
        mode: :data:`UNIFORM`, :data:`CURVE` or :data:`FOLLOWING`, see :mod:`.band_steps`.
        num_shared: superframes that share step indices where these follow, 1 to 63; else 0.
        bits: of the recording's samples, which can be had exactly: 8, 16 or 24; 0 of a file of
            codes alone.
        md5: of the samples, as FLAC defines it: signed, little-endian, audio channels interleaved.

    Raises:
        ValueError: at construction, for values that no recording has.
    """

    spec: LappedSpec
    audio_channels: int
    length: int
    original_length: int
    original_rate: int
    step: float
    largest: int
    smallest: int
    offsets: tuple[float, float, float] = (0.0, 0.0, 0.0)
    mode: int = UNIFORM
    num_shared: int = 0
    bits: int = 0
    md5: bytes = bytes(16)

    SIZE = _LAYOUT.size
    """Bytes."""

    def __post_init__(self) -> None:
        if self.spec.framing != "tiled":
            raise ValueError(f"framing={self.spec.framing!r}: token files hold tiled frames")
        if not 1 <= self.audio_channels <= MOST_AUDIO:
            raise ValueError(f"{self.audio_channels} audio channels: use 1 to {MOST_AUDIO}")
        for name in ("length", "original_length", "original_rate"):
            if not 1 <= getattr(self, name) < _LONGEST:
                raise ValueError(f"{name}={getattr(self, name)} is out of range")
        if not (0 < self.step < math.inf and float(np.float32(self.step)) == self.step):
            raise ValueError(f"step={self.step!r} must be a positive float32")
        for value in self.offsets:
            if not -0.5 <= value <= 0.5 or float(np.float32(value)) != value:
                raise ValueError(f"offsets={self.offsets}: float32 from -1/2 to 1/2 are needed")
        is_following = self.mode == FOLLOWING
        is_known = self.mode in (UNIFORM, CURVE, FOLLOWING) and 0 <= self.num_shared <= 63
        if (
            not is_known
            or is_following != (self.num_shared > 0)
            or (is_following and self.num_shared * self.largest < LEAST_SHARED)
        ):
            raise ValueError(f"mode {self.mode} of {self.num_shared} superframes is unknown")
        ratio, odd = divmod(self.largest, max(self.smallest, 1))
        is_octaves = ratio > 0 and not ratio & (ratio - 1) and not odd
        largest = max(self.largest, self.spec.hop_length)
        if not (is_octaves and self.smallest >= 2 and largest <= LARGEST_FRAME):
            raise ValueError(
                f"frames of {self.smallest} to {self.largest} samples: the smallest, doubled some "
                f"times, must give the largest, at most {LARGEST_FRAME}"
            )

        self._check_samples()

    def _check_samples(self) -> None:
        """Refuses lossless files that the integer inverse does not know."""
        if self.bits not in (0, *SAMPLE_BITS) or len(self.md5) != 16:
            raise ValueError(f"samples of {self.bits} bits: use 8, 16 or 24, or 0 for codes alone")
        if not self.bits:
            return
        spec = self.spec
        if spec.window != "sine" or spec.hop_length > LARGEST_HOP:
            raise ValueError(
                f"window={spec.window!r}, hop_length={spec.hop_length}: lossless files have sine "
                f"windows and hops of at most {LARGEST_HOP}"
            )
        if not self.smallest == self.largest == spec.hop_length or any(self.offsets):
            raise ValueError("lossless files have frames of one size and plain rounding")
        own = (self.original_length, self.original_rate)
        if own != (self.length, spec.sample_rate):
            raise ValueError("lossless files have the recording's own rate and length")

    @property
    def tiling(self) -> Tiling:
        """How the recording is cut."""
        return Tiling(self.spec, self.largest, self.smallest)

    @property
    def every(self) -> int:
        """Superframes that share step indices; 0 where there are none."""
        return _ONCE if self.mode == CURVE else self.num_shared

    def pack(self) -> bytes:
        """The header as bytes.

        Returns:
            ``SIZE`` bytes.
        """
        spec = self.spec
        return _LAYOUT.pack(
            _WINDOWS.index(spec.window), self.mode + 4 * self.num_shared, self.audio_channels,
            self.smallest, self.largest, spec.hop_length, spec.sample_rate, self.original_rate,
            self.length, self.original_length, spec.beta or 0.0, self.step, *self.offsets,
            self.bits, self.md5,
        )  # fmt: skip

    @classmethod
    def unpack(cls, data: bytes) -> TokenHeader:
        """The inverse of :meth:`pack`.

        Args:
            data: ``SIZE`` bytes of any making.

        Returns:
            The header.

        Raises:
            ValueError: if they are none.
        """
        window, mode, audio, smallest, largest, hop, rate, *rest = _LAYOUT.unpack(data)
        original_rate, length, original_length, beta, step, *offsets, bits, md5 = rest
        if window >= len(_WINDOWS):
            raise ValueError(f"window {window} is unknown")
        name = _WINDOWS[window]
        first, second, third = offsets
        return cls(
            spec=LappedSpec(
                sample_rate=rate,
                hop_length=hop,
                window=name,
                beta=beta if name == "kbd" else None,
            ),
            audio_channels=audio,
            length=length,
            original_length=original_length,
            original_rate=original_rate,
            step=step,
            largest=largest,
            smallest=smallest,
            offsets=(first, second, third),
            mode=mode % 4,
            num_shared=mode // 4,
            bits=bits,
            md5=md5,
        )
