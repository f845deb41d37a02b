"""Codec of a nonuniform bank: ragged coefficients of a waveform, and back, a frozen pytree."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax.bank.dsp.frame_theory import FrameBounds
from isincnet_jax.constant_q import ragged_quantizer
from isincnet_jax.constant_q.dsp import gabor_tables, nonstationary_gabor
from isincnet_jax.constant_q.dsp.nonuniform_spec import NonuniformSpec
from isincnet_jax.constant_q.nonuniform_bank import NonuniformBank, SlicedNonuniformBank
from isincnet_jax.constant_q.ragged_quantizer import RaggedQuantizer
from isincnet_jax.dsp.settling import settles
from isincnet_jax.linen import TrainedModel
from isincnet_jax.typing import Waveform


@functools.partial(jax.jit, static_argnames="model")
def _encode(waveform: Any, *, model: NonuniformBank) -> tuple[jax.Array, ...]:
    return model.encode(waveform)


@functools.partial(jax.jit, static_argnames=("model", "length"))
def _decode(coefficients: Any, *, model: NonuniformBank, length: Any) -> Waveform:
    return model.decode(coefficients, length=length)


@flax.struct.dataclass(eq=False)
class NonuniformCodec(TrainedModel[NonuniformBank]):
    """Codec of a nonuniform bank in the ragged layout, with an exact inverse.

    A pytree, as :class:`.codec.Codec` is. Coefficients are a tuple of complex arrays [..., frames,
    bins] by increasing frequency, each with a hop of its own; frame t of an array lies at sample
    ``t hop``. There is nothing to learn or solve.

    Attributes:
        model: the Linen module, static.
        variables: none.
        name: of the preset it came from.
        dtype: of the waveforms, float32, or float64 with ``jax_enable_x64``.

    Example:
        >>> codec = build_nonuniform_codec(NonuniformSpec(sample_rate=8000, num_bins=20))
        >>> waveform = 0.1 * np.random.default_rng(0).standard_normal((1, 1000), np.float32)
        >>> coefficients = codec.encode(waveform)
        >>> again = codec.decode(coefficients, length=1000)
        >>> len(coefficients), bool(np.max(np.abs(again - waveform)) < 1e-6)
        (6, True)
    """

    dtype: Any = flax.struct.field(pytree_node=False, default=jnp.float32)

    @property
    def spec(self) -> NonuniformSpec:
        """The bands."""
        return self.model.spec

    @property
    def hop_lengths(self) -> tuple[int, ...]:
        """Samples between the frames of every array."""
        return self.model.hop_lengths

    @property
    def frequencies(self) -> np.ndarray:
        """Centres of the bins of all arrays side by side, float64 [bins], Hz."""
        return self.model.frequencies

    def encode(self, waveform: Waveform) -> tuple[jax.Array, ...]:
        """Coefficients of a waveform [..., time].

        Args:
            waveform: floating samples at ``spec.sample_rate``; NumPy's are cast to ``dtype``.

        Returns:
            A tuple of [..., frames, bins] complex.

        Raises:
            TypeError: for integers.
            ValueError: for an empty waveform.
        """
        if isinstance(waveform, np.ndarray) and np.issubdtype(waveform.dtype, np.floating):
            waveform = waveform.astype(self.dtype)
        return _encode(waveform, model=self.model)

    @settles
    def decode(self, coefficients: Any, *, length: int | None = None) -> Waveform:
        """Waveform [..., length] of coefficients.

        Args:
            coefficients: as encoded, or changed.
            length: samples of the clip that was encoded; the longest with so many frames if None.

        Returns:
            [..., length], floating.

        Raises:
            TypeError: for coefficients that are not complex.
            ValueError: for arrays, frames or bins that do not fit.
        """
        arrays = tuple(coefficients)
        if length is None and arrays and np.ndim(arrays[0]) >= 2:
            padded = arrays[0].shape[-2] * self.hop_lengths[0]
            length = max(int(padded - nonstationary_gabor.ringing(self.spec)), 1)
        return _decode(arrays, model=self.model, length=length)

    @settles
    def quantizer(
        self,
        coefficients: Any = None,
        *,
        step: float | None = None,
        q_bits: int | None = None,
    ) -> RaggedQuantizer:
        """Quantizer of this codec's tokens; one of ``step`` and ``q_bits`` is needed.

        Args:
            coefficients: with ``q_bits``, those of :meth:`encode`, whose peaks by bin are scales.
            step: of uniform codes, positive, in the units of the coefficients; or
            q_bits: of companded codes, 2 to 16.

        Returns:
            One that makes int32 codes [..., frames, 2 bins] of every array.

        Raises:
            TypeError: for coefficients that are not complex.
            ValueError: for a step that is not positive, impossible bits, both or neither.

        Example:
            >>> codec = build_nonuniform_codec(NonuniformSpec(sample_rate=8000, num_bins=20))
            >>> waveform = 0.1 * np.random.default_rng(0).standard_normal((1, 1000), np.float32)
            >>> coefficients = codec.encode(waveform)
            >>> quantizer = codec.quantizer(coefficients, q_bits=8)
            >>> codes = quantizer.encode(coefficients)
            >>> again = codec.decode(quantizer.decode(codes), length=1000)
            >>> bool(jnp.max(jnp.abs(again - waveform)) < 0.01)
            True
        """
        if (step is None) == (q_bits is None):
            raise ValueError(f"step={step} and q_bits={q_bits}: give one of them")
        if step is not None:
            if coefficients is not None:
                raise ValueError("coefficients are for q_bits=; codes of a step need none")
            return ragged_quantizer.uniform_quantizers(len(self.hop_lengths), step=step)
        if coefficients is None:
            raise ValueError(f"q_bits={q_bits}: give the coefficients whose peaks are scales")
        return ragged_quantizer.fitted_quantizers(coefficients, q_bits=q_bits)  # type: ignore[arg-type]

    def array_shapes(self, length: int) -> tuple[tuple[int, int], ...]:
        """Frames and bins of every array of a clip.

        Args:
            length: samples, 1 or more.

        Returns:
            (frames, bins) of each.
        """
        bins = (bins for bins, _ in gabor_tables.array_grid(self.spec, "ragged"))
        frames = (len(times) for times in self.frame_times_s(length))
        return tuple(zip(frames, bins, strict=True))

    def frame_times_s(self, length: int) -> tuple[np.ndarray, ...]:
        """Positions of the frames of every array, those of a clip's padding included.

        Args:
            length: samples, 1 or more.

        Returns:
            float64 [frames] of every array, seconds.
        """
        return self.model.frame_times(length)

    def frame_bounds(self, length: int) -> FrameBounds:
        """Frame bounds in the "energy" scale, see :meth:`.NonuniformBank.frame_bounds`.

        Args:
            length: samples, 1 or more.

        Returns:
            Lower and upper bound.
        """
        return self.model.frame_bounds(length)

    def redundancy(self, length: int | None = None) -> float:
        """Redundancy: real numbers among the coefficients per sample, a complex one has two.

        Args:
            length: of a clip in samples, whose padding counts; None: of a second of sound.

        Returns:
            A ratio.
        """
        if length is None:
            grid = gabor_tables.array_grid(self.spec, "ragged")
            return 2 * sum(bins / hop for bins, hop in grid)
        return self.model.redundancy(length)

    def in_scale(self, normalization: str) -> NonuniformCodec:
        """The same bands in another scale, "amplitude" for pictures, say.

        Args:
            normalization: a scale of :class:`.NonuniformBank`.

        Returns:
            The codec.

        Raises:
            ValueError: for an unknown scale.
        """
        spec = dataclasses.replace(self.spec, normalization=normalization)
        return build_nonuniform_codec(spec, dtype=self.dtype, name=self.name)

    def sliced(self, *, slice_length: int | None = None) -> SlicedNonuniformBank:
        """The same bands slice by slice, for streams: ``isn.stream_encoder(codec.sliced())``.

        Args:
            slice_length: samples; the default of the layer if None.

        Returns:
            The layer, in the ragged layout.
        """
        return SlicedNonuniformBank(
            **_attributes(self.spec), layout="ragged", slice_length=slice_length
        )


def _attributes(spec: NonuniformSpec) -> dict[str, Any]:
    return {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}


def build_nonuniform_codec(
    spec: NonuniformSpec, *, dtype: Any = jnp.float32, name: str = "custom"
) -> NonuniformCodec:
    """Codec of bands on a scale, or of any centres.

    Args:
        spec: the bands.
        dtype: of the waveforms, float32, or float64 with ``jax_enable_x64``.
        name: shown by ``describe``.

    Returns:
        The codec, without variables.

    Raises:
        ValueError: for another dtype.

    Example:
        >>> spec = NonuniformSpec(sample_rate=8000, num_bins=20, scale="erb")
        >>> codec = build_nonuniform_codec(spec, name="mine")
        >>> codec.name, round(codec.redundancy(), 1)
        ('mine', 2.5)
    """
    if jnp.dtype(dtype) not in (jnp.float32, jnp.float64):
        raise ValueError(f"dtype={jnp.dtype(dtype)}: use float32 or float64")
    model = NonuniformBank(**_attributes(spec), layout="ragged")
    return NonuniformCodec(model, {}, name, jnp.dtype(dtype))
