"""Codecs, quantizers and layers as graphs: which builder is whose, and what a file says of them."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from isincnet_jax.bank.codec import Codec
from isincnet_jax.bank.lapped_codec import LappedCodec
from isincnet_jax.exports import codecs
from isincnet_jax.exports.graph import Graph

Part: TypeAlias = Literal["encode", "decode", "round-trip"]
Source: TypeAlias = Any
"""A codec, a quantizer or a layer."""


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
        ValueError: for an unknown part, or a layer with an option that is not exported.
    """
    if isinstance(source, (Codec, LappedCodec)):
        part = check_part(part)
        spec = source.spec
        facts = {
            "model": source.name,
            "sample_rate": spec.sample_rate,
            "hop_length": spec.hop_length,
            "spec": spec.to_dict(),
        }
        return Described(codecs.build_codec_part(source, part), part, facts)
    raise TypeError(f"{type(source).__name__}: no graph")


def check_part(part: Part | None) -> Part:
    """Part of a codec.

    Args:
        part: anything; None for "round-trip".

    Returns:
        The part.

    Raises:
        ValueError: for an unknown one.
    """
    if part is None:
        return "round-trip"
    if part not in get_args(Part):
        raise ValueError(f"part={part!r} is unknown; use {', '.join(get_args(Part))}")
    return part
