"""``isincnet reconstruct``: encode, decode, and say how close it is."""

from __future__ import annotations

import math

from isincnet_jax.cli.common import (
    BitsOption,
    InputFile,
    ModelOption,
    OutputAudio,
    RefinementsOption,
    ScalesOption,
    TruncatedOption,
    app,
    say,
)
from isincnet_jax.pretrained.load import DEFAULT_MODEL


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
    from isincnet_jax.recordings import round_trip

    found = round_trip.reconstruct_file(
        source,
        target,
        model=model,
        q_bits=q_bits,
        scales=scales,
        refinements=refinements,
        truncated=truncated,
        with_speed=True,
        say=say,
    )
    spec = found.codec.spec
    bits = f", {q_bits} bits" if q_bits is not None else ""
    beyond = f" ({found.clipped} samples beyond full scale)" if found.clipped else ""
    rounding = " (the figures are from before it rounds)" if found.is_rounded else ""
    say(
        f"model   {found.codec.name}: {spec.num_channels} channels, "
        f"{spec.frame_rate_hz:g} frames/s{bits}"
    )
    say(f"MSE     {found.mse:.3e}")
    say(f"MAE     {found.mae:.3e}")
    say(f"SNR     {_decibel_text(found.snr_db)}")
    say(f"SI-SDR  {_decibel_text(found.si_sdr_db)}")
    say(f"peak    {found.peak:.4f}{beyond}")
    say(f"speed   {found.speed:.0f} x real time once compiled ({found.seconds:.1f} s in all)")
    say(f"wrote   {target}: {found.length / spec.sample_rate:.2f} s, {found.subtype}{rounding}")


def _decibel_text(value_db: float) -> str:
    if math.isinf(value_db):
        return "inf dB (no error)" if value_db > 0 else "-inf dB (silent input)"
    return f"{value_db:.2f} dB"
