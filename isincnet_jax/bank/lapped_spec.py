"""Specification of a lapped bank (MDCT): rate, hop, window and what happens at a clip's ends."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from isincnet_jax import files
from isincnet_jax.bank.dsp import lapped_transform
from isincnet_jax.bank.dsp.frame_theory import FrameBounds
from isincnet_jax.bank.dsp.lapped_transform import LappedFraming, LappedWindow
from isincnet_jax.bank.spec_checks import require
from isincnet_jax.dsp import settling
from isincnet_jax.dsp.settling import settles


@dataclasses.dataclass(frozen=True)
class LappedSpec:
    """Lapped bank (MDCT): orthonormal and critically sampled; frozen, hashable, validated.

    As many coefficients as samples, their energy that of the samples, the inverse the transpose:
    see :mod:`.lapped_transform`, which has the formulas.

    Attributes:
        sample_rate: Hz.
        hop_length: N, samples between frames and bins of a frame, even; a window has 2 N samples.
        window: "sine", "kbd" (Kaiser-Bessel derived) or "vorbis".
        beta: of the Kaiser window of "kbd", 0 or more, 4 pi if None; the other windows have none.
        framing: "tiled" (the blocks tile the clip, without overlap at its ends: coefficients are as
            many as samples for every length, and tokens of a decoded clip are those it was decoded
            from) or "zeros" (frames centred at multiples of the hop, zeros outside the clip).

    Raises:
        ValueError, TypeError: at construction, for anything that cannot work.

    Example:
        >>> spec = LappedSpec(sample_rate=16_000, hop_length=512)
        >>> spec.num_bins, spec.frame_rate_hz, spec.num_frames(1300)
        (512, 31.25, 3)
        >>> spec.describe()
        'lapped, 16000 Hz, hop 512, sine window, tiled'
    """

    sample_rate: int = 16_000
    hop_length: int = 512
    window: LappedWindow = "sine"
    beta: float | None = None
    framing: LappedFraming = "tiled"

    def __post_init__(self) -> None:
        settling.settle_fields(self)
        require(self.sample_rate >= 1, f"sample_rate={self.sample_rate} must be at least 1")
        if self.window == "kbd":
            beta = 4 * np.pi if self.beta is None else self.beta
            object.__setattr__(self, "beta", float(beta))
        lapped_transform.check_window(self.window, self.hop_length, beta=self.beta)
        lapped_transform.check_framing(self.framing)

    @property
    def num_bins(self) -> int:
        """Coefficients per frame, as many as samples between frames."""
        return self.hop_length

    @property
    def num_channels(self) -> int:
        """Real coefficients per frame, ``num_bins``."""
        return self.hop_length

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    @property
    def redundancy(self) -> float:
        """Real coefficients per sample: 1."""
        return 1.0

    @property
    def frame_bounds(self) -> FrameBounds:
        """Frame bounds 1 and 1: the transform keeps energy."""
        return FrameBounds(1.0, 1.0)

    @property
    def latency(self) -> int:
        """Samples that must come after a sample until it can be encoded and decoded.

        The first sample of an overlap needs the block behind the border, whose window ends 2 N - 1
        samples later. Tiled, it must also be known that this block is not the last, which is longer
        and has no overlap at its end: N / 2 samples more.
        """
        wait = self.hop_length // 2 if self.framing == "tiled" else 0
        return 2 * self.hop_length - 1 + wait

    @property
    def center_hz(self) -> Float[np.ndarray, " bins"]:
        """Centre frequencies in Hz, ``(k + 1/2) sample_rate / (2 N)``."""
        return (np.arange(self.num_bins) + 0.5) * (self.sample_rate / (2 * self.hop_length))

    @settles
    def num_frames(self, length: int) -> int:
        """Frames of a clip: ceil(length / hop) if tiled, one more with zeros outside.

        Args:
            length: samples, 1 or more.

        Returns:
            Frames, 1 or more.
        """
        return lapped_transform.count_frames(
            length, hop_length=self.hop_length, framing=self.framing
        )

    def window_angles(self) -> Float[np.ndarray, " half"]:
        """Angles of the rotations at a border, see :func:`.lapped_transform.window_angles`.

        Returns:
            float64 [N / 2].
        """
        return lapped_transform.window_angles(self.window, self.hop_length, beta=self.beta)

    def window_taps(self) -> Float[np.ndarray, " taps"]:
        """Window of a frame.

        Returns:
            float64 [2 N].
        """
        return lapped_transform.window_of_angles(self.window_angles())  # type: ignore[return-value]

    def design_kernels(self) -> Float[np.ndarray, "bins taps"]:
        """Kernels of a frame between the ends of a clip, written out; sample N / 2 is its first.

        Returns:
            float64 [N, 2 N], orthonormal; the formula stands in :mod:`.lapped_transform`.
        """
        hop = self.hop_length
        time, bins = np.arange(2 * hop) + (hop + 1) / 2, np.arange(hop) + 0.5
        cosines = np.cos(np.pi / hop * np.outer(bins, time))
        return (2 / hop) ** 0.5 * cosines * self.window_taps()

    def describe(self) -> str:
        """The bank in one line.

        Returns:
            Rate, hop, window and framing.
        """
        window = f"{self.window} window" + (f" (beta {self.beta:.4g})" if self.beta else "")
        return f"lapped, {self.sample_rate} Hz, hop {self.hop_length}, {window}, {self.framing}"

    def replace(self, **changes: Any) -> LappedSpec:
        """Spec with other values; ``beta`` follows the window unless it is given.

        Args:
            **changes: fields by name.

        Returns:
            A spec, validated.
        """
        if changes.get("window", self.window) != self.window:
            changes.setdefault("beta", None)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Fields as plain values, all of them.

        Returns:
            Numbers and texts, for JSON.
        """
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LappedSpec:
        """Spec of a dictionary: the inverse of :meth:`to_dict`.

        Args:
            values: as :meth:`to_dict` makes them.

        Returns:
            A spec, equal to the one that was written.

        Raises:
            ValueError: unless all fields are there, and no others.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        wrong = sorted(set(values) ^ known)
        require(not wrong, f"unknown or missing fields of a lapped bank: {', '.join(wrong)}")
        return cls(**values)

    def digest(self) -> str:
        """Digest of all fields, stable across machines and versions.

        Returns:
            16 hexadecimal digits.
        """
        return files.content_digest(self.to_dict())
