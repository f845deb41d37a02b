"""Invertible filterbanks on any frequency scale: Linen modules without variables."""

from __future__ import annotations

from isincnet_jax.constant_q.dsp import nonuniform_spec
from isincnet_jax.constant_q.dsp.nonuniform_spec import NonuniformSpec
from isincnet_jax.constant_q.gabor_layers import ClipLayer, GaborLayer, SliceLayer
from isincnet_jax.dsp import scales


class _Nonuniform(GaborLayer):
    """Attributes of bands on a scale, and their specification."""

    num_bins: int | None = None
    scale: str = "mel"
    min_hz: float | None = None
    max_hz: float | None = None
    center_hz: tuple[float, ...] | None = None
    bandwidth_hz: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Settles the scale, and makes tuples of lists and arrays."""
        object.__setattr__(self, "scale", scales.ScaleName.settle(self.scale))
        for name in ("center_hz", "bandwidth_hz"):
            numbers = nonuniform_spec.settled_numbers(name, getattr(self, name))
            object.__setattr__(self, name, numbers)
        super().__post_init__()

    @property
    def spec(self) -> NonuniformSpec:
        """Specification of the bands, as the functions of :mod:`.nonstationary_gabor` take it."""
        return NonuniformSpec(
            sample_rate=self.sample_rate,
            num_bins=self.num_bins,
            scale=self.scale,
            min_hz=self.min_hz,
            max_hz=self.max_hz,
            center_hz=self.center_hz,
            bandwidth_hz=self.bandwidth_hz,
            hop_length=self.hop_length,
            window=self.window,
            tight=self.tight,
            normalization=self.normalization,
        )


class NonuniformBank(ClipLayer, _Nonuniform):
    """Nonuniform Gabor filterbank of whole clips, on any frequency scale, with an exact inverse.

    Bands at equal distances on a scale, or of any centres, from 0 Hz to Nyquist: each begins at the
    centre of one neighbour and ends at that of the other, and has the frame rate that it needs. In
    the ragged layout they are a tuple of arrays with about 2.3 real numbers a sample, where 2 is
    the least for windows that overlap by half. Frame bounds are 1/2 and 1 with a Hann window, 1 and
    1 with "cosine", for any centres; ``decode`` of ``encode`` is the clip to float32 rounding
    (about 130 dB). Frames cover the clip and the padding after it, and memory grows with the clip:
    for long ones take :class:`SlicedNonuniformBank`. Without variables; differentiable in both
    directions.

    Attributes:
        sample_rate: samples per second.
        num_bins: bands on the scale, its ends included; None: 128, or as many as ``center_hz``.
        scale: "mel_slaney" (also "mel"), "mel_htk", "erb", "bark", "linear" or "log"; without
            effect if ``center_hz`` is given.
        min_hz: first centre; None: 0 Hz, on a log scale C1 (32.7 Hz). From another, extra bins
            reach down to 0 Hz.
        max_hz: last centre; None: Nyquist. From another, extra bins reach up to there.
        center_hz: centres of one's own, increasing, two or more from 0 Hz to Nyquist.
        bandwidth_hz: half of the support of every band, which is then symmetric; None: bands reach
            from one neighbour's centre to the other's.
        hop_length: samples between the frames of the matrix layout; None: about the longest that
            the broadest band allows. Ragged arrays have hops of their own.
        window: of the slopes: "hann", "cosine" (its root), "blackman" or "blackmanharris".
        tight: whether to make the frame tight: bounds 1 and 1, synthesis the analysis' adjoint.
        normalization: "amplitude": magnitude a for a sinusoid of amplitude a at a bin's centre;
            "energy": energy is preserved (if tight); "librosa": as :func:`librosa.cqt` scales.
        layout: "matrix", [..., frames, bins], or "ragged", a tuple of such arrays by frequency.
        output_format: of ``__call__``: "complex", "magnitude", "power" or "phase".

    Raises:
        ValueError: for attributes outside of these rules.

    Example:
        >>> import numpy as np
        >>> layer = NonuniformBank(sample_rate=16_000, num_bins=40, scale="mel", layout="ragged")
        >>> clip = np.sin(np.arange(5000, dtype=np.float32))
        >>> coefficients = layer.apply({}, clip)
        >>> found = layer.apply({}, coefficients, length=5000, method="decode")
        >>> len(coefficients), bool(np.allclose(found, clip, atol=1e-6))
        (9, True)
        >>> layer.hop_lengths, round(layer.redundancy(160_000), 2)
        ((90, 60, 45, 36, 30, 20, 18, 15, 12), 2.41)

        Bands of one's own:

        >>> layer = NonuniformBank(sample_rate=16_000, center_hz=[100, 300, 400, 2000, 6000])
        >>> coefficients = layer.apply({}, clip)
        >>> found = layer.apply({}, coefficients, length=5000, method="decode")
        >>> layer.placed_bins, bool(np.allclose(found, clip, atol=1e-6))
        (slice(1, 6, None), True)

    References:
        P. Balazs, M. Doerfler, F. Jaillet, N. Holighaus and G. Velasco, "Theory, implementation
            and applications of nonstationary Gabor frames", J. Comput. Appl. Math. 236, 2011.
            https://doi.org/10.1016/j.cam.2011.09.011
    """


class SlicedNonuniformBank(SliceLayer, _Nonuniform):
    """Nonuniform Gabor filterbank slice by slice, with an exact inverse and constant latency.

    For long signals and streams: FFTs, working memory and latency are those of a slice. Slices
    overlap by half, so that there are twice as many numbers as of whole clips. ``encode`` gives
    sliced coefficients [..., slices, frames, bins], which ``decode`` inverts to float32 rounding;
    calling the layer overlap-adds them to a spectrogram [..., frames, bins], nearly that of
    :class:`NonuniformBank`, which cannot be inverted exactly. ``stream_encoder`` and
    ``stream_decoder`` give the same piece by piece. Without variables; differentiable.

    Attributes:
        slice_length: samples of a slice, a multiple of twice the least common multiple of all
            hops; None: the next that resolves the narrowest bin well.
        transition_length: samples over which slices are faded into each other, at most half a
            slice; None: an eighth of a slice.
        sample_rate, hop_length, num_bins, scale, min_hz, max_hz, center_hz, bandwidth_hz: as in
            :class:`NonuniformBank`.
        window, tight, normalization: as there.
        output_format: as there, of ``__call__``.
        layout: as there, of ``encode`` and ``__call__``.

    Raises:
        ValueError: for attributes outside of these rules.

    Example:
        >>> import numpy as np
        >>> layer = SlicedNonuniformBank(sample_rate=16_000, num_bins=40, scale="erb")
        >>> clip = np.sin(np.arange(9000, dtype=np.float32))
        >>> sliced = layer.apply({}, clip, method="encode")
        >>> found = layer.apply({}, sliced, length=9000, method="decode")
        >>> sliced.shape, layer.latency, bool(np.allclose(found, clip, atol=1e-6))
        ((6, 432, 40), 4319, True)

    References:
        N. Holighaus, M. Doerfler, G. Velasco and T. Grill, "A framework for invertible, real-time
            constant-Q transforms", IEEE Trans. Audio, Speech and Language Processing 21, 2013.
            https://doi.org/10.1109/TASL.2012.2234114
    """
