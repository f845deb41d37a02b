"""Constant-Q and variable-Q layers: CQT1992, CQT1992v2 (= CQT) and VQT, fixed or trainable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.constant_q.dsp import transform as constant_q
from isincnet_jax.constant_q.dsp import wavelet_bank
from isincnet_jax.constant_q.dsp.multirate import KernelGroup
from isincnet_jax.dsp import centering
from isincnet_jax.dsp.checks import as_waveform
from isincnet_jax.dsp.formats import check_output_format, format_parts
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.linen import SettledModule
from isincnet_jax.typing import Waveform

Parts = tuple[jax.Array, jax.Array]


class Correlations(NamedTuple):
    """What a constant-Q layer computes, see :func:`.multirate_analysis.correlate_multirate`.

    Attributes:
        groups: geometry and taps of the kernels.
        kernels: real and imaginary taps of every group, where they are parameters.
        tolerance: chooses the filter between the rates.
        scale: what the inner products are multiplied with, [bins], if anything.
    """

    groups: tuple[KernelGroup, ...]
    kernels: Sequence[Parts] | None
    tolerance: float
    scale: Float[np.ndarray, " bins"] | None


class ConstantQLayer(SettledModule):
    """Constant-Q layer base: arguments, checks, frequencies, frames and formats of them all.

    A fixed layer has no variables: ``layer.apply({}, waveform)``. Coefficients are in the
    waveform's dtype, float32 or float64; parameters are float32.

    Attributes:
        sample_rate: Hz.
        hop_length: samples between frames; any integer of at least 1.
        fmin: centre of the first bin in Hz (C1).
        fmax: bins end at or below it, in Hz; excludes ``n_bins``.
        n_bins: bins; 84 if neither it nor ``fmax`` is given.
        bins_per_octave: bins per octave.
        filter_scale: factor of all lengths, and of Q.
        norm: p of the p-norm of every wavelet (1, 2, inf ...), or None.
        window: name, or name and parameters, for :func:`scipy.signal.get_window`.
        center: frame t is centred at sample ``t hop`` of the padded clip; otherwise frames of
            twice the longest wavelet's half begin there.
        pad_mode: "constant", "reflect", "edge" or "symmetric".
        output_format: "magnitude", "power", "complex" or "phase".
        normalization_type: "librosa" (times the square root of the length in samples),
            "convolutional" (times 1) or "wrap" (times 2: a unit sine has magnitude 1).
        q_convention: "librosa", or "nnaudio" for its old Q.
        trainable_kernels: whether the kernels are parameters.
        precision: of the products on accelerators.

    Raises:
        ValueError: for numbers out of range and unknown names, when the layer is built.
    """

    sample_rate: float = 22_050
    hop_length: int = 512
    fmin: float = 32.70
    fmax: float | None = None
    n_bins: int | None = None
    bins_per_octave: int = 12
    filter_scale: float = 1.0
    norm: float | None = 1
    window: str | tuple[str | float, ...] = "hann"
    center: bool = True
    pad_mode: str = "reflect"
    output_format: str = "magnitude"
    normalization_type: wavelet_bank.NormalizationType = "librosa"
    q_convention: wavelet_bank.QConvention = "librosa"
    trainable_kernels: bool = False
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    def __post_init__(self) -> None:
        """Checks every argument."""
        bank = self.bank
        centering.check_framing(
            frame_length=bank.frame_length, hop_length=self.hop_length, pad_mode=self.pad_mode
        )
        wavelet_bank.response_scale(bank, self.normalization_type)
        check_output_format(self.output_format)
        super().__post_init__()

    @property
    def bank(self) -> wavelet_bank.WaveletBank:
        """Wavelet bank as designed."""
        return wavelet_bank.WaveletBank(
            sample_rate=self.sample_rate,
            fmin=self.fmin,
            n_bins=wavelet_bank.count_bins(
                sample_rate=self.sample_rate,
                fmin=self.fmin,
                fmax=self.fmax,
                n_bins=self.n_bins,
                bins_per_octave=self.bins_per_octave,
            ),
            bins_per_octave=self.bins_per_octave,
            gamma=self._gamma_hz(),
            filter_scale=self.filter_scale,
            norm=self.norm,
            window=self.window,
            q_convention=self.q_convention,
        )

    def _gamma_hz(self) -> float | None:
        return 0.0

    @property
    def frequencies(self) -> Float[np.ndarray, " bins"]:
        """Centre frequencies of the bins, Hz, float64 [bins]."""
        return self.bank.frequencies

    @property
    def kernel_bytes(self) -> int:
        """Memory of the kernels in use in bytes, float32."""
        return sum(2 * 4 * group.taps.size for group in self._groups())

    def frame_times(self, num_samples: int) -> Float[np.ndarray, " frames"]:
        """Times of the frames of a clip, at the position 0 of the wavelets.

        Args:
            num_samples: length of the clip.

        Returns:
            Seconds, float64 [frames].

        Raises:
            ValueError: for an empty clip, or one shorter than a frame if not ``center``.
        """
        frame_length = self.bank.frame_length
        geometry: dict[str, Any] = {
            "frame_length": frame_length,
            "hop_length": self.hop_length,
            "center": self.center,
        }
        num_frames = centering.count_frames(num_samples, **geometry)
        return centering.frame_times(num_frames, sample_rate=self.sample_rate, **geometry)

    def _groups(self) -> tuple[KernelGroup, ...]:
        raise NotImplementedError

    def _tolerance(self) -> float:
        """Largest error against the direct sum that lower rates may bring."""
        raise NotImplementedError

    def _kernels(self) -> Sequence[Parts] | None:
        """Kernels in use if they are parameters."""
        raise NotImplementedError

    def _scale(self) -> Float[np.ndarray, " bins"] | None:
        """What the inner products are multiplied with."""
        raise NotImplementedError

    def _parameterisation(self) -> tuple[str, Any]:
        """Name of the parameters, and what makes them of kernels."""
        return "kernels", lambda taps: taps

    def correlations(self) -> Correlations:
        """Kernels in use and how they are applied.

        The method needs a bound module if kernels are trainable:
        ``layer.apply(variables, method="correlations")``.

        Returns:
            The parts of the transform.
        """
        return Correlations(self._groups(), self._kernels(), self._tolerance(), self._scale())

    def __call__(self, waveform: Waveform) -> jax.Array:
        """Constant-Q transform of clips, in ``output_format``.

        Args:
            waveform: [..., time], float32 or float64.

        Returns:
            [..., frames, bins], of the format asked for.

        Raises:
            TypeError: for integers.
            ValueError: for an empty clip, or one without a frame (``center=False``).
        """
        waveform = as_waveform(waveform)
        used = self.correlations()
        real, imag = constant_q.transform_parts(
            waveform,
            used.groups,
            frame_length=self.bank.frame_length,
            hop_length=self.hop_length,
            tolerance=used.tolerance,
            center=self.center,
            pad_mode=self.pad_mode,
            kernels=used.kernels,
            precision=self.precision,
        )
        if used.scale is not None:
            factors = match_rank(jnp.asarray(used.scale, real.dtype), real)
            real, imag = real * factors, imag * factors
        return format_parts(real, imag, output_format=self.output_format)


def split_parts(taps: Complex[np.ndarray, "bins taps"]) -> Float[jax.Array, "2 bins taps"]:
    """Kernel parameters of complex taps: real and imaginary parts, stacked.

    Args:
        taps: complex [bins, taps].

    Returns:
        Float32 [2, bins, taps].
    """
    return jnp.asarray(np.stack([np.real(taps), np.imag(taps)]), jnp.float32)


def kernels_of_spectra(spectra: Float[jax.Array, "2 bins taps"]) -> Parts:
    """Kernels that are given by their unitary DFT.

    Args:
        spectra: real and imaginary parts, [2, bins, taps].

    Returns:
        Real and imaginary taps, [bins, taps] each.
    """
    taps = jnp.fft.ifft(lax.complex(spectra[0], spectra[1]), axis=-1, norm="ortho")
    return jnp.real(taps), jnp.imag(taps)


class CQT1992v2(ConstantQLayer):
    """Constant-Q transform with wavelets in time.

    ``X[t, k] = c_k sum_n x[t hop + n] conj(w_k[n])`` with librosa's wavelets, see
    :mod:`.wavelet_bank`. Fixed kernels run at lower rates where that is cheaper,
    within 7e-6 of the direct sum. Trainable ones are full-rate wavelets, grouped by length:
    parameters ``kernels_0``, ``kernels_1`` ... of [2, bins of the group, taps], real and
    imaginary parts, by ascending frequency; :meth:`padded_kernels` puts them together.

    Departure: nnAudio pads all kernels to one power of two, 13 times the products of the default
    bank, and has its own Q (``q_convention="nnaudio"``). :func:`librosa.cqt` convolves instead of
    correlating, and re-designs wavelets at every octave's rate; odd windows lie half a sample of
    that rate to the other side, and its coefficients differ by about 1 %.

    Example:
        >>> import jax.numpy as jnp
        >>> CQT1992v2(fmin=110.0, n_bins=24).apply({}, jnp.zeros((2, 22_050))).shape
        (2, 44, 24)

    References:
        J. C. Brown, "Calculation of a constant Q spectral transform", JASA 89, 1991.
            https://doi.org/10.1121/1.400476
    """

    def _tolerance(self) -> float:
        return 0.0 if self.trainable_kernels else constant_q.DIRECT_TOLERANCE

    def _scale(self) -> Float[np.ndarray, " bins"] | None:
        if not self.trainable_kernels:
            return None
        return wavelet_bank.response_scale(self.bank, self.normalization_type)

    def _groups(self) -> tuple[KernelGroup, ...]:
        return constant_q.plan_groups(
            self.bank,
            hop_length=self.hop_length,
            normalization_type="convolutional"
            if self.trainable_kernels
            else self.normalization_type,
            tolerance=self._tolerance(),
        )

    def setup(self) -> None:
        """Creates the parameters."""
        if not self.trainable_kernels:
            return
        name, transform = self._parameterisation()
        self.parameters = [
            self.param(f"{name}_{index}", lambda key, taps=group.taps: split_parts(transform(taps)))
            for index, group in enumerate(self._groups())
        ]

    def _kernels(self) -> list[Parts] | None:
        if not self.trainable_kernels:
            return None
        return [(parts[0], parts[1]) for parts in self.parameters]

    def padded_kernels(self) -> Complex[jax.Array, "bins taps"]:
        """Kernels of all bins in frames of the longest, position 0 in the middle, without ``c_k``.

        The method needs a bound module if kernels are trainable:
        ``layer.apply(variables, method="padded_kernels")``.

        Returns:
            Complex64 [bins, taps].
        """
        kernels = self._kernels()
        if kernels is None:
            return jnp.asarray(self.bank.padded_wavelets(), jnp.complex64)
        frame, rows = self.bank.frame_length, []
        for group, (real, imag) in zip(self._groups(), kernels, strict=True):
            before = frame // 2 + group.first
            edges = [(0, 0), (before, frame - before - group.taps.shape[-1])]
            rows.append(jnp.pad(lax.complex(real, imag), edges))
        return jnp.concatenate(rows)


class CQT1992(CQT1992v2):
    """Constant-Q transform with wavelets given by their spectra.

    Trainable parameters are ``spectra_0``, ``spectra_1`` ... of [2, bins, taps]: real and
    imaginary parts of the unitary DFT of every kernel of a group (see :class:`CQT1992v2`). By
    Parseval's theorem the products with the spectra of frames are those with the kernels in time,
    and those are computed, being cheaper. Fixed kernels: the same as :class:`CQT1992v2`.

    Departure: nnAudio multiplies explicit Fourier transforms of frames as long as the longest
    kernel, keeps positive frequencies only, starts at 220 Hz and raises by default.

    Example:
        >>> import jax
        >>> layer = CQT1992(fmin=110.0, n_bins=24, trainable_kernels=True)
        >>> variables = jax.eval_shape(layer.init, jax.random.key(0), jnp.zeros((1, 22_050)))
        >>> sorted(variables["params"])[0]
        'spectra_0'

    References:
        J. C. Brown and M. S. Puckette, "An efficient algorithm for the calculation of a constant
            Q transform", JASA 92, 1992, equation 5. https://doi.org/10.1121/1.404385
    """

    def _parameterisation(self) -> tuple[str, Any]:
        return "spectra", lambda taps: np.fft.fft(taps, axis=-1, norm="ortho")

    def _kernels(self) -> list[Parts] | None:
        if not self.trainable_kernels:
            return None
        return [kernels_of_spectra(spectra) for spectra in self.parameters]


class VQT(CQT1992v2):
    """Variable-Q transform: :class:`CQT1992v2` with bandwidths ``alpha f + gamma``.

    Departure: nnAudio's is recursive and wrong after early downsampling (a tone of 440 Hz comes
    out 12 bins too high at 44.1 kHz).

    Attributes:
        gamma: Hz added to all bandwidths; 0 is constant Q, None follows the equivalent
            rectangular bandwidth of the ear, as in :func:`librosa.vqt`.

    Example:
        >>> layer = VQT(fmin=110.0, n_bins=24, gamma=20.0)
        >>> layer.apply({}, jnp.zeros((2, 22_050))).shape
        (2, 44, 24)

    References:
        C. Schoerkhuber et al., "A Matlab toolbox for efficient perfect reconstruction
            time-frequency transforms with log-frequency resolution", AES Semantic Audio, 2014.
            https://aes.org/publications/elibrary-page/?id=17112
    """

    gamma: float | None = 0.0

    def _gamma_hz(self) -> float | None:
        return self.gamma


CQT = CQT1992v2
"""The default constant-Q transform."""
