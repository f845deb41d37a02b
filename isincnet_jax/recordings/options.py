"""Options of encoding recordings: which go together, and how a corpus of them is made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from isincnet_jax.pretrained.load import DEFAULT_MODEL, load_any, load_model
from isincnet_jax.recordings.quantizers import check_scales

if TYPE_CHECKING:
    from isincnet_jax.bank.codec import Codec
    from isincnet_jax.bank.lapped_codec import LappedCodec
    from isincnet_jax.bank.lapped_spec import LappedSpec
    from isincnet_jax.constant_q.nonuniform_codec import NonuniformCodec
    from isincnet_jax.pretrained.load import AnyCodec

ARCHIVE_SUFFIX = ".npz"
TOKEN_SUFFIX = ".isn"
SUFFIXES = (ARCHIVE_SUFFIX, TOKEN_SUFFIX)
"""Of encoded files: coefficients or codes, and entropy-coded codes."""

DEFAULT_SNR_DB = 25.0
LARGEST_QUALITY = 20
_SPEECH_RATE = 16_000
_AIMS = ("step", "snr_db", "quality", "kbps", "like")
_LATER = {"truncated": "refuse", "quality": None, "kbps": None, "curve": False, "like": None}
_LATER |= {"lossless": False}


@dataclasses.dataclass(frozen=True)
class EncodeOptions:
    """Options of encoding files, in a form that workers can be sent.

    Attributes:
        model: name, address or file of the codec; None for the default one, of .isn files a lapped
            bank at the rate of each recording.
        q_bits: bits of companded codes; None for coefficients.
        scales: "signal" or "spec", of companded codes.
        step: of the codes of .isn files.
        snr_db: of the codes of .isn files, aimed at.
        quality: of .isn files for ears, 0 to 20.
        kbps: of .isn files for ears, of the whole file.
        curve: whether steps for ears stay the same throughout.
        like: .isn file whose bank and quantiser others get.
        optimise: whether frames and rounding of .isn files follow the recording.
        truncated: "refuse" or "keep", of damaged audio.
        lossless: whether .isn files hold the recordings' samples exactly.
    """

    model: str | None = None
    q_bits: int | None = None
    scales: str = "signal"
    step: float | None = None
    snr_db: float | None = None
    quality: float | None = None
    kbps: float | None = None
    curve: bool = False
    like: str | None = None
    optimise: bool = False
    truncated: str = "refuse"
    lossless: bool = False

    def check(self, target: Path) -> None:
        """Refuses what does not go together, before anything is loaded.

        Args:
            target: file to write.

        Raises:
            ValueError: naming the keywords.
        """
        suffix = target.suffix.lower()
        if suffix not in SUFFIXES:
            fix = target.with_suffix(TOKEN_SUFFIX if self._coded_options else ARCHIVE_SUFFIX).name
            raise ValueError(
                f"{target}: encoded files end in {ARCHIVE_SUFFIX} or {TOKEN_SUFFIX}; use {fix}"
            )
        self._check_kind(suffix, str(target), lambda other: target.with_suffix(other).name)
        self._check_quality()

    def _check_kind(self, suffix: str, place: str, instead: Callable[[str], str]) -> None:
        """Refuses options of the other kind of files."""
        coded = self._coded_options
        if suffix == TOKEN_SUFFIX and self.q_bits is not None:
            raise ValueError(
                f"q_bits=: {TOKEN_SUFFIX} files hold codes of one step; use step= or snr_db=, or "
                f"write {instead(ARCHIVE_SUFFIX)}"
            )
        if coded and suffix != TOKEN_SUFFIX:
            names = " and ".join(f"{name}=" for name in coded)
            verb = "makes" if len(coded) == 1 else "make"
            raise ValueError(
                f"{place}: {names} {verb} entropy-coded files; use {instead(TOKEN_SUFFIX)}"
            )

    def _check_quality(self) -> None:
        from isincnet_jax.bank.uniform_quantizer import make_uniform_quantizer

        if self.lossless and self.optimise:
            raise ValueError(
                "lossless= and optimise= exclude each other: what optimise= leaves out would have "
                "to be kept beside it; leave optimise= out"
            )
        aims = [name for name in _AIMS if getattr(self, name) is not None]
        if len(aims) > 1:
            raise ValueError(f"{aims[0]}= and {aims[1]}= exclude each other: give one of them")
        if self.lossless and (self.is_for_ears or self.like is not None):
            raise ValueError(
                f"lossless= and {aims[0]}= exclude each other: the codes of lossless files have "
                f"one step; leave {aims[0]}= out, or give step= or snr_db="
            )
        if self.snr_db is not None and not -10 <= self.snr_db <= 100:
            raise ValueError(f"snr_db={self.snr_db:g}: use -10 to 100 dB")
        if self.quality is not None and not 0 <= self.quality <= LARGEST_QUALITY:
            raise ValueError(f"quality={self.quality:g}: use 0 to {LARGEST_QUALITY}")
        if self.kbps is not None and not 0 < self.kbps < math.inf:
            raise ValueError(f"kbps={self.kbps:g}: use a positive number")
        if self.step is not None:
            make_uniform_quantizer(self.step)
        if self.curve and not self.is_for_ears:
            raise ValueError("curve=: of steps for ears; give quality= or kbps=, or leave it out")
        if self.optimise and (self.is_for_ears or self.like is not None):
            raise ValueError(
                f"optimise= and {aims[0]}= exclude each other: "
                + ("ears hear what it rounds away" if self.is_for_ears else "codes would differ")
            )
        if self.like is not None and not Path(self.like).is_file():
            raise ValueError(f"like={self.like}: no such file")
        if self.like is not None and self.model is not None:
            raise ValueError("like= and model= exclude each other: the file has its bank")

    @property
    def is_for_ears(self) -> bool:
        """Whether steps by band are asked for."""
        return self.quality is not None or self.kbps is not None

    def refuse_lapped(self, name: str) -> None:
        """Refuses what only files of lapped banks have.

        Args:
            name: of a model of a nonuniform bank.

        Raises:
            ValueError: naming the keyword.
        """
        for given in (*_AIMS[2:], "curve", "optimise", "lossless"):
            if getattr(self, given) not in (None, False):
                raise ValueError(
                    f"{given}= is for lapped banks, and model={name} is a nonuniform one; give "
                    "step= or snr_db=, or leave model= out"
                )

    def aim(self, codec: LappedCodec | NonuniformCodec | None) -> dict[str, Any]:
        """What fixes the steps of the codes of .isn files, but for ``like``.

        Args:
            codec: of :meth:`load`.

        Returns:
            step, snr_db, quality and kbps, all but one of which are None, and curve: those of the
            options, else the codec's step, else 25 dB; all are None of lossless files, where
            :func:`.write_token_file` knows better.
        """
        found = {name: getattr(self, name) for name in (*_AIMS[:-1], "curve")}
        if any(getattr(self, name) is not None for name in _AIMS):
            return found
        step = getattr(codec, "step", None)  # of a preset; nonuniform banks have none
        if step is not None:
            return {**found, "step": step}
        return found if self.lossless else {**found, "snr_db": DEFAULT_SNR_DB}

    @property
    def _coded_options(self) -> list[str]:
        names = (*_AIMS, "curve", "optimise", "lossless")
        return [name for name in names if getattr(self, name) not in (None, False)]

    def load(self, suffix: str) -> AnyCodec | None:
        """The codec.

        Args:
            suffix: of the files to make.

        Returns:
            A filterbank for archives; for .isn files a lapped or a nonuniform codec, or None for a
            bank at the rate of each recording.

        Raises:
            ValueError: if there is none, or it is of the wrong kind.
        """
        if suffix == TOKEN_SUFFIX:
            return None if self.model is None else self.token_codec(load_any(self.model))
        return load_model(DEFAULT_MODEL if self.model is None else self.model)

    def token_codec(self, codec: AnyCodec) -> LappedCodec | NonuniformCodec:
        """The codec, if it can make token files with these options.

        Args:
            codec: any.

        Returns:
            The same.

        Raises:
            ValueError: as :func:`lapped_codec`, and for options that nonuniform banks do not have.
        """
        from isincnet_jax.constant_q.nonuniform_codec import NonuniformCodec

        if not isinstance(codec, NonuniformCodec):
            return lapped_codec(codec)
        self.refuse_lapped(codec.name)
        return codec

    def prepare(
        self,
        suffix: str | None = None,
        *,
        codec: AnyCodec | None = None,
    ) -> Prepared:
        """Settles how a corpus is encoded; refuses what would fail for every file of it.

        Args:
            suffix: of the files; None for .isn where options ask for it, else .npz.
            codec: of ``model``, if it is loaded already.

        Returns:
            The codec, the suffix, and what the files' bytes depend on.

        Raises:
            ValueError: as :meth:`check`; for impossible bits, scales or steps.
        """
        from isincnet_jax.data.audio_inspection import check_truncated

        if suffix is None:
            suffix = TOKEN_SUFFIX if self._coded_options else ARCHIVE_SUFFIX
        if suffix not in SUFFIXES:
            raise ValueError(f"suffix={suffix}: use {' or '.join(SUFFIXES)}")
        self._check_kind(suffix, f"suffix={suffix}", lambda other: f"suffix={other}")
        self._check_quality()
        check_scales(self.scales)
        check_truncated(self.truncated)
        codec = self.load(suffix) if codec is None else codec
        fields = dataclasses.asdict(self)
        # As in folders that were made before there was a choice.
        for name, default in _LATER.items():
            if fields[name] == default:
                del fields[name]
        if suffix == TOKEN_SUFFIX:
            given = None if codec is None else self.token_codec(codec)
            bank = "of each recording" if given is None else _bank_digest(given)
            bank = f"{bank}, for ears" if given is None and self.is_for_ears else bank
            aim = self.aim(given)
            coding: dict[str, Any] = {
                "step": aim["step"],
                "snr_db": aim["snr_db"],
                "bank": bank,
                "file_format": 2,  # version 3 goes with another bank
            }
            if self.like is not None:
                coding["like"] = hashlib.sha256(Path(self.like).read_bytes()).hexdigest()
            del fields["q_bits"], fields["scales"]
        else:
            assert codec is not None
            filterbank = load_model(codec)
            if self.q_bits is not None:
                filterbank.quantizer(q_bits=self.q_bits)
            coding = {
                "model": DEFAULT_MODEL if self.model is None else self.model,
                "scales": None if self.q_bits is None else self.scales,
                "bank": filterbank.spec.digest(),
                "weights": weights_digest(filterbank),
            }
            for name in ("step", "snr_db", "optimise"):
                del fields[name]  # the other ones of .isn files are not there unless given
        return Prepared(codec, suffix, {"work": "encode", "suffix": suffix, **fields, **coding})


def _bank_digest(codec: LappedCodec | NonuniformCodec) -> str:
    """A hash of the bank."""
    from isincnet_jax.constant_q.nonuniform_codec import NonuniformCodec
    from isincnet_jax.recordings import ragged

    if not isinstance(codec, NonuniformCodec):
        return codec.spec.digest()
    text = json.dumps(ragged.bank_fields(codec.spec), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def lapped_codec(codec: AnyCodec) -> LappedCodec:
    """The codec, if it can make token files.

    Args:
        codec: any.

    Returns:
        The same.

    Raises:
        ValueError: for other banks, learned windows, and frames centred at the hops.
    """
    from isincnet_jax.bank.lapped_codec import LappedCodec

    if not isinstance(codec, LappedCodec):
        raise ValueError(
            f"model={codec.name}: {TOKEN_SUFFIX} files hold frames of a lapped bank; use "
            "16khz-lapped or another of that name, or leave model= out for the rate of the "
            f"recording; {ARCHIVE_SUFFIX} files hold those of any bank"
        )
    if codec.spec.framing != "tiled" or codec.model.learnable:
        raise ValueError(
            f"model={codec.name}: {TOKEN_SUFFIX} files hold tiled frames of a fixed window"
        )
    return codec


def recording_spec(sample_rate: int, *, for_ears: bool = False) -> LappedSpec:
    """The lapped bank of recordings of a rate: a power of two of 16 to 32 ms.

    Args:
        sample_rate: Hz.
        for_ears: whether steps will follow what ears hear; frames are half as long up to 16 kHz
            then, the rates of speech, whose pitch moves.

    Returns:
        A tiled bank with a sine window.

    Example:
        >>> [recording_spec(rate).hop_length for rate in (8000, 16000, 22050, 44100, 48000)]
        [256, 512, 512, 1024, 1024]
        >>> recording_spec(16_000, for_ears=True).hop_length
        256
    """
    from isincnet_jax.bank.lapped_spec import LappedSpec

    # The largest power of two in 32.5 ms or half of that, 2 at least.
    longest_s = 0.01625 if for_ears and sample_rate <= _SPEECH_RATE else 0.0325
    hop = 1 << max(2, int(longest_s * sample_rate)).bit_length() - 1
    return LappedSpec(sample_rate=sample_rate, hop_length=min(hop, 4096))


class Prepared(NamedTuple):
    """Codec, suffix and configuration of a corpus that is encoded.

    Attributes:
        codec: loaded; None for a lapped bank at the rate of each recording.
        suffix: of the files.
        configuration: all that their bytes depend on, but for the recordings; JSON values.
    """

    codec: AnyCodec | None
    suffix: str
    configuration: dict[str, Any]


def weights_digest(codec: Codec) -> str:
    """A hash of a codec's variables; empty for presets, which follow from their spec.

    Args:
        codec: any.

    Returns:
        16 hexadecimal digits of SHA-256, or "".
    """
    import jax
    import numpy as np

    from isincnet_jax.pretrained import registry

    if codec.name in registry.PRESETS:
        return ""
    digest = hashlib.sha256()
    # Paths and bytes, in the order of the pytree: the same arrays elsewhere are another model.
    for path, leaf in jax.tree_util.tree_leaves_with_path(codec.variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:16]
