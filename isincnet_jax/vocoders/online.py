"""Online vocoder: sound of magnitudes that come frame by frame, the past as explicit state.

:func:`stream_vocoder` makes a frozen object with pure steps; what they put out, put end to end,
equals ``vocoder.synthesize(..., online=True)`` up to the order of float32 sums, whatever the
pieces are. The phases of a frame follow from those of the frame before, which are given out by
then (:func:`.sweeps.swept_on`), so that no sweep comes back to better them.

A frame waits for the frames after it that its network sees, and a sample for the last frame whose
window reaches it. Of ``22khz-speech-vocoder`` that is two frames and half a window, 1024 samples
(46 ms); the analysis of what is heard before adds half a window, 70 ms altogether.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float

from isincnet_jax.dsp import batched_fft, fourier, overlap
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
from isincnet_jax.vocoders import compression as vocoder_features
from isincnet_jax.vocoders.vocoder import TrainedVocoder, Vocoder, check_online


class VocoderCarry(NamedTuple):
    """What a step leaves to the next, on the device.

    Attributes:
        frames: [..., seen, bins] magnitudes of the frames before the next one, as many as are seen
            around a frame.
        directions: ``exp(i phase)`` of the last frame that has phases, complex [..., phases]; 0
            before the first.
        samples: [..., rest] sums of windowed frames that more frames reach.
        squares: [rest] sums of the squares of their windows.
    """

    frames: Float[jax.Array, "... seen bins"]
    directions: Complex[jax.Array, "... phases"]
    samples: Float[jax.Array, "... rest"]
    squares: Float[jax.Array, " rest"]


class VocoderState(NamedTuple):
    """Vocoder state between two steps: a pytree; a step leaves the old one as it is.

    Attributes:
        carry: of the inner step.
        received: frames so far.
        emitted: samples so far.
        length: samples of the whole signal; None if not known yet.
    """

    carry: VocoderCarry
    received: int
    emitted: int
    length: int | None


@dataclasses.dataclass(frozen=True, eq=False)
class StreamVocoder:
    """Stream of a vocoder; made by :func:`stream_vocoder`.

    Attributes:
        vocoder: whose network predicts steps of phase.
    """

    vocoder: TrainedVocoder

    @property
    def latency(self) -> int:
        """Samples that an output sample lies before the position of the last frame it needs."""
        network = self._network
        return network.frames_ahead * network.hop_length + _window(self.vocoder.model).lead

    @property
    def total_latency(self) -> int:
        """Samples that analysis and vocoder together need after a sample until it is given out.

        Sample m has come out when sample ``m + total_latency`` has gone in, whatever the pieces
        are.
        """
        features = self.vocoder.features
        # The frame at 0 is complete with the last sample of its window.
        before = (features.n_fft - features.win_length) // 2
        return self.latency + before + features.win_length - 1 - features.n_fft // 2

    @property
    def _network(self) -> Any:
        return self.vocoder.model.network

    @settles
    def init(self, batch: Batch = (), *, length: int | None = None) -> VocoderState:
        """Vocoder state before the first frame.

        Args:
            batch: leading axes of all spectrograms: none, a number of streams, or several axes.
            length: samples of the signal, if they are known before its end: no step gives more.

        Returns:
            The state; its carry is on the default device.

        Raises:
            ValueError: for a length or an axis below 1.
        """
        check_length(length)
        network, shape, dtype = self._network, axes_of(batch), self.vocoder.model.dtype
        rest = _window(self.vocoder.model).rest
        seen = network.frames_behind + network.frames_ahead
        none = jnp.zeros((*shape, network.phase_samples // 2 + 1), dtype)
        carry = VocoderCarry(
            frames=jnp.zeros((*shape, seen, network.num_bins), dtype),
            directions=jax.lax.complex(none, none),
            samples=jnp.zeros((*shape, rest), dtype),
            squares=jnp.zeros((rest,), dtype),
        )
        return VocoderState(carry, 0, 0, length)

    def advance(
        self, carry: VocoderCarry, frames: Float[jax.Array, "... frames bins"]
    ) -> tuple[VocoderCarry, Float[jax.Array, "... time"]]:
        """Inner step, pure, for use in jitted functions and scans; not for a signal's first frames.

        Args:
            carry: of a state that has received ``frames_ahead`` frames of the network, or more.
            frames: [..., m, bins], m >= 1. Compiled once per m.

        Returns:
            The next carry, and [..., m * hop] samples: those of frame t start at sample
            ``t * hop - latency``.
        """
        return _advance(self.vocoder.model, self.vocoder.variables, carry, frames)

    def step(
        self, state: VocoderState, frames: Float[Any, "... frames bins"]
    ) -> tuple[VocoderState, Float[np.ndarray, "... time"]]:
        """Samples that the next frames settle, however few or many those are.

        Args:
            state: of the last step.
            frames: linear magnitudes [..., frames, bins], with the leading axes that ``init`` was
                told.

        Returns:
            The next state, and the samples [..., time] on the host; none before sample 0.

        Raises:
            TypeError: for what is not real and floating.
            ValueError: for other axes, NaN or negative values.
        """
        frames = self._checked(state, frames)
        received = state.received + frames.shape[-2]
        # Samples before sample 0 belong to windows that begin before the signal.
        early = max(-self._position(state.received), 0)
        carry, frames = self._begun(state, frames)
        start, parts = 0, []
        for size in power_of_two_sizes(frames.shape[-2], largest=LARGEST_STEP):
            carry, samples = self.advance(carry, frames[..., start : start + size, :])  # type: ignore[arg-type]
            parts.append(samples)
            start += size
        empty = (*frames.shape[:-2], 0)
        settled = joined_on_host(parts, axis=-1, empty=empty, like=frames)[..., early:]
        if state.length is not None:
            settled = settled[..., : max(state.length - state.emitted, 0)]
        emitted = state.emitted + settled.shape[-1]
        return VocoderState(carry, received, emitted, state.length), settled

    @settles
    def finish(
        self,
        state: VocoderState,
        frames: Float[Any, "... frames bins"] | None = None,
        *,
        length: int | None = None,
    ) -> Float[np.ndarray, "... time"]:
        """The samples that remain at the end of the signal, none if it was empty.

        Args:
            state: of the last step.
            frames: the last frames, if there are more.
            length: samples of the signal, at most ``frames * hop_length`` of all frames, which it
                is without it, here and at ``init``.

        Returns:
            [..., time] on the host.

        Raises:
            ValueError: if the frames do not fit the length, or more samples were given already.
            TypeError: for integer frames.
        """
        last = np.asarray(state.carry.frames[..., -1:, :])
        frames = last[..., :0, :] if frames is None else self._checked(state, frames)
        count = state.received + frames.shape[-2]
        if not count:
            return np.zeros((*frames.shape[:-2], 0), frames.dtype)
        length = self._settled_length(state, count, length)
        # Behind the signal is its last frame, as before it is its first.
        last = frames[..., -1:, :] if frames.shape[-2] else last
        behind = np.repeat(last, self._network.frames_ahead, axis=-2)
        ended, samples = self.step(
            state._replace(length=length), np.concatenate([frames, behind], axis=-2)
        )
        rest = np.asarray(_divided(ended.carry.samples, ended.carry.squares))
        rest = rest[..., max(-self._position(ended.received), 0) :]
        return np.concatenate([samples, rest], axis=-1)[..., : length - state.emitted]

    def _checked(self, state: VocoderState, frames: Any) -> np.ndarray:
        bins, shape = self._network.num_bins, state.carry.frames.shape[:-2]
        frames = checked(frames, shape, self.vocoder.model.dtype, "frames", bins)
        if frames.size:
            vocoder_features.check_spectrogram(frames, num_bins=bins)
        return frames

    def _begun(self, state: VocoderState, frames: np.ndarray) -> tuple[VocoderCarry, np.ndarray]:
        """Carry with the frames that the signal's first one waits for, and the frames after them.

        Before the signal is its first frame.
        """
        missing = self._network.frames_ahead - state.received
        if missing <= 0 or not frames.shape[-2]:
            return state.carry, frames
        seen = np.asarray(state.carry.frames)
        if not state.received:
            seen = np.broadcast_to(frames[..., :1, :], seen.shape)
        waiting, frames = np.split(frames, [missing], axis=-2)
        seen = np.concatenate([seen, waiting], axis=-2)[..., waiting.shape[-2] :, :]
        return state.carry._replace(frames=jnp.asarray(seen)), frames

    def _position(self, received: int) -> int:
        """Index of the first sample that is not settled by so many frames."""
        network = self._network
        settled = max(received - network.frames_ahead, 0)
        return settled * network.hop_length - _window(self.vocoder.model).lead

    def _settled_length(self, state: VocoderState, count: int, length: int | None) -> int:
        if length is not None and state.length not in (None, length):
            raise ValueError(f"length={length}, but init was told length={state.length}")
        known = state.length if length is None else length
        known = self.vocoder.features.checked_length(known, num_frames=count)
        check_emitted(known, state.emitted, remedy="hand the length to init")
        return known


def stream_vocoder(vocoder: TrainedVocoder) -> StreamVocoder:
    """Stream of a vocoder: magnitudes that come frame by frame to sound, at a stated latency.

    Args:
        vocoder: one whose network is a PhaseGradientVocoder, such as ``22khz-speech-vocoder``.

    Returns:
        The stream; ``init``, ``step`` and ``finish`` run it.

    Raises:
        TypeError: for anything but a trained vocoder.
        ValueError: for other networks, and for one that iterates over the whole clip.

    Example:
        >>> from isincnet_jax.pretrained.trained import load_vocoder
        >>> vocoder = load_vocoder("22khz-speech-vocoder")
        >>> spectrogram = vocoder.spectrogram(np.ones(4000, np.float32))  # [16 frames, bins]
        >>> stream = stream_vocoder(vocoder)
        >>> state, samples = stream.step(stream.init(), spectrogram[:9])
        >>> rest = stream.finish(state, spectrogram[9:], length=4000)
        >>> stream.latency, samples.shape, rest.shape
        (1024, (1280,), (2720,))
    """
    if not isinstance(vocoder, TrainedVocoder):
        raise TypeError(
            f"{type(vocoder).__name__}: a stream is made from a trained vocoder, such as "
            'isn.from_pretrained("22khz-speech-vocoder") is'
        )
    check_online(vocoder.model)
    variables = jax.device_put(vocoder.variables)
    return StreamVocoder(dataclasses.replace(vocoder, variables=variables))


class _Window(NamedTuple):
    """Synthesis window [taps], and samples of it before its frame and behind a hop of it."""

    taper: np.ndarray
    start: int
    lead: int
    rest: int


def _window(model: Vocoder) -> _Window:
    network = model.network
    taps, n_fft, hop = network.window_samples, network.phase_samples, network.hop_length
    start = (n_fft - taps) // 2  # zeros on both sides, which nothing waits for
    taper = fourier.stft_window(network.window, taps, n_fft)[start : start + taps]
    return _Window(taper, start, n_fft // 2 - start, (-(-taps // hop) - 1) * hop)


@functools.partial(jax.jit, static_argnames=("model",))
def _advance(
    model: Vocoder, variables: Any, carry: VocoderCarry, frames: Any
) -> tuple[VocoderCarry, jax.Array]:
    network, window = model.network, _window(model)
    *batch, count, bins = frames.shape
    seen = jnp.concatenate([carry.frames, frames], axis=-2)
    found: Any = model.apply(
        variables,
        jnp.reshape(seen, (-1, seen.shape[-2], bins)),
        jnp.reshape(carry.directions, (-1, carry.directions.shape[-1])),
        method=lambda vocoder, *given: vocoder.network.online_spectrum(*given),
    )
    spectrum, directions = found
    stop = window.start + len(window.taper)
    pieces = batched_fft.irfft(spectrum, network.phase_samples)[..., window.start : stop]
    taper = jnp.asarray(window.taper, pieces.dtype)
    squares = jnp.broadcast_to(taper**2, (count, len(window.taper)))
    # Sums of [..., frames, taps], and those that frames before have begun: [..., m hop + rest].
    hop = network.hop_length
    weighted = jnp.reshape(pieces * taper[None, None], (*batch, count, len(window.taper)))
    summed, squared = (
        jnp.asarray(overlap.overlap_add(part, hop_length=hop)).at[..., : window.rest].add(begun)
        for part, begun in ((weighted, carry.samples), (squares, carry.squares))
    )
    settled = count * hop
    carry = VocoderCarry(
        frames=seen[..., count:, :],
        directions=jnp.reshape(directions, carry.directions.shape),
        samples=summed[..., settled:],
        squares=squared[settled:],
    )
    return carry, _divided(summed[..., :settled], squared[:settled])


@jax.jit
def _divided(summed: jax.Array, squared: jax.Array) -> jax.Array:
    """``y[m] = sum_t w x_t / sum_t w^2``; 0 where no window reaches, see :func:`.fourier.istft`."""
    reached = squared > float(np.finfo(np.float32).tiny)
    gain = jnp.where(reached, 1.0 / jnp.where(reached, squared, 1.0), 0.0)
    return summed * jnp.reshape(gain, (*[1] * (summed.ndim - 1), -1))
