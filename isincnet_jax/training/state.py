"""The state of a training run: everything that a step reads and writes, one pytree."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from isincnet_jax.dsp.equality import equal_by_value


@flax.struct.dataclass
class TrainState:
    """Parameters, optimiser, PRNG and counters.

    Attributes:
        step: batches consumed, int32; the data position too, since a batch is a function of
            its step.
        params: learned arrays (the Linen collection "params").
        fixed: all other collections of the model.
        opt_state: of the optimiser.
        key_data: raw PRNG key of the run, uint32; steps fold their number into it.
        skipped: steps dropped for non-finite loss or gradients, int32.
        skipped_in_row: of those, the ones without a good step since, int32.
    """

    step: jax.Array
    params: Any
    fixed: Any
    opt_state: Any
    key_data: jax.Array
    skipped: jax.Array
    skipped_in_row: jax.Array

    __eq__ = equal_by_value
    __hash__ = None  # type: ignore[assignment]


def create_state(
    variables: Any, optimizer: optax.GradientTransformation, *, key: jax.Array
) -> TrainState:
    """The state before the first step.

    Args:
        variables: of ``model.init``; the collection "params" is learned.
        optimizer: its state is initialised here.
        key: PRNG key of the run.

    Returns:
        ``step`` 0, with copies of all arrays: a step may donate them.

    Raises:
        ValueError: if there is nothing to learn.
    """
    fixed = {name: tree for name, tree in variables.items() if name != "params"}
    params = variables.get("params", {})
    if not jax.tree.leaves(params):
        raise ValueError(
            "the model has no parameters to learn; use learnable_decoder=True or "
            "learnable_filters=True"
        )
    # Every array is a buffer of its own: the step donates them.
    own = jax.tree.map(jnp.array, {"params": params, "fixed": fixed})
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=own["params"],
        fixed=own["fixed"],
        opt_state=optimizer.init(own["params"]),
        key_data=jax.random.key_data(key),
        skipped=jnp.zeros((), jnp.int32),
        skipped_in_row=jnp.zeros((), jnp.int32),
    )


def model_variables(state: TrainState) -> dict[str, Any]:
    """The variables for ``model.apply``.

    Args:
        state: of a run, on the host or on a device.

    Returns:
        "params" and all other collections, by name.
    """
    return {"params": state.params, **state.fixed}
