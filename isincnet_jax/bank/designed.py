"""Designed filterbanks with what follows from them, made once per spec (``spec.bank``).

The type says how the filters are applied: :class:`UniformBank` by folded DFTs of a window,
:class:`RealUniformBank` by their cosines, :class:`SymmetricBank` by folded frames, :class:`Bank` by
a strided convolution, see :mod:`.algorithms`. Everything is designed in float64 NumPy and
read-only.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank import algorithms
from isincnet_jax.bank.dsp import frame_theory, kernels, symmetric_frames, uniform, uniform_analysis
from isincnet_jax.dsp import framing
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Padding, Spectrogram, Waveform

_TIGHT_TAIL_ENERGY = 1e-16


def read_only(array: np.ndarray) -> np.ndarray:
    """Read-only array, contiguous.

    Args:
        array: copied unless it is contiguous; the flag is set on the result.

    Returns:
        The array, which raises where it is assigned to.
    """
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array


def kernels_support(channels: np.ndarray) -> tuple[int, int]:
    """Support of a bank: samples that some kernel reaches before and after the centre.

    Args:
        channels: kernels [channels, taps], centred at ``taps // 2``.

    Returns:
        ``(lead, trail)``, samples.
    """
    return kernels.window_support(np.any(channels != 0.0, axis=0).astype(np.float64))


@dataclasses.dataclass(frozen=True, eq=False)
class Bank:
    """Designed bank of any filters.

    Attributes:
        kernels: real channels, float64 [channels, taps], centred at ``taps // 2``.
        hop_length: samples between frames.
        padding: how clips continue beyond their ends.
        sees_all: whether reflected clips have a frame more where their end would be in none.
        reflected_trail: samples behind its position that a frame of reflected clips is counted on
            to see: the filters' own reach; a tight bank's tails go further, but too weakly to
            solve samples from.
        decoders: the solved decoders of the bank, by their specs; :mod:`.solve` makes each once.
    """

    kernels: np.ndarray
    hop_length: int
    padding: Padding = "zeros"
    sees_all: bool = True
    reflected_trail: int = 0
    decoders: dict[Any, Any] = dataclasses.field(default_factory=dict, repr=False)

    @functools.cached_property
    def _support(self) -> tuple[int, int]:
        return kernels_support(self.kernels)

    @property
    def lead(self) -> int:
        """Samples that the non-zero taps reach before a frame's position."""
        return self._support[0]

    @property
    def trail(self) -> int:
        """Samples that the non-zero taps reach after a frame's position."""
        return self._support[1]

    @property
    def taps(self) -> int:
        """Length of the kernels, those of tight banks included."""
        return self.kernels.shape[1]

    @property
    def tap_support(self) -> np.ndarray:
        """Support of the filters: 1 from the first to the last tap that some have, 0 elsewhere."""
        offset = np.arange(self.taps) - self.taps // 2
        return ((-self.lead <= offset) & (offset <= self.trail)).astype(np.float64)

    @functools.cached_property
    def bounds(self) -> frame_theory.FrameBounds:
        """Frame bounds and condition number."""
        return frame_theory.frame_bounds_of_kernels(self.kernels, hop_length=self.hop_length)

    # Frames.

    @functools.cached_property
    def _framing(self) -> dict[str, Any]:
        return {
            "hop_length": self.hop_length,
            "lead": self.lead,
            "trail": self.trail if self.padding == "zeros" else self.reflected_trail,
            "padding": self.padding,
            "sees_all": self.sees_all,
        }

    @settles
    def frame_grid(self, length: int) -> framing.FrameGrid:
        """The frames of a clip of ``length`` samples.

        Args:
            length: samples, 1 or more.

        Returns:
            Index of the first frame, and the number of frames.
        """
        return framing.frame_grid(length, **self._framing)

    @settles
    def longest_length(self, num_frames: int) -> int:
        """The largest length in samples of a clip that has ``num_frames`` frames.

        Args:
            num_frames: frames.

        Returns:
            Samples.

        Raises:
            ValueError: for fewer frames than a clip of one sample has.
        """
        return framing.longest_length(num_frames, **self._framing)

    @property
    def unseen_samples(self) -> int:
        """Samples at the end of a reflected clip that may be in no frame, as in iSincNet."""
        return 0 if self.sees_all else self._beyond

    @property
    def samples_beyond(self) -> int:
        """Samples that the frame added for the end of a reflected clip may lie behind it."""
        return self._beyond if self.sees_all else 0

    @property
    def _beyond(self) -> int:
        if self.padding == "zeros":
            return 0
        return framing.samples_beyond(hop_length=self.hop_length, trail=self.reflected_trail)

    # Application.

    @functools.cached_property
    def dense(self) -> Bank:
        """The bank as any kernels, learned ones say, are applied: without its structure, if any."""
        if type(self) is Bank:
            return self
        return Bank(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Bank)})

    @property
    def filters(self) -> np.ndarray:
        """Filters that :meth:`.Bank.analyse` applies: the kernels [channels, taps]."""
        return self.kernels

    def written_out(self, filters: Float[np.ndarray, "..."]) -> Float[np.ndarray, "channels taps"]:
        """Kernels of the filters that :meth:`.Bank.analyse` takes: themselves.

        Args:
            filters: kernels [channels, taps].

        Returns:
            The same array.
        """
        return filters

    @property
    def algorithm(self) -> algorithms.Algorithm:
        """Algorithm of :meth:`.Bank.analyse`."""
        return algorithms.Algorithm("strided convolution", self.kernels.size)

    def analyse(
        self,
        waveform: Waveform,
        filters: Float[jax.Array, "..."],
        *,
        precision: lax.PrecisionLike = lax.Precision.HIGHEST,
    ) -> Spectrogram:
        """Coefficients of a waveform for filters in the bank's place, by the cheapest exact way.

        Args:
            waveform: [..., time].
            filters: :attr:`filters`, or others of that shape: kernels [channels, taps], or the
                window [taps] of a uniform bank.
            precision: of the products on accelerators.

        Returns:
            [..., frames, channels].
        """
        common = {"hop_length": self.hop_length, "padding": self.padding}
        return self._applied(
            waveform, filters, precision, grid=self.frame_grid(waveform.shape[-1]), **common
        )

    def _applied(self, waveform: Any, filters: Any, precision: Any, **options: Any) -> Any:
        before = filters.shape[-1] // 2
        after = filters.shape[-1] - 1 - before
        padded = framing.pad_for_frames(waveform, lead=before, trail=after, **options)
        hop = self.hop_length
        return framing.correlate_frames(padded, filters, hop_length=hop, precision=precision)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SymmetricBank(Bank):
    """Bank of even kernels, then odd ones, whatever their frequencies: folded frames on CPUs.

    Attributes:
        num_even: channels that are even around the centre; the others are odd.
    """

    num_even: int

    @property
    def algorithm(self) -> algorithms.Algorithm:
        """Algorithm of :meth:`.Bank.analyse`."""
        reach = max(self.lead, self.trail)
        return algorithms.Algorithm("folded kernels", len(self.kernels) * (reach + 1))

    def _applied(self, waveform: Any, filters: Any, precision: Any, **options: Any) -> Any:
        def folded(waveform: jax.Array, filters: jax.Array) -> Any:
            return symmetric_frames.symmetric_analysis(
                waveform,
                filters,
                num_even=self.num_even,
                reach=max(self.lead, self.trail),
                precision=precision,
                **options,
            )

        def direct(waveform: jax.Array, filters: jax.Array) -> Any:
            return Bank._applied(self, waveform, filters, precision, **options)

        arrays = jnp.asarray(waveform), jnp.asarray(filters)
        return lax.platform_dependent(*arrays, cpu=folded, default=direct)


class UniformBank(Bank):
    """Uniform bank: one window at equally spaced frequencies from 0 to Nyquist.

    Its cosine channel at 0 Hz is the window itself, envelope and normalisation included.
    """

    @property
    def num_bins(self) -> int:
        """Filters: two channels each."""
        return len(self.kernels) // 2

    @property
    def filters(self) -> np.ndarray:
        """Filters that :meth:`.Bank.analyse` applies: the window [taps]."""
        return self.kernels[0]

    def written_out(self, filters: Float[np.ndarray, "..."]) -> Float[np.ndarray, "channels taps"]:
        """Kernels [channels, taps] of a window.

        Args:
            filters: a window [taps], centred at ``taps // 2``.

        Returns:
            Cosine channels, then sine channels, [2 num_bins, taps].
        """
        return uniform.written_out(filters, num_bins=self.num_bins, lead=len(filters) // 2)

    @property
    def algorithm(self) -> algorithms.Algorithm:
        """Algorithm of :meth:`.Bank.analyse`."""
        return algorithms.folded_transform(self.num_bins, taps=self.taps, operation="analysis")

    def _applied(self, waveform: Any, filters: Any, precision: Any, **options: Any) -> Any:
        options = {**options, "lead": self.lead, "trail": self.trail, "precision": precision}
        return uniform_analysis.uniform_analysis(
            waveform, filters, num_bins=self.num_bins, **options
        )


class RealUniformBank(UniformBank):
    """Real uniform bank: cosine channels only, ``g_k w[n] cos(2 pi k n / N)``.

    What it is is read from its kernels, :func:`.uniform.cosine_gains`; the one at 0 Hz is the
    window w.
    """

    @property
    def num_bins(self) -> int:
        """Filters: a channel each."""
        return len(self.kernels)

    @functools.cached_property
    def gains(self) -> np.ndarray:
        """Gains g of the channels, float64 [bins], 1 at 0 Hz."""
        found = uniform.cosine_gains(self.kernels)
        assert found is not None
        return found

    def written_out(self, filters: Float[np.ndarray, "..."]) -> Float[np.ndarray, "channels taps"]:
        """Kernels [channels, taps] of a window.

        Args:
            filters: a window [taps], centred at ``taps // 2``.

        Returns:
            Cosine channels with their gains, [num_bins, taps].
        """
        return uniform.cosine_channels(filters, gains=self.gains)

    @property
    def algorithm(self) -> algorithms.Algorithm:
        """Algorithm of :meth:`.Bank.analyse`."""
        return algorithms.folded_transform(
            self.num_bins, taps=self.lead + self.trail + 1, operation="analysis", real=True
        )

    def _applied(self, waveform: Any, filters: Any, precision: Any, **options: Any) -> Any:
        return super()._applied(waveform, filters, precision, gains=self.gains, **options)


def tight_kernels(channels: np.ndarray, hop_length: int) -> np.ndarray:
    """Canonical tight kernels, cut where the tails hold 1e-16 of their energy (-160 dB).

    Args:
        channels: float64 kernels [channels, taps], centred at ``taps // 2``.
        hop_length: samples between frames.

    Returns:
        float64 [channels, an odd number of taps], centred.

    Raises:
        ValueError: for a bank that is no frame.
    """
    # 4 kernel lengths on either side, 32 hops at least: tails decay exponentially
    longest = max(32, 4 * -(-channels.shape[1] // hop_length))
    tight = frame_theory.canonical_tight(channels, hop_length=hop_length, num_blocks=longest)
    energy = np.sum(tight**2, axis=0)
    # Energy of the n + 1 outermost taps of both ends over the whole; as many are cut off either
    # end.
    tails = np.cumsum(energy + energy[::-1])[: len(energy) // 2] / np.sum(energy)
    cut = int(np.searchsorted(tails, _TIGHT_TAIL_ENERGY))
    return tight[:, cut : tight.shape[1] - cut]
