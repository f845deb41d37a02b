"""Polish by fast Griffin-Lim behind a vocoder, part by part, towards the given magnitudes."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array, Waveform
from isincnet_jax.vocoders import blocks as vocoder_blocks
from isincnet_jax.vocoders import compression as vocoder_features
from isincnet_jax.vocoders.features import VocoderFeatures, frame_windows


def check_polish(features: VocoderFeatures, num_iterations: int) -> None:
    """Refuses polishing towards features that are no magnitudes of an STFT.

    Args:
        features: of the vocoder.
        num_iterations: 0 or more; 0 is allowed with any features.

    Raises:
        ValueError: for fewer than 0, or more with features of another kind than "linear".
    """
    if num_iterations < 0:
        raise ValueError(f"polish={num_iterations} must be 0 or more iterations, say 5")
    if num_iterations and features.kind != "linear":
        raise ValueError(
            f"polish={num_iterations}: iterations lead to the magnitudes of an STFT, which "
            f"spectrograms of kind={features.kind!r} are not; use polish=0, or a vocoder of "
            "kind='linear'"
        )


def _polish_context(features: VocoderFeatures, num_iterations: int) -> int:
    """How many frames around a sample the iterations look at.

    Each is an analysis and a synthesis: half a window, and half a window more. Where there are
    fewer frames than that, the padding of the ends is seen, half of ``n_fft``.
    """
    samples = max(num_iterations * features.win_length, features.n_fft // 2)
    return -(-samples // features.hop_length) + 1


@settles
def polished_blocks(
    blocks: Iterable[Float[np.ndarray, "batch samples"]],
    spectrogram: Any,
    *,
    features: VocoderFeatures,
    length: int,
    num_iterations: int,
    chunk_frames: int,
) -> Iterator[Float[np.ndarray, "batch samples"]]:
    """Polishes a waveform that comes in blocks, in constant memory.

    Parts overlap by what the iterations reach, so that they make what the whole would make.

    Args:
        blocks: consecutive samples, ``length`` altogether.
        spectrogram: magnitudes [batch, frames, bins] that they should have, an array or what is
            sliced like one.
        features: of the spectrogram, see :func:`check_polish`.
        length: samples.
        num_iterations: 1 or more, see :func:`.blocks.polished`.
        chunk_frames: frames of a part, without its context.

    Yields:
        Consecutive samples.
    """
    hop, context = features.hop_length, _polish_context(features, num_iterations)
    ahead = iter(blocks)
    held, first = next(ahead), 0
    for window in frame_windows(spectrogram.shape[1], chunk=chunk_frames, context=context):
        start, stop = window.start * hop, min(window.stop * hop, length)
        if start >= stop:
            return
        end = min(window.end * hop, length)
        # What is needed again of the last part, and as many new blocks as reach the window's end.
        parts = [held[:, window.begin * hop - first :]]
        first = window.begin * hop
        while first + sum(part.shape[1] for part in parts) < end:
            parts.append(next(ahead))
        held = np.concatenate(parts, axis=1)
        magnitude = np.asarray(spectrogram[:, window.begin : window.end])
        vocoder_features.check_spectrogram(magnitude, num_bins=features.num_bins)
        samples = polished(
            held[:, : end - first], magnitude, features=features, num_iterations=num_iterations
        )
        yield np.asarray(samples)[:, start - first : stop - first]


@functools.partial(jax.jit, static_argnames=("features", "num_iterations"))
def polished(
    waveform: Waveform,
    magnitude: Float[Array, "batch frames bins"],
    *,
    features: VocoderFeatures,
    num_iterations: int,
) -> jax.Array:
    """Polishes whole waveforms.

    Args:
        waveform: [batch, time].
        magnitude: [batch, frames, bins] that they should have.
        features: of the magnitude, see :func:`check_polish`.
        num_iterations: 0 or more, see :func:`.blocks.polished`.

    Returns:
        [batch, time], in the dtype of the waveform.
    """
    wide = jnp.float64 if waveform.dtype == jnp.float64 else jnp.float32
    found = vocoder_blocks.polished(
        waveform.astype(wide),
        magnitude.astype(wide),
        n_fft=features.n_fft,
        hop_length=features.hop_length,
        win_length=features.win_length,
        num_iterations=num_iterations,
    )
    return jnp.asarray(found).astype(waveform.dtype)
