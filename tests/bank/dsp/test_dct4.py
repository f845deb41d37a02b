"""DCT-IV by FFTs against SciPy's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from isincnet_jax.bank.dsp.dct4 import dct4


@pytest.mark.quick(4)
@pytest.mark.parametrize("size", [1, 2, 7, 12, 127, 3, 4, 100, 512, 1021])
def test_it_is_scipys(size, rng, x64):
    values = rng.standard_normal((3, size))
    found = jax.jit(dct4)(values)
    np.testing.assert_allclose(found, scipy.fft.dct(values, type=4, norm="ortho"), atol=1e-13)


@pytest.mark.quick(1)
@pytest.mark.parametrize("size", [128, 512, 513])
def test_float32_rounds_little(size, rng):
    values = rng.standard_normal((50, size)).astype(np.float32)
    wanted = scipy.fft.dct(values.astype(np.float64), type=4, norm="ortho")
    found = jax.jit(dct4)(values)
    assert found.dtype == np.float32
    # Some 20 roundings of relative size 2^-24 / sqrt(6) each: 139 dB.
    assert 10 * np.log10(np.mean(wanted**2) / np.mean((found - wanted) ** 2)) > 136


def test_what_is_no_floating_array_is_refused():
    with pytest.raises(TypeError, match=r"values\.dtype=int32: floating values"):
        dct4(jnp.zeros(4, jnp.int32))
    with pytest.raises(ValueError, match="needs a value"):
        dct4(jnp.zeros((3, 0)))
