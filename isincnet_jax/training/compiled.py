"""A training step that is compiled once, and what memory the compiled program takes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

_logger = logging.getLogger(__name__)


class Memory(NamedTuple):
    """Bytes of a compiled program, per device.

    Attributes:
        arguments: what it is given: the state and the batch.
        outputs: what it returns, donated buffers that it reuses included.
        reused: outputs that stand in buffers of arguments.
        temporary: what it needs in between.
        code: of the program itself.
    """

    arguments: int
    outputs: int
    reused: int
    temporary: int
    code: int

    @property
    def total(self) -> int:
        """Bytes that are there at once, at most."""
        # Outputs in donated buffers are counted with the arguments.
        return self.arguments + self.outputs - self.reused + self.temporary + self.code

    def describe(self) -> str:
        """Memory in words, MiB.

        Returns:
            One line: the total per device, and its parts in brackets.
        """
        parts = {
            "arguments": self.arguments,
            "outputs beyond them": self.outputs - self.reused,
            "temporary": self.temporary,
            "code": self.code,
        }
        listed = ", ".join(f"{name} {size / 2**20:.1f}" for name, size in parts.items())
        return f"{self.total / 2**20:.1f} MiB a device ({listed})"


def _memory_of(program: Any) -> Memory | None:
    """Memory of a compiled program (``jax.stages.Compiled``); None where XLA does not say."""
    found = program.memory_analysis()
    if found is None:
        return None
    return Memory(
        int(found.argument_size_in_bytes),
        int(found.output_size_in_bytes),
        int(found.alias_size_in_bytes),
        int(found.temp_size_in_bytes),
        int(found.generated_code_size_in_bytes),
    )


class CompiledStep:
    """A step that is compiled with the first arguments it gets, and refuses others.

    Since the program is made ahead of time there is no second compilation: arguments of other
    shapes are an error instead of a pause.

    Args:
        step: of :func:`.parallel.parallel_step` or ``jax.jit``.
        tell: is given the memory once the program is there; by default it goes to the log.
    """

    def __init__(self, step: Any, *, tell: Callable[[Memory], None] | None = None) -> None:
        self._step, self._tell, self._program = step, tell or _log, None
        self.memory: Memory | None = None

    def __call__(self, *arguments: Any) -> Any:
        """What the step returns.

        Raises:
            TypeError: for shapes or dtypes other than those of the first call.
        """
        if self._program is None:
            self._program = self._step.lower(*arguments).compile()
            self.memory = _memory_of(self._program)
            if self.memory is not None:
                self._tell(self.memory)
        return self._program(*arguments)


def _log(memory: Memory) -> None:
    _logger.info("the compiled step takes %s", memory.describe())
