"""``isincnet reconstruct``: encode, decode, and say how close it is."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from isincnet_jax.cli.common import (
    DEFAULT_MODEL,
    BitsOption,
    InputFile,
    ModelOption,
    OutputAudio,
    RefinementsOption,
    ScalesOption,
    TruncatedOption,
    app,
    fitted_quantizer,
    load_model,
    open_input,
    say,
)

if TYPE_CHECKING:
    import numpy as np

    from isincnet_jax.bank.codec import Codec
    from isincnet_jax.bank.quantizer import Quantizer


@app.command()
def reconstruct(
    source: InputFile,
    target: OutputAudio,
    model: ModelOption = DEFAULT_MODEL,
    q_bits: BitsOption = None,
    scales: ScalesOption = "signal",
    *,
    refinements: RefinementsOption = 0,
    truncated: TruncatedOption = "refuse",
) -> None:
    """Encode and decode IN, write the result to OUT, and print how close it is.

    OUT has the model's sample rate and all channels of IN. Long files are processed in blocks.
    """
    from isincnet_jax.data import audio_writing

    begin = time.perf_counter()
    codec = load_model(model)
    info, read = open_input(source, codec, truncated)
    subtype = audio_writing.output_subtype(target, info.subtype)
    quantizer = fitted_quantizer(codec, read, q_bits, scales)
    meter = _Meter()
    audio_writing.write_blocks(
        target,
        meter.reconstruct(codec, read(), quantizer, refinements),
        sample_rate=codec.spec.sample_rate,
        num_channels=info.num_channels,
        subtype=subtype,
    )
    elapsed = time.perf_counter() - begin
    bits = f", {q_bits} bits" if q_bits is not None else ""
    say(
        f"model   {codec.name}: {codec.spec.num_channels} channels, "
        f"{codec.spec.frame_rate_hz:g} frames/s{bits}"
    )
    meter.report()
    length = meter.sums.count // info.num_channels
    speed = _compiled_speed(codec, info.num_channels, length)
    say(f"speed   {speed:.0f} x real time once compiled ({elapsed:.1f} s in all)")
    rounding = "" if subtype in ("FLOAT", "DOUBLE") else " (the figures are from before it rounds)"
    say(f"wrote   {target}: {length / codec.spec.sample_rate:.2f} s, {subtype}{rounding}")


class _Meter:
    """Counts errors and clipping while blocks pass by."""

    def __init__(self) -> None:
        from isincnet_jax.dsp import distances

        self.sums = distances.ErrorSums()
        self.clipped = 0

    def reconstruct(
        self,
        codec: Codec,
        source: Iterator[np.ndarray],
        quantizer: Quantizer | None,
        refinements: int,
    ) -> Iterator[np.ndarray]:
        """Yields the reconstruction of a sequence of blocks."""
        import numpy as np

        from isincnet_jax.bank import long_signals
        from isincnet_jax.dsp import distances

        pairs = long_signals.reconstruct_blocks(
            codec, source, quantizer=quantizer, refinements=refinements
        )
        for target, prediction in pairs:
            self.sums += distances.error_sums(prediction=prediction, target=target)
            self.clipped += int(np.count_nonzero(np.abs(prediction) > 1.0))
            yield prediction

    def report(self) -> None:
        """Prints the figures."""
        sums = self.sums
        beyond = f" ({self.clipped} samples beyond full scale)" if self.clipped else ""
        say(f"MSE     {sums.mse:.3e}")
        say(f"MAE     {sums.mae:.3e}")
        say(f"SNR     {_decibel_text(sums.snr_db)}")
        say(f"SI-SDR  {_decibel_text(sums.si_sdr_db)}")
        say(f"peak    {sums.prediction_peak:.4f}{beyond}")


def _decibel_text(value_db: float) -> str:
    if math.isinf(value_db):
        return "inf dB (no error)" if value_db > 0 else "-inf dB (silent input)"
    return f"{value_db:.2f} dB"


def _compiled_speed(codec: Codec, num_channels: int, length: int) -> float:
    """Encoding and decoding of one block once compiled, as a multiple of real time."""
    import jax
    import numpy as np

    length = min(length, 16 * codec.spec.sample_rate)
    noise = np.random.default_rng(0).uniform(-1, 1, (num_channels, length)).astype(np.float32)
    seconds = math.inf
    for _ in range(3):
        begin = time.perf_counter()
        jax.block_until_ready(codec.decode(codec.encode(noise), length=length))
        seconds = min(seconds, time.perf_counter() - begin)
    return length / codec.spec.sample_rate / seconds
