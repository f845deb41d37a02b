"""A border for the compiler must not show: values, gradients, batches."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from isincnet_jax.bank.dsp import uniform_analysis, uniform_synthesis
from isincnet_jax.dsp.framing import frame_grid
from isincnet_jax.dsp.materialized import with_stored


def weave(even, odd):
    """What XLA's CPU backend would put into one loop."""
    return jnp.flip(even, axis=-1) + 3.0 * odd, even * odd


def stored_weave(even, odd):
    return with_stored(weave, even, odd)


@pytest.fixture
def arrays(rng):
    return tuple(jnp.asarray(rng.standard_normal((4, 6)), jnp.float32) for _ in range(2))


def test_values_and_gradients_are_those_of_the_function(arrays):
    def loss(function, even, odd):
        first, second = function(even, odd)
        return jnp.sum(first**2 * second)

    for found, expected in zip(jax.jit(stored_weave)(*arrays), weave(*arrays), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    found = jax.jit(jax.grad(functools.partial(loss, stored_weave), argnums=(0, 1)))(*arrays)
    expected = jax.jit(jax.grad(functools.partial(loss, weave), argnums=(0, 1)))(*arrays)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_batches(arrays):
    found = jax.jit(jax.vmap(stored_weave))(*arrays)
    for one, other in zip(found, weave(*arrays), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("constant", [False, True])
def test_the_conditional_outlives_the_optimizer(arrays, constant):
    """Also with constants for arguments, as a function that closes over a codec has."""
    function = (lambda: stored_weave(*arrays)) if constant else stored_weave
    lowered = jax.jit(function).lower(*([] if constant else arrays))
    compiled = lowered.compile({"xla_backend_optimization_level": 3}).as_text()
    assert "conditional(" in compiled


@pytest.mark.parametrize(("platform", "barriers"), [("cpu", 1), ("tpu", 1)])
def test_cpus_have_the_conditional_and_others_a_barrier(arrays, platform, barriers):
    text = export.export(jax.jit(stored_weave), platforms=[platform])(*arrays).mlir_module()
    # One case chooses the platform, one takes its branch; the third is the conditional.
    assert text.count('"stablehlo.case"') == (3 if platform == "cpu" else 2)
    assert text.count("stablehlo.optimization_barrier") == barriers


def test_sharded_arrays_and_their_gradients(arrays):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.sharding.PartitionSpec("data")

    def loss(even, odd):
        mapped = jax.shard_map(stored_weave, mesh=mesh, in_specs=split, out_specs=split)
        first, second = mapped(even, odd)
        return jnp.sum(first * second)

    def expected(even, odd):
        first, second = weave(even, odd)
        return jnp.sum(first * second)

    value, gradient = jax.jit(jax.value_and_grad(loss))(*arrays)
    right, right_gradient = jax.jit(jax.value_and_grad(expected))(*arrays)
    np.testing.assert_allclose(value, right, rtol=1e-5)
    np.testing.assert_allclose(gradient, right_gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 6), (2, 0, 6)])
def test_no_values_at_all(shape):
    empty = jnp.zeros(shape, jnp.float32)
    first, _ = jax.jit(stored_weave)(empty, empty)
    assert first.shape == shape


@pytest.mark.quick(1)
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
