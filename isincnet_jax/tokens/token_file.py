"""Token files, ``.isn``: the entropy-coded codes of a recording's lapped frames.

All numbers are little-endian::

    8 bytes   magic: 89 "ISN" 0D 0A 1A 0A (damaged by any text-mode transfer)
    u8        format version, 2
    60 bytes  header: bank, lengths, rates, quantiser, see :mod:`.token_header`
    u32       CRC-32 of all bytes before it
    blocks, each
    u32       bytes of the payload
    u32       CRC-32 of the block's index (u32), the number above and the payload
    ...       payload, see :mod:`.block_coder`

What a block holds follows from the header, and each can be decoded alone. A file ends with its
last block. Every byte is under a checksum that is verified before anything is decoded, every size
is bounded before anything is allocated, and blocks make the memory used independent of the length
of the recording.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from isincnet_jax.bank.lapped_spec import LappedSpec
from isincnet_jax.tokens import band_steps, block_coder, lapped_frames, noise_shape, step_search
from isincnet_jax.tokens.archive import ArchiveError
from isincnet_jax.tokens.block_coder import Layout
from isincnet_jax.tokens.lapped_frames import Tiling
from isincnet_jax.tokens.noise_shape import Like
from isincnet_jax.tokens.step_search import Block, Errors, Spool
from isincnet_jax.tokens.token_header import (
    CURVE,
    FOLLOWING,
    LARGEST_FRAME,
    UNIFORM,
    TokenHeader,
)

MAGIC = b"\x89ISN\r\n\x1a\n"
_VERSION = 2
_PREFIX = len(MAGIC) + 1
_CRC = struct.Struct("<I")
_BLOCK = struct.Struct("<II")
_LARGEST_PAYLOAD = 1 << 27
_SHORTEST_FRAME, _LONGEST_FRAME_S = 128, 0.128
_TRADE = 0.1
"""Squared error, in steps, that a bit is worth where rounding is optimised."""
_OPTIMISED_TOLERANCE_DB = 0.01
_FIRST_QUALITY = 5.0
"""From which a rate is searched."""


class TokenFileError(ArchiveError):
    """A file that is no intact token file; the message names it and the reason."""


class Written(NamedTuple):
    """What was written.

    Attributes:
        header: of the file.
        num_bytes: of the whole file.
        snr_db: of the codes; infinite for a silent recording.
    """

    header: TokenHeader
    num_bytes: int
    snr_db: float


def switching_tiling(spec: LappedSpec) -> Tiling:
    """Frames that follow the recording: of 128 samples to 128 ms, in octaves of the hop.

    Args:
        spec: of the bank.

    Returns:
        Largest and smallest size: the hop, doubled and halved some times.
    """
    largest = smallest = spec.hop_length
    while 2 * largest <= min(_LONGEST_FRAME_S * spec.sample_rate, LARGEST_FRAME):
        largest *= 2
    while smallest % 4 == 0 and smallest // 2 >= _SHORTEST_FRAME:
        smallest //= 2
    return Tiling(spec, largest, smallest)


def write_token_file(
    path: str | Path,
    read: Callable[[], Iterable[np.ndarray]],
    *,
    spec: LappedSpec,
    step: float | None = None,
    snr_db: float | None = None,
    quality: float | None = None,
    kbps: float | None = None,
    curve: bool = False,
    like: Like | None = None,
    optimise: bool = False,
    original_rate: int | None = None,
    original_length: int | None = None,
) -> Written:
    """Writes a token file at ``path`` (not atomic: give a temporary path and rename).

    Args:
        path: where to.
        read: starts reading the recording: blocks [time, audio channels] at the rate of ``spec``.
        spec: a tiled lapped bank.
        step: of the codes; or
        snr_db: that they are to reach; or
        quality: for ears, steps by band, see :func:`.band_steps.quality_step`; or
        kbps: for ears, of the whole file, within 1 %; or
        like: file whose quantiser and bands of middle and side the recording gets, of
            :func:`read_like`; ``spec`` is its bank. One of these is needed.
        curve: for ears, steps by band that stay the same throughout, so that tokens of the decoded
            sound are the same if they are made ``like`` this file.
        optimise: let the frames follow the recording, correct magnitudes by their mean error, and
            round towards 0 where that is worth it. Fewer bits at a ratio; codes of another encoding
            then differ. Not for ears: zeros in the place of small coefficients are heard.
        original_rate: Hz, of the recording; the rate of ``spec`` if None.
        original_length: of the recording at its own rate.

    Returns:
        Header, bytes, and the ratio that was reached.

    Raises:
        ValueError: for no samples, NaN, codes beyond 2^20, a silent recording without ``step`` or
            ``quality``, ``kbps`` that it cannot have, or another number of audio channels than
            ``like`` has.
    """
    path = Path(path)
    length, audio = _survey(read)
    is_for_ears = quality is not None or kbps is not None
    if is_for_ears and optimise:
        raise ValueError("optimise=: for step= and snr_db=; ears hear what it rounds away")
    if curve and not is_for_ears:
        raise ValueError("curve=: quality= or kbps= is needed")
    if like is not None and like.header.audio_channels != audio:
        raise ValueError(
            f"like=: a file of {like.header.audio_channels} audio channels, the recording has "
            f"{audio}; bring it to as many"
        )
    with Spool(path.parent) as spool:
        tiling = Tiling(spec, spec.hop_length, spec.hop_length)
        if step is None or not optimise:
            sizes = [[tiling.largest]] * (length // tiling.largest)
            _fill(spool, read(), tiling, sizes, (length, audio), like=like)
        if like is not None:
            chosen = like.header.step
        elif is_for_ears:
            chosen = band_steps.quality_step(_FIRST_QUALITY if quality is None else quality)
        else:
            chosen = _plain_step(spool, snr_db, length * audio) if step is None else step
        mode = (CURVE if curve else FOLLOWING) if is_for_ears else UNIFORM
        mode = mode if like is None else like.header.mode
        header = TokenHeader(
            spec=spec,
            audio_channels=audio,
            length=length,
            original_length=length if original_length is None else original_length,
            original_rate=spec.sample_rate if original_rate is None else original_rate,
            step=float(np.float32(chosen)),
            largest=tiling.largest,
            smallest=tiling.smallest,
            mode=mode,
            num_shared=band_steps.num_shared(spec.hop_length, spec.sample_rate)
            if mode == FOLLOWING
            else 0,
        )
        if kbps is not None:
            header = _at_rate(spool, header, kbps)
        if not optimise:
            return _write(path, header, spool, trade=0.0, like=like)
    return _write_optimised(path, read, header, None if step is not None else snr_db)


def _at_rate(spool: Spool, header: TokenHeader, kbps: float) -> TokenHeader:
    """The header with the step at which the file has a rate."""

    def trial(step: float) -> float:
        tried = dataclasses.replace(header, step=step)
        num_bytes = _PREFIX + TokenHeader.SIZE + _CRC.size
        for block in noise_shape.with_indices(spool, tried):
            num_bytes += _BLOCK.size + len(_encoded(block, tried, Errors(step), trade=0.0))
        return 8e-3 * num_bytes * header.spec.sample_rate / header.length

    return dataclasses.replace(
        header, step=step_search.search_rate(trial, start=header.step, kbps=kbps)
    )


def _plain_step(spool: Spool, snr_db: float | None, num_codes: int) -> float:
    if not spool.energy:
        raise ValueError("snr_db=: the recording is silent, so that it has no ratio; use step=")
    if snr_db is None:
        raise ValueError("step= or snr_db= is needed")
    return step_search.search_step(
        lambda step: step_search.measure_snr(spool, step),
        # Rounding to a step is noise of variance step^2 / 12.
        start=math.sqrt(12 * spool.energy / num_codes) * 10 ** (-snr_db / 20),
        snr_db=snr_db,
        tolerance_db=step_search.TOLERANCE_DB,
    )


def _write_optimised(
    path: Path,
    read: Callable[[], Iterable[np.ndarray]],
    plain: TokenHeader,
    snr_db: float | None,
) -> Written:
    """Writes a file whose frames and codes follow the recording; the step is searched for a ratio.

    Args:
        path: where to.
        read: starts reading the recording.
        plain: header of the file with frames of one size.
        snr_db: aimed at, or None for the step of the header.
    """
    tiling = switching_tiling(plain.spec)
    header = dataclasses.replace(plain, largest=tiling.largest, smallest=tiling.smallest)
    sizes = list(lapped_frames.choose_sizes(read(), tiling, step=plain.step))
    with Spool(path.parent) as spool:
        _fill(spool, read(), tiling, sizes, (plain.length, plain.audio_channels))

        def trial(step: float) -> float:
            errors = Errors(step)
            for block in spool:
                _encoded(block, header, errors, trade=_TRADE)
            return errors.result(spool.energy, with_offsets=True).snr_db

        if snr_db is not None:
            step = step_search.search_step(
                trial,
                start=0.93 * plain.step,
                snr_db=snr_db,
                tolerance_db=_OPTIMISED_TOLERANCE_DB,
            )
            header = dataclasses.replace(header, step=step)
        return _write(path, header, spool, trade=_TRADE)


def _survey(read: Callable[[], Iterable[np.ndarray]]) -> tuple[int, int]:
    """Samples and audio channels of a recording, which must be numbers."""
    length, audio = 0, 0
    for block in read():
        if not np.isfinite(block).all():
            raise ValueError("the recording has samples that are no finite numbers")
        length, audio = length + len(block), block.shape[1]
    if not length:
        raise ValueError("the recording has no samples")
    return length, audio


def _fill(
    spool: Spool,
    samples: Iterable[np.ndarray],
    tiling: Tiling,
    sizes: list[list[int]],
    shape: tuple[int, int],
    *,
    like: Like | None = None,
) -> None:
    """Fills a spool with the coefficients of a recording of [length, audio channels]."""
    length, audio = shape
    tail, rest = tiling.tail(length)
    nominal = [size for frame in sizes for size in frame] + tail
    frames = lapped_frames.analyse(samples, nominal, rest, tiling.spec)
    start = 0
    plans = block_coder.plan_blocks(tiling, length, audio)
    for index, (superframes, ending, extra) in enumerate(plans):
        layout = Layout(None, sizes[start : start + superframes], ending, extra)
        start += superframes
        values = [frame.values for frame in itertools.islice(frames, len(layout.frames))]
        if audio == 2:
            sides = block_coder.choose_sides(values) if like is None else like.layout(index).sides
            layout = layout._replace(sides=sides)
        spool.add(layout, [block_coder.turn_sides(value, layout.sides) for value in values])


def _encoded(block: Block, header: TokenHeader, errors: Errors, *, trade: float) -> bytes:
    """A block's bytes at the step of ``errors``, which take in its codes."""
    factors = noise_shape.block_factors(block, header)
    ratios = block.values * np.float32(1 / errors.step)
    ratios = ratios if factors is None else ratios / factors
    ends = np.cumsum(block.lengths)[:-1]
    # Clipped far beyond what can be coded, so that the coder refuses it, not to another integer.
    codes = np.split(np.rint(np.clip(ratios, -(2.0**40), 2.0**40)).astype(np.int64), ends)
    magnitudes = np.abs(ratios).astype(np.float64)
    data, coded = block_coder.encode_block(
        block.layout,
        codes,
        header.tiling,
        every=header.every,
        ratios=np.split(magnitudes, ends),
        trade=trade,
    )
    errors.add(magnitudes, np.abs(np.concatenate(coded)), 1.0 if factors is None else factors)
    return data


def _write(
    path: Path, header: TokenHeader, spool: Spool, *, trade: float, like: Like | None = None
) -> Written:
    """Writes the blocks, then, before them, the header, whose offsets follow from the codes."""
    errors = Errors(header.step)
    with path.open("wb") as out:
        out.seek(_PREFIX + TokenHeader.SIZE + _CRC.size)
        for index, block in enumerate(noise_shape.with_indices(spool, header, like)):
            payload = _encoded(block, header, errors, trade=trade)
            out.write(_BLOCK.pack(len(payload), _block_checksum(index, payload)) + payload)
        size = out.tell()
        found = errors.result(spool.energy, with_offsets=trade > 0)
        header = dataclasses.replace(header, offsets=found.offsets)
        head = MAGIC + bytes([_VERSION]) + header.pack()
        out.seek(0)
        out.write(head + _CRC.pack(zlib.crc32(head)))
    return Written(header, size, found.snr_db)


def _block_checksum(index: int, payload: bytes) -> int:
    # The index is under the checksum, not in the file: blocks that change places are found.
    return zlib.crc32(payload, zlib.crc32(_CRC.pack(index) + _CRC.pack(len(payload))))


class TokenReader:
    """An open token file: its header, its codes in blocks, and its samples.

    Attributes:
        path: of the file.
        header: what the file says about its recording.

    Raises:
        TokenFileError: if the file is no intact token file (what is wrong with a block is
            found when it is read).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            reason = "not a file" if self.path.exists() else "no such file"
            raise TokenFileError(f"{path}: {reason}")
        self._file: IO[bytes] = self.path.open("rb")
        try:
            self._left = self.path.stat().st_size
            self.header = self._read_header()
        except BaseException as error:
            self._file.close()
            if isinstance(error, Exception):
                raise TokenFileError(f"{path}: no token file ({error})") from error
            raise

    def __enter__(self) -> TokenReader:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._file.close()

    def _take(self, count: int) -> bytes:
        """The next bytes; the size is checked against the file before it is believed."""
        if count > self._left:
            raise ValueError("it ends early")
        data = self._file.read(count)
        self._left -= count
        if len(data) != count:
            raise ValueError("it ends early")
        return data

    def _read_header(self) -> TokenHeader:
        prefix = self._take(_PREFIX)
        if prefix[: len(MAGIC)] != MAGIC:
            raise ValueError("it does not begin like one")
        if prefix[-1] != _VERSION:
            raise ValueError(
                f"format {prefix[-1]}, this version reads {_VERSION}: encode the recording again"
            )
        content = self._take(TokenHeader.SIZE)
        (checksum,) = _CRC.unpack(self._take(_CRC.size))
        if zlib.crc32(prefix + content) != checksum:
            raise ValueError("the checksum of its header is wrong")
        header = TokenHeader.unpack(content)
        # Every block takes some bytes: a length that the file cannot hold is not believed.
        if self._left < _BLOCK.size * self._count_blocks(header):
            raise ValueError("it ends early")
        return header

    def _count_blocks(self, header: TokenHeader) -> int:
        return block_coder.count_blocks(header.tiling, header.length, header.audio_channels)

    def blocks(self) -> Iterator[tuple[Layout, list[np.ndarray]]]:
        """Codes block by block; can be called once.

        Yields:
            Layout of the block, and int64 [size, audio channels] of each of its frames.

        Raises:
            TokenFileError: if they are damaged or do not fit the header.
        """
        header = self.header
        plans = block_coder.plan_blocks(header.tiling, header.length, header.audio_channels)
        try:
            for index, plan in enumerate(plans):
                payload = self._read_block(index)
                yield block_coder.decode_block(
                    payload, plan, header.tiling, header.audio_channels, every=header.every
                )
            if self._left:
                raise ValueError("it has bytes beyond its end")
        except (ValueError, struct.error) as error:
            raise TokenFileError(f"{self.path}: damaged ({error})") from error

    def _read_block(self, index: int) -> bytes:
        head = self._take(_BLOCK.size)
        size, checksum = _BLOCK.unpack(head)
        if size > _LARGEST_PAYLOAD:
            raise ValueError(f"block {index} of {size} bytes")
        payload = self._take(size)
        if _block_checksum(index, payload) != checksum:
            raise ValueError(f"the checksum of block {index} is wrong")
        return payload

    def codes(self) -> np.ndarray:
        """All codes, in the order of the coefficients; can be called once, instead of the others.

        Middle and side stay as they are coded.

        Returns:
            int32 [audio channels, length]; for frames of one size, what
            ``quantizer.encode(bank.encode(waveform))`` holds in front of its zeros.
        """
        frames = [frame for _, block in self.blocks() for frame in block]
        return np.concatenate(frames).T.astype(np.int32)

    def samples(self) -> Iterator[np.ndarray]:
        """Samples of the recording; can be called once.

        Yields:
            float32 [time, audio channels], as many as the header says in all.

        Raises:
            TokenFileError: if the codes are damaged.
        """
        header = self.header
        offsets = np.array([0.0, *header.offsets])

        def frames() -> Iterator[lapped_frames.Frame]:
            for layout, codes in self.blocks():
                # step (m + offset of m) with the sign of the code
                values = [
                    header.step * (code + np.sign(code) * offsets[np.minimum(np.abs(code), 3)])
                    for code in codes
                ]
                if header.every:
                    factors = noise_shape.frame_factors(layout, map(len, codes), header)
                    values = [value * factor for value, factor in zip(values, factors, strict=True)]
                yield from block_coder.as_frames(layout, values)

        for block in lapped_frames.synthesise(frames(), header.spec):
            yield block.astype(np.float32)


def read_like(path: str | Path) -> Like:
    """The quantiser of a token file, for another recording or its own decoded one.

    Args:
        path: of the file; its frames have one size, and its steps do not follow its recording.

    Returns:
        Its header, and the layouts of its blocks.

    Raises:
        TokenFileError: if it is no intact token file.
        ValueError: if frames or steps follow its recording.
    """
    with TokenReader(path) as reader:
        noise_shape.check_like(reader.path, reader.header)
        return Like(reader.header, [layout for layout, _ in reader.blocks()])
