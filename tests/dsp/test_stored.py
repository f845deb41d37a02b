"""A border for the compiler must not show: values, gradients, batches."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from isincnet_jax.dsp import uniform_analysis, uniform_synthesis
from isincnet_jax.dsp.framing import frame_grid
from isincnet_jax.dsp.stored import with_stored


def weave(even, odd):
    """What XLA's CPU backend would put into one loop."""
    return jnp.flip(even, axis=-1) + 3.0 * odd, even * odd


def stored_weave(even, odd, witness):
    return with_stored(weave, even, odd, witness=witness)


@pytest.fixture
def arrays(rng):
    return tuple(jnp.asarray(rng.standard_normal((4, 6)), jnp.float32) for _ in range(2))


def test_values_and_gradients_are_those_of_the_function(arrays):
    def loss(function, even, odd):
        first, second = function(even, odd)
        return jnp.sum(first**2 * second)

    witness = jnp.float32(0.5)
    stored = functools.partial(stored_weave, witness=witness)
    for found, expected in zip(jax.jit(stored)(*arrays), weave(*arrays), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    found = jax.jit(jax.grad(functools.partial(loss, stored), argnums=(0, 1)))(*arrays)
    expected = jax.grad(functools.partial(loss, weave), argnums=(0, 1))(*arrays)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_batches_of_arrays_and_of_witnesses(arrays):
    expected = weave(*arrays)
    rows = jax.jit(jax.vmap(lambda even, odd: stored_weave(even, odd, jnp.float32(1.0))))
    both = jax.jit(jax.vmap(stored_weave))
    for found in (rows(*arrays), both(*arrays, jnp.arange(4.0, dtype=jnp.float32))):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("witness", [np.inf, -np.inf, np.nan])
def test_a_witness_that_is_no_number_gives_none(arrays, witness):
    for found in jax.jit(stored_weave)(*arrays, jnp.float32(witness)):
        assert np.all(np.isnan(found))


@pytest.mark.parametrize(("platform", "barrier"), [("cpu", False), ("tpu", True)])
def test_only_cpus_have_the_conditional(arrays, platform, barrier):
    program = export.export(jax.jit(stored_weave), platforms=[platform])(*arrays, jnp.float32(1.0))
    assert ("optimization_barrier" in program.mlir_module()) is barrier
    assert ("stablehlo.compare" in program.mlir_module()) is not barrier


@pytest.mark.parametrize("method", ["folded", "mirrored", "fft"])
def test_gradients_of_every_way_are_the_adjoint(rng, method):
    """<analysis(x), s> = <x, gradient>, in the direction of random coefficients."""
    hop, bins, taps, length = 5, 8, 21, 64
    grid = frame_grid(length, hop_length=hop, lead=10, trail=10, padding="zeros")
    window = jnp.asarray(np.hanning(taps + 2)[1:-1], jnp.float32)
    dual = jnp.asarray(rng.standard_normal(4 * hop), jnp.float32)
    waveform = jnp.asarray(rng.standard_normal(length), jnp.float32)
    spectrogram = jnp.asarray(rng.standard_normal((grid.num_frames, 2 * bins)), jnp.float32)
    analyse = functools.partial(
        uniform_analysis.uniform_analysis,
        num_bins=bins,
        hop_length=hop,
        grid=grid,
        lead=10,
        trail=10,
        padding="zeros",
        method=method,
    )
    synthesise = functools.partial(
        uniform_synthesis.uniform_synthesis,
        num_bins=bins,
        hop_length=hop,
        lead=2 * hop,
        first_frame=grid.first,
        length=length,
        method=method,
    )
    pairs = [(synthesise, dual, spectrogram, waveform)]
    if method != "mirrored":
        pairs.append((analyse, window, waveform, spectrogram))
    for function, weights, start, direction in pairs:

        @jax.jit
        def product(start, weights, function=function, direction=direction):
            return jnp.sum(function(start, weights) * direction)

        value, (by_start, by_weights) = jax.jit(jax.value_and_grad(product, argnums=(0, 1)))(
            start, weights
        )
        # Linear in the signal and in the window: each gradient gives the value back.
        np.testing.assert_allclose(np.vdot(by_start, start), value, rtol=1e-4)
        np.testing.assert_allclose(np.vdot(by_weights, weights), value, rtol=1e-4)
