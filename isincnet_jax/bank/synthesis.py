"""Synthesis filterbank: coefficients go in, the waveform comes out."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank.analysis import COLLECTION
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.designed import Bank
from isincnet_jax.bank.edges import EdgePlan, edge_plan
from isincnet_jax.bank.solve import design_decoder
from isincnet_jax.bank.solved import SolvedDecoder
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp import checks
from isincnet_jax.dsp.settling import settles
from isincnet_jax.linen import SettledModule
from isincnet_jax.typing import Spectrogram, Waveform


@settles
def apply_synthesis(
    spectrogram: Spectrogram,
    weights: Float[jax.Array, "..."],
    *,
    bank: Bank,
    solved: SolvedDecoder,
    length: int,
    edges: EdgePlan | None = None,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Waveform:
    """Waveform of a spectrogram, by a decoder's weights, cut to the clip.

    Args:
        spectrogram: [..., frames, channels].
        weights: like ``solved.values``.
        bank: the designed bank.
        solved: the decoder in whose place the weights are applied.
        length: samples of the clip.
        edges: what replaces the stationary decoder at reflected edges.
        precision: of the products on accelerators.

    Returns:
        [..., length].
    """
    if edges is not None and edges.whole:
        return _solve_edge(spectrogram, edges.right, precision)
    clip = solved.synthesise(
        spectrogram,
        weights,
        hop_length=bank.hop_length,
        first_frame=bank.frame_grid(length).first,
        length=length,
        precision=precision,
    )
    if edges is None or (edges.left is None and edges.right is None):
        return clip
    # [left edge, interior, right edge] along time: the edges take the place of what the stationary
    # decoder made of frames that are missing there.
    parts = [clip]
    if edges.left is not None:
        first = spectrogram[..., : edges.left.num_frames, :]
        parts = [_solve_edge(first, edges.left, precision), clip[..., edges.left.num_samples :]]
    if edges.right is not None:
        last = spectrogram[..., -edges.right.num_frames :, :]
        parts[-1] = parts[-1][..., : -edges.right.num_samples]
        parts.append(_solve_edge(last, edges.right, precision))
    return jnp.concatenate(parts, axis=-1)


def _solve_edge(spectrogram: Any, edge: Any, precision: lax.PrecisionLike) -> jax.Array:
    flat = lax.collapse(jnp.asarray(spectrogram), spectrogram.ndim - 2)
    return jnp.matmul(flat, jnp.asarray(edge.matrix, flat.dtype), precision=precision)


class Synthesis(SettledModule):
    """Synthesis filterbank, the decoder of an analysis, as a Linen module.

    The synthesis kernels are solved in float64 from the spec, cast once, and kept in the
    collection "filterbank"; with ``learnable`` they are the parameter ``kernels`` [channels,
    taps], which starts as the exact decoder.

    Attributes:
        spec: geometry and filters of the analysis.
        decoder: how the kernels are found.
        learnable: whether they are parameters.
        compute_dtype: of the products of learnable kernels; ``dtype`` if None.
        dtype: of coefficients, kernels and waveform.
        precision: of the products on accelerators.

    Example:
        >>> spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
        >>> layer = Synthesis(spec)
        >>> spectrogram = jnp.zeros((2, 16, 18))
        >>> variables = layer.init(jax.random.key(0), spectrogram)
        >>> layer.apply(variables, spectrogram, 100).shape
        (2, 100)
    """

    spec: FilterbankSpec
    decoder: DecoderSpec = DecoderSpec()
    learnable: bool = False
    compute_dtype: Any = None
    dtype: Any = jnp.float32
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    @property
    def solved(self) -> SolvedDecoder:
        """The solved decoder as the weights in use are applied: learned ones are kernels."""
        solved = design_decoder(self.spec, self.decoder)
        return solved.dense if self.learnable else solved

    def edges(self, length: int) -> EdgePlan | None:
        """Edge decoders of a clip; learned weights have its edges to learn, too.

        Args:
            length: samples of the clip.

        Returns:
            The decoders, or None where all samples are decoded alike.
        """
        if self.learnable:
            return None
        solved = self.solved
        noise = solved.assumed_noise(self.decoder)
        return edge_plan(self.spec.bank, solved, length, noise_variance=noise)

    def setup(self) -> None:
        """Variables of the decoder: fixed weights, or parameters that start as them."""
        values = self.solved.values
        if self.learnable:
            self.kernels = self.param("kernels", lambda key: jnp.asarray(values, self.dtype))
        else:
            self.fixed = self.variable(
                COLLECTION, "synthesis", lambda: jnp.asarray(values, self.dtype)
            )

    def weights(self) -> Float[jax.Array, "..."]:
        """Weights in use, learned ones included.

        Returns:
            Kernels [channels, taps], or what a fixed decoder's structure is applied with.
        """
        return self.kernels if self.learnable else self.fixed.value

    @settles
    def __call__(self, spectrogram: Spectrogram, length: int | None = None) -> Waveform:
        """Waveform of a spectrogram.

        Args:
            spectrogram: [..., frames, channels], in ``dtype``.
            length: samples of the clip that was encoded; if None, the longest clip that has so
                many frames.

        Returns:
            [..., length].

        Raises:
            ValueError: if the axes do not fit the spec or the length.
            TypeError: if the dtype is another.
        """
        length = check_spectrogram(spectrogram, self.spec, length, self.dtype)
        weights = self.weights()
        if self.learnable and self.compute_dtype is not None:
            weights = weights.astype(self.compute_dtype)
            spectrogram = jnp.asarray(spectrogram, self.compute_dtype)
        return apply_synthesis(
            spectrogram,
            weights,
            bank=self.spec.bank,
            solved=self.solved,
            length=length,
            edges=self.edges(length),
            precision=self.precision,
        ).astype(self.dtype)


@settles
def check_spectrogram(
    spectrogram: Any, spec: FilterbankSpec, length: int | None, dtype: Any
) -> int:
    """Spectrogram of a spec, and the length of its clip.

    Args:
        spectrogram: anything.
        spec: of the bank.
        length: samples of the clip; None for the longest that has so many frames.
        dtype: the one that is taken.

    Returns:
        The length in samples.

    Raises:
        ValueError: for wrong channels, or frames that do not fit ``length``.
        TypeError: for another dtype.
    """
    checks.check_floating(spectrogram, "spectrogram", dtype=dtype)
    shape = tuple(spectrogram.shape)
    if len(shape) < 2 or shape[-1] != spec.num_channels:
        raise ValueError(
            f"spectrogram.shape={shape}: expected [..., frames, {spec.num_channels} channels]"
        )
    if length is None:
        return spec.bank.longest_length(shape[-2])
    expected = spec.bank.frame_grid(length).num_frames
    if expected != shape[-2]:
        raise ValueError(
            f"length={length} has {expected} frames of hop_length={spec.hop_length}, "
            f"but the spectrogram has {shape[-2]}"
        )
    return length
