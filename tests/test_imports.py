"""What an import loads, and that every public name is there."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import isincnet_jax

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HEAVY = ("tensorflow", "torch", "matplotlib")


def loaded_after(code: str) -> set[str]:
    """Top-level modules of a fresh interpreter that ran ``code``."""
    listing = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_import_loads_no_framework_at_all():
    loaded = loaded_after("import isincnet_jax; isincnet_jax.__version__")
    assert "isincnet_jax" in loaded
    assert not loaded & {*HEAVY, "jax", "flax", "librosa"}


def test_pretrained_codecs_need_no_other_framework_and_no_plots():
    loaded = loaded_after(
        "import isincnet_jax, numpy\n"
        "codec = isincnet_jax.from_pretrained('16khz-linear')\n"
        "isincnet_jax.load_reference, isincnet_jax.Quantizer\n"
        "codec.decode(codec.encode(numpy.zeros(50)), length=50)"
    )
    assert {"jax", "flax"} <= loaded
    assert not loaded & set(HEAVY)


@pytest.mark.quick(0)
def test_training_from_arrays_needs_neither_tensorflow_nor_decoders():
    loaded = loaded_after(
        "import isincnet_jax.training.loop, isincnet_jax.training.checkpoints\n"
        "import isincnet_jax.training.logs, isincnet_jax.training.resident\n"
        "import isincnet_jax.benchmark.clips, isincnet_jax.data.corpus_files\n"
        "import isincnet_jax.data.pipeline"
    )
    assert "orbax" in loaded
    assert not loaded & {*HEAVY, "librosa", "pyloudnorm", "soundfile", "ml_collections"}


@pytest.mark.tail
def test_every_benchmark_finds_what_it_imports():
    names = sorted(path.stem for path in BENCHMARKS.glob("*.py"))
    assert {"lossless", "rate", "speed"} <= set(names)
    loaded = loaded_after(
        f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})\nimport {', '.join(names)}"
    )
    assert set(names) <= loaded


@pytest.mark.parametrize("name", isincnet_jax.__all__)
def test_public_name_resolves(name):
    assert getattr(isincnet_jax, name) is not None
    assert name in dir(isincnet_jax)


def test_exports_come_from_the_module_that_defines_them():
    for name in isincnet_jax.__all__:
        value = getattr(isincnet_jax, name)
        if hasattr(value, "__module__"):
            module = importlib.import_module(value.__module__)
            assert getattr(module, value.__name__) is value
            assert value.__module__.startswith("isincnet_jax.")


def test_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="isincnet_jax attribute SinkNet"):
        _ = isincnet_jax.SinkNet
