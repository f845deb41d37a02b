"""Projections between banks, frame by frame: a linear bank's coefficients seen as mel.

iSincNet 0.1.0 trained two matrices per frame: P, from the coefficients of its linear bank to
those of a mel bank, and Q back. Both have closed forms once the signal has an autocovariance
R. With A and B the two banks as matrices over the taps of one frame and G = A R A^T,

    P = B R A^T (G + lambda)^-1        (best linear estimate of the mel bank's output)
    Q = G P^T (P G P^T + lambda)^-1    (best linear estimate of the coefficients from it).

A mel bank of as many bins has less than full rank on a linear one at high frequencies, so that
Q P is no identity: what a mel spectrogram of that size has lost stays lost. For an exact mel
spectrogram use a native mel bank with enough bins.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import scipy  # and its linalg where it is used: importing that takes a tenth of a second
from jaxtyping import Float

from isincnet_jax.bank.dsp import covariance
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp import scales

_RIDGE = 1e-6


class Projection(NamedTuple):
    """Projection matrices that act on the channel axis from the right.

    Attributes:
        forward: P^T, float64 [channels, target channels].
        backward: Q^T, float64 [target channels, channels].
    """

    forward: Float[np.ndarray, "channels target"]
    backward: Float[np.ndarray, "target channels"]


def resolve_scale(spec: FilterbankSpec, scale: str) -> str:
    """Registered name of a scale; plain "mel" is HTK's for 0.1.0 banks, else Slaney's.

    Args:
        spec: of the bank, whose dialect says what "mel" is.
        scale: a name in :data:`.scales.SCALES`, or its alias.

    Returns:
        A key of :data:`.scales.SCALES`.

    Raises:
        ValueError: for an unknown scale.
    """
    if scale == "mel" and spec.dialect == "0.1.0":
        return "mel_htk"
    return scales.canonical_scale(scale)


def target_spec(spec: FilterbankSpec, scale: str) -> FilterbankSpec:
    """Target bank, whose output a projection imitates: the same but for its scale.

    The mel bank of 0.1.0 is normalised by one factor for all filters.

    Args:
        spec: of the bank whose coefficients are projected.
        scale: of the target, as for :func:`resolve_scale`.

    Returns:
        The spec of the target.
    """
    scale = resolve_scale(spec, scale)
    if spec.dialect == "0.1.0" and scale != "linear":
        return spec.replace(scale=scale, normalization="max_l1")
    return spec.replace(scale=scale)


def _ridge_solve(gram: np.ndarray, right_side: np.ndarray) -> np.ndarray:
    """X (G + lambda)^-1 for symmetric G, lambda relative to the mean of its diagonal."""
    system = gram + _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    return scipy.linalg.solve(system, right_side.T, assume_a="pos").T


def _centered(kernels: np.ndarray, taps: int) -> np.ndarray:
    """Kernels zero-padded to ``taps``, their centre at ``taps // 2`` (tight banks are longer)."""
    before = taps // 2 - kernels.shape[1] // 2
    return np.pad(kernels, ((0, 0), (before, taps - kernels.shape[1] - before)))


@functools.lru_cache(maxsize=8)
def design_projection(spec: FilterbankSpec, scale: str) -> Projection:
    """Projection of a bank to another scale and back, solved.

    Args:
        spec: the bank whose coefficients are projected.
        scale: of the imitated bank, "mel" (Slaney) for instance.

    Returns:
        Both matrices, kept for the next call: read only.

    Raises:
        ValueError: for an unknown scale.
    """
    own = spec.bank.kernels
    other = target_spec(spec, scale).bank.kernels
    taps = max(own.shape[1], other.shape[1])
    own, other = _centered(own, taps), _centered(other, taps)
    lags = covariance.music_autocovariance(taps, sample_rate=spec.sample_rate)
    signal = scipy.linalg.toeplitz(lags)
    # G = A R A^T, P = B R A^T (G + lambda)^-1, Q = G P^T (P G P^T + lambda)^-1
    gram = own @ signal @ own.T
    forward = _ridge_solve(gram, other @ signal @ own.T)
    projected = forward @ gram
    backward = _ridge_solve(projected @ forward.T, projected.T)
    for matrix in (forward, backward):
        matrix.setflags(write=False)
    return Projection(forward.T, backward.T)
