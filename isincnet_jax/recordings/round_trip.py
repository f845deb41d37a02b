"""Reconstruction of recordings: encoded, decoded, written, and how close the result is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from isincnet_jax.pretrained.load import DEFAULT_MODEL, load_model
from isincnet_jax.recordings.encoder import open_recording, silent
from isincnet_jax.recordings.quantizers import fitted_quantizer

if TYPE_CHECKING:
    import numpy as np

    from isincnet_jax.bank.codec import Codec


class RoundTrip(NamedTuple):
    """Reconstruction error of a recording, over all samples of all channels.

    Attributes:
        codec: that made it.
        mse: mean squared error.
        mae: mean absolute error.
        snr_db: signal-to-noise ratio; inf without any error, -inf for a silent recording.
        si_sdr_db: the same after the best gain, see :class:`.distances.ErrorSums`.
        peak: largest magnitude of the reconstruction; full scale is 1.
        clipped: samples of it beyond full scale.
        length: samples of each channel, at the codec's rate.
        subtype: of the file that was written, as soundfile names it: "PCM_16", "FLOAT".
        seconds: that all of it took, compilation included.
        speed: of encoding and decoding once compiled, as a multiple of real time; NaN unless it
            was asked for.
    """

    codec: Codec
    mse: float
    mae: float
    snr_db: float
    si_sdr_db: float
    peak: float
    clipped: int
    length: int
    subtype: str
    seconds: float
    speed: float = math.nan

    @property
    def is_rounded(self) -> bool:
        """Whether the file is coarser than the float32 samples that the figures are of."""
        return self.subtype not in ("FLOAT", "DOUBLE")


def reconstruct_file(
    source: str | Path,
    target: str | Path,
    *,
    model: str | Path | Codec = DEFAULT_MODEL,
    q_bits: int | None = None,
    scales: str = "signal",
    refinements: int = 0,
    truncated: str = "refuse",
    with_speed: bool = False,
    say: Callable[[str], None] | None = None,
) -> RoundTrip:
    """Encodes and decodes a recording, in constant memory, and measures how close the result is.

    Args:
        source: audio file of any format and rate; resampled to the model's.
        target: audio file to write, whole or not at all, at the model's rate and with all
            channels of the recording.
        model: name of a preset, address, exported model or checkpoint; or a codec.
        q_bits: of companded codes between encoding and decoding, 2 to 16; None for none.
        scales: of these codes: "signal" for the recording's peaks, or "spec" for the bank's.
        refinements: as of :meth:`.Codec.decode`, 0 or more.
        truncated: of damaged or cut audio: "refuse", or "keep" what can be read of it.
        with_speed: also time up to 16 s once compiled, which takes a few seconds.
        say: called with a line for each thing that there is to say.

    Returns:
        The figures, of the float32 samples before the file's format rounds them.

    Raises:
        ValueError: for an unknown model, bits out of range, a recording that cannot be read, or a
            file that cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import soundfile
        >>> import isincnet_jax as isn
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clip, back = Path(folder, "clip.wav"), Path(folder, "back.wav")
        ...     soundfile.write(clip, isn.demo_waveform(16_000)[:8000], 16_000)
        ...     isn.reconstruct_file(clip, back).snr_db > 120
        True
    """
    from isincnet_jax.bank import long_signals
    from isincnet_jax.data import audio_writing

    begin = time.perf_counter()
    target, codec = Path(target), load_model(model)
    info, read = open_recording(
        Path(source), codec.spec.sample_rate, truncated=truncated, say=say or silent
    )
    subtype = audio_writing.output_subtype(target, info.subtype)
    quantizer = fitted_quantizer(codec, read, q_bits=q_bits, scales=scales)
    meter = _Meter()
    pairs = long_signals.reconstruct_blocks(
        codec, read(), quantizer=quantizer, refinements=refinements
    )
    audio_writing.write_blocks(
        target,
        meter.predictions(pairs),
        sample_rate=codec.spec.sample_rate,
        num_channels=info.num_channels,
        subtype=subtype,
    )
    seconds, sums = time.perf_counter() - begin, meter.sums
    length = sums.count // info.num_channels
    return RoundTrip(
        codec,
        mse=sums.mse,
        mae=sums.mae,
        snr_db=sums.snr_db,
        si_sdr_db=sums.si_sdr_db,
        peak=sums.prediction_peak,
        clipped=meter.clipped,
        length=length,
        subtype=subtype,
        seconds=seconds,
        speed=_compiled_speed(codec, info.num_channels, length) if with_speed else math.nan,
    )


class _Meter:
    """Counts errors and clipping while blocks pass by."""

    def __init__(self) -> None:
        from isincnet_jax.dsp import distances

        self.sums = distances.ErrorSums()
        self.clipped = 0

    def predictions(self, pairs: Iterator) -> Iterator[np.ndarray]:
        """Yields the reconstruction of a sequence of blocks."""
        import numpy as np

        from isincnet_jax.dsp import distances

        for target, prediction in pairs:
            self.sums += distances.error_sums(prediction=prediction, target=target)
            self.clipped += int(np.count_nonzero(np.abs(prediction) > 1.0))
            yield prediction


def _compiled_speed(codec: Codec, num_channels: int, length: int) -> float:
    """Encoding and decoding of one block once compiled, as a multiple of real time."""
    import jax
    import numpy as np

    length = min(length, 16 * codec.spec.sample_rate)
    noise = np.random.default_rng(0).uniform(-1, 1, (num_channels, length)).astype(np.float32)
    seconds = math.inf  # the fastest of three, of which the first compiles
    for _ in range(3):
        begin = time.perf_counter()
        jax.block_until_ready(codec.decode(codec.encode(noise), length=length))
        seconds = min(seconds, time.perf_counter() - begin)
    return length / codec.spec.sample_rate / seconds
