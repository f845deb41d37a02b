"""Graphs of codecs: banks whose frames are one strided product, and lapped banks."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from isincnet_jax.bank.codec import Codec
from isincnet_jax.bank.designed import kernels_support
from isincnet_jax.bank.edges import EdgePlan
from isincnet_jax.bank.lapped_codec import LappedCodec
from isincnet_jax.exports.graph import Builder, Number, Value, ceil_divided, combined, largest_of
from isincnet_jax.exports.stablehlo import edges_of_whole_hops, least_frames
from isincnet_jax.streaming import weights as stream_weights


class BankParts:
    """Analysis and synthesis of a codec as direct sums, like those of :mod:`.stablehlo`.

    Args:
        codec: any, trained ones included.

    Raises:
        ValueError: for a codec that computes in another dtype than float32.
    """

    def __init__(self, codec: Codec) -> None:
        if np.dtype(stream_weights.settings(codec).dtype) != np.float32:
            raise ValueError(
                f"dtype={np.dtype(codec.model.dtype)}: graphs compute in float32; use "
                "model.clone(dtype=jnp.float32)"
            )
        self.spec, self.hop = codec.spec, codec.spec.hop_length
        self.bank = codec.spec.bank
        kernels = stream_weights.analysis_kernels(codec)
        # Zeros at the ends of kernels, all that is ahead of a causal bank, are no products.
        self.lead, self.trail = kernels_support(kernels)
        center = kernels.shape[1] // 2
        self.kernels = kernels[:, center - self.lead : center + self.trail + 1]
        self.solved = stream_weights.synthesis_kernels(codec)
        self.edges: EdgePlan | None = edges_of_whole_hops(codec)

    def num_frames(self, length: Number) -> Number:
        """Frames of a clip, see :func:`.framing.frame_grid`.

        Args:
            length: samples, 1 or more.

        Returns:
            Frames.
        """
        if self.spec.padding == "reflect":
            return combined("+", length, self.bank.samples_beyond - 1) // self.hop + 1
        first = self.bank.frame_grid(1).first
        return combined("+", length, self.bank.lead - 1) // self.hop + (1 - first)

    def longest_length(self, frames: Number) -> Number:
        """Samples of the longest clip; of whole hops, where edges are solved.

        Args:
            frames: of it.

        Returns:
            Samples.
        """
        many = 10_000
        shift = self.bank.longest_length(many) - many * self.hop
        if self.edges is not None:
            shift -= self.bank.longest_length(2) % self.hop
        return combined("+", combined("*", frames, self.hop), shift)

    def require_waveform(self, build: Builder, waveform: Value, part: str) -> None:
        """Requirements of a clip.

        Args:
            build: of the graph.
            waveform: [batch, time].
            part: "encode" or "round-trip".
        """
        time = waveform.size(1)
        build.require(time, 1, "time >= 1")
        if part == "round-trip" and self.edges is not None:
            least = least_frames(self.spec, self.edges) * self.hop
            build.require(time, least, f"time >= {least}, where edges are solved")
            self._require_whole_hops(build, time, "time")

    def _require_whole_hops(self, build: Builder, size: Any, name: str) -> None:
        text = f"{name} % {self.hop} == 0, where edges are solved"
        build.require(size % self.hop, 0, text, exact=True)

    def encode(self, build: Builder, waveform: Value) -> Value:
        """Spectrogram of clips.

        Args:
            build: of the graph.
            waveform: [batch, time].

        Returns:
            [batch, frames, channels].
        """
        length = waveform.size(1)
        first = self.bank.frame_grid(1).first
        before = self.lead - first * self.hop
        frames: Any = build.let("frames", self.num_frames(length))
        total = (frames - 1) * self.hop + (self.lead + self.trail + 1)
        after = build.let("after", largest_of(total - before - length, 0))
        mode = "reflect" if self.spec.padding == "reflect" else "constant"
        padded = build.continued(waveform, before, after, mode)
        kernels = build.constant(self.kernels[:, None], "analysis")
        return build.analyse(padded, kernels, hop=self.hop, name="coefficients")

    def require_spectrogram(self, build: Builder, frames: Number, length: Number) -> None:
        """Requirements of a spectrogram.

        Args:
            build: of the graph.
            frames: of the spectrogram.
            length: of its clip.
        """
        least = least_frames(self.spec, self.edges)
        build.require(frames, least, f"frames >= {least}")
        build.require(
            self.num_frames(length), frames, "a length that has so many frames", exact=True
        )
        if self.edges is not None:
            self._require_whole_hops(build, length, "length")

    def decode(self, build: Builder, spectrogram: Value, length: Number) -> Value:
        """Waveforms of spectrograms.

        Args:
            build: of the graph.
            spectrogram: [batch, frames, channels].
            length: samples of the clips; whole hops, where edges are solved.

        Returns:
            [batch, length].
        """
        values = self.solved.values
        used = np.flatnonzero(np.any(values != 0.0, axis=0))
        begin, end = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 1)
        kernels = build.constant(values[:, None, begin:end], "synthesis")
        # Clips of a sample or two are sums of equal terms, whose rounding errors all point the same
        # way: 117 dB of 128 channels at once, more than 120 in groups.
        groups = _groups(len(values))
        line = build.spread(spectrogram, kernels, stride=self.hop, groups=groups)
        # Sample j of the sums stands at j + first hop - lead.
        start = self.solved.lead - begin - self.bank.frame_grid(1).first * self.hop
        before = max(-start, 0)
        start += before
        stop = build.let("stop", combined("+", length, start))
        line = build.pad(line, before, largest_of(stop - line.size(1) - before, 0), name="line")
        edges = self.edges
        if edges is None or (edges.left is None and edges.right is None):
            return build.slice(line, start, stop, axis=1, name="clip")
        # The edges take the place of what the sums make of frames that are missing there.
        left, right = edges.left, edges.right
        begin = start + (left.num_samples if left else 0)
        stop = combined("-", stop, right.num_samples if right else 0)
        parts = [build.slice(line, begin, stop, axis=1, name="interior")]
        frames, channels = spectrogram.size(1), self.spec.num_channels
        for side, edge in (("left", left), ("right", right)):
            if edge is None:
                continue
            count = edge.num_frames
            first, last = (0, count) if side == "left" else (frames - count, frames)
            some = build.slice(spectrogram, first, last, axis=1, name=side)
            flat = build.reshape(some, -1, count * channels, name=side)
            matrix = build.constant(edge.matrix, f"{side}_edge")
            solved = build.matmul(flat, matrix, name=side)
            parts.insert(0 if side == "left" else len(parts), solved)
        return build.concat(parts, axis=1, name="clip")


def _groups(channels: int) -> int:
    """The least number of groups of up to 64 channels, all of one size; 1 if there is none."""
    fitting = (count for count in range(1, 33) if channels % count == 0 and channels <= 64 * count)
    return next(fitting, 1)


def _summed(
    build: Builder, values: Value, matrix: Value, ends: list[Any], *, axis: int, name: str
) -> Value:
    """Product whose sums are taken in parts, which round less: of 2047 at once 118 dB are left."""
    total = None
    for start, stop in itertools.pairwise(ends):
        some, rows = values, matrix
        if len(ends) > 2:
            some = build.slice(values, start, stop, axis=axis, name="some")
            rows = build.slice(matrix, start, stop, axis=0, name="rows_of_matrix")
        part = build.matmul(some, rows, name=name)
        total = part if total is None else build.pointwise("add", total, part, name=name)
    assert total is not None
    return total


class LappedParts:
    """Analysis and synthesis of a lapped codec, see :mod:`.lapped_transform`.

    Args:
        codec: any lapped codec.

    Raises:
        ValueError: for a codec that computes in another dtype than float32.
    """

    edges = None

    def __init__(self, codec: LappedCodec) -> None:
        if np.dtype(codec.model.dtype) != np.float32:
            raise ValueError(f"dtype={np.dtype(codec.model.dtype)}: graphs compute in float32")
        self.spec, self.hop = codec.spec, codec.spec.hop_length
        self.centred = self.spec.framing == "zeros"
        self.angles = np.asarray(codec.window_angles(), np.float64)

    def num_frames(self, length: Number) -> Number:
        """Frames of a clip.

        Args:
            length: samples, 1 or more.

        Returns:
            Frames.
        """
        return combined("+", ceil_divided(length, self.hop), int(self.centred))

    def longest_length(self, frames: Number) -> Number:
        """Samples of the longest clip.

        Args:
            frames: of it.

        Returns:
            Samples, a multiple of the hop.
        """
        return combined("*", combined("-", frames, int(self.centred)), self.hop)

    def require_waveform(self, build: Builder, waveform: Value, part: str) -> None:
        """Requirements of a clip.

        Args:
            build: of the graph.
            waveform: [batch, time].
            part: of no effect.
        """
        del part
        build.require(waveform.size(1), 1, "time >= 1")

    def require_spectrogram(self, build: Builder, frames: Number, length: Number) -> None:
        """Requirements of a spectrogram.

        Args:
            build: of the graph.
            frames: of the spectrogram.
            length: of its clip.
        """
        least = 1 + self.centred
        build.require(frames, least, f"frames >= {least}")
        build.require(
            self.num_frames(length), frames, "a length that has so many frames", exact=True
        )

    def encode(self, build: Builder, waveform: Value) -> Value:
        """Coefficients of clips.

        Args:
            build: of the graph.
            waveform: [batch, time].

        Returns:
            [batch, frames, bins].
        """
        hop, length = self.hop, waveform.size(1)
        frames: Any = build.let("frames", self.num_frames(length))
        if self.centred:
            before = hop // 2
            whole = combined("*", frames, hop)
            waveform = build.pad(waveform, before, whole - before - length)
            turned = self._turned(build, waveform, back=False)
            blocks = build.reshape(turned, -1, frames, hop, name="blocks")
            return self._transformed(build, blocks, back=False)
        first, begin, size = self._tiles(build, length)
        turned = self._turned(build, waveform, back=False)
        blocks = build.slice(turned, 0, begin, axis=1, name="blocks")
        blocks = build.reshape(blocks, waveform.size(0), first, hop, name="blocks")
        rows = self._transformed(build, blocks, back=False)
        last = build.slice(turned, begin, length, axis=1, name="last")
        last = self._last(build, build.flip(last, axis=1), size)
        last = build.pad(last, 0, frames * hop - length, name="last")
        last = build.reshape(last, waveform.size(0), frames - first, hop, name="last")
        return build.concat([rows, last], axis=1, name="coefficients")

    def decode(self, build: Builder, spectrogram: Value, length: Number) -> Value:
        """Waveforms of coefficients.

        Args:
            build: of the graph.
            spectrogram: [batch, frames, bins].
            length: samples of the clips.

        Returns:
            [batch, length].
        """
        hop, frames = self.hop, spectrogram.size(1)
        if self.centred:
            blocks = self._transformed(build, spectrogram, back=True)
            line = build.reshape(blocks, -1, frames * hop, name="line")
            line = self._turned(build, line, back=True)
            stop = combined("+", length, hop // 2)
            return build.slice(line, hop // 2, stop, axis=1, name="clip")
        first, begin, size = self._tiles(build, length)
        blocks = build.slice(spectrogram, 0, first, axis=1, name="blocks")
        blocks = self._transformed(build, blocks, back=True)
        line = build.reshape(blocks, spectrogram.size(0), begin, name="line")
        last = build.slice(spectrogram, first, frames, axis=1, name="last")
        last = build.reshape(last, spectrogram.size(0), (frames - first) * hop, name="last")
        last = build.slice(last, 0, size, axis=1, name="last")
        last = build.flip(self._last(build, last, size), axis=1)
        line = build.concat([line, last], axis=1, name="line")
        return self._turned(build, line, back=True)

    def _tiles(self, build: Builder, length: Any) -> tuple[Any, Any, Any]:
        """Blocks before the last one, where that begins, and its size."""
        # The last block takes what is left over: N + r samples, r below N.
        first = build.let("first_blocks", largest_of(length // self.hop - 1, 0))
        begin = build.let("begin", combined("*", first, self.hop))
        return first, begin, build.let("last_size", length - begin)

    def _turned(self, build: Builder, line: Value, *, back: bool) -> Value:
        """Pairs around every border turned, see :func:`.lapped_transform.turn_borders`."""
        hop, length = self.hop, line.size(1)
        sines, cosines = np.sin(self.angles), np.cos(self.angles)
        own = build.constant(np.concatenate([cosines, cosines[::-1]]), "window_own")
        other = build.constant(np.concatenate([sines, -sines[::-1]]), "window_other")
        borders: Any = build.let("num_borders", largest_of(length // hop - 1, 0))
        # A clip below half a hop has no border: the slices meet at its end.
        begin: Any = build.let("border", combined("min", hop // 2, length))
        end = build.let("border_end", begin + borders * hop)
        rows = build.slice(line, begin, end, axis=1, name="borders")
        rows = build.reshape(rows, line.size(0), borders, hop, name="borders")
        one = build.pointwise("mul", rows, own, name="own")
        two = build.pointwise("mul", build.flip(rows, axis=2), other, name="other")
        turned = build.pointwise("sub" if back else "add", one, two, name="turned")
        turned = build.reshape(turned, line.size(0), borders * hop, name="turned")
        first = build.slice(line, 0, begin, axis=1, name="first")
        last = build.slice(line, end, length, axis=1, name="last")
        return build.concat([first, turned, last], axis=1, name="line")

    def _transformed(self, build: Builder, blocks: Value, *, back: bool) -> Value:
        """Minus the DCT-IV of blocks read backwards, or its inverse: one matrix."""
        n = np.arange(self.hop) + 0.5
        matrix = -np.sqrt(2 / self.hop) * np.cos(np.pi / self.hop * n[::-1, None] * n)
        wanted = build.constant(matrix, "cosines")
        if back:
            wanted = build.transpose(wanted, 1, 0, name="cosines_back")
        ends = [*range(0, self.hop, 256), self.hop]
        return _summed(build, blocks, wanted, ends, axis=2, name="rows")

    def _last(self, build: Builder, values: Value, size: Any) -> Value:
        """Minus the DCT-IV of a last block, whose size is known when the graph runs."""
        # cos(pi / (4 M) t) for t = (2 m + 1) (2 k + 1), modulo the period 8 M, mirrored at 4 M, is
        # sin(pi / (4 M) (2 M - t)): float32 is the finer the smaller the angle is.
        # Three zeros behind the block let its sums be split into four that are never empty.
        values, rows = build.pad(values, 0, 3), size + 3
        odd = build.range(0, rows, name="place")
        odd = build.pointwise("add", build.pointwise("mul", odd, 2), 1, name="odd")
        column = build.reshape(odd, -1, 1, name="column")
        odd = build.slice(odd, 0, size, axis=0, name="row")
        turns = build.pointwise("mul", column, odd, name="turns")
        turns = build.pointwise("mod", turns, size * 8, name="turns")
        back = build.pointwise("sub", size * 8, turns, name="back")
        turns = build.pointwise("min", turns, back, name="turns")
        turns = build.pointwise("sub", size * 2, turns, name="turns")
        count = build.pointwise("float32", build.range(size, size + 1), name="count")
        angle = build.pointwise("mul", build.pointwise("float32", turns), np.pi / 4, name="angle")
        angle = build.pointwise("div", angle, count, name="angle")
        scale = build.pointwise("sqrt", build.pointwise("div", 2.0, count), name="scale")
        matrix = build.pointwise("mul", build.pointwise("sin", angle), scale, name="cosines")
        quarter = build.let("quarter", rows // 4)
        ends = [0, quarter, quarter * 2, quarter * 3, rows]
        product = _summed(build, values, matrix, ends, axis=1, name="product")
        return build.pointwise("neg", product, name="last")


def codec_parts(codec: Any) -> BankParts | LappedParts:
    """Analysis and synthesis of any codec that has a graph.

    Args:
        codec: a :class:`.Codec` or a :class:`.LappedCodec`.

    Returns:
        What builds its graphs.
    """
    return LappedParts(codec) if isinstance(codec, LappedCodec) else BankParts(codec)


def build_codec_part(codec: Codec | LappedCodec, part: str) -> Any:
    """Graph of a part of a codec.

    Args:
        codec: any with a graph.
        part: "encode", "decode" or "round-trip".

    Returns:
        The graph; "decode" has the optional number ``length``.
    """
    parts, build = codec_parts(codec), Builder()
    channels = codec.spec.num_channels
    if part == "decode":
        spectrogram = build.input("spectrogram", "batch", "frames", channels)
        frames = spectrogram.size(1)
        length = build.number("length", parts.longest_length(frames))
        parts.require_spectrogram(build, frames, length)
        waveform = parts.decode(build, spectrogram, length)
        return build.build(("waveform", waveform, ("batch", "time")))
    waveform = build.input("waveform", "batch", "time")
    parts.require_waveform(build, waveform, part)
    spectrogram = parts.encode(build, waveform)
    if part == "encode":
        return build.build(("spectrogram", spectrogram, ("batch", "frames", channels)))
    again = parts.decode(build, spectrogram, waveform.size(1))
    return build.build(("reconstruction", again, ("batch", "time")))
