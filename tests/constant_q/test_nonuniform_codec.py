"""The codec of a nonuniform bank: exact, a pytree, with the slices of the same bands."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax.constant_q.dsp.nonuniform_spec import NonuniformSpec
from isincnet_jax.constant_q.nonuniform_codec import build_nonuniform_codec

SPEC = NonuniformSpec(sample_rate=8000, num_bins=12, window="cosine", normalization="energy")
CODEC = build_nonuniform_codec(SPEC)


@pytest.mark.quick(1)
@pytest.mark.parametrize("length", [777, 1, 3000])
def test_length_none_is_the_longest_clip_of_so_many_frames(length, rng):
    clip = rng.standard_normal(length).astype(np.float32)
    coefficients = CODEC.encode(clip)
    found = CODEC.decode(coefficients)
    assert len(found) >= length
    np.testing.assert_allclose(found[:length], clip, atol=2e-6)
    np.testing.assert_allclose(found[length:], 0, atol=2e-6)
    again = CODEC.encode(np.asarray(found))
    assert [a.shape for a in again] == [a.shape for a in coefficients]


def test_float64_of_numpy_is_cast(rng):
    coefficients = CODEC.encode(rng.standard_normal(100))
    assert all(array.dtype == jnp.complex64 for array in coefficients)
    with pytest.raises(TypeError, match="floating"):
        CODEC.encode(np.zeros(100, np.int16))


def test_double_precision(x64, rng):
    codec = build_nonuniform_codec(SPEC, dtype=np.float64)
    clip = rng.standard_normal(100)
    found = codec.decode(codec.encode(clip), length=100)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, clip, atol=1e-13)
    with pytest.raises(ValueError, match="dtype=float16: use float32 or float64"):
        build_nonuniform_codec(SPEC, dtype=np.float16)


def test_it_is_a_pytree_and_works_under_jit_vmap_and_grad(rng):
    assert jax.tree.leaves(CODEC) == []
    assert build_nonuniform_codec(SPEC) == CODEC
    clips = rng.standard_normal((3, 200)).astype(np.float32)

    @jax.jit
    def energy(codec, clip):
        return sum(jnp.sum(jnp.abs(array) ** 2) for array in codec.encode(clip))

    one_by_one = [energy(CODEC, clip) for clip in clips]
    np.testing.assert_allclose(
        jax.vmap(lambda clip: energy(CODEC, clip))(jnp.asarray(clips)), one_by_one, rtol=1e-5
    )
    # Of a tight frame the gradient of the energy is twice the clip.
    gradient = jax.grad(energy, argnums=1)(CODEC, jnp.asarray(clips[0]))
    np.testing.assert_allclose(gradient, 2 * clips[0], atol=1e-4)


def test_redundancy_bounds_times_and_scales():
    grid = [(array.shape[-1], hop) for array, hop in zip(_shapes(), CODEC.hop_lengths, strict=True)]
    assert CODEC.redundancy() == pytest.approx(2 * sum(bins / hop for bins, hop in grid))
    assert CODEC.redundancy(3000) == CODEC.model.redundancy(3000) > CODEC.redundancy()
    assert CODEC.frame_bounds(3000).condition == pytest.approx(1.0)
    assert [len(times) for times in CODEC.frame_times_s(3000)] == [a.shape[0] for a in _shapes()]
    louder = CODEC.in_scale("amplitude")
    assert louder.spec.normalization == "amplitude"
    assert louder.in_scale("energy") == CODEC
    with pytest.raises(ValueError, match="normalization='peak'"):
        CODEC.in_scale("peak")


def _shapes():
    return jax.eval_shape(CODEC.encode, jnp.zeros(3000))


def test_slices_have_the_same_bands():
    sliced = CODEC.sliced()
    assert sliced.spec == CODEC.spec
    assert sliced.hop_lengths == CODEC.hop_lengths
    encoder = isn.stream_encoder(sliced)
    assert encoder.spec == sliced.slice_spec
    longer = CODEC.sliced(slice_length=2 * sliced.slice_spec.samples)
    assert longer.latency == 2 * sliced.latency + 1
