"""Trained vocoders and estimators of synthesizer settings: float16 on disk, float32 in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import jax.numpy as jnp

from isincnet_jax.inversynth.networks import TrainedInverSynth
from isincnet_jax.linen import TrainedModel
from isincnet_jax.pretrained import (
    download,
    folder,
    hub,
    hugging_face,
    members,
    model_kinds,
    stored,
)
from isincnet_jax.pretrained.registry import REGISTRY
from isincnet_jax.training import initial_weights
from isincnet_jax.vocoders.vocoder import TrainedVocoder, Vocoder

Trained = TypeVar("Trained", bound=TrainedModel)
_VOCODER = "vocoder; use the export folder of a vocoder's run"


def export_trained(
    trained: TrainedModel,
    path: str | Path,
    *,
    overwrite: bool = False,
    card: dict[str, Any] | None = None,
) -> Path:
    """Stores a trained model for :func:`isincnet_jax.from_pretrained`, matrices as float16.

    Args:
        trained: of a kind that is a :class:`.model_kinds.HalfModelKind`.
        path: the folder to make, or a single file if it ends in ``.zip``.
        overwrite: replace a stored model; anything else is never replaced.
        card: what else there is to say, JSON values.

    Returns:
        The path.

    Raises:
        ValueError, TypeError, FileExistsError, OSError: see :func:`.folder.export_pretrained`;
            ValueError also for weights beyond the range of float16.
    """
    model: Any = trained.model
    if isinstance(model, Vocoder):
        network = model.network.clone(dtype=jnp.float32)
        if getattr(network, "axis_name", None) is not None:  # of devices that only training has
            network = network.clone(axis_name=None)
        model = model.clone(network=network)
    model = model.clone(dtype=jnp.float32)
    half = TrainedModel(model, model_kinds.half_precision(trained.variables))
    return folder.export_pretrained(half, path, overwrite=overwrite, card=card)


def load_vocoder(name: str | Path, *, dtype: Any = None) -> TrainedVocoder:
    """A vocoder by name, path or address, see :func:`isincnet_jax.from_pretrained`.

    Args:
        name: "22khz-speech-vocoder", say, or the folder or .zip of an export.
        dtype: float32 or float64, in which it computes; the stored one if None.

    Returns:
        The vocoder with its variables.

    Raises:
        ValueError: if there is none, or the model is no vocoder.
    """
    return _load(name, dtype, TrainedVocoder, _VOCODER)


def load_inversynth(name: str | Path, *, dtype: Any = None) -> TrainedInverSynth:
    """An InverSynth network by name, path or address, see :func:`isincnet_jax.from_pretrained`.

    Args:
        name: "16khz-inversynth", say, or the folder or .zip of an export.
        dtype: float32 or float64, in which it computes; the stored one if None.

    Returns:
        The network with its variables.

    Raises:
        ValueError: if there is none, or the model is no such network.

    Example:
        >>> estimator = load_inversynth("16khz-inversynth")
        >>> type(estimator.model).__name__
        'InverSynth'
    """
    wanted = "InverSynth; use the export folder of train_inversynth.py"
    return _load(name, dtype, TrainedInverSynth, wanted)


def vocoder_module(name: str | Path) -> Vocoder:
    """The module of a stored vocoder, without its variables: what it takes, and its network.

    Nothing is computed, so that JAX may still be told of other hosts.

    Args:
        name: see :func:`load_vocoder`.

    Returns:
        The module.

    Raises:
        ValueError: if there is none, or the model is no vocoder.
    """
    found = stored.read_model(hub.stored_path(name))
    if found.kind.name != "vocoder":
        raise ValueError(f"{name}: a stored {found.kind.name!r}, no {_VOCODER}")
    return found.build_module()


def is_exported(source: str | Path) -> bool:
    """Whether :func:`isincnet_jax.from_pretrained` finds a stored model there.

    Args:
        source: a name, an address, a .zip or a folder.

    Returns:
        False for what is none of these, the folder of a run among them.
    """
    if isinstance(source, str) and (
        source in REGISTRY or download.is_address(source) or hugging_face.is_repository(source)
    ):
        return True
    path = Path(source)
    if path.suffix.lower() == ".zip":
        return path.is_file()
    return any((path / name).is_file() for name in (members.WEIGHTS, *members.FORMAT_1))


def starting_parameters(source: str | Path, template: Any) -> Any:
    """Parameters of another run or of an exported model, to begin a training with.

    Args:
        source: folder of a run (its best, else latest checkpoint), or what
            :func:`isincnet_jax.from_pretrained` takes.
        template: parameters with the structure, shapes and dtypes that they must have.

    Returns:
        NumPy arrays in the structure of the template.

    Raises:
        isincnet_jax.training.trees.CheckpointError: if nothing is there, or the parameters do not
            fit.
    """
    if is_exported(source):
        given = hub.from_pretrained(source).variables.get("params", {})
        return initial_weights.fitting_parameters(source, template, given)
    return initial_weights.load_parameters(source, template)


def _load(name: str | Path, dtype: Any, trained: type[Trained], wanted: str) -> Trained:
    found: Any = hub.from_pretrained(name, dtype=dtype)
    if not isinstance(found, trained):
        kind = type(getattr(found, "model", found)).__name__
        raise ValueError(f"{name}: a {kind}, no {wanted}")
    return found
