"""Uniform quantiser: one step for all coefficients, for codes that are entropy-coded."""

from __future__ import annotations

import math
from typing import Any

import flax.struct
import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from isincnet_jax.dsp import checks, settling
from isincnet_jax.dsp.equality import equal_by_value
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.typing import Codes, Spectrogram

LARGEST_LEVEL = 1 << 20
"""Largest magnitude of a code; float32 coefficients have 24 bits, a few of which are noise."""


@flax.struct.dataclass
class UniformQuantizer:
    """A mid-tread quantiser without companding: a frozen pytree.

    ``code = round(coefficient / (step * weight))``, ties to even, 0 for silence. Every
    coefficient has the same error, at most half a step (times its weight), however large it is.
    At a given signal-to-noise ratio of the waveform and with an entropy coder behind it that
    is the cheapest elementwise code: companding spends bits on small coefficients that the sum
    over channels does not notice.

    Attributes:
        step: distance of two reconstruction values, positive; in the units of the coefficients.
        weight: factors of the step, positive; broadcasts against [..., frames, channels].
    """

    step: float = flax.struct.field(pytree_node=False)
    weight: jax.Array | np.ndarray | float = 1.0

    __eq__ = equal_by_value
    __hash__ = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", settling.settled_number("step", self.step))

    def encode(self, spectrogram: Spectrogram) -> Codes:
        """Signed codes of coefficients.

        What would be larger than 2^20 becomes 2^20 + 1 with its sign, which nothing decodes.

        Args:
            spectrogram: floating, broadcasting against the weight, [..., frames, channels] say.

        Returns:
            int32 in [-2^20, 2^20], in the shape of the input.

        Raises:
            ValueError: for NaN, of which codes cannot tell; traced, it becomes any code.
        """
        spectrogram = checks.as_floating(spectrogram, "spectrogram")
        checks.refuse_nan(spectrogram, "spectrogram")
        levels = self._levels(spectrogram)
        return levels.astype(jnp.int32)

    def decode(self, codes: Codes, *, dtype: Any = jnp.float32) -> Spectrogram:
        """Coefficients of codes, ``step * weight * code``.

        Args:
            codes: integers in [-2^20, 2^20], in the shape of the coefficients.
            dtype: of the result.

        Returns:
            Coefficients in the shape of the input.

        Raises:
            TypeError: if the codes are not integers.
            ValueError: for codes beyond 2^20 either way; traced ones give NaN.
        """
        checks.check_codes(codes, -LARGEST_LEVEL, LARGEST_LEVEL)
        values = jnp.asarray(codes).astype(dtype)
        values = values * match_rank(self._steps(dtype), values)
        return checks.codes_in_range(values, codes, -LARGEST_LEVEL, LARGEST_LEVEL)

    def straight_through(self, spectrogram: Spectrogram) -> Spectrogram:
        """Coefficients of the codes of coefficients; gradients pass as if nothing had happened.

        Args:
            spectrogram: as for :meth:`encode`.

        Returns:
            What :meth:`decode` makes of the codes, in the dtype of the input.
        """
        spectrogram = checks.as_floating(spectrogram, "spectrogram")
        steps = match_rank(self._steps(spectrogram.dtype), spectrogram)
        # x + (Q(x) - x) with the bracket constant: the value of Q, the gradient of the identity.
        coded = self._levels(spectrogram) * steps
        return spectrogram + jax.lax.stop_gradient(coded - spectrogram)

    def _levels(self, spectrogram: jax.Array) -> jax.Array:
        steps = match_rank(self._steps(spectrogram.dtype), spectrogram)
        most = LARGEST_LEVEL + 1
        # Clipped one beyond the largest code, so that decoding finds it out of range.
        return jnp.clip(jnp.round(spectrogram / steps), -most, most)

    def _steps(self, dtype: Any) -> jax.Array:
        return jnp.asarray(self.step, dtype) * jnp.asarray(self.weight, dtype)


def make_uniform_quantizer(
    step: float, *, weight: jax.Array | np.ndarray | float | None = None
) -> UniformQuantizer:
    """A checked :class:`UniformQuantizer`; the step is rounded to float32.

    Args:
        step: positive, finite; what a float32 can hold.
        weight: per channel, or None for the same step everywhere.

    Returns:
        The quantizer, its step what a float32 holds, its weight float32.

    Raises:
        ValueError: for a step or a weight (unless it is traced) that is not a positive finite
            number.
    """
    step = settling.settled_number("step", step)
    rounded = float(np.float32(step)) if abs(step) < 1e38 else math.inf
    if not 1e-30 < rounded < 1e30:
        raise ValueError(f"step={step!r} must lie between 1e-30 and 1e30")
    if isinstance(weight, jax.core.Tracer):
        return UniformQuantizer(rounded, weight.astype(np.float32))
    weights = np.asarray(1.0 if weight is None else weight, np.float32)
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError("weight: every factor of the step must be positive and finite")
    return UniformQuantizer(rounded, weights)
