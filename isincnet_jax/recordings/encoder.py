"""Encoder of recordings: a file's coefficients, its codes, or its codes entropy-coded."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isincnet_jax.pretrained import hugging_face
from isincnet_jax.pretrained.load import DEFAULT_MODEL, name_of
from isincnet_jax.recordings import quantizers
from isincnet_jax.recordings.options import (
    ARCHIVE_SUFFIX,
    EncodeOptions,
    recording_spec,
)
from isincnet_jax.recordings.workers import Made

if TYPE_CHECKING:
    import numpy as np

    from isincnet_jax.bank.codec import Codec
    from isincnet_jax.bank.quantizer import Quantizer
    from isincnet_jax.constant_q.nonuniform_codec import NonuniformCodec
    from isincnet_jax.data.audio_files import AudioInfo
    from isincnet_jax.pretrained.load import AnyCodec
    from isincnet_jax.tokens.noise_shape import Like


def silent(text: str) -> None:
    """Says nothing.

    Args:
        text: a line for a user.
    """


def encode_file(
    source: str | Path,
    target: str | Path,
    *,
    model: str | Path | AnyCodec | None = None,
    q_bits: int | None = None,
    scales: str = "signal",
    step: float | None = None,
    snr_db: float | None = None,
    quality: float | None = None,
    kbps: float | None = None,
    curve: bool = False,
    like: str | Path | None = None,
    optimise: bool = False,
    truncated: str = "refuse",
    lossless: bool = False,
    say: Callable[[str], None] | None = None,
) -> Made:
    """Encodes a recording into coefficients, codes or entropy-coded codes, in constant memory.

    Args:
        source: audio file of any format and rate.
        target: file to write, whole or not at all: ``.npz`` with float32 coefficients [frames,
            audio channels, channels], or codes of ``q_bits``; ``.isn`` with entropy-coded codes of
            a lapped or nonuniform bank (of the latter the whole recording is held in memory).
        model: name of a preset, address, exported model or checkpoint, or a codec, to whose rate
            the recording is resampled; the file remembers bank and name, not the weights. If None,
            ``16khz-linear`` for ``.npz``, and for ``.isn`` a lapped bank at the recording's own
            rate.
        q_bits: of companded codes (``.npz``), 2 to 16; None for coefficients.
        scales: of companded codes: "signal" for the recording's peaks (one more pass over it), or
            "spec" for those that the bank lets expect.
        step: of the codes (``.isn``), in units of the coefficients.
        snr_db: of codes (``.isn``) whose step is searched, -10 to 100 dB. Where neither it nor
            ``step`` nor any of the next ones is given, the step of the preset, or 25 dB without a
            preset (15 dB of lossless files).
        quality: for ears (``.isn``), 0 to 20: steps by band and time that follow what is heard;
            one more is 3 dB less noise in every band. Mono music takes some 20 kbit/s at 5.
        kbps: for ears (``.isn``): the quality is searched at which the whole file has that rate,
            within 1 %.
        curve: for ears: steps by band that stay the same throughout. Tokens of the decoded sound
            are those that it was decoded from if they are made ``like`` this file.
        like: ``.isn`` file (of ``step``, ``snr_db`` or ``curve``) whose bank, step and curve the
            recording gets, whose rate it is brought to, and of as many audio channels.
        optimise: let frames and rounding (``.isn``) follow the recording: 5 to 7 % fewer bits, but
            codes of another encoding differ.
        truncated: of damaged or cut audio: "refuse", or "keep" what can be read of it.
        lossless: keep the samples exactly (``.isn``), integers of 8, 16 or 24 bits at the
            recording's own rate, in a layer behind the codes that a reader may leave out.
        say: called with a line for each thing that there is to say.

    Returns:
        Seconds of audio that were encoded.

    Raises:
        ValueError: for options that exclude each other, an unknown model, a recording that
            cannot be read or a silent one without ``step``, a file that cannot be written; with
            ``lossless``, for samples that are no integers, and a model of another rate.

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

        For ears, and the same tokens of the decoded sound:

        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clip, first, back, again = (
        ...         Path(folder, name) for name in ("a.wav", "a.isn", "b.wav", "b.isn")
        ...     )
        ...     soundfile.write(clip, isn.demo_waveform(16_000)[:16_000], 16_000)
        ...     made = isn.encode_file(clip, first, kbps=24.0, curve=True)
        ...     made = isn.decode_file(first, back)
        ...     made = isn.encode_file(back, again, like=first)
        ...     print(round(8e-3 * first.stat().st_size), again.read_bytes() == first.read_bytes())
        24 True
    """
    source, target = Path(source), Path(target)
    if not source.exists():
        raise ValueError(f"{source}: no such file")
    name = None if model is None else name_of(model)
    options = EncodeOptions(
        name, q_bits, scales, step, snr_db, quality, kbps, curve,
        None if like is None else str(like), optimise, truncated, lossless,
    )  # fmt: skip
    options.check(target)
    given = None if model is None or isinstance(model, str | Path) else model
    codec = options.load(target.suffix.lower()) if given is None else given
    return FileEncoder(options, codec, say=say or silent)(source, target)


class FileEncoder:
    """Encodes one file after the other with one codec.

    Args:
        options: what to make.
        codec: of ``options.model``, see :meth:`.EncodeOptions.load`.
        say: gets a line before and one after each file.
    """

    def __init__(
        self,
        options: EncodeOptions,
        codec: AnyCodec | None,
        *,
        say: Callable[[str], None] = silent,
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
        if target.suffix.lower() == ARCHIVE_SUFFIX:
            return self._write_archive(source, target)
        return self._write_tokens(source, target)

    @functools.cached_property
    def _like(self) -> Like | None:
        from isincnet_jax.tokens import token_file

        return None if self.options.like is None else token_file.read_like(self.options.like)

    def _write_archive(self, source: Path, target: Path) -> Made:
        options, codec = self.options, _filterbank(self.codec)
        rate = codec.spec.sample_rate
        info, read = open_recording(source, rate, truncated=options.truncated, say=self._say)
        quantizer = quantizers.fitted_quantizer(
            codec, read, q_bits=options.q_bits, scales=options.scales
        )
        counted = _Counter(read())  # the length is known when all has been read
        name = DEFAULT_MODEL if options.model is None else options.model
        if hugging_face.is_repository(name):
            name = codec.name  # with the commit in it: the branch may go on
        text = _write_archive(
            target,
            codec,
            info,
            counted,
            quantizer=quantizer,
            model=name,
            is_fitted=options.scales == "signal",
        )
        self._say(text)
        return Made(counted.rows / rate, _notes(info, rate))

    def _write_tokens(self, source: Path, target: Path) -> Made:
        from isincnet_jax import files
        from isincnet_jax.constant_q.nonuniform_codec import NonuniformCodec
        from isincnet_jax.tokens import noise_shape, token_writer

        options = self.options
        checked = None if self.codec is None else options.token_codec(self.codec)
        if isinstance(checked, NonuniformCodec):
            return self._write_ragged(source, target, checked)
        like = self._like
        given = None if checked is None else checked.spec
        given = given if like is None else like.header.spec
        rate = None if given is None else given.sample_rate
        info, read = open_recording(source, rate, truncated=options.truncated, say=self._say)
        bits = _sample_bits(source, info, rate) if options.lossless else 0
        with files.replacing(target) as temporary:
            written = token_writer.write_token_file(
                temporary,
                read,
                spec=recording_spec(info.sample_rate, for_ears=options.is_for_ears)
                if given is None
                else given,
                like=like,
                **options.aim(checked),
                optimise=options.optimise,
                original_rate=info.sample_rate,
                original_length=info.num_samples,
                bits=bits,
            )
        header = written.header
        seconds = header.length / header.spec.sample_rate
        samples = f", and {bits}-bit samples exactly" if bits else ""
        self._say(
            f"wrote {target}: {header.audio_channels} x {header.length} codes{samples}, "
            f"{noise_shape.describe(header)}, {written.snr_db:.2f} dB, {written.num_bytes} bytes, "
            f"{8e-3 * written.num_bytes / seconds:.1f} kbit/s"
        )
        return Made(seconds, _notes(info, header.spec.sample_rate))

    def _write_ragged(self, source: Path, target: Path, codec: NonuniformCodec) -> Made:
        from isincnet_jax.recordings import ragged

        rate = ragged.rate_of(codec)
        info, read = open_recording(source, rate, truncated=self.options.truncated, say=self._say)
        aim = self.options.aim(codec)
        written = ragged.write_ragged(
            target,
            read(),
            codec,
            step=aim["step"],
            snr_db=aim["snr_db"],
            original_rate=info.sample_rate,
            original_length=info.num_samples,
        )
        header = written.header
        seconds = header.length / rate
        self._say(
            f"wrote {target}: {header.audio_channels} x {header.num_codes} codes in "
            f"{len(header.arrays)} arrays, step {header.step:.4g}, {written.snr_db:.2f} dB, "
            f"{written.num_bytes} bytes, {8e-3 * written.num_bytes / seconds:.1f} kbit/s"
        )
        return Made(seconds, _notes(info, rate))


_INTEGERS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24}
"""Bits of soundfile's sample formats that lossless files hold."""


def _sample_bits(source: Path, info: AudioInfo, rate: int | None) -> int:
    """Bits of the samples of a recording that is to be kept exactly.

    Args:
        source: of the recording.
        info: its header.
        rate: of the model, Hz; None for that of the recording.

    Raises:
        ValueError: if its samples are no integers, or the model's rate is another one.
    """
    if rate not in (None, info.sample_rate):
        raise ValueError(
            f"{source}: has {info.sample_rate} Hz, the model {rate} Hz, and lossless= keeps the "
            "samples of the recording; leave model= out"
        )
    if info.subtype not in _INTEGERS:
        raise ValueError(
            f"{source}: its samples ({info.subtype or 'of a lossy format'}) are not integers of 8, "
            "16 or 24 bits, which lossless= keeps; leave lossless= out, or write such a file first"
        )
    return _INTEGERS[info.subtype]


def _filterbank(codec: Any) -> Codec:
    from isincnet_jax.bank.codec import Codec

    if isinstance(codec, Codec):
        return codec
    raise ValueError(
        f"model={codec.name}: {ARCHIVE_SUFFIX} files hold frames of a filterbank; write .isn"
    )


def make_encoder(options: EncodeOptions, suffix: str, codec: AnyCodec | None = None) -> FileEncoder:
    """A :class:`FileEncoder` with its codec loaded; for workers, in other processes too.

    Args:
        options: what to make; picklable.
        suffix: of the files to make.
        codec: of ``options.model``; loaded by its name if None.

    Returns:
        A function from two paths to :class:`.Made`.
    """
    return FileEncoder(options, options.load(suffix) if codec is None else codec)


def open_recording(
    path: Path,
    sample_rate: int | None,
    *,
    truncated: str = "refuse",
    say: Callable[[str], None] = silent,
) -> tuple[AudioInfo, quantizers.Read]:
    """The header of an audio file, and a function that starts reading it at a rate.

    Args:
        path: audio file of any format and rate.
        sample_rate: of the blocks, Hz; None for the file's own.
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
    rate = info.sample_rate if sample_rate is None else sample_rate
    for note in _notes(info, rate):
        say(f"{path.name}: {note}")
    return info, functools.partial(audio_files.read_blocks, path, sample_rate=rate, truncated=mode)


def _notes(info: AudioInfo, rate: int) -> tuple[str, ...]:
    """What the user should know about a recording that is read at a rate."""
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


class _Ends:
    """An iterator over companded codes that counts those at an end of the scale."""

    def __init__(self, blocks: Iterator[np.ndarray], *, top: int) -> None:
        self._blocks = blocks
        self._top = top
        self._count = self._total = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self._count += int(((block == 0) | (block >= self._top)).sum())
            self._total += block.size
            yield block

    def __str__(self) -> str:
        share = 100 * self._count / max(self._total, 1)
        return f"{share:.2f} % of the codes at an end of the scale"


def _write_archive(
    target: Path,
    codec: Codec,
    info: AudioInfo,
    counted: _Counter,
    *,
    quantizer: Quantizer | None,
    model: str,
    is_fitted: bool,
) -> str:
    """Encodes a recording into an .npz archive; returns what there is to say about it."""
    import numpy as np

    from isincnet_jax import files
    from isincnet_jax.bank import long_signals
    from isincnet_jax.tokens import archive

    rows = long_signals.encode_blocks(codec, counted)
    ends = None
    if quantizer is not None:
        rows = ends = _Ends(
            long_signals.quantize_rows(rows, quantizer), top=2**quantizer.q_bits - 2
        )
    with files.replacing(target) as temporary:
        num_frames = archive.write_archive(
            temporary,
            rows,
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
    text = (
        f"wrote {target}: {num_frames} frames x {info.num_channels} audio channels x "
        f"{codec.spec.num_channels} {kind}, {target.stat().st_size} bytes"
    )
    # Scales of the signal are its peaks: some codes always lie there.
    return text if ends is None or is_fitted else f"{text}; {ends}"
