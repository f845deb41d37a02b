"""Analysis filterbank: a waveform goes in, its real signed coefficients come out."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank.designed import Bank
from isincnet_jax.bank.dsp import kernels, shapes
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp import checks
from isincnet_jax.linen import SettledModule
from isincnet_jax.typing import Spectrogram, Waveform

COLLECTION = "filterbank"
"""Linen collection that holds fixed kernels; they are inputs of jitted functions, not constants."""

Learnable: TypeAlias = bool | Literal["free"]
"""What is learned of a bank: nothing, centres and bandwidths (True), or every tap ("free")."""


def check_learnable(learnable: Any, *, spec: FilterbankSpec, window_terms: int = 0) -> None:
    """Learnable parts of a bank, see :class:`Analysis`.

    Args:
        learnable: anything; False, True or "free" can be learned.
        spec: of the bank.
        window_terms: of a learnable window, 0 for none.

    Raises:
        ValueError: for what cannot be learned of such a bank.
    """
    if not isinstance(learnable, bool) and learnable != "free":
        raise ValueError(
            f"learnable={learnable!r} is unknown; use False, True (centres and bandwidths) or "
            "'free' (every tap)"
        )
    parametric = learnable is True
    if window_terms < 0 or (window_terms and not parametric):
        raise ValueError(
            f"window_terms={window_terms}, learnable={learnable}: a learnable window "
            "has 1 term or more and needs learnable=True"
        )
    if parametric and (spec.tight or spec.dialect != "native"):
        raise ValueError(
            f"tight={spec.tight}, dialect={spec.dialect!r}: such filters cannot be learned by "
            "centres and bandwidths; use tight=False and dialect='native', or learnable='free'"
        )


class Analysis(SettledModule):
    """Analysis filterbank as a Linen module.

    Fixed filters are designed in float64, cast once and kept in the collection "filterbank".
    With ``learnable=True`` filters have two parameters per bin, ``center`` and ``bandwidth``, as
    fractions of the Nyquist frequency, so that one learning rate suits all bins, and those of their
    shape, if it has any (:data:`.shapes.SHAPES`). A learnable window has a few parameters
    ``window`` for all bins, the terms of a cosine series that the spec's window is multiplied with,
    ``1 + sum_k a_k cos(2 pi k n / (taps - 1))``: the spectral shape of the bands, smooth and
    symmetric. All start as the spec says.

    With ``learnable="free"`` every tap is learned: the parameter ``taps`` [channels, taps], cosine
    channels before sine channels, starts as the bank of the spec, tight and reference banks
    included, and is used as it is, without normalisation. Taps beyond the ends of all filters of
    that bank (:class:`.designed.Bank`) stay 0, so that causal banks stay causal and clips keep
    their frames. What the spec says of centres and bandwidths then holds for the start only.

    The decoder that is solved from a spec is exact for the filters at the start;
    :func:`.learned_inverse.with_exact_decoder` solves that of learned ones.

    Attributes:
        spec: geometry and filters.
        learnable: whether centres and bandwidths (True) or all taps ("free") are parameters.
        window_terms: terms of the learnable window; 0 keeps the window. Needs ``learnable=True``.
        dtype: of waveform, filters and coefficients; float64 needs ``jax_enable_x64``.
        precision: of the products on accelerators, which may otherwise use TF32 or bfloat16.

    Raises:
        ValueError: for ``learnable=True`` with tight or reference banks, whose filters follow no
            centres and bandwidths, and for an unknown ``learnable``.

    Example:
        >>> from isincnet_jax.bank.spec import FilterbankSpec
        >>> spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
        >>> layer = Analysis(spec)
        >>> waveform = jnp.ones((2, 100))
        >>> variables = layer.init(jax.random.key(0), waveform)
        >>> layer.apply(variables, waveform).shape  # [batch, frames, channels]
        (2, 16, 18)
    """

    spec: FilterbankSpec
    learnable: Learnable = False
    window_terms: int = 0
    dtype: Any = jnp.float32
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    @property
    def bank(self) -> Bank:
        """The designed bank as the filters in use are applied: learned ones have no structure."""
        return self.spec.bank.dense if self.learnable else self.spec.bank

    def setup(self) -> None:
        """Variables of the bank: fixed filters, or parameters that start as the spec says."""
        spec = self.spec
        check_learnable(self.learnable, spec=spec, window_terms=self.window_terms)
        if not self.learnable:
            self.fixed = self.variable(
                COLLECTION, "analysis", lambda: jnp.asarray(spec.bank.filters, self.dtype)
            )
            return
        if self.learnable == "free":
            self.taps = self.param("taps", lambda key: jnp.asarray(spec.bank.kernels, self.dtype))
            return
        # f_b and B_b over the Nyquist frequency, [bins]: one step of Adam suits all bins.
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
        """Filters in use, learned ones included.

        Returns:
            Kernels [channels, taps], or a fixed uniform bank's window [taps], in ``dtype``.
        """
        if not self.learnable:
            return self.fixed.value
        if self.learnable == "free":
            return self.taps * jnp.asarray(self.bank.tap_support, self.dtype)[None]
        # k_b[n] = exp(i pi f_b n) e_b(n) w[n] (1 + sum_j a_j cos(2 pi j n / (taps - 1))),
        # normalised
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
        """Coefficients of a waveform.

        Args:
            waveform: [time], [batch, time] or any leading axes before time; ``dtype``.

        Returns:
            [..., frames, channels]; a complex bank's cosine channels before its sine channels.

        Raises:
            TypeError: for another dtype than ``dtype``.
            ValueError: for an empty waveform.
        """
        checks.check_floating_waveform(waveform, dtype=self.dtype)
        return self.bank.analyse(waveform, self.filters(), precision=self.precision)
