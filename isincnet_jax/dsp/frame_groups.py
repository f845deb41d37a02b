"""Frames in groups that fit the cache, where all of them at once would not.

A temporary array of more than 32 MiB is memory that the C library takes from the system anew on
every call and gives back after it: each of its pages is cleared and entered again, which on a
machine of two cores took as long as the arithmetic. On CPUs frames therefore go through in groups,
one after the other, each written to its place in the result. Groups are large enough that every
core has its part of each loop (of 1 MiB they took less processor time and more time), and only
what exceeds 64 MiB is grouped: below, the loop costs more than the pages. Groups are of frames of
all clips of a batch, never of clips, so that a batch that is split over devices stays split.

Derivatives are those of all frames at once: a loop that is transposed would add up the whole
signal's gradient once per group.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from isincnet_jax.dsp.materialized import with_stored
from isincnet_jax.typing import Array

GroupFunction: TypeAlias = Callable[..., jax.Array]
"""A stretch of the signal, a number of items, then weights: to [..., items, any]."""

Line: TypeAlias = tuple[Array, Array, Array]
"""What stands before a signal, the signal, and what stands after it, along one axis."""

_LARGEST = 1 << 26
_AT_ONCE = 1 << 24
_FEWEST = 16
_OVERLAPS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupPlan:
    """Which stretch of a signal items are made of, and where they go.

    Attributes:
        num_items: frames, or blocks of samples.
        stride: signal entries from an item to the next.
        axis: of the signal, -1 or -2.
        first: entry of the signal at which item 0 begins; negative before its beginning.
        width: entries that so many items need; beyond the ends they are zeros.
        item_bytes: temporary arrays of an item of the whole batch.
        multiple: of the items of a group, for what works on so many of them side by side.
        samples: None for results [..., items, any]; else items are blocks of so many samples, laid
            end to end: how many are left out before the clip, and its length.
    """

    num_items: int
    stride: int
    axis: int
    first: int
    width: Callable[[int], int]
    item_bytes: int
    multiple: int = 1
    samples: tuple[int, int] | None = None

    @property
    def group(self) -> int:
        """Items of a group: of 16 MiB, but 8 times those that overlap; all of them up to 64 MiB."""
        if self.num_items * self.item_bytes <= _LARGEST:
            return self.num_items
        fewest = max(_OVERLAPS * self.width(1) // self.stride, _FEWEST)
        fitting = max(_AT_ONCE // self.item_bytes, fewest)
        return self.multiple * max(fitting // self.multiple, 1)

    def stretch(self, line: Line, item: int, number: int) -> jax.Array:
        """The stretch of some items, zeros beyond the line's ends.

        Args:
            line: the signal and what continues it.
            item: the first of them.
            number: of them.

        Returns:
            ``width(number)`` entries along the axis.
        """
        begin = self.first + item * self.stride
        end = begin + self.width(number)
        before, signal, after = line
        place, parts = -before.shape[self.axis], []
        missing = [place - begin, end - signal.shape[self.axis] - after.shape[self.axis]]
        for part in line:
            size = part.shape[self.axis]
            low, high = max(begin - place, 0), min(end - place, size)
            if low < high:
                parts.append(lax.slice_in_dim(part, low, high, axis=self.axis))
            place += size
        shape = list(signal.shape)
        for count, where in zip(missing, (0, len(parts) + 1), strict=True):
            if count > 0:
                shape[self.axis] = min(count, end - begin)
                parts.insert(where, jnp.zeros(shape, signal.dtype))
        return jnp.concatenate(parts, axis=self.axis)

    def placed(self, items: jax.Array, first: int) -> jax.Array:
        """Items as they stand in the result: themselves, or their samples within the clip.

        Args:
            items: [..., number, any].
            first: the first of them.

        Returns:
            [..., number, any] or [..., samples].
        """
        if self.samples is None:
            return items
        skipped, length = self.samples
        *batch, number, hop = items.shape
        begin = first * hop - skipped
        flat = jnp.reshape(items, (*batch, number * hop))
        return flat[..., max(-begin, 0) : length - begin]


def in_groups(function: GroupFunction, plan: GroupPlan, line: Line, *weights: Any) -> jax.Array:
    """Items of a signal, in groups where temporaries are large; see the module.

    Args:
        function: of a stretch, a number of items and the weights; acts on each item alone and
            closes over no traced array.
        plan: see :class:`GroupPlan`.
        line: the signal, floating or complex, and what continues it.
        *weights: arrays that the function takes.

    Returns:
        What the function makes of all items, see :class:`GroupPlan`.
    """
    group = plan.group
    # The first and the last group take the ends; the others lie within the signal.
    inner = [plan.first + item * plan.stride for item in (group, plan.num_items - 2 * group)]
    within = inner[0] >= 0 and inner[1] + plan.width(group) <= line[1].shape[plan.axis]
    if 3 * group > plan.num_items or not within:
        return _whole(function, plan, line, *weights)
    return lax.platform_dependent(
        line,
        *weights,
        cpu=functools.partial(_grouped, function, plan),
        default=functools.partial(_whole, function, plan),
    )


def _whole(function: GroupFunction, plan: GroupPlan, line: Line, *weights: Any) -> jax.Array:
    stretch = plan.stretch(line, 0, plan.num_items)
    return plan.placed(function(stretch, plan.num_items, *weights), 0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _grouped(function: GroupFunction, plan: GroupPlan, line: Line, *weights: Any) -> jax.Array:
    group, axis, width = plan.group, plan.axis, plan.width(plan.group)
    last = plan.num_items - group

    def of_group(stretch: jax.Array, *weights: jax.Array) -> jax.Array:
        return function(stretch, group, *weights)

    ends = [
        plan.placed(of_group(plan.stretch(line, item, group), *weights), item) for item in (0, last)
    ]
    out_axis = -2 if plan.samples is None else -1
    shape = list(ends[0].shape)
    shape[out_axis] = plan.num_items if plan.samples is None else plan.samples[1]
    found = jnp.zeros(shape, ends[0].dtype)
    for part, place in zip(ends, (0, shape[out_axis] - ends[1].shape[out_axis]), strict=True):
        found = lax.dynamic_update_slice_in_dim(found, part, place, axis=out_axis)

    def step(index: jax.Array, found: jax.Array) -> jax.Array:
        # The group before the last begins early and repeats some items.
        item = jnp.minimum(index * group, last - group)
        begin = plan.first + item * plan.stride
        stretch = lax.dynamic_slice_in_dim(line[1], begin, width, axis=axis)
        # Stored, lest the place of the stretch be computed anew for each of its entries.
        items = with_stored(of_group, stretch, *weights)
        if plan.samples is not None:
            hop = items.shape[-1]
            items, item = items.reshape((*items.shape[:-2], -1)), item * hop - plan.samples[0]
        return lax.dynamic_update_slice_in_dim(found, items, item, axis=out_axis)

    return lax.fori_loop(1, -(-plan.num_items // group) - 1, step, found)


@_grouped.defjvp
def _grouped_jvp(
    function: GroupFunction, plan: GroupPlan, primals: Any, tangents: Any
) -> tuple[jax.Array, jax.Array]:
    found = _grouped(function, plan, *primals)
    return found, jax.jvp(functools.partial(_whole, function, plan), primals, tangents)[1]
