"""Weighted sums of the powers of an STFT: what mel, gammatone and chroma layers share."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import auditory, centering, checks, fourier
from isincnet_jax.linen import SettledModule
from isincnet_jax.spectrograms.stft import STFT
from isincnet_jax.typing import Array, Waveform


class StftGeometry(SettledModule):
    """STFT geometry: arguments of all layers that start with its power; no layer by itself.

    Attributes:
        sample_rate: Hz.
        n_fft: samples per frame.
        win_length: samples of the window, ``n_fft`` if None; zero-padded to ``n_fft``.
        hop_length: samples between frames.
        window: a name of :func:`scipy.signal.get_window`.
        center: whether the middle of frame 0 is sample 0; otherwise its first sample is.
        pad_mode: "reflect", "constant", "edge" or "symmetric": what lies beyond the ends of
            centred frames. librosa's default is "constant", nnAudio's "reflect".
        power: of the magnitudes: 2 for energies, 1 for magnitudes, any positive number.
        trainable_stft: whether the Fourier kernels are parameters; they start as the STFT.
        precision: of the products on accelerators, which may otherwise use TF32 or bfloat16.
    """

    sample_rate: float = 22_050
    n_fft: int = 2048
    win_length: int | None = None
    hop_length: int = 512
    window: str = "hann"
    center: bool = True
    pad_mode: str = "reflect"
    power: float = 2.0
    trainable_stft: bool = False
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.check_positive_integers(
            n_fft=self.n_fft, win_length=self.win_length, hop_length=self.hop_length
        )
        centering.check_framing(
            frame_length=self.n_fft, hop_length=self.hop_length, pad_mode=self.pad_mode
        )
        win_length = fourier.checked_win_length(self.win_length, self.n_fft)
        fourier.stft_window(self.window, win_length, self.n_fft)
        checks.check_rate(self.sample_rate)
        if not (self.power > 0 and math.isfinite(self.power)):
            raise ValueError(
                f"power={self.power} must be positive; 1 for magnitudes, 2 for energies"
            )
        super().__post_init__()

    def geometry(self) -> dict[str, Any]:
        """Arguments of this class, for another layer with the same frames.

        Returns:
            Values by field name, ``sample_rate`` to ``precision``.
        """
        names = (field.name for field in dataclasses.fields(StftGeometry))
        return {name: getattr(self, name) for name in names if name not in ("parent", "name")}

    def upper_hz(self, fmax: float | None) -> float:
        """Upper frequency limit: ``fmax``, or half the sample rate.

        Args:
            fmax: Hz, or None.

        Returns:
            Hz.
        """
        return self.sample_rate / 2 if fmax is None else fmax

    def frame_times(self, num_samples: int) -> Float[np.ndarray, " frames"]:
        """Times of the middles of the frames of a clip.

        Args:
            num_samples: length of the clip.

        Returns:
            Seconds, float64 [frames].

        Raises:
            ValueError: for an empty clip, or one shorter than a frame if not ``center``.
        """
        options: Any = {
            "frame_length": self.n_fft,
            "hop_length": self.hop_length,
            "center": self.center,
        }
        count = centering.count_frames(num_samples, **options)
        return centering.frame_times(count, sample_rate=self.sample_rate, **options)


class WeighedSpectrogram(StftGeometry):
    """Spectrogram of weighted bins of an STFT, fixed or trained; the base of the layers.

    A subclass gives :meth:`design`, and says in :meth:`is_trainable` whether the weights are the
    parameter ``basis`` [filters, bins], float32. Layers with nothing trainable have no variables.
    """

    def design(self) -> Float[np.ndarray, "filters bins"]:
        """Weights as designed; subclasses give them.

        Returns:
            Float64 [filters, 1 + n_fft // 2].

        Raises:
            NotImplementedError: in this base.
        """
        raise NotImplementedError

    def is_trainable(self) -> bool:
        """Whether the weights are a parameter; subclasses say so.

        Returns:
            True for the parameter ``basis``, False for the fixed design.

        Raises:
            NotImplementedError: in this base.
        """
        raise NotImplementedError

    def setup(self) -> None:
        """Creates the parameters that were asked for."""
        if self.is_trainable():
            start = self.design()
            self.basis = self.param("basis", lambda key: jnp.asarray(start, jnp.float32))
        if self.trainable_stft:
            self.stft = STFT(
                sample_rate=self.sample_rate,
                n_fft=self.n_fft,
                win_length=self.win_length,
                hop_length=self.hop_length,
                window=self.window,
                center=self.center,
                pad_mode=self.pad_mode,
                trainable_kernels=True,
                output_format="complex",
                precision=self.precision,
            )

    def weights(self) -> Float[Array, "filters bins"]:
        """Weights in use: the parameter, or the fixed design.

        Returns:
            [filters, 1 + n_fft // 2], float32 or float64.
        """
        return self.basis if self.is_trainable() else self.design()

    def weigh(self, waveform: Waveform) -> Float[jax.Array, "... frames filters"]:
        """Weighted sums ``Y[t, m] = sum_k W[m, k] |X[t, k]|^power`` of a waveform's STFT.

        Args:
            waveform: [..., time], float32 or float64.

        Returns:
            [..., frames, filters], the dtype of the waveform.

        Raises:
            TypeError: for other dtypes.
            ValueError: for an empty clip, or one shorter than a frame if not ``center``.
        """
        waveform = checks.as_waveform(waveform)
        weights = self.weights()

        # sum_k W[m, k] |X[t, k]|^power, while a frame's spectrum is in the cache if X is an FFT.
        def product(values: Any) -> jax.Array:
            return auditory.weigh_bins(values, weights, precision=self.precision)

        if self.trainable_stft:
            return product(fourier.spectrum_power(self.stft(waveform), self.power))
        return fourier.stft_power(
            waveform,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            win_length=self.win_length,
            window=self.window,
            center=self.center,
            pad_mode=self.pad_mode,
            power=self.power,
            then=product,
        )


class MelFilters:
    """Mel filters of layers with the arguments of :func:`.auditory.mel_weights`."""

    def design(self: Any) -> Float[np.ndarray, "mels bins"]:
        """Mel filters of the layer's arguments.

        Returns:
            Float64 [n_mels, 1 + n_fft // 2].
        """
        return auditory.mel_weights(
            self.sample_rate,
            n_fft=self.n_fft,
            n_mels=self.n_mels,
            fmin=self.fmin,
            fmax=self.fmax,
            htk=self.htk,
            norm=self.norm,
        )


class GammatoneFilters:
    """Gammatone weights of layers with the arguments of :func:`.auditory.gammatone_weights`."""

    def design(self: Any) -> Float[np.ndarray, "filters bins"]:
        """Gammatone weights of the layer's arguments.

        Returns:
            Float64 [n_bins, 1 + n_fft // 2].
        """
        return auditory.gammatone_weights(
            self.sample_rate,
            n_fft=self.n_fft,
            n_bins=self.n_bins,
            fmin=self.fmin,
            fmax=self.fmax,
            norm=self.norm,
        )
