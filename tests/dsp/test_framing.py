"""Frame positions by brute force, sums by loops, padding by numpy.pad."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isincnet_jax.dsp import framing

GEOMETRY = {
    "hop_length": st.integers(1, 12),
    "lead": st.integers(0, 30),
    "trail": st.integers(0, 30),
    "length": st.integers(1, 60),
}


def touching_frames(length, hop_length, lead, trail):
    """Indices of all frames that overlap [0, length), by trial."""
    reach = (lead + trail + length) // hop_length + 3
    return [
        t
        for t in range(-reach, reach + 1)
        if t * hop_length + trail >= 0 and t * hop_length - lead <= length - 1
    ]


def sample_source(index, length, padding):
    """Where sample ``index`` of the extended signal comes from, None for a zero."""
    if padding == "zeros":
        return index if 0 <= index < length else None
    if length == 1:
        return 0
    while not 0 <= index < length:
        index = -index if index < 0 else 2 * (length - 1) - index
    return index


@given(**GEOMETRY)
def test_zero_padded_frames_are_those_that_touch_the_signal(hop_length, lead, trail, length):
    frames = touching_frames(length, hop_length, lead, trail)
    grid = framing.frame_grid(
        length, hop_length=hop_length, lead=lead, trail=trail, padding="zeros"
    )
    if lead + trail + 1 >= hop_length:  # a bank that sees every sample
        assert list(range(grid.first, grid.first + grid.num_frames)) == frames
    else:
        assert set(frames) <= set(range(grid.first, grid.first + grid.num_frames))


@given(hop_length=st.integers(1, 12), length=st.integers(1, 100), trail=st.integers(-1, 14))
def test_reflected_frames_are_those_in_the_signal_and_one_more_if_need_be(
    hop_length, length, trail
):
    options = {"hop_length": hop_length, "lead": 12, "trail": trail, "padding": "reflect"}
    inside = len(range(0, length, hop_length))
    assert framing.frame_grid(length, sees_all=False, **options) == (0, inside)
    grid = framing.frame_grid(length, **options)
    reached = (inside - 1) * hop_length + trail >= length - 1
    if trail >= hop_length - 1:
        assert reached
        assert grid == (0, inside)
    last = (grid.num_frames - 1) * hop_length
    assert last + trail >= length - 1
    assert grid.num_frames == inside + (not reached)


@pytest.mark.parametrize("length", [0, -3])
def test_empty_clip_has_no_frames(length):
    with pytest.raises(ValueError, match=rf"length={length}: an empty waveform"):
        framing.frame_grid(length, hop_length=4, lead=2, trail=2, padding="zeros")


@given(
    padding=st.sampled_from(["zeros", "reflect"]),
    num_frames=st.integers(-1, 20),
    hop_length=st.integers(1, 12),
    lead=st.integers(0, 30),
    trail=st.integers(0, 30),
    sees_all=st.booleans(),
)
def test_longest_length_is_the_last_with_so_many_frames(
    padding, num_frames, hop_length, lead, trail, sees_all
):
    options = {"hop_length": hop_length, "lead": lead, "trail": trail, "padding": padding}
    options["sees_all"] = sees_all
    counts = {n: framing.frame_grid(n, **options).num_frames for n in range(1, 21 * hop_length + 2)}
    fitting = [n for n, count in counts.items() if count == num_frames]
    if fitting:
        assert framing.longest_length(num_frames, **options) == max(fitting)
    else:
        with pytest.raises(ValueError, match=rf"num_frames={num_frames}: a clip of one sample"):
            framing.longest_length(num_frames, **options)


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@settings(max_examples=6)
@given(**GEOMETRY)
@example(hop_length=4, lead=30, trail=30, length=1)
@example(hop_length=4, lead=3, trail=0, length=5)
@example(hop_length=12, lead=0, trail=0, length=12)
def test_padding_places_every_sample_where_its_frame_expects_it(
    padding, hop_length, lead, trail, length
):
    options = {"hop_length": hop_length, "lead": lead, "trail": trail, "padding": padding}
    grid = framing.frame_grid(length, **options)
    waveform = np.arange(1, length + 1, dtype=np.float32)
    pad = jax.jit(functools.partial(framing.pad_for_frames, grid=grid, **options))
    padded = np.asarray(pad(jnp.asarray(waveform)))
    start = grid.first * hop_length - lead
    sources = [sample_source(start + n, length, padding) for n in range(len(padded))]
    expected = [0.0 if source is None else waveform[source] for source in sources]
    assert len(padded) == (grid.num_frames - 1) * hop_length + lead + trail + 1
    np.testing.assert_array_equal(padded, expected)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 40])
def test_reflection_is_that_of_numpy_even_for_clips_shorter_than_the_pad(length):
    hop_length, lead, trail = 4, 11, 13
    grid = framing.frame_grid(
        length, hop_length=hop_length, lead=lead, trail=trail, padding="reflect"
    )
    waveform = np.random.default_rng(length).standard_normal((2, length)).astype(np.float32)
    pad = functools.partial(
        framing.pad_for_frames,
        grid=grid,
        hop_length=hop_length,
        lead=lead,
        trail=trail,
        padding="reflect",
    )
    padded = jax.jit(pad)(jnp.asarray(waveform))
    right = (grid.num_frames - 1) * hop_length + trail + 1 - length
    # numpy repeats a single sample under "edge" and refuses to reflect it without a warning.
    mode = "reflect" if length > 1 else "edge"
    expected = np.pad(waveform, ((0, 0), (lead, right)), mode=mode)
    np.testing.assert_array_equal(padded, expected)


@settings(max_examples=8)
@given(
    hop_length=st.integers(1, 9),
    taps=st.integers(1, 20),
    extra=st.integers(0, 30),
    channels=st.integers(1, 3),
)
@example(hop_length=9, taps=1, extra=0, channels=1)
@example(hop_length=5, taps=5, extra=30, channels=2)
@example(hop_length=5, taps=6, extra=29, channels=1)
def test_correlation_is_the_direct_sum(x64, hop_length, taps, extra, channels):
    rng = np.random.default_rng(taps)
    padded = rng.standard_normal((2, taps + extra))
    kernels = rng.standard_normal((channels, taps))
    found = jax.jit(functools.partial(framing.correlate_frames, hop_length=hop_length))(
        jnp.asarray(padded), jnp.asarray(kernels)
    )
    num_frames = extra // hop_length + 1
    assert found.shape == (2, num_frames, channels)
    for t in range(num_frames):
        for c in range(channels):
            expected = sum(kernels[c, n] * padded[:, t * hop_length + n] for n in range(taps))
            np.testing.assert_allclose(found[:, t, c], expected, atol=1e-12)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_correlation_keeps_leading_axes(leading, rng):
    padded = rng.standard_normal((*leading, 23)).astype(np.float32)
    kernels = rng.standard_normal((4, 7)).astype(np.float32)
    found = framing.correlate_frames(jnp.asarray(padded), jnp.asarray(kernels), hop_length=4)
    assert found.shape == (*leading, 5, 4)


SYNTHESIS = {
    "hop_length": st.integers(1, 6),
    "blocks": st.integers(1, 5),
    "lead_blocks": st.integers(-2, 6),
    "first_frame": st.integers(-4, 2),
    "num_frames": st.integers(1, 8),
    "length": st.integers(1, 40),
}


@settings(max_examples=8)
@given(**SYNTHESIS)
@example(hop_length=1, blocks=1, lead_blocks=-2, first_frame=-4, num_frames=1, length=1)
@example(hop_length=6, blocks=5, lead_blocks=6, first_frame=2, num_frames=8, length=40)
@example(hop_length=4, blocks=2, lead_blocks=0, first_frame=0, num_frames=3, length=5)
def test_synthesis_is_the_direct_sum(
    x64, hop_length, blocks, lead_blocks, first_frame, num_frames, length
):
    rng = np.random.default_rng(length)
    channels, taps, lead = 2, blocks * hop_length, lead_blocks * hop_length
    spectrogram = rng.standard_normal((num_frames, channels))
    kernels = rng.standard_normal((channels, taps))
    expected = np.zeros(length)
    for frame in range(num_frames):
        for n in range(taps):
            sample = (first_frame + frame) * hop_length - lead + n
            if 0 <= sample < length:
                expected[sample] += spectrogram[frame] @ kernels[:, n]
    synthesize = jax.jit(
        functools.partial(
            framing.synthesize_frames,
            hop_length=hop_length,
            lead=lead,
            first_frame=first_frame,
            length=length,
        )
    )
    found = synthesize(jnp.asarray(spectrogram), jnp.asarray(kernels))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@settings(max_examples=8)
@given(
    hop_length=st.integers(1, 6),
    blocks=st.integers(1, 4),
    lead_blocks=st.integers(0, 4),
    length=st.integers(1, 40),
)
@example(hop_length=6, blocks=1, lead_blocks=0, length=1)
@example(hop_length=5, blocks=4, lead_blocks=3, length=6)
def test_synthesis_is_the_adjoint_of_analysis(x64, hop_length, blocks, lead_blocks, length):
    rng = np.random.default_rng(length)
    taps = blocks * hop_length
    lead = min(lead_blocks, blocks - 1) * hop_length
    trail = taps - 1 - lead
    kernels = jnp.asarray(rng.standard_normal((3, taps)))
    options = {"hop_length": hop_length, "lead": lead, "trail": trail, "padding": "zeros"}
    grid = framing.frame_grid(length, **options)
    waveform = jnp.asarray(rng.standard_normal(length))
    spectrogram = jnp.asarray(rng.standard_normal((grid.num_frames, 3)))

    @jax.jit
    def products(waveform, spectrogram):
        padded = framing.pad_for_frames(waveform, grid=grid, **options)
        analysed = framing.correlate_frames(padded, kernels, hop_length=hop_length)
        synthesised = framing.synthesize_frames(
            spectrogram,
            kernels,
            hop_length=hop_length,
            lead=lead,
            first_frame=grid.first,
            length=length,
        )
        return jnp.sum(analysed * spectrogram), jnp.sum(waveform * synthesised)

    left, right = products(waveform, spectrogram)
    assert float(left) == pytest.approx(float(right), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_synthesis_keeps_leading_axes(leading, rng):
    spectrogram = rng.standard_normal((*leading, 5, 2)).astype(np.float32)
    kernels = rng.standard_normal((2, 8)).astype(np.float32)
    synthesize = functools.partial(
        framing.synthesize_frames, hop_length=4, lead=4, first_frame=0, length=13
    )
    found = jax.jit(synthesize)(spectrogram, kernels)
    assert found.shape == (*leading, 13)


@pytest.mark.parametrize(("taps", "lead"), [(9, 4), (8, 3)])
def test_synthesis_kernels_must_be_whole_hops_long(taps, lead):
    with pytest.raises(ValueError, match=rf"{taps} taps with lead={lead}: both must be mult"):
        framing.block_steps(taps, lead=lead, hop_length=4)


@pytest.mark.parametrize(
    ("hop_length", "taps", "length"), [(4, 9, 40), (4, 8, 41), (5, 3, 17), (1, 6, 6), (3, 7, 9)]
)
def test_block_correlation_equals_the_strided_one(rng, hop_length, taps, length):
    padded = jnp.asarray(rng.standard_normal((2, 3, length)), jnp.float32)
    kernels = jnp.asarray(rng.standard_normal((5, taps)), jnp.float32)
    strided, blocks = jax.jit(
        lambda *given: [
            correlate(*given, hop_length=hop_length)
            for correlate in (framing.correlate_frames, framing.correlate_blocks)
        ]
    )(padded, kernels)
    assert blocks.shape == strided.shape
    np.testing.assert_allclose(blocks, strided, atol=1e-5)  # other order of the same sums


@pytest.mark.quick(0)
def test_very_long_signals_keep_their_last_frame():
    # The CPU backend counts outputs in float32: beyond 2^24 samples a strided convolution
    # loses the last frame for lengths such as this one.
    hop_length, taps, num_frames = 126, 505, 133_157
    length = (num_frames - 1) * hop_length + taps
    ramp = (jnp.arange(length, dtype=jnp.int32) % 251).astype(jnp.float32)
    kernels = jnp.ones((1, taps), jnp.float32)
    found = framing.correlate_frames(ramp, kernels, hop_length=hop_length)
    assert found.shape == (num_frames, 1)
    last = np.arange((num_frames - 1) * hop_length, length) % 251
    assert float(found[-1, 0]) == last.sum()
