"""Codecs by any name: a preset, an exported model, an address, or a checkpoint of iSincNet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from isincnet_jax.bank.codec import Codec
    from isincnet_jax.bank.lapped_codec import LappedCodec
    from isincnet_jax.constant_q.nonuniform_codec import NonuniformCodec

    AnyCodec: TypeAlias = Codec | LappedCodec | NonuniformCodec

DEFAULT_MODEL = "16khz-linear"


def load_model(model: str | Path | AnyCodec) -> Codec:
    """Codec of a preset, an exported model, an address or a checkpoint file.

    Args:
        model: its name, see :func:`.from_pretrained`; a file that is no ``.zip`` is read by
            :func:`.reference.load_reference`; a codec is returned as it is.

    Returns:
        The codec, in its own dtype.

    Raises:
        ValueError: if there is none, or the model is no filterbank with its inverse.
    """
    from isincnet_jax.bank.codec import Codec

    codec = load_codec(model)
    if not isinstance(codec, Codec):
        raise ValueError(
            f"model={codec.name}: a lapped bank, which this does not take; encode, decode, ids, "
            "stream, plot and export do"
        )
    return codec


def load_codec(model: str | Path | AnyCodec) -> Codec | LappedCodec:
    """Codec of any bank of one hop, lapped ones too: :func:`load_model`, for what both can do.

    Args:
        model: as for :func:`load_model`.

    Returns:
        The codec, in its own dtype.

    Raises:
        ValueError: if there is none, or the model is no bank of one hop with its inverse.
    """
    from isincnet_jax.constant_q.nonuniform_codec import NonuniformCodec

    codec = load_any(model)
    if isinstance(codec, NonuniformCodec):
        raise ValueError(
            f"model={codec.name}: a nonuniform bank, which this does not take; describe, plot "
            "spectrogram, encode (.isn) and isn.from_pretrained do"
        )
    return codec


def load_any(
    model: str | Path | AnyCodec,
) -> AnyCodec:
    """Codec of any bank, nonuniform ones too: as :func:`load_codec`, for what all can do.

    Args:
        model: as for :func:`load_model`.

    Returns:
        The codec, in its own dtype.

    Raises:
        ValueError: if there is none, or the model is no bank with its inverse.
    """
    from isincnet_jax.bank.codec import Codec
    from isincnet_jax.bank.lapped_codec import LappedCodec
    from isincnet_jax.constant_q.nonuniform_codec import NonuniformCodec
    from isincnet_jax.pretrained import hub, reference

    if isinstance(model, Codec | LappedCodec | NonuniformCodec):
        return model
    name = str(model)
    if name.endswith(".ckpt") or (Path(name).is_file() and not name.endswith(".zip")):
        return reference.load_reference(name)
    codec: Any = hub.from_pretrained(name)
    if not isinstance(codec, Codec | LappedCodec | NonuniformCodec):
        raise ValueError(
            f"model={name}: a {type(codec.model).__name__}; what is asked for is a filterbank "
            "with its inverse"
        )
    return codec


def name_of(model: str | Path | AnyCodec) -> str:
    """Name under which files remember a model.

    Args:
        model: as for :func:`load_model`.

    Returns:
        The name or path as it was given; a codec's own.
    """
    return str(model) if isinstance(model, (str, Path)) else model.name
