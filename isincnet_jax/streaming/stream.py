"""Streaming: a filterbank and its inverse on signals that arrive piece by piece.

``stream_encoder`` and ``stream_decoder`` make frozen objects with pure steps over explicit states;
what they put out, put end to end, equals the offline ``encode`` and ``decode`` up to the order of
float32 sums. Chunks may have any size, 0 and 1 included: samples wait on the host until they make
whole blocks of one hop, and blocks are processed in powers of two up to 64, so that whatever the
chunks are, at most seven shapes per direction and batch are compiled
(:data:`.streams.NUM_COMPILED_SHAPES`).

Latencies follow from the filters: a frame is complete ``trail`` samples after its position, and an
output sample waits for the last frame whose synthesis kernels reach back to it, ``lead`` samples.
A causal bank has no trail, and :func:`.low_latency.low_latency_codec` the decoder that waits least.

On a CPU a step takes tens of microseconds. ``jax.config.update("jax_cpu_enable_async_dispatch",
False)`` before the first use of JAX runs it in the calling thread and saves two changes of threads
per call, which take longer than that, and much longer on a busy machine.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, overload, runtime_checkable

import jax
import jax.numpy as jnp

from isincnet_jax.bank.codec import Codec
from isincnet_jax.bank.lapped_bank import LappedBank
from isincnet_jax.bank.lapped_codec import LappedCodec
from isincnet_jax.bank.lapped_spec import LappedSpec
from isincnet_jax.bank.sincnet import SincNet
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.streaming import framing as streaming
from isincnet_jax.streaming import weights as stream_weights
from isincnet_jax.streaming.decoder import StreamDecoder
from isincnet_jax.streaming.encoder import StreamEncoder
from isincnet_jax.streaming.lapped import LappedStreamDecoder, LappedStreamEncoder

NEGLIGIBLE = 1e-8
"""Root energy of the ends of synthesis kernels that float32 streams leave out, relative to the
whole: -160 dB, below float32 rounding. It lowers the latency of least-squares decoders."""

Source: TypeAlias = FilterbankSpec | SincNet | Codec
LappedSource: TypeAlias = LappedSpec | LappedBank | LappedCodec


@runtime_checkable
class OwnStream(Protocol):
    """What makes its own streams: sliced filterbanks, whose wing this one does not know."""

    def stream_encoder(self) -> Any:
        """Encoder with ``init``, ``step`` and ``finish``."""
        ...

    def stream_decoder(self) -> Any:
        """Decoder with ``init``, ``step`` and ``finish``."""
        ...


@overload
def stream_encoder(source: Source) -> StreamEncoder: ...
@overload
def stream_encoder(source: LappedSource) -> LappedStreamEncoder: ...
@overload
def stream_encoder(source: OwnStream) -> Any: ...
def stream_encoder(source: Source | LappedSource | OwnStream) -> Any:
    """Stream encoder: the streaming form of an analysis.

    Args:
        source: a spec, for its designed filters; a SincNet, for those at its initialisation; or a
            Codec, for those that it has, learned ones included. Likewise of lapped banks. Or a
            sliced filterbank, whose frames come slice by slice.

    Returns:
        The encoder; ``init``, ``step`` and ``finish`` run it.

    Raises:
        TypeError: for anything else.
        ValueError: for filters that reach beyond the support of the spec's.

    Example:
        >>> import numpy as np
        >>> spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
        >>> encoder = stream_encoder(spec)
        >>> state, frames = encoder.step(encoder.init(), np.ones(100, np.float32))
        >>> last = encoder.finish(state)
        >>> encoder.latency, frames.shape, last.shape
        (15, (12, 18), (4, 18))
    """
    if isinstance(source, LappedSource):
        return LappedStreamEncoder(*_lapped(source))
    if isinstance(source, OwnStream):
        return source.stream_encoder()
    spec, dtype, precision = stream_weights.settings(source)
    bank = spec.bank
    found = streaming.analysis_matrix(
        stream_weights.analysis_kernels(source),
        lead=bank.lead,
        trail=bank.trail,
        hop_length=spec.hop_length,
    )
    return StreamEncoder(spec, jnp.asarray(found.matrix, dtype), found.lead, precision)


@overload
def stream_decoder(source: Source) -> StreamDecoder: ...
@overload
def stream_decoder(source: LappedSource) -> LappedStreamDecoder: ...
@overload
def stream_decoder(source: OwnStream) -> Any: ...
def stream_decoder(source: Source | LappedSource | OwnStream) -> Any:
    """Stream decoder: the streaming form of a synthesis; every decoder here is a linear, local one.

    Args:
        source: a spec, for its default decoder; a SincNet, for the decoder at its initialisation;
            or a Codec, for the weights that it has. Likewise of lapped banks. Or a sliced
            filterbank.

    Returns:
        The decoder; ``init``, ``step`` and ``finish`` run it.

    Raises:
        TypeError: for anything else.
        ValueError: for reflect padding with a decoder that is solved from the spec: the ends of
            such clips are decoded from many frames at once, and the beginning of a signal would
            have to wait for them.

    Example:
        >>> import numpy as np
        >>> spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
        >>> encoder, decoder = stream_encoder(spec), stream_decoder(spec)
        >>> waveform = np.linspace(-1, 1, 100, dtype=np.float32)
        >>> listening, frames = encoder.step(encoder.init(), waveform)
        >>> speaking, samples = decoder.step(decoder.init(), frames)
        >>> rest = decoder.finish(speaking, encoder.finish(listening), length=100)
        >>> bool(np.allclose(np.concatenate([samples, rest]), waveform, atol=1e-5))
        True
    """
    if isinstance(source, LappedSource):
        return LappedStreamDecoder(*_lapped(source))
    if isinstance(source, OwnStream):
        return source.stream_decoder()
    spec, dtype, precision = stream_weights.settings(source)
    if stream_weights.has_solved_edges(source):
        raise ValueError(
            "padding='reflect' with a fixed decoder: the ends of a clip are decoded from many "
            "frames at once, the beginning of a stream cannot; use spec.replace(padding='zeros'), "
            "whose frames serve all of the signal, or learnable_decoder=True, which decodes the "
            "ends like the rest"
        )
    found = synthesis_step(source, spec, dtype)
    return StreamDecoder(spec, jnp.asarray(found.matrix, dtype), found.lead, precision)


def _lapped(source: LappedSource) -> tuple[LappedSpec, jax.Array]:
    """Spec of a lapped bank, and the angles of the window in use."""
    if isinstance(source, LappedCodec):
        return source.spec, jnp.asarray(source.window_angles(), source.model.dtype)
    # A bank learns from the angles of its spec on.
    bank = LappedBank(source) if isinstance(source, LappedSpec) else source
    return bank.spec, jnp.asarray(bank.spec.window_angles(), bank.dtype)


def synthesis_step(source: Source, spec: FilterbankSpec, dtype: Any) -> streaming.StreamKernels:
    """Synthesis matrix of a codec, module or spec, without what is negligible in a dtype.

    Args:
        source: whose weights are used.
        spec: of the bank.
        dtype: of the stream; only float32 has negligible taps.

    Returns:
        The matrix [frames * channels, hop], float64, and its lead.
    """
    weights = stream_weights.synthesis_kernels(source)
    bank, hop = spec.bank, spec.hop_length
    return streaming.synthesis_matrix(
        weights.values,
        lead=weights.lead,
        hop_length=hop,
        # Nothing is given out before it has come in, nor before the beginning.
        least_lead=max(hop - 1 - bank.trail, spec.bank.frame_grid(1).first * hop),
        negligible=NEGLIGIBLE if jnp.dtype(dtype) == jnp.float32 else 0.0,
    )
