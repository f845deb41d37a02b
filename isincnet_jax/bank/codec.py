"""Codec of waveforms: a SincNet with its variables, a frozen pytree that encodes and decodes."""

from __future__ import annotations

import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax.bank import quantizer
from isincnet_jax.bank.sincnet import SincNet, check_refinements
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp import checks
from isincnet_jax.dsp.settling import settles
from isincnet_jax.linen import TrainedModel
from isincnet_jax.typing import Spectrogram, Waveform


@functools.partial(jax.jit, static_argnames=("model", "scale"))
def _encode(variables: Any, waveform: Any, *, model: SincNet, scale: str | None) -> jax.Array:
    return model.apply(variables, waveform, scale=scale, method="encode")  # type: ignore[return-value]


@functools.partial(jax.jit, static_argnames=("model", "length", "scale", "refinements"))
def _decode(
    variables: Any,
    spectrogram: Any,
    *,
    model: SincNet,
    length: int | None,
    scale: str | None,
    refinements: int,
) -> jax.Array:
    return model.apply(  # type: ignore[return-value]
        variables,
        spectrogram,
        length=length,
        scale=scale,
        refinements=refinements,
        method="decode",
    )


@flax.struct.dataclass(eq=False)
class Codec(TrainedModel[SincNet]):
    """Codec: a model and its variables.

    A pytree: pass it through ``jax.jit``, ``vmap`` or a checkpoint. Its methods compile once per
    shape; the functions inside are ``model.apply(variables, ..., method="encode")`` and
    ``"decode"``.

    Attributes:
        model: the Linen module, static.
        variables: its parameters and fixed filters.
        name: of the preset or file it came from.

    Example:
        >>> spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
        >>> codec = build_codec(SincNet(spec))
        >>> spectrogram = codec.encode(np.ones((1, 100), np.float32))
        >>> spectrogram.shape, codec.num_frames(100)
        ((1, 16, 18), 16)
        >>> codec.decode(spectrogram, length=100).shape
        (1, 100)
        >>> codes = codec.quantizer(q_bits=8).fit(spectrogram).encode(spectrogram)
        >>> codes.shape
        (1, 16, 18)
    """

    @property
    def spec(self) -> FilterbankSpec:
        """The filterbank."""
        return self.model.spec

    def encode(self, waveform: Waveform, *, scale: str | None = None) -> Spectrogram:
        """Spectrogram [..., frames, channels] of a waveform [..., time].

        Args:
            waveform: floating samples at ``spec.sample_rate``; NumPy float64 is cast to the
                model's dtype.
            scale: as in :meth:`.sincnet.SincNet.encode`.

        Returns:
            [..., frames, channels] in the model's dtype.

        Raises:
            TypeError: for integers, and for JAX arrays of another dtype.
            ValueError: for an empty waveform or a scale that the model does not offer.
        """
        waveform = self._cast(waveform)
        checks.check_floating_waveform(waveform, dtype=self.model.dtype)
        return _encode(self.variables, waveform, model=self.model, scale=scale)

    @settles
    def decode(
        self,
        spectrogram: Spectrogram,
        *,
        length: int | None = None,
        scale: str | None = None,
        refinements: int = 0,
    ) -> Waveform:
        """Waveform [..., length] of a spectrogram [..., frames, channels].

        Args:
            spectrogram: as encoded, or dequantised.
            length: samples of the clip that was encoded. The frames of a zero-padded clip tell
                its length only up to a hop; without it the longest such clip is returned.
            scale: what ``encode`` was given.
            refinements: times that what the result lacks is decoded once more, see
                :meth:`.sincnet.SincNet.decode`; each takes one more encoding and
                decoding.

        Returns:
            [..., length] in the model's dtype.

        Raises:
            TypeError: for integers, and for JAX arrays of another dtype.
            ValueError: for frames or channels that do not fit, and negative ``refinements``.
        """
        spectrogram = self._cast(spectrogram)
        checks.check_floating(spectrogram, "spectrogram", dtype=self.model.dtype, ndim=2)
        return _decode(
            self.variables,
            spectrogram,
            model=self.model,
            length=length,
            scale=scale,
            refinements=check_refinements(refinements),
        )

    def quantizer(self, *, q_bits: int = 8, **options: Any) -> quantizer.Quantizer:
        """Quantizer for this codec's coefficients.

        Args:
            q_bits: 2 to 16.
            **options: of :func:`.quantizer.make_quantizer`.

        Returns:
            A quantizer with scales from the spec, unless they are given.

        Raises:
            ValueError: for options that :func:`.quantizer.make_quantizer` refuses.
        """
        return quantizer.make_quantizer(self.spec, q_bits=q_bits, **options)

    @settles
    def num_frames(self, length: int) -> int:
        """Frames of a clip of ``length`` samples.

        Args:
            length: samples, 1 or more.

        Returns:
            Frames, 1 or more.
        """
        return self.spec.bank.frame_grid(length).num_frames

    @settles
    def frame_times_s(self, length: int) -> np.ndarray:
        """Positions of the frames of a clip in seconds; the first may lie before the clip.

        Args:
            length: samples, 1 or more.

        Returns:
            float64 [frames], seconds.
        """
        grid = self.spec.bank.frame_grid(length)
        index = grid.first + np.arange(grid.num_frames)
        return index * (self.spec.hop_length / self.spec.sample_rate)


def decode_filled(
    codec: Codec,
    spectrogram: Spectrogram,
    *,
    length: int,
    end: int,
    refinements: int = 0,
) -> Waveform:
    """Waveform of a clip whose frames were filled up with zeros to a longer clip's.

    Args:
        codec: any codec with zero padding.
        spectrogram: [..., frames, channels], zeros behind the frames of the clip.
        length: samples of the longer clip.
        end: samples of the clip: refinements take those behind it for zeros, as they were encoded.
        refinements: as of the codec.

    Returns:
        [..., length] of the longer clip; samples from ``end`` on are not of the clip.
    """
    waveform = codec.decode(spectrogram, length=length)
    for _ in range(check_refinements(refinements)):
        lacking = _lacking(codec.encode(_cut(waveform, end)), spectrogram)
        waveform = waveform + codec.decode(lacking, length=length)
    return waveform


@jax.jit
def _cut(waveform: jax.Array, end: int) -> jax.Array:
    return jnp.where(jnp.arange(waveform.shape[-1]) < end, waveform, jnp.zeros((), waveform.dtype))


@jax.jit
def _lacking(found: jax.Array, wanted: jax.Array) -> jax.Array:
    return wanted - found


def build_codec(model: SincNet, *, key: jax.Array | None = None, name: str = "custom") -> Codec:
    """Codec of a model, initialised: fixed filters designed, learned ones at their start.

    Args:
        model: any SincNet.
        key: PRNG key of the initialisation; the initial values do not depend on it.
        name: shown by ``describe``.

    Returns:
        The model with its variables on the default device.

    Example:
        >>> spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
        >>> codec = build_codec(SincNet(spec), name="mine")
        >>> codec.name, codec.spec.num_channels
        ('mine', 18)
    """
    if not model.learnable_filters and not model.learnable_decoder:
        # Designed arrays are put on the device as they are: no program is traced or compiled.
        return Codec(model, model.init({}, method=model.prepare), name)
    key = jax.random.key(0) if key is None else key
    return Codec(model, jax.jit(functools.partial(model.init, method=model.prepare))(key), name)
