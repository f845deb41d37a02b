"""The kernels that a codec, a module or a spec stands for, written out for streaming."""

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
        return source.bank.kernels
    codec = _codec(source)
    apply = jax.jit(lambda variables: codec.model.apply(variables, method="filters"))
    return codec.model.bank.written_out(np.asarray(apply(codec.variables), np.float64))


def synthesis_kernels(source: Any) -> SolvedDecoder:
    """The decoder with the weights in use, a dual window written out: ``values`` and ``lead``."""
    codec = _codec(SincNet(source) if isinstance(source, FilterbankSpec) else source)
    if codec.model.learnable_decoder:
        values = codec.variables["params"]["synthesis"]["kernels"]
    else:
        values = codec.variables[COLLECTION]["synthesis"]["synthesis"]
    return dataclasses.replace(codec.model.solved, values=np.asarray(values, np.float64)).dense


def has_solved_edges(source: Any) -> bool:
    """Whether the ends of clips are decoded from many frames at once, apart from the rest."""
    spec = settings(source).spec
    if isinstance(source, FilterbankSpec):
        return spec.padding == "reflect"
    model = source.model if isinstance(source, Codec) else source
    return spec.padding == "reflect" and not model.learnable_decoder


def _codec(source: Any) -> Codec:
    return source if isinstance(source, Codec) else build_codec(source)
