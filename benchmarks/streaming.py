"""Streaming on one core: seconds per chunk, encoder and decoder together, as real time needs them.

    python benchmarks/streaming.py [--seconds 10] [--write]

White noise in chunks through ``stream_encoder`` and ``stream_decoder``, after compilation, the
process bound to one core. Per chunk: the median, the 99th percentile and the worst of wall-clock
time, which other processes on the machine make worse, and the mean of processor time, which they
disturb less. Asked: chunks of 10 ms at 16 kHz at least 20 x faster than real time. The last column
is the SNR of what comes out, the latency what encoder and decoder together need to look ahead.
Then ``stream_vocoder`` of 22khz-speech-vocoder on magnitudes of the same noise, whose SNR says
nothing: its phases are others. Asked: 20 x real time by 8 frames.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

# One core, and no pool of threads to share a product among; before XLA starts.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import common
import jax
import numpy as np

import isincnet_jax as isn
from isincnet_jax.streaming.decoder import StreamDecoder
from isincnet_jax.streaming.encoder import StreamEncoder
from isincnet_jax.streaming.low_latency import low_latency_codec
from isincnet_jax.streaming.stream import stream_decoder, stream_encoder

# Steps run in the calling thread: handing them to another one takes longer than they do.
jax.config.update("jax_cpu_enable_async_dispatch", False)

ASKED = 20.0
CHUNKS_MS = (2.0, 10.0, 50.0)
VOCODER = "22khz-speech-vocoder"
VOCODER_FRAMES = (1, 8, 32)
CAUSAL = {"sample_rate": 16_000, "hop_length": 125, "num_bins": 128, "shape": "none"}


def codecs() -> dict[str, isn.Codec]:
    causal = isn.FilterbankSpec(**CAUSAL, causal=True)
    return {
        "16khz-linear": isn.from_pretrained("16khz-linear"),
        "16 kHz causal, low latency": low_latency_codec(causal),
        "16khz-linear-causal": isn.from_pretrained("16khz-linear-causal"),
        "44khz-linear": isn.from_pretrained("44khz-linear"),
    }


def converse(
    encoder: StreamEncoder, decoder: StreamDecoder, waveform: np.ndarray, size: int
) -> tuple[list[float], float, np.ndarray]:
    """Wall-clock seconds per chunk, processor seconds in all, and what came out."""
    state, back, parts, seconds = encoder.init(1), decoder.init(1), [], []
    used = time.process_time()
    for start in range(0, waveform.shape[1], size):
        begin = time.perf_counter()
        state, frames = encoder.step(state, waveform[:, start : start + size])
        back, samples = decoder.step(back, frames)
        seconds.append(time.perf_counter() - begin)
        parts.append(samples)
    used = time.process_time() - used
    parts.append(decoder.finish(back, encoder.finish(state), length=waveform.shape[1]))
    return seconds, used, np.concatenate(parts, axis=1)


def measure(codec: isn.Codec, chunk_ms: float, seconds: float) -> dict[str, float]:
    encoder, decoder = stream_encoder(codec), stream_decoder(codec)
    rate = codec.spec.sample_rate
    size = round(1e-3 * chunk_ms * rate)
    generator = np.random.default_rng(common.SEED)
    waveform = generator.uniform(-1, 1, (1, round(seconds * rate))).astype(np.float32)
    converse(encoder, decoder, waveform[:, : 50 * size], size)  # compiles
    walls, used, decoded = converse(encoder, decoder, waveform, size)
    return {
        "latency_ms": 1e3 * decoder.total_latency / rate,
        **times(walls, used, size / rate),
        "snr_db": common.snr_db(waveform, decoded),
    }


def times(walls: list[float], used: float, duration: float) -> dict[str, float]:
    """Of steps, by seconds on the wall, of the processor in all, and of the sound of a step."""
    processor = used / len(walls)
    return {
        "median_ms": 1e3 * statistics.median(walls),
        "p99_ms": 1e3 * float(np.quantile(walls, 0.99)),
        "worst_ms": 1e3 * max(walls),
        "processor_ms": 1e3 * processor,
        # Of the mean: many short chunks only wait for a whole hop.
        "wall_x_real_time": duration / statistics.fmean(walls),
        "processor_x_real_time": duration / processor,
    }


def measure_vocoder(frames: int, seconds: float) -> dict[str, float]:
    """Times of a vocoder's steps of so many frames each."""
    vocoder = isn.from_pretrained(VOCODER)
    stream, rate = isn.stream_vocoder(vocoder), vocoder.sample_rate
    generator = np.random.default_rng(common.SEED)
    noise = generator.uniform(-1, 1, round(seconds * rate)).astype(np.float32)
    magnitude = np.asarray(vocoder.spectrogram(noise))
    state, walls = stream.init(), []
    for _ in range(3):  # the first frames wait; the last of three steps is one as all are: compiles
        state, _ = stream.step(state, magnitude[:frames])
    used = time.process_time()
    for start in range(0, len(magnitude) - frames + 1, frames):
        begin = time.perf_counter()
        state, _ = stream.step(state, magnitude[start : start + frames])
        walls.append(time.perf_counter() - begin)
    used = time.process_time() - used
    return {
        "latency_ms": 1e3 * stream.total_latency / rate,
        **times(walls, used, frames * vocoder.features.hop_length / rate),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of audio per row")
    parser.add_argument("--write", action="store_true", help="write results/streaming.json")
    args = parser.parse_args()
    found = {
        f"{name}, {chunk_ms:g} ms": measure(codec, chunk_ms, args.seconds)
        for name, codec in codecs().items()
        for chunk_ms in CHUNKS_MS
    }
    columns = list(next(iter(found.values())))
    rows = [[name, *[f"{row[key]:.3g}" for key in columns]] for name, row in found.items()]
    common.print_table("chunks on one core", ["codec, chunk", *columns], rows)
    spoken = {str(count): measure_vocoder(count, args.seconds) for count in VOCODER_FRAMES}
    rows = [[name, *[f"{value:.3g}" for value in row.values()]] for name, row in spoken.items()]
    common.print_table(f"{VOCODER} on one core", ["frames", *columns[:-1]], rows)
    slowest = min(
        row["wall_x_real_time"]
        for name, row in found.items()
        if name.startswith("16") and name.endswith(" 10 ms")
    )
    print(f"\n10 ms at 16 kHz: {slowest:.0f} x real time at the least, asked {ASKED:g}")
    if args.write:
        common.write_results(
            "streaming",
            {
                **common.describe_run(args, load_average=common.load_average()),
                "asked": ASKED,
                "least_x_real_time_16khz_10ms": slowest,
                "rows": found,
                "vocoder": spoken,
            },
        )


if __name__ == "__main__":
    main()
