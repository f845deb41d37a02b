"""Lapped bank (MDCT) as a Linen module: waveform to as many coefficients, and back."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from isincnet_jax.bank.dsp import lapped_transform
from isincnet_jax.bank.lapped_spec import LappedSpec
from isincnet_jax.dsp import checks
from isincnet_jax.dsp.settling import settles
from isincnet_jax.linen import SettledModule
from isincnet_jax.typing import Spectrogram, Waveform


class LappedBank(SettledModule):
    """Lapped orthogonal transform (MDCT) of a waveform, and its inverse.

    It is :func:`.lapped_transform.analyse_lapped` with the window of a spec. A fixed bank has no
    variables. A learnable one has the parameter ``angles`` [N / 2], which start as the spec's: the
    sines of them are the first quarter of the window, and whatever they become, the transform stays
    orthonormal and the window symmetric, so that decoding stays exact.

    Attributes:
        spec: the bank.
        learnable: whether the angles of the window are parameters.
        dtype: of waveform and coefficients, float32, or float64 with ``jax_enable_x64``.

    Raises:
        ValueError: for another dtype.

    Example:
        >>> bank = LappedBank(LappedSpec(sample_rate=8000, hop_length=16))
        >>> waveform = jax.random.normal(jax.random.key(0), (2, 100))
        >>> coefficients = bank.apply({}, waveform, method="encode")
        >>> coefficients.shape  # [batch, frames, bins]
        (2, 7, 16)
        >>> again = bank.apply({}, coefficients, length=100, method="decode")
        >>> bool(jnp.max(jnp.abs(again - waveform)) < 1e-5)
        True
    """

    spec: LappedSpec = LappedSpec()
    learnable: bool = False
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Checks the dtype, for which there must be an FFT."""
        if jnp.dtype(self.dtype) not in (jnp.float32, jnp.float64):
            raise ValueError(f"dtype={jnp.dtype(self.dtype)}: use float32 or float64")
        super().__post_init__()

    def setup(self) -> None:
        """Angles of the window: the spec's, or a parameter that starts as they are."""
        angles = self.spec.window_angles()
        if self.learnable:
            self.angles = self.param("angles", lambda key: jnp.asarray(angles, self.dtype))
        else:
            self.angles = angles

    def encode(self, waveform: Waveform) -> Spectrogram:
        """Coefficients of a waveform.

        Args:
            waveform: [time], [batch, time] or any leading axes before time; ``dtype``.

        Returns:
            [..., frames, bins] in ``dtype``, signed; tiled, ``reshape(..., -1)`` of them begins
            with as many coefficients as samples, and zeros follow.

        Raises:
            TypeError: for another dtype than ``dtype``.
            ValueError: for an empty waveform.
        """
        checks.check_floating_waveform(waveform, dtype=self.dtype)
        return lapped_transform.analyse_lapped(waveform, self.angles, framing=self.spec.framing)

    @settles
    def decode(self, coefficients: Spectrogram, *, length: int | None = None) -> Waveform:
        """Waveform of coefficients.

        Args:
            coefficients: [..., frames, bins] in ``dtype``, as encoded, or dequantised.
            length: samples of the clip that was encoded; the longest with so many frames if None.

        Returns:
            [..., length] in ``dtype``.

        Raises:
            TypeError: for another dtype than ``dtype``.
            ValueError: for frames or bins that do not fit.
        """
        checks.check_floating(coefficients, "coefficients", dtype=self.dtype, ndim=2)
        return lapped_transform.synthesise_lapped(
            coefficients, self.angles, length=length, framing=self.spec.framing
        )

    def window(self) -> Float[jax.Array, " taps"]:
        """Window in use, the learned one if it is learned.

        Returns:
            [2 N] in ``dtype``.
        """
        return jnp.asarray(lapped_transform.window_of_angles(self.angles), self.dtype)

    def __call__(self, waveform: Waveform) -> Waveform:
        """Reconstruction of a waveform, in its shape.

        Args:
            waveform: [..., time], in ``dtype``.

        Returns:
            [..., time].
        """
        return self.decode(self.encode(waveform), length=waveform.shape[-1])
