"""Training of networks that estimate settings of a synthesizer: losses, step, streams of sounds.

A network is a callable of variables and waveform, a synthesizer one of a PRNG key; what they are
made of is not known here. Sounds may be made on the device inside the step, from keys, so that no
batch comes twice and nothing is stored.

References:
    O. Barkan, D. Tsiris, N. Koenigstein and O. Katz, "InverSynth: deep estimation of synthesizer
        parameter configurations from audio signals", IEEE/ACM TASLP 27(12), 2019, section V
        (sigmoids and binary cross-entropy over all levels of all parameters).
        https://arxiv.org/abs/1812.06349
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias, get_args

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Float, Int

from isincnet_jax.training.state import TrainState
from isincnet_jax.training.step import AXIS, Metrics, Step, apply_gradients
from isincnet_jax.typing import Array

LossKind: TypeAlias = Literal["sigmoid", "softmax"]
Split: TypeAlias = Literal["train", "validation", "test"]
Scores: TypeAlias = Float[Array, "... parameters levels"]
Levels: TypeAlias = Int[Array, "... parameters"]
Sounds: TypeAlias = tuple[jax.Array, jax.Array]
"""Waveforms [clips, time] and their levels [clips, parameters]."""


class Estimate(Protocol):
    """Network as the trainer sees it: variables and waveform to scores."""

    def __call__(self, variables: Any, waveform: jax.Array) -> jax.Array:
        """Scores [batch, parameters, levels] of [batch, time]."""
        ...


def neighbour_targets(
    levels: Levels, *, num_levels: int, smoothing: float = 0.0
) -> Float[jax.Array, "... parameters levels"]:
    """Distributions over levels: ``1 - smoothing`` at the true one, the rest at its neighbours.

    Two neighbours get half of it each; at the ends of the range the only one gets all of it.

    Args:
        levels: [..., parameters], 0 to ``num_levels - 1``.
        num_levels: 2 or more.
        smoothing: 0 to below 1.

    Returns:
        float32 [..., parameters, num_levels], of sum 1.

    Raises:
        ValueError: for a smoothing or a number of levels out of range.

    Example:
        >>> neighbour_targets(jnp.array([0, 2]), num_levels=4, smoothing=0.5).tolist()
        [[0.5, 0.5, 0.0, 0.0], [0.0, 0.25, 0.5, 0.25]]
    """
    if not 0.0 <= smoothing < 1.0 or num_levels < 2:
        raise ValueError(
            f"smoothing={smoothing}, num_levels={num_levels}: use 0 to below 1, and 2 or more"
        )
    # [..., parameters, levels]: how far each level is from the true one.
    distance = jnp.abs(jnp.arange(num_levels) - jnp.asarray(levels)[..., None])
    beside = (distance == 1).astype(jnp.float32)
    # One or two neighbours, that share the smoothing.
    beside = beside / jnp.sum(beside, axis=-1, keepdims=True)
    return (1.0 - smoothing) * (distance == 0).astype(jnp.float32) + smoothing * beside


def estimation_loss(
    scores: Scores, levels: Levels, *, kind: LossKind = "softmax", smoothing: float = 0.0
) -> Float[jax.Array, ""]:
    """Cross-entropy of scores and true levels, averaged over clips and parameters.

    Args:
        scores: [..., parameters, levels].
        levels: [..., parameters].
        kind: "sigmoid", as published: binary cross-entropy, also averaged over levels; "softmax":
            cross-entropy of one distribution for each parameter.
        smoothing: of the targets, see :func:`neighbour_targets`.

    Returns:
        Nats.

    Raises:
        ValueError: for an unknown kind, and as :func:`neighbour_targets`.
    """
    if kind not in get_args(LossKind):
        known = " or ".join(map(repr, get_args(LossKind)))
        raise ValueError(f"loss={kind!r} is unknown; use {known}")
    scores = jnp.asarray(scores)
    targets = neighbour_targets(levels, num_levels=scores.shape[-1], smoothing=smoothing)
    targets = targets.astype(scores.dtype)
    if kind == "sigmoid":
        return jnp.mean(optax.sigmoid_binary_cross_entropy(scores, targets))
    return -jnp.mean(jnp.sum(targets * jax.nn.log_softmax(scores), axis=-1))


def batch_metrics(scores: Scores, levels: Levels) -> Metrics:
    """Metrics of a batch: "accuracy", "mpr" (mean percentile rank), "class_mae".

    They are those of :mod:`.scores` over all parameters, but that
    the first of equal scores is the choice. NaN if some scores are.

    Args:
        scores: [..., parameters, levels].
        levels: the true ones, integers [..., parameters].

    Returns:
        Scalars by name: a share of 1, percent, levels.
    """
    scores, levels = jnp.asarray(scores), jnp.asarray(levels)
    # As scores.rank_levels, on the device.
    own = jnp.take_along_axis(scores, levels[..., None], axis=-1)
    above = jnp.sum((scores > own).astype(scores.dtype), axis=-1)
    level_with = jnp.sum((scores == own).astype(scores.dtype), axis=-1) - 1.0
    rank = above + 0.5 * level_with
    chosen = jnp.argmax(scores, axis=-1)
    distance = jnp.abs(chosen - levels).astype(scores.dtype)
    found = {
        "accuracy": jnp.mean((chosen == levels).astype(scores.dtype)),
        "mpr": 100.0 * (1.0 - jnp.mean(rank) / scores.shape[-1]),
        "class_mae": jnp.mean(distance),
    }
    unranked = jnp.isnan(scores).any()
    return {name: jnp.where(unranked, jnp.nan, value) for name, value in found.items()}


def stream_key(seed: int | jax.Array, split: Split) -> jax.Array:
    """Key of a split's stream: the batches of different splits have different keys.

    Batch ``n`` of a stream is made from ``jax.random.fold_in(stream_key(seed, split), n)``.

    Args:
        seed: of all streams.
        split: "train", "validation" or "test".

    Returns:
        A PRNG key.

    Raises:
        ValueError: for an unknown split.
    """
    splits = get_args(Split)
    if split not in splits:
        raise ValueError(f"split={split!r} is unknown; use {', '.join(splits)}")
    return jax.random.fold_in(jax.random.key(seed), splits.index(split))


def stream_drawer(
    sample_levels: Callable[[jax.Array, int], jax.Array],
    render: Callable[[jax.Array], jax.Array],
    *,
    batch_size: int,
    clips_per_device: int,
    seed: int,
    axis_name: str = AXIS,
) -> Callable[[Any, jax.Array], Sounds]:
    """A function from the step to this device's new sounds, of the stream "train".

    The levels of the whole batch are drawn everywhere and each device renders its own: the
    batches do not depend on the number of devices.

    Args:
        sample_levels: (key, clips) to levels [clips, parameters].
        render: levels to waveforms [clips, time].
        batch_size: over all devices.
        clips_per_device: of them.
        seed: of the stream.
        axis_name: of the devices.

    Returns:
        A function of the step's second argument, which is not used, and its number.
    """

    def draw(data: Any, step: jax.Array) -> Sounds:
        del data
        levels = sample_levels(jax.random.fold_in(stream_key(seed, "train"), step), batch_size)
        # The whole batch is drawn everywhere, the same; each device renders its own part.
        first = lax.axis_index(axis_name) * clips_per_device
        own = lax.dynamic_slice_in_dim(levels, first, clips_per_device)
        return render(own), own

    return draw


def make_estimation_step(
    estimate: Estimate,
    *,
    optimizer: optax.GradientTransformation,
    loss: LossKind = "softmax",
    smoothing: float = 0.0,
    draw: Callable[[Any, jax.Array], Sounds] | None = None,
    axis_name: str = AXIS,
) -> Step:
    """Builds the training step of one device; see :func:`.step.make_step`.

    Args:
        estimate: the network.
        optimizer: of its parameters.
        loss: see :func:`estimation_loss`.
        smoothing: see :func:`neighbour_targets`.
        draw: turns the step's second argument and its number into this device's sounds, as
            :func:`stream_drawer` does; by default the argument are the sounds.
        axis_name: of the devices.

    Returns:
        A function of (state, (waveform [clips, time], levels [clips, parameters])) to (state,
        metrics). ``metrics`` are scalars, equal on all devices: "loss", :func:`batch_metrics`,
        "grad_norm", "skipped", "skipped_in_row". A step whose loss or gradients are not finite
        changes nothing.

    Raises:
        ValueError: for an unknown loss or a smoothing out of range.
    """
    estimation_loss(jnp.zeros((1, 2)), jnp.zeros(1, jnp.int32), kind=loss, smoothing=smoothing)

    def objective(params: Any, fixed: Any, sounds: Sounds) -> Any:
        waveform, levels = sounds
        scores = estimate({"params": params, **fixed}, waveform)
        value = estimation_loss(scores, levels, kind=loss, smoothing=smoothing)
        return value, {"loss": value, **batch_metrics(scores, levels)}

    def step(state: TrainState, data: Any) -> tuple[TrainState, Metrics]:
        sounds = data if draw is None else draw(data, state.step)
        found = jax.grad(objective, has_aux=True)(state.params, state.fixed, sounds)
        gradients, metrics = lax.pmean(found, axis_name)
        return apply_gradients(state, gradients, metrics, optimizer)

    return step
