"""A corpus in memory, from waveforms as they are."""

from __future__ import annotations

from isincnet_jax.data.corpus import assemble, quantize


def corpus_from_arrays(waveforms, *, sample_rate):
    """The corpus of (name, group, float [time])."""
    parts = [(name, group, *quantize(waveform)) for name, group, waveform in waveforms]
    return assemble(parts, sample_rate=sample_rate, source="arrays")
