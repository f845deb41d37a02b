"""Functions of frames against frames that are cut out one by one."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.dsp import frame_mapping


# The second geometry overlaps 40-fold, beyond the slices that are unrolled.
@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("hop_length", "taps", "num_frames"), [(4, 11, 7), (1, 40, 9), (5, 3, 4), (3, 9, 1)]
)
def test_map_frames_applies_the_function_to_every_frame(rng, hop_length, taps, num_frames):
    length = (num_frames - 1) * hop_length + taps
    padded = rng.standard_normal((2, length)).astype(np.float32)
    weights = jnp.asarray(rng.standard_normal((taps, 3)), jnp.float32)

    def function(frames):
        return frames * jnp.float32(2.0), jnp.matmul(frames, weights, precision="highest")

    doubled, projected = frame_mapping.map_frames(
        function, jnp.asarray(padded), num_frames=num_frames, taps=taps, hop_length=hop_length
    )
    frames = np.stack(
        [padded[:, t * hop_length : t * hop_length + taps] for t in range(num_frames)], axis=1
    )
    np.testing.assert_array_equal(doubled, 2 * frames)
    # A float32 sum of 40 products of unit size, in an order of the compiler's choice.
    np.testing.assert_allclose(projected, frames @ np.asarray(weights), atol=2e-5)


@pytest.mark.parametrize("missing", [0, 1, 5])
def test_signals_of_the_mapped_length_or_shorter_give_the_same(rng, missing):
    whole = frame_mapping.mapped_length(7, taps=11, hop_length=4)
    assert whole >= 6 * 4 + 11
    signal = rng.standard_normal(whole).astype(np.float32)
    signal[6 * 4 + 11 :] = 0.0
    (frames,) = frame_mapping.map_frames(
        lambda frames: (frames,),
        jnp.asarray(signal[: whole - missing]),
        num_frames=7,
        taps=11,
        hop_length=4,
    )
    expected = np.lib.stride_tricks.sliding_window_view(signal, 11)[: 6 * 4 + 1 : 4]
    np.testing.assert_array_equal(frames, expected)
