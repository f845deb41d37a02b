"""Invertible constant-Q and variable-Q transform layers: Linen modules without variables."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from isincnet_jax.bank.dsp.frame_theory import FrameBounds
from isincnet_jax.constant_q.dsp import (
    gabor_bands,
    gabor_tables,
    nonstationary_gabor,
    octave_bands,
    slice_spec,
    sliced_gabor,
)
from isincnet_jax.constant_q.dsp.gabor_spec import GaborSpec
from isincnet_jax.constant_q.dsp.slice_spec import SliceSpec
from isincnet_jax.dsp import checks, formats
from isincnet_jax.dsp.settling import settles
from isincnet_jax.linen import SettledModule
from isincnet_jax.typing import Waveform


class _GaborModule(SettledModule):
    """Attributes and properties that the whole-clip and the sliced transform share."""

    sample_rate: float = 22_050
    hop_length: int | None = None
    fmin: float = 32.70
    fmax: float | None = None
    n_bins: int | None = 84
    bins_per_octave: int | tuple[int, ...] = 12
    gamma: float = 0.0
    window: str = "hann"
    tight: bool = False
    normalization: str = "amplitude"
    layout: str = "matrix"
    output_format: str = "complex"

    def __post_init__(self) -> None:
        """Checks every attribute."""
        resolution = octave_bands.settled_bins_per_octave(self.bins_per_octave)
        object.__setattr__(self, "bins_per_octave", resolution)
        formats.check_output_format(self.output_format)
        gabor_tables.check_layout(self.layout)
        self.spec  # noqa: B018  # Its construction checks the rest.
        super().__post_init__()

    @property
    def spec(self) -> GaborSpec:
        """Specification of the bands, as the functions of :mod:`.nonstationary_gabor` take it."""
        return GaborSpec(
            sample_rate=self.sample_rate,
            hop_length=self.hop_length,
            fmin=self.fmin,
            fmax=self.fmax,
            n_bins=self.n_bins,
            bins_per_octave=self.bins_per_octave,
            gamma=self.gamma,
            window=self.window,
            tight=self.tight,
            normalization=self.normalization,
        )

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
    def constant_q_bins(self) -> slice:
        """The constant-Q bins among all: ``coefficients[..., layer.constant_q_bins]``."""
        return gabor_bands.design_bands(self.spec).constant_q

    def _formatted(self, coefficients: Any) -> Any:
        return jax.tree.map(
            lambda array: formats.format_spectrum(array, output_format=self.output_format),
            coefficients,
        )


class InvertibleCQT(_GaborModule):
    """Constant-Q (or variable-Q) transform of whole clips, with an exact inverse.

    ``n_bins`` constant-Q bins, and as many bins around them as cover the rest of the spectrum:
    at least one at 0 Hz and one at Nyquist. ``coefficients[..., layer.constant_q_bins]`` is what
    other constant-Q transforms give, all of them together can be inverted: ``decode`` of
    ``encode`` is the clip, to float32 rounding (about 130 dB). Fewer bins surround the constant-Q
    bins the shorter the hop, exactly two for a short one. Windows, phases, padding and layouts:
    :mod:`.nonstationary_gabor`. The bins do not depend on the clip's length,
    the frames cover the clip and the padding after it, and memory grows with the clip: for long
    ones take :class:`SlicedCQT`. Without variables; differentiable in both directions.

    Attributes:
        sample_rate: samples per second.
        hop_length: samples between the frames of the matrix layout, and of the broadest bins of
            the ragged one; None: the longest that the constant-Q bins allow.
        fmin: centre of the first constant-Q bin in Hz.
        fmax: upper limit of the constant-Q centres in Hz; needs ``n_bins=None``.
        n_bins: constant-Q bins; None: up to ``fmax``, or all that fit below Nyquist.
        bins_per_octave: centres per octave; or a tuple or list of the centres of every octave from
            ``fmin`` on (index 0 is the lowest), which are then all that there are: ``n_bins=None``
            takes those below ``fmax`` or Nyquist.
        gamma: added to the bandwidths in Hz, as :func:`librosa.vqt` does; 0 is constant-Q.
        window: "hann", "cosine" (its root: best conditioned), "blackman" or "blackmanharris".
        tight: whether to make the frame tight: bounds 1 and 1, synthesis the analysis' adjoint.
        normalization: "amplitude": magnitude a for a sinusoid of amplitude a at a bin's centre;
            "librosa": as :func:`librosa.cqt` scales; "energy": energy is preserved (if tight).
        layout: "matrix", [..., frames, bins], or "ragged", a tuple of such arrays by octave with
            about 3 real numbers a sample.
        output_format: of ``__call__``: "complex", "magnitude", "power" or "phase".

    Raises:
        ValueError: for attributes outside of these rules.

    Example:
        >>> layer = InvertibleCQT(fmin=110.0, n_bins=60)
        >>> clip = np.sin(np.arange(5000, dtype=np.float32))
        >>> coefficients = layer.apply({}, clip)
        >>> found = layer.apply({}, coefficients, length=5000, method="decode")
        >>> coefficients.shape, bool(np.allclose(found, clip, atol=1e-6))
        ((160, 99), True)

        Finer towards high frequencies, octave by octave:

        >>> layer = InvertibleCQT(fmin=110.0, n_bins=None, bins_per_octave=[8, 8, 16, 16, 32])
        >>> coefficients = layer.apply({}, clip)
        >>> found = layer.apply({}, coefficients, length=5000, method="decode")
        >>> len(layer.frequencies[layer.constant_q_bins]), bool(np.allclose(found, clip, atol=1e-6))
        (80, True)
    """

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


class SlicedCQT(_GaborModule):
    """Constant-Q (or variable-Q) transform slice by slice, with an exact inverse.

    For long signals and streams: FFTs, working memory and latency are those of a slice.
    ``encode`` gives sliced coefficients [..., slices, frames, bins], which ``decode`` inverts to
    float32 rounding; calling the layer overlap-adds them to a spectrogram [..., frames, bins],
    nearly that of :class:`InvertibleCQT`, which cannot be inverted exactly. A stream calls
    ``analyse_slice`` and ``synthesise_slice`` of :mod:`.sliced_gabor`, with
    ``layer.slice_spec``, and gets the same coefficients. Without variables; differentiable.

    Attributes:
        slice_length: samples of a slice, a multiple of twice the longest hop; None: the next
            that resolves the narrowest bin well.
        transition_length: samples over which slices are faded into each other, at most half a
            slice; None: an eighth of a slice.
        sample_rate, hop_length, fmin, fmax, n_bins, bins_per_octave, gamma: as in
            :class:`InvertibleCQT`.
        window, tight, normalization: as there.
        output_format: as there, of ``__call__``.
        layout: as there, of ``encode`` and ``__call__``.

    Raises:
        ValueError: for attributes outside of these rules.

    Example:
        >>> layer = SlicedCQT(fmin=110.0, n_bins=60, output_format="magnitude")
        >>> clip = np.sin(np.arange(9000, dtype=np.float32))
        >>> layer.apply({}, clip).shape
        (167, 99)
        >>> sliced = layer.apply({}, clip, method="encode")
        >>> found = layer.apply({}, sliced, length=9000, method="decode")
        >>> sliced.shape, bool(np.allclose(found, clip, atol=1e-6))
        ((3, 320, 99), True)
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
            num_samples: without effect; :class:`InvertibleCQT` needs it.

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
