"""Encoder of recordings: a file's coefficients, its codes, or its codes entropy-coded."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isincnet_jax.pretrained.load import DEFAULT_MODEL, load_model, name_of
from isincnet_jax.recordings import quantizers
from isincnet_jax.recordings.options import ARCHIVE_SUFFIX, EncodeOptions
from isincnet_jax.recordings.workers import Made

if TYPE_CHECKING:
    import numpy as np

    from isincnet_jax.bank.codec import Codec
    from isincnet_jax.bank.quantizer import Quantizer
    from isincnet_jax.data.audio_files import AudioInfo
    from isincnet_jax.tokens.token_header import TokenQuantizer


def silent(text: str) -> None:
    """Says nothing.

    Args:
        text: a line for a user.
    """


def encode_file(
    source: str | Path,
    target: str | Path,
    *,
    model: str | Path | Codec = DEFAULT_MODEL,
    q_bits: int | None = None,
    scales: str = "signal",
    step: float | None = None,
    snr_db: float | None = None,
    truncated: str = "refuse",
    entropy: bool = False,
    say: Callable[[str], None] | None = None,
) -> Made:
    """Encodes a recording into coefficients, codes or entropy-coded codes, in constant memory.

    Args:
        source: audio file of any format and rate; resampled to the model's.
        target: file to write, whole or not at all: ``.npz`` with float32 coefficients [frames,
            audio channels, channels], or codes of ``q_bits``; ``.isn`` with entropy-coded codes.
        model: name of a preset, address, exported model or checkpoint; or a codec, of which the
            file remembers bank and name, not the weights.
        q_bits: of companded codes, 2 to 16; None for coefficients, or uniform codes in ``.isn``.
        scales: of companded codes: "signal" for the recording's peaks (one more pass over it), or
            "spec" for those that the bank lets expect.
        step: of uniform codes (``.isn``), in units of the coefficients.
        snr_db: of uniform codes (``.isn``) whose step is searched, -10 to 100 dB; 25 dB unless
            one of ``q_bits``, ``step`` and this is given.
        truncated: of damaged or cut audio: "refuse", or "keep" what can be read of it.
        entropy: refuse any ``target`` but ``.isn``.
        say: called with a line for each thing that there is to say.

    Returns:
        Seconds of audio that were encoded.

    Raises:
        ValueError: for options that exclude each other, an unknown model, a recording that
            cannot be read or a silent one without ``step``, a file that cannot be written.
        ImportError: for ``.isn`` without constriction (the extra ``entropy``).

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import soundfile
        >>> import isincnet_jax as isn
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clip, codes = Path(folder, "clip.wav"), Path(folder, "clip.npz")
        ...     soundfile.write(clip, isn.demo_waveform(16_000)[:8000], 16_000)
        ...     isn.encode_file(clip, codes, q_bits=8).seconds
        0.5
    """
    source, target = Path(source), Path(target)
    if not source.exists():
        raise ValueError(f"{source}: no such file")
    options = EncodeOptions(name_of(model), q_bits, scales, step, snr_db, truncated)
    options.check(target, entropy=entropy)
    return FileEncoder(options, load_model(model), say=say or silent)(source, target)


class FileEncoder:
    """Encodes one file after the other with one codec.

    Args:
        options: what to make.
        codec: of ``options.model``.
        say: gets a line before and one after each file.
    """

    def __init__(
        self, options: EncodeOptions, codec: Codec, *, say: Callable[[str], None] = silent
    ) -> None:
        self.options = options
        self.codec = codec
        self._say = say

    def __call__(self, source: Path, target: Path) -> Made:
        """Encodes a recording into a file that appears whole or not at all; its suffix says what.

        Returns:
            Seconds of audio.

        Raises:
            ValueError: if the recording cannot be read or the file not be written.
        """
        options, codec = self.options, self.codec
        info, read = open_recording(source, codec, truncated=options.truncated, say=self._say)
        if target.suffix.lower() == ARCHIVE_SUFFIX:
            scaled = quantizers.fitted_quantizer(
                codec, read, q_bits=options.q_bits, scales=options.scales
            )
            counted = _Counter(read())  # the length is known when all has been read
            text = _write_archive(
                target, codec, info, counted, quantizer=scaled, model=options.model
            )
        else:
            chosen = quantizers.token_quantizer(
                codec,
                read,
                q_bits=options.q_bits,
                scales=options.scales,
                step=options.step,
                snr_db=options.snr_db,
            )
            counted = _Counter(read())
            text = _write_tokens(
                target, codec, info, counted, quantizer=chosen, model=options.model
            )
        self._say(text)
        return Made(counted.rows / codec.spec.sample_rate, _notes(info, codec))


def make_encoder(options: EncodeOptions, codec: Codec | None = None) -> FileEncoder:
    """A :class:`FileEncoder` with its codec loaded; for workers, in other processes too.

    Args:
        options: what to make; picklable.
        codec: of ``options.model``; loaded by its name if None.

    Returns:
        A function from two paths to :class:`.Made`.
    """
    return FileEncoder(options, load_model(options.model) if codec is None else codec)


def open_recording(
    path: Path, codec: Codec, *, truncated: str = "refuse", say: Callable[[str], None] = silent
) -> tuple[AudioInfo, quantizers.Read]:
    """The header of an audio file, and a function that starts reading it at the codec's rate.

    Args:
        path: audio file of any format and rate.
        codec: whose sample rate the blocks have.
        truncated: of damaged or cut audio: "refuse", or "keep" what can be read of it.
        say: gets a line if it is resampled.

    Returns:
        The header (at the file's own rate), and the function, which may be called again for another
        pass: float32 blocks [time, audio channels].

    Raises:
        ValueError: if it cannot be read.
    """
    from isincnet_jax.data import audio_files

    mode: Any = truncated
    info = audio_files.audio_info(path, truncated=mode)
    rate = codec.spec.sample_rate
    for note in _notes(info, codec):
        say(f"{path.name}: {note}")
    return info, functools.partial(audio_files.read_blocks, path, sample_rate=rate, truncated=mode)


def _notes(info: AudioInfo, codec: Codec) -> tuple[str, ...]:
    """What the user should know about a recording."""
    rate = codec.spec.sample_rate
    if info.sample_rate == rate:
        return ()
    return (f"resampled from {info.sample_rate} Hz to {rate} Hz",)


class _Counter:
    """An iterator over arrays that counts the rows that went by."""

    def __init__(self, blocks: Iterator[np.ndarray]) -> None:
        self._blocks = blocks
        self.rows = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self.rows += len(block)
            yield block


def _write_archive(
    target: Path,
    codec: Codec,
    info: AudioInfo,
    counted: _Counter,
    *,
    quantizer: Quantizer | None,
    model: str,
) -> str:
    """Encodes a recording into an .npz archive; returns what there is to say about it."""
    import numpy as np

    from isincnet_jax import files
    from isincnet_jax.bank import long_signals
    from isincnet_jax.tokens import archive

    rows = long_signals.encode_blocks(codec, counted)
    with files.replacing(target) as temporary:
        num_frames = archive.write_archive(
            temporary,
            rows if quantizer is None else long_signals.quantize_rows(rows, quantizer),
            make_header=lambda: archive.Header(
                spec=codec.spec,
                model=model,
                length=counted.rows,
                original_length=info.num_samples,
                original_rate=info.sample_rate,
                q_bits=quantizer.q_bits if quantizer else 0,
                mu=quantizer.mu if quantizer else 0.0,
                code=quantizer.code if quantizer else "symmetric",
            ),
            scales=None if quantizer is None else np.asarray(quantizer.scale),
        )
    kind = "float32 coefficients" if quantizer is None else f"{quantizer.q_bits}-bit codes"
    return (
        f"wrote {target}: {num_frames} frames x {info.num_channels} audio channels x "
        f"{codec.spec.num_channels} {kind}, {target.stat().st_size} bytes"
    )


def _write_tokens(
    target: Path,
    codec: Codec,
    info: AudioInfo,
    counted: _Counter,
    *,
    quantizer: TokenQuantizer,
    model: str,
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
