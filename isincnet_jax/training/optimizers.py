"""Optimisers: AdamW with a schedule, gradient clipping, and a rate of its own for filters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any, Literal, get_args

import jax
import optax

from isincnet_jax.dsp import checks, settling

Schedule = Literal["constant", "cosine", "step"]


@dataclasses.dataclass(frozen=True)
class OptimizerSpec:
    """AdamW and its schedule.

    Attributes:
        learning_rate: peak rate.
        filter_learning_rate: peak rate of the parameters under ``filter_paths``; the same if
            None, frozen if 0.
        filter_paths: names in the parameter paths below which parameters count as filters, at any
            depth: "analysis" is that of a bank and of a model that has the bank as a part; several
            names, "bank/analysis", must follow each other.
        weight_decay: decoupled, as a rate per step (multiplied with the schedule's shape); not
            applied to filters or to arrays of fewer than two axes.
        schedule: "constant", "cosine" (to ``final_fraction``) or "step" (times ``step_factor``
            every ``step_every``).
        warmup_steps: linear from 0.
        total_steps: where "cosine" ends.
        final_fraction: of the peak rate at the end of "cosine".
        step_every: steps between drops of "step".
        step_factor: of each drop.
        clip_norm: largest global norm of the gradients; None does not clip.
        b1, b2, eps: of Adam.

    Raises:
        ValueError: for an unknown schedule or a number out of range.
    """

    learning_rate: float = 1e-3
    filter_learning_rate: float | None = None
    filter_paths: tuple[str, ...] = ("analysis",)
    weight_decay: float = 1e-4
    schedule: Schedule = "cosine"
    warmup_steps: int = 0
    total_steps: int = 10_000
    final_fraction: float = 0.0
    step_every: int = 1000
    step_factor: float = 0.5
    clip_norm: float | None = 2.0
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        settling.settle_fields(self)
        checks.check_choice("schedule", self.schedule, get_args(Schedule))
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate} must be positive")
        if self.filter_learning_rate is not None and self.filter_learning_rate < 0:
            raise ValueError(f"filter_learning_rate={self.filter_learning_rate} must be >= 0")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm={self.clip_norm} must be positive, or None")
        if self.step_every < 1:  # optax would go on without drops
            raise ValueError(f"step_every={self.step_every} must be at least 1")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay={self.weight_decay} must be >= 0")
        if isinstance(self.filter_paths, str):
            raise ValueError(
                f"filter_paths={self.filter_paths!r}: give names, ({self.filter_paths!r},)"
            )
        if not 0 <= self.warmup_steps < max(self.total_steps, 1):
            raise ValueError(
                f"warmup_steps={self.warmup_steps} must be below total_steps={self.total_steps}; "
                f"use a tenth, {max(self.total_steps, 0) // 10}"
            )
        object.__setattr__(self, "filter_paths", tuple(self.filter_paths))


def learning_rate_schedule(spec: OptimizerSpec, peak: float) -> optax.Schedule:
    """The rate as a function of the optimiser's step.

    Args:
        spec: schedule, warm-up and lengths.
        peak: rate after the warm-up; the schedule scales with it.

    Returns:
        Step (from 0) to rate: linear from 0 to ``peak`` over ``warmup_steps``, then the schedule,
        which counts its steps from there.
    """
    # join_schedules gives the second schedule step - warmup_steps, so cosine ends at total_steps.
    after = max(spec.total_steps - spec.warmup_steps, 1)
    if spec.schedule == "cosine":
        main = optax.cosine_decay_schedule(peak, after, alpha=spec.final_fraction)
    elif spec.schedule == "step":
        main = optax.exponential_decay(peak, spec.step_every, spec.step_factor, staircase=True)
    else:
        main = optax.constant_schedule(peak)
    if not spec.warmup_steps:
        return main
    warmup = optax.linear_schedule(0.0, peak, spec.warmup_steps)
    return optax.join_schedules([warmup, main], [spec.warmup_steps])


def make_optimizer(
    spec: OptimizerSpec, *, project: Callable[[Any], Any] | None = None
) -> optax.GradientTransformation:
    """The optimiser: clip by the global norm, then AdamW with one rate for each group.

    Non-finite gradients are the step's business (it drops them); here they would spread.

    Args:
        spec: the optimiser and its schedule.
        project: parameters to the nearest ones that are allowed, after every step:
            :func:`.filter_ranges.project_parameters` of a model, say. It has no state: checkpoints
            are as without it.

    Returns:
        A ``optax.GradientTransformation``; its updates are added to the parameters.
    """
    filter_peak = (
        spec.learning_rate if spec.filter_learning_rate is None else spec.filter_learning_rate
    )
    groups: dict[Hashable, optax.GradientTransformation] = {
        "main": _adamw(spec, spec.learning_rate, spec.weight_decay),
    }
    groups["filters"] = _adamw(spec, filter_peak, 0.0) if filter_peak else optax.set_to_zero()

    def labels(params: Any) -> Any:
        return label_parameters(params, spec)

    # In the end: (zero frozen filters,) clip by the norm of all that learn, AdamW, (project).
    parts: list[optax.GradientTransformation] = [optax.partition(groups, labels)]
    if spec.clip_norm is not None:
        parts.insert(0, optax.clip_by_global_norm(spec.clip_norm))
    if not filter_peak:  # the gradients of frozen filters are none of the norm's business
        parts.insert(0, optax.partition({**_KEEP, "filters": optax.set_to_zero()}, labels))
    if project is not None:
        parts.append(_projected(project))
    return optax.chain(*parts)


def _projected(project: Callable[[Any], Any]) -> optax.GradientTransformation:
    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        # optax adds updates: those that lead to the nearest allowed parameters are P(p + u) - p.
        allowed = project(optax.apply_updates(params, updates))
        return jax.tree.map(lambda after, before: after - before, allowed, params), state

    return optax.GradientTransformation(optax.init_empty_state, update)


_KEEP: dict[Hashable, optax.GradientTransformation] = {"main": optax.identity()}


def _adamw(spec: OptimizerSpec, peak: float, weight_decay: float) -> optax.GradientTransformation:
    return optax.adamw(
        learning_rate_schedule(spec, peak),
        b1=spec.b1,
        b2=spec.b2,
        eps=spec.eps,
        # optax: p <- p - rate (adam + decay p). The spec states rate * decay at the peak.
        weight_decay=weight_decay / peak,
        mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
    )


def label_parameters(params: Any, spec: OptimizerSpec) -> Any:
    """A tree of "filters" and "main" in the structure of the parameters.

    Args:
        params: pytree of parameters, nested dictionaries.
        spec: whose ``filter_paths`` say which are filters.

    Returns:
        "filters" for a leaf whose path has the names of one of ``filter_paths`` in a row, else
        "main".
    """

    def label(path: Any, leaf: Any) -> str:
        # "/analysis/" in "/bank/analysis/center/": whole names in a row, at any depth.
        names = "/".join(str(getattr(key, "key", key)) for key in path)
        found = any(f"/{wanted}/" in f"/{names}/" for wanted in spec.filter_paths)
        return "filters" if found else "main"

    return jax.tree_util.tree_map_with_path(label, params)
