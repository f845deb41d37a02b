"""Trained vocoders in folders: stored with float16 weights, read back as float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp

from isincnet_jax.pretrained import folder, hub
from isincnet_jax.vocoders.vocoder import TrainedVocoder, Vocoder


def export_vocoder(
    vocoder: TrainedVocoder,
    path: str | Path,
    *,
    overwrite: bool = False,
    card: dict[str, Any] | None = None,
) -> Path:
    """Stores a vocoder for :func:`isincnet_jax.from_pretrained`, matrices as float16.

    Args:
        vocoder: trained or not.
        path: the folder to make, or a single file if it ends in ``.zip``.
        overwrite: replace a stored model; anything else is never replaced.
        card: what else there is to say, JSON values.

    Returns:
        The path.

    Raises:
        ValueError, TypeError, FileExistsError, OSError: see :func:`.folder.export_pretrained`;
            ValueError also for weights beyond the range of float16.
    """
    network = vocoder.model.network
    if getattr(network, "axis_name", None) is not None:  # of devices that only training has
        network = network.clone(axis_name=None)
    network = network.clone(dtype=jnp.float32)
    model = vocoder.model.clone(network=network, dtype=jnp.float32)
    return folder.export_half(model, vocoder.variables, path, overwrite=overwrite, card=card)


def load_vocoder(name: str | Path, *, dtype: Any = None) -> TrainedVocoder:
    """A vocoder by name, path or address, see :func:`isincnet_jax.from_pretrained`.

    Raises:
        ValueError: if there is none, or the model is no vocoder.
    """
    found: Any = hub.from_pretrained(name, dtype=dtype)
    if not isinstance(found, TrainedVocoder):
        kind = type(getattr(found, "model", found)).__name__
        raise ValueError(f"{name}: a {kind}, no vocoder; use the export folder of a vocoder's run")
    if not isinstance(found.model, Vocoder):
        raise ValueError(f"{name}: its network is a {type(found.model).__name__}, no vocoder")
    return found
