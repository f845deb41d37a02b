"""Inverse short-time Fourier transform layer, its basis and window fixed or learned."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.bank.solve import UnseenSamplesWarning
from isincnet_jax.dsp import batched_fft, checks, fourier, overlap
from isincnet_jax.dsp.settling import settles
from isincnet_jax.linen import SettledModule
from isincnet_jax.spectrograms import stft
from isincnet_jax.typing import Array, Waveform


class InverseSTFT(SettledModule):
    """Inverse STFT: the least-squares inverse of a complex :class:`.STFT` with the scale "none".

    Windowed overlap-add of inverse transforms over the sum of the squared windows, exact where
    windows overlap without a gap (:func:`.fourier.istft`). Other frequency scales
    have no such inverse and are not offered; for logarithmic bins that come back see
    ``InvertibleCQT``.

    Samples that no frame sees come back as zeros: without centring up to ``hop_length - 1`` at the
    end of a clip, and with it up to ``hop_length - 1 - win_length // 2``, if windows overlap less
    than that. A call that asks for them warns; zeros behind the clip, a hop of them before the
    STFT, bring them back.

    Attributes:
        n_fft: samples per frame.
        win_length: samples of the window, ``n_fft`` if None.
        hop_length: samples between frames, a quarter of the window if None.
        window: a name of :func:`scipy.signal.get_window`.
        center: whether frames were centred.
        onesided: whether the bins are those of a real signal, ``n_fft // 2 + 1``; otherwise all
            ``n_fft``, of which the part that belongs to a real signal is used.
        normalization: as given to the STFT.
        trainable_kernels: whether the basis is a parameter ``inverse_basis`` [2 bins, n_fft].
        trainable_window: whether the window is a parameter ``taper`` [n_fft].
        precision: of products on accelerators.

    Raises:
        ValueError: for arguments that do not fit each other, at construction.

    Example:
        >>> waveform = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
        >>> forward = stft.STFT(n_fft=512, hop_length=128, output_format="complex")
        >>> inverse = InverseSTFT(n_fft=512, hop_length=128)
        >>> again = inverse.apply({}, forward.apply({}, waveform), length=4000)
        >>> bool(np.max(np.abs(again - waveform)) < 1e-5)
        True
    """

    n_fft: int = 2048
    win_length: int | None = None
    hop_length: int | None = None
    window: str = "hann"
    center: bool = True
    onesided: bool = True
    normalization: str | None = None
    trainable_kernels: bool = False
    trainable_window: bool = False
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.check_positive_integers(n_fft=self.n_fft, hop_length=self.hop_length)
        checks.check_positive_integers(win_length=self.win_length)
        stft.check_normalization(self.normalization)
        taps = fourier.checked_win_length(self.win_length, self.n_fft)
        fourier.stft_window(self.window, taps, self.n_fft)
        if self.hop > taps:
            raise ValueError(
                f"hop_length={self.hop} exceeds the window of {taps} samples: samples between "
                f"frames would be lost; use hop_length <= {taps}"
            )
        super().__post_init__()

    @property
    def hop(self) -> int:
        """Hop length in samples: ``hop_length``, or a quarter of the window."""
        taps = fourier.checked_win_length(self.win_length, self.n_fft)
        return max(taps // 4, 1) if self.hop_length is None else self.hop_length

    @property
    def _fixed_window(self) -> np.ndarray:
        taps = fourier.checked_win_length(self.win_length, self.n_fft)
        return fourier.stft_window(self.window, taps, self.n_fft)

    def setup(self) -> None:
        """Creates the parameters, if any."""
        if self.trainable_window:
            taper = self._fixed_window
            self.taper = self.param("taper", lambda key: jnp.asarray(taper, jnp.float32))
        if self.trainable_kernels:
            self.inverse_basis = self.param("inverse_basis", lambda key: jnp.asarray(self._basis()))

    def _basis(self) -> Float[np.ndarray, "channels n_fft"]:
        """The inverse real DFT as a matrix: rows of real parts, then of imaginary ones."""
        unit = np.fft.irfft(np.eye(self.n_fft // 2 + 1), n=self.n_fft, axis=-1)
        turned = np.fft.irfft(1j * np.eye(self.n_fft // 2 + 1), n=self.n_fft, axis=-1)
        return np.concatenate([unit, turned]).astype(np.float32)

    @settles
    def __call__(
        self, spectrum: Complex[Array, "... frames bins"], *, length: int | None = None
    ) -> Waveform:
        """Least-squares inverse: the waveform whose STFT is nearest.

        Args:
            spectrum: [..., frames, bins], complex.
            length: samples of the waveform; ``(frames - 1) hop`` if None, and a frame more if the
                frames are not centred.

        Returns:
            [..., length], floating.

        Raises:
            TypeError: for a spectrum that is not complex, such as magnitudes.
            ValueError: for the bins of another ``n_fft``.

        Warns:
            UnseenSamplesWarning: if ``length`` goes beyond what the frames have seen.
        """
        checks.check_complex(spectrum, "spectrum")
        bins = self.n_fft // 2 + 1
        expected = bins if self.onesided else self.n_fft
        if spectrum.ndim < 2 or spectrum.shape[-1] != expected:
            raise ValueError(
                f"spectrum.shape={spectrum.shape}: onesided={self.onesided} and n_fft={self.n_fft} "
                f"expect [..., frames, {expected}]"
            )
        spectrum = jnp.asarray(spectrum)
        if not self.onesided:
            # A real signal has X[N - k] = conj(X[k]); (X[k] + conj(X[N - k])) / 2 is its part.
            mirrored = jnp.conj(jnp.roll(jnp.flip(spectrum, axis=-1), 1, axis=-1))
            spectrum = ((spectrum + mirrored) / 2)[..., :bins]
        taper = self._fixed_window
        spectrum = spectrum / stft.normalizing_factor(taper, self.normalization)
        num_frames = spectrum.shape[-2]
        if length is None:
            # Centred frames lie hop apart around the samples 0 to (frames - 1) hop.
            length = (num_frames - 1) * self.hop + (0 if self.center else self.n_fft)
        else:
            self._warn_of_unseen(length, num_frames)
        frames = self._frames(spectrum)
        weights = jnp.asarray(self.taper if self.trainable_window else taper, frames.dtype)
        # x[n] = sum_t w[n - t hop] y_t[n - t hop] / sum_t w[n - t hop]^2
        return overlap.overlap_frames(
            frames, weights, hop_length=self.hop, center=self.center, length=length
        )

    def _warn_of_unseen(self, length: int, num_frames: int) -> None:
        last_tap = int(np.flatnonzero(self._fixed_window)[-1])
        last = (num_frames - 1) * self.hop + last_tap - (self.n_fft // 2 if self.center else 0)
        if length - 1 > last:
            warnings.warn(
                f"length={length}: the last {min(length - 1 - last, length)} samples are in no "
                f"frame and come back as zeros (hop_length={self.hop}, center={self.center}); "
                f"append {self.hop} zeros to the waveform before the STFT",
                UnseenSamplesWarning,
                stacklevel=3,
            )

    def _frames(self, spectrum: jax.Array) -> jax.Array:
        if not self.trainable_kernels:
            return batched_fft.irfft(spectrum, self.n_fft)
        both = jnp.concatenate([jnp.real(spectrum), jnp.imag(spectrum)], axis=-1)
        return jnp.matmul(both, self.inverse_basis.astype(both.dtype), precision=self.precision)
