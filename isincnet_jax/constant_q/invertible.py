"""Invertible constant-Q and variable-Q transform layers: Linen modules without variables."""

from __future__ import annotations

from isincnet_jax.constant_q.dsp import octave_bands
from isincnet_jax.constant_q.dsp.gabor_spec import GaborSpec
from isincnet_jax.constant_q.gabor_layers import ClipLayer, GaborLayer, SliceLayer


class _ConstantQ(GaborLayer):
    """Attributes of constant-Q bands, and their specification."""

    fmin: float = 32.70
    fmax: float | None = None
    n_bins: int | None = 84
    bins_per_octave: int | tuple[int, ...] = 12
    gamma: float = 0.0

    def __post_init__(self) -> None:
        """Makes a tuple of a list."""
        resolution = octave_bands.settled_bins_per_octave(self.bins_per_octave)
        object.__setattr__(self, "bins_per_octave", resolution)
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
    def constant_q_bins(self) -> slice:
        """The constant-Q bins among all: ``coefficients[..., layer.constant_q_bins]``."""
        return self.placed_bins


class InvertibleCQT(ClipLayer, _ConstantQ):
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
        >>> import numpy as np
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


class SlicedCQT(SliceLayer, _ConstantQ):
    """Constant-Q (or variable-Q) transform slice by slice, with an exact inverse.

    For long signals and streams: FFTs, working memory and latency are those of a slice.
    ``encode`` gives sliced coefficients [..., slices, frames, bins], which ``decode`` inverts to
    float32 rounding; calling the layer overlap-adds them to a spectrogram [..., frames, bins],
    nearly that of :class:`InvertibleCQT`, which cannot be inverted exactly. ``stream_encoder``
    and ``stream_decoder`` give the same piece by piece. Without variables; differentiable.

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
        >>> import numpy as np
        >>> layer = SlicedCQT(fmin=110.0, n_bins=60, output_format="magnitude")
        >>> clip = np.sin(np.arange(9000, dtype=np.float32))
        >>> layer.apply({}, clip).shape
        (167, 99)
        >>> sliced = layer.apply({}, clip, method="encode")
        >>> found = layer.apply({}, sliced, length=9000, method="decode")
        >>> sliced.shape, bool(np.allclose(found, clip, atol=1e-6))
        ((3, 320, 99), True)
    """
