"""Cepstral distances between waveforms: mel cepstral distortion (MCD), differentiable."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from isincnet_jax.dsp import auditory, cepstrum, checks, spectral_distances
from isincnet_jax.dsp.settling import settles
from isincnet_jax.dsp.spectral_distances import MEL_RESOLUTION, PerClip, Resolution
from isincnet_jax.typing import Array, Waveform


@settles
def mel_cepstral_distortion_db(
    *,
    prediction: Waveform,
    target: Waveform,
    sample_rate: float,
    num_coefficients: int = 13,
    n_mels: int = 80,
    resolution: Resolution = MEL_RESOLUTION,
    lengths: Int[Array, "..."] | None = None,
) -> PerClip:
    """Mel cepstral distortion in dB: the distance of smoothed log mel spectra, without the level.

    Per frame ``10 / ln 10 sqrt(2 sum_{k=1}^{K} (c_k - c'_k)^2)``, then the mean over frames, with
    ``c_k = 2 / M sum_m ln x_m cos(pi k (m + 1/2) / M)`` of the M mel magnitudes x, so that
    ``ln x_m = c_0 / 2 + sum_k c_k cos(...)``: it is the root mean square over the filters of the
    difference of the levels in dB, of which coefficients 1 to K are kept. The 0th, the level, does
    not count. Frames are compared as they are; nothing is aligned in time.

    Mel filters are Slaney's, of a Hann window's magnitudes; values below 1e-5 count as 1e-5.

    Args:
        prediction: [..., time], floating.
        target: in the shape of the prediction.
        sample_rate: Hz.
        num_coefficients: K, at most ``n_mels - 1``.
        n_mels: M, filters.
        resolution: of the STFT.
        lengths: samples of each clip, [...], at least 1; frames centred behind them do not count.
            All frames if None.

    Returns:
        [...], dB, one value per clip; 0 for equal clips. Gradients are finite everywhere, 0 where
        frames are equal.

    Raises:
        ValueError: for more coefficients than filters.

    References:
        R. Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", IEEE
            Pacific Rim Conference on Communications, Computers and Signal Processing, 1993.
            https://doi.org/10.1109/PACRIM.1993.407206
        Departure: 80 filters of an STFT for 20 critical bands, and no c_0.

    Example:
        >>> clip = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
        >>> found = mel_cepstral_distortion_db(prediction=2 * clip, target=clip, sample_rate=8000)
        >>> f"{found:.3f} dB"
        '0.000 dB'
    """
    checks.check_pair(prediction, target, ndim=1)
    matrix = cepstrum.dct_matrix(1 + num_coefficients, n_inputs=n_mels)
    # c_k = sqrt(2 / M) times the coefficient of the orthonormal transform, k = 1 to K.
    rows = np.sqrt(2.0 / n_mels) * matrix[1:]

    predicted, wanted = (
        spectral_distances.log_mel_levels(
            waveform, sample_rate=sample_rate, resolution=resolution, n_mels=n_mels
        )
        for waveform in (prediction, target)
    )
    # The transform is linear: the cepstrum of the difference is the difference of the cepstra.
    difference = auditory.weigh_bins(predicted - wanted, rows)
    squares = jnp.sum(difference**2, axis=-1)
    differs = squares > 0  # where they do not, the root has no slope
    per_frame = jnp.where(differs, jnp.sqrt(2.0 * jnp.where(differs, squares, 1.0)), 0.0)
    per_frame = 10.0 / math.log(10.0) * per_frame
    if lengths is None:
        return jnp.mean(per_frame, axis=-1)
    # Frame t is centred at sample t hop: frames 0 to length // hop.
    last = jnp.asarray(lengths)[..., None] // resolution.hop_length
    return jnp.mean(per_frame, axis=-1, where=jnp.arange(per_frame.shape[-1]) <= last)
