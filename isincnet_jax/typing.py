"""Array aliases and the axis vocabulary of the package.

Every array in the public interface is annotated with one of these names, so that a
signature tells the axes and the dtype. Axes are frames first, channels last:

=============  =========================================================================
axis           meaning
=============  =========================================================================
``batch``      independent clips; any number of leading axes where an alias has ``...``
``time``       samples of a waveform, one every ``1 / sample_rate`` seconds
``frames``     analysis positions, one every ``hop_length`` samples
``channels``   real coefficients of one frame: ``bins`` of a real bank; of a complex bank
               ``2 * bins``, the cosine channels before the sine channels
``bins``       filters of a bank
``taps``       samples of one filter
=============  =========================================================================
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import jax
import numpy as np
from jaxtyping import Complex, Float, Int

Array: TypeAlias = jax.Array | np.ndarray

Waveform: TypeAlias = Float[Array, "... time"]
"""Samples, nominally in [-1, 1]; float32 unless the caller works in float64."""

Spectrogram: TypeAlias = Float[Array, "... frames channels"]
"""Real, signed coefficients of a filterbank."""

Codes: TypeAlias = Int[Array, "... frames channels"]
"""Integer tokens of a quantised spectrogram."""

ComplexKernels: TypeAlias = Complex[np.ndarray, "bins taps"]
"""Impulse responses of the bins of a bank, complex128 NumPy, as designed."""

Component: TypeAlias = Literal["real", "complex"]
Padding: TypeAlias = Literal["zeros", "reflect"]
Normalization: TypeAlias = Literal["l1", "max_l1", "l2", "gain", "none"]
Dialect: TypeAlias = Literal["native", "0.5", "0.1.0"]
