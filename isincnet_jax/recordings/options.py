"""Options of encoding recordings: which go together, and how a corpus of them is made."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from isincnet_jax import extras
from isincnet_jax.pretrained.load import load_model
from isincnet_jax.recordings.quantizers import check_scales

if TYPE_CHECKING:
    from isincnet_jax.bank.codec import Codec

ARCHIVE_SUFFIX = ".npz"
TOKEN_SUFFIX = ".isn"
SUFFIXES = (ARCHIVE_SUFFIX, TOKEN_SUFFIX)
"""Of encoded files: coefficients or codes, and entropy-coded codes."""


@dataclasses.dataclass(frozen=True)
class EncodeOptions:
    """Options of encoding files, in a form that workers can be sent.

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
        """Refuses what does not go together, before anything is loaded.

        Args:
            target: file to write.
            entropy: whether an entropy-coded file was asked for.

        Raises:
            ValueError: naming the keywords.
            ImportError: for .isn files without constriction.
        """
        suffix = target.suffix.lower()
        chosen = [name for name in ("step", "snr_db") if getattr(self, name) is not None]
        if suffix == TOKEN_SUFFIX or entropy or chosen:
            extras.require("constriction")
        if entropy and suffix != TOKEN_SUFFIX:
            fix = target.with_suffix(TOKEN_SUFFIX).name
            raise ValueError(f"{target}: entropy-coded files end in {TOKEN_SUFFIX}; use {fix}")
        if chosen and suffix != TOKEN_SUFFIX:
            raise ValueError(f"{target}: step= and snr_db= make entropy-coded files; name it .isn")
        if suffix not in SUFFIXES:
            fix = target.with_suffix(ARCHIVE_SUFFIX).name
            raise ValueError(f"{target}: archives end in {ARCHIVE_SUFFIX}; use {fix}")
        given = ["q_bits", *chosen] if self.q_bits is not None else chosen
        if suffix == TOKEN_SUFFIX and len(given) > 1:
            names = " and ".join(f"{name}=" for name in given)
            raise ValueError(f"{names} exclude each other: give one of them")
        if self.snr_db is not None and not -10 <= self.snr_db <= 100:
            raise ValueError(f"snr_db={self.snr_db:g}: use -10 to 100 dB")

    def prepare(
        self, suffix: str | None = None, *, entropy: bool = False, codec: Codec | None = None
    ) -> Prepared:
        """Settles how a corpus is encoded; refuses what would fail for every file of it.

        Args:
            suffix: of the files; None for .isn where codes are entropy-coded, else .npz.
            entropy: whether entropy-coded files were asked for.
            codec: of ``model``, if it is loaded already.

        Returns:
            The codec, the suffix, and what the files' bytes depend on.

        Raises:
            ValueError: as :meth:`check`; for impossible bits, scales or steps.
            ImportError: as :meth:`check`.
        """
        from isincnet_jax.data.audio_inspection import check_truncated
        from isincnet_jax.tokens.uniform_quantizer import make_uniform_quantizer

        is_coded = self.step is not None or self.snr_db is not None
        if suffix is None:
            suffix = TOKEN_SUFFIX if entropy or is_coded else ARCHIVE_SUFFIX
        if suffix not in SUFFIXES:
            raise ValueError(f"suffix={suffix}: use {' or '.join(SUFFIXES)}")
        if is_coded and suffix != TOKEN_SUFFIX:
            raise ValueError(
                f"suffix={suffix}: step= and snr_db= make entropy-coded files; use "
                f"suffix={TOKEN_SUFFIX}"
            )
        self.check(Path(f"*{suffix}"), entropy=entropy)
        check_scales(self.scales)
        check_truncated(self.truncated)
        if self.step is not None:
            make_uniform_quantizer(self.step)
        codec = load_model(self.model) if codec is None else codec
        if self.q_bits is not None:
            codec.quantizer(q_bits=self.q_bits)
        fields = dataclasses.asdict(self)
        if self.truncated == "refuse":  # as in folders that were made before there was a choice
            del fields["truncated"]
        configuration = {
            "work": "encode",
            "suffix": suffix,
            **fields,
            "scales": None if self.q_bits is None else self.scales,
            "bank": codec.spec.digest(),
            "weights": weights_digest(codec),
        }
        return Prepared(codec, suffix, configuration)


class Prepared(NamedTuple):
    """Codec, suffix and configuration of a corpus that is encoded.

    Attributes:
        codec: loaded.
        suffix: of the files.
        configuration: all that their bytes depend on, but for the recordings; JSON values.
    """

    codec: Codec
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
