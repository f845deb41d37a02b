"""Long signals in constant memory: blocks with exact joins.

A block is processed together with the context on both sides that its result depends on: the
reach of the filters for the frames of a block, and that of the synthesis kernels on top for its
samples. What the missing neighbours spoil lies in the context and is cut away, so that blocks
put end to end equal the result of the whole signal at once.

Programs are compiled for few shapes, whatever the lengths: blocks are filled up with zeros to one
of a handful of sizes, and what the zeros made is cut away. Only banks that reflect decode, and
reconstruct, the last block (the only one of a short clip) at its exact length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax.bank.codec import Codec, decode_filled
from isincnet_jax.bank.quantizer import Quantizer
from isincnet_jax.bank.sincnet import check_refinements
from isincnet_jax.dsp.settling import settles

_BLOCK_FRAMES = 2048
_FEWEST_FRAMES = 128
_PIECE_FRAMES = 1024


class Segment(NamedTuple):
    """Segment of a sequence: a stretch of rows with context.

    Attributes:
        rows: [size, ...], context included.
        start: index of the first row in the whole sequence.
        skip: rows of context before the block.
        keep: rows of the block.
        is_last: whether the sequence ends here.
    """

    rows: np.ndarray
    start: int
    skip: int
    keep: int
    is_last: bool


@settles
def overlapped_segments(
    blocks: Iterable[np.ndarray], *, size: int, margin: int
) -> Iterator[Segment]:
    """Overlapped segments of a sequence: ``size`` rows with ``margin`` rows of context around.

    Args:
        blocks: arrays that follow each other along axis 0, of any sizes.
        size: rows per block.
        margin: rows of context on either side, fewer only at the ends of the sequence.

    Yields:
        Segments whose blocks, put end to end, are the sequence. The last block has up to
        ``size + margin`` rows, so that no short stretch is left over.
    """
    buffer: np.ndarray | None = None
    start = skip = 0
    for block in blocks:
        buffer = block if buffer is None else np.concatenate([buffer, block])
        # A margin more than a block needs stays back, so that the last block is never a short one.
        while len(buffer) > skip + size + 2 * margin:
            yield Segment(buffer[: skip + size + margin], start, skip, size, is_last=False)
            # Rows before the next block's context are done with.
            drop = max(skip + size - margin, 0)
            buffer, start, skip = buffer[drop:], start + drop, skip + size - drop
    if buffer is not None:
        yield Segment(buffer, start, skip, len(buffer) - skip, is_last=True)


def _margin_frames(codec: Codec) -> int:
    """Context in frames that makes joins exact: twice the reach of both banks, and some."""
    taps = codec.model.solved.taps + codec.spec.bank.taps
    return 2 * -(-taps // codec.spec.hop_length) + 8


class _Sizes(NamedTuple):
    """How a signal is cut, in frames.

    Attributes:
        margin: context on either side.
        size: of a block without context.
        most: of the largest segment, with what is filled up.
    """

    margin: int
    size: int
    most: int

    def filled(self, num_frames: int) -> int:
        """The smallest of ``most``, ``most / 2``, ``most / 4``, ... that holds ``num_frames``."""
        found = self.most
        while found > num_frames and -(-found // 2) >= max(num_frames, self.margin, _FEWEST_FRAMES):
            found = -(-found // 2)
        return max(found, num_frames)


def _sizes(codec: Codec, block_frames: int, refinements: int = 0) -> _Sizes:
    margin = (1 + check_refinements(refinements)) * _margin_frames(codec)
    size = max(block_frames, margin)
    return _Sizes(margin, size, size + 4 * margin)


def _fill_up(rows: np.ndarray, size: int) -> np.ndarray:
    """Rows with zeros behind them."""
    if len(rows) == size:
        return rows
    return np.concatenate([rows, np.zeros((size - len(rows), *rows.shape[1:]), rows.dtype)])


def _filled_samples(codec: Codec, segment: Segment, sizes: _Sizes) -> np.ndarray:
    """The samples of a segment, reflected as the bank reflects them and filled up with zeros."""
    spec, samples = codec.spec, segment.rows
    if spec.padding == "reflect" and segment.is_last:
        # A frame reaches at most taps behind the end, and one more hop with the frame for the end.
        beyond = spec.bank.taps + spec.hop_length
        mode = "reflect" if len(samples) > 1 else "edge"
        samples = np.pad(samples, ((0, beyond), (0, 0)), mode=mode)
    num_hops = sizes.filled(-(-len(samples) // spec.hop_length))
    return np.ascontiguousarray(_fill_up(samples, num_hops * spec.hop_length).T)


@settles
def encode_blocks(
    codec: Codec, blocks: Iterable[np.ndarray], *, block_frames: int = _BLOCK_FRAMES
) -> Iterator[np.ndarray]:
    """Spectrogram of a long signal, block by block.

    Args:
        codec: any codec.
        blocks: float32 [time, audio channels], of any sizes.
        block_frames: frames per block; the memory used is proportional to it.

    Yields:
        float32 [frames, audio channels, channels]; put end to end they equal
        ``codec.encode`` of the whole signal.
    """
    hop = codec.spec.hop_length
    sizes = _sizes(codec, block_frames)
    for segment in overlapped_segments(blocks, size=sizes.size * hop, margin=sizes.margin * hop):
        frames = np.asarray(codec.encode(_filled_samples(codec, segment, sizes)))
        first, num_frames = codec.spec.bank.frame_grid(len(segment.rows))
        # Frame i of the segment lies at (first + i) hops from its start.
        begin = 0 if segment.start == 0 and segment.skip == 0 else segment.skip // hop - first
        end = num_frames if segment.is_last else (segment.skip + segment.keep) // hop - first
        yield frames[:, begin:end].transpose(1, 0, 2)


@settles
def decode_blocks(
    codec: Codec,
    chunks: Iterable[np.ndarray],
    *,
    length: int,
    refinements: int = 0,
    block_frames: int = _BLOCK_FRAMES,
) -> Iterator[np.ndarray]:
    """Waveform of a long spectrogram, block by block.

    Args:
        codec: any codec.
        chunks: float32 [frames, audio channels, channels], of any sizes.
        length: samples of the signal.
        refinements: as of :meth:`.Codec.decode`.
        block_frames: frames per block.

    Yields:
        float32 [time, audio channels]; put end to end they equal ``codec.decode`` of the whole.

    Raises:
        ValueError: if the number of frames does not fit ``length``.
    """
    hop = codec.spec.hop_length
    sizes = _sizes(codec, block_frames, refinements)
    total = codec.spec.bank.frame_grid(length)
    seen = 0
    for segment in overlapped_segments(chunks, size=sizes.size, margin=sizes.margin):
        seen = segment.start + len(segment.rows)
        if seen > total.num_frames or (segment.is_last and seen != total.num_frames):
            raise ValueError(
                f"length={length} has {total.num_frames} frames, but {seen} or more were given"
            )
        # The segment as a clip of its own: its first frame becomes the first frame of a clip.
        left = length - segment.start * hop
        rows, clip = segment.rows, left
        if codec.spec.padding == "zeros" or not segment.is_last:
            rows = _fill_up(rows, sizes.filled(len(rows)))
            clip = codec.spec.bank.longest_length(len(rows))
        spectrogram = np.ascontiguousarray(rows.transpose(1, 0, 2))
        decoded = _decoded(codec, spectrogram, size=clip, end=left, refinements=refinements)
        samples = np.asarray(decoded).T
        end = left if segment.is_last else (segment.skip + segment.keep) * hop
        yield samples[segment.skip * hop : end]


def _decoded(codec: Codec, spectrogram: Any, *, size: int, end: int, refinements: int) -> jax.Array:
    """``size`` samples, the first ``end`` of them a clip whose frames are not filled up."""
    if size <= end:
        return jnp.asarray(codec.decode(spectrogram, length=size, refinements=refinements))
    found = decode_filled(codec, spectrogram, length=size, end=end, refinements=refinements)
    return jnp.asarray(found)


class Reconstruction(NamedTuple):
    """Reconstruction of a block: the input and what came back, float32 [time, audio channels]."""

    target: np.ndarray
    prediction: np.ndarray


@settles
def reconstruct_blocks(
    codec: Codec,
    blocks: Iterable[np.ndarray],
    *,
    quantizer: Quantizer | None = None,
    refinements: int = 0,
    block_frames: int = _BLOCK_FRAMES,
) -> Iterator[Reconstruction]:
    """Reconstruction of a long signal, block by block, through tokens if a quantizer is given.

    Args:
        codec: any codec.
        blocks: float32 [time, audio channels], of any sizes.
        quantizer: its scales broadcast against [audio channels, frames, channels].
        refinements: as of :meth:`.Codec.decode`.
        block_frames: frames per block.

    Yields:
        Blocks of the signal with their reconstruction, in order.
    """
    hop = codec.spec.hop_length
    sizes = _sizes(codec, block_frames, refinements)
    for segment in overlapped_segments(blocks, size=sizes.size * hop, margin=sizes.margin * hop):
        waveform = np.ascontiguousarray(segment.rows.T)
        if codec.spec.padding == "zeros" or not segment.is_last:
            waveform = _filled_samples(codec, segment, sizes)
        spectrogram = codec.encode(waveform)
        if quantizer is not None:
            spectrogram = quantizer.decode(quantizer.encode(spectrogram))
            # Not every code gives 0 for 0, but the frames behind the end are not there.
            num_frames = codec.spec.bank.frame_grid(len(segment.rows)).num_frames
            spectrogram = _without_frames_from(spectrogram, num_frames)
        size, end = waveform.shape[1], len(segment.rows)
        found = _decoded(codec, spectrogram, size=size, end=end, refinements=refinements)
        decoded = np.asarray(found).T
        kept = slice(segment.skip, segment.skip + segment.keep)
        yield Reconstruction(segment.rows[kept], decoded[kept])


@jax.jit
def _without_frames_from(spectrogram: jax.Array, num_frames: int) -> jax.Array:
    kept = jnp.arange(spectrogram.shape[-2])[:, None] < num_frames
    return jnp.where(kept, spectrogram, jnp.zeros((), spectrogram.dtype))


@settles
def fit_quantizer(
    codec: Codec,
    blocks: Iterable[np.ndarray],
    *,
    quantizer: Quantizer,
    block_frames: int = _BLOCK_FRAMES,
) -> Quantizer:
    """Quantizer scaled to the peaks of a long signal, per audio channel and channel.

    Args:
        codec: any codec.
        blocks: float32 [time, audio channels], of any sizes.
        quantizer: whose bits and code are kept.
        block_frames: frames per block.

    Returns:
        A quantizer with scales [audio channels, 1, channels]; the given one if there is no frame.
    """
    largest: np.ndarray | None = None
    for frames in filter(len, encode_blocks(codec, blocks, block_frames=block_frames)):
        peak = np.max(np.abs(frames), axis=0)[:, None, :]
        largest = peak if largest is None else np.maximum(largest, peak)
    if largest is None:
        return quantizer
    scale = np.asarray(quantizer.fit(jnp.asarray(largest)).scale)
    return quantizer.replace(scale=scale)  # type: ignore[attr-defined]


def _pieces(rows: Iterable[np.ndarray]) -> Iterator[tuple[jax.Array, int]]:
    """Rows as [audio channels, frames, channels] of one size, and how many frames count."""
    for chunk in rows:
        for start in range(0, len(chunk), _PIECE_FRAMES):
            piece = chunk[start : start + _PIECE_FRAMES]
            yield jnp.asarray(_fill_up(piece, _PIECE_FRAMES).transpose(1, 0, 2)), len(piece)


def quantize_rows(rows: Iterable[np.ndarray], quantizer: Quantizer) -> Iterator[np.ndarray]:
    """Codes of frames, in the smallest unsigned type.

    Args:
        rows: float32 [frames, audio channels, channels], of any sizes.
        quantizer: its scales broadcast against [audio channels, frames, channels].

    Yields:
        uint8 or uint16, [up to 1024 frames, audio channels, channels].
    """
    for piece, count in _pieces(rows):
        codes = np.asarray(quantizer.encode(piece))[:, :count]
        yield codes.transpose(1, 0, 2).astype(quantizer.storage_dtype)


def dequantize_rows(rows: Iterable[np.ndarray], quantizer: Quantizer) -> Iterator[np.ndarray]:
    """Coefficients of codes: the inverse of :func:`quantize_rows`.

    Args:
        rows: integers [frames, audio channels, channels], of any sizes.
        quantizer: its scales broadcast against [audio channels, frames, channels].

    Yields:
        float32 [up to 1024 frames, audio channels, channels].
    """
    for piece, count in _pieces(chunk.astype(np.int32) for chunk in rows):
        yield np.asarray(quantizer.decode(piece))[:, :count].transpose(1, 0, 2)


def exactly(blocks: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Blocks of ``length`` rows in all, cut or filled up with zeros.

    A resampler may return a sample more or less than the original had.

    Args:
        blocks: arrays that follow each other along axis 0.
        length: rows, 0 or more.

    Yields:
        The blocks, and one of zeros where rows are missing; nothing for no blocks at all.
    """
    left = length
    like: np.ndarray | None = None
    for block in blocks:
        like = block
        yield block[:left]
        left -= min(left, len(block))
    if left and like is not None:
        yield np.zeros((left, *like.shape[1:]), like.dtype)
