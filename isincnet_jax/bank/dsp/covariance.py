"""Autocovariances of signals, for decoders, projections and quantisers that need one."""

from __future__ import annotations

import numpy as np
import scipy  # and its linalg where it is used: importing that takes a tenth of a second
from jaxtyping import Float

from isincnet_jax.dsp.settling import settles

_CORNER_HZ = 200.0
_FLOOR = 1e-5


@settles
def music_autocovariance(
    num_lags: int, *, sample_rate: int, level_db: float = -23.0
) -> Float[np.ndarray, " lags"]:
    """Autocovariance of a plain model of music and speech.

    A power spectrum that is flat up to 200 Hz and falls by 3 dB per octave above, like pink
    noise, on a floor 50 dB lower. Rough by design, since it only has to say which channels are
    loud; long-term averages of music fall faster, its loud moments do not.

    Args:
        num_lags: lags 0 .. num_lags - 1.
        sample_rate: Hz.
        level_db: root mean square level in dB relative to full scale.

    Returns:
        float64 [num_lags]; lag 0 is the mean square ``10^(level_db / 10)``.
    """
    # At least twice the lags, so that sampling the spectrum hardly aliases them.
    size = max(1 << (2 * num_lags - 1).bit_length(), 1 << 14)
    frequency_hz = np.fft.rfftfreq(size, 1.0 / sample_rate)
    # P(f) = 1 / (1 + f / f_c) + floor: 3 dB per octave of power above the corner
    spectrum = 1.0 / (1.0 + frequency_hz / _CORNER_HZ) + _FLOOR
    covariance = np.fft.irfft(spectrum)[:num_lags]
    return covariance * (10 ** (level_db / 10) / covariance[0])


def channel_variances(
    kernels: Float[np.ndarray, "channels taps"], autocovariance: Float[np.ndarray, " lags"]
) -> Float[np.ndarray, " channels"]:
    """Channel variances of a bank's coefficients for a stationary signal: diag(K R K^T).

    Args:
        kernels: K, float64 [channels, taps].
        autocovariance: lags 0, 1, ... of the signal, as many as taps or more.

    Returns:
        float64 [channels], in the unit of the autocovariance times the squared kernels'.
    """
    covariance = scipy.linalg.toeplitz(autocovariance[: kernels.shape[1]])
    return np.einsum("ct,ts,cs->c", kernels, covariance, kernels, optimize=True)


@settles
def measured_autocovariance(
    clips: Float[np.ndarray, "clips time"], *, num_lags: int
) -> Float[np.ndarray, " lags"]:
    """Mean autocovariance of clips, ``sum over n of x[n] x[n + k] / time`` averaged over clips.

    Divided by the clip's length whatever the lag (the "biased" estimate), which keeps the
    sequence positive semidefinite, as decoders need it. Means are not removed: a filterbank
    passes a constant on like everything else.

    Args:
        clips: [clips, time] or [time], at one level, since louder clips count for more.
        num_lags: lags 0 .. num_lags - 1; beyond the clips' length they are 0.

    Returns:
        float64 [num_lags].

    Raises:
        ValueError: for no samples or no lags, or samples that are not finite.
    """
    rows = np.atleast_2d(np.asarray(clips, np.float64))
    if rows.ndim != 2 or rows.size == 0:
        raise ValueError(f"clips.shape={np.shape(clips)}: expected [clips, time], not empty")
    if num_lags < 1:
        raise ValueError(f"num_lags={num_lags} must be at least 1")
    time = rows.shape[1]
    # |X|^2 of a clip padded by the lags: the circular correlation is the linear one.
    size = 1 << (time + min(num_lags, time) - 1).bit_length()
    power = np.zeros(size // 2 + 1)
    for row in rows:
        power += np.abs(np.fft.rfft(row, size)) ** 2
    lags = np.fft.irfft(power / (len(rows) * time))[: min(num_lags, time)]
    if not np.all(np.isfinite(lags)):
        raise ValueError("clips hold samples that are not finite")
    return np.pad(lags, (0, num_lags - len(lags)))
