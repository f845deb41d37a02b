"""Bucketing of clips of many lengths, for few compiled programs: lengths and batches rounded up.

A jitted codec is compiled once for every length that it meets, which takes longer than encoding
the clip. Clips that are filled up with zeros to one of a few lengths share their programs. With
zero padding that changes nothing: frames are counted from a clip's first sample, so those of the
clip are the first ones of the longer clip; and as all frames that touch the clip are there, those
after them count as zeros when it is decoded, filled up or not.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from isincnet_jax.bank.codec import Codec
from isincnet_jax.bank.synthesis import check_spectrogram
from isincnet_jax.dsp import checks, settling
from isincnet_jax.dsp.settling import settles

_LEAST_UNITS = 16
_TRACED = "use the codec itself, which a jitted function compiles for each length anyway"


@settles
def bucket_length(length: int, *, multiple: int, per_octave: int = 4) -> int:
    """Bucket length that a clip is filled up to: the smallest bucket that is not shorter.

    Buckets are ``multiple * ceil(2 ** (k / per_octave))`` samples with k = 0, 1, 2, ..., but at
    least 16 multiples. So a clip grows by a factor of less than ``2 ** (1 / per_octave)``, and less
    than one multiple on top: 19 % at 4 buckets an octave, and 9 % on average.

    Args:
        length: samples of the clip.
        multiple: what buckets are multiples of, a codec's ``hop_length``.
        per_octave: buckets from a length to its double.

    Returns:
        Samples.

    Raises:
        ValueError: for numbers that are not integers of at least 1.

    Example:
        >>> [bucket_length(n, multiple=100) for n in (1, 1600, 1601, 48_000, 52_000)]
        [1600, 1600, 2000, 51200, 60900]
    """
    checks.check_positive_integers(length=length, multiple=multiple, per_octave=per_octave)
    units = max(-(-length // multiple), _LEAST_UNITS)
    # the least k with 2^(k / per_octave) >= units
    step = math.ceil(per_octave * math.log2(units))
    # The logarithm is rounded, so its neighbours are looked at too.
    near = (math.ceil(2.0 ** (k / per_octave)) for k in (step - 1, step, step + 1))
    return int(multiple) * next(bucket for bucket in near if bucket >= units)


@dataclasses.dataclass(frozen=True, eq=False)
class BucketedCodec:
    """A codec for clips of any length and batches of any size that compiles few programs.

    Clips are filled up with zeros on the host to the length of their bucket, see
    :func:`bucket_length`, and batches to a power of two; what comes back is cut on the host. At
    most as many programs are compiled as there are buckets from the shortest clip to the longest,
    times the sizes of batches (powers of two): for clips from 1 s to 60 s at 16 kHz, one at a time,
    25 to encode and 25 to decode. The results are those of the codec up to float32 rounding: the
    same products, which XLA may sum in another order for another length.

    Attributes:
        codec: any codec with ``padding="zeros"``: fixed, learned, tight or causal filters, any
            decoder.
        per_octave: buckets from a length to its double; more compile more and fill up less.

    Raises:
        ValueError: for a bank that reflects clips at their ends, whose last frames depend on where
            the clip ends.

    Example:
        >>> from isincnet_jax import FilterbankSpec, SincNet, build_codec
        >>> spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
        >>> codec = BucketedCodec(build_codec(SincNet(spec)))
        >>> clips = [np.ones(length, np.float32) for length in (90, 1000, 95)]
        >>> spectrograms = codec.encode_many(clips)
        >>> [spectrogram.shape for spectrogram in spectrograms]
        [(15, 18), (128, 18), (15, 18)]
        >>> bool(np.allclose(codec.decode(spectrograms[0], length=90), 1.0, atol=1e-5))
        True
    """

    codec: Codec
    per_octave: int = 4

    def __post_init__(self) -> None:
        """Checks the bank and the number."""
        settling.settle_fields(self)
        checks.check_positive_integers(per_octave=self.per_octave)
        padding = self.codec.spec.padding
        if padding != "zeros":
            raise ValueError(
                f"padding={padding!r}: the ends of a clip are reflected, so that its last frames "
                "depend on its length and zeros after it would change them; use "
                "spec.replace(padding='zeros'), or the codec itself, compiled per length"
            )

    @settles
    def bucket(self, length: int) -> int:
        """Bucket length of a clip.

        Args:
            length: samples of the clip, 1 or more.

        Returns:
            Samples that the clip is filled up to.
        """
        hop = self.codec.spec.hop_length
        return bucket_length(length, multiple=hop, per_octave=self.per_octave)

    def encode(
        self, waveform: Float[Any, "... time"], *, scale: str | None = None
    ) -> Float[np.ndarray, "... frames channels"]:
        """Spectrogram [..., frames, channels] of a waveform [..., time], see :meth:`.Codec.encode`.

        Args:
            waveform: floating samples, in the memory of the host or not.
            scale: of the coefficients, as of the codec; the bank's own if None.

        Returns:
            float32 (the codec's dtype), NumPy, in memory of its own.

        Raises:
            TypeError: for what is not floating.
            ValueError: for an empty waveform.
        """
        checks.check_floating_waveform(waveform, dtype=getattr(waveform, "dtype", None))
        waveform = checks.on_host(waveform, "waveform", instead=_TRACED)
        *batch, length = waveform.shape
        found = self._encode_rows(waveform.reshape(math.prod(batch), length), scale)
        frames = self.codec.num_frames(length)
        return np.array(found[:, :frames]).reshape(*batch, frames, found.shape[-1])

    def _encode_rows(self, rows: np.ndarray, scale: str | None) -> np.ndarray:
        """Rows [clips, time] to [clips, frames of the bucket, channels], not to be written to."""
        filled = (self.bucket(rows.shape[1]),)
        return _run_filled(rows, filled, lambda rows: self.codec.encode(rows, scale=scale))

    @settles
    def decode(
        self,
        spectrogram: Float[Any, "... frames channels"],
        *,
        length: int | None = None,
        scale: str | None = None,
    ) -> Float[np.ndarray, "... length"]:
        """Waveform [..., length] of a spectrogram, see :meth:`.Codec.decode`.

        Args:
            spectrogram: [..., frames, channels], as encoded, or dequantised.
            length: samples of the clip that was encoded; the longest with so many frames if None.
            scale: what ``encode`` was given.

        Returns:
            [..., length], NumPy, in memory of its own.

        Raises:
            ValueError: if frames or channels do not fit.
        """
        spectrogram = checks.on_host(spectrogram, "spectrogram", instead=_TRACED)
        spec = self.codec.spec
        length = check_spectrogram(spectrogram, spec, length, spectrogram.dtype)
        *batch, frames, channels = spectrogram.shape
        filled = self.bucket(length)
        found = _run_filled(
            spectrogram.reshape(math.prod(batch), frames, channels),
            (self.codec.num_frames(filled), channels),
            lambda rows: self.codec.decode(rows, length=filled, scale=scale),
        )
        return np.array(found[:, :length]).reshape(*batch, length)

    def encode_many(
        self,
        clips: Sequence[Float[Any, " time"]],
        *,
        max_batch: int = 16,
        scale: str | None = None,
    ) -> list[Float[np.ndarray, "frames channels"]]:
        """Spectrograms of clips of different lengths, those of one bucket encoded together.

        Args:
            clips: one-dimensional arrays of samples.
            max_batch: clips that are encoded at once, a power of two. Beside clips and results
                there are never more than so many of the longest bucket in memory.
            scale: as of the codec.

        Returns:
            A spectrogram per clip, in their order.

        Raises:
            ValueError: for clips that are not one-dimensional or empty, and for another
                ``max_batch``.
            TypeError: for integer samples.
        """
        checks.check_positive_integers(max_batch=max_batch)
        if max_batch & (max_batch - 1):
            raise ValueError(
                f"max_batch={max_batch}: batches are powers of two; use "
                f"max_batch={1 << (int(max_batch).bit_length() - 1)}"
            )
        clips = list(clips)
        # Indices of the clips by the length of their bucket.
        by_bucket: dict[int, list[int]] = {}
        for index, clip in enumerate(clips):
            if np.ndim(clip) != 1 or not len(clip):
                raise ValueError(
                    f"clips[{index}] has shape {np.shape(clip)}; give [time], 1 sample or more"
                )
            by_bucket.setdefault(self.bucket(len(clip)), []).append(index)
        found: list[Any] = [None] * len(clips)
        for filled, members in by_bucket.items():
            for start in range(0, len(members), max_batch):
                some = members[start : start + max_batch]
                rows = _stacked([clips[index] for index in some], filled, self.codec.model.dtype)
                for index, row in zip(some, self._encode_rows(rows, scale), strict=True):
                    found[index] = np.array(row[: self.codec.num_frames(len(clips[index]))])
        return found


def _run_filled(
    rows: np.ndarray, shape: tuple[int, ...], run: Callable[[np.ndarray], Any]
) -> np.ndarray:
    """What ``run`` makes of rows that are filled up with zeros to ``shape``.

    Their number is filled up to a power of two, and cut again; the rest is for the caller to cut,
    as NumPy: JAX would compile a program for every length that it cuts to.
    """
    count = len(rows)
    filled = (1 << max(count - 1, 0).bit_length(), *shape)
    if rows.shape != filled:
        rows = np.pad(rows, [(0, new - old) for old, new in zip(rows.shape, filled, strict=True)])
    return np.asarray(run(rows))[:count]


def _stacked(clips: list[Any], length: int, dtype: Any) -> np.ndarray:
    """Clips of different lengths as rows, filled up with zeros; NumPy's are cast, as by a codec."""
    batch = np.zeros((len(clips), length), dtype)
    for row, clip in zip(batch, clips, strict=True):
        samples = checks.on_host(clip, "clips", instead=_TRACED)
        if not (isinstance(clip, np.ndarray) and np.issubdtype(samples.dtype, np.floating)):
            checks.check_floating_waveform(samples, dtype=dtype)
        row[: len(samples)] = samples
    return batch
