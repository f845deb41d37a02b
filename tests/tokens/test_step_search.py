"""Search for a rate: found wherever there is one, and named where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isincnet_jax.tokens import step_search


@given(
    slope=st.floats(0.05, 5),
    level=st.floats(-10, 10),
    bend=st.floats(0, 0.9),
    kbps=st.floats(1.0, 300.0),
    start=st.floats(1e-3, 1e3),
)
@example(slope=0.05, level=0.0, bend=0.9, kbps=300.0, start=1e3)
def test_the_rate_is_found_wherever_it_falls_with_the_step(slope, level, bend, kbps, start):
    trials = []

    def trial(step):
        trials.append(step)
        log = level - np.log(step)
        return float(20 * np.exp(slope * (log + bend * np.sin(log))))

    lowest, highest = (trial(step) for step in (2.0**29, 2.0**-29))
    trials.clear()
    if not 1.02 * lowest < kbps < 0.98 * highest:
        return
    step = step_search.search_rate(trial, start=start, kbps=kbps)
    assert trial(step) == pytest.approx(kbps, rel=0.01)
    assert float(np.float32(step)) == step
    assert len(trials) <= 37


@pytest.mark.parametrize(("kbps", "nearest"), [(60.0, "50.00"), (1.0, "2.00"), (20.0, "2.00")])
def test_a_rate_that_no_step_has_is_named(kbps, nearest):
    def trial(step):
        return 50.0 if step < 0.3 else 2.0  # of 20, the steps of 2 are nearer

    message = f"^kbps={kbps:g}: the nearest that this recording can have is {nearest} kbit/s; use"
    with pytest.raises(ValueError, match=message):
        step_search.search_rate(trial, start=0.1, kbps=kbps)
