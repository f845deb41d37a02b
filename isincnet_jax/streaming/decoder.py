"""Stream decoder: synthesis from frames that arrive piece by piece, see :mod:`.stream`."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp.settling import settles
from isincnet_jax.dsp.streams import (
    LARGEST_STEP,
    Batch,
    axes_of,
    check_emitted,
    check_length,
    checked,
    joined_on_host,
    power_of_two_sizes,
)
from isincnet_jax.streaming import framing as streaming
from isincnet_jax.streaming.chunks import settled_length


class DecoderState(NamedTuple):
    """Decoder state between two steps: a pytree; a step leaves the old one as it is.

    Attributes:
        history: [..., past, channels] the frames before the next one, on the device.
        received: frames so far.
        emitted: samples so far.
        length: samples of the whole signal; None if not known yet.
    """

    history: jax.Array
    received: int
    emitted: int
    length: int | None


@dataclasses.dataclass(frozen=True, eq=False)
class StreamDecoder:
    """Stream decoder, a synthesis; made by :func:`.stream.stream_decoder`.

    Attributes:
        spec: the bank.
        matrix: the synthesis kernels, see :func:`.streaming.framing.synthesis_matrix`.
        lead: samples that they reach before their frame.
        precision: of products on accelerators.
    """

    spec: FilterbankSpec
    matrix: jax.Array
    lead: int
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    @property
    def latency(self) -> int:
        """Samples that an output sample lies before the position of the last frame it needs."""
        return self.lead

    @property
    def total_latency(self) -> int:
        """Samples that encoder and decoder together need after a sample until it is given out.

        Sample m has come out when sample ``m + total_latency`` has gone in, whatever the chunks
        are, and for one m of every hop not before.
        """
        bank = self.spec.bank
        steady = bank.trail + self.lead
        return max(steady, bank.lead) if self.spec.padding == "reflect" else steady

    @settles
    def init(self, batch: Batch = (), *, length: int | None = None) -> DecoderState:
        """Decoder state before the first frame: silence.

        Args:
            batch: leading axes of all spectrograms: none, a number of streams, or several axes.
            length: samples of the signal, if they are known before its end: no step gives more.

        Returns:
            The state; its history is on the default device.

        Raises:
            ValueError: for a length or an axis below 1.
        """
        check_length(length)
        channels = self.spec.num_channels
        shape = (*axes_of(batch), self.matrix.shape[0] // channels - 1, channels)
        return DecoderState(jnp.zeros(shape, self.matrix.dtype), 0, 0, length)

    def advance(
        self,
        history: Float[jax.Array, "... past channels"],
        frames: Float[jax.Array, "... frames channels"],
    ) -> tuple[jax.Array, jax.Array]:
        """Inner step, pure, for use in jitted functions and scans.

        Args:
            history: of a state; ``init(batch).history`` is silence.
            frames: [..., m, channels], m >= 1. Compiled once per m.

        Returns:
            The next history, and [..., m * hop] samples: those of frame t start at sample
            ``t * hop - latency``.
        """
        return streaming.synthesize_blocks(history, frames, self.matrix, precision=self.precision)

    def step(
        self, state: DecoderState, frames: Float[Any, "... frames channels"]
    ) -> tuple[DecoderState, Float[np.ndarray, "... time"]]:
        """Samples that the next frames settle, however few or many those are.

        The encoder's last frames, which it gives at the end, belong to :meth:`finish`: they reach
        beyond the signal, whose end a step does not know unless ``init`` was told its length.

        Args:
            state: of the last step.
            frames: [..., frames, channels], with the leading axes that ``init`` was told.

        Returns:
            The next state, and the samples [..., time] on the host; none before sample 0.

        Raises:
            TypeError, ValueError: for integers or other axes.
        """
        shape = state.history.shape[:-2]
        frames = checked(frames, shape, self.matrix.dtype, "frames", self.spec.num_channels)
        start, parts, history = 0, [], state.history
        for size in power_of_two_sizes(frames.shape[-2], largest=LARGEST_STEP):
            chosen = frames[..., start : start + size, :]
            history, samples = self.advance(history, chosen)  # type: ignore[arg-type]
            parts.append(samples)
            start += size
        joined = joined_on_host(parts, axis=-1, empty=(*shape, 0), like=frames)
        # Samples before sample 0 belong to frames that begin before the signal.
        settled = joined[..., max(-self._position(state), 0) :]
        if state.length is not None:
            settled = settled[..., : max(state.length - state.emitted, 0)]
        emitted = state.emitted + settled.shape[-1]
        return DecoderState(history, state.received + start, emitted, state.length), settled

    @settles
    def finish(
        self,
        state: DecoderState,
        frames: Float[Any, "... frames channels"] | None = None,
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
            ValueError: if the frames do not fit the length, or more samples were given already.
            TypeError: for integer frames.
        """
        shape, channels = state.history.shape[:-2], self.spec.num_channels
        if frames is None:
            frames = np.zeros((*shape, 0, channels), self.matrix.dtype)
        frames = checked(frames, shape, self.matrix.dtype, "frames", channels)
        count = state.received + frames.shape[-2]
        if not count:
            return np.zeros((*shape, 0), self.matrix.dtype)
        length = self._settled_length(state, count, length)
        hop = self.spec.hop_length
        # Blocks of silence that push out the samples which the last frames reach.
        behind = max(-(-(length - self._first_sample - count * hop) // hop), 0)
        silence = np.zeros((*shape, behind, channels), self.matrix.dtype)
        frames = np.concatenate([frames, silence], axis=-2)
        return self.step(state._replace(length=length), frames)[1]

    def _settled_length(self, state: DecoderState, count: int, length: int | None) -> int:
        bank = self.spec.bank
        known = settled_length(
            length,
            state.length,
            count=count,
            longest=max(bank.longest_length(count), state.emitted),
            num_frames=lambda known: bank.frame_grid(known).num_frames,
            hop_length=self.spec.hop_length,
        )
        remedy = "hand the last frames to finish instead of step, or the length to init"
        check_emitted(known, state.emitted, remedy=remedy)
        return known

    @property
    def _first_sample(self) -> int:
        """Where the samples of the first frame start: at sample 0 or before the signal."""
        first = self.spec.bank.frame_grid(1).first
        return first * self.spec.hop_length - self.lead

    def _position(self, state: DecoderState) -> int:
        """Index of the first sample that the next frame settles."""
        return self._first_sample + state.received * self.spec.hop_length
