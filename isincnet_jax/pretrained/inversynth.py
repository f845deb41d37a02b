"""Trained estimators of synthesizer settings in folders: float16 weights, read back as float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp

from isincnet_jax.inversynth.networks import TrainedInverSynth
from isincnet_jax.pretrained import folder, hub


def export_inversynth(
    trained: TrainedInverSynth,
    path: str | Path,
    *,
    overwrite: bool = False,
    card: dict[str, Any] | None = None,
) -> Path:
    """Stores a network for :func:`isincnet_jax.from_pretrained`, matrices as float16.

    Args:
        trained: the network and its variables.
        path: the folder to make, or a single file if it ends in ``.zip``.
        overwrite: replace a stored model; anything else is never replaced.
        card: what else there is to say, JSON values.

    Returns:
        The path.

    Raises:
        ValueError, TypeError, FileExistsError, OSError: see :func:`.folder.export_pretrained`;
            ValueError also for weights beyond the range of float16.
    """
    model = trained.model.clone(dtype=jnp.float32)
    return folder.export_half(model, trained.variables, path, overwrite=overwrite, card=card)


def load_inversynth(name: str | Path, *, dtype: Any = None) -> TrainedInverSynth:
    """A network by name, path or address, see :func:`isincnet_jax.from_pretrained`.

    Raises:
        ValueError: if there is none, or the model is no estimator.
    """
    found: Any = hub.from_pretrained(name, dtype=dtype)
    if not isinstance(found, TrainedInverSynth):
        kind = type(getattr(found, "model", found)).__name__
        raise ValueError(
            f"{name}: a {kind}, no InverSynth; use the export folder of train_inversynth.py"
        )
    return found
