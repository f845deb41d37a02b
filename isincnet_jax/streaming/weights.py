"""The kernels that a codec, a module or a spec stands for, written out for streaming."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from isincnet_jax.bank import design
from isincnet_jax.bank import solve as decoding
from isincnet_jax.bank.analysis import COLLECTION
from isincnet_jax.bank.codec import Codec, build_codec
from isincnet_jax.bank.dsp import uniform
from isincnet_jax.bank.sincnet import SincNet
from isincnet_jax.bank.spec import FilterbankSpec


class Settings(NamedTuple):
    """What a stream takes over from its source."""

    spec: FilterbankSpec
    dtype: Any
    precision: lax.PrecisionLike


def settings(source: Any) -> Settings:
    """The spec, dtype and precision of a spec, a SincNet or a Codec.

    Raises:
        TypeError: for anything else.
        ValueError: for a decoder that computes in another dtype.
    """
    if isinstance(source, FilterbankSpec):
        return Settings(source, jnp.float32, lax.Precision.HIGHEST)
    model = source.model if isinstance(source, Codec) else source
    if not isinstance(model, SincNet):
        raise TypeError(
            f"{type(source).__name__}: a stream is made from a FilterbankSpec, a SincNet or a Codec"
        )
    if model.compute_dtype is not None and jnp.dtype(model.compute_dtype) != model.dtype:
        raise ValueError(
            f"compute_dtype={jnp.dtype(model.compute_dtype)}: a stream works in {model.dtype}; use "
            "model.clone(compute_dtype=None)"
        )
    return Settings(model.spec, model.dtype, model.precision)


def analysis_kernels(source: Any) -> np.ndarray:
    """Kernels [channels, taps], centred at ``taps // 2``, float64."""
    if isinstance(source, FilterbankSpec):
        return design.design_bank(source).kernels
    codec = _codec(source)
    model, spec = codec.model, codec.spec
    if model.learnable_filters:
        apply = jax.jit(lambda variables: model.apply(variables, method="filters"))
        return np.asarray(apply(codec.variables), np.float64)
    filters = np.asarray(codec.variables[COLLECTION]["analysis"]["analysis"], np.float64)
    if filters.ndim == 2:
        return filters
    # The window of a uniform bank; the synthesis kernels weigh bins between 0 and Nyquist twice.
    bins = spec.num_bins
    weighted = uniform.synthesis_kernels(
        filters, num_bins=bins, lead=len(filters) // 2, hop_length=spec.hop_length
    ).kernels
    inner = np.tile((np.arange(bins) > 0) & (np.arange(bins) < bins - 1), 2)
    return np.where(inner[:, None], 0.5 * weighted, weighted)


class SynthesisWeights(NamedTuple):
    """Synthesis kernels [channels, taps], float64, and the taps before their frame."""

    values: np.ndarray
    lead: int


def synthesis_kernels(source: Any) -> SynthesisWeights:
    """The decoder's kernels, a dual window written out."""
    codec = _codec(SincNet(source) if isinstance(source, FilterbankSpec) else source)
    model, spec = codec.model, codec.spec
    solved = decoding.design_decoder(spec, model.decoder)
    if model.learnable_decoder:
        kernels = np.asarray(codec.variables["params"]["synthesis"]["kernels"], np.float64)
        return SynthesisWeights(kernels, solved.lead)
    values = np.asarray(codec.variables[COLLECTION]["synthesis"]["synthesis"], np.float64)
    dense = decoding.dense_kernels(spec, dataclasses.replace(solved, values=values))
    return SynthesisWeights(dense, solved.lead)


def has_solved_edges(source: Any) -> bool:
    """Whether the ends of clips are decoded from many frames at once, apart from the rest."""
    spec = settings(source).spec
    if isinstance(source, FilterbankSpec):
        return spec.padding == "reflect"
    model = source.model if isinstance(source, Codec) else source
    return spec.padding == "reflect" and not model.learnable_decoder


def _codec(source: Any) -> Codec:
    return source if isinstance(source, Codec) else build_codec(source)
