"""Provenance of results: which code made them, on which machine.

The commit is that of the checkout in which this package itself lies, never that of the folder
where a user works; an installed package has a version and no commit. JAX is imported by
:func:`device_name` alone.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

_ROOT = sys.modules[__name__.partition(".")[0]]  # which itself names everything
_DISTRIBUTION = "isincnet-jax"
_PACKAGES = (
    *("jax", "jaxlib", "flax", "optax", "orbax-checkpoint"),
    *("numpy", "scipy", "librosa", "soundfile", "soxr"),
)
# What results are computed by: files of results beside it may change while a benchmark runs.
_CODE = ("isincnet_jax", "experiments", "benchmarks/*.py", "pyproject.toml")


def _package_version() -> str:
    """Name and version of this package: "isincnet-jax 0.1.0"."""
    return f"{_DISTRIBUTION} {_ROOT.__version__}"


def checkout() -> Path | None:
    """Checkout of this package, the root of its git work tree; None if it is installed.

    It is ours if our pyproject lies there, and the package directly beside it: an environment
    inside a checkout, or a repository of another project around this package, is not.

    Returns:
        The folder, resolved, or None.
    """
    package = Path(str(_ROOT.__file__)).resolve().parent
    root = package.parent
    try:
        with open(root / "pyproject.toml", "rb") as file:
            project = tomllib.load(file).get("project")
    except (OSError, ValueError):
        return None
    if not isinstance(project, dict) or project.get("name") != _DISTRIBUTION:
        return None
    top = _git(root, "rev-parse", "--show-toplevel")
    return root if top is not None and Path(top).resolve() == root else None


def commit() -> str | None:
    """Commit that is checked out; None outside our own checkout.

    Returns:
        40 hexadecimal digits, or None.
    """
    root = checkout()
    return None if root is None else _git(root, "rev-parse", "--verify", "HEAD")


def has_changes() -> bool:
    """Uncommitted changes: whether code in our checkout differs from its commit.

    Returns:
        False outside a checkout.
    """
    root = checkout()
    return root is not None and bool(_git(root, "status", "--porcelain", "--", *_CODE))


def code_version() -> str:
    """Code version: the commit, with "+" if there are changes, or the package's version.

    Returns:
        The version; that of the package outside a checkout.
    """
    found = commit()
    return _package_version() if found is None else found + "+" * has_changes()


def _git(root: Path, *arguments: str) -> str | None:
    # A hook or a script may have set GIT_DIR and its like, which lead to another repository.
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _versions(more: Sequence[str] = ()) -> dict[str, str]:
    """Versions of Python, of this package, of what it is built on, and of more distributions."""
    found = {"python": platform.python_version(), _DISTRIBUTION: _ROOT.__version__}
    for name in (*_PACKAGES, *more):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def device_name() -> str:
    """Device name: what JAX computes on.

    Returns:
        "1 x NVIDIA H200" for instance, or the name of the CPU and its cores.
    """
    import jax  # noqa: PLC0415  (seconds; only here)

    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{jax.device_count()} x {device.device_kind}"
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    return f"{model}, {os.cpu_count()} cores"


def record(more: Sequence[str] = ()) -> dict[str, Any]:
    """Provenance record of a results file, plain JSON values.

    Args:
        more: distributions whose versions matter.

    Returns:
        "date" (UTC), "package", "commit" (None outside a checkout), "uncommitted_changes",
        "versions" and "device".
    """
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "package": _package_version(),
        "commit": commit(),
        "uncommitted_changes": has_changes(),
        "versions": _versions(more),
        "device": device_name(),
    }


def code_text(found: Mapping[str, Any]) -> str:
    """Code version of a :func:`record`, for readers.

    Args:
        found: "commit", "package" and "uncommitted_changes" of a record; any may be missing.

    Returns:
        The first 12 digits of the commit, or the package's version, and whether there were changes.
    """
    text = str(found.get("commit") or found.get("package") or "not recorded")
    text = text[:12] if re.fullmatch("[0-9a-f]{40}", text) else text
    return text + " with uncommitted changes" * bool(found.get("uncommitted_changes"))
