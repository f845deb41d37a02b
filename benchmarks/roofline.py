"""The roofline: what this machine can do at most, and how near an operation comes to it.

An operation that needs ``flops`` additions and multiplications and has to move ``bytes`` cannot
take less than ``max(flops / rate, bytes / bandwidth)``. The rate is that of float32 matrix
products at full precision, the bandwidth that of a copy (bytes read and written), each the best of
several sizes and of JAX, NumPy and PyTorch. Copies of small arrays stay in the caches and are
faster, so that an operation is held against the copy whose bytes are nearest to its own.

References:
    S. Williams, A. Waterman and D. Patterson, "Roofline: an insightful visual performance model
        for multicore architectures", Communications of the ACM 52, 2009.
        https://doi.org/10.1145/1498765.1498785
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterator
from multiprocessing.pool import ThreadPool
from typing import Any, NamedTuple

import common
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from paired import Operation, timed
from torch_peers import torch_device

SIZES = (512, 1024, 2048)
CHAINED_SIZE, CHAIN = 256, 64
COPY_BYTES = (1 << 20, 1 << 23, 1 << 26, 1 << 29)
"""Bytes that a copy moves: half of them read, half written."""


class Ceiling(NamedTuple):
    """The most that a machine does: 10^9 operations and 10^9 bytes per second."""

    gflops: float
    gb_per_s: float


class Work(NamedTuple):
    """What an operation needs: additions and multiplications, and bytes that must move."""

    flops: float
    bytes: float

    def seconds_at(self, ceiling: Ceiling) -> float:
        """The least time that the machine allows."""
        return 1e-9 * max(self.flops / ceiling.gflops, self.bytes / ceiling.gb_per_s)

    def fraction(self, ceiling: Ceiling, seconds: float) -> float:
        """The least time over the time it took: 1 at the ceiling."""
        return self.seconds_at(ceiling) / seconds

    def binds(self, ceiling: Ceiling) -> str:
        """Which side of the roof the operation is under: "operations" or "bytes"."""
        by_rate = self.flops / ceiling.gflops > self.bytes / ceiling.gb_per_s
        return "operations" if by_rate else "bytes"


class Machine(NamedTuple):
    """Measured rates by what was measured, in 10^9 per second.

    Attributes:
        products: of matrix products, by library and size.
        copies: of copies, by bytes moved, and in those by library.
    """

    products: dict[str, float]
    copies: dict[int, dict[str, float]]

    def ceiling(self, num_bytes: float = math.inf) -> Ceiling:
        """The ceiling of an operation that moves so many bytes; of large arrays by default."""
        wanted = math.log(min(max(num_bytes, 1.0), max(self.copies)))
        nearest = min(self.copies, key=lambda size: abs(math.log(size) - wanted))
        return Ceiling(max(self.products.values()), max(self.copies[nearest].values()))

    def best(self, other: Machine) -> Machine:
        """The higher of two measurements, rate by rate."""

        def higher(one: dict[str, float], two: dict[str, float]) -> dict[str, float]:
            return {name: max(rate, two.get(name, 0.0)) for name, rate in one.items()}

        copies = {size: higher(rates, other.copies[size]) for size, rates in self.copies.items()}
        return Machine(higher(self.products, other.products), copies)

    def describe(self) -> dict[str, Any]:
        """For a results file."""
        copies = {str(size): rates for size, rates in self.copies.items()}
        best = max(self.products, key=lambda name: self.products[name])
        return {
            "gflops": self.ceiling().gflops,
            "gb_per_s": self.ceiling().gb_per_s,
            "fastest_product": best,
            "products_gflops": self.products,
            "copies_gb_per_s": copies,
        }


def _median_seconds(operation: Operation, rounds: int) -> float:
    operation()
    once, _ = timed(operation, 1)
    burst = max(1, min(64, round(0.05 / max(once, 1e-7))))
    return statistics.median(timed(operation, burst)[0] for _ in range(rounds))


def product_gflops(
    size: int = 2048, rounds: int = 15, *, precision: lax.PrecisionLike = "highest"
) -> float:
    """GFLOP/s of one float32 matrix product in JAX, at full precision by default."""
    left, right = jax.random.normal(jax.random.key(common.SEED), (2, size, size))
    product = jax.jit(lambda a, b: jnp.dot(a, b, precision=precision))
    seconds = _median_seconds(lambda: jax.block_until_ready(product(left, right)), rounds)
    return 2e-9 * size**3 / seconds


def chained_gflops(rounds: int = 15) -> float:
    """The same of a chain of products whose matrices stay in the cache."""
    values = jax.random.normal(jax.random.key(common.SEED), (2, CHAINED_SIZE, CHAINED_SIZE))
    first, factor = values[0], values[1] / CHAINED_SIZE**0.5

    @jax.jit
    def chain(start: jax.Array, factor: jax.Array) -> jax.Array:
        def step(_: Any, value: jax.Array) -> jax.Array:
            return jnp.dot(value, factor, precision=lax.Precision.HIGHEST)

        return lax.fori_loop(0, CHAIN, step, start)

    seconds = _median_seconds(lambda: jax.block_until_ready(chain(first, factor)), rounds)
    return 2e-9 * CHAIN * CHAINED_SIZE**3 / seconds


def _torch_products(rounds: int, sizes: tuple[int, ...]) -> Iterator[tuple[str, float]]:
    import torch

    device = torch_device()
    for size in sizes:
        left, right = torch.randn(2, size, size, device=device)
        result = torch.empty(size, size, device=device)

        def run(left: Any = left, right: Any = right, result: Any = result) -> None:
            torch.mm(left, right, out=result)
            if device == "cuda":
                torch.cuda.synchronize()

        yield f"PyTorch, {size}", 2e-9 * size**3 / _median_seconds(run, rounds)


def _jax_copy(num_bytes: int) -> Operation:
    """Negates an array into another that exists: a new one would measure the allocator."""
    source = jnp.ones(num_bytes // 8, jnp.float32)
    held = [jnp.zeros_like(source)]
    renew = jax.jit(lambda target, source: -source, donate_argnums=0, keep_unused=True)

    def run() -> None:
        held[0] = jax.block_until_ready(renew(held[0], source))

    return run


def _numpy_copy(num_bytes: int, pool: ThreadPool) -> Operation:
    source = np.ones(num_bytes // 8, np.float32)
    target = np.zeros_like(source)
    threads = os.cpu_count() or 1
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    if num_bytes <= COPY_BYTES[0]:  # handing out the parts would take as long as the copy
        return lambda: np.copyto(target, source)
    return lambda: pool.starmap(np.copyto, parts)


def _torch_copy(num_bytes: int) -> Operation:
    import torch

    device = torch_device()
    source = torch.ones(num_bytes // 8, device=device)
    target = torch.zeros_like(source)

    def run() -> None:
        target.copy_(source)
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def measure(
    rounds: int = 7, largest: int = COPY_BYTES[-1], sizes: tuple[int, ...] = SIZES
) -> Machine:
    """Measures the device that JAX uses.

    Args:
        rounds: of which the median is taken.
        largest: bytes of the largest copy.
        sizes: of the matrices that are multiplied.
    """
    products = {f"JAX, {size}": product_gflops(size, rounds) for size in sizes}
    products[f"JAX, {CHAINED_SIZE}, chained"] = chained_gflops(rounds)
    makers = {"JAX": _jax_copy}
    try:
        products |= dict(_torch_products(rounds, sizes))
        makers["PyTorch"] = _torch_copy
    except ImportError:
        pass
    copies: dict[int, dict[str, float]] = {}
    with ThreadPool(os.cpu_count() or 1) as pool:
        if jax.default_backend() == "cpu":
            makers["NumPy"] = lambda size: _numpy_copy(size, pool)
        for size in (size for size in COPY_BYTES if size <= largest):
            copies[size] = {
                name: 1e-9 * size / _median_seconds(make(size), rounds)
                for name, make in makers.items()
            }
    return Machine(products, copies)
