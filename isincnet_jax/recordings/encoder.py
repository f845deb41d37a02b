"""What ``isincnet encode`` does with one file, alone or as one of a corpus."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isincnet_jax.cli import token_files
from isincnet_jax.cli.common import fitted_quantizer, load_model

if TYPE_CHECKING:
    import numpy as np

    from isincnet_jax.bank.codec import Codec
    from isincnet_jax.bank.quantizer import Quantizer

ARCHIVE_SUFFIX = ".npz"


def silent(text: str) -> None:
    """Says nothing."""


@dataclasses.dataclass(frozen=True)
class EncodeOptions:
    """How files are encoded: the options of the command, in a form that workers can be sent.

    Attributes:
        model: name, address or file of the codec.
        q_bits: bits of companded codes; None for coefficients, or uniform codes in .isn files.
        scales: "signal" or "spec", of companded codes.
        step: of uniform codes.
        snr_db: of uniform codes, aimed at.
        truncated: "refuse" or "keep", of damaged audio.
    """

    model: str
    q_bits: int | None = None
    scales: str = "signal"
    step: float | None = None
    snr_db: float | None = None
    truncated: str = "refuse"

    def check(self, target: Path, *, entropy: bool = False) -> None:
        """Refuses what does not go together.

        Args:
            target: file to write.
            entropy: whether an entropy-coded file was asked for.

        Raises:
            ValueError: naming the options.
        """
        if entropy or target.suffix.lower() == token_files.SUFFIX:
            token_files.check_options(target, self.q_bits, self.step, self.snr_db)
        elif self.step is not None or self.snr_db is not None:
            raise ValueError(f"{target}: --step and --snr make entropy-coded files; name it .isn")
        elif target.suffix.lower() != ARCHIVE_SUFFIX:
            fix = target.with_suffix(ARCHIVE_SUFFIX).name
            raise ValueError(f"{target}: archives end in .npz; use {fix}")

    def check_with(self, codec: Codec, suffix: str) -> None:
        """Refuses what would fail for every file of a corpus.

        Raises:
            ValueError: for impossible bits, scales or steps.
            ImportError: for .isn files without constriction.
        """
        from isincnet_jax.data.audio_inspection import check_truncated
        from isincnet_jax.tokens import entropy
        from isincnet_jax.tokens.uniform_quantizer import make_uniform_quantizer

        if self.scales not in ("signal", "spec"):
            raise ValueError(f"--scales {self.scales!r}: use 'signal' or 'spec'")
        check_truncated(self.truncated)
        fitted_quantizer(codec, None, self.q_bits, "spec")
        if self.step is not None:
            make_uniform_quantizer(self.step)
        if suffix == token_files.SUFFIX:
            entropy.load_constriction()

    def configuration(self, codec: Codec, suffix: str) -> dict[str, Any]:
        """All that the bytes of the files depend on, but for the recordings."""
        fields = dataclasses.asdict(self)
        if self.truncated == "refuse":  # as in folders that were made before there was a choice
            del fields["truncated"]
        return {
            "work": "encode",
            "suffix": suffix,
            **fields,
            "scales": None if self.q_bits is None else self.scales,
            "bank": codec.spec.digest(),
            "weights": weights_digest(codec),
        }


def weights_digest(codec: Codec) -> str:
    """A hash of a codec's variables; empty for presets, which follow from their spec."""
    import jax
    import numpy as np

    from isincnet_jax.pretrained import hub

    if codec.name in hub.PRESETS:
        return ""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(codec.variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:16]


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

    def __call__(self, source: Path, target: Path) -> float:
        """Encodes a recording into a file that appears whole or not at all; its suffix says what.

        Returns:
            Seconds of audio.

        Raises:
            ValueError: if the recording cannot be read or the file not be written.
        """
        from isincnet_jax.data import audio_files

        options, codec = self.options, self.codec
        rate = codec.spec.sample_rate
        mode: Any = options.truncated
        info = audio_files.audio_info(source, truncated=mode)
        if info.sample_rate != rate:
            self._say(f"{source.name}: resampled from {info.sample_rate} Hz to {rate} Hz")
        read = functools.partial(audio_files.read_blocks, source, sample_rate=rate, truncated=mode)
        if target.suffix.lower() == ARCHIVE_SUFFIX:
            quantizer = fitted_quantizer(codec, read, options.q_bits, options.scales)
            counted = _Counter(read())
            text = _write_archive(
                target, codec, info, counted, quantizer=quantizer, model=options.model
            )
        else:
            chosen = token_files.choose_quantizer(
                codec,
                read,
                q_bits=options.q_bits,
                step=options.step,
                snr_db=options.snr_db,
                scales=options.scales,
            )
            counted = _Counter(read())
            text = token_files.write_tokens(
                target, codec, info, counted, quantizer=chosen, model=options.model
            )
        self._say(text)
        return counted.rows / rate


def make_encoder(options: EncodeOptions) -> FileEncoder:
    """A :class:`FileEncoder` with its codec loaded; for workers, in other processes too."""
    return FileEncoder(options, load_model(options.model))


def _write_archive(
    target: Path,
    codec: Codec,
    info: Any,
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


class _Counter:
    """An iterator over arrays that counts the rows that went by."""

    def __init__(self, blocks: Iterator[np.ndarray]) -> None:
        self._blocks = blocks
        self.rows = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self.rows += len(block)
            yield block
