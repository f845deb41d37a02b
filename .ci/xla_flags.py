"""Prints those of the given XLA flags that the installed jaxlib knows: ``xla_flags.py --a=1 --b``.

XLA ends the process at a flag that it does not know, and flags come and go between its versions.
No list says which version knows what, so that one process per flag finds out, once: what it
found is kept in the environment, per version of jaxlib.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

_START = "import jax; jax.devices('cpu')"


def is_known(flag: str) -> bool:
    """Whether XLA starts with a flag.

    Raises:
        RuntimeError: if it does not start for another reason.
    """
    done = subprocess.run(
        [sys.executable, "-c", _START],
        env={**os.environ, "XLA_FLAGS": flag, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode and "Unknown flag" not in done.stderr:
        raise RuntimeError(f"XLA_FLAGS={flag}: status {done.returncode}\n{done.stderr}")
    return done.returncode == 0


def known(flags: list[str], cache: Path) -> list[str]:
    """Those of the flags that XLA knows, in their order; ``cache`` is a JSON file."""
    try:
        answers = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        answers = {}
    missing = [flag for flag in flags if flag not in answers]
    if missing:
        answers |= {flag: is_known(flag) for flag in missing}
        cache.write_text(json.dumps(answers), encoding="utf-8")
    return [flag for flag in flags if answers[flag]]


if __name__ == "__main__":
    version = importlib.metadata.version("jaxlib")
    print(*known(sys.argv[1:], Path(sys.prefix) / f"xla_flags_{version}.json"))
