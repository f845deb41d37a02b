"""One training step as a per-device function with named collectives.

The same function runs under ``jax.pmap`` (see :mod:`.parallel`) and ``jax.shard_map``: it sees
its share of the batch, averages gradients and terms over the axis "data" and returns the same
new state on every device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax
from jax import lax

from isincnet_jax.training.augmentation import AugmentationSpec, augment
from isincnet_jax.training.losses import WeightedLoss
from isincnet_jax.training.state import TrainState

AXIS = "data"

Metrics = dict[str, jax.Array]
Step = Callable[[TrainState, Any], tuple[TrainState, Metrics]]


class Reconstruct(Protocol):
    """Model as the trainer sees it: variables, waveform and key to a reconstruction."""

    def __call__(self, variables: Any, waveform: jax.Array, key: jax.Array) -> jax.Array:
        """Reconstructs [batch, time] from [batch, time]."""
        ...


Penalty = Callable[[Any, jax.Array], jax.Array]
"""Variables and a key to a scalar that is added to the loss."""


def make_step(
    reconstruct: Reconstruct,
    *,
    loss: WeightedLoss,
    optimizer: optax.GradientTransformation,
    augmentation: AugmentationSpec | None = None,
    sample_rate: int,
    penalties: dict[str, Penalty] | None = None,
    accumulate: int = 1,
    draw: Callable[[Any, jax.Array], jax.Array] | None = None,
    axis_name: str = AXIS,
) -> Step:
    """Training step of a model that reconstructs, as a per-device function.

    Args:
        reconstruct: the model.
        loss: see :func:`.losses.weighted_loss`.
        optimizer: see :func:`.optimizers.make_optimizer`.
        augmentation: of the waveforms; none if None.
        sample_rate: Hz.
        penalties: terms that depend on the variables only, weighted already.
        accumulate: parts that a device's batch is processed in, to save memory; the result is
            the same.
        draw: turns the step's second argument and its number into this device's batch, for
            corpora that live on the device; by default the argument is the batch.
        axis_name: of the devices.

    Returns:
        A function of (state, batch [clips, time]) to (state, metrics). ``metrics`` are scalars,
        equal on all devices: "loss", the terms, the penalties, "snr_db" (mean over clips that
        are not silent), "grad_norm" (before clipping), "skipped" and "skipped_in_row" (steps
        dropped for non-finite loss or gradients).
    """
    penalties = penalties or {}

    def objective(params: Any, fixed: Any, clips: jax.Array, key: jax.Array) -> Any:
        variables = {"params": params, **fixed}
        prediction = reconstruct(variables, clips, key)
        total, terms = loss(prediction=prediction, target=clips)
        snr_db, audible = _snr_of_audible(prediction, clips)
        return total, {**terms, "_snr_sum": snr_db, "_audible": audible, "loss": total}

    def step(state: TrainState, data: Any) -> tuple[TrainState, Metrics]:
        # The run's key and the step's number: a run that is resumed draws what it would have.
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key_data), state.step)
        augment_key, model_key = jax.random.split(key)
        clips = data if draw is None else draw(data, state.step)
        # Clip k of this device is clip `first` + k of the global batch, and augmented as such.
        first = lax.axis_index(axis_name) * clips.shape[0]
        if augmentation is not None:
            clips = augment(
                clips, augment_key, spec=augmentation, first_index=first, sample_rate=sample_rate
            )
        model_key = jax.random.fold_in(model_key, lax.axis_index(axis_name))
        gradients, metrics = _accumulated(objective, state, clips, model_key, accumulate)
        gradients, metrics = lax.pmean((gradients, metrics), axis_name)
        # Both are means over all clips, silent ones as 0: their ratio is the mean over the others.
        metrics["snr_db"] = metrics.pop("_snr_sum") / jnp.maximum(metrics.pop("_audible"), 1e-9)
        # After pmean: penalties see the parameters alone, and are equal on all devices.
        gradients, extra = _add_penalties(gradients, state, penalties, key)
        metrics = {**metrics, **extra}
        metrics["loss"] = sum(extra.values(), start=metrics["loss"])
        return apply_gradients(state, gradients, metrics, optimizer)

    return step


def _snr_of_audible(prediction: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sum of SNRs over clips that are not silent, and their number, both per clip of the batch."""
    power = jnp.mean(target**2, axis=-1)
    error = jnp.mean((prediction - target) ** 2, axis=-1)
    audible = power > 1e-10  # -100 dB of full scale
    # SNR = 10 log10(mean x^2 / mean (y - x)^2); at most 300 dB, so that no error is no infinity
    ratio = jnp.where(audible, power, 1.0) / jnp.maximum(jnp.where(audible, error, 1.0), 1e-30)
    snr_db = jnp.where(audible, 10.0 * jnp.log10(ratio), 0.0)
    return jnp.mean(snr_db), jnp.mean(audible.astype(power.dtype))


def _accumulated(
    objective: Callable[..., Any],
    state: TrainState,
    clips: jax.Array,
    key: jax.Array,
    accumulate: int,
) -> tuple[Any, Metrics]:
    """Gradients and metrics averaged over equal parts of the batch."""
    gradient = jax.grad(objective, has_aux=True)
    if accumulate == 1:
        return gradient(state.params, state.fixed, clips, key)
    if clips.shape[0] % accumulate:
        raise ValueError(
            f"accumulate={accumulate} does not divide the {clips.shape[0]} clips of a device"
        )
    parts = clips.reshape((accumulate, -1, *clips.shape[1:]))  # [parts, clips, time]

    def one(total: Any, part: Any) -> tuple[Any, None]:
        number, some = part
        result = gradient(state.params, state.fixed, some, jax.random.fold_in(key, number))
        return jax.tree.map(jnp.add, total, result), None

    # The mean over equal parts of means over clips is the mean over all clips. scan keeps the sums
    # and the activations of a single part.
    shapes = jax.eval_shape(gradient, state.params, state.fixed, parts[0], key)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total, _ = lax.scan(one, zeros, (jnp.arange(accumulate), parts))
    return jax.tree.map(lambda leaf: leaf / accumulate, total)


def _add_penalties(
    gradients: Any, state: TrainState, penalties: dict[str, Penalty], key: jax.Array
) -> tuple[Any, Metrics]:
    """Adds the gradients of the penalties, which are the same on all devices."""
    values: Metrics = {}
    for number, (name, penalty) in enumerate(penalties.items()):
        own = jax.random.fold_in(key, number + 1)

        def value_of(params: Any, penalty: Penalty = penalty, own: jax.Array = own) -> jax.Array:
            return penalty({"params": params, **state.fixed}, own)

        values[name], more = jax.value_and_grad(value_of)(state.params)
        gradients = jax.tree.map(jnp.add, gradients, more)
    return gradients, values


def apply_gradients(
    state: TrainState,
    gradients: Any,
    metrics: Metrics,
    optimizer: optax.GradientTransformation,
    *,
    fixed: Any = None,
) -> tuple[TrainState, Metrics]:
    """Applies the gradients, or keeps the state and counts if they are not finite.

    Args:
        state: before the step.
        gradients: of the parameters, the same on all devices.
        metrics: with "loss", the same on all devices.
        optimizer: whose state ``state`` has.
        fixed: the other collections after the step, where a model changes them, as batch
            statistics do; kept like the parameters if the gradients are not finite. None leaves
            them.

    Returns:
        The new state, and the metrics with counters and "grad_norm".
    """
    # One NaN or infinity anywhere makes the norm NaN or infinite: one test for all leaves.
    norm = optax.tree.norm(gradients)
    finite = jnp.isfinite(norm) & jnp.isfinite(metrics["loss"])
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    # A select, not a branch: the same program runs on all devices, and the choice is the same.
    params, opt_state, fixed = jax.tree.map(
        lambda new, old: jnp.where(finite, new, old),
        (params, opt_state, state.fixed if fixed is None else fixed),
        (state.params, state.opt_state, state.fixed),
    )
    failed = 1 - finite.astype(jnp.int32)
    state = state.replace(  # type: ignore[attr-defined]
        step=state.step + 1,  # of skipped steps too: their batch is consumed
        params=params,
        fixed=fixed,
        opt_state=opt_state,
        skipped=state.skipped + failed,
        skipped_in_row=failed * (state.skipped_in_row + 1),
    )
    counters = {"skipped": state.skipped, "skipped_in_row": state.skipped_in_row}
    return state, {**metrics, **counters, "grad_norm": norm}
