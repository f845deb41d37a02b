"""Training data of synthesizer estimators: made on the device from keys, or read from a corpus."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from isincnet_jax.inversynth.corpus import open_synth_corpus
from isincnet_jax.inversynth.features import NUM_SAMPLES, SAMPLE_RATE
from isincnet_jax.inversynth.synth.parameters import values_from_levels
from isincnet_jax.inversynth.synth.render import render
from isincnet_jax.inversynth.synth.sampling import sample_levels
from isincnet_jax.inversynth.training import Sounds, Split, stream_drawer, stream_key
from isincnet_jax.tasks.config import Config
from isincnet_jax.training import parallel

SOURCES = ("stream", "disk")


class Data(NamedTuple):
    """The sounds of a run.

    Attributes:
        clips_per_epoch: of training.
        batches: from a step on, placed on the devices.
        draw: for the step, where sounds are made in it.
        held_out: (split, clips wanted, clips of a batch) to batches of waveforms [clips, time] and
            levels [clips, 23], the same whenever it is called.
        identity: what a checkpoint must have been made with to go on.
    """

    clips_per_epoch: int
    batches: Callable[[int], Iterator[Any]]
    draw: Callable[..., Sounds] | None
    held_out: Callable[[Split, int, int], Iterator[tuple[np.ndarray, np.ndarray]]]
    identity: dict[str, Any]


def sounds_of_levels(levels: Any) -> jax.Array:
    """Waveforms [clips, 16384] of quantised synthesizer settings.

    Args:
        levels: int32 [clips, 23], 0 to 15.

    Returns:
        float32, at 16,384 Hz.
    """
    return render(values_from_levels(levels))


_render_levels = jax.jit(sounds_of_levels)
_sample = jax.jit(sample_levels, static_argnums=1)


def build_data(config: Config) -> Data:
    """The sounds of a config.

    Args:
        config: ``data``, ``evaluation`` and ``seed``.

    Returns:
        Batches on the devices, held-out sounds, and what identifies them.

    Raises:
        ValueError: for an unknown source, or a batch that devices cannot share.
        CorpusError, OSError: if a corpus on disk is missing or damaged.
    """
    source = config.data.source
    if source not in SOURCES:
        raise ValueError(f"data.source={source!r} is unknown; use {' or '.join(SOURCES)}")
    parallel.check_batch(config.data.batch_size)
    counts = {
        "data.clips_per_epoch": config.data.clips_per_epoch,
        **{
            f"evaluation.{name}": config.evaluation[name]
            for name in ("validation_clips", "test_clips", "batch_size")
        },
    }
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}={count} must be at least 1")
    return _stream(config) if source == "stream" else _disk(config)


def _stream(config: Config) -> Data:
    seed, size = config.seed, config.data.batch_size
    draw = stream_drawer(
        sample_levels,
        sounds_of_levels,
        batch_size=size,
        clips_per_device=parallel.check_batch(size),
        seed=seed,
    )

    def batches(start_step: int) -> Iterator[Any]:
        del start_step  # the step itself knows its number
        nothing = parallel.replicate(np.zeros((), np.float32))
        while True:
            yield nothing

    def held_out(split: Split, count: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        key = stream_key(seed, split)
        for number in range(-(-count // size)):
            levels = _sample(jax.random.fold_in(key, number), size)
            # One compiled shape; what the last batch has too many of is cut off.
            few = min(size, count - number * size)
            yield np.asarray(_render_levels(levels))[:few], np.asarray(levels)[:few]

    return Data(config.data.clips_per_epoch, batches, draw, held_out, {})


def _disk(config: Config) -> Data:
    corpus = open_synth_corpus(
        config.data.name, directory=config.data.path, waves=config.data.waves
    )
    found = (corpus.settings.sample_rate, corpus.settings.num_samples)
    if found != (SAMPLE_RATE, NUM_SAMPLES):
        raise ValueError(
            f"{corpus.files.labels}: {found[1]} samples at {found[0]} Hz; the networks take "
            f"{NUM_SAMPLES} at {SAMPLE_RATE} Hz: generate them with their defaults"
        )
    indices = split_indices(len(corpus.levels), config.data.held_out)
    size = config.data.batch_size
    if len(indices["train"]) < size:
        raise ValueError(
            f"data.batch_size={size}: there are {len(indices['train'])} sounds to train with; use "
            "fewer in a batch, or generate more"
        )

    def read(some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return corpus.waveforms(some), corpus.levels[some].astype(np.int32)

    def batches(start_step: int) -> Iterator[Any]:
        return parallel.prefetched(
            read(some) for some in _orders(indices["train"], size, config.seed, start_step)
        )

    def held_out(split: Split, count: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        chosen = indices[split][:count]
        for start in range(0, len(chosen), size):
            yield read(chosen[start : start + size])

    # Sounds would change sides if there were others, or if they were divided otherwise.
    digest = hashlib.sha256(np.ascontiguousarray(corpus.levels).tobytes()).hexdigest()
    identity = {"sounds": digest, "held_out": config.data.held_out}
    return Data(len(indices["train"]), batches, None, held_out, identity)


def split_indices(count: int, held_out: float) -> dict[Split, np.ndarray]:
    """Splits of a corpus of sounds: the last are for the test, those before them for validation.

    Args:
        count: sounds in all.
        held_out: share of the test, and of validation: above 0, below a half.

    Returns:
        Indices by split, int64, ascending; together each of 0 to ``count - 1`` once.

    Raises:
        ValueError: for a share that leaves a split without sounds.
    """
    each = round(count * held_out) if 0 < held_out < 1 else 0
    if each < 1 or count - 2 * each < 1:
        raise ValueError(
            f"data.held_out={held_out} of {count} sounds leaves a split empty; use 0.1, or "
            "generate more"
        )
    train, validation, test = np.split(np.arange(count), (count - 2 * each, count - each))
    return {"train": train, "validation": validation, "test": test}


def _orders(indices: np.ndarray, size: int, seed: int, start_step: int) -> Iterator[np.ndarray]:
    """This host's share of the batches from a step on; every epoch in an order of its own."""
    per_epoch = len(indices) // size
    share = size // jax.process_count()
    first = jax.process_index() * share
    order = indices
    for step in itertools.count(start_step):
        # Sounds that fill no batch are left out of an epoch; another order leaves out others.
        epoch, place = divmod(step, per_epoch)
        if place == 0 or step == start_step:
            order = np.random.default_rng((seed, epoch)).permutation(indices)
        yield order[place * size + first : place * size + first + share]
