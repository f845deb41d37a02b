"""Device-resident corpora: crops are drawn inside the compiled step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Int16, Int32

from isincnet_jax.data.corpus import Corpus
from isincnet_jax.training import parallel
from isincnet_jax.training.step import AXIS


class ResidentCorpus(NamedTuple):
    """A corpus as arrays, to be copied to every device.

    Attributes:
        samples: all tracks one after the other, int16 [time].
        starts: first sample of each track, int32 [tracks].
        lengths: samples of each track, int32 [tracks].
        scales: factor from integers to the waveform, float32 [tracks].
    """

    samples: Int16[Any, " time"]
    starts: Int32[Any, " tracks"]
    lengths: Int32[Any, " tracks"]
    scales: Float[Any, " tracks"]


def resident_corpus(
    samples: np.ndarray, *, starts: Any, lengths: Any, scales: Any, crop_samples: int
) -> ResidentCorpus:
    """Checks and packs a corpus.

    Args:
        samples: all tracks one after the other, int16 [time].
        starts: first sample of each track, [tracks].
        lengths: samples of each track, [tracks].
        scales: factors from integers to the waveform, [tracks].
        crop_samples: length of the clips that will be drawn.

    Returns:
        NumPy arrays in the dtypes of :class:`ResidentCorpus`, to be replicated.

    Raises:
        ValueError: for more than 2^31 samples, no tracks, or tracks shorter than the crop.
    """
    lengths = np.asarray(lengths, np.int64)  # checked before they are cut to int32
    if not len(lengths):
        raise ValueError("the corpus has no tracks; look at the splits and the source")
    if samples.size >= 1 << 31:  # starts are int32, as JAX's indices are by default
        raise ValueError(
            f"{samples.size} samples are too many for one device array; use loader='numpy'"
        )
    if lengths.min() < crop_samples:
        raise ValueError(
            f"crop_samples={crop_samples}: the shortest track has {lengths.min()}; use that or less"
        )
    return ResidentCorpus(
        np.ascontiguousarray(samples, np.int16),
        np.asarray(starts, np.int32),
        lengths.astype(np.int32),
        np.asarray(scales, np.float32),
    )


def resident_batches(
    corpus: Corpus, *, crop_samples: int
) -> Callable[[int], Iterator[ResidentCorpus]]:
    """A corpus on the devices in place of batches: every step draws its clips from the same one.

    Args:
        corpus: copied to all devices, now.
        crop_samples: length of the clips that will be drawn.

    Returns:
        Batches from a step on, without end; for ``batches`` of a task.

    Raises:
        ValueError: see :func:`resident_corpus`.
    """
    placed = parallel.replicate(
        resident_corpus(
            corpus.samples,
            starts=[track.start for track in corpus.tracks],
            lengths=corpus.lengths,
            scales=[track.scale for track in corpus.tracks],
            crop_samples=crop_samples,
        )
    )
    return lambda start_step: itertools.repeat(placed)  # the step itself knows its number


def crop_drawer(
    *, crop_samples: int, clips_per_device: int, seed: int, axis_name: str = AXIS
) -> Callable[[ResidentCorpus, jax.Array], Float[jax.Array, "clips time"]]:
    """Random crops on the device: a function from the corpus and the step to this device's clips.

    Clip ``k`` of the run, over all devices and steps, takes a uniform track and a uniform start
    from a key of its own: the batches do not depend on the number of devices. (Unlike on the
    host, a track may come twice before all have come once.)

    Args:
        crop_samples: length of a clip; no track is shorter.
        clips_per_device: clips of the batch that each device draws.
        seed: of the draws, apart from the parameters' one.
        axis_name: of the mapped axis of devices; the function must run under it.

    Returns:
        (corpus, step) to float32 [clips_per_device, crop_samples]; for ``draw`` of
        :func:`.step.make_step`.
    """

    def draw(corpus: ResidentCorpus, step: jax.Array) -> jax.Array:
        step_key = jax.random.fold_in(jax.random.key(seed), step)
        # Places within the batch of all devices: clip k is the same wherever it is drawn.
        index = lax.axis_index(axis_name) * clips_per_device + jnp.arange(clips_per_device)

        def one(item: jax.Array) -> jax.Array:
            track_key, start_key = jax.random.split(jax.random.fold_in(step_key, item))
            track = jax.random.randint(track_key, (), 0, corpus.lengths.shape[0])
            room = corpus.lengths[track] - crop_samples + 1  # starts within the track
            start = corpus.starts[track] + jax.random.randint(start_key, (), 0, room)
            # Starts within a track leave the crop within it: nothing is clamped.
            integers = lax.dynamic_slice(corpus.samples, (start,), (crop_samples,))
            return integers.astype(jnp.float32) * corpus.scales[track]

        return jax.vmap(one)(index)

    return draw
