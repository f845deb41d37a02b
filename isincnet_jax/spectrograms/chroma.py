"""Chromagram layer: the energy of pitch classes in the frames of an STFT."""

from __future__ import annotations

import math

import jax
import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp import checks
from isincnet_jax.spectrograms.dsp import chroma
from isincnet_jax.spectrograms.weighted_bins import WeighedSpectrogram
from isincnet_jax.typing import Waveform


class Chroma(WeighedSpectrogram):
    """Chromagram of an STFT: ``librosa.feature.chroma_stft`` with a given tuning.

    ``|X|^power`` is folded onto the classes by :func:`.chroma.chroma_weights`, and each frame
    divided by its norm; silent frames stay 0. Gradients are finite on silence. For the chroma of a
    constant-Q transform see :func:`.chroma.cq_to_chroma`.

    Attributes:
        n_chroma: pitch classes of an octave.
        tuning: deviation from A = 440 Hz in fractions of a class; it is not estimated.
        ctroct: octave of the largest weight, counted from A0 = 27.5 Hz.
        octwidth: width of the octave weighting; None for none.
        base_c: whether class 0 is C; A otherwise, and with fewer than 12 classes.
        norm: p of the norm over the classes of a frame; inf, or None for raw energies.
        trainable_chroma: whether the weights are a parameter, ``basis`` [n_chroma, bins].

    All others are those of :class:`.StftGeometry`.

    Raises:
        ValueError: for arguments out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> tone = jnp.sin(2 * jnp.pi * 440 / 22_050 * jnp.arange(22_050, dtype=jnp.float32))
        >>> int(jnp.argmax(Chroma().apply({}, tone)[20]))  # A, the tenth class from C
        9
    """

    n_chroma: int = 12
    tuning: float = 0.0
    ctroct: float = 5.0
    octwidth: float | None = 2.0
    base_c: bool = True
    norm: float | None = math.inf
    trainable_chroma: bool = False

    def __post_init__(self) -> None:
        """Checks the arguments."""
        super().__post_init__()
        checks.check_positive_integers(n_chroma=self.n_chroma)
        chroma.check_norm(self.norm)
        self.design()

    @property
    def frequencies(self) -> Float[np.ndarray, " chroma"]:
        """Frequencies of the classes in one octave: C4 and up, or A3 and up; Hz, [n_chroma]."""
        steps = np.arange(self.n_chroma) + (3 * (self.n_chroma // 12) if self.base_c else 0)
        return 220.0 * 2.0 ** ((steps + self.tuning) / self.n_chroma)

    def design(self) -> Float[np.ndarray, "chroma bins"]:
        """Chroma weights of the bins of the STFT.

        Returns:
            Float64 [n_chroma, 1 + n_fft // 2], read only.
        """
        return chroma.chroma_weights(
            self.sample_rate,
            n_fft=self.n_fft,
            n_chroma=self.n_chroma,
            tuning=self.tuning,
            ctroct=self.ctroct,
            octwidth=self.octwidth,
            base_c=self.base_c,
        )

    def is_trainable(self) -> bool:
        """Whether the weights are a parameter.

        Returns:
            ``trainable_chroma``.
        """
        return self.trainable_chroma

    def __call__(self, waveform: Waveform) -> Float[jax.Array, "... frames chroma"]:
        """Chromagram of a waveform.

        Args:
            waveform: [..., time], floating.

        Returns:
            [..., frames, n_chroma].
        """
        return chroma.normalize_frames(self.weigh(waveform), norm=self.norm)
