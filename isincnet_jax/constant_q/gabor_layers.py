"""Layers of invertible filterbanks: what those of whole clips and of slices share, of any bands."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.bank.dsp.frame_theory import FrameBounds
from isincnet_jax.constant_q.dsp import (
    gabor_bands,
    gabor_tables,
    nonstationary_gabor,
    slice_spec,
    sliced_gabor,
)
from isincnet_jax.constant_q.dsp.gabor_spec import BandSpec
from isincnet_jax.constant_q.dsp.slice_spec import SliceSpec
from isincnet_jax.constant_q.slice_streams import SliceStreamDecoder, SliceStreamEncoder
from isincnet_jax.dsp import checks, formats
from isincnet_jax.dsp.settling import settles
from isincnet_jax.linen import SettledModule
from isincnet_jax.typing import Waveform


class GaborLayer(SettledModule):
    """Invertible filterbank without variables: what all of them have; subclasses place the bands.

    Attributes:
        sample_rate: samples per second.
        hop_length: samples between the frames of the matrix layout.
        window, tight, normalization: of the bands.
        layout: "matrix" or "ragged".
        output_format: of ``__call__``.

    Raises:
        ValueError: for attributes outside of their rules.
    """

    sample_rate: float = 22_050
    hop_length: int | None = None
    window: str = "hann"
    tight: bool = False
    normalization: str = "amplitude"
    layout: str = "matrix"
    output_format: str = "complex"

    def __post_init__(self) -> None:
        """Checks every attribute."""
        formats.check_output_format(self.output_format)
        gabor_tables.check_layout(self.layout)
        self.spec  # noqa: B018  # Its construction checks the rest.
        super().__post_init__()

    @property
    def spec(self) -> BandSpec:
        """Specification of the bands, as the functions of :mod:`.nonstationary_gabor` take it."""
        raise NotImplementedError

    @property
    def frequencies(self) -> Float[np.ndarray, " bins"]:
        """Centre frequencies of all bins, Hz: 0 first, Nyquist last, the extra ones included.

        In the ragged layout the bins of the arrays lie side by side.
        """
        return gabor_bands.design_bands(self.spec).center

    @property
    def bandwidths(self) -> Float[np.ndarray, " bins"]:
        """Bandwidths in Hz, half of each support; of a Hann window the width at half amplitude."""
        return gabor_bands.design_bands(self.spec).width

    @property
    def placed_bins(self) -> slice:
        """The bins that the attributes place, among all: the others are extra."""
        return gabor_bands.design_bands(self.spec).placed

    @property
    def hop_lengths(self) -> tuple[int, ...]:
        """Samples between the frames of every array: one in the matrix layout."""
        return tuple(hop for _, hop in gabor_tables.array_grid(self.spec, self.layout))

    def _formatted(self, coefficients: Any) -> Any:
        return jax.tree.map(
            lambda array: formats.format_spectrum(array, output_format=self.output_format),
            coefficients,
        )


class ClipLayer(GaborLayer):
    """Invertible filterbank of whole clips; see :mod:`.nonstationary_gabor`."""

    def encode(self, waveform: Waveform) -> Any:
        """Complete complex coefficients, for ``decode``, whatever the output format.

        Args:
            waveform: [..., time], float32 or float64, at least 1 sample.

        Returns:
            [..., frames, bins] complex; in the ragged layout a tuple of them.

        Raises:
            TypeError: for other dtypes.
            ValueError: for an empty clip.
        """
        checks.check_floating_waveform(waveform)
        return nonstationary_gabor.analyse(waveform, spec=self.spec, layout=self.layout)

    def __call__(self, waveform: Waveform) -> Any:
        """The spectrogram of a clip: ``encode``, in ``output_format``.

        Args:
            waveform: [..., time], floating.

        Returns:
            [..., frames, bins] in the matrix layout, a tuple of such in the ragged one.
        """
        return self._formatted(self.encode(waveform))

    @settles
    def decode(self, coefficients: Any, *, length: int) -> Waveform:
        """Waveform of complex coefficients; other formats have lost what it needs.

        Args:
            coefficients: of ``encode``, or of ``__call__`` in the "complex" format.
            length: samples of the clip.

        Returns:
            [..., length], floating.

        Raises:
            TypeError: for coefficients that are not complex.
            ValueError: for coefficients that are not those of ``length`` samples.
        """
        return nonstationary_gabor.synthesise(
            coefficients, spec=self.spec, length=length, layout=self.layout
        )

    def frame_times(self, num_samples: int) -> Any:
        """Times of the frames; those later than the clip, in its padding, ``decode`` wants too.

        Args:
            num_samples: length of the clip, 1 or more.

        Returns:
            Seconds, float64 [frames]; in the ragged layout a tuple of them.

        Raises:
            ValueError: for an empty clip.
        """
        return nonstationary_gabor.frame_times(num_samples, self.spec, self.layout)

    def frame_bounds(self, num_samples: int) -> FrameBounds:
        """Frame bounds in the "energy" scale; 1 and 1 if ``tight``.

        Args:
            num_samples: length of the clip, 1 or more.

        Returns:
            Lower and upper bound; ``.condition`` is their ratio.

        Raises:
            ValueError: for an empty clip.
        """
        return nonstationary_gabor.frame_bounds(num_samples, self.spec)

    def redundancy(self, num_samples: int) -> float:
        """Redundancy: real numbers among the coefficients per sample.

        Args:
            num_samples: length of the clip, 1 or more.

        Returns:
            A ratio; it falls with the length, as padding counts.
        """
        return nonstationary_gabor.redundancy(num_samples, self.spec, self.layout)


class SliceLayer(GaborLayer):
    """Invertible filterbank slice by slice, for long signals; see :mod:`.sliced_gabor`.

    Attributes:
        slice_length: samples of a slice, a multiple of twice the longest hop; None: the next
            that resolves the narrowest bin well.
        transition_length: samples over which slices are faded into each other, at most half a
            slice; None: an eighth of a slice.

    Raises:
        ValueError: for attributes outside of these rules.
    """

    slice_length: int | None = None
    transition_length: int | None = None

    def __post_init__(self) -> None:
        """Checks every attribute."""
        self.slice_spec  # noqa: B018  # Its construction checks them.
        super().__post_init__()

    @property
    def slice_spec(self) -> SliceSpec:
        """Specification of bands and slices, as the functions of :mod:`.sliced_gabor` take it."""
        return SliceSpec(
            bands=self.spec,
            slice_length=self.slice_length,
            transition_length=self.transition_length,
            layout=self.layout,
        )

    @property
    def latency(self) -> int:
        """Latency of a stream: samples after a sample until it is decoded, a slice in all."""
        return self.slice_spec.samples - 1

    def stream_encoder(self, *, dtype: Any = jnp.float32) -> SliceStreamEncoder:
        """Stream encoder: ``init``, ``step`` and ``finish`` give what ``encode`` gives.

        Args:
            dtype: of the samples.

        Returns:
            The encoder.
        """
        return SliceStreamEncoder(self.slice_spec, dtype)

    def stream_decoder(self, *, dtype: Any = jnp.float32) -> SliceStreamDecoder:
        """Stream decoder: ``init``, ``step`` and ``finish`` give what ``decode`` gives.

        Args:
            dtype: of the samples.

        Returns:
            The decoder.
        """
        return SliceStreamDecoder(self.slice_spec, dtype)

    def encode(self, waveform: Waveform) -> Any:
        """Sliced complex coefficients, for ``decode``, whatever the output format.

        Args:
            waveform: [..., time], float32 or float64, at least 1 sample.

        Returns:
            [..., slices, frames, bins] complex; in the ragged layout a tuple of them.

        Raises:
            TypeError: for other dtypes.
            ValueError: for an empty signal.
        """
        checks.check_floating_waveform(waveform)
        return sliced_gabor.analyse_slices(waveform, spec=self.slice_spec)

    def __call__(self, waveform: Waveform) -> Any:
        """The spectrogram of a signal, slices overlap-added, in ``output_format``.

        Args:
            waveform: [..., time], floating.

        Returns:
            [..., frames, bins].
        """
        sliced = self.encode(waveform)
        length = waveform.shape[-1]
        return self._formatted(
            sliced_gabor.overlap_add_slices(sliced, spec=self.slice_spec, length=length)
        )

    @settles
    def decode(self, coefficients: Any, *, length: int) -> Waveform:
        """Waveform of sliced complex coefficients, those of ``encode``.

        Args:
            coefficients: [..., slices, frames, bins] complex, or a tuple of them.
            length: samples of the signal.

        Returns:
            [..., length], floating.

        Raises:
            TypeError: for coefficients that are not complex.
            ValueError: for coefficients that are not those of ``length`` samples.
        """
        return sliced_gabor.synthesise_slices(coefficients, spec=self.slice_spec, length=length)

    def frame_times(self, num_samples: int) -> Any:
        """Times of the frames of the overlap-added spectrogram.

        Args:
            num_samples: length of the signal.

        Returns:
            Seconds, float64 [frames]; in the ragged layout a tuple of them.
        """
        return slice_spec.frame_times(num_samples, self.slice_spec)

    def slice_times(self, num_samples: int) -> Any:
        """Times of the sliced frames.

        Args:
            num_samples: length of the signal, 1 or more.

        Returns:
            Seconds, float64 [slices, frames]; in the ragged layout a tuple of them.
        """
        return slice_spec.slice_times(num_samples, self.slice_spec)

    def frame_bounds(self, num_samples: int | None = None) -> FrameBounds:
        """Frame bounds of sliced coefficients in the "energy" scale; 1 and 1 if ``tight``.

        Args:
            num_samples: without effect; :class:`ClipLayer` needs it.

        Returns:
            Lower and upper bound, which the energy need not reach.
        """
        del num_samples
        return slice_spec.frame_bounds(self.slice_spec)

    def redundancy(self, num_samples: int) -> float:
        """Redundancy: real numbers among the sliced coefficients per sample.

        Args:
            num_samples: length of the signal, 1 or more.

        Returns:
            A ratio.
        """
        return slice_spec.redundancy(num_samples, self.slice_spec)
