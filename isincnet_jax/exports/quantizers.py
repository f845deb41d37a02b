"""Graphs of quantizers: coefficients to tokens, int32, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from isincnet_jax.bank.quantizer import Quantizer
from isincnet_jax.bank.uniform_quantizer import LARGEST_LEVEL, UniformQuantizer
from isincnet_jax.exports.graph import Builder, Graph, Value


def build_quantizer_part(quantizer: Quantizer | UniformQuantizer, part: str) -> Graph:
    """Graph of a part of a quantizer.

    Tokens of a companding quantizer are looked up in a table, those of a uniform one multiplied.
    Tokens that the quantizer does not have are an error of the tool or mean nothing.

    Args:
        quantizer: any; scales and weights for one clip or for all, [channels] or [1, channels].
        part: "encode", "decode" or "round-trip".

    Returns:
        The graph.

    Raises:
        ValueError: for scales or weights of several clips.
    """
    given = quantizer.scale if isinstance(quantizer, Quantizer) else quantizer.weight
    factors = np.asarray(given, np.float32)
    if factors.ndim > 1 and factors.shape[:-1] != (1,) * (factors.ndim - 1):
        raise ValueError(
            f"factors of shape {factors.shape}: a graph has those of one clip or of all; use [1, "
            "channels]"
        )
    factors = factors.reshape(-1) if factors.ndim else factors
    channels = len(factors) if factors.ndim and len(factors) > 1 else "channels"
    axes, build = ("batch", "frames", channels), Builder()
    parts: Any = _Companding(quantizer, factors)
    if isinstance(quantizer, UniformQuantizer):
        parts = _Uniform(quantizer, factors)
    if part == "decode":
        codes = build.input("codes", *axes, dtype="int32")
        return build.build(("spectrogram", parts.decode(build, codes), axes))
    spectrogram = build.input("spectrogram", *axes)
    codes = parts.encode(build, spectrogram)
    if part == "encode":
        return build.build(("codes", codes, axes))
    return build.build(("reconstruction", parts.decode(build, codes), axes))


class _Companding:
    def __init__(self, quantizer: Any, scale: np.ndarray) -> None:
        self.quantizer, self.scale = quantizer, scale

    def encode(self, build: Builder, spectrogram: Value) -> Value:
        quantizer = self.quantizer
        mu = quantizer.mu
        value = spectrogram
        symmetric = quantizer.code == "symmetric"
        if symmetric:
            value = build.pointwise("div", value, build.constant(self.scale, "scale"))
            value = build.pointwise("min", build.pointwise("max", value, -1.0), 1.0)
        # sign(x) log(1 + mu |x|) / log(1 + mu), an error of 6e-8 far below a step.
        grown = build.pointwise("mul", build.pointwise("abs", value), float(mu))
        grown = build.pointwise("log", build.pointwise("add", grown, 1.0))
        companded = build.pointwise("mul", build.pointwise("sign", value), grown)
        companded = build.pointwise("div", companded, float(np.log1p(mu)), name="companded")
        if symmetric:
            half = 2 ** (quantizer.q_bits - 1) - 1
            levels = build.pointwise("round", build.pointwise("mul", companded, float(half)))
            levels = build.pointwise("add", levels, float(half), name="levels")
        else:
            levels = build.pointwise("mul", build.pointwise("add", companded, 1.0), mu / 2)
            levels = build.pointwise("max", levels, 0.0)
            levels = build.pointwise("min", levels, float(mu), name="levels")
        return build.pointwise("int32", levels, name="tokens")

    def decode(self, build: Builder, codes: Value) -> Value:
        quantizer = self.quantizer
        least = 2**quantizer.q_bits - (quantizer.code == "symmetric")
        every = np.arange(least, dtype=np.int32)[:, None]
        plain = quantizer.replace(scale=np.ones(1, np.float32))
        table = build.constant(np.asarray(plain.decode(every))[:, 0], "table")
        index = build.pointwise("int64", codes, name="index")
        values = build.gather(table, index, axis=0, name="values")
        if quantizer.code == "reference":
            return values
        return build.pointwise("mul", values, build.constant(self.scale, "scale"))


class _Uniform:
    def __init__(self, quantizer: Any, weight: np.ndarray) -> None:
        self.steps = np.float32(quantizer.step) * weight

    def encode(self, build: Builder, spectrogram: Value) -> Value:
        levels = build.pointwise("div", spectrogram, build.constant(self.steps, "steps"))
        most = float(LARGEST_LEVEL + 1)
        levels = build.pointwise("max", build.pointwise("round", levels), -most)
        return build.pointwise("int32", build.pointwise("min", levels, most), name="tokens")

    def decode(self, build: Builder, codes: Value) -> Value:
        values = build.pointwise("float32", codes)
        return build.pointwise("mul", values, build.constant(self.steps, "steps"))
