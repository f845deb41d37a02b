"""Polyphase matrices of learned kernels, against those of designed ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax import jax_names
from isincnet_jax.bank.dsp import frame_theory
from isincnet_jax.dsp import polyphase


@settings(max_examples=4)
@given(
    channels=st.integers(1, 4),
    taps=st.integers(1, 20),
    hop_length=st.integers(1, 7),
    frequency=st.floats(-4, 4),
)
def test_it_is_that_of_frame_theory(channels, taps, hop_length, frequency):
    kernels = np.random.default_rng(taps).standard_normal((channels, taps))
    expected = frame_theory.polyphase_matrix(
        kernels, hop_length=hop_length, frequency=np.array([frequency])
    )
    with jax_names.enable_x64(True), jax.disable_jit():
        found = polyphase.polyphase_matrix(
            jnp.asarray(kernels), jnp.asarray([frequency]), hop_length=hop_length
        )
        assert found.dtype == jnp.complex128
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_narrow_kernels_stay_narrow():
    found = polyphase.polyphase_matrix(jnp.ones((2, 3)), jnp.zeros(1), hop_length=np.int16(2))
    assert found.dtype == jnp.complex64
    with pytest.raises(TypeError, match=r"hop_length=2.0 must be an integer; use hop_length=2"):
        polyphase.polyphase_matrix(jnp.ones((2, 3)), jnp.zeros(1), hop_length=2.0)  # type: ignore[arg-type]
