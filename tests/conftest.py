"""Strict settings for the whole suite: 8 simulated devices, strict promotion, a private cache."""

from __future__ import annotations

import collections
import contextlib
import gc
import os
import shlex
import sys
import tempfile
from pathlib import Path

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["ISINCNET_CACHE_DIR"] = tempfile.mkdtemp(prefix="isincnet-test-cache-")
os.environ.setdefault("MPLBACKEND", "agg")

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from isincnet_jax import jax_names

gc.disable()  # imports make objects by the hundred thousand, and hardly any garbage
jax.config.update("jax_numpy_dtype_promotion", "strict")

settings.register_profile(
    "suite",
    deadline=None,
    max_examples=20,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def golden():
    """Loads a golden file by name."""

    def load(name: str):
        with np.load(Path(__file__).parent / "golden" / f"{name}.npz") as file:
            return dict(file)

    return load


@pytest.fixture(scope="session")
def shared():
    """The shared material beside the checkout; tests that want it are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared material beside the checkout ({SHARED.name}/ is missing)")
    return SHARED


@pytest.fixture(scope="session")
def base(tmp_path_factory, worker_id):
    """A folder that all test processes share, with one corpus and compiled programs."""
    top = tmp_path_factory.getbasetemp()
    folder = (top if worker_id == "master" else top.parent) / "runs"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.hookimpl(tryfirst=True)  # before marks are selected by
def pytest_collection_modifyitems(items):
    """Of a test marked ``quick(n)`` all cases but the first n are marked ``tail``; so are examples.

    Examples call things as readers do, eagerly: they compile dozens of programs each.
    """
    found = collections.Counter()
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker("tail")
        marker = item.get_closest_marker("quick")
        if marker is not None:
            test = item.nodeid.partition("[")[0]
            found[test] += 1
            if found[test] > marker.args[0]:
                item.add_marker("tail")


def pytest_collection_finish():
    """What is imported by now stays: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


_GIGABYTE = 1 << 30
_much_memory = [3 * _GIGABYTE]


def _resident_bytes() -> int:
    status = Path("/proc/self/statm")
    if not status.exists():
        return 0
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module", autouse=True)
def _bounded_memory():
    """Thousands of compiled programs stay in memory, gigabytes of them, unless they are dropped.

    What is dropped is compiled again, and not all memory is given back: the next time is when two
    more gigabytes are in use.
    """
    yield
    if _resident_bytes() > _much_memory[0]:
        jax.clear_caches()
        gc.collect()
        _much_memory[0] = max(_much_memory[0], _resident_bytes() + 2 * _GIGABYTE)


@pytest.fixture
def rng():
    return np.random.default_rng(20260)


@pytest.fixture
def x64():
    """Runs a test in double precision."""
    with jax_names.enable_x64(True):
        yield


@contextlib.contextmanager
def _compilations():
    durations = []
    listening = True  # what is registered can be taken back in newer versions of JAX only

    def listen(event: str, seconds: float, **_: object) -> None:
        if listening and event == "/jax/core/compile/backend_compile_duration":
            durations.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield durations
    finally:
        listening = False


@pytest.fixture(scope="session")
def compilations():
    """A context that lists the programs that XLA compiles inside, by their seconds."""
    return _compilations


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs the console entry in this process: exit status, standard output, standard error."""
    from isincnet_jax import cli

    monkeypatch.chdir(tmp_path)

    def call(line: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["isincnet", *shlex.split(line)])
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call
