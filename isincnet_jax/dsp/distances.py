"""Distances between a waveform and its reconstruction.

All of them compare samples one by one: no alignment, no gain, no removal of means, unless a
function says so. ``prediction`` and ``target`` are keyword-only everywhere.

References:
    J. Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019, equation 4 (SI-SDR).
        https://arxiv.org/abs/1811.02508
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from isincnet_jax.dsp import checks
from isincnet_jax.typing import Waveform

_TRACED = "use the functions of dsp.spectral_distances there"


@dataclasses.dataclass(frozen=True)
class ErrorSums:
    """Sums from which every sample-wise distance follows; those of blocks add up.

    Attributes:
        count: samples.
        target_energy: sum of squares of the target.
        prediction_energy: sum of squares of the prediction.
        cross: sum of products.
        squared_error: sum of squared differences.
        absolute_error: sum of absolute differences.
        prediction_peak: largest magnitude of the prediction.
    """

    count: int = 0
    target_energy: float = 0.0
    prediction_energy: float = 0.0
    cross: float = 0.0
    squared_error: float = 0.0
    absolute_error: float = 0.0
    prediction_peak: float = 0.0

    def __add__(self, other: ErrorSums) -> ErrorSums:
        return ErrorSums(
            self.count + other.count,
            self.target_energy + other.target_energy,
            self.prediction_energy + other.prediction_energy,
            self.cross + other.cross,
            self.squared_error + other.squared_error,
            self.absolute_error + other.absolute_error,
            float(np.maximum(self.prediction_peak, other.prediction_peak)),  # NaN stays NaN
        )

    @property
    def mse(self) -> float:
        """Mean squared error."""
        return self.squared_error / self.count if self.count else 0.0

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return self.absolute_error / self.count if self.count else 0.0

    @property
    def snr_db(self) -> float:
        """10 log10 of target energy over error energy; infinite without an error."""
        return _ratio_db(self.target_energy, self.squared_error)

    @property
    def si_sdr_db(self) -> float:
        """Scale-invariant SDR: the SNR after the best gain on the target.

        Means are kept, as by Le Roux et al. (2019, equation 4); some toolboxes subtract them.
        """
        if self.target_energy == 0.0:
            return _ratio_db(0.0, self.prediction_energy)
        if self.prediction_energy == 0.0:
            return -math.inf  # 0 / 0 without any of the target in it
        # With the gain g = cross / target energy the error energy is E_p - 2 g cross + g^2 E_t.
        # Written with the difference e = p - t it loses no digits when p is nearly t.
        error_cross = self.cross - self.target_energy
        explained = self.cross**2 / self.target_energy
        residual = self.squared_error - error_cross**2 / self.target_energy
        return _ratio_db(explained, max(residual, 0.0))


def _ratio_db(signal: float, error: float) -> float:
    if error == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / error) if signal != 0.0 else -math.inf


def error_sums(*, prediction: Waveform, target: Waveform) -> ErrorSums:
    """Error sums of two waveforms of the same shape, accumulated in float64.

    Args:
        prediction: [..., time], any axes; they are all summed over.
        target: in the shape of the prediction.

    Returns:
        The sums, from which SNR, SI-SDR and mean errors follow.

    Raises:
        ValueError: if the shapes differ.
        TypeError: for what is not floating.
    """
    checks.check_pair(prediction, target)
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction.shape={tuple(prediction.shape)} and target.shape={tuple(target.shape)} "
            "must be equal"
        )
    predicted, wanted = (
        checks.on_host(values, name, instead=_TRACED).astype(np.float64)
        for name, values in (("prediction", prediction), ("target", target))
    )
    difference = predicted - wanted
    return ErrorSums(
        count=predicted.size,
        target_energy=float(np.sum(wanted**2)),
        prediction_energy=float(np.sum(predicted**2)),
        # sum of p t as E_t + sum of e t: exact where p is nearly t
        cross=float(np.sum(wanted**2) + np.sum(difference * wanted)),
        squared_error=float(np.sum(difference**2)),
        absolute_error=float(np.sum(np.abs(difference))),
        prediction_peak=float(np.max(np.abs(predicted), initial=0.0)),
    )


def snr_db(*, prediction: Waveform, target: Waveform) -> float:
    """Signal-to-noise ratio in dB over all samples of all axes.

    Args:
        prediction: [..., time].
        target: in the shape of the prediction.

    Returns:
        dB; infinite without an error, minus infinity for a silent target.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> round(snr_db(prediction=np.ones(4) * 0.9, target=np.ones(4)), 6)
        20.0
    """
    return error_sums(prediction=prediction, target=target).snr_db
