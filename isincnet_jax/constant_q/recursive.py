"""Recursive constant-Q layers, octave by octave at half the rate each: CQT2010 and CQT2010v2."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.constant_q.dsp import transform as constant_q
from isincnet_jax.constant_q.dsp import wavelet_bank
from isincnet_jax.constant_q.dsp.multirate import KernelGroup
from isincnet_jax.constant_q.dsp.multirate_analysis import expand_kernels
from isincnet_jax.constant_q.dsp.octave_kernels import OctavePlan, plan_octaves
from isincnet_jax.constant_q.layers import ConstantQLayer, Parts, kernels_of_spectra, split_parts


class CQT2010v2(ConstantQLayer):
    """Recursive constant-Q transform: one octave of kernels for signals of halved rates.

    Kernels are within 2e-3 of those of the direct sum. Trainable, it has one parameter ``kernels``
    [2, bins per octave, taps], real and imaginary parts of the kernels that all octaves share;
    small constants make up for the rounding of lengths (:mod:`.octave_kernels`), so that training
    starts at the fixed design.

    Departure: nnAudio's is 2.9 dB too loud at 44.1 and 48 kHz, delays each octave by half a
    sample of its rate, and needs a hop that ``2^(octaves - 1)`` divides.

    Attributes:
        earlydownsample: whether the top octave may leave the clip's own rate. Results are equal
            within the tolerance.

    Example:
        >>> layer = CQT2010v2(fmin=110.0, n_bins=24)
        >>> layer.apply({}, jnp.zeros((2, 22_050))).shape
        (2, 44, 24)

    References:
        C. Schoerkhuber and A. Klapuri, "Constant-Q transform toolbox for music processing", Sound
            and Music Computing, 2010, section 3. https://doi.org/10.5281/zenodo.849741
    """

    earlydownsample: bool = True

    @property
    def _plan(self) -> OctavePlan:
        return plan_octaves(
            self.bank,
            earlydownsample=self.earlydownsample,
            tolerance=constant_q.RECURSIVE_TOLERANCE,
        )

    @property
    def kernel_bytes(self) -> int:
        """Memory of the kernels in use in bytes, float32; with the shared octave if trainable."""
        shared = 2 * 4 * self._plan.shared.size if self.trainable_kernels else 0
        return super().kernel_bytes + shared

    def _tolerance(self) -> float:
        return constant_q.RECURSIVE_TOLERANCE

    def _scale(self) -> Float[np.ndarray, " bins"]:
        response = wavelet_bank.response_scale(self.bank, self.normalization_type)
        return self._plan.scale * response

    def _groups(self) -> tuple[KernelGroup, ...]:
        return self._plan.groups

    def setup(self) -> None:
        """Creates the parameter."""
        if self.trainable_kernels:
            name, transform = self._parameterisation()
            self.shared = self.param(name, lambda key: split_parts(transform(self._plan.shared)))

    def _shared_kernels(self) -> Parts:
        return self.shared[0], self.shared[1]

    def _kernels(self) -> list[Parts] | None:
        """Kernels of all octaves if they are parameters: ``S M_o + C_o``."""
        if not self.trainable_kernels:
            return None
        # Real and imaginary parts of S go through the real matrix each by itself.
        shared = self._shared_kernels()
        kernels = []
        for octave in self._plan.octaves:
            parts = []
            constants = (np.real(octave.correction), np.imag(octave.correction))
            for taps, constant in zip(shared, constants, strict=True):
                used = taps[octave.slots :]
                if octave.matrix is not None:
                    matrix = jnp.asarray(octave.matrix, used.dtype)
                    used = jnp.matmul(used, matrix, precision=self.precision)
                parts.append(used + jnp.asarray(constant, used.dtype))
            kernels.append((parts[0], parts[1]))
        return kernels

    def padded_kernels(self) -> Complex[jax.Array, "bins taps"]:
        """Kernels of all bins at the full rate, position 0 in the middle, without ``c_k``.

        The frame holds the responses of the half-band filters, too. The method needs a bound
        module if kernels are trainable: ``layer.apply(variables, method="padded_kernels")``.

        Returns:
            Complex64 [bins, taps].
        """
        plan, kernels = self._plan, self._kernels()
        expanded = [
            expand_kernels(
                lax.complex(*kernels[index])
                if kernels is not None
                else jnp.asarray(group.taps, jnp.complex64),
                first=group.first,
                level=group.level,
                tolerance=constant_q.RECURSIVE_TOLERANCE,
            )
            for index, group in enumerate(plan.groups)
        ]
        # The longest reach to either side decides on the frame, 2 reach taps.
        reach = max(max(-first, first + taps.shape[-1]) for first, taps in expanded)
        rows = [
            jnp.pad(taps, [(0, 0), (reach + first, reach - first - taps.shape[-1])])
            for first, taps in expanded
        ]
        whole = jnp.concatenate(rows)
        return whole * jnp.asarray(plan.scale[:, None], whole.real.dtype).astype(whole.dtype)


class CQT2010(CQT2010v2):
    """Recursive constant-Q transform with the shared kernels given by their spectra.

    Trainable, it has one parameter ``spectra`` [2, bins per octave, taps], real and imaginary
    parts of the unitary DFT of the shared kernels; products run in time, which is the same by
    Parseval's theorem. Fixed kernels: the same as :class:`CQT2010v2`.

    Example:
        >>> import jax
        >>> layer = CQT2010(fmin=110.0, n_bins=24, trainable_kernels=True)
        >>> variables = jax.eval_shape(layer.init, jax.random.key(0), jnp.zeros((1, 22_050)))
        >>> list(variables["params"])
        ['spectra']

    References:
        J. C. Brown and M. S. Puckette, "An efficient algorithm for the calculation of a constant
            Q transform", JASA 92, 1992. https://doi.org/10.1121/1.404385
    """

    def _parameterisation(self) -> tuple[str, Any]:
        return "spectra", lambda taps: np.fft.fft(taps, axis=-1, norm="ortho")

    def _shared_kernels(self) -> Parts:
        return kernels_of_spectra(self.shared)
