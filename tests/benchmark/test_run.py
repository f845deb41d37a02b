"""What a run of the benchmark keeps results by."""

from __future__ import annotations

import pytest

from isincnet_jax.benchmark import run


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("bank/codec.py", True),
        ("benchmark/metrics.py", True),
        ("vocoders/networks/cnn.py", True),
        ("linen.py", True),
        ("cli/benchmark.py", False),
        ("pages/benchmark.py", False),
    ],
)
def test_results_depend_on_the_code_that_computes_them(monkeypatch, tmp_path, name, counts):
    assert (run._PACKAGE / name).is_file()
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("before")
    monkeypatch.setattr(run, "_PACKAGE", tmp_path)
    before = run.source_digest()
    file.write_text("after")
    assert (run.source_digest() != before) == counts
