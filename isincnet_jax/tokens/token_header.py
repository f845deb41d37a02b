"""Header of a token file: its recording and its quantiser."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, TypeAlias

import numpy as np

from isincnet_jax.bank.quantizer import Quantizer
from isincnet_jax.dsp import companding
from isincnet_jax.tokens.code_model import MOST_SYMBOLS
from isincnet_jax.tokens.recording_header import RecordingHeader
from isincnet_jax.tokens.uniform_quantizer import (
    LARGEST_LEVEL,
    UniformQuantizer,
    make_uniform_quantizer,
)

TokenQuantizer: TypeAlias = Quantizer | UniformQuantizer


@dataclasses.dataclass(frozen=True)
class TokenHeader(RecordingHeader):
    """Header of a token file.

    Attributes:
        audio_channels: of the recording.
        code: "uniform", "symmetric" or "reference".
        step: of the uniform code, a float32; 0 for the others.
        q_bits: bits of the other codes; 0 for the uniform one.
        mu: companding of the other codes; 0 for the uniform one.
        scales_shape: [audio channels or 1, 1, channels or 1], of the scales of the symmetric
            code or of the weights of the uniform one; None for no table.

    Raises:
        ValueError, TypeError: at construction, for values that no recording has.
    """

    audio_channels: int
    code: str = "uniform"
    step: float = 0.0
    q_bits: int = 0
    mu: float = 0.0
    scales_shape: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_counts("audio_channels")
        symbols = self.audio_channels * self.spec.num_channels
        if symbols > MOST_SYMBOLS:
            raise ValueError(f"{symbols} codes per frame: at most {MOST_SYMBOLS} can be stored")
        self._check_code()
        if self.scales_shape is not None:
            audio, one, channels = self.scales_shape
            if (
                audio not in (1, self.audio_channels)
                or one != 1
                or channels not in (1, self.spec.num_channels)
            ):
                raise ValueError(f"scales_shape={self.scales_shape} does not fit the bank")

    def _check_code(self) -> None:
        if self.code == "uniform":
            if self.q_bits or self.mu:
                raise ValueError("the uniform code has no bits and no mu")
            if make_uniform_quantizer(self.step).step != self.step:
                raise ValueError(f"step={self.step!r} is no float32; use make_uniform_quantizer")
            return
        if self.code not in ("symmetric", "reference"):
            raise ValueError(f"code={self.code!r}: use 'uniform', 'symmetric' or 'reference'")
        companding.check_q_bits(self.q_bits)
        if self.step or not 0 < self.mu < math.inf:
            raise ValueError(f"code={self.code!r} with mu={self.mu!r}, step={self.step!r}")

    @classmethod
    def describe_quantizer(cls, quantizer: TokenQuantizer) -> dict[str, Any]:
        """Fields of a header that depend on the quantizer.

        Args:
            quantizer: of the codes; a scale or weight has at most three axes.

        Returns:
            Keyword arguments of a header, ``scales_shape`` included.

        Raises:
            ValueError: for scales of more axes.
        """
        if isinstance(quantizer, UniformQuantizer):
            # A single weight of 1 is no table.
            weight = np.asarray(quantizer.weight, np.float32)
            shape = None if weight.size == 1 and weight.item() == 1.0 else _shape3(weight)
            return {"code": "uniform", "step": quantizer.step, "scales_shape": shape}
        shape = None if quantizer.code == "reference" else _shape3(np.asarray(quantizer.scale))
        return {
            "code": quantizer.code,
            "q_bits": quantizer.q_bits,
            "mu": quantizer.mu,
            "scales_shape": shape,
        }

    @property
    def num_parts(self) -> int:
        """2 for a complex bank, 1 for a real one."""
        return self.spec.num_channels // self.spec.num_bins

    @property
    def tables_size(self) -> int:
        """Bytes of the turns and the scales."""
        scales = 0 if self.scales_shape is None else 4 * math.prod(self.scales_shape)
        return 2 * self.spec.num_bins + scales

    def shaped_scales(self, scales: Any) -> np.ndarray | None:
        """Scales as float32 of ``scales_shape``.

        Args:
            scales: positive numbers, as many as ``scales_shape`` has; unused where that is None.

        Returns:
            [audio channels or 1, 1, channels or 1]; None if there are none.

        Raises:
            ValueError: if they do not fit or are not positive numbers.
        """
        if self.scales_shape is None:
            return None
        shaped = np.asarray(scales, np.float32).reshape(self.scales_shape)
        if not (np.isfinite(shaped).all() and (shaped > 0).all()):
            raise ValueError("scales that are not positive numbers")
        return shaped

    def quantizer(self, scales: np.ndarray | None) -> TokenQuantizer:
        """Quantizer that the header describes.

        Args:
            scales: as :meth:`shaped_scales` returns them.

        Returns:
            A uniform one of the header's step, or a companding one of its bits and mu.
        """
        if self.code == "uniform":
            return make_uniform_quantizer(self.step, weight=scales)
        scale = np.ones((1,), np.float32) if scales is None else scales
        return Quantizer(scale, self.q_bits, self.mu, self.code)  # type: ignore[arg-type]

    @property
    def zero(self) -> int:
        """The code that stands for 0, or for a value next to it."""
        return 2 ** (self.q_bits - 1) - 1 if self.q_bits else 0

    def signed(self, codes: np.ndarray) -> np.ndarray:
        """Codes around 0, as the entropy coder wants them.

        Args:
            codes: as the quantizer makes them, integers [frames, audio channels, channels].

        Returns:
            int64, :attr:`zero` less.

        Raises:
            TypeError, ValueError: for codes that this header does not describe.
        """
        if not np.issubdtype(codes.dtype, np.integer):
            raise TypeError(f"codes.dtype={codes.dtype}: codes are integers")
        if codes.shape[1:] != (self.audio_channels, self.spec.num_channels):
            raise ValueError(
                f"codes of shape {codes.shape} for {self.audio_channels} audio channels of "
                f"{self.spec.num_channels} channels"
            )
        self._check_range(codes)
        return codes.astype(np.int64) - self.zero

    def unsigned(self, codes: np.ndarray) -> np.ndarray:
        """Codes as the quantizer makes them, the inverse of :meth:`signed`.

        Args:
            codes: around 0, integers [frames, audio channels, channels].

        Returns:
            int32, or uint8 or uint16 for the companded codes.

        Raises:
            ValueError: for codes that no quantizer of this header makes.
        """
        # q bits: 0 .. 2^q - 1 around 2^(q - 1) - 1; the uniform code is around 0 already.
        codes = codes + self.zero
        self._check_range(codes)
        if not self.q_bits:
            return codes.astype(np.int32)
        return codes.astype(np.uint8 if self.q_bits <= 8 else np.uint16)

    def _check_range(self, codes: np.ndarray) -> None:
        lowest, highest = -LARGEST_LEVEL, LARGEST_LEVEL
        if self.q_bits:
            lowest, highest = 0, 2**self.q_bits - 1
        if codes.size and not lowest <= int(codes.min()) <= int(codes.max()) <= highest:
            raise ValueError(
                f"codes from {codes.min()} to {codes.max()}: those of this quantizer go from "
                f"{lowest} to {highest}{'' if self.q_bits else '; use a larger step'}"
            )

    def to_json(self) -> str:
        """The header as text, with the digest of the spec.

        Returns:
            JSON with sorted names and no spaces.
        """
        values = {**self._values(), "digest": self.spec.digest()}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> TokenHeader:
        """The inverse of :meth:`to_json`.

        Args:
            text: of a file; anything is refused without anything large being made.

        Returns:
            The header.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: if the text is no header.
        """
        values = json.loads(text)
        digest, shape = values.pop("digest"), values.pop("scales_shape")
        header = cls._of_values({**values, "scales_shape": shape and tuple(shape)})
        if header.spec.digest() != digest:
            raise ValueError(f"its spec has the digest {header.spec.digest()}, not {digest}")
        return header


def _shape3(scales: np.ndarray) -> tuple[int, int, int]:
    """The shape with leading axes of 1, [audio channels or 1, 1, channels or 1]."""
    if scales.ndim > 3:
        raise ValueError(f"scales of shape {scales.shape}: use [audio channels, 1, channels]")
    first, second, third = (1,) * (3 - scales.ndim) + scales.shape
    return first, second, third
