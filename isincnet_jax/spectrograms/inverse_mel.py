"""Non-negative inverses of mel and gammatone spectrograms: magnitudes or powers of an STFT."""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp import auditory, checks
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.linen import SettledModule
from isincnet_jax.phase import mel_inversion
from isincnet_jax.spectrograms.weighted_bins import GammatoneFilters, MelFilters
from isincnet_jax.typing import Array

_FORMATS = ("magnitude", "power")


class NonNegativeInverse(SettledModule):
    """Non-negative least-squares inverse of weighted sums of bins; the base of the layers.

    ``argmin_x |D (W x - y)|^2`` over ``x >= 0``, x being ``|X|^power``, frame by frame: accelerated
    projected gradients from the clipped pseudo-inverse (:func:`.mel_inversion.mel_to_magnitude`).
    The diagonal D gives every filter the norm 1, without which wide gammatones converge slowly.
    Of the many x that fit, the one near the start is found. It is differentiable, and gradients
    are finite on silence.

    Attributes:
        sample_rate: Hz.
        n_fft: samples per frame of the STFT.
        power: of the magnitudes that the weights were applied to, as in the forward layer.
        n_iter: gradient steps.
        output_format: "magnitude" (``|X|``) or "power" (``|X|^2``).
    """

    sample_rate: float = 22_050
    n_fft: int = 2048
    power: float = 2.0
    n_iter: int = 200
    output_format: Literal["magnitude", "power"] = "magnitude"

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.check_positive_integers(n_fft=self.n_fft)
        if not (self.power > 0 and math.isfinite(self.power)):
            raise ValueError(f"power={self.power} must be positive; that of the forward layer")
        if self.n_iter < 0:
            raise ValueError(f"n_iter={self.n_iter} must be 0 or more, say 200")
        if self.output_format not in _FORMATS:
            raise ValueError(
                f"output_format={self.output_format!r} is unknown; use one of {', '.join(_FORMATS)}"
            )
        super().__post_init__()

    @property
    def frequencies(self) -> Float[np.ndarray, " bins"]:
        """Frequencies of the bins of the result, Hz, float64 [1 + n_fft // 2]."""
        return auditory.bin_frequencies(self.sample_rate, n_fft=self.n_fft)

    def design(self) -> Float[np.ndarray, "filters bins"]:
        """Weights to invert; subclasses give them.

        Returns:
            Float64 [filters, 1 + n_fft // 2].

        Raises:
            NotImplementedError: in this base.
        """
        raise NotImplementedError

    def invert(self, sums: Float[Array, "... frames filters"]) -> Float[jax.Array, "..."]:
        """Magnitudes or powers whose weighted sums are nearest to those given.

        Args:
            sums: [..., frames, filters], float32 or float64, not negative.

        Returns:
            [..., frames, 1 + n_fft // 2], not negative, in ``output_format``.

        Raises:
            TypeError: for integers.
            ValueError: for sums of another number of filters.
        """
        checks.check_floating(sums, "spectrogram")
        sums = jnp.asarray(sums)
        design = self.design()
        if sums.ndim < 2 or sums.shape[-1] != len(design):
            raise ValueError(
                f"spectrogram.shape={tuple(sums.shape)} must end in frames and {len(design)} "
                "filters, those of the layer"
            )
        # D: rows of W and sums are divided by the norms of the rows; rows of zeros stay.
        sizes = np.linalg.norm(design, axis=1)
        sizes = np.where(sizes > 0, sizes, 1.0)
        # The root of order power / exponent turns |X|^power into |X|^exponent.
        exponent = 1.0 if self.output_format == "magnitude" else 2.0
        return mel_inversion.mel_to_magnitude(
            sums / match_rank(jnp.asarray(sizes, sums.dtype), sums),
            design / sizes[:, None],
            num_iterations=self.n_iter,
            power=self.power / exponent,
        )


class InverseMel(MelFilters, NonNegativeInverse):
    """Inverse mel layer: magnitudes or powers of an STFT, as ``librosa.mel_to_stft`` finds them.

    Attributes:
        n_mels: filters, and all else as in :class:`.MelSpectrogram`.
        fmin: lower edge of the first filter, Hz.
        fmax: upper edge of the last one, Hz; half the sample rate if None.
        htk: HTK's mel scale for Slaney's.
        norm: of the filters.

    All others are those of :class:`NonNegativeInverse`.

    Raises:
        ValueError: for arguments out of range, or a spectrogram of other filters.

    Example:
        >>> mel = jnp.ones((2, 10, 40), jnp.float32)
        >>> InverseMel(n_fft=512, n_mels=40).apply({}, mel).shape
        (2, 10, 257)
    """

    n_mels: int = 128
    fmin: float = 0.0
    fmax: float | None = None
    htk: bool = False
    norm: auditory.FilterNorm = "slaney"

    def __post_init__(self) -> None:
        """Checks the arguments."""
        super().__post_init__()
        checks.check_positive_integers(n_mels=self.n_mels)
        fmax = self.sample_rate / 2 if self.fmax is None else self.fmax
        checks.check_band(fmin=self.fmin, fmax=fmax, sample_rate=self.sample_rate)
        self.design()

    def __call__(self, mel: Float[Array, "... frames mels"]) -> Float[jax.Array, "... frames bins"]:
        """Magnitudes or powers of an STFT from a mel spectrogram.

        Args:
            mel: [..., frames, n_mels].

        Returns:
            [..., frames, 1 + n_fft // 2], not negative.
        """
        return self.invert(mel)


class InverseGammatone(GammatoneFilters, NonNegativeInverse):
    """Inverse gammatone layer: magnitudes or powers of an STFT from a gammatone spectrogram.

    Attributes:
        n_bins: filters, and all else as in :class:`.Gammatonegram`.
        fmin: centre of the first filter, Hz.
        fmax: centre of the filter that would follow the last one, Hz; half the sample rate if None.
        norm: of the filters.

    All others are those of :class:`NonNegativeInverse`.

    Raises:
        ValueError: for arguments out of range, or a spectrogram of other filters.

    Example:
        >>> InverseGammatone(n_fft=512).apply({}, jnp.ones((10, 64), jnp.float32)).shape
        (10, 257)
    """

    n_bins: int = 64
    fmin: float = 20.0
    fmax: float | None = None
    norm: auditory.FilterNorm | Literal["n_fft"] = "n_fft"

    def __post_init__(self) -> None:
        """Checks the arguments."""
        super().__post_init__()
        checks.check_positive_integers(n_bins=self.n_bins)
        fmax = self.sample_rate / 2 if self.fmax is None else self.fmax
        checks.check_band(fmin=self.fmin, fmax=fmax, sample_rate=self.sample_rate)
        self.design()

    def __call__(
        self, gammatonegram: Float[Array, "... frames filters"]
    ) -> Float[jax.Array, "... frames bins"]:
        """Magnitudes or powers of an STFT from a gammatone spectrogram.

        Args:
            gammatonegram: [..., frames, n_bins].

        Returns:
            [..., frames, 1 + n_fft // 2], not negative.
        """
        return self.invert(gammatonegram)
