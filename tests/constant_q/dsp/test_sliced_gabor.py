"""The sliced constant-Q transform against the whole clip's, dense algebra, and as a stream."""

from __future__ import annotations

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.constant_q.dsp import gabor_bands, slice_spec
from isincnet_jax.constant_q.dsp import nonstationary_gabor as gabor
from isincnet_jax.constant_q.dsp import sliced_gabor as sliced
from isincnet_jax.constant_q.dsp.gabor_spec import GaborSpec

RATE = 8000
SMALL = {"sample_rate": RATE, "fmin": 500.0, "n_bins": 10, "bins_per_octave": 4, "hop_length": 6}
BANDS = GaborSpec(**SMALL)
LAYOUTS = ("matrix", "ragged")


def _snr_db(expected, found):
    expected, found = np.asarray(expected), np.asarray(found)
    error = np.sum(np.abs(expected - found) ** 2)
    return 10 * np.log10(np.sum(np.abs(expected) ** 2) / max(error, 1e-300))


analyse = jax.jit(gabor.analyse, static_argnames=("spec", "layout"))
analyse_slices = jax.jit(sliced.analyse_slices, static_argnames="spec")
synthesise_slices = jax.jit(sliced.synthesise_slices, static_argnames=("spec", "length"))
overlap_add_slices = jax.jit(sliced.overlap_add_slices, static_argnames=("spec", "length"))


@functools.cache
def _spec(layout="matrix", tight=False, slices=None, transition=None):
    bands = GaborSpec(
        **SMALL,
        tight=tight,
        normalization="energy" if tight else "amplitude",
    )
    return slice_spec.SliceSpec(bands, slices, transition, layout)


@settings(max_examples=6)
@given(
    length=st.one_of(st.integers(1, 30), st.sampled_from([191, 192, 193, 997, 5000])),
    layout=st.sampled_from(LAYOUTS),
    tight=st.booleans(),
    transition=st.sampled_from([None, 1, 100, 192]),
)
def test_every_signal_comes_back(length, layout, tight, transition):
    spec = _spec(layout, tight, 384, transition)
    waveform = np.random.default_rng(length).standard_normal((2, length)).astype(np.float32)
    coefficients = analyse_slices(waveform, spec=spec)
    found = synthesise_slices(coefficients, spec=spec, length=length)
    assert found.shape == waveform.shape
    assert _snr_db(waveform.astype(np.float64), found) > 122


@pytest.mark.quick(0)
@settings(max_examples=15)
@given(
    length=st.sampled_from([1, 7919, 50_001]),
    layout=st.sampled_from(LAYOUTS),
    sample_rate=st.sampled_from([8000, 22_050, 48_000]),
    fmin=st.floats(20.0, 440.0),
    bins_per_octave=st.integers(12, 96),
    gamma=st.sampled_from([0.0, 20.0]),
    tight=st.booleans(),
)
def test_every_signal_comes_back_at_every_resolution(length, layout, **options):
    spec = slice_spec.SliceSpec(GaborSpec(n_bins=None, **options), layout=layout)
    waveform = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    coefficients = analyse_slices(waveform, spec=spec)
    found = synthesise_slices(coefficients, spec=spec, length=length)
    assert _snr_db(waveform.astype(np.float64), found) > 122


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("tight", [False, True])
def test_bounds_hold_and_tight_slices_preserve_energy(layout, tight, x64):
    """Singular values of the analysis of all signals of 300 samples."""
    bands = GaborSpec(**SMALL, tight=tight, normalization="energy")
    spec = slice_spec.SliceSpec(bands, 384, 96, layout)
    found = jax.tree.leaves(analyse_slices(jnp.eye(300), spec=spec))
    flat = np.concatenate([np.asarray(a).reshape(300, -1) for a in found], -1)
    matrix = np.concatenate([flat.real, flat.imag], -1)
    squares = np.linalg.eigvalsh(matrix @ matrix.T)
    bounds = slice_spec.frame_bounds(spec)
    assert squares[0] >= bounds.lower - 1e-9
    assert squares[-1] <= bounds.upper + 1e-9
    if tight:
        np.testing.assert_allclose(squares, 1.0, rtol=1e-9)


def test_tight_synthesis_is_the_adjoint(x64, rng):
    """<A x, c> = <x, A* c> for random coefficients, which no signal has."""
    spec = _spec("matrix", True, 384)
    waveform = rng.standard_normal(700)
    coefficients = analyse_slices(jnp.asarray(waveform), spec=spec)
    random = rng.standard_normal(coefficients.shape) + 1j * rng.standard_normal(coefficients.shape)
    found = synthesise_slices(jnp.asarray(random), spec=spec, length=700)
    np.testing.assert_allclose(
        np.vdot(random, coefficients).real, np.vdot(found, waveform), rtol=1e-10
    )


@pytest.mark.parametrize(("tight", "least_db"), [(False, 38.0), (True, 20.0)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_spectrogram_is_nearly_that_of_the_whole_clip(layout, tight, least_db, rng):
    """Phases included, in every band; the rest is what rings beyond the slice."""
    waveform = rng.standard_normal((2, 3001)).astype(np.float32)
    spec = _spec(layout, tight, 768)
    coefficients = analyse_slices(waveform, spec=spec)
    found = overlap_add_slices(coefficients, spec=spec, length=3001)
    whole = analyse(waveform, spec=spec.bands, layout=layout)
    times = slice_spec.frame_times(3001, spec)
    for part, expected, seconds in zip(
        *(jax.tree.leaves(tree) for tree in (found, whole, times)), strict=True
    ):
        assert part.shape[1] == len(seconds)
        for band in range(part.shape[-1]):
            assert _snr_db(expected[:, : part.shape[1], band], part[..., band]) > least_db


def test_a_partial_has_its_amplitude_and_phase_in_every_slice():
    """Sliced frames at the same time, of two slices, share the partial between them."""
    spec = slice_spec.SliceSpec(BANDS, 768)
    band = 5
    frequency = gabor_bands.design_bands(spec.bands).center[band]
    clip = 0.5 * np.cos(2 * np.pi * frequency * np.arange(4000) / RATE + 0.3)
    coefficients = np.asarray(analyse_slices(clip.astype(np.float32), spec=spec))
    times = slice_spec.slice_times(4000, spec)
    assert times.shape == coefficients.shape[:2]
    middle = times[4, len(times[4]) // 2]
    expected = 0.5 * np.exp(1j * (2 * np.pi * frequency * middle + 0.3))
    np.testing.assert_allclose(coefficients[4, len(times[4]) // 2, band], expected, atol=1e-3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_stream_is_the_same(layout, rng):
    """Block by block, with the state of one block each way; a latency of one slice."""
    spec = _spec(layout, False, 384)
    block, length = 192, 1000
    waveform = rng.standard_normal(length).astype(np.float32)
    count = slice_spec.count_slices(length, spec)
    padded = np.pad(waveform, (0, count * block - length))
    latest, tail = jnp.zeros(block), jnp.zeros(block)
    slices, blocks = [], []
    for index in range(count):
        new = jnp.asarray(padded[index * block : (index + 1) * block])
        slices.append(sliced.analyse_slice(jnp.concatenate([latest, new]), spec=spec))
        latest = new
        samples = sliced.synthesise_slice(slices[-1], spec=spec)
        blocks.append(tail + samples[:block])
        tail = samples[block:]
    whole = analyse_slices(waveform, spec=spec)
    stream = jax.tree.map(lambda *arrays: jnp.stack(arrays), *slices)
    for part, expected in zip(jax.tree.leaves(stream), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(part, expected, atol=2e-6)
    offline = synthesise_slices(whole, spec=spec, length=length)
    streamed = np.concatenate(blocks)[block : block + length]
    np.testing.assert_allclose(streamed[: len(offline)], offline[: len(streamed)], atol=2e-6)
    assert _snr_db(waveform[: len(streamed)], streamed) > 122


def test_many_slices_are_mapped_in_parts(rng, monkeypatch):
    """A long signal takes a loop over parts of its slices, with the same result."""
    spec = _spec("matrix", False, 384)
    waveform = rng.standard_normal((2, 3000)).astype(np.float32)
    at_once = sliced.analyse_slices(waveform, spec=spec)
    monkeypatch.setattr(sliced, "_SAMPLES_AT_ONCE", 384 * 3)
    text = jax.jit(functools.partial(sliced.analyse_slices, spec=spec)).lower(waveform).as_text()
    assert "stablehlo.while" in text
    # The FFTs in the loop are those of three slices, then of the last of the 34.
    rows = re.findall(r"stablehlo.fft .*: \(tensor<(\d+)x1x384xf32>", text)
    assert set(rows) == {"3", "1"}
    in_parts = sliced.analyse_slices(waveform, spec=spec)
    np.testing.assert_allclose(in_parts, at_once, atol=1e-6)
    found = sliced.synthesise_slices(in_parts, spec=spec, length=3000)
    assert _snr_db(waveform.astype(np.float64), found) > 122


def test_redundancy_counts_the_sliced_coefficients():
    for layout in LAYOUTS:
        spec = _spec(layout)
        shape = jax.eval_shape(functools.partial(sliced.analyse_slices, spec=spec), jnp.zeros(5000))
        numbers = sum(2 * array.size for array in jax.tree.leaves(shape))
        assert slice_spec.redundancy(5000, spec) == pytest.approx(numbers / 5000)


def test_wrong_coefficients_are_refused():
    spec = _spec("matrix", False, 384)
    coefficients = analyse_slices(jnp.ones(1000), spec=spec)
    picture = overlap_add_slices(coefficients, spec=spec, length=1000)
    with pytest.raises(ValueError, match="not the overlap-added spectrogram"):
        sliced.synthesise_slices(picture, spec=spec, length=1000)
    with pytest.raises(ValueError, match="slices"):
        sliced.synthesise_slices(coefficients, spec=spec, length=2000)
    with pytest.raises(TypeError, match="phase retrieval"):
        sliced.synthesise_slices(jnp.abs(coefficients), spec=spec, length=1000)
    with pytest.raises(ValueError, match=r"waveform.shape=\(0,\)"):
        sliced.analyse_slices(jnp.ones(0), spec=spec)
