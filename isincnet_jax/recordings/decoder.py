"""Decoder of recordings: audio from encoded files, at the rate and length of the original."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from isincnet_jax.pretrained.load import load_any, load_codec, load_model, name_of
from isincnet_jax.recordings.encoder import silent
from isincnet_jax.recordings.options import TOKEN_SUFFIX, weights_digest
from isincnet_jax.recordings.workers import Made

if TYPE_CHECKING:
    import numpy as np

    from isincnet_jax.bank.codec import Codec
    from isincnet_jax.pretrained.load import AnyCodec
    from isincnet_jax.tokens.archive import Header
    from isincnet_jax.tokens.token_header import TokenHeader

_BY_BANK = "by the bank's inverse"


class Recording(NamedTuple):
    """Rates and lengths of an encoded recording, at the bank's rate and at its own.

    Attributes:
        sample_rate: Hz, of the bank.
        length: samples at that rate.
        original_rate: Hz, of the recording.
        original_length: samples at that rate.
    """

    sample_rate: int
    length: int
    original_rate: int
    original_length: int


@dataclasses.dataclass(frozen=True)
class DecodeOptions:
    """Options of decoding files.

    Attributes:
        model: insisted on, its name or a codec; None for the one that each file names.
        model_rate: keep the model's rate.
        refinements: as of :meth:`.Codec.decode`.
        base: decode the codes of lossless files alone.
    """

    model: str | Path | AnyCodec | None = None
    model_rate: bool = False
    refinements: int = 0
    base: bool = False


def decode_file(
    source: str | Path,
    target: str | Path,
    *,
    model: str | Path | AnyCodec | None = None,
    model_rate: bool = False,
    refinements: int = 0,
    base: bool = False,
    say: Callable[[str], None] | None = None,
) -> Made:
    """Decodes what :func:`.encode_file` wrote into audio, in constant memory.

    Args:
        source: ``.npz`` or ``.isn`` file.
        target: audio file to write, whole or not at all; its suffix is the format. Coefficients
            become float32, codes 24 bits, and lossless files what they were made from, bit for bit,
            where the format has that.
        model: insisted on, its name or a codec of the same bank; None for the model that the
            file names, or the bank's inverse if that is not here.
        model_rate: keep the model's sample rate and length; do not resample to the original's.
        refinements: of ``.npz`` files, as of :meth:`.Codec.decode`, 0 or more.
        base: of lossless ``.isn`` files, decode the codes alone; what is behind them is not read.
        say: called with a line for each thing that there is to say.

    Returns:
        Seconds of audio that were written; a note if the model that the file names is not here.

    Raises:
        ValueError: if the file is missing or damaged, is of another bank than ``model``, or the
            audio cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import soundfile
        >>> import isincnet_jax as isn
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clip, codes, back = (Path(folder, name) for name in ("a.wav", "a.npz", "b.wav"))
        ...     soundfile.write(clip, isn.demo_waveform(44_100)[:22_050], 44_100)
        ...     made = isn.encode_file(clip, codes)
        ...     made = isn.decode_file(codes, back)
        ...     soundfile.info(back).frames, soundfile.info(back).samplerate
        (22050, 44100)
    """
    source, target = Path(source), Path(target)
    if not source.exists():
        raise ValueError(f"{source}: no such file")
    if source.suffix.lower() == TOKEN_SUFFIX and refinements:
        raise ValueError(
            f"refinements={refinements}: the bank of {source.name} is orthonormal, there is "
            "nothing to refine; leave it out"
        )
    if source.suffix.lower() != TOKEN_SUFFIX and base:
        raise ValueError(
            f"base=: {source.name} has one layer; lossless {TOKEN_SUFFIX} files have two; leave it "
            "out"
        )
    options = DecodeOptions(model, model_rate, refinements, base)
    return FileDecoder(options, say=say or silent)(source, target)


class FileDecoder:
    """Decodes one file after the other.

    Args:
        options: what to make.
        say: gets lines about each file.
    """

    def __init__(self, options: DecodeOptions, *, say: Callable[[str], None] = silent) -> None:
        self.options = options
        self._say = say
        # Files mostly name the same one.
        self._load = functools.lru_cache(maxsize=4)(functools.partial(_load, options.model))

    def __call__(self, source: Path, target: Path) -> Made:
        """Decodes an archive or token file into an audio file, whole or not at all.

        Returns:
            Seconds of audio; a note if the model is not here; which model it was.

        Raises:
            ValueError: if the file is damaged, or the audio cannot be written.
        """
        if source.suffix.lower() == TOKEN_SUFFIX:
            return self._decode_tokens(source, target)
        return self._decode_archive(source, target)

    def _decode_tokens(self, source: Path, target: Path) -> Made:
        from isincnet_jax.tokens import block_file, pcm, ragged_file, token_file

        if block_file.read_version(source) == ragged_file.VERSION:
            return self._decode_ragged(source, target)
        with token_file.TokenReader(source) as reader:
            header = reader.header
            if self.options.model is not None:
                codec = load_codec(self.options.model)
                if codec.spec != header.spec:
                    raise _other_bank(source, header.spec.digest(), codec)
            recording, channels = _recording_of(header), header.audio_channels
            if not header.bits or self.options.base:
                samples = reader.samples()
                return Made(self._write(samples, target, recording, channels, "PCM_24"))
            exact = (pcm.as_floats(block, header.bits) for block in reader.pcm())
            subtype = _integer_subtype(target, header.bits)
            return Made(self._write(exact, target, recording, channels, subtype))

    def _decode_ragged(self, source: Path, target: Path) -> Made:
        from isincnet_jax.recordings import ragged
        from isincnet_jax.tokens import ragged_file

        if self.options.base:
            raise ValueError(f"base=: {source.name} has one layer; leave it out")
        with ragged_file.RaggedReader(source) as reader:
            codec = ragged.codec_of(reader)
            if self.options.model is not None:
                insisted = load_any(self.options.model)
                if insisted.spec != codec.spec:
                    raise ValueError(
                        f"{source}: was encoded with another bank than {insisted.name}; leave "
                        "model= out"
                    )
            samples = ragged.read_ragged(reader, codec)
            recording = Recording(
                ragged.rate_of(codec),
                reader.header.length,
                reader.header.original_rate,
                reader.header.original_length,
            )
            channels = reader.header.audio_channels
            return Made(self._write(samples, target, recording, channels, "PCM_24"))

    def _decode_archive(self, source: Path, target: Path) -> Made:
        from isincnet_jax.bank import long_signals
        from isincnet_jax.tokens import archive

        with archive.ArchiveReader(source) as reader:
            header = reader.header
            codec, digest = self._codec_of(header, source)
            quantizer = reader.quantizer()
            rows = reader.rows()
            num_channels, rows = _peek_channels(rows)
            if quantizer is not None:
                rows = long_signals.dequantize_rows(rows, quantizer)
            samples = long_signals.decode_blocks(
                codec, rows, length=header.length, refinements=self.options.refinements
            )
            subtype = "FLOAT" if quantizer is None else "PCM_24"
            seconds = self._write(samples, target, _recording_of(header), num_channels, subtype)
        notes = (_fallback_note(header.model),) if digest == _BY_BANK else ()
        name = header.model if self.options.model is None else name_of(self.options.model)
        made_with = json.dumps([name, header.spec.digest(), digest]) if digest else ""  # a preset
        return Made(seconds, notes, made_with)

    def _write(
        self,
        samples: Iterator[np.ndarray],
        target: Path,
        recording: Recording,
        num_channels: int,
        subtype: str,
    ) -> float:
        """Writes samples at the rate and length of the original; returns the seconds."""
        from isincnet_jax.bank import long_signals
        from isincnet_jax.data import audio_files, audio_writing

        own, at_own = recording.sample_rate, self.options.model_rate
        rate = own if at_own else recording.original_rate
        length = recording.length if at_own else recording.original_length
        if rate != own:
            self._say(f"{target.name}: resampled from {own} Hz back to {rate} Hz")
        resampled = audio_files.resample_blocks(samples, source_rate=own, target_rate=rate)
        written = audio_writing.write_blocks(
            target,
            long_signals.exactly(resampled, length),
            sample_rate=rate,
            num_channels=num_channels,
            subtype=subtype,
        )
        self._say(f"wrote {target}: {written / rate:.2f} s, {num_channels} channels, {rate} Hz")
        return written / rate

    def is_current(self, made_with: str) -> bool:
        """Whether files would still be decoded by what made them, see :class:`.Made`.

        Files whose model is no longer here are: nothing better can be made.

        Args:
            made_with: of an earlier run's :class:`.Made`.

        Returns:
            True where decoding again would change nothing, or could not be better.
        """
        if not made_with:  # a preset
            return True
        try:
            name, bank, digest = json.loads(made_with)
            if self.options.model is None and not _is_there(name):
                return True
            codec, now = self._load(name)
        except (ValueError, OSError, ImportError):
            return True
        return (now if codec.spec.digest() == bank else _BY_BANK) == digest

    def _codec_of(self, header: Header, source: Path) -> tuple[Codec, str]:
        """The codec that made a file, and the digest of its weights.

        By name if that still has the same bank, else by spec.
        """
        from isincnet_jax.bank.codec import build_codec
        from isincnet_jax.bank.sincnet import SincNet

        name, model = header.model, self.options.model
        if model is not None:
            codec, digest = self._load(name_of(model))
            if codec.spec == header.spec:
                return codec, digest
            raise _other_bank(source, f"{name}, {header.spec.digest()}", codec)
        if _is_there(name):
            codec, digest = self._load(name)
            if codec.spec == header.spec:
                return codec, digest
        self._say(f"{source.name}: {_fallback_note(name)}")
        return build_codec(SincNet(header.spec), name=f"bank {header.spec.digest()}"), _BY_BANK


def _recording_of(header: Header | TokenHeader) -> Recording:
    return Recording(
        header.spec.sample_rate, header.length, header.original_rate, header.original_length
    )


def _integer_subtype(target: Path, bits: int) -> str:
    """The sample format of integers in a file; its default if it has none of so many bits."""
    from isincnet_jax.data import audio_writing

    # 8 bits are unsigned in WAV files, and signed elsewhere.
    names = ["PCM_S8", "PCM_U8"] if bits == 8 else [f"PCM_{bits}"]
    found = [audio_writing.output_subtype(target, name) for name in names]
    return next((name for name in found if name in names), found[0])


def _other_bank(source: Path, bank: str, codec: Any) -> ValueError:
    return ValueError(
        f"{source}: was encoded with another bank ({bank}) than {codec.name} "
        f"({codec.spec.digest()}); leave model= out"
    )


def _load(insisted: str | Path | AnyCodec | None, name: str) -> tuple[Codec, str]:
    codec = load_model(name if insisted is None else insisted)
    return codec, weights_digest(codec)


def _is_there(name: str) -> bool:
    from isincnet_jax.pretrained import hub

    return name in hub.REGISTRY or "://" in name or Path(name).exists()


def _fallback_note(name: str) -> str:
    return f"no {name!r} with its bank here; decoding by the bank's inverse"


def _peek_channels(rows: Iterator[np.ndarray]) -> tuple[int, Iterator[np.ndarray]]:
    """The audio channels of the first chunk, and the sequence with it."""
    first = next(rows)  # an archive has rows, or its reader says that it is damaged
    return first.shape[1], itertools.chain([first], rows)
