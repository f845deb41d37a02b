"""Quantizers of recordings: scaled to one, or with the step that gives its codes a ratio in dB."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    from isincnet_jax.bank.codec import Codec
    from isincnet_jax.bank.quantizer import Quantizer
    from isincnet_jax.tokens.token_header import TokenQuantizer
    from isincnet_jax.tokens.uniform_quantizer import UniformQuantizer

Read: TypeAlias = "Callable[[], Iterator[np.ndarray]]"
"""Starts reading a recording: blocks [time, audio channels] at the codec's rate."""

_DEFAULT_SNR_DB = 25.0
_TOLERANCE_DB = 0.02
_MOST_TRIALS = 12


def check_scales(scales: str) -> None:
    """Refuses what companded codes cannot be scaled by.

    Args:
        scales: as a user gave it.

    Raises:
        ValueError: if it is neither "signal" nor "spec".
    """
    if scales not in ("signal", "spec"):
        raise ValueError(f"scales={scales!r}: use 'signal' or 'spec'")


def fitted_quantizer(
    codec: Codec, read: Read, *, q_bits: int | None, scales: str
) -> Quantizer | None:
    """The quantizer of companded codes; None without bits.

    Args:
        codec: any codec.
        read: starts reading the recording.
        q_bits: 2 to 16, or None.
        scales: "signal" for the peaks of the recording, which takes a pass over it; "spec" for
            those that the bank lets expect.

    Returns:
        One with the scale of each channel.

    Raises:
        ValueError: if bits or scales are out of range.
    """
    from isincnet_jax.bank import long_signals

    if q_bits is None:
        return None
    check_scales(scales)
    quantizer = codec.quantizer(q_bits=q_bits)
    if scales == "spec":
        return quantizer
    return long_signals.fit_quantizer(codec, read(), quantizer=quantizer)


def token_quantizer(
    codec: Codec,
    read: Read,
    *,
    q_bits: int | None,
    scales: str,
    step: float | None,
    snr_db: float | None,
) -> TokenQuantizer:
    """The quantizer of an entropy-coded file: companded, of a step, or of a ratio (25 dB).

    Args:
        codec: any codec.
        read: starts reading the recording.
        q_bits: of companded codes, 2 to 16; None for uniform ones.
        scales: of companded codes, "signal" or "spec".
        step: of uniform codes, in units of the coefficients; above 0.
        snr_db: that uniform codes are to reach; 25 if None. Not used with ``step``.

    Returns:
        The quantizer of the first of ``q_bits``, ``step`` and ``snr_db`` that is given.

    Raises:
        ValueError: as :func:`fitted_quantizer`; for a silent recording, or a ratio that the codec
            does not reach.
    """
    from isincnet_jax.tokens.uniform_quantizer import make_uniform_quantizer

    quantizer = fitted_quantizer(codec, read, q_bits=q_bits, scales=scales)
    if quantizer is not None:
        return quantizer
    if step is not None:
        return make_uniform_quantizer(step)
    return _search_step(codec, read, snr_db=_DEFAULT_SNR_DB if snr_db is None else snr_db)


def _search_step(codec: Codec, read: Read, *, snr_db: float) -> UniformQuantizer:
    """The uniform quantizer whose reconstruction has a signal-to-noise ratio.

    The first trial is the step whose noise a tight frame would need, the next ones follow the
    secant of decibels over the logarithm of the step; some five passes over the recording.

    Args:
        codec: any codec.
        read: starts reading the recording at the codec's rate.
        snr_db: aimed at; met within 0.02 dB unless the codec cannot reach it.

    Returns:
        Within 0.02 dB of the ratio; after 12 trials the last one, at most 1 dB below it.

    Raises:
        ValueError: for a silent recording, or if the codec cannot reach the ratio.
    """
    from isincnet_jax.tokens.uniform_quantizer import make_uniform_quantizer

    # Rounding to a step is noise of variance step^2 / 12.
    log_step = math.log(_deviation(codec, read) * 10 ** (-snr_db / 20) * math.sqrt(12))
    low, high = -math.inf, math.inf
    previous: tuple[float, float] | None = None
    quantizer = make_uniform_quantizer(math.exp(log_step))
    for _ in range(_MOST_TRIALS):
        quantizer = make_uniform_quantizer(math.exp(log_step))
        found = _snr_db(codec, read, quantizer)
        if abs(found - snr_db) <= _TOLERANCE_DB:
            return quantizer
        # The ratio falls as the step grows: `low` is too fine, `high` too coarse.
        low, high = (log_step, high) if found > snr_db else (low, log_step)
        # -20 / ln(10) = -8.7 dB per unit of ln(step) for fine steps, flatter for coarse ones.
        slope = -6.0
        if previous is not None and previous[0] != log_step:
            slope = min((found - previous[1]) / (log_step - previous[0]), -1.0)
        previous = log_step, found
        # At most by a factor of e^2, and by halving once a trial leaves the bracket.
        log_step += max(-2.0, min((snr_db - found) / slope, 2.0))
        if not low < log_step < high:
            log_step = (low + high) / 2 if math.isfinite(low + high) else log_step
    if previous is not None and previous[1] < snr_db - 1:
        raise ValueError(
            f"snr_db={snr_db:g}: {codec.name} reaches {previous[1]:.1f} dB; ask for less"
        )
    return quantizer


def _deviation(codec: Codec, read: Read) -> float:
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
        raise ValueError("snr_db=: the recording is silent, so that it has no ratio; use step=")
    return math.sqrt(energy / count)


def _snr_db(codec: Codec, read: Read, quantizer: UniformQuantizer) -> float:
    from isincnet_jax.bank import long_signals
    from isincnet_jax.dsp import distances

    sums = distances.ErrorSums()
    for block in long_signals.reconstruct_blocks(codec, read(), quantizer=quantizer):  # type: ignore[arg-type]
        sums += distances.error_sums(prediction=block.prediction, target=block.target)
    return sums.snr_db
