"""Groups of clips against all at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.constant_q.dsp.groups import map_groups


def _pairs(arrays):
    first, second = arrays
    return {"sum": first.sum(-1) + second.sum((-2, -1))[..., None], "first": first * 2}


@pytest.mark.parametrize("batch", [(), (7,), (2, 3)])
@pytest.mark.parametrize("at_once", [1, 2, 4, 100])
def test_groups_are_the_whole(batch, at_once, rng):
    arrays = (
        jnp.asarray(rng.standard_normal((*batch, 4, 5)), jnp.float32),
        jnp.asarray(rng.standard_normal((*batch, 3, 2)), jnp.float32),
    )
    found = jax.jit(lambda a: map_groups(_pairs, a, axes=2, at_once=at_once))(arrays)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, _pairs(arrays))


def test_a_group_holds_at_most_so_many():
    sizes = []

    def function(rows):
        sizes.append(rows.shape[0])
        return rows

    map_groups(function, jnp.zeros((12, 5)), axes=1, at_once=5)
    assert set(sizes) == {4}
