"""Solved decoders of a bank: synthesis kernels or a dual window, with their accuracy.

The type says how they are applied: :class:`DualWindow` by an inverse DFT, :class:`FoldedDecoder` by
an inverse cosine matrix and short filters, :class:`SymmetricDecoder` by folded frames,
:class:`SolvedDecoder` by a convolution over frames, see :mod:`.algorithms`.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank import algorithms
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.designed import read_only
from isincnet_jax.bank.dsp import (
    folded_inverse,
    folded_synthesis,
    symmetric_frames,
    uniform,
    uniform_synthesis,
)
from isincnet_jax.dsp import framing
from isincnet_jax.typing import Spectrogram, Waveform

EXACT_RESIDUAL = 1e-6
"""Largest relative error, before rounding, of a decoder that is exact in float64: -120 dB."""

EXACT_SNR_DB = 115.0
"""Least SNR in float32, on white noise, of what may be called exact without more words."""

_SPARE_DB = 3.0


@dataclasses.dataclass(frozen=True, eq=False)
class SolvedDecoder:
    """Solved decoder, ready to be cast and applied.

    Attributes:
        values: float64: synthesis kernels [channels, taps].
        lead: taps before a frame's own position.
        residual: relative root mean squared error on white noise, coefficients unrounded.
        noise_gain: output deviation for unit white noise on the coefficients.
        method: what it is: "dual window", "folded inverse", "least squares",
            "canonical dual", "adjoint" (of a tight bank), "wiener" or "free weights".
        expected_snr_db: of a round trip of white noise in float32, see
            :func:`.rounding.round_trip_error`: ``residual`` and the rounding of kernels,
            coefficients and sums, which an ill-conditioned bank amplifies. Away from reflected
            edges, for which see :mod:`.exactness`. NaN for weights that are not solved.
    """

    values: np.ndarray
    lead: int
    residual: float
    noise_gain: float
    method: str
    expected_snr_db: float = float("nan")

    @property
    def taps(self) -> int:
        """Length of the synthesis kernels."""
        return self.values.shape[-1]

    @property
    def common(self) -> dict[str, Any]:
        """What every kind of decoder has, by name."""
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(SolvedDecoder)}

    @property
    def is_wiener(self) -> bool:
        """Whether it is the best linear decoder for noisy coefficients, not an exact one."""
        return self.method == "wiener"

    @property
    def is_exact_in_float64(self) -> bool:
        """Whether the error before rounding is at most :data:`EXACT_RESIDUAL`."""
        return self.residual <= EXACT_RESIDUAL

    @property
    def is_exact(self) -> bool:
        """Whether it is exact in float32 too: :data:`EXACT_SNR_DB` are to be expected."""
        return self.is_exact_in_float64 and is_enough(self.expected_snr_db)

    def assumed_noise(self, decoder: DecoderSpec) -> float:
        """Noise variance of the coefficients, mean of all channels, that it was solved for.

        Args:
            decoder: the spec that it was solved for.

        Returns:
            The variance; 0 for exact decoders.
        """
        return float(np.mean(decoder.noise_variance)) if self.is_wiener else 0.0

    @functools.cached_property
    def dense(self) -> SolvedDecoder:
        """The decoder as any kernels, learned ones say, are applied: itself."""
        return self

    @property
    def algorithm(self) -> algorithms.Algorithm:
        """Algorithm of :meth:`synthesise`."""
        return algorithms.Algorithm("convolution over frames", self.values.size)

    def synthesise(
        self, spectrogram: Spectrogram, weights: Float[jax.Array, "..."], **place: Any
    ) -> Waveform:
        """Waveform of a spectrogram for weights in the place of the decoder's, edges left aside.

        Args:
            spectrogram: [..., frames, channels].
            weights: like ``values``.
            **place: ``hop_length``, ``first_frame``, ``length`` and ``precision`` of
                :func:`.framing.synthesize_frames`.

        Returns:
            [..., length].
        """
        return framing.synthesize_frames(spectrogram, weights, lead=self.lead, **place)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SymmetricDecoder(SolvedDecoder):
    """Decoder of even kernels, then odd ones: half the products on CPUs.

    Attributes:
        num_even: channels that are even around tap ``lead``; the others are odd.
    """

    num_even: int

    @functools.cached_property
    def dense(self) -> SolvedDecoder:
        """The same kernels without their symmetry."""
        return SolvedDecoder(**self.common)

    @property
    def algorithm(self) -> algorithms.Algorithm:
        """Algorithm of :meth:`synthesise`."""
        return algorithms.Algorithm("folded kernels", len(self.values) * (self.lead + 1))

    def synthesise(
        self, spectrogram: Spectrogram, weights: Float[jax.Array, "..."], **place: Any
    ) -> Waveform:
        """Waveform of a spectrogram for weights in the place of the decoder's.

        Args:
            spectrogram: [..., frames, channels].
            weights: like ``values``, and as symmetric.
            **place: see :meth:`SolvedDecoder.synthesise`.

        Returns:
            [..., length].
        """

        def folded(spectrogram: jax.Array, weights: jax.Array) -> Any:
            return symmetric_frames.symmetric_synthesis(
                spectrogram, weights, num_even=self.num_even, lead=self.lead, **place
            )

        def direct(spectrogram: jax.Array, weights: jax.Array) -> Any:
            return SolvedDecoder.synthesise(self, spectrogram, weights, **place)

        arrays = jnp.asarray(spectrogram), jnp.asarray(weights)
        return lax.platform_dependent(*arrays, cpu=folded, default=direct)


def with_symmetry(solved: SolvedDecoder, num_even: int) -> SolvedDecoder:
    """Symmetric decoder, if its kernels are even and odd.

    Args:
        solved: any decoder of kernels.
        num_even: channels that are even if it is symmetric.

    Returns:
        The same decoder, as a :class:`SymmetricDecoder` where it is one.
    """
    if not symmetric_frames.is_symmetric(solved.values, num_even=num_even, lead=solved.lead):
        return solved
    return SymmetricDecoder(**solved.common, num_even=num_even)


def is_enough(expected_snr_db: float) -> bool:
    """Margin of an SNR that is expected: whether one may count on :data:`EXACT_SNR_DB`.

    Args:
        expected_snr_db: in float32, on white noise.

    Returns:
        Whether it lies 3 dB or more above what counts as exact; False for NaN.
    """
    return expected_snr_db >= EXACT_SNR_DB + _SPARE_DB


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class DualWindow(SolvedDecoder):
    """Dual window of a uniform bank: ``values`` is one window [taps] for all its channels.

    Attributes:
        num_bins: filters of the bank.
    """

    METHOD: ClassVar[str] = "dual window"

    num_bins: int
    method: str = METHOD

    @functools.cached_property
    def dense(self) -> SolvedDecoder:
        """The window written out as synthesis kernels."""
        kernels = uniform.written_out(
            self.values, num_bins=self.num_bins, lead=self.lead, inner=2.0
        )
        return SolvedDecoder(**{**self.common, "values": read_only(kernels)})

    @property
    def algorithm(self) -> algorithms.Algorithm:
        """Algorithm of :meth:`synthesise`."""
        return algorithms.folded_transform(self.num_bins, taps=self.taps, operation="synthesis")

    def synthesise(
        self, spectrogram: Spectrogram, weights: Float[jax.Array, "..."], **place: Any
    ) -> Waveform:
        """Waveform of a spectrogram for a window in the place of the dual window.

        Args:
            spectrogram: [..., frames, channels].
            weights: a window [taps].
            **place: see :meth:`SolvedDecoder.synthesise`.

        Returns:
            [..., length].
        """
        return uniform_synthesis.uniform_synthesis(
            spectrogram, weights, num_bins=self.num_bins, lead=self.lead, **place
        )


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FoldedDecoder(SolvedDecoder):
    """Folded inverse of a real uniform bank: ``values`` are filters [2, slots, lags, hop].

    Attributes:
        inverse: what the filters belong to; its own taps are those that were solved.
        gains: of the bank's channels.
        taps_written_out: length of the synthesis kernels that it stands for.
    """

    METHOD: ClassVar[str] = "folded inverse"

    inverse: folded_inverse.FoldedInverse
    gains: np.ndarray
    taps_written_out: int
    method: str = METHOD

    @property
    def taps(self) -> int:
        """Length of the synthesis kernels."""
        return self.taps_written_out

    @property
    def least_lead(self) -> int:
        """Samples before a frame's position that its coefficients reach, not rounded to hops."""
        used = np.flatnonzero(np.any(self.inverse.taps, axis=(0, 1)))
        return (
            int(-used[0]) - self.inverse.first_lag * self.inverse.rows.shape[1] - self.inverse.start
        )

    @functools.cached_property
    def dense(self) -> SolvedDecoder:
        """The filters written out as synthesis kernels."""
        inverse = self.inverse._replace(taps=np.asarray(self.values, np.float64))
        kernels = folded_inverse.synthesis_kernels(inverse, self.gains).kernels
        return SolvedDecoder(**{**self.common, "values": read_only(kernels)})

    @property
    def algorithm(self) -> algorithms.Algorithm:
        """Algorithm of :meth:`synthesise`."""
        used = np.count_nonzero(self.inverse.rows >= 0) * len(self.gains)
        return algorithms.Algorithm(
            "cosine matrix and filters over frames", int(used + np.count_nonzero(self.inverse.taps))
        )

    def synthesise(
        self, spectrogram: Spectrogram, weights: Float[jax.Array, "..."], **place: Any
    ) -> Waveform:
        """Waveform of a spectrogram for filters in the place of the decoder's.

        Args:
            spectrogram: [..., frames, channels].
            weights: like ``values``; 0 wherever all positions of those are.
            **place: see :meth:`SolvedDecoder.synthesise`.

        Returns:
            [..., length].
        """
        del place["hop_length"]  # that of the inverse
        return folded_synthesis.folded_synthesis(
            spectrogram, weights, inverse=self.inverse, gains=self.gains, **place
        )
