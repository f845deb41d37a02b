"""Writer of token files, see :mod:`.token_file` for what stands in them."""

from __future__ import annotations

import dataclasses
import itertools
import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isincnet_jax.bank.lapped_spec import LappedSpec
from isincnet_jax.tokens import (
    band_steps,
    block_coder,
    block_file,
    lapped_frames,
    noise_shape,
    pcm,
    residual_coder,
    step_search,
    token_file,
)
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

LOSSLESS_SNR_DB = 15.0
"""Of the codes of lossless files, unless told. On mono training clips less is smaller as a whole
(12 dB by 0.3 % than 16), on stereo ones the smallest is near 20; all within 1 % from 12 to 20."""
_FINEST_BITS = 4
"""Units of the last bit: a finer step would code noise that the residual holds in fewer bits."""
_SHORTEST_FRAME, _LONGEST_FRAME_S = 128, 0.128
_TRADE = 0.1
"""Squared error, in steps, that a bit is worth where rounding is optimised."""
_OPTIMISED_TOLERANCE_DB = 0.01
_FIRST_QUALITY = 5.0
"""From which a rate is searched."""


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
    bits: int = 0,
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
            :func:`.token_file.read_like`; ``spec`` is its bank. One of these is needed, but for
            lossless files, which have 15 dB without, in steps of 4 units of the last bit or more.
        curve: for ears, steps by band that stay the same throughout, so that tokens of the decoded
            sound are the same if they are made ``like`` this file.
        optimise: let the frames follow the recording, correct magnitudes by their mean error, and
            round towards 0 where that is worth it. Fewer bits at a ratio; codes of another encoding
            then differ. Not for ears: zeros in the place of small coefficients are heard.
        original_rate: Hz, of the recording; the rate of ``spec`` if None.
        original_length: of the recording at its own rate.
        bits: of the recording's samples, integers of 8, 16 or 24 bits over 2^(bits - 1), to keep
            them exactly behind the codes; 0 for the codes alone.

    Returns:
        Header, bytes, and the ratio that was reached.

    Raises:
        ValueError: for no samples, NaN, codes beyond 2^20, a silent recording without ``step`` or
            ``quality`` (a lossless file may be silent), ``kbps`` that it cannot have, another
            number of audio channels than ``like`` has, or samples that are no such integers.
    """
    path = Path(path)
    if bits and optimise:
        raise ValueError("optimise=: the codes of lossless files are rounded plainly; leave it out")
    length, audio = _survey(read)
    is_for_ears = quality is not None or kbps is not None
    if bits and (is_for_ears or like is not None):
        raise ValueError("bits=: the codes of lossless files have one step; use step= or snr_db=")
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
        elif step is None and bits:
            chosen = _lossless_step(spool, snr_db, length * audio, bits)
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
            bits=bits,
            mode=mode,
            num_shared=band_steps.num_shared(spec.hop_length, spec.sample_rate)
            if mode == FOLLOWING
            else 0,
        )
        if kbps is not None:
            header = _at_rate(spool, header, kbps)
        if not optimise:
            samples = read() if bits else None
            return _write(path, header, spool, trade=0.0, like=like, samples=samples)
    return _write_optimised(path, read, header, None if step is not None else snr_db)


def _lossless_step(spool: Spool, snr_db: float | None, num_codes: int, bits: int) -> float:
    finest = _FINEST_BITS * 2.0 ** (1 - bits)
    if not spool.energy:
        return finest  # of silence any step makes zeros
    if snr_db is not None:
        return _plain_step(spool, snr_db, num_codes)
    return max(_plain_step(spool, LOSSLESS_SNR_DB, num_codes), finest)


def _at_rate(spool: Spool, header: TokenHeader, kbps: float) -> TokenHeader:
    """The header with the step at which the file has a rate."""

    def trial(step: float) -> float:
        tried = dataclasses.replace(header, step=step)
        num_bytes = block_file.PREFIX + TokenHeader.SIZE + block_file.CRC.size
        for block in noise_shape.with_indices(spool, tried):
            payload, _ = _encode(block, tried, Errors(step), trade=0.0)
            num_bytes += block_file.BLOCK.size + len(payload)
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
                _encode(block, header, errors, trade=_TRADE)
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


def _encode(
    block: Block, header: TokenHeader, errors: Errors, *, trade: float
) -> tuple[bytes, list[np.ndarray]]:
    """A block's bytes and codes at the step of ``errors``, which take in the codes."""
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
    return data, coded


def _write(
    path: Path,
    header: TokenHeader,
    spool: Spool,
    *,
    trade: float,
    like: Like | None = None,
    samples: Iterable[np.ndarray] | None = None,
) -> Written:
    """Writes the blocks, then, before them, the header, whose offsets follow from the codes.

    Args:
        path: where to.
        header: without offsets and checksum.
        spool: coefficients.
        trade: as of :func:`.block_coder.encode_block`.
        like: file whose step indices they get.
        samples: of the recording, of lossless files.
    """
    errors = Errors(header.step)
    with path.open("wb") as out:
        out.seek(block_file.PREFIX + TokenHeader.SIZE + block_file.CRC.size)

        def write(index: int, payload: bytes) -> None:
            out.write(block_file.packed_block(index, payload))

        def coded() -> Iterator[tuple[Layout, list[np.ndarray]]]:
            for index, block in enumerate(noise_shape.with_indices(spool, header, like)):
                payload, codes = _encode(block, header, errors, trade=trade)
                write(index, payload)
                yield block.layout, codes

        if samples is None:
            for _ in coded():
                pass
        else:
            stream, checksum = lapped_frames.Samples(samples), pcm.Checksum(header.bits)
            for index, base in enumerate(token_file.base_samples(coded(), header)):
                block = pcm.as_integers(stream.take(len(base)), header.bits)
                checksum.update(block)
                write(
                    index | block_file.RESIDUAL,
                    residual_coder.encode_residual(block - base, base, bits=header.bits),
                )
            header = dataclasses.replace(header, md5=checksum.digest())
        size = out.tell()
        found = errors.result(spool.energy, with_offsets=trade > 0)
        header = dataclasses.replace(header, offsets=found.offsets)
        head = block_file.MAGIC + bytes([token_file.VERSION]) + header.pack()
        out.seek(0)
        out.write(head + block_file.CRC.pack(zlib.crc32(head)))
    return Written(header, size, found.snr_db)
