"""``isincnet stream``: from one file to another in chunks, as a real-time program would."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from isincnet_jax.cli.common import (
    InputFile,
    ModelOption,
    OutputAudio,
    TruncatedOption,
    app,
    positive,
    say,
)
from isincnet_jax.pretrained.load import DEFAULT_MODEL, load_codec

if TYPE_CHECKING:
    import numpy as np

    from isincnet_jax.bank.codec import Codec
    from isincnet_jax.bank.lapped_codec import LappedCodec
    from isincnet_jax.streaming.decoder import StreamDecoder
    from isincnet_jax.streaming.encoder import StreamEncoder
    from isincnet_jax.streaming.lapped import LappedStreamDecoder, LappedStreamEncoder

    Encoder = StreamEncoder | LappedStreamEncoder
    Decoder = StreamDecoder | LappedStreamDecoder


@app.command()
def stream(
    source: InputFile,
    target: OutputAudio,
    model: ModelOption = DEFAULT_MODEL,
    chunk_ms: Annotated[
        float,
        typer.Option(
            "--chunk-ms",
            help="Duration of a chunk in milliseconds.",
            callback=positive,
        ),
    ] = 10.0,
    low_latency: Annotated[
        bool,
        typer.Option(
            "--low-latency", help="Solve the decoder of the model's bank that waits least."
        ),
    ] = False,
    *,
    truncated: TruncatedOption = "refuse",
) -> None:
    """Encode and decode IN chunk by chunk, write OUT, and print the time that chunks took.

    Chunks are processed one after the other, as they would come from a microphone; the worst time
    must stay below a chunk's duration. OUT is aligned with IN: the latency is stated, not heard.
    """
    import jax

    from isincnet_jax.bank.lapped_codec import LappedCodec
    from isincnet_jax.data import audio_writing
    from isincnet_jax.recordings.encoder import open_recording
    from isincnet_jax.streaming.low_latency import low_latency_codec
    from isincnet_jax.streaming.stream import stream_decoder, stream_encoder

    # On a CPU, steps run in this thread: handing them to another one takes longer than they do.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    codec = load_codec(model)
    size = round(chunk_ms * 1e-3 * codec.spec.sample_rate)
    if size < 1:
        raise ValueError(f"--chunk-ms {chunk_ms:g}: less than one sample; use 1 or more")
    if low_latency:
        if isinstance(codec, LappedCodec):
            raise ValueError(
                f"--low-latency: {model} is orthonormal, its inverse has no other form; leave it "
                "out, or use a shorter hop, such as 16khz-lapped-fast has"
            )
        _check_designed(codec, model)
        codec = low_latency_codec(codec.spec, name=f"{codec.name}, low latency")
    encoder, decoder = stream_encoder(codec), stream_decoder(codec)
    info, read = open_recording(source, codec.spec.sample_rate, truncated=truncated, say=say)
    _compile(encoder, decoder, size, info.num_channels)
    times = _Times()
    length = audio_writing.write_blocks(
        target,
        times.converse(encoder, decoder, _rechunked(read(), size)),
        sample_rate=codec.spec.sample_rate,
        num_channels=info.num_channels,
        subtype=audio_writing.output_subtype(target, info.subtype),
    )
    _report(codec, decoder, encoder, size)
    times.report(size / codec.spec.sample_rate)
    say(f"wrote   {target}: {length / codec.spec.sample_rate:.2f} s")


def _check_designed(codec: Codec, model: str) -> None:
    """Refuses learned filters: the decoder of lowest latency is solved for those of the spec."""
    import numpy as np

    from isincnet_jax.streaming import weights as stream_weights

    found = np.asarray(stream_weights.analysis_kernels(codec))
    wanted = codec.spec.bank.kernels  # float64, those of the codec may be float32
    if found.shape != wanted.shape or np.max(np.abs(found - wanted)) > 1e-5 * np.max(
        np.abs(wanted)
    ):
        raise ValueError(
            f"--low-latency: the filters of {model} were learned, and no decoder of low latency is "
            "solved for such; leave it out"
        )


def _rechunked(blocks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Blocks [time, audio channels] as chunks [audio channels, size], the last one shorter."""
    import numpy as np

    rest: np.ndarray | None = None
    for block in blocks:
        rest = block if rest is None else np.concatenate([rest, block])
        whole = len(rest) // size * size
        for start in range(0, whole, size):
            yield np.ascontiguousarray(rest[start : start + size].T)
        rest = rest[whole:]
    if rest is not None and len(rest):
        yield np.ascontiguousarray(rest.T)


def _compile(encoder: Encoder, decoder: Decoder, size: int, channels: int) -> None:
    """Runs the steps that chunks of this size will need, before any time is taken."""
    import numpy as np

    from isincnet_jax.dsp.streams import LARGEST_STEP

    # The first frames may wait for as long as the latency, and then all come at once.
    most = min(-(-(size + encoder.latency) // encoder.spec.hop_length) + 1, LARGEST_STEP)
    blocks = 1
    while blocks <= most:
        silence = np.zeros((channels, blocks * encoder.spec.hop_length), np.float32)
        _, frames = encoder.advance(encoder.init(channels).context, silence)  # type: ignore[arg-type]
        np.asarray(decoder.advance(decoder.init(channels).history, frames)[1])
        blocks *= 2


class _Times:
    """Measures what every chunk takes."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def converse(
        self, encoder: Encoder, decoder: Decoder, chunks: Iterator[np.ndarray]
    ) -> Iterator[np.ndarray]:
        """Yields [time, audio channels], what came out during each chunk, and the rest."""
        state = back = None
        length = 0
        for chunk in chunks:
            if state is None or back is None:
                state, back = encoder.init(len(chunk)), decoder.init(len(chunk))
            begin = time.perf_counter()
            state, frames = encoder.step(state, chunk)
            back, samples = decoder.step(back, frames)
            self.seconds.append(time.perf_counter() - begin)
            length += chunk.shape[-1]
            yield samples.T
        if state is not None and back is not None and length:
            yield decoder.finish(back, encoder.finish(state), length=length).T

    def report(self, duration_s: float) -> None:
        """Prints the worst and the mean time against the chunk's duration."""
        import statistics

        if not self.seconds:
            return
        worst, mean = max(self.seconds), statistics.fmean(self.seconds)
        late = sum(second > duration_s for second in self.seconds)
        say(
            f"chunks  {len(self.seconds)} of {1e3 * duration_s:g} ms: worst "
            f"{1e3 * worst:.3f} ms ({duration_s / worst:.0f} x real time), mean "
            f"{1e3 * mean:.3f} ms ({duration_s / mean:.0f} x real time)"
        )
        say(f"late    {late} of {len(self.seconds)} chunks took longer than they last")


def _report(codec: Codec | LappedCodec, decoder: Decoder, encoder: Encoder, size: int) -> None:
    rate = codec.spec.sample_rate
    say(
        f"model   {codec.name}: {codec.spec.num_channels} channels, "
        f"{codec.spec.frame_rate_hz:g} frames/s"
    )
    say(
        f"latency {decoder.total_latency} samples ({1e3 * decoder.total_latency / rate:.2f} ms): "
        f"encoder {encoder.latency}, decoder {decoder.latency}; a chunk adds up to its own {size}"
    )
