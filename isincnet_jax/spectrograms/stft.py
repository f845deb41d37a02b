"""Short-time Fourier transform layer, at the frequencies of an FFT or any others."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import batched_fft, centering, checks, formats, fourier
from isincnet_jax.linen import SettledModule
from isincnet_jax.spectrograms.dsp import nonuniform, shared_products
from isincnet_jax.typing import Waveform

NORMALIZATIONS = (None, "window", "frame")


def check_normalization(normalization: str | None) -> None:
    """Checks the normalisation of an STFT.

    Args:
        normalization: None, "window" or "frame".

    Raises:
        ValueError: for any other.
    """
    if normalization not in NORMALIZATIONS:
        raise ValueError(
            f'normalization={normalization!r} is unknown; use None, "window" (frames of unit '
            'energy windows) or "frame" (divided by the root of n_fft)'
        )


def normalizing_factor(window: np.ndarray, normalization: str | None) -> float:
    """Normalisation factor of an STFT: 1, 1 / sqrt(sum w^2) or 1 / sqrt(n_fft).

    Args:
        window: w, zero-padded to the frame, [n_fft].
        normalization: None, "window" or "frame", in this order.

    Returns:
        What the spectrum is multiplied by, and its inverse divided by.
    """
    if normalization is None:
        return 1.0
    energy = float(np.sum(window**2)) if normalization == "window" else float(len(window))
    return energy**-0.5


class STFT(SettledModule):
    """Short-time Fourier transform whose kernels and window may be learned.

    ``X[t, k] = sum_n w[n] x[t hop + n - n_fft // 2] exp(-2 pi i f_k n / sample_rate)``: with the
    defaults it is ``abs(librosa.stft(pad_mode="reflect"))``, frames first. Fixed bases run through
    FFTs whatever their frequencies (:mod:`.nonuniform`); a trainable basis is a
    product with ``kernels`` [2 bins, n_fft], cosines before negative sines, without the window.

    Departure: nnAudio writes "no" for the scale "none", its "Magnitude" of silence has infinite
    gradients, and its arguments that have no effect are silent; here they are refused.

    Attributes:
        sample_rate: Hz.
        n_fft: samples per frame.
        win_length: samples of the window, ``n_fft`` if None; zero-padded to ``n_fft``.
        freq_bins: number of frequencies, ``n_fft // 2 + 1`` if None.
        hop_length: samples between frames, a quarter of the window if None.
        window: a name of :func:`scipy.signal.get_window`.
        freq_scale: "none" (bins of an FFT), "linear", "log" or "log2" (two names of one scale), see
            :func:`.nonuniform.fourier_frequencies`.
        center: whether the middle of frame 0 is sample 0; otherwise its first sample is.
        pad_mode: beyond the ends of centred frames: "reflect", "constant", "edge", "symmetric".
        fmin: Hz, the first frequency; 50 if None. Refused for the scale "none".
        fmax: Hz, a step above the last frequency; the lower of 6000 and half the sample rate if
            None. Refused for the scale "none".
        output_format: "magnitude", "power", "complex" or "phase" (radians), see
            :func:`.formats.format_spectrum`.
        normalization: None, "window" (divided by the root of the window's energy, so that white
            noise keeps its level) or "frame" (by the root of ``n_fft``, as PyTorch's).
        trainable_kernels: whether cosines and sines are a parameter ``kernels``.
        trainable_window: whether the window is a parameter ``taper`` [n_fft].
        precision: of products on accelerators.

    Raises:
        ValueError: for arguments that do not fit each other, at construction.

    Example:
        >>> layer = STFT(sample_rate=16_000, n_fft=512, hop_length=128)
        >>> magnitude = layer.apply({}, jnp.zeros((2, 16_000)))
        >>> magnitude.shape  # [batch, frames, bins]
        (2, 126, 257)
    """

    sample_rate: float = 22_050
    n_fft: int = 2048
    win_length: int | None = None
    freq_bins: int | None = None
    hop_length: int | None = None
    window: str = "hann"
    freq_scale: str = "none"
    center: bool = True
    pad_mode: str = "reflect"
    fmin: float | None = None
    fmax: float | None = None
    output_format: str = "magnitude"
    normalization: str | None = None
    trainable_kernels: bool = False
    trainable_window: bool = False
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.check_positive_integers(n_fft=self.n_fft, freq_bins=self.freq_bins)
        checks.check_positive_integers(win_length=self.win_length, hop_length=self.hop_length)
        checks.check_rate(self.sample_rate)
        fourier.stft_window(self.window, self.taps, self.n_fft)
        formats.check_output_format(self.output_format)
        check_normalization(self.normalization)
        centering.check_framing(
            frame_length=self.n_fft, hop_length=self.hop, pad_mode=self.pad_mode
        )
        if self.freq_scale == "none" and (self.fmin is not None or self.fmax is not None):
            raise ValueError(
                f"fmin={self.fmin}, fmax={self.fmax} have no effect with freq_scale='none'; leave "
                "them out or use freq_scale='linear' or 'log'"
            )
        _ = self.frequencies
        super().__post_init__()

    @property
    def taps(self) -> int:
        """Window length in samples: ``win_length``, or ``n_fft``."""
        return fourier.checked_win_length(self.win_length, self.n_fft)

    @property
    def hop(self) -> int:
        """Hop length in samples: ``hop_length``, or a quarter of the window."""
        return max(self.taps // 4, 1) if self.hop_length is None else self.hop_length

    @property
    def frequencies(self) -> Float[np.ndarray, " bins"]:
        """Frequencies of the bins in Hz."""
        top = min(6000.0, self.sample_rate / 2) if self.fmax is None else self.fmax
        return nonuniform.fourier_frequencies(
            n_fft=self.n_fft,
            freq_bins=self.freq_bins,
            freq_scale=self.freq_scale,
            fmin=50.0 if self.fmin is None else self.fmin,
            fmax=top,
            sample_rate=self.sample_rate,
        )

    def frame_times(self, num_samples: int) -> Float[np.ndarray, " frames"]:
        """Times of the middles of the frames of a clip.

        Args:
            num_samples: length of the clip.

        Returns:
            Seconds, float64 [frames].

        Raises:
            ValueError: for an empty clip, or one shorter than a frame if not ``center``.
        """
        geometry: Any = {"frame_length": self.n_fft, "hop_length": self.hop, "center": self.center}
        count = centering.count_frames(num_samples, **geometry)
        return centering.frame_times(count, sample_rate=self.sample_rate, **geometry)

    def setup(self) -> None:
        """Creates the parameters, if any."""
        if self.trainable_window:
            taper = fourier.stft_window(self.window, self.taps, self.n_fft)
            self.taper = self.param("taper", lambda key: jnp.asarray(taper, jnp.float32))
        if self.trainable_kernels:
            self.kernels = self.param("kernels", lambda key: jnp.asarray(self._basis()))

    def _basis(self) -> Float[np.ndarray, "channels n_fft"]:
        basis = nonuniform.fourier_kernels(
            self.frequencies, n_fft=self.n_fft, sample_rate=self.sample_rate
        )
        return np.concatenate([np.real(basis), np.imag(basis)]).astype(np.float32)

    def __call__(self, waveform: Waveform) -> Float[jax.Array, "... frames bins"]:
        """Short-time Fourier transform of a waveform, in ``output_format``.

        Args:
            waveform: [..., time], floating, any leading axes.

        Returns:
            [..., frames, bins]: float of the waveform's dtype, complex for "complex".

        Raises:
            TypeError: for other dtypes.
            ValueError: for an empty clip, or one shorter than a frame if not ``center``.
        """
        waveform = checks.as_waveform(waveform)
        dtype = waveform.dtype
        fixed = fourier.stft_window(self.window, self.taps, self.n_fft)
        taper = self.taper if self.trainable_window else fixed
        # A trained window keeps the factor of the one that it started as.
        taper = jnp.asarray(taper, dtype) * normalizing_factor(fixed, self.normalization)
        padded = centering.pad_frames(
            waveform,
            frame_length=self.n_fft,
            hop_length=self.hop,
            center=self.center,
            pad_mode=self.pad_mode,
        )
        if self.trainable_kernels:
            # X[t, k] = sum_n x[t hop + n] (w[n] kernel_k[n]), real and imaginary parts apart.
            kernels = self.kernels.astype(dtype) * taper[None]
            both = shared_products.correlate_frames(
                padded, kernels, hop_length=self.hop, precision=self.precision
            )
            return formats.format_parts(
                *jnp.split(both, 2, axis=-1), output_format=self.output_format
            )
        if self.output_format == "complex":
            # The mapping below takes real results only.
            frames = fourier.windowed_frames(padded, taper, hop_length=self.hop)
            return jax.lax.complex(*self._parts(frames))
        return fourier.map_windowed_frames(
            lambda frames: formats.format_parts(
                *self._parts(frames), output_format=self.output_format
            ),
            padded,
            taper,
            hop_length=self.hop,
            frame_samples=self.n_fft * (1 if self.freq_scale == "none" else 2),
        )

    def _parts(self, frames: Any) -> tuple[jax.Array, jax.Array]:
        """Real and imaginary parts of the spectra of windowed frames."""
        if self.freq_scale == "none":
            spectrum = batched_fft.rfft(frames)[..., : self.freq_bins]
            return jnp.real(spectrum), jnp.imag(spectrum)
        design = nonuniform.design_interpolation(
            self.frequencies, n_fft=self.n_fft, sample_rate=self.sample_rate
        )
        parts = nonuniform.interpolated_spectra(frames, design, precision=self.precision)
        if self.output_format in {"magnitude", "power"}:
            return parts
        return nonuniform.turn(*parts, design.turns)
