"""CFP: combined frequency and periodicity, a pitch salience, as a Linen module."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import centering
from isincnet_jax.linen import SettledModule
from isincnet_jax.spectrograms.dsp import cfp, cfp_bands
from isincnet_jax.typing import Array, Waveform


class CFP(SettledModule):
    """Combined frequency and periodicity (CFP), a pitch salience over logarithmic frequency.

    The product of a spectrum and a generalised cepstrum on one axis: of a harmonic tone, the
    overtones vanish with the cepstrum and the subharmonics with the spectrum. Formulas,
    references and departures: :func:`.cfp.combined_frequency_periodicity`.
    The layer has no variables.

    ======================  ====================================================
    ours                    nnAudio's ``CFP`` / ``Combined_Frequency_Periodicity``
    ======================  ====================================================
    sample_rate             ``fs``
    frequency_resolution    ``fr``
    win_length              ``window_size``
    fmin                    ``fc``
    tc                      ``tc``
    gammas                  ``g``
    bins_per_octave         ``NumPerOct``
    ``__call__``            ``Z``
    ``features``            ``Z, tfrL0, tfrLF, tfrLQ``
    ======================  ====================================================

    Attributes:
        sample_rate: Hz.
        hop_length: samples between frames.
        frequency_resolution: spacing of the lines of the spectrum, Hz.
        win_length: samples of the window.
        window: a name of :func:`scipy.signal.get_window`; symmetric.
        fmin: lowest pitch and first band, Hz.
        tc: shortest period, seconds; the bands lie below ``1 / tc``.
        gammas: powers of the layers, two or more; a first one of 0 stands for the logarithm.
        bins_per_octave: bands per octave.
        center: whether the middle of frame t is sample ``t hop_length``.
        pad_mode: "constant", "reflect", "edge" or "symmetric"; without effect if not ``center``.
        precision: of the products on accelerators.

    Raises:
        ValueError: at construction, for arguments that exclude each other or have no effect.

    Example:
        >>> tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 16_000)
        >>> layer = CFP()
        >>> salience = layer.apply({}, (tone + 0.5 * tone**3).astype(np.float32))
        >>> salience.shape
        (26, 175)
        >>> round(float(layer.frequencies[np.argmax(salience[12])]))
        440
    """

    sample_rate: float = 16_000
    hop_length: int = 320
    frequency_resolution: float = 2.0
    win_length: int = 2049
    window: str = "blackmanharris"
    fmin: float = 80.0
    tc: float = 1 / 1000
    gammas: tuple[float, ...] = (0.24, 0.6, 1.0)
    bins_per_octave: int = 48
    center: bool = True
    pad_mode: str = "constant"
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    def __post_init__(self) -> None:
        """Checks the attributes."""
        options = self._options()
        del options["center"], options["precision"]
        cfp_bands.check_cfp(**options)
        super().__post_init__()

    def _options(self) -> dict[str, Any]:
        return {
            "sample_rate": self.sample_rate,
            "hop_length": self.hop_length,
            "frequency_resolution": self.frequency_resolution,
            "win_length": self.win_length,
            "window": self.window,
            "fmin": self.fmin,
            "tc": self.tc,
            "gammas": self.gammas,
            "bins_per_octave": self.bins_per_octave,
            "center": self.center,
            "pad_mode": self.pad_mode,
            "precision": self.precision,
        }

    @property
    def n_fft(self) -> int:
        """Transform length in samples, ``int(sample_rate / frequency_resolution)``."""
        return cfp_bands.cfp_n_fft(
            sample_rate=self.sample_rate, frequency_resolution=self.frequency_resolution
        )

    @property
    def frequencies(self) -> Float[np.ndarray, " bins"]:
        """Centre frequencies of the bands, Hz, float64 [bins]."""
        return cfp_bands.cfp_frequencies(
            fmin=self.fmin, tc=self.tc, bins_per_octave=self.bins_per_octave
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
        geometry: dict[str, Any] = {
            "frame_length": cfp_bands.cfp_frame_length(self.win_length),
            "hop_length": self.hop_length,
            "center": self.center,
        }
        num_frames = centering.count_frames(num_samples, **geometry)
        return centering.frame_times(num_frames, sample_rate=self.sample_rate, **geometry)

    def features(self, waveform: Waveform) -> cfp.CFPFeatures:
        """Pitch salience, and the three spectrograms that it is made of, on one axis of bands.

        Args:
            waveform: [..., time], float32 or float64.

        Returns:
            Salience, magnitude, spectrum and cepstrum, [..., frames, bins] each, in the
            waveform's dtype.

        Raises:
            TypeError: for other dtypes.
            ValueError: for an empty clip, or one shorter than a frame if not ``center``.
        """
        return cfp.combined_frequency_periodicity(waveform, **self._options())

    def __call__(self, waveform: Waveform) -> Float[Array, "... frames bins"]:
        """Pitch salience of a waveform.

        Args:
            waveform: [..., time], floating.

        Returns:
            [..., frames, bins] in the waveform's dtype, not negative unless ``gammas[0]`` is 0
            and there are but two.
        """
        salience: jax.Array = self.features(waveform).salience
        return salience
