"""What ``encode``, ``decode`` and ``describe`` do with entropy-coded ``.isn`` files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isincnet_jax import extras
from isincnet_jax.cli.common import fitted_quantizer, load_model, say

if TYPE_CHECKING:
    from isincnet_jax.bank.codec import Codec
    from isincnet_jax.tokens.token_header import TokenQuantizer
    from isincnet_jax.tokens.uniform_quantizer import UniformQuantizer

SUFFIX = ".isn"
_DEFAULT_SNR_DB = 25.0
_TOLERANCE_DB = 0.02
_MOST_TRIALS = 12


def check_options(
    target: Path, q_bits: int | None, step: float | None, snr_db: float | None
) -> None:
    """Refuses what does not go together.

    Raises:
        ValueError: naming the options.
    """
    if target.suffix.lower() != SUFFIX:
        fix = target.with_suffix(SUFFIX).name
        raise ValueError(f"{target}: entropy-coded files end in {SUFFIX}; use {fix}")
    given = [
        name
        for name, value in (("--q-bits", q_bits), ("--step", step), ("--snr", snr_db))
        if value is not None
    ]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} exclude each other: give one of them")
    if snr_db is not None and not -10 <= snr_db <= 100:
        raise ValueError(f"--snr {snr_db:g}: use -10 to 100 dB")


def choose_quantizer(
    codec: Codec,
    read: Any,
    *,
    q_bits: int | None,
    step: float | None,
    snr_db: float | None,
    scales: str,
) -> TokenQuantizer:
    """The quantizer that the options ask for; 25 dB if they ask for nothing."""
    from isincnet_jax.tokens.uniform_quantizer import make_uniform_quantizer

    if q_bits is not None:
        quantizer = fitted_quantizer(codec, read, q_bits, scales)
        assert quantizer is not None
        return quantizer
    if step is not None:
        return make_uniform_quantizer(step)
    return search_step(codec, read, snr_db=_DEFAULT_SNR_DB if snr_db is None else snr_db)


def search_step(codec: Codec, read: Any, *, snr_db: float) -> UniformQuantizer:
    """The uniform quantizer whose reconstruction has a signal-to-noise ratio.

    The first trial is the step whose noise a tight frame would need, the next ones follow the
    secant of decibels over the logarithm of the step; some five passes over the recording.

    Args:
        codec: any codec.
        read: starts reading the recording at the codec's rate.
        snr_db: aimed at; met within 0.02 dB unless the codec cannot reach it.

    Raises:
        ValueError: for a silent recording, or if the codec cannot reach the ratio.
    """
    from isincnet_jax.tokens.uniform_quantizer import make_uniform_quantizer

    log_step = math.log(_deviation(codec, read) * 10 ** (-snr_db / 20) * math.sqrt(12))
    low, high = -math.inf, math.inf
    previous: tuple[float, float] | None = None
    quantizer = make_uniform_quantizer(math.exp(log_step))
    for _ in range(_MOST_TRIALS):
        quantizer = make_uniform_quantizer(math.exp(log_step))
        found = _snr_db(codec, read, quantizer)
        if abs(found - snr_db) <= _TOLERANCE_DB:
            return quantizer
        low, high = (log_step, high) if found > snr_db else (low, log_step)
        slope = -6.0
        if previous is not None and previous[0] != log_step:
            slope = min((found - previous[1]) / (log_step - previous[0]), -1.0)
        previous = log_step, found
        log_step += max(-2.0, min((snr_db - found) / slope, 2.0))
        if not low < log_step < high:
            log_step = (low + high) / 2 if math.isfinite(low + high) else log_step
    if previous is not None and previous[1] < snr_db - 1:
        raise ValueError(
            f"--snr {snr_db:g}: {codec.name} reaches {previous[1]:.1f} dB; ask for less"
        )
    return quantizer


def _deviation(codec: Codec, read: Any) -> float:
    """Root mean square of the coefficients of a recording.

    Raises:
        ValueError: if it is silent.
    """
    import numpy as np

    from isincnet_jax.bank import long_signals

    energy, count = 0.0, 0
    for rows in long_signals.encode_blocks(codec, read()):
        energy += float(np.sum(np.square(rows, dtype=np.float64)))
        count += rows.size
    if not energy:
        raise ValueError("--snr: the recording is silent, so that it has no ratio; use --step")
    return math.sqrt(energy / count)


def _snr_db(codec: Codec, read: Any, quantizer: UniformQuantizer) -> float:
    import numpy as np

    from isincnet_jax.bank import long_signals

    energy = error = 0.0
    for block in long_signals.reconstruct_blocks(codec, read(), quantizer=quantizer):  # type: ignore[arg-type]
        energy += float(np.sum(np.square(block.target, dtype=np.float64)))
        difference = block.target.astype(np.float64) - block.prediction
        error += float(np.sum(np.square(difference)))
    return 10 * math.log10(energy / error) if error else math.inf


def write_tokens(
    target: Path, codec: Codec, info: Any, counted: Any, *, quantizer: TokenQuantizer, model: str
) -> str:
    """Encodes a recording into an entropy-coded file; returns what there is to say about it."""
    import numpy as np

    from isincnet_jax import files
    from isincnet_jax.bank import long_signals
    from isincnet_jax.tokens import token_file, token_header
    from isincnet_jax.tokens.uniform_quantizer import UniformQuantizer

    is_uniform = isinstance(quantizer, UniformQuantizer)
    header = token_header.TokenHeader(
        spec=codec.spec,
        model=model,
        length=1,  # counted while reading
        original_length=info.num_samples,
        original_rate=info.sample_rate,
        audio_channels=info.num_channels,
        **token_header.TokenHeader.describe_quantizer(quantizer),
    )
    rows = long_signals.quantize_rows(long_signals.encode_blocks(codec, counted), quantizer)  # type: ignore[arg-type]
    with files.replacing(target) as temporary:
        written = token_file.write_token_file(
            temporary,
            rows,
            header=header,
            length=lambda: counted.rows,
            scales=np.asarray(quantizer.weight if is_uniform else quantizer.scale),
        )
    kind = f"step {quantizer.step:.4g}" if is_uniform else f"{quantizer.q_bits}-bit codes"
    rate = 8e-3 * written.num_bytes * codec.spec.sample_rate / counted.rows
    return (
        f"wrote {target}: {written.num_frames} frames x {info.num_channels} audio channels x "
        f"{codec.spec.num_channels} codes, {kind}, {written.num_bytes} bytes, {rate:.1f} kbit/s"
    )


def describe_tokens(path: Path) -> None:
    """Prints what a token file says about itself, and checks that all of it decodes."""
    from isincnet_jax.tokens import token_file

    with token_file.TokenReader(path) as reader:
        header = reader.header
        frames = sum(len(rows) for rows in reader.rows())
    if header.code == "uniform":
        code = f"uniform, step {header.step:.4g}"
    else:
        code = f"{header.code}, {header.q_bits} bits, mu {header.mu:g}"
    size = path.stat().st_size
    duration_s = header.length / header.spec.sample_rate
    for label, value in (
        ("token file", f"{path}, {size} bytes, intact"),
        ("model", f"{header.model}, bank {header.spec.digest()}"),
        ("code", code),
        ("recording", f"{duration_s:.2f} s, {header.audio_channels} audio channels"),
        ("original", f"{header.original_length} samples, {header.original_rate} Hz"),
        ("codes", f"{frames} frames x {header.spec.num_channels} channels"),
        ("bit rate", f"{8e-3 * size / duration_s:.1f} kbit/s"),
    ):
        say(f"{label:22s} {value}")


def load_described(model: str) -> Codec | None:
    """The codec to describe; None if ``model`` was a token file, which is then described."""
    if Path(model).suffix.lower() == SUFFIX:
        extras.require("constriction")
        describe_tokens(Path(model))
        return None
    return load_model(model)
