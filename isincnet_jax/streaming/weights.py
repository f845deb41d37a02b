"""Streaming weights: the kernels that a codec, a module or a spec stands for, written out."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from isincnet_jax.bank.analysis import COLLECTION
from isincnet_jax.bank.codec import Codec, build_codec
from isincnet_jax.bank.sincnet import SincNet
from isincnet_jax.bank.solved import SolvedDecoder
from isincnet_jax.bank.spec import FilterbankSpec


class Settings(NamedTuple):
    """Stream settings, taken over from its source.

    Attributes:
        spec: of the bank.
        dtype: of samples, coefficients and kernels.
        precision: of products on accelerators.
    """

    spec: FilterbankSpec
    dtype: Any
    precision: lax.PrecisionLike


def settings(source: Any) -> Settings:
    """Stream settings of a spec, a SincNet or a Codec.

    Args:
        source: any of them.

    Returns:
        Spec, dtype and precision; float32 and the highest for a spec.

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
    """Analysis kernels in use, written out.

    Args:
        source: a FilterbankSpec, a SincNet or a Codec.

    Returns:
        float64 [channels, taps], centred at ``taps // 2``.
    """
    if isinstance(source, FilterbankSpec):
        return source.bank.kernels
    codec = _codec(source)
    apply = jax.jit(lambda variables: codec.model.apply(variables, method="filters"))
    return codec.model.bank.written_out(np.asarray(apply(codec.variables), np.float64))


def synthesis_kernels(source: Any) -> SolvedDecoder:
    """Synthesis kernels in use, a dual window written out.

    Args:
        source: a FilterbankSpec, a SincNet or a Codec.

    Returns:
        A decoder with ``values`` float64 [channels, taps] and their ``lead``.
    """
    codec = _codec(SincNet(source) if isinstance(source, FilterbankSpec) else source)
    if codec.model.learnable_decoder:
        values = codec.variables["params"]["synthesis"]["kernels"]
    else:
        values = codec.variables[COLLECTION]["synthesis"]["synthesis"]
    return dataclasses.replace(codec.model.solved, values=np.asarray(values, np.float64)).dense


def has_solved_edges(source: Any) -> bool:
    """Edge decoders: whether the ends of clips are decoded from many frames at once.

    Args:
        source: a FilterbankSpec, a SincNet or a Codec.

    Returns:
        True for reflect padding with a decoder that is not learned.
    """
    spec = settings(source).spec
    if isinstance(source, FilterbankSpec):
        return spec.padding == "reflect"
    model = source.model if isinstance(source, Codec) else source
    return spec.padding == "reflect" and not model.learnable_decoder


def _codec(source: Any) -> Codec:
    return source if isinstance(source, Codec) else build_codec(source)
