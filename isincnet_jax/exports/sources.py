"""Codecs, quantizers and layers as graphs: which builder is whose, and what a file says of them."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import flax.errors
import flax.linen as nn

from isincnet_jax.bank.codec import Codec
from isincnet_jax.bank.lapped_codec import LappedCodec
from isincnet_jax.bank.quantizer import Quantizer
from isincnet_jax.bank.uniform_quantizer import UniformQuantizer
from isincnet_jax.constant_q.layers import ConstantQLayer
from isincnet_jax.constant_q.nonuniform_codec import NonuniformCodec
from isincnet_jax.exports.codecs import build_codec_part
from isincnet_jax.exports.constant_q import build_constant_q
from isincnet_jax.exports.graph import Graph
from isincnet_jax.exports.quantizers import build_quantizer_part
from isincnet_jax.exports.sinc_conv import build_sinc_conv
from isincnet_jax.exports.spectrograms import build_mfcc, build_stft, build_weighed
from isincnet_jax.frontends.sinc_conv import SincConv
from isincnet_jax.spectrograms.gammatone import Gammatonegram
from isincnet_jax.spectrograms.mel import MFCC, MelSpectrogram
from isincnet_jax.spectrograms.stft import STFT

Part: TypeAlias = Literal["encode", "decode", "round-trip"]
Source: TypeAlias = Any
"""A codec, a quantizer or a layer."""

_WITH_PARTS = (Codec, LappedCodec, Quantizer, UniformQuantizer)
_KINDS = (
    "Codec, LappedCodec, Quantizer, UniformQuantizer, STFT, MelSpectrogram, Gammatonegram, MFCC, "
    "the CQT and VQT layers, SincConv"
)


class Described(NamedTuple):
    """Graph of a source, with what a file says of it.

    Attributes:
        graph: the computation.
        part: "encode", "decode", "round-trip", or "layer".
        facts: plain JSON values.
    """

    graph: Graph
    part: str
    facts: dict[str, Any]


class Module(NamedTuple):
    """Graphs of all parts of a source, by the names of methods.

    Attributes:
        methods: "encode" and "decode" of a codec or a quantizer, "forward" of a layer.
        facts: plain JSON values.
    """

    methods: dict[str, Graph]
    facts: dict[str, Any]


def describe_part(source: Source, *, part: Part | None = None, variables: Any = None) -> Described:
    """Graph of a codec's or quantizer's part, or of a layer.

    Args:
        source: see :func:`.onnx_graph.export_onnx`.
        part: of a codec or quantizer, "round-trip" if None.
        variables: of a layer.

    Returns:
        The graph and its facts.

    Raises:
        TypeError: for a source without a graph.
        ValueError: for an unknown part, the part of a layer, a layer without the variables that it
            needs, or one with an option that is not exported.
    """
    facts = _facts(source)
    if not isinstance(source, _WITH_PARTS):
        if part is not None:
            raise ValueError(f"part={part!r}: a layer has none; leave it out")
        return Described(_layer_graph(source, variables), "layer", facts)
    part = "round-trip" if part is None else part
    if part not in get_args(Part):
        raise ValueError(f"part={part!r} is unknown; use {', '.join(get_args(Part))}")
    return Described(_part_graph(source, part), part, facts)


def describe_module(source: Source, *, variables: Any = None) -> Module:
    """Graphs of all parts of a source.

    Args:
        source: see :func:`.onnx_graph.export_onnx`.
        variables: of a layer.

    Returns:
        The graphs and their facts.

    Raises:
        TypeError: for a source without a graph.
        ValueError: as :func:`describe_part`.
    """
    facts = _facts(source)
    if isinstance(source, _WITH_PARTS):
        return Module({part: _part_graph(source, part) for part in ("encode", "decode")}, facts)
    return Module({"forward": _layer_graph(source, variables)}, facts)


def _part_graph(source: Any, part: str) -> Graph:
    if isinstance(source, (Quantizer, UniformQuantizer)):
        return build_quantizer_part(source, part)
    return build_codec_part(source, part)


def _layer_graph(layer: Any, variables: Any) -> Graph:
    variables = {} if variables is None else variables
    params = variables.get("params", {})
    try:
        if isinstance(layer, STFT):
            return build_stft(layer, params)
        if isinstance(layer, MFCC):
            return build_mfcc(layer, params)
        if isinstance(layer, (MelSpectrogram, Gammatonegram)):
            return build_weighed(layer, params)
        if isinstance(layer, ConstantQLayer):
            return build_constant_q(layer, variables)
        if isinstance(layer, SincConv):
            return build_sinc_conv(layer, variables)
    except (KeyError, flax.errors.FlaxError) as error:
        raise ValueError(
            f"variables: {type(layer).__name__} has parameters; give those of layer.init"
        ) from error
    raise TypeError(f"{type(layer).__name__} has no graph; there are those of {_KINDS}")


def _facts(source: Any) -> dict[str, Any]:
    """What a file says of a source: plain JSON values."""
    if isinstance(source, NonuniformCodec):
        raise TypeError(
            f"{source.name}: a bank whose bands are cut from the spectrum of the whole clip has no "
            "strided products; encode it with isincnet_jax, or export a codec with one hop, "
            "16khz-mel say"
        )
    if isinstance(source, (Codec, LappedCodec)):
        spec = source.spec
        return {
            "model": source.name,
            "sample_rate": spec.sample_rate,
            "hop_length": spec.hop_length,
            "spec": spec.to_dict(),
        }
    if isinstance(source, Quantizer):
        given = {"q_bits": source.q_bits, "mu": source.mu, "code": source.code}
        return {"model": "Quantizer", "spec": given}
    if isinstance(source, UniformQuantizer):
        return {"model": "UniformQuantizer", "spec": {"step": source.step}}
    if not isinstance(source, nn.Module):
        raise TypeError(f"{type(source).__name__} has no graph; there are those of {_KINDS}")
    values = {
        # norm=inf, say, which JSON has no number for.
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in vars(source).items()
        if isinstance(value, (int, float, str, bool)) and not key.startswith("_")
    }
    facts = {"model": type(source).__name__, "spec": values}
    hop = getattr(source, "stride", None) or getattr(source, "hop", values.get("hop_length"))
    return {**facts, "sample_rate": values.get("sample_rate"), "hop_length": hop}
