"""Long signals in constant memory: blocks with exact joins.

A block is processed together with the context on both sides that its result depends on: the
reach of the filters for the frames of a block, and that of the synthesis kernels on top for its
samples. What the missing neighbours spoil lies in the context and is cut away, so that blocks
put end to end equal the result of the whole signal at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from isincnet_jax.layers import decoding, design
from isincnet_jax.layers.quantizer import Quantizer
from isincnet_jax.models.autoencoder import Codec

_BLOCK_FRAMES = 2048


class Segment(NamedTuple):
    """A stretch of rows with context.

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


def overlapped_segments(
    blocks: Iterable[np.ndarray], *, size: int, margin: int
) -> Iterator[Segment]:
    """Recuts a sequence of arrays into stretches of ``size`` rows with ``margin`` rows around.

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
        while len(buffer) > skip + size + 2 * margin:
            yield Segment(buffer[: skip + size + margin], start, skip, size, is_last=False)
            drop = max(skip + size - margin, 0)
            buffer, start, skip = buffer[drop:], start + drop, skip + size - drop
    if buffer is not None:
        yield Segment(buffer, start, skip, len(buffer) - skip, is_last=True)


def margin_frames(codec: Codec) -> int:
    """Context in frames that makes joins exact: twice the reach of both banks, and some."""
    solved = decoding.design_decoder(codec.spec, codec.model.decoder)
    taps = solved.taps + design.design_bank(codec.spec).kernels.shape[1]
    return 2 * -(-taps // codec.spec.hop_length) + 8


def encode_blocks(
    codec: Codec, blocks: Iterable[np.ndarray], *, block_frames: int = _BLOCK_FRAMES
) -> Iterator[np.ndarray]:
    """Encodes a long signal.

    Args:
        codec: any codec.
        blocks: float32 [time, audio channels], of any sizes.
        block_frames: frames per block; the memory used is proportional to it.

    Yields:
        float32 [frames, audio channels, channels]; put end to end they equal
        ``codec.encode`` of the whole signal.
    """
    hop = codec.spec.hop_length
    margin = margin_frames(codec)
    size = max(block_frames, margin)
    for segment in overlapped_segments(blocks, size=size * hop, margin=margin * hop):
        frames = np.asarray(codec.encode(np.ascontiguousarray(segment.rows.T)))
        first = design.frame_grid(codec.spec, segment.rows.shape[0]).first
        # Frame i of the segment lies at (first + i) hops from its start.
        begin = 0 if segment.start == 0 and segment.skip == 0 else segment.skip // hop - first
        end = None if segment.is_last else (segment.skip + segment.keep) // hop - first
        yield frames[:, begin:end].transpose(1, 0, 2)


def decode_blocks(
    codec: Codec,
    chunks: Iterable[np.ndarray],
    *,
    length: int,
    block_frames: int = _BLOCK_FRAMES,
) -> Iterator[np.ndarray]:
    """Decodes a long spectrogram.

    Args:
        codec: any codec.
        chunks: float32 [frames, audio channels, channels], of any sizes.
        length: samples of the signal.
        block_frames: frames per block.

    Yields:
        float32 [time, audio channels]; put end to end they equal ``codec.decode`` of the whole.

    Raises:
        ValueError: if the number of frames does not fit ``length``.
    """
    hop = codec.spec.hop_length
    margin = margin_frames(codec)
    size = max(block_frames, margin)
    total = design.frame_grid(codec.spec, length)
    seen = 0
    for segment in overlapped_segments(chunks, size=size, margin=margin):
        seen = segment.start + len(segment.rows)
        if seen > total.num_frames or (segment.is_last and seen != total.num_frames):
            raise ValueError(
                f"length={length} has {total.num_frames} frames, but {seen} or more were given"
            )
        spectrogram = np.ascontiguousarray(segment.rows.transpose(1, 0, 2))
        # The segment as a clip of its own: its first frame becomes the first frame of a clip.
        origin = segment.start * hop
        clip = (
            length - origin
            if segment.is_last
            else design.longest_length(codec.spec, len(segment.rows))
        )
        samples = np.asarray(codec.decode(spectrogram, length=clip)).T
        begin = segment.skip * hop if segment.skip else 0
        end = None if segment.is_last else (segment.skip + segment.keep) * hop
        yield samples[begin:end]


class Reconstruction(NamedTuple):
    """A block of input and what came back, both float32 [time, audio channels]."""

    target: np.ndarray
    prediction: np.ndarray


def reconstruct_blocks(
    codec: Codec,
    blocks: Iterable[np.ndarray],
    *,
    quantizer: Quantizer | None = None,
    block_frames: int = _BLOCK_FRAMES,
) -> Iterator[Reconstruction]:
    """Encodes and decodes a long signal, through tokens if a quantizer is given.

    Args:
        codec: any codec.
        blocks: float32 [time, audio channels], of any sizes.
        quantizer: its scales broadcast against [audio channels, frames, channels].
        block_frames: frames per block.

    Yields:
        Blocks of the signal with their reconstruction, in order.
    """
    hop = codec.spec.hop_length
    margin = margin_frames(codec)
    size = max(block_frames, margin)
    for segment in overlapped_segments(blocks, size=size * hop, margin=margin * hop):
        waveform = np.ascontiguousarray(segment.rows.T)
        spectrogram = codec.encode(waveform)
        if quantizer is not None:
            spectrogram = quantizer.decode(quantizer.encode(spectrogram))
        decoded = np.asarray(codec.decode(spectrogram, length=waveform.shape[1])).T
        kept = slice(segment.skip, segment.skip + segment.keep)
        yield Reconstruction(segment.rows[kept], decoded[kept])


def fit_quantizer(
    codec: Codec,
    blocks: Iterable[np.ndarray],
    *,
    quantizer: Quantizer,
    block_frames: int = _BLOCK_FRAMES,
) -> Quantizer:
    """Scales a quantizer to the peaks of a long signal, per audio channel and channel.

    Returns:
        A quantizer with scales [audio channels, 1, channels].
    """
    largest: np.ndarray | None = None
    for frames in encode_blocks(codec, blocks, block_frames=block_frames):
        if not len(frames):
            continue
        scale = np.asarray(quantizer.fit(frames.transpose(1, 0, 2)).scale)
        largest = scale if largest is None else np.maximum(largest, scale)
    if largest is None:
        return quantizer
    return quantizer.replace(scale=largest)  # type: ignore[attr-defined]


def quantize_rows(rows: Iterable[np.ndarray], quantizer: Quantizer) -> Iterator[np.ndarray]:
    """Codes of rows [frames, audio channels, channels], in the smallest unsigned type."""
    for chunk in rows:
        codes = np.asarray(quantizer.encode(jnp.asarray(chunk.transpose(1, 0, 2))))
        yield codes.transpose(1, 0, 2).astype(quantizer.storage_dtype)


def dequantize_rows(rows: Iterable[np.ndarray], quantizer: Quantizer) -> Iterator[np.ndarray]:
    """The inverse of :func:`quantize_rows`, float32."""
    for chunk in rows:
        codes = jnp.asarray(chunk.transpose(1, 0, 2).astype(np.int32))
        yield np.asarray(quantizer.decode(codes)).transpose(1, 0, 2)


def exactly(blocks: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Cuts a sequence of blocks to ``length`` rows, or fills it up with zeros.

    A resampler may return a sample more or less than the original had.
    """
    left = length
    like: np.ndarray | None = None
    for block in blocks:
        like = block
        yield block[:left]
        left -= min(left, len(block))
    if left and like is not None:
        yield np.zeros((left, *like.shape[1:]), like.dtype)
