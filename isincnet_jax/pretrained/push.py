"""Models onto the Hugging Face Hub, with a card that says what they are and do."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

import isincnet_jax
from isincnet_jax import extras
from isincnet_jax.bank.codec import Codec
from isincnet_jax.data.demo import demo_waveform
from isincnet_jax.dsp import distances
from isincnet_jax.pretrained import (
    description,
    folder,
    hub,
    hugging_face,
    load,
    members,
    model_card,
    model_kinds,
    registry,
    stored,
    trained,
)
from isincnet_jax.pretrained.hugging_face import Repository

_QUANTIZER_BITS = 8


def push_to_hub(
    model: folder.Exportable | str | Path,
    repository: str,
    *,
    private: bool = False,
    card: dict[str, Any] | None = None,
    message: str | None = None,
) -> str:
    """Puts a model on the Hugging Face Hub, for :func:`isincnet_jax.from_pretrained`.

    The repository is made if there is none. One commit holds ``config.json``,
    ``model.safetensors`` and a ``README.md``, a model card with figures: geometry, frame bounds
    and exactness of a codec, and the signal-to-noise ratio of the built-in clip, measured on the
    way; of other models what ``card`` says. Whatever else is in the repository stays; its
    ``README.md`` is written anew.

    Args:
        model: a codec, vocoder or other model of a kind that can be stored; or a folder or .zip of
            :func:`isincnet_jax.export_pretrained`, or any name of
            :func:`isincnet_jax.from_pretrained`. Vocoders are stored in half precision, as their
            trainings do.
        repository: "owner/name", or "owner/name@branch", a branch that is made if there is none.
        private: whether a new repository is for its owner alone.
        card: what else there is to say, such as metrics, data and license: JSON values, added to
            those that the stored model has.
        message: of the commit.

    Returns:
        ``hf://owner/name@commit``, which will always mean these weights.

    Raises:
        ValueError: for a repository that cannot be named so, or a card with NaN or infinity.
        TypeError: for models that cannot be stored, or a card that is not JSON.
        FileExistsError: if the repository holds a model of another library.
        isincnet_jax.pretrained.hugging_face.HubError: if the Hub refuses or cannot be reached (an
            OSError).
        ImportError: without huggingface_hub, which the extra "hub" brings.

    Example:
        >>> push_to_hub("16khz-linear", "owner/name")  # doctest: +SKIP
        'hf://owner/name@2c0b...'
    """
    extras.require("huggingface_hub")
    target = hugging_face.parse_repository(repository)
    with tempfile.TemporaryDirectory(prefix="isincnet-") as temporary:
        source = _stored(model, Path(temporary, "model.zip"))
        found, contents = stored.read_model(source), members.read_members(source)
        figures = _figures(source) if found.kind.wrap is Codec else {}
    config = json.loads(contents[members.CONFIG])
    config["card"] = {**config["card"], **folder.checked_card(card)}
    readme = model_card.render(
        found.kind.name,
        fields=found.fields,
        values=found.values,
        card=config["card"],
        figures=figures,
        address=str(Repository(target.name)),
    )
    contents = {
        members.CONFIG: (json.dumps(config, indent=2, allow_nan=False) + "\n").encode(),
        members.WEIGHTS: contents[members.WEIGHTS],
        members.CARD: readme.encode("utf-8", "backslashreplace"),
    }
    message = message or f"Model of kind {found.kind.name}, isincnet_jax {isincnet_jax.__version__}"
    commit = _commit(target, contents, private=private, message=message)
    return str(Repository(target.name, commit))


def _stored(model: Any, path: Path) -> Path:
    """The folder or .zip of a model; ``path`` if it has to be written."""
    if isinstance(model, (str, Path)):
        if trained.is_exported(model):
            entry = registry.REGISTRY.get(model) if isinstance(model, str) else None
            if entry is None or isinstance(entry, registry.Stored):
                return hub.stored_path(model)
        model = load.load_any(model)
    kind = model_kinds.kind_of(getattr(model, "model", model))
    if isinstance(kind, model_kinds.HalfModelKind):
        return trained.export_trained(model, path)
    return folder.export_pretrained(model, path)


def _figures(source: Path) -> dict[str, str]:
    """What a stored codec is and does, by what ``describe`` calls it."""
    codec = hub.from_pretrained(source)
    waveform = demo_waveform(codec.spec.sample_rate)[np.newaxis]
    spectrogram = codec.encode(waveform)
    quantizer = codec.quantizer(q_bits=_QUANTIZER_BITS).fit(spectrogram)
    coded = quantizer.decode(quantizer.encode(spectrogram))

    def snr(coefficients: Any) -> str:
        again = codec.decode(coefficients, length=waveform.shape[-1])
        return f"{distances.snr_db(prediction=again, target=waveform):.1f} dB SNR"

    facts = dict(description.describe(codec))
    del facts["model"]  # a path of this machine
    return {
        **facts,
        "built-in clip, decoded": snr(spectrogram),
        f"built-in clip, decoded from {_QUANTIZER_BITS} bits": snr(coded),
        "measured by": f"isn.push_to_hub: isincnet_jax {isincnet_jax.__version__}, "
        f"jax {jax.__version__}, {jax.devices()[0].device_kind}",
    }


def _commit(target: Repository, contents: dict[str, bytes], *, private: bool, message: str) -> str:
    """One commit of all files; its hash."""
    with extras.importing("huggingface_hub"):
        import huggingface_hub  # noqa: PLC0415
    client = huggingface_hub.HfApi(library_name="isincnet_jax")
    with hugging_face.told(target):
        client.create_repo(target.name, private=private or None, exist_ok=True)
        if target.revision is not None:
            client.create_branch(target.name, branch=target.revision, exist_ok=True)
        there = client.file_exists(target.name, members.CONFIG, revision=target.revision)
    if there:
        try:
            hugging_face.checked_config(target)
        except members.ModelFileError as error:
            raise FileExistsError(f"{error}; push to another repository") from error
    with hugging_face.told(target):
        done = client.create_commit(
            target.name,
            [
                huggingface_hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=data)
                for name, data in contents.items()
            ],
            commit_message=message,
            revision=target.revision,
        )
    return done.oid
