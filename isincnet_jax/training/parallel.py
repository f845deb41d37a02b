"""Data parallelism: the step under ``jax.pmap``, batches split over devices, states copied."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from isincnet_jax.data.prefetching import Prefetcher, prefetch
from isincnet_jax.training.step import AXIS, Step


def initialize_hosts(
    *,
    coordinator: str | None = None,
    num_hosts: int | None = None,
    host_index: int | None = None,
) -> None:
    """Connects this process to the others; call it before anything else touches JAX.

    Args:
        coordinator: "address:port" of host 0. With all three None, nothing happens on a single
            machine; clusters that JAX knows (Slurm, Open MPI, TPU pods) need
            ``coordinator="auto"`` only.
        num_hosts: processes in all.
        host_index: of this one, from 0.

    Raises:
        ValueError: if only some of the three are given.
    """
    if coordinator == "auto":
        jax.distributed.initialize()
        return
    given = (coordinator, num_hosts, host_index)
    if all(value is None for value in given):
        return
    if any(value is None for value in given):
        raise ValueError(
            f"coordinator={coordinator!r}, num_hosts={num_hosts}, host_index={host_index}: "
            "give all three, or coordinator='auto', or none"
        )
    # CPUs of several processes talk through gloo; accelerators have their own collectives.
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(coordinator, num_hosts, host_index)


def on_any_host(flag: bool) -> bool:
    """Whether a flag is set on any host; all hosts call this after the same step.

    Args:
        flag: of this host.

    Returns:
        The same on all hosts.
    """
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def check_batch(
    batch_size: int, *, num_devices: int | None = None, num_hosts: int | None = None
) -> int:
    """Clips per device of a global batch.

    Args:
        batch_size: clips of a batch over all hosts.
        num_devices: of all hosts; JAX's if None.
        num_hosts: for the message; JAX's if None.

    Returns:
        ``batch_size / num_devices``.

    Raises:
        ValueError: if the batch does not divide by the devices, with the nearest that does.
    """
    devices = jax.device_count() if num_devices is None else num_devices
    if batch_size < 1 or batch_size % devices:
        # The multiples of the devices on both sides, at least one clip each.
        below = max(batch_size // devices, 1) * devices
        above = -(-max(batch_size, 1) // devices) * devices
        near = min((below, above), key=lambda size: abs(size - batch_size))
        hosts = jax.process_count() if num_hosts is None else num_hosts
        raise ValueError(
            f"batch_size={batch_size} does not divide by {devices} devices on {hosts} host(s); "
            f"the nearest that does is {near}"
        )
    return batch_size // devices


def parallel_step(step: Step, *, devices: Sequence[Any] | None = None) -> Step:
    """The step over all devices; its first argument, the state, is donated.

    Args:
        step: see :func:`.step.make_step`.
        devices: all if None.

    Returns:
        A function of a replicated state and a batch [local devices, clips, time].
    """
    return jax.pmap(step, axis_name=AXIS, donate_argnums=(0,), devices=devices)


def replicate(tree: Any, devices: Sequence[Any] | None = None) -> Any:
    """Copies a pytree to every local device, along a new first axis.

    Args:
        tree: pytree of arrays on the host.
        devices: local ones; all of them if None.

    Returns:
        The same pytree, arrays [devices, ...], a copy on each device.
    """
    local = tuple(devices) if devices is not None else tuple(jax.local_devices())
    # Stacked on the host, then sharded: one device_put for each array.
    stacked = jax.tree.map(lambda leaf: np.stack([np.asarray(leaf)] * len(local)), tree)
    return shard(stacked, local)


def shard(tree: Any, devices: Sequence[Any] | None = None) -> Any:
    """Puts slice i of every array's first axis on local device i.

    Args:
        tree: pytree of arrays [devices, ...].
        devices: local ones; all of them if None.

    Returns:
        The same pytree; each array is one ``jax.Array`` over the devices.
    """
    local = tuple(devices) if devices is not None else tuple(jax.local_devices())
    mesh = jax.sharding.Mesh(np.asarray(local), (AXIS,))
    placement = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS))
    return jax.device_put(tree, placement)


def split_batch(batch: np.ndarray, num_devices: int | None = None) -> np.ndarray:
    """Splits a host's batch: [clips, time] to [local devices, clips per device, time].

    Args:
        batch: of this host, [clips, ...].
        num_devices: that share it, a divisor of its clips; the local ones if None.

    Returns:
        A view, [devices, clips / devices, ...].
    """
    devices = jax.local_device_count() if num_devices is None else num_devices
    return batch.reshape((devices, -1, *batch.shape[1:]))


def prefetched(batches: Iterable[Any]) -> Prefetcher[Any]:
    """Batches on the local devices, made and copied there by a thread that is two ahead.

    Args:
        batches: this host's share of each: arrays [clips, ...], or a pytree of such.

    Returns:
        An iterator of the same with arrays [local devices, clips per device, ...]; its ``close``
        ends the thread.
    """
    placed = (shard(jax.tree.map(split_batch, batch)) for batch in batches)
    return prefetch(placed, size=2)


def first_copy(tree: Any) -> Any:
    """One device's copy of a replicated pytree, as NumPy arrays; no gather, no other host.

    The arrays are copies: the next step may donate what they were copied from.

    Args:
        tree: pytree of arrays [devices, ...], equal along the first axis.

    Returns:
        NumPy arrays without that axis.
    """
    return jax.tree.map(lambda leaf: np.array(leaf.addressable_shards[0].data)[0], tree)
