"""Quantizer of coefficients: to integer tokens and back."""

from __future__ import annotations

from typing import Any, Literal

import flax.struct
import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from isincnet_jax.bank.dsp import covariance
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp import checks, companding, settling
from isincnet_jax.dsp.equality import equal_by_value
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Codes, Spectrogram

Code = Literal["symmetric", "reference"]

_HEADROOM = 32.0
"""Peak over standard deviation that spec-based scales allow: 30 dB. Measured on music at -23
LUFS: with less, the loudest moments of some clips are cut off; with more, codes get coarse."""


@flax.struct.dataclass
class Quantizer:
    """Elementwise quantizer for coefficients: a frozen pytree.

    The symmetric code divides by a scale, per channel or per clip and channel, compands with
    mu, and rounds to ``2^q - 1`` levels, 0 among them. The reference code is iSincNet's: no
    scale, ``mu = 2^q - 1``, truncation.

    Attributes:
        scale: the largest magnitude each channel can carry; broadcasts against
            [..., frames, channels]. Larger coefficients are clipped. Not used by "reference".
        q_bits: bits per coefficient, 2 to 16.
        mu: of the companding; 30 was measured best at 8 bits with per-channel peaks as scales.
        code: "symmetric" or "reference".

    Example:
        >>> coefficients = np.float32([[0.5, -0.25], [0.0, 1.0]])  # [frames, channels]
        >>> quantizer = Quantizer(np.float32([1.0, 1.0]), q_bits=4).fit(coefficients)
        >>> codes = quantizer.encode(coefficients)
        >>> int(codes[1, 0])  # 0 has a code of its own
        7
        >>> bool(jnp.max(jnp.abs(quantizer.decode(codes) - coefficients)) < 0.1)
        True
    """

    scale: jax.Array | np.ndarray
    q_bits: int = flax.struct.field(pytree_node=False, default=8)
    mu: float = flax.struct.field(pytree_node=False, default=30.0)
    code: Code = flax.struct.field(pytree_node=False, default="symmetric")

    __eq__ = equal_by_value
    __hash__ = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        object.__setattr__(self, "q_bits", settling.settled_integer("q_bits", self.q_bits))
        object.__setattr__(self, "mu", settling.settled_number("mu", self.mu))

    def encode(self, spectrogram: Spectrogram) -> Codes:
        """Codes of coefficients.

        Args:
            spectrogram: [..., frames, channels], floating.

        Returns:
            int32 in [0, 2^q_bits), the shape of the input; magnitudes beyond the scale are clipped.

        Raises:
            ValueError: for NaN, of which codes cannot tell; traced, it becomes any code.
            TypeError: for what is not floating.
        """
        checks.check_floating(spectrogram, "spectrogram")
        if self.code == "reference":
            return companding.encode_reference(spectrogram, q_bits=self.q_bits)
        scale = match_rank(jnp.asarray(self.scale, spectrogram.dtype), spectrogram)
        return companding.encode_symmetric(spectrogram / scale, q_bits=self.q_bits, mu=self.mu)

    def decode(self, codes: Codes, *, dtype: Any = jnp.float32) -> Spectrogram:
        """Coefficients of codes.

        Args:
            codes: integers [..., frames, channels].
            dtype: of the coefficients.

        Returns:
            [..., frames, channels] in ``dtype``.

        Raises:
            TypeError: if the codes are not integers.
            ValueError: for codes that are none of this quantizer's; traced ones give NaN.
        """
        if self.code == "reference":
            return companding.decode_reference(codes, q_bits=self.q_bits, dtype=dtype)
        scale = jnp.asarray(self.scale, dtype)
        values = companding.decode_symmetric(codes, q_bits=self.q_bits, mu=self.mu, dtype=dtype)
        return values * match_rank(scale, values)

    def straight_through(self, spectrogram: Spectrogram) -> Spectrogram:
        """Straight-through estimate: coefficients of the codes, with gradients as if unquantised.

        Args:
            spectrogram: [..., frames, channels], floating.

        Returns:
            Dequantised coefficients, in the shape and dtype of the input.

        References:
            Y. Bengio, N. Leonard and A. Courville, "Estimating or propagating gradients through
                stochastic neurons", 2013, section 4. https://arxiv.org/abs/1308.3432
        """
        # NaN is not hidden: it stays in the sum, whatever its code.
        known = jnp.nan_to_num(spectrogram, posinf=jnp.inf, neginf=-jnp.inf)
        coded = self.decode(self.encode(known), dtype=spectrogram.dtype)
        return spectrogram + jax.lax.stop_gradient(coded - spectrogram)

    def fit(self, spectrogram: Spectrogram) -> Quantizer:
        """Quantizer with the peaks of a signal as scales: per clip and channel, [..., 1, channels].

        Channels that are silent get the smallest scale that keeps their codes at 0.

        Args:
            spectrogram: [..., frames, channels], floating.

        Returns:
            A copy with those scales.

        Raises:
            TypeError: for what is not floating.
            ValueError: for NaN, or fewer than two axes.
        """
        checks.check_floating(spectrogram, "spectrogram", ndim=2)
        checks.refuse_nan(spectrogram, "spectrogram")
        peak = jnp.max(jnp.abs(spectrogram), axis=-2, keepdims=True)
        tiny = jnp.asarray(np.finfo(np.float32).tiny * 2.0**24, peak.dtype)
        return self.replace(scale=jnp.maximum(peak, tiny))  # type: ignore[attr-defined]

    @property
    def storage_dtype(self) -> np.dtype:
        """The smallest unsigned integer type that holds the codes: uint8 or uint16."""
        return np.dtype(np.uint8 if self.q_bits <= 8 else np.uint16)


def scales_from_spec(spec: FilterbankSpec, *, level_db: float = -23.0) -> np.ndarray:
    """Channel scales from the statistics that a bank has on music of a given level.

    32 standard deviations of the channel for :func:`.covariance.music_autocovariance`, so that
    codes need no side information; at most the largest value that samples in [-1, 1] can cause.

    Args:
        spec: of the bank.
        level_db: root mean square level of the music in dB relative to full scale.

    Returns:
        float32 [channels].
    """
    kernels = spec.bank.kernels
    lags = covariance.music_autocovariance(
        spec.bank.taps, sample_rate=spec.sample_rate, level_db=level_db
    )
    # sigma_c = sqrt(k_c R k_c^T), and max |S_c| = sum |k_c| for samples in [-1, 1]
    deviation = np.sqrt(covariance.channel_variances(kernels, lags))
    largest = np.sum(np.abs(kernels), axis=1)
    floor = np.finfo(np.float32).tiny * 2.0**24
    return np.maximum(np.minimum(_HEADROOM * deviation, largest), floor).astype(np.float32)


@settles
def make_quantizer(
    spec: FilterbankSpec,
    *,
    q_bits: int = 8,
    code: Code = "symmetric",
    scale: np.ndarray | jax.Array | float | None = None,
    mu: float = 30.0,
) -> Quantizer:
    """Quantizer for the coefficients of a bank.

    Args:
        spec: the bank.
        q_bits: 2 to 16.
        code: "symmetric", or "reference" for iSincNet's.
        scale: explicit scales; from the spec's statistics if None. Use
            :meth:`Quantizer.fit` for scales from a signal.
        mu: companding of the symmetric code, positive.

    Returns:
        The quantizer; scales are float32, [channels] if they follow from the spec.

    Raises:
        ValueError: for an impossible number of bits, code, scale (unless it is traced) or mu.
    """
    q_bits = companding.check_q_bits(q_bits)
    if code not in ("symmetric", "reference"):
        raise ValueError(f"code={code!r} is unknown; use 'symmetric' or 'reference'")
    if not mu > 0:
        raise ValueError(f"mu={mu} must be positive")
    if code == "reference":
        if scale is not None:
            raise ValueError("the reference code has no scale; use code='symmetric'")
        return Quantizer(np.ones((1,), np.float32), q_bits, float(2**q_bits - 1), code)
    if scale is None:
        scale = scales_from_spec(spec)
    traced = isinstance(scale, jax.core.Tracer)
    scales: Any = (jnp if traced else np).asarray(scale, np.float32)
    if scales.ndim and scales.shape[-1] not in (1, spec.num_channels):
        raise ValueError(
            f"scale has {scales.shape[-1]} channels but the bank has {spec.num_channels}"
        )
    if not traced and not np.all(scales > 0):
        raise ValueError("every scale must be positive")
    return Quantizer(scales, q_bits, float(mu), code)
