"""Complex filterbanks as (analyse, synthesise) callables, for the baselines of phase retrieval."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial

from isincnet_jax.phase.iterations import Operators


class CodecLike(Protocol):
    """Codec as far as operators need it: ``spec.component``, ``encode`` and ``decode``."""

    @property
    def spec(self) -> Any:
        """Has ``component``, "real" or "complex"."""
        ...

    def encode(self, waveform: Any, /) -> Any:
        """Waveform [..., time] to real channels [..., frames, 2 bins], cosine before sine.

        Args:
            waveform: [..., time].

        Returns:
            [..., frames, 2 bins].
        """
        ...

    def decode(self, spectrogram: Any, /, *, length: int) -> Any:
        """The inverse of ``encode``.

        Args:
            spectrogram: [..., frames, 2 bins].
            length: samples of the waveform.

        Returns:
            [..., length].
        """
        ...


def bank_operators(codec: CodecLike, *, length: int) -> Operators:
    """A complex bank's analysis and its decoder as a transform with complex bins.

    Bin k is ``c_k + i s_k`` of the cosine and the sine channel of filter k, so that its magnitude
    is the envelope of the band. The decoder is the codec's own; an exact one inverts
    coefficients of signals, and for others it is close to, but not quite, the nearest signal.

    Args:
        codec: a :class:`.codec.Codec` or anything alike; as a pytree it
            may be replaced by one of the same structure without another compilation.
        length: samples of the clips.

    Returns:
        ``analyse``, [..., time] to complex [..., frames, bins], and ``synthesise`` back; pytrees
        whose leaves are the codec's arrays, if it is a pytree.

    Raises:
        ValueError: for a bank of real filters, which has signs and no phase.
    """
    if codec.spec.component != "complex":
        raise ValueError(
            f"component={codec.spec.component!r}: phase retrieval needs complex bins; use a spec "
            'with component="complex"'
        )
    if jax.tree_util.all_leaves([codec]):  # no pytree: it is closed over
        return Operators(
            Partial(lambda waveform: _analyse(codec, waveform)),
            Partial(lambda coefficients: _Synthesis(length)(codec, coefficients)),
        )
    return Operators(Partial(_analyse, codec), Partial(_Synthesis(length), codec))


@dataclasses.dataclass(frozen=True)
class _Synthesis:
    """A decoder of clips of one length; equal ones share their compilations."""

    length: int

    def __call__(self, codec: CodecLike, coefficients: Any) -> jax.Array:
        # Bins c + i s to channels: all cosines, then all sines.
        parts = [jnp.real(coefficients), jnp.imag(coefficients)]
        return codec.decode(jnp.concatenate(parts, axis=-1), length=self.length)


def _analyse(codec: CodecLike, waveform: Any) -> jax.Array:
    cosine, sine = jnp.split(codec.encode(waveform), 2, axis=-1)
    return lax.complex(cosine, sine)
