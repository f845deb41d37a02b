"""Lapped streams: the lapped transform of a signal that arrives piece by piece, and its inverse.

The same steps over explicit states as those of other banks, see :mod:`.stream`. The border between
two blocks can be turned when half a block behind it is known. Tiled frames wait for half a block
more: only then it is clear that the block is not the last, which is longer and has no border inside
(:mod:`isincnet_jax.bank.dsp.lapped_transform`).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.bank.dsp import lapped_transform
from isincnet_jax.bank.lapped_spec import LappedSpec
from isincnet_jax.dsp.settling import settles
from isincnet_jax.dsp.streams import (
    LARGEST_STEP,
    Batch,
    axes_of,
    check_length,
    checked,
    joined_on_host,
    power_of_two_sizes,
)
from isincnet_jax.streaming.chunks import advance_all, settled_length
from isincnet_jax.streaming.decoder import DecoderState
from isincnet_jax.streaming.encoder import EncoderState

_last_block = jax.jit(lapped_transform.analyse_lapped, static_argnames="framing")
_only_block = jax.jit(lapped_transform.invert_blocks)


@jax.jit
def _analyse(
    context: jax.Array, blocks: jax.Array, angles: jax.Array
) -> tuple[jax.Array, jax.Array]:
    half = angles.size
    # Half a block that is turned already, then blocks from the middle of one to that of the next,
    # and zeros that no border reaches: m + 1 blocks with the m borders between them.
    rest = jnp.zeros((*context.shape[:-1], half), context.dtype)
    signal = lapped_transform.turn_borders(
        jnp.concatenate([context, blocks, rest], axis=-1), angles, back=False
    )
    whole = signal[..., : blocks.shape[-1]].reshape((*context.shape[:-1], -1, 2 * half))
    return signal[..., blocks.shape[-1] : -half], lapped_transform.transform_blocks(whole)


@functools.partial(jax.jit, static_argnames="begins")
def _synthesise(
    history: jax.Array, frames: jax.Array, angles: jax.Array, *, begins: bool
) -> tuple[jax.Array, jax.Array]:
    half = angles.size
    blocks = lapped_transform.invert_blocks(frames)
    blocks = blocks.reshape((*history.shape[:-1], frames.shape[-2] * 2 * half))
    # Zeros and half a block before the first border, which a signal that begins does not have.
    before = jnp.concatenate([jnp.zeros_like(history), history], axis=-1)
    if begins:
        turned = lapped_transform.turn_borders(blocks, angles, back=True)
        signal = jnp.concatenate([before, turned], axis=-1)
    else:
        signal = jnp.concatenate([before, blocks], axis=-1)
        signal = lapped_transform.turn_borders(signal, angles, back=True)
    return signal[..., -half:], signal[..., half:-half]


@jax.jit
def _last_samples(history: jax.Array, coefficients: jax.Array, angles: jax.Array) -> jax.Array:
    """Samples from the middle of the block before the last, which is longer, to the end."""
    block = lapped_transform.invert_blocks(coefficients)
    signal = jnp.concatenate([jnp.zeros_like(history), history, block], axis=-1)
    # Below 3 N samples there is one border, at N.
    return lapped_transform.turn_borders(signal, angles, back=True)[..., angles.size :]


@dataclasses.dataclass(frozen=True, eq=False)
class LappedStreamEncoder:
    """Stream encoder of a lapped bank; made by :func:`.stream.stream_encoder`.

    The context of its states, [..., N / 2], is the first half of the next block, turned.

    Attributes:
        spec: the bank.
        angles: of the window, [N / 2].
    """

    spec: LappedSpec
    angles: jax.Array

    @property
    def latency(self) -> int:
        """Samples after a frame's position that must have come before the frame is given out.

        The position is the first sample of a tiled block, and the middle of one that is centred.
        """
        hop = self.spec.hop_length
        return 2 * hop - 1 if self._tiled else hop - 1

    @property
    def _tiled(self) -> bool:
        return self.spec.framing == "tiled"

    def init(self, batch: Batch = ()) -> EncoderState:
        """Encoder state before the first sample.

        Args:
            batch: leading axes of all chunks: none, a number of streams, or several axes.

        Returns:
            The state; its context is on the default device.

        Raises:
            ValueError: for an axis below 1.
        """
        shape = axes_of(batch)
        # Zeros in front of a clip whose first block is centred at its beginning.
        context = jnp.zeros((*shape, self.spec.hop_length // 2), self.angles.dtype)
        return EncoderState(context, np.zeros((*shape, 0), self.angles.dtype), 0, 0)

    def advance(
        self, context: Float[jax.Array, "... half"], blocks: Float[jax.Array, "... time"]
    ) -> tuple[jax.Array, jax.Array]:
        """Inner step, pure, for use in jitted functions and scans.

        Args:
            context: of a state; of a tiled signal its first N / 2 samples.
            blocks: [..., m N] samples behind it, m >= 1. Compiled once per m.

        Returns:
            The next context and frames [..., m, N].
        """
        return _analyse(context, blocks, self.angles)

    def step(
        self, state: EncoderState, chunk: Float[Any, "... time"]
    ) -> tuple[EncoderState, Float[np.ndarray, "... frames bins"]]:
        """Frames that the next samples complete, however few or many those are.

        Args:
            state: of the last step.
            chunk: [..., time], floating, with the leading axes that ``init`` was told.

        Returns:
            The next state, and the frames [..., frames, N] on the host.

        Raises:
            TypeError, ValueError: for integers or other axes.
        """
        chunk = checked(chunk, state.pending.shape[:-1], self.angles.dtype, "chunk")
        pending = np.concatenate([state.pending, chunk], axis=-1)
        received, context = state.received + chunk.shape[-1], state.context
        half = self.spec.hop_length // 2
        if self._tiled and received >= half > state.received:
            context, pending = jnp.asarray(pending[..., :half]), pending[..., half:]
        # Tiled, half a block must follow, without which a block may be the last.
        context, pending, frames = advance_all(
            self.advance,
            context,
            pending,
            hop_length=2 * half,
            channels=2 * half,
            ahead=half if self._tiled else 0,
        )
        emitted = state.emitted + frames.shape[-2]
        return EncoderState(context, pending, received, emitted), frames

    def finish(self, state: EncoderState) -> Float[np.ndarray, "... frames bins"]:
        """The frames that remain at the end of the signal, none if it was empty.

        Args:
            state: of the last step.

        Returns:
            [..., frames, N] on the host.
        """
        hop, half = self.spec.hop_length, self.spec.hop_length // 2
        context, pending = state.context, state.pending
        frames = np.zeros((*pending.shape[:-1], 0, hop), pending.dtype)
        if not state.received:
            return frames
        if not self._tiled:
            missing = (self.spec.num_frames(state.received) - state.emitted) * hop - half
            zeros = np.zeros((*pending.shape[:-1], missing - pending.shape[-1]), pending.dtype)
            pending = np.concatenate([pending, zeros], axis=-1)
            context, pending, frames = advance_all(
                self.advance, context, pending, hop_length=hop, channels=hop
            )
        # The last block has N to 2 N - 1 samples and no border inside; short clips have no other.
        last = pending
        if not self._tiled or state.received >= half:
            last = np.concatenate([np.asarray(context), pending], axis=-1)
        rest = np.asarray(_last_block(last, self.angles, framing="tiled"))
        return np.concatenate([frames, rest], axis=-2)


@dataclasses.dataclass(frozen=True, eq=False)
class LappedStreamDecoder:
    """Stream decoder of a lapped bank; made by :func:`.stream.stream_decoder`.

    The history of its states, [..., N / 2], is the second half of the last block.

    Attributes:
        spec: the bank.
        angles: of the window, [N / 2].
    """

    spec: LappedSpec
    angles: jax.Array

    @property
    def latency(self) -> int:
        """Samples that an output sample lies before the position of the last frame it needs."""
        hop = self.spec.hop_length
        return hop // 2 if self._tiled else hop

    @property
    def total_latency(self) -> int:
        """Samples that encoder and decoder together need after a sample until it is given out."""
        return self.spec.latency

    @property
    def _tiled(self) -> bool:
        return self.spec.framing == "tiled"

    @settles
    def init(self, batch: Batch = (), *, length: int | None = None) -> DecoderState:
        """Decoder state before the first frame.

        Args:
            batch: leading axes of all spectrograms: none, a number of streams, or several axes.
            length: samples of the signal, if they are known before its end: no step gives more.

        Returns:
            The state; its history is on the default device.

        Raises:
            ValueError: for a length or an axis below 1.
        """
        check_length(length)
        shape = (*axes_of(batch), self.spec.hop_length // 2)
        return DecoderState(jnp.zeros(shape, self.angles.dtype), 0, 0, length)

    def advance(
        self, history: Float[jax.Array, "... half"], frames: Float[jax.Array, "... frames bins"]
    ) -> tuple[jax.Array, jax.Array]:
        """Inner step, pure, for use in jitted functions and scans; not for a signal's first frame.

        Args:
            history: of a state.
            frames: [..., m, N], m >= 1. Compiled once per m.

        Returns:
            The next history, and [..., m N] samples up to the middle of the last block.
        """
        return _synthesise(history, frames, self.angles, begins=False)

    def step(
        self, state: DecoderState, frames: Float[Any, "... frames bins"]
    ) -> tuple[DecoderState, Float[np.ndarray, "... time"]]:
        """Samples that the next frames settle, however few or many those are.

        The encoder's last frames, which it gives at the end, belong to :meth:`finish`: the last
        block of a tiled signal is longer.

        Args:
            state: of the last step.
            frames: [..., frames, N], with the leading axes that ``init`` was told.

        Returns:
            The next state, and the samples [..., time] on the host.

        Raises:
            TypeError, ValueError: for integers or other axes.
        """
        shape = state.history.shape[:-1]
        hop = self.spec.hop_length
        frames = checked(frames, shape, self.angles.dtype, "frames", hop)
        history, received, parts, start = state.history, state.received, [], 0
        first = int(self._tiled and not received and frames.shape[-2] > 0)
        sizes = power_of_two_sizes(frames.shape[-2] - first, largest=LARGEST_STEP)
        for size in [1] * first + sizes:
            begins = bool(first) and not start
            chosen = frames[..., start : start + size, :]
            history, samples = _synthesise(history, chosen, self.angles, begins=begins)
            parts.append(samples)
            start += size
        joined = joined_on_host(parts, axis=-1, empty=(*shape, 0), like=frames)
        # A step gives the samples from the middle of the block before; those before 0 are none.
        position = received * hop - self.latency
        settled = joined[..., max(-position, 0) :]
        if state.length is not None:
            settled = settled[..., : max(state.length - state.emitted, 0)]
        emitted = state.emitted + settled.shape[-1]
        return DecoderState(history, received + start, emitted, state.length), settled

    @settles
    def finish(
        self,
        state: DecoderState,
        frames: Float[Any, "... frames bins"] | None = None,
        *,
        length: int | None = None,
    ) -> Float[np.ndarray, "... time"]:
        """The samples that remain at the end of the signal, none if it was empty.

        Args:
            state: of the last step.
            frames: the last frames, those of the encoder's ``finish``.
            length: samples of the signal. Without it, here and at ``init``, the longest signal
                that has so many frames is meant.

        Returns:
            [..., time] on the host.

        Raises:
            ValueError: if the frames do not fit the length, or the last block was stepped through.
            TypeError: for integer frames.
        """
        shape, hop = state.history.shape[:-1], self.spec.hop_length
        if frames is None:
            frames = np.zeros((*shape, 0, hop), self.angles.dtype)
        frames = checked(frames, shape, self.angles.dtype, "frames", hop)
        count = state.received + frames.shape[-2]
        if not count:
            return np.zeros((*shape, 0), self.angles.dtype)
        length = settled_length(
            length,
            state.length,
            count=count,
            longest=count * hop if self._tiled else max((count - 1) * hop, 1),
            num_frames=self.spec.num_frames,
            hop_length=hop,
        )
        whole = lapped_transform.count_whole_blocks(length, hop) if self._tiled else count
        if state.received > whole or state.emitted > length:
            raise ValueError(
                f"length={length}, but {state.emitted} samples were given out already: hand the "
                "last frames to finish instead of step"
            )
        blocks, last = np.split(frames, [whole - state.received], axis=-2)
        state, samples = self.step(state._replace(length=length), blocks)
        if not self._tiled:
            return samples
        last = last.reshape((*shape, -1))[..., : length - whole * hop]
        if not whole:  # one block, without any border
            return np.asarray(_only_block(last))
        rest = state.history
        if last.shape[-1]:
            rest = _last_samples(rest, last, self.angles)
        return np.concatenate([samples, np.asarray(rest)], axis=-1)
