"""Names that JAX moved are found in whichever place they stand."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax import experimental

from isincnet_jax import jax_names

ROOT = Path(__file__).parents[1]


def test_double_precision_ends_with_the_context():
    with jax_names.enable_x64():
        assert jnp.zeros(1, "float64").dtype == jnp.float64
        with jax_names.enable_x64(False):
            assert jnp.zeros(1).dtype == jnp.float32
    assert jnp.zeros(1).dtype == jnp.float32


@pytest.mark.parametrize(("place", "other"), [(jax, experimental), (experimental, jax)])
def test_both_places(place, other, monkeypatch):
    asked = []

    def stand_in(value):
        asked.append(value)
        return contextlib.nullcontext()

    monkeypatch.delattr(other, "enable_x64", raising=False)
    monkeypatch.setattr(place, "enable_x64", stand_in, raising=False)
    with jax_names.enable_x64(True):
        pass
    assert asked == [True]


def test_no_other_module_uses_the_moved_names():
    moved = re.compile(
        r"jax\.(experimental\.)?enable_x64|unregister_event_duration|jax\.__version_info"
    )
    folders = ("isincnet_jax", "tests", "benchmarks", "experiments", "colab", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.*")]
    sources = [path for path in files if path.suffix in {".py", ".ipynb"}]
    assert len(sources) > 300
    users = {path.name for path in sources if moved.search(path.read_text(encoding="utf-8"))}
    assert users == {"jax_names.py", "test_jax_names.py"}
