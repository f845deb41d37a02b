"""Sounds for tests of token files, and what the files hold."""

from __future__ import annotations

import functools

import numpy as np

import isincnet_jax as isn
from isincnet_jax.tokens import token_writer
from isincnet_jax.tokens.token_file import TokenReader

SPEC = isn.LappedSpec(sample_rate=8000, hop_length=64)


def music(rng, length, num_audio=1):
    """Decaying tones with some noise, [time, audio channels]."""
    time = np.arange(length)[:, None]
    tones = sum(
        np.sin(frequency * time + phase) * np.exp(-time % 900 / 300)
        for frequency, phase in zip(rng.uniform(0.05, 1.5, 4), rng.uniform(0, 6, 4), strict=True)
    )
    sound = tones * rng.uniform(0.5, 1.0, num_audio) + 0.01 * rng.standard_normal((length, 1))
    return (0.1 * sound).astype(np.float32)


def write(path, samples, **options):
    options = {"spec": SPEC, **options}
    blocks = [samples[:37], samples[37:]] if len(samples) > 37 else [samples]
    return token_writer.write_token_file(path, functools.partial(iter, blocks), **options)


def samples_of(path):
    with TokenReader(path) as reader:
        return np.concatenate(list(reader.samples()))


def codes_of(path):
    with TokenReader(path) as reader:
        return reader.codes()


def snr_db(target, found):
    noise = np.sum(np.square(target.astype(np.float64) - found))
    return 10 * np.log10(np.sum(np.square(target, dtype=np.float64)) / noise)
