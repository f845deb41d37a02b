"""Stream encoder: analysis of a signal that arrives piece by piece, see :mod:`.stream`."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp.streams import Batch, axes_of, checked
from isincnet_jax.streaming import framing as streaming
from isincnet_jax.streaming.chunks import advance_all


class EncoderState(NamedTuple):
    """Encoder state between two chunks: a pytree; a step leaves the old one as it is.

    Attributes:
        context: [..., context] the samples before the next block, on the device.
        pending: [..., time] the samples that make no block yet, on the host.
        received: samples so far.
        emitted: frames so far.
    """

    context: jax.Array
    pending: np.ndarray
    received: int
    emitted: int


@dataclasses.dataclass(frozen=True, eq=False)
class StreamEncoder:
    """Stream encoder, an analysis; made by :func:`.stream.stream_encoder`.

    Attributes:
        spec: the bank.
        matrix: its kernels [taps, channels].
        lead: samples before a frame that ``matrix`` covers.
        precision: of products on accelerators.
    """

    spec: FilterbankSpec
    matrix: jax.Array
    lead: int
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    @property
    def latency(self) -> int:
        """Samples after a frame's position that must have come before the frame is given out.

        Reflection at the beginning needs as many samples as the kernels reach before frame 0.
        """
        bank = self.spec.bank
        return max(bank.lead, bank.trail) if self._reflects else bank.trail

    @property
    def _reflects(self) -> bool:
        return self.spec.padding == "reflect"

    @property
    def _context(self) -> int:
        """Samples before a block: the kernels', and those that the end's reflection asks for."""
        bank = self.spec.bank
        extra = max(0, bank.trail - bank.lead) if self._reflects else 0
        return self.matrix.shape[0] - self.spec.hop_length + extra

    def init(self, batch: Batch = ()) -> EncoderState:
        """Encoder state before the first sample: silence.

        Args:
            batch: leading axes of all chunks: none, a number of streams, or several axes.

        Returns:
            The state; its context is on the default device.

        Raises:
            ValueError: for an axis below 1.
        """
        shape = axes_of(batch)
        context = jnp.zeros((*shape, self._context), self.matrix.dtype)
        waiting = 0
        if not self._reflects:  # zeros that let every frame end with its block
            waiting = -(self.spec.bank.trail + 1) % self.spec.hop_length
        return EncoderState(context, np.zeros((*shape, waiting), self.matrix.dtype), 0, 0)

    def advance(
        self, context: Float[jax.Array, "... context"], blocks: Float[jax.Array, "... time"]
    ) -> tuple[jax.Array, jax.Array]:
        """Inner step, pure, for use in jitted functions and scans.

        Args:
            context: of a state; ``init(batch).context`` is silence.
            blocks: [..., m * hop], m >= 1 blocks that end where a frame's kernels end. Compiled
                once per m.

        Returns:
            The next context and [..., m, channels].
        """
        return streaming.analyze_blocks(
            context,
            blocks,
            self.matrix,
            hop_length=self.spec.hop_length,
            precision=self.precision,
        )

    def step(
        self, state: EncoderState, chunk: Float[Any, "... time"]
    ) -> tuple[EncoderState, Float[np.ndarray, "... frames channels"]]:
        """Frames that the next samples complete, however few or many those are.

        Args:
            state: of the last step.
            chunk: [..., time], floating, with the leading axes that ``init`` was told.

        Returns:
            The next state, and the frames [..., frames, channels] on the host.

        Raises:
            TypeError, ValueError: for integers or other axes.
        """
        chunk = checked(chunk, state.pending.shape[:-1], self.matrix.dtype, "chunk")
        pending = np.concatenate([state.pending, chunk], axis=-1)
        received = state.received + chunk.shape[-1]
        context = state.context
        if self._reflects:
            # Reflection at sample 0 needs ``lead`` samples after it: until then they wait.
            if received <= self.latency:
                return EncoderState(context, pending, received, 0), self._none(state)
            if state.received <= self.latency:
                bank = self.spec.bank
                mirrored = streaming.reflection_before(pending, bank.lead)
                context, pending = self._begin(np.concatenate([mirrored, pending], axis=-1))
        context, pending, frames = self._advance_all(context, pending)
        emitted = state.emitted + frames.shape[-2]
        return EncoderState(context, pending, received, emitted), frames

    def finish(self, state: EncoderState) -> Float[np.ndarray, "... frames channels"]:
        """The frames that remain at the end of the signal, none if it was empty.

        Args:
            state: of the last step.

        Returns:
            [..., frames, channels] on the host.
        """
        length = state.received
        if not length:
            return self._none(state)
        if self._reflects and length <= self.latency:
            return self._short_clip(state.pending)
        remaining = self.spec.bank.frame_grid(length).num_frames - state.emitted
        if remaining <= 0:
            return self._none(state)
        # Samples that complete the last block: zeros, or the reflection of what came before.
        missing = remaining * self.spec.hop_length - state.pending.shape[-1]
        known = np.concatenate([np.asarray(state.context), state.pending], axis=-1)
        if self._reflects:
            after = streaming.reflection_after(known, missing)
        else:
            after = np.zeros((*known.shape[:-1], missing), known.dtype)
        return self._advance_all(state.context, np.concatenate([state.pending, after], axis=-1))[2]

    def _none(self, state: EncoderState) -> np.ndarray:
        shape = (*state.pending.shape[:-1], 0, self.spec.num_channels)
        return np.zeros(shape, self.matrix.dtype)

    def _begin(self, signal: np.ndarray) -> tuple[jax.Array, np.ndarray]:
        """Context and pending samples of a signal that starts with its reflection."""
        bank = self.spec.bank
        # Zeros in front, so that the first block behind the context ends at sample ``trail``, where
        # frame 0 is complete.
        before = self._context + self.spec.hop_length - 1 - bank.trail - bank.lead
        signal = np.pad(signal, [*[(0, 0)] * (signal.ndim - 1), (before, 0)])
        return jnp.asarray(signal[..., : self._context]), signal[..., self._context :]

    def _short_clip(self, clip: np.ndarray) -> np.ndarray:
        """The frames of a reflected clip that ended before its first frame was complete."""
        bank, length = self.spec.bank, clip.shape[-1]
        last = (length - 1) // self.spec.hop_length * self.spec.hop_length
        widths = [(0, 0)] * (clip.ndim - 1)
        widths.append((bank.lead, max(last + bank.trail + 1 - length, 0)))
        reflected = np.pad(clip, widths, mode="reflect" if length > 1 else "edge")
        return self._advance_all(*self._begin(reflected))[2]

    def _advance_all(
        self, context: jax.Array, pending: np.ndarray
    ) -> tuple[jax.Array, np.ndarray, np.ndarray]:
        """All whole blocks that are pending; context, what is left, and the frames."""
        spec = self.spec
        return advance_all(
            self.advance,
            context,
            pending,
            hop_length=spec.hop_length,
            channels=spec.num_channels,
        )
