"""Memory that a process keeps: page faults of large arrays, in a process of their own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from isincnet_jax import host_memory

FAULTS = """
import resource, sys
from isincnet_jax.host_memory import keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()
import jax, jax.numpy as jnp
noise = jnp.ones((40, 1 << 18))  # 40 MiB
work = jax.jit(lambda x: jnp.flip(jnp.sin(x), axis=-1) @ jnp.ones((1 << 18, 2)))
for _ in range(25):  # until what is kept suffices, however the threads take turns
    work(noise).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    work(noise).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.tail
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_large_arrays_cost_no_page_faults_where_memory_is_kept(monkeypatch):
    assert faults("keep", monkeypatch) < 0.5 * faults("as it is", monkeypatch)


def test_other_libraries_are_told(monkeypatch):
    monkeypatch.setattr(host_memory.ctypes, "CDLL", lambda name: object())
    assert host_memory.keep_memory() is False
