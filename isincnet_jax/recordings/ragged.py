"""Recordings as ragged codes of a nonuniform bank, entropy-coded, and back."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from isincnet_jax import files
from isincnet_jax.dsp.scales import SCALES
from isincnet_jax.tokens import ragged_file, step_search
from isincnet_jax.tokens.block_file import TokenFileError
from isincnet_jax.tokens.ragged_file import RaggedHeader, RaggedReader

if TYPE_CHECKING:
    from isincnet_jax.constant_q.dsp.nonuniform_spec import NonuniformSpec
    from isincnet_jax.constant_q.nonuniform_codec import NonuniformCodec

_MOST_BINS = 1 << 14
_TUPLES = ("center_hz", "bandwidth_hz")


class RaggedWritten(NamedTuple):
    """What was written.

    Attributes:
        header: of the file.
        num_bytes: of the whole file.
        snr_db: of the decoded codes; infinite for a silent recording.
    """

    header: RaggedHeader
    num_bytes: int
    snr_db: float


def rate_of(codec: NonuniformCodec) -> int:
    """The rate of a bank, to which recordings are brought.

    Args:
        codec: of the bank.

    Returns:
        Hz.

    Raises:
        ValueError: for a rate that is no integer, which no audio file has.
    """
    rate = codec.spec.sample_rate
    if rate != int(rate):
        raise ValueError(f"model={codec.name}: has {rate} Hz; recordings need a whole number of Hz")
    return int(rate)


def write_ragged(
    target: Path,
    blocks: Iterable[np.ndarray],
    codec: NonuniformCodec,
    *,
    step: float | None,
    snr_db: float | None,
    original_rate: int,
    original_length: int,
) -> RaggedWritten:
    """Encodes a recording into a file that appears whole or not at all; it is held in memory.

    Args:
        target: ``.isn`` file to write.
        blocks: of the recording, float32 [time, audio channels], at the bank's rate.
        codec: of the bank.
        step: of the codes; or
        snr_db: that their sound is to reach, within 0.02 dB.
        original_rate: of the recording, Hz.
        original_length: of the recording, samples.

    Returns:
        Header, bytes and the ratio that was reached.

    Raises:
        ValueError: for no samples, NaN, a silent recording without ``step``, and codes beyond 2^20.
    """
    samples = np.concatenate(list(blocks) or [np.zeros((0, 1), np.float32)]).T
    if not samples.shape[1]:
        raise ValueError("the recording has no samples")
    if not np.isfinite(samples).all():
        raise ValueError("the recording has samples that are no finite numbers")
    coefficients = codec.encode(np.ascontiguousarray(samples))
    energy = float(np.sum(np.square(samples, dtype=np.float64)))

    @functools.cache  # the search has measured the step that it chooses
    def measured(step: float) -> float:
        quantizer = codec.quantizer(step=step)
        codes = quantizer.encode(coefficients)
        again = codec.decode(quantizer.decode(codes, dtype=codec.dtype), length=samples.shape[1])
        noise = float(np.sum(np.square(samples - np.asarray(again), dtype=np.float64)))
        return 10 * math.log10(energy / noise) if noise and energy else math.inf

    if step is None:
        if snr_db is None:
            raise ValueError("step= or snr_db= is needed")
        if not energy:
            raise ValueError("snr_db=: the recording is silent, so that it has no ratio; use step=")
        numbers = sum(2 * array.size for array in coefficients)
        total = sum(float(np.sum(np.square(np.abs(array)))) for array in coefficients)
        step = step_search.search_step(
            measured,
            # Rounding to a step is noise of variance step^2 / 12.
            start=math.sqrt(12 * total / numbers) * 10 ** (-snr_db / 20),
            snr_db=snr_db,
            tolerance_db=step_search.TOLERANCE_DB,
        )
    quantizer = codec.quantizer(step=step)
    codes = [np.asarray(array) for array in quantizer.encode(coefficients)]
    header = RaggedHeader(
        bank=bank_fields(codec.spec),
        arrays=tuple(array.shape[1:] for array in codes),  # type: ignore[misc]
        audio_channels=samples.shape[0],
        length=samples.shape[1],
        original_length=original_length,
        original_rate=original_rate,
        step=float(np.float32(step)),
    )
    with files.replacing(target) as temporary:
        num_bytes = ragged_file.write_ragged_file(temporary, header, codes)
    return RaggedWritten(header, num_bytes, measured(header.step))


def codec_of(reader: RaggedReader) -> NonuniformCodec:
    """The codec of the bank that a file names.

    Args:
        reader: of the file.

    Returns:
        The codec.

    Raises:
        TokenFileError: if it names none, or one whose arrays are others.
    """
    from isincnet_jax.constant_q.dsp.nonuniform_spec import NonuniformSpec
    from isincnet_jax.constant_q.nonuniform_codec import build_nonuniform_codec

    header, fields = reader.header, dict(reader.header.bank)
    try:
        # Of a bank beyond all bounds nothing of its size is made.
        sizes = [fields.get("num_bins"), *(len(fields.get(name) or ()) for name in _TUPLES)]
        if any(size is not None and not 0 <= int(size) <= _MOST_BINS for size in sizes):
            raise ValueError(f"a bank of more than {_MOST_BINS} bins")
        for name in _TUPLES:
            if fields.get(name) is not None:
                fields[name] = tuple(fields[name])
        codec = build_nonuniform_codec(NonuniformSpec(**fields))
        expected = tuple((frames, 2 * bins) for frames, bins in codec.array_shapes(header.length))
        if expected != header.arrays:
            raise ValueError("the arrays of its header are not those of its bank")
    except (TypeError, ValueError) as error:
        raise TokenFileError(f"{reader.path}: damaged ({error})") from error
    return codec


def read_ragged(reader: RaggedReader, codec: NonuniformCodec) -> Iterator[np.ndarray]:
    """Samples of the codes of a file.

    Args:
        reader: of the file, whose codes have not been read.
        codec: of :func:`codec_of`.

    Yields:
        float32 [time, audio channels], all at once.

    Raises:
        TokenFileError: if the codes are damaged.
    """
    header, codes = reader.header, reader.codes()
    quantizer = codec.quantizer(step=header.step)
    try:
        waveform = codec.decode(quantizer.decode(codes), length=header.length)
    except ValueError as error:  # a code that no encoder writes
        raise TokenFileError(f"{reader.path}: damaged ({error})") from error
    yield np.asarray(waveform).T


def bank_fields(spec: NonuniformSpec) -> dict[str, Any]:
    """A bank as a file names it.

    Args:
        spec: of the bank.

    Returns:
        JSON values from which the same bank is made, here and elsewhere: a scale of one's own is
        replaced by its centres.
    """
    found = dataclasses.asdict(spec)
    if spec.center_hz is None and str(spec.scale) not in SCALES:
        found |= {"center_hz": spec.given_centers_hz, "num_bins": None, "scale": "linear"}
        found |= {"min_hz": None, "max_hz": None}
    for name in _TUPLES:
        if found[name] is not None:
            found[name] = [float(value) for value in found[name]]
    return {**found, "scale": str(found["scale"])}
