"""Quantizer of ragged coefficients: to integer codes and back, array by array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax.bank.quantizer import Quantizer
from isincnet_jax.bank.uniform_quantizer import UniformQuantizer, make_uniform_quantizer
from isincnet_jax.dsp import checks, companding
from isincnet_jax.typing import Codes


@flax.struct.dataclass
class RaggedQuantizer:
    """A quantizer for each array of ragged coefficients: a frozen pytree.

    A complex bin has two codes, of its real and of its imaginary part, side by side: an array
    [..., frames, bins] has codes [..., frames, 2 bins]. Made by :meth:`.NonuniformCodec.quantizer`.

    Attributes:
        each: elementwise quantizers of reals, one for each array.

    Example:
        >>> arrays = (jnp.array([[0.5 - 0.25j]]), jnp.array([[0.1j], [-0.2]]))
        >>> quantizer = uniform_quantizers(2, step=0.1)
        >>> [code.tolist() for code in quantizer.encode(arrays)]
        [[[5, -2]], [[0, 1], [-2, 0]]]
        >>> again = quantizer.decode(quantizer.encode(arrays))
        >>> bool(abs(again[0] - arrays[0]).max() <= 0.05)
        True
    """

    each: tuple[Quantizer | UniformQuantizer, ...]

    def encode(self, coefficients: Sequence[Any]) -> tuple[Codes, ...]:
        """Codes of coefficients.

        Args:
            coefficients: complex [..., frames, bins] of each array.

        Returns:
            int32 [..., frames, 2 bins] of each.

        Raises:
            TypeError: for arrays that are not complex.
            ValueError: for another number of arrays, and for NaN.
        """
        self._check_number(coefficients)
        pairs = zip(self.each, coefficients, strict=True)
        return tuple(quantizer.encode(as_reals(array)) for quantizer, array in pairs)

    def decode(self, codes: Sequence[Any], *, dtype: Any = jnp.float32) -> tuple[jax.Array, ...]:
        """Coefficients of codes.

        Args:
            codes: integers [..., frames, 2 bins] of each array.
            dtype: of the real and imaginary parts.

        Returns:
            Complex [..., frames, bins] of each.

        Raises:
            TypeError: for codes that are not integers.
            ValueError: for another number of arrays, and codes that are none of this quantizer's.
        """
        self._check_number(codes)
        pairs = zip(self.each, codes, strict=True)
        return tuple(as_complex(quantizer.decode(code, dtype=dtype)) for quantizer, code in pairs)

    def _check_number(self, arrays: Sequence[Any]) -> None:
        if len(arrays) != len(self.each):
            raise ValueError(f"{len(arrays)} arrays, the bank has {len(self.each)}")


def uniform_quantizers(num_arrays: int, *, step: float) -> RaggedQuantizer:
    """One step for all coefficients.

    Args:
        num_arrays: of the bank.
        step: positive, in the units of the coefficients.

    Returns:
        The quantizer; codes are signed.

    Raises:
        ValueError: for a step that is not positive and finite.
    """
    return RaggedQuantizer((make_uniform_quantizer(step),) * num_arrays)


def fitted_quantizers(coefficients: Sequence[Any], *, q_bits: int) -> RaggedQuantizer:
    """Companded codes with the peaks of a signal as scales, as :meth:`.Quantizer.fit` has them.

    Args:
        coefficients: complex [..., frames, bins] of each array.
        q_bits: 2 to 16.

    Returns:
        The quantizer; codes in ``[0, 2^q_bits - 2]``.

    Raises:
        TypeError: for arrays that are not complex.
        ValueError: for impossible bits, and for NaN.
    """
    unfitted = Quantizer(np.ones((1,), np.float32), companding.check_q_bits(q_bits))
    return RaggedQuantizer(tuple(unfitted.fit(as_reals(array)) for array in coefficients))


def as_reals(array: Any) -> jax.Array:
    """Real and imaginary parts side by side: [..., bins] complex to [..., 2 bins].

    Args:
        array: complex.

    Returns:
        Floating.

    Raises:
        TypeError: for an array that is not complex.
    """
    array = checks.as_complex(array, "coefficients")
    pairs = jnp.stack([array.real, array.imag], axis=-1)
    return pairs.reshape((*array.shape[:-1], 2 * array.shape[-1]))


def as_complex(values: Any) -> jax.Array:
    """The inverse of :func:`as_reals`.

    Args:
        values: floating [..., 2 bins].

    Returns:
        Complex [..., bins].
    """
    pairs = values.reshape((*values.shape[:-1], values.shape[-1] // 2, 2))
    return jax.lax.complex(pairs[..., 0], pairs[..., 1])
