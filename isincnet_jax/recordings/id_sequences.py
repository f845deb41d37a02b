"""Token ids of recordings in JSON files, and sound of such files, whoever wrote the ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isincnet_jax.pretrained.load import load_codec, name_of
from isincnet_jax.recordings.encoder import open_recording, silent
from isincnet_jax.recordings.options import lapped_codec

if TYPE_CHECKING:
    import numpy as np

    from isincnet_jax.bank.lapped_codec import LappedCodec
    from isincnet_jax.tokens.token_ids import Order

DEFAULT_MODEL = "16khz-lapped"
_FIELDS = ("model", "order", "largest", "audio_channels", "length", "ids")


def encode_ids(
    source: str | Path,
    target: str | Path,
    *,
    model: str | LappedCodec = DEFAULT_MODEL,
    order: Order = "frames",
    largest: int = 127,
    truncated: str = "refuse",
    say: Callable[[str], None] | None = None,
) -> np.ndarray:
    """Token ids of a recording, as a JSON file.

    Args:
        source: audio file of any format and rate; resampled to the model's.
        target: ``.json`` file to write: an object with ``ids`` and what they mean.
        model: a lapped preset, whose step is that of the codes; or a codec of such a name.
        order: of the ids, see :class:`.TokenIds`.
        largest: code that is a token of its own; the vocabulary has twice as many ids and two.
        truncated: of damaged or cut audio: "refuse", or "keep" what can be read of it.
        say: called with a line for each thing that there is to say.

    Returns:
        int32 [ids].

    Raises:
        ValueError: for other models, orders and sizes, and a recording that cannot be read.

    Example:
        >>> import tempfile
        >>> import soundfile
        >>> import isincnet_jax as isn
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clip, ids = Path(folder, "clip.wav"), Path(folder, "ids.json")
        ...     soundfile.write(clip, isn.demo_waveform(16_000)[:8000], 16_000)
        ...     bool(isn.encode_ids(clip, ids).max() < 256)
        True
    """
    import numpy as np

    from isincnet_jax import files
    from isincnet_jax.tokens.token_ids import TokenIds

    source, target, say = Path(source), Path(target), say or silent
    _check_json(target)
    codec = lapped_codec(load_codec(model))
    rate = codec.spec.sample_rate
    _, read = open_recording(source, rate, truncated=truncated, say=say)
    samples = np.concatenate(list(read())).T
    codes = codec.quantizer().encode(codec.encode(samples))
    ids = TokenIds(codec.spec.num_bins, len(samples), order, largest)
    found = ids.encode(codes)
    content = {
        "model": name_of(model),
        "order": order,
        "largest": largest,
        "audio_channels": len(samples),
        "length": samples.shape[1],
        "ids": found.tolist(),
    }
    with files.replacing(target) as temporary:
        temporary.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")
    seconds = samples.shape[1] / rate
    say(
        f"wrote {target}: {len(found)} ids of a vocabulary of {ids.vocabulary}, "
        f"{len(found) / seconds:.0f} a second"
    )
    return found


def decode_ids(
    source: str | Path, target: str | Path, *, say: Callable[[str], None] | None = None
) -> float:
    """Sound of a JSON file of token ids.

    Args:
        source: as :func:`encode_ids` writes it. ``ids`` may be a model's, and stop anywhere;
            without ``length`` there are as many samples as frames have.
        target: audio file to write, at the model's rate.
        say: called with a line for each thing that there is to say.

    Returns:
        Seconds of audio that were written.

    Raises:
        ValueError: for a file that is no such object, naming it and what is wrong; and if the
            audio cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ids, sound = Path(folder, "ids.json"), Path(folder, "sound.wav")
        ...     text = ids.write_text('{"model": "16khz-lapped", "ids": [130, 120, 255, 255]}')
        ...     decode_ids(ids, sound)
        0.064
    """
    import numpy as np

    from isincnet_jax.data import audio_writing
    from isincnet_jax.tokens.token_ids import TokenIds

    source, target = Path(source), Path(target)
    try:
        content = _read_object(source)
        codec = lapped_codec(load_codec(content["model"]))
        ids = TokenIds(
            codec.spec.num_bins,
            content.get("audio_channels", 1),
            content.get("order", "frames"),
            content.get("largest", 127),
        )
        length = content.get("length")
        num_frames = None if length is None else codec.num_frames(length)
        codes = ids.decode(np.asarray(content["ids"]), num_frames=num_frames)
        if not codes.shape[1]:
            raise ValueError("ids of no frames")
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"{source}: {error}") from error
    samples = np.asarray(codec.decode(codec.quantizer().decode(codes), length=length)).T
    written = audio_writing.write_blocks(
        target,
        iter([samples]),
        sample_rate=codec.spec.sample_rate,
        num_channels=samples.shape[1],
        subtype="PCM_24",
    )
    rate = codec.spec.sample_rate
    if say is not None:
        say(f"wrote {target}: {written / rate:.2f} s, {samples.shape[1]} channels, {rate} Hz")
    return written / rate


def _check_json(target: Path) -> None:
    if target.suffix.lower() != ".json":
        raise ValueError(
            f"{target}: ids are written as JSON; use {target.with_suffix('.json').name}"
        )


def _read_object(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"an object with {', '.join(_FIELDS)} is needed")
    unknown = sorted(set(content) - set(_FIELDS))
    if unknown:
        raise ValueError(f"field {unknown[0]!r} is unknown; fields are {', '.join(_FIELDS)}")
    for name, kind in (("model", str), ("ids", list)):
        if not isinstance(content.get(name), kind):
            raise ValueError(f"field {name!r} is missing, or of another type")
    return content
