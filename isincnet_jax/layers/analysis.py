"""Analysis: a waveform goes in, the real signed coefficients of a filterbank come out."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import framing, kernels, shapes, uniform
from isincnet_jax.layers import design
from isincnet_jax.layers.spec import FilterbankSpec
from isincnet_jax.typing import Spectrogram, Waveform

COLLECTION = "filterbank"
"""Linen collection that holds fixed kernels; they are inputs of jitted functions, not constants."""


def check_waveform(waveform: Any, dtype: Any) -> None:
    """Raises TypeError or ValueError for what is no floating waveform of the layer's dtype."""
    if not jnp.issubdtype(waveform.dtype, jnp.floating):
        raise TypeError(
            f"waveform.dtype={waveform.dtype}: coefficients need floating samples in [-1, 1]; "
            "scale integers first, e.g. pcm16 / 32768.0"
        )
    if waveform.dtype != jnp.dtype(dtype):
        raise TypeError(
            f"waveform.dtype={waveform.dtype} but the layer works in {jnp.dtype(dtype)}; "
            "convert the waveform or build the model with the other dtype"
        )
    if waveform.ndim < 1 or waveform.shape[-1] < 1:
        raise ValueError(
            f"waveform.shape={tuple(waveform.shape)}: the last axis is time and needs a sample"
        )


def apply_analysis(
    waveform: Waveform,
    filters: Float[jax.Array, "..."],
    *,
    spec: FilterbankSpec,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Spectrogram:
    """Applies a spec's filters, by the cheapest exact way that the spec allows.

    Uniform banks are given by their window and go through folded DFTs
    (:mod:`isincnet_jax.dsp.uniform`), all others through a strided convolution. (Splitting the
    frames of other symmetric banks into even and odd parts halves the products but was measured
    slower than the convolution, which needs no copy of the frames.)

    Args:
        waveform: [..., time].
        filters: the window [taps] of a uniform bank, or kernels [channels, taps].
        spec: the geometry.
        precision: of the products on accelerators.

    Returns:
        [..., frames, channels].
    """
    hop, padding = spec.hop_length, spec.padding
    grid = design.frame_grid(spec, waveform.shape[-1])
    if filters.ndim == 1:
        bank = design.design_bank(spec)
        return uniform.uniform_analysis(
            waveform,
            filters,
            num_bins=spec.num_bins,
            hop_length=hop,
            grid=grid,
            lead=bank.lead,
            trail=bank.trail,
            padding=padding,
            precision=precision,
        )
    taps = filters.shape[-1]
    lead, trail = taps // 2, taps - 1 - taps // 2
    padded = framing.pad_for_frames(
        waveform, grid=grid, hop_length=hop, lead=lead, trail=trail, padding=padding
    )
    return framing.correlate_frames(padded, filters, hop_length=hop, precision=precision)


class Analysis(nn.Module):
    """A filterbank as a Linen module.

    Fixed filters are designed in float64, cast once and kept in the collection "filterbank".
    Learnable filters have two parameters per bin, ``center`` and ``bandwidth``, as fractions of
    the Nyquist frequency, so that one learning rate suits all bins, and those of their shape, if it
    has any (:data:`.shapes.SHAPES`). A learnable window has a
    few parameters ``window`` for all bins, the terms of a cosine series that the spec's window
    is multiplied with, ``1 + sum_k a_k cos(2 pi k n / (taps - 1))``: the spectral shape of the
    bands, smooth and symmetric. All start as the spec says.

    Attributes:
        spec: geometry and filters.
        learnable: whether centres and bandwidths are parameters.
        window_terms: terms of the learnable window; 0 keeps the window. Needs ``learnable``.
        dtype: of waveform, filters and coefficients; float64 needs ``jax_enable_x64``.
        precision: of the products on accelerators, which may otherwise use TF32 or bfloat16.

    Raises:
        ValueError: for learnable tight or reference banks, whose filters follow no parameters.
    """

    spec: FilterbankSpec
    learnable: bool = False
    window_terms: int = 0
    dtype: Any = jnp.float32
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    def setup(self) -> None:
        """Creates the variables."""
        spec = self.spec
        if self.window_terms < 0 or (self.window_terms and not self.learnable):
            raise ValueError(
                f"window_terms={self.window_terms}, learnable={self.learnable}: a learnable window "
                "has 1 term or more and needs learnable=True"
            )
        if not self.learnable:
            fixed = (
                design.analysis_window(spec)
                if spec.is_uniform
                else design.design_bank(spec).kernels
            )
            self.fixed = self.variable(
                COLLECTION, "analysis", lambda: jnp.asarray(fixed, self.dtype)
            )
            return
        if spec.tight or spec.dialect != "native":
            raise ValueError(
                f"tight={spec.tight}, dialect={spec.dialect!r}: such filters cannot be learned; "
                "use tight=False and dialect='native'"
            )
        nyquist_hz = spec.sample_rate / 2
        center_hz, bandwidth_hz = spec.centers_and_bandwidths()

        def start(values: np.ndarray) -> Any:
            return lambda key: jnp.asarray(values / nyquist_hz, self.dtype)

        self.center = self.param("center", start(center_hz))
        self.bandwidth = self.param("bandwidth", start(bandwidth_hz))
        own = shapes.initial_parameters(spec.shape, spec.num_bins)
        self.of_shape = {
            name: self.param(name, lambda key, value=value: jnp.asarray(value, self.dtype))
            for name, value in own.items()
        }
        if self.window_terms:
            self.window = self.param("window", lambda key: jnp.zeros(self.window_terms, self.dtype))

    def filters(self) -> Float[jax.Array, "..."]:
        """The filters in use: kernels [channels, taps], or a fixed uniform bank's window [taps]."""
        if not self.learnable:
            return self.fixed.value
        window = jnp.asarray(self.spec.window_taps(), self.dtype)
        if self.window_terms:
            window = window * kernels.cosine_series(self.window, taps=self.spec.taps)
        return kernels.kernels_from_parameters(
            self.center,
            self.bandwidth,
            window,
            shape=self.spec.shape,
            component=self.spec.component,
            normalization=self.spec.normalization,
            parameters=self.of_shape,
        )

    def __call__(self, waveform: Waveform) -> Spectrogram:
        """Encodes a waveform.

        Args:
            waveform: [time], [batch, time] or any leading axes before time; ``dtype``.

        Returns:
            [..., frames, channels]; a complex bank's cosine channels before its sine channels.
        """
        check_waveform(waveform, self.dtype)
        return apply_analysis(waveform, self.filters(), spec=self.spec, precision=self.precision)
