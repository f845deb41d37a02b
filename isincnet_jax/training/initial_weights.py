"""Warm start: the parameters of another run, to fine-tune from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isincnet_jax.training.checkpoints import Checkpoints
from isincnet_jax.training.trees import CheckpointError, flatten, unflatten


def load_parameters(folder: str | Path, template: Any) -> Any:
    """The parameters of another run's best, else latest, checkpoint, for a fine-tuning start.

    Args:
        folder: of that run; its model need not be the same, only its parameters must fit.
        template: parameters with the wanted structure, shapes and dtypes.

    Returns:
        NumPy arrays in the structure of the template.

    Raises:
        CheckpointError: if there is none, it is damaged, or the parameters do not fit.
    """
    if not (Path(folder) / "checkpoints").is_dir():
        raise CheckpointError(f"{folder}: no run with checkpoints is there")
    with Checkpoints(folder, read_only=True) as run:
        best = run.best_step
        step = max(run.steps, default=None) if best is None else best
        if step is None:
            raise CheckpointError(f"{folder}: the run has no complete checkpoint yet")
        arrays, _ = run.read_arrays(step)
    prefix = "params."
    params = {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    return fitting_parameters(folder, template, params)


def fitting_parameters(folder: str | Path, template: Any, params: Any) -> Any:
    """Parameters in the structure of a template.

    Args:
        folder: where the parameters are from, for the message.
        template: parameters with the wanted structure, shapes and dtypes.
        params: nested, or arrays by dotted path, without the prefix "params.".

    Returns:
        The arrays in the structure of the template.

    Raises:
        CheckpointError: naming the folder that they are from, if they do not fit.
    """
    try:
        return unflatten(template, flatten(params))
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: the parameters do not fit: {error}") from error
