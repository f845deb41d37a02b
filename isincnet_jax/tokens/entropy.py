"""Entropy of codes, estimated and coded: rows of integers to bytes and back, bit for bit.

Estimates count what a coder with ideal arithmetic would need. The coder is the range coder of
``constriction`` (``pip install 'isincnet-jax[entropy]'``) with the integer model of
:mod:`.code_model`; its size is the model's own estimate plus at most 8 bytes
per block.

References:
    R. Bamler, "Understanding entropy coding with asymmetric numeral systems (ANS): a
        statistician's perspective", 2022. https://arxiv.org/abs/2201.01741 (constriction).
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from isincnet_jax import extras
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.tokens.code_model import ESCAPE, HALF_ALPHABET, CodeModel, Context
from isincnet_jax.tokens.uniform_quantizer import LARGEST_LEVEL

_CHUNK_BITS = 12
_LENGTHS = 32  # bit lengths of what lies beyond a histogram


def order0_bits(codes: np.ndarray) -> float:
    """Order-0 entropy of integers in bits, all of them together: the histogram is free.

    Args:
        codes: integers of any shape.

    Returns:
        ``sum over values of -count log2(count / total)``.
    """
    _, counts = np.unique(codes, return_counts=True)
    return float(-np.sum(counts * np.log2(counts / counts.sum())))


def order0_bits_by_channel(codes: np.ndarray) -> float:
    """Order-0 entropy of integers in bits, with a histogram for every channel.

    Args:
        codes: integers [..., channels].

    Returns:
        The sum of :func:`order0_bits` over the channels.
    """
    return sum(order0_bits(codes[..., channel]) for channel in range(codes.shape[-1]))


def model_bits(
    codes: np.ndarray, spec: FilterbankSpec, *, turns: np.ndarray | None = None
) -> float:
    """Entropy of codes by the adaptive model, in bits: what an ideal coder would need with it.

    Args:
        codes: signed codes, integers [frames, audio channels, channels], up to 2^20 either way.
        spec: the bank they come from.
        turns: of :func:`frame_turns`, by default that of the bank.

    Returns:
        Bits of all codes together.

    Raises:
        ValueError: for codes beyond plus and minus 2^20.
        ImportError: without constriction.
    """
    coder = RowEncoder(
        num_audio=codes.shape[1],
        num_parts=spec.num_channels // spec.num_bins,
        turns=frame_turns(spec) if turns is None else turns,
    )
    for row in codes:
        coder.add(row)
    return coder.model_bits


def frame_turns(spec: FilterbankSpec) -> np.ndarray:
    """Turns of a tone at each bin's centre from frame to frame, modulo 1.

    Args:
        spec: the bank.

    Returns:
        round(2^16 center_hz hop_length / sample_rate) modulo 2^16, int64 [bins].
    """
    center_hz, _ = spec.centers_and_bandwidths()
    turns = np.asarray(center_hz, np.float64) * spec.hop_length / spec.sample_rate
    return np.rint(np.mod(turns, 1.0) * 65536).astype(np.int64) & 65535


def _load_constriction() -> Any:
    """The module ``constriction``.

    Raises:
        ImportError: if it is not installed.
    """
    with extras.importing("constriction"):
        return importlib.import_module("constriction")


def _check_levels(rows: np.ndarray) -> None:
    if rows.size and max(int(rows.max()), -int(rows.min())) > LARGEST_LEVEL:
        raise ValueError(
            f"codes up to {max(int(rows.max()), -int(rows.min()))}: at most {LARGEST_LEVEL} can "
            "be coded; use a larger step"
        )


class _RowCoder:
    """What encoder and decoder share: the model, and the order of the symbols."""

    def __init__(self, *, num_audio: int, num_parts: int, turns: np.ndarray) -> None:
        stream = _load_constriction().stream
        self._queue = stream.queue
        self._histogram = stream.model.Categorical(perfect=False)
        self._uniform = stream.model.Uniform()
        self._model = CodeModel(
            num_audio=num_audio, num_bins=len(turns), num_parts=num_parts, turns=turns
        )

    def _to_parts(self, row: np.ndarray) -> np.ndarray:
        """[audio channels, channels] to int64 [parts, audio channels, bins]."""
        parts, audio, bins = self._model.shape
        return row.reshape(audio, parts, bins).transpose(1, 0, 2).astype(np.int64)

    def _to_row(self, parts: np.ndarray) -> np.ndarray:
        return parts.transpose(1, 0, 2).reshape(parts.shape[1], -1)


class RowEncoder(_RowCoder):
    """Codes rows into blocks of bytes. The model goes on from block to block.

    Attributes:
        model_bits: what the model finds that the rows so far need.

    Args:
        num_audio: audio channels.
        num_parts: 2 for a complex bank, 1 for a real one.
        turns: of :func:`frame_turns`; the decoder must be given the same.

    Raises:
        ImportError: without constriction.
    """

    def __init__(self, *, num_audio: int, num_parts: int, turns: np.ndarray) -> None:
        super().__init__(num_audio=num_audio, num_parts=num_parts, turns=turns)
        self.model_bits = 0.0
        self._coder = self._queue.RangeEncoder()

    def encode(self, rows: np.ndarray) -> bytes:
        """A block of bytes for rows of signed codes; the model goes on from the block before.

        Args:
            rows: integers [frames, audio channels, channels], up to 2^20 either way.

        Returns:
            The words of the range coder, little-endian, 4 bytes each.

        Raises:
            ValueError: for codes beyond plus and minus 2^20.
        """
        self._coder = self._queue.RangeEncoder()  # clear() of version 0.5 leaves a rest behind
        for row in rows:
            self.add(row)
        return self._coder.get_compressed().astype("<u4").tobytes()

    def add(self, row: np.ndarray) -> None:
        """Codes a row into the block that is being made.

        Args:
            row: integers [audio channels, channels], up to 2^20 either way.

        Raises:
            ValueError: for codes beyond plus and minus 2^20.
        """
        _check_levels(row)
        context = self._model.context()
        frame = self._to_parts(row)
        # The sign folds histograms: one serves predictions of either sign.
        residual = context.sign * frame - context.center
        rounded = residual + ((1 << context.shift) >> 1)
        # residual = (coarse << shift) + low - half: the nearest step and a rest of shift bits.
        coarse = rounded >> context.shift
        beyond = np.abs(coarse) > HALF_ALPHABET
        symbols = np.where(beyond, ESCAPE, coarse + HALF_ALPHABET)
        # One row of counts for every code of the frame, [codes, ALPHABET].
        table = self._model.counts[context.histogram.reshape(-1)].astype(np.float32)
        flat = symbols.reshape(-1)
        self._coder.encode(flat.astype(np.int32), self._histogram, table)
        # -log2(count of the symbol / all counts of its histogram)
        chosen = np.take_along_axis(table, flat[:, None], axis=1)[:, 0]
        self.model_bits += float(np.sum(np.log2(table.sum(axis=1) / chosen)))
        if context.shift.any():
            self._add_flat(rounded & ((1 << context.shift) - 1), context.shift)
        if beyond.any():
            self._add_far(coarse[beyond])
        self._model.update(frame, symbols)

    def _add_flat(self, values: np.ndarray, bits: np.ndarray) -> None:
        """Codes the low ``bits`` bits of values, in two chunks, as they are."""
        for shift in (0, _CHUNK_BITS):
            width = np.clip(bits - shift, 0, _CHUNK_BITS)
            some = width > 0
            if some.any():
                chunk = (values[some] >> shift) & ((1 << width[some]) - 1)
                sizes = (1 << width[some]).astype(np.int32)
                self._coder.encode(chunk.astype(np.int32), self._uniform, sizes)
        self.model_bits += float(np.sum(bits))

    def _add_far(self, coarse: np.ndarray) -> None:
        """Codes values beyond the histogram: the bit length, and the bits (Elias's gamma code)."""
        value = 2 * (np.abs(coarse) - HALF_ALPHABET) - (coarse < 0)  # 1, 2, ...
        length = np.frexp(value.astype(np.float64))[1].astype(np.int64) - 1
        sizes = np.full(length.shape, _LENGTHS, np.int32)
        self._coder.encode(length.astype(np.int32), self._uniform, sizes)
        self.model_bits += float(np.log2(_LENGTHS) * len(length))
        self._add_flat(value - (1 << length), length)


class RowDecoder(_RowCoder):
    """The inverse of :class:`RowEncoder`: give it the blocks in their order.

    Args:
        num_audio: audio channels.
        num_parts: 2 for a complex bank, 1 for a real one.
        turns: what the encoder was given.

    Raises:
        ImportError: without constriction.
    """

    def decode(self, data: bytes, num_rows: int) -> np.ndarray:
        """Rows of a block.

        Args:
            data: the bytes of :meth:`RowEncoder.encode`, the blocks in their order.
            num_rows: frames in the block.

        Returns:
            Signed codes, int32 [num_rows, audio channels, channels].

        Raises:
            ValueError: for bytes that no encoder writes. Not every such block is found: check
                sums first.
        """
        if len(data) % 4:
            raise ValueError(f"{len(data)} bytes are no sequence of 4-byte words")
        words = np.frombuffer(data, "<u4").astype(np.uint32)
        parts, audio, bins = self._model.shape
        rows = np.empty((num_rows, audio, parts * bins), np.int32)
        try:
            coder = self._queue.RangeDecoder(words)
            for row in rows:
                row[...] = self._next(coder)
            if not coder.maybe_exhausted():
                raise ValueError("words beyond the last row")
        except AssertionError as error:  # constriction's way to say it
            raise ValueError("a sequence of words that no encoder writes") from error
        return rows

    def _next(self, coder: Any) -> np.ndarray:
        context = self._model.context()
        index = context.histogram.reshape(-1)
        table = self._model.counts[index].astype(np.float32)
        symbols = coder.decode(self._histogram, table).astype(np.int64).reshape(self._model.shape)
        residual = self._residual(coder, context, symbols)
        frame = context.sign * (residual + context.center)
        if int(np.max(np.abs(frame))) > LARGEST_LEVEL:
            raise ValueError(f"codes beyond {LARGEST_LEVEL}")
        self._model.update(frame, symbols)
        return self._to_row(frame)

    def _residual(self, coder: Any, context: Context, symbols: np.ndarray) -> np.ndarray:
        coarse = symbols - HALF_ALPHABET
        beyond = symbols == ESCAPE
        low: np.ndarray | int = 0
        if context.shift.any():
            low = self._read_flat(coder, context.shift)
        if beyond.any():
            sizes = np.full(int(np.count_nonzero(beyond)), _LENGTHS, np.int32)
            length = coder.decode(self._uniform, sizes).astype(np.int64)
            if int(length.max()) > 2 * _CHUNK_BITS:
                raise ValueError("a code of too many bits")
            value = self._read_flat(coder, length) + (1 << length)
            # The inverse of _add_far: odd values are negative.
            distance = ((value + 1) >> 1) + HALF_ALPHABET
            coarse[beyond] = np.where(value & 1, -distance, distance)
        return (coarse << context.shift) + low - ((1 << context.shift) >> 1)

    def _read_flat(self, coder: Any, bits: np.ndarray) -> np.ndarray:
        values = np.zeros(bits.shape, np.int64)
        for shift in (0, _CHUNK_BITS):
            width = np.clip(bits - shift, 0, _CHUNK_BITS)
            some = width > 0
            if some.any():
                sizes = (1 << width[some]).astype(np.int32)
                values[some] |= coder.decode(self._uniform, sizes).astype(np.int64) << shift
        return values
