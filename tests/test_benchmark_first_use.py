"""The benchmark of first use: every part of a fresh process is told."""

from __future__ import annotations

import first_use
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("cached", [False, True])
def test_every_part_is_told(cached):
    found = first_use.first_use("16khz-linear", runs=1, cached=cached)
    assert tuple(found) == first_use.PARTS
    assert all(set(part) == {"wall_s", "processor_s"} for part in found.values())
    total = found["total"]["wall_s"]
    assert 0 < found["import"]["wall_s"] + found["design"]["wall_s"] < total
    # the first use is what is left, of which a second one is little
    assert 0 < found["run"]["wall_s"] < found["compile"]["wall_s"] < total
