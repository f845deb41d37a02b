"""Cepstra of log spectra: the cosine transform, and the lifter that weighs its coefficients."""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
import scipy.fft
from jaxtyping import Float

from isincnet_jax.dsp.settling import settles

_DCT_TYPES = (1, 2, 3, 4)


@settles
@functools.lru_cache(maxsize=32)
def dct_matrix(
    n_outputs: int, *, n_inputs: int, dct_type: int = 2, norm: Literal["ortho"] | None = "ortho"
) -> Float[np.ndarray, "outputs inputs"]:
    """The first rows of a discrete cosine transform as :func:`scipy.fft.dct` defines it.

    Args:
        n_outputs: rows.
        n_inputs: columns, at least as many.
        dct_type: 1 to 4; 2 is the cepstra's, 3 that of HTK.
        norm: "ortho" or None.

    Returns:
        Float64 [n_outputs, n_inputs], read only.

    Raises:
        ValueError: for more outputs than inputs, and unknown types and norms.
    """
    if not 1 <= n_outputs <= n_inputs:
        raise ValueError(f"{n_outputs} coefficients of {n_inputs} values: use 1 to {n_inputs}")
    if dct_type not in _DCT_TYPES or (dct_type == 1 and n_inputs < 2):
        raise ValueError(f"dct_type={dct_type} of {n_inputs} values: use 2, 3, 4, or 1 of 2 values")
    if norm not in ("ortho", None):
        raise ValueError(f"norm={norm!r} is unknown; use 'ortho' or None")
    # The transform of the unit vectors is its matrix.
    whole = np.asarray(scipy.fft.dct(np.eye(n_inputs), type=dct_type, norm=norm, axis=0))
    matrix = whole[:n_outputs].copy()
    matrix.setflags(write=False)
    return matrix


@settles
def cepstral_lifter(n_mfcc: int, *, lifter: float) -> Float[np.ndarray, " coefficients"]:
    """Gains ``1 + lifter / 2 sin(pi (k + 1) / lifter)`` of coefficient k; all 1 for ``lifter=0``.

    Args:
        n_mfcc: coefficients.
        lifter: the period of the sine is ``2 lifter`` coefficients; 0 for none, often 22.

    Returns:
        float64 [n_mfcc].

    Raises:
        ValueError: for a negative lifter.
    """
    if lifter < 0:
        raise ValueError(f"lifter={lifter} must not be negative; use 0 for none, often 22")
    if lifter == 0:
        return np.ones(n_mfcc)
    return 1.0 + lifter / 2 * np.sin(np.pi * np.arange(1, 1 + n_mfcc) / lifter)
