"""Streams of sliced filterbanks: coefficients slice by slice of a signal that arrives in pieces.

The same steps over explicit states as of other streams (:mod:`isincnet_jax.streaming.stream`), and
the same coefficients and samples as of whole signals. Slice m, in the middle of sample ``m N`` for
slices of 2 N samples, is complete with sample ``(m + 1) N - 1``; decoded samples come a slice
behind the newest one.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.constant_q.dsp import nonstationary_gabor, slice_spec, sliced_gabor
from isincnet_jax.constant_q.dsp.slice_spec import SliceSpec
from isincnet_jax.dsp import checks, streams
from isincnet_jax.dsp.settling import settles
from isincnet_jax.dsp.streams import Batch


class SliceEncoderState(NamedTuple):
    """Encoder state between two chunks: a pytree; a step leaves the old one as it is.

    Attributes:
        latest: [..., N] the block before the next one, on the device; zeros at first.
        pending: [..., time] the samples that make no block yet, on the host.
        received: samples so far.
        emitted: slices so far.
    """

    latest: jax.Array
    pending: np.ndarray
    received: int
    emitted: int


class SliceDecoderState(NamedTuple):
    """Decoder state between two steps: a pytree; a step leaves the old one as it is.

    Attributes:
        tail: [..., N] the latter half of the latest slice, on the device; zeros at first.
        received: slices so far.
        emitted: samples so far.
        length: samples of the whole signal; None if not known yet.
    """

    tail: jax.Array
    received: int
    emitted: int
    length: int | None


@functools.partial(jax.jit, static_argnames="spec")
def _analyse(latest: jax.Array, blocks: jax.Array, *, spec: SliceSpec) -> tuple[jax.Array, Any]:
    blocks = blocks.reshape((*latest.shape[:-1], -1, spec.samples // 2))
    whole = jnp.concatenate([latest[..., None, :], blocks], -2)
    return whole[..., -1, :], sliced_gabor.analyse_blocks(whole, spec=spec)


@functools.partial(jax.jit, static_argnames="spec")
def _synthesise(
    tail: jax.Array, coefficients: Any, *, spec: SliceSpec
) -> tuple[jax.Array, jax.Array]:
    tail, blocks = sliced_gabor.synthesise_blocks(tail, coefficients, spec=spec)
    return tail, blocks.reshape((*tail.shape[:-1], blocks.shape[-2] * blocks.shape[-1]))


@dataclasses.dataclass(frozen=True, eq=False)
class SliceStreamEncoder:
    """Stream encoder of a sliced filterbank; made by ``isn.stream_encoder`` of its layer.

    Attributes:
        spec: bands and slices.
        dtype: of the samples, float32 or float64.

    Example:
        >>> from isincnet_jax.constant_q.dsp.nonuniform_spec import NonuniformSpec
        >>> spec = SliceSpec(NonuniformSpec(sample_rate=8000, num_bins=20), layout="ragged")
        >>> encoder, decoder = SliceStreamEncoder(spec), SliceStreamDecoder(spec)
        >>> waveform = np.linspace(-1, 1, 1000, dtype=np.float32)
        >>> listening, slices = encoder.step(encoder.init(), waveform)
        >>> speaking, samples = decoder.step(decoder.init(), slices)
        >>> rest = decoder.finish(speaking, encoder.finish(listening), length=1000)
        >>> bool(np.allclose(np.concatenate([samples, rest]), waveform, atol=1e-5))
        True
    """

    spec: SliceSpec
    dtype: Any = jnp.float32

    @property
    def latency(self) -> int:
        """Samples after the middle of a slice that must have come before it is given out."""
        return self.spec.samples // 2 - 1

    def init(self, batch: Batch = ()) -> SliceEncoderState:
        """Encoder state before the first sample.

        Args:
            batch: leading axes of all chunks: none, a number of streams, or several axes.

        Returns:
            The state; its block is on the default device.

        Raises:
            ValueError: for an axis below 1.
        """
        shape = streams.axes_of(batch)
        latest = jnp.zeros((*shape, self.spec.samples // 2), self.dtype)
        return SliceEncoderState(latest, np.zeros((*shape, 0), self.dtype), 0, 0)

    def advance(
        self, latest: Float[jax.Array, "... half"], blocks: Float[jax.Array, "... time"]
    ) -> tuple[jax.Array, Any]:
        """Inner step, pure, for use in jitted functions and scans.

        Args:
            latest: of a state.
            blocks: [..., m N] samples behind it, m >= 1. Compiled once per m.

        Returns:
            The next latest block, and coefficients [..., m, frames, bins]; in the ragged layout a
            tuple of them.
        """
        return _analyse(latest, blocks, spec=self.spec)

    def step(
        self, state: SliceEncoderState, chunk: Float[Any, "... time"]
    ) -> tuple[SliceEncoderState, Any]:
        """Slices that the next samples complete, however few or many those are.

        Args:
            state: of the last step.
            chunk: [..., time], floating, with the leading axes that ``init`` was told.

        Returns:
            The next state, and coefficients [..., slices, frames, bins] on the host; in the ragged
            layout a tuple of them.

        Raises:
            TypeError, ValueError: for integers or other axes.
        """
        chunk = streams.checked(chunk, state.pending.shape[:-1], self.dtype, "chunk")
        pending, half = np.concatenate([state.pending, chunk], axis=-1), self.spec.samples // 2
        latest, parts, start = state.latest, [], 0
        count = pending.shape[-1] // half
        for size in streams.power_of_two_sizes(count, largest=streams.LARGEST_STEP):
            blocks = jnp.asarray(pending[..., start : start + size * half])
            latest, found = self.advance(latest, blocks)
            parts.append(found)
            start += size * half
        received, emitted = state.received + chunk.shape[-1], state.emitted + count
        slices = self._joined(parts, state.pending.shape[:-1])
        return SliceEncoderState(latest, pending[..., start:], received, emitted), slices

    def finish(self, state: SliceEncoderState) -> Any:
        """The slices that remain at the end of the signal, none if it was empty.

        Args:
            state: of the last step.

        Returns:
            [..., slices, frames, bins] on the host; in the ragged layout a tuple of them.
        """
        if not state.received:
            return self._joined([], state.pending.shape[:-1])
        count = slice_spec.count_slices(state.received, self.spec) - state.emitted
        missing = count * self.spec.samples // 2 - state.pending.shape[-1]
        return self.step(state, np.zeros((*state.pending.shape[:-1], missing), self.dtype))[1]

    def _joined(self, parts: list[Any], batch: tuple[int, ...]) -> Any:
        """Parts end to end, without compiling anything; of none, no slices."""
        shapes = nonstationary_gabor.array_shapes(
            self.spec.samples, spec=self.spec.bands, layout=self.spec.layout
        )
        like = np.zeros(0, np.result_type(self.dtype, np.complex64))
        arrays = [part if isinstance(part, tuple) else (part,) for part in parts]
        joined = tuple(
            streams.joined_on_host(
                [part[index] for part in arrays], axis=-3, empty=(*batch, 0, *shape), like=like
            )
            for index, shape in enumerate(shapes)
        )
        return joined if self.spec.layout == "ragged" else joined[0]


@dataclasses.dataclass(frozen=True, eq=False)
class SliceStreamDecoder:
    """Stream decoder of a sliced filterbank; made by ``isn.stream_decoder`` of its layer.

    Attributes:
        spec: bands and slices.
        dtype: of the samples, float32 or float64.
    """

    spec: SliceSpec
    dtype: Any = jnp.float32

    @property
    def latency(self) -> int:
        """Samples that an output sample lies before the middle of the last slice it needs."""
        return self.spec.samples // 2

    @property
    def total_latency(self) -> int:
        """Samples that encoder and decoder together need after a sample until it is given out."""
        return self.spec.samples - 1

    @settles
    def init(self, batch: Batch = (), *, length: int | None = None) -> SliceDecoderState:
        """Decoder state before the first slice.

        Args:
            batch: leading axes of all coefficients: none, a number of streams, or several axes.
            length: samples of the signal, if they are known before its end: no step gives more.

        Returns:
            The state; its tail is on the default device.

        Raises:
            ValueError: for a length or an axis below 1.
        """
        streams.check_length(length)
        shape = (*streams.axes_of(batch), self.spec.samples // 2)
        return SliceDecoderState(jnp.zeros(shape, self.dtype), 0, 0, length)

    def advance(
        self, tail: Float[jax.Array, "... half"], coefficients: Any
    ) -> tuple[jax.Array, jax.Array]:
        """Inner step, pure, for use in jitted functions and scans.

        Args:
            tail: of a state.
            coefficients: [..., m, frames, bins] complex, m >= 1; in the ragged layout a tuple of
                them. Compiled once per m.

        Returns:
            The next tail, and [..., m N] samples up to the middle of the last slice. The first N
            of a signal are the silence before it.
        """
        return _synthesise(tail, coefficients, spec=self.spec)

    def step(
        self, state: SliceDecoderState, coefficients: Any
    ) -> tuple[SliceDecoderState, Float[np.ndarray, "... time"]]:
        """Samples that the next slices settle, however few or many those are.

        Args:
            state: of the last step.
            coefficients: [..., slices, frames, bins] complex, with the leading axes that ``init``
                was told; in the ragged layout a tuple of them.

        Returns:
            The next state, and the samples [..., time] on the host.

        Raises:
            TypeError: for coefficients that are not complex.
            ValueError: for coefficients of other axes.
        """
        batch, half = state.tail.shape[:-1], self.spec.samples // 2
        arrays = self._checked(coefficients, batch)
        tail, parts, start = state.tail, [], 0
        for size in streams.power_of_two_sizes(arrays[0].shape[-3], largest=streams.LARGEST_STEP):
            chosen = tuple(array[..., start : start + size, :, :] for array in arrays)
            tail, samples = self.advance(
                tail, chosen if self.spec.layout == "ragged" else chosen[0]
            )
            parts.append(samples)
            start += size
        like = np.zeros(0, self.dtype)
        settled = streams.joined_on_host(parts, axis=-1, empty=(*batch, 0), like=like)
        if not state.received and start:
            settled = settled[..., half:]
        if state.length is not None:
            settled = settled[..., : max(state.length - state.emitted, 0)]
        emitted = state.emitted + settled.shape[-1]
        return SliceDecoderState(tail, state.received + start, emitted, state.length), settled

    @settles
    def finish(
        self, state: SliceDecoderState, coefficients: Any = None, *, length: int | None = None
    ) -> Float[np.ndarray, "... time"]:
        """The samples that remain at the end of the signal, none if it was empty.

        Args:
            state: of the last step.
            coefficients: the last slices, those of the encoder's ``finish``.
            length: samples of the signal. Without it, here and at ``init``, the longest signal
                that has so many slices is meant.

        Returns:
            [..., time] on the host.

        Raises:
            ValueError: if the slices do not fit the length, or more samples were given out.
            TypeError: for coefficients that are not complex.
        """
        known = state.length if length is None else length
        if state.length not in (None, known):
            raise ValueError(f"length={known}, but init was told length={state.length}")
        streams.check_length(known)
        if known is not None:
            remedy = "hand the last slices to finish instead of step, or the length to init"
            streams.check_emitted(known, state.emitted, remedy=remedy)
        if coefficients is None:
            encoder = SliceStreamEncoder(self.spec, self.dtype)
            coefficients = encoder.finish(encoder.init(state.tail.shape[:-1]))  # no slices
        state, samples = self.step(state._replace(length=known), coefficients)
        expected = state.received if known is None else slice_spec.count_slices(known, self.spec)
        if state.received != expected:
            raise ValueError(
                f"length={known} has {expected} slices, but {state.received} were given"
            )
        return samples

    def _checked(self, coefficients: Any, batch: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        is_ragged = self.spec.layout == "ragged"
        arrays = tuple(
            checks.on_host(array, "coefficients", instead="use advance, the inner step, there")
            for array in (coefficients if is_ragged else (coefficients,))
        )
        nonstationary_gabor.check_coefficients(
            arrays, padded=self.spec.samples, spec=self.spec.bands, layout=self.spec.layout
        )
        axes = {array.shape[:-2] for array in arrays}
        if len(axes) > 1 or arrays[0].shape[:-3] != batch or arrays[0].ndim < 3:
            wanted = ", ".join(map(str, [*batch, "slices", "frames", "bins"]))
            raise ValueError(
                f"coefficients of shapes {[array.shape for array in arrays]}: this stream takes "
                f"[{wanted}]"
            )
        dtype = np.result_type(self.dtype, np.complex64)
        return tuple(array.astype(dtype, copy=False) for array in arrays)
