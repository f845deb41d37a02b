"""Vocabulary of token ids: codes as one sequence of small integers, for language models, and back.

With K the largest code that is a token of its own (127 unless told), ids are

======================  =======================================================================
0, 2 K                  K less, or K more, than what follows: codes of any size have a sequence
1 ... 2 K - 1           codes -(K - 1) ... K - 1, and the end of a larger code; K is silence
2 K + 1                 end of a row: what is left of it is 0
======================  =======================================================================

and 2 K + 2 is the size of the vocabulary, 256 unless told. Codes are written row after row, and
what a row is, is the order:

=============  ====================================================  ===========================
order          rows                                                  in a row
=============  ====================================================  ===========================
"frames"       frames, and of each its audio channels                bins, low ones first
"interleaved"  frames                                                bins, each of all channels
"bins"         bins, low ones first, and of each its audio channels  frames
=============  ====================================================  ===========================
"""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Int

from isincnet_jax.bank.uniform_quantizer import LARGEST_LEVEL
from isincnet_jax.dsp import checks, settling
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array

Order: TypeAlias = Literal["frames", "interleaved", "bins"]


@dataclasses.dataclass(frozen=True)
class TokenIds:
    """Token ids of codes: a vocabulary and an order; frozen, see the head of this module.

    Attributes:
        num_bins: codes of a frame and audio channel.
        audio_channels: of the recording.
        order: "frames", "interleaved" or "bins".
        largest: K, 2 or more; sizes the vocabulary.

    Raises:
        ValueError: at construction, for an unknown order and sizes out of range.

    Example:
        >>> ids = TokenIds(num_bins=4)
        >>> codes = np.array([[[3, 0, -1, 0], [0, 0, 0, 0], [130, 0, 0, 0]]])
        >>> ids.encode(codes)  # [audio channels, frames, bins] to a sequence
        array([130, 127, 126, 255, 255, 254, 130, 255], dtype=int32)
        >>> bool((ids.decode(ids.encode(codes)) == codes).all())
        True
    """

    num_bins: int
    audio_channels: int = 1
    order: Order = "frames"
    largest: int = 127

    def __post_init__(self) -> None:
        settling.settle_fields(self)
        checks.check_positive_integers(num_bins=self.num_bins, audio_channels=self.audio_channels)
        checks.check_choice("order", self.order, get_args(Order))
        if not 2 <= self.largest <= LARGEST_LEVEL:
            raise ValueError(f"largest={self.largest}: use 2 to {LARGEST_LEVEL}")

    @property
    def vocabulary(self) -> int:
        """Ids there are: 0 to this less 1."""
        return 2 * self.largest + 2

    @property
    def silence(self) -> int:
        """Id of code 0."""
        return self.largest

    @property
    def end_of_row(self) -> int:
        """Id that ends a row."""
        return 2 * self.largest + 1

    def encode(self, codes: Int[Array, "audio frames bins"]) -> Int[np.ndarray, " ids"]:
        """Ids of codes.

        Args:
            codes: signed integers [audio channels, frames, bins], as the quantizer of a
                :class:`.LappedCodec` makes them, up to 2^20 either way.

        Returns:
            int32 [ids], every row ended.

        Raises:
            TypeError: for codes that are no integers.
            ValueError: for other shapes, and codes out of range.
        """
        checks.check_codes(codes, -LARGEST_LEVEL, LARGEST_LEVEL)
        values = np.asarray(codes, np.int64)
        if values.ndim != 3 or values.shape[::2] != (self.audio_channels, self.num_bins):
            raise ValueError(
                f"codes of shape {values.shape}: [{self.audio_channels} audio channels, frames, "
                f"{self.num_bins} bins] are needed"
            )
        rows = self._to_rows(values)
        # Of each row what stands up to its last code that is not 0, and an end.
        columns = np.arange(rows.shape[1] + 1)
        used = np.max(np.where(rows != 0, columns[1:], 0), axis=1, initial=0)
        ended = np.concatenate([rows, np.zeros((len(rows), 1), np.int64)], axis=1)
        is_end = columns == used[:, None]
        kept = columns <= used[:, None]
        flat, is_end = ended[kept], is_end[kept]
        # A code of K or more in magnitude: so many times K, then the rest.
        repeats = np.abs(flat) // self.largest
        rest = flat - np.sign(flat) * repeats * self.largest
        ids = np.repeat(self.largest * (1 + np.sign(flat)), repeats + 1)
        ids[np.cumsum(repeats + 1) - 1] = np.where(is_end, self.end_of_row, rest + self.largest)
        return ids.astype(np.int32)

    @settles
    def decode(
        self, ids: Int[Array, " ids"], *, num_frames: int | None = None
    ) -> Int[np.ndarray, "audio frames bins"]:
        """Codes of ids, the inverse of :meth:`encode`.

        A sequence may stop anywhere: what is missing of a row, and of rows, is 0.

        Args:
            ids: integers [ids], 0 to ``vocabulary - 1``, from a model say.
            num_frames: of the clip; as many as there are rows for if None. "bins" needs it.

        Returns:
            int32 [audio channels, frames, bins].

        Raises:
            TypeError: for ids that are no integers.
            ValueError: for ids out of range, a row that is too long or too many of them, and an end
                amid a large code.
        """
        checks.check_codes(ids, 0, self.vocabulary - 1)
        values = np.asarray(ids, np.int64)
        if values.ndim != 1:
            raise ValueError(f"ids of shape {values.shape}: a sequence is needed")
        if num_frames is None and self.order == "bins":
            raise ValueError("num_frames=: of 'bins', whose rows are as long, it must be given")
        is_end = values == self.end_of_row
        is_part = (values == 0) | (values == 2 * self.largest)
        if np.any(is_end[1:] & is_part[:-1]):
            raise ValueError("a row ends amid a large code")
        # What was added up to here, and what of it a code begins with: the rest is the code.
        sums = np.cumsum(np.where(is_end, 0, values - self.largest))
        finished = np.flatnonzero(~is_part)
        codes = np.diff(sums[finished], prepend=0)
        ends = is_end[finished]
        if codes.size and np.max(np.abs(codes)) > LARGEST_LEVEL:
            raise ValueError(f"codes beyond {LARGEST_LEVEL}")
        row = np.cumsum(ends) - ends
        count = int(row[-1]) + 1 if len(row) else 0
        starts = np.flatnonzero(np.concatenate([[True], ends[:-1]])) if len(row) else row
        column = np.arange(len(row)) - starts[row]
        return self._of_rows(codes[~ends], row[~ends], column[~ends], count, num_frames)

    def _to_rows(self, codes: np.ndarray) -> np.ndarray:
        axes = {"frames": (1, 0, 2), "interleaved": (1, 2, 0), "bins": (2, 0, 1)}[self.order]
        rows = codes.transpose(axes)
        if self.order == "interleaved":
            return rows.reshape(rows.shape[0], -1)
        return rows.reshape(-1, rows.shape[2])

    def _of_rows(
        self,
        codes: np.ndarray,
        row: np.ndarray,
        column: np.ndarray,
        count: int,
        num_frames: int | None,
    ) -> np.ndarray:
        audio, bins = self.audio_channels, self.num_bins
        each = 1 if self.order == "interleaved" else audio
        frames = -(-count // each) if num_frames is None else num_frames
        shapes = {
            "frames": (frames, audio, bins),
            "interleaved": (frames, bins, audio),
            "bins": (bins, audio, frames),
        }
        shape = shapes[self.order]
        rows = np.zeros(shape, np.int32).reshape(
            (shape[0], -1) if self.order == "interleaved" else (-1, shape[2])
        )
        if count > len(rows) or (column.size and int(column.max()) >= rows.shape[1]):
            raise ValueError(
                f"ids of {count} rows, of up to {int(column.max(initial=-1)) + 1} codes: there are "
                f"{len(rows)} of {rows.shape[1]}"
            )
        rows[row, column] = codes
        axes = {"frames": (1, 0, 2), "interleaved": (2, 0, 1), "bins": (1, 2, 0)}[self.order]
        return np.ascontiguousarray(rows.reshape(shape).transpose(axes))
