"""A jitted function with its arguments: run it, or say what compiling it costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Cost(NamedTuple):
    """What a compiled program costs before it runs.

    Attributes:
        compile_s: seconds of tracing, lowering and compilation.
        peak_bytes: arguments, results and temporary arrays, as XLA plans them; None where the
            backend does not tell.
    """

    compile_s: float
    peak_bytes: int | None


def cost_of(lower: Callable[[], Any]) -> Cost:
    """Compiles what ``lower()`` returns, a ``jax.stages.Lowered``; no cache on disk is read."""
    cached = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        begin = time.perf_counter()
        compiled = lower().compile()
        seconds = time.perf_counter() - begin
    finally:
        jax.config.update("jax_enable_compilation_cache", cached)
    memory = compiled.memory_analysis()
    if memory is None:
        return Cost(seconds, None)
    parts = ("argument", "output", "temp")
    total = sum(getattr(memory, f"{part}_size_in_bytes") for part in parts)
    return Cost(seconds, total - memory.alias_size_in_bytes)


class Program:
    """A function under ``jax.jit`` and its arguments; a call waits for the result."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._run = jax.jit(function)
        self._arguments = arguments

    def __call__(self) -> Any:
        """The result."""
        return jax.block_until_ready(self._run(*self._arguments))

    def cost(self) -> Cost:
        """Compiles; a call after it does not compile again."""
        return cost_of(lambda: self._run.lower(*self._arguments))
