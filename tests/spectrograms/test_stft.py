"""STFT layers against librosa, direct float64 sums and finite differences."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.signal
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from isincnet_jax.spectrograms.inverse_stft import InverseSTFT
from isincnet_jax.spectrograms.stft import STFT

RATES = (8000, 16_000, 22_050, 44_100, 48_000)
SCALES = ("none", "linear", "log", "log2")
FORMATS = ("magnitude", "power", "complex", "phase")
KEY = jax.random.key(0)


@functools.lru_cache(maxsize=64)
def _jitted(layer):
    return jax.jit(layer.apply)


def _error(found, expected):
    return np.linalg.norm(np.asarray(found) - expected) / np.linalg.norm(expected)


def _snr_db(expected, found):
    error = np.sum((np.asarray(found, np.float64) - expected) ** 2) + 1e-30
    return 10 * np.log10(np.sum(np.asarray(expected, np.float64) ** 2) / error)


@settings(max_examples=6)
@given(
    rate=st.sampled_from(RATES),
    n_fft=st.sampled_from([32, 63, 256, 400]),
    hop_length=st.one_of(st.none(), st.integers(1, 500)),
    window=st.sampled_from(["hann", "hamming", "blackman"]),
    shorter=st.integers(0, 20),
    center=st.booleans(),
    pad_mode=st.sampled_from(["reflect", "constant", "edge"]),
    duration_s=st.floats(0.03, 0.25),
    jitted=st.booleans(),
)
def test_stft_is_librosa(
    rate, n_fft, hop_length, window, shorter, center, pad_mode, duration_s, jitted
):
    length = int(rate * duration_s)
    assume(length > n_fft)
    waveform = np.random.default_rng(length).standard_normal((2, length)).astype(np.float32)
    options = {"n_fft": n_fft, "hop_length": hop_length, "win_length": n_fft - shorter}
    options |= {"window": window, "center": center, "pad_mode": pad_mode}
    layer = STFT(sample_rate=rate, output_format="complex", **options)
    apply = _jitted(layer) if jitted else layer.apply
    found = apply({}, waveform)
    expected = librosa.stft(waveform.astype(np.float64), **options).swapaxes(-1, -2)
    assert found.shape == expected.shape
    assert _error(found, expected) < 1e-6
    np.testing.assert_allclose(
        layer.frequencies, librosa.fft_frequencies(sr=rate, n_fft=n_fft), rtol=1e-12
    )
    times = layer.frame_times(length)
    first = 0 if center else (n_fft // 2) / rate
    hop = layer.hop
    expected_times = first + librosa.frames_to_time(
        np.arange(found.shape[1]), sr=rate, hop_length=hop
    )
    np.testing.assert_allclose(times, expected_times, rtol=1e-12)


def _direct(waveform, layer):
    """The sum of the docstring in float64, frame by frame."""
    window = scipy.signal.get_window(layer.window, layer.taps)
    window = librosa.util.pad_center(window, size=layer.n_fft)
    half = layer.n_fft // 2
    padded = np.pad(waveform.astype(np.float64), [(0, 0), (half, half)], mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, layer.n_fft, axis=-1)
    phase = np.outer(np.arange(layer.n_fft), layer.frequencies) / layer.sample_rate
    return (frames[:, :: layer.hop] * window) @ np.exp(-2j * np.pi * phase)


@pytest.mark.quick(2)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("trainable", [False, True])
def test_formats_of_every_scale_are_the_direct_sum(scale, trainable, rng):
    waveform = rng.standard_normal((2, 3000)).astype(np.float32)
    options = {"n_fft": 512, "win_length": 400, "hop_length": 130, "freq_scale": scale}
    if scale != "none":
        options |= {"freq_bins": 90, "fmin": 70.0, "fmax": 7000.0}
    for output_format in FORMATS:
        layer = STFT(output_format=output_format, trainable_kernels=trainable, **options)
        variables = jax.jit(layer.init)(KEY, waveform)
        assert bool(variables) == trainable
        found = np.asarray(jax.jit(layer.apply)(variables, waveform))
        expected = _direct(waveform, layer)
        if output_format == "phase":
            found, expected = np.exp(1j * found), expected / np.abs(expected)
            # The phase of small values is that of rounding errors.
            assert _error(found, expected) < 1e-4
            continue
        expected = {"complex": expected, "magnitude": abs(expected), "power": abs(expected) ** 2}[
            output_format
        ]
        assert _error(found, expected) < 2e-6


def test_long_clips_in_blocks_are_the_short_way(rng):
    """Magnitudes go through blocks; the complex values do not."""
    waveform = rng.standard_normal((3, 150_000)).astype(np.float32)
    options = {"n_fft": 1024, "hop_length": 100}
    magnitude = jax.jit(STFT(**options).apply)({}, waveform)
    values = jax.jit(STFT(output_format="complex", **options).apply)({}, waveform)
    assert magnitude.shape == (3, 1501, 513)
    assert _error(magnitude, np.abs(values)) < 1e-6


def test_every_leading_axis(rng):
    waveform = rng.standard_normal((2, 3, 700)).astype(np.float32)
    layer = STFT(n_fft=64)
    whole = jax.jit(layer.apply)({}, waveform)
    assert whole.shape == (2, 3, 44, 33)
    np.testing.assert_allclose(whole[1, 2], jax.jit(layer.apply)({}, waveform[1, 2]), atol=1e-5)


@pytest.mark.quick(3)
@pytest.mark.parametrize("length", [1, 2, 5, 63, 64, 65])
def test_clips_shorter_than_a_frame(length, rng):
    waveform = rng.standard_normal(length).astype(np.float32)
    found = jax.jit(STFT(n_fft=64, hop_length=16, output_format="complex").apply)({}, waveform)
    assert found.shape == (1 + length // 16, 33)
    back = InverseSTFT(n_fft=64, hop_length=16).apply({}, found, length=length)
    assert _snr_db(waveform, back) > 110


@settings(max_examples=8)
@given(
    n_fft=st.sampled_from([64, 255, 1024]),
    overlap=st.integers(3, 9),
    length=st.integers(1000, 9000),
    normalization=st.sampled_from([None, "window", "frame"]),
    onesided=st.booleans(),
)
def test_round_trip_is_exact(n_fft, overlap, length, normalization, onesided):
    waveform = np.random.default_rng(length).standard_normal((2, length)).astype(np.float32)
    options = {"n_fft": n_fft, "hop_length": n_fft // overlap, "normalization": normalization}

    @jax.jit
    def round_trip(waveform):
        spectrum = STFT(output_format="complex", **options).apply({}, waveform)
        if not onesided:
            rest = jnp.conj(spectrum[..., 1 : (n_fft + 1) // 2][..., ::-1])
            spectrum = jnp.concatenate([spectrum, rest], axis=-1)
        return InverseSTFT(onesided=onesided, **options).apply({}, spectrum, length=length)

    back = round_trip(waveform)
    assert _snr_db(waveform, back) > 125


@settings(max_examples=6)
@given(
    n_fft=st.sampled_from([64, 256]),
    hop_length=st.integers(8, 60),
    center=st.booleans(),
    window=st.sampled_from(["hann", "hamming"]),
)
def test_inverse_is_librosa(n_fft, hop_length, center, window):
    rng = np.random.default_rng(hop_length)
    shape = (2, 40, 1 + n_fft // 2)
    spectrum = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    spectrum[..., [0, -1]] = spectrum[..., [0, -1]].real
    options = {"n_fft": n_fft, "hop_length": hop_length, "center": center, "window": window}
    inverse = _jitted(InverseSTFT(**options))
    found = inverse({}, jnp.asarray(spectrum, jnp.complex64))
    expected = librosa.istft(spectrum.swapaxes(-1, -2), **options)
    assert found.shape == expected.shape
    # Hann windows leave the first samples of an uncentred signal almost nothing to divide by.
    inner = slice(None) if center else slice(n_fft // 2, -n_fft // 2)
    assert _error(found[:, inner], expected[:, inner]) < 1e-5


def test_librosa_round_trip_of_ours(rng):
    waveform = rng.standard_normal(22_050)
    spectrum = librosa.stft(waveform, n_fft=512, hop_length=128).T.astype(np.complex64)
    back = InverseSTFT(n_fft=512, hop_length=128).apply({}, spectrum, length=22_050)
    assert _snr_db(waveform, back) > 125


def test_trainable_inverse_starts_as_the_fixed_one(rng):
    waveform = rng.standard_normal((2, 900)).astype(np.float32)
    spectrum = jax.jit(STFT(n_fft=64, hop_length=16, output_format="complex").apply)({}, waveform)
    layer = InverseSTFT(n_fft=64, hop_length=16, trainable_kernels=True, trainable_window=True)
    variables = jax.jit(layer.init)(KEY, spectrum)
    assert {k: v.shape for k, v in variables["params"].items()} == {
        "inverse_basis": (66, 64),
        "taper": (64,),
    }

    def loss(variables):
        return jnp.mean((layer.apply(variables, spectrum, length=900) - waveform) ** 2)

    value, gradients = jax.jit(jax.value_and_grad(loss))(variables)
    assert value < 1e-10
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(gradients))


@pytest.mark.quick(4)
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("scale", ["none", "log"])
@pytest.mark.parametrize("trainable", [False, True])
def test_gradients_on_silence(output_format, scale, trainable):
    """nnAudio's magnitude has NaN gradients there."""
    layer = STFT(
        n_fft=64,
        freq_scale=scale,
        freq_bins=20,
        output_format=output_format,
        trainable_kernels=trainable,
        trainable_window=trainable,
    )
    silence = jnp.zeros((1, 300))
    variables = jax.jit(layer.init)(KEY, silence)

    def total(variables, waveform):
        return jnp.sum(jnp.abs(layer.apply(variables, waveform)) ** 2) + jnp.sum(
            jnp.real(layer.apply(variables, waveform))
        )

    for gradient in jax.tree.leaves(jax.jit(jax.grad(total, (0, 1)))(variables, silence)):
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("output_format", ["magnitude", "power", "phase"])
def test_second_derivatives(output_format, x64, rng):
    layer = STFT(n_fft=8, hop_length=4, output_format=output_format)
    weights = jnp.asarray(rng.standard_normal((6, 5)))
    waveform = jnp.asarray(rng.standard_normal(20))
    direction = jnp.asarray(rng.standard_normal(20))

    def total(x):
        return jnp.sum(layer.apply({}, x) * weights)

    @jax.jit
    def curvature(x):
        return jax.jvp(jax.grad(total), (x,), (direction,))[1]

    step = 1e-5
    gradient = jax.jit(jax.grad(total))
    difference = gradient(waveform + step * direction) - gradient(waveform - step * direction)
    np.testing.assert_allclose(curvature(waveform), difference / (2 * step), rtol=2e-4, atol=2e-4)
    assert np.all(np.isfinite(curvature(jnp.zeros(20))))


@pytest.mark.tail
def test_second_derivatives_in_blocks_are_finite_on_silence():
    layer = STFT(n_fft=1024, hop_length=64)

    def total(x):
        return jnp.sum(layer.apply({}, x) ** 2)

    def penalty(x):
        return jnp.sum(jax.grad(total)(x) ** 2)

    silence = jnp.zeros((2, 100_000))
    assert np.all(np.isfinite(jax.jit(jax.grad(penalty))(silence)))


def test_kernels_learn_the_window_they_are_shown(rng):
    """A few steps of gradient descent on the basis reduce a loss that only the basis can."""
    waveform = rng.standard_normal((4, 600)).astype(np.float32)
    target = jax.jit(STFT(n_fft=32, window="blackman").apply)({}, waveform)
    layer = STFT(n_fft=32, trainable_kernels=True)
    variables = jax.jit(layer.init)(KEY, waveform)

    @jax.jit
    def loss(variables):
        return jnp.mean((layer.apply(variables, waveform) - target) ** 2)

    before = loss(variables)
    gradient = jax.jit(jax.grad(loss))
    for _ in range(100):
        slopes = gradient(variables)
        variables = jax.tree.map(lambda value, slope: value - 0.3 * slope, variables, slopes)
    assert loss(variables) < 0.5 * before


def test_float64_all_the_way(x64, rng):
    waveform = rng.standard_normal((1, 2000))
    for scale in SCALES:
        layer = STFT(n_fft=256, freq_scale=scale, freq_bins=64, output_format="complex")
        found = jax.jit(layer.apply)({}, jnp.asarray(waveform))
        assert found.dtype == jnp.complex128
        assert _error(found, _direct(waveform, layer)) < 1e-8


@pytest.mark.parametrize("normalization", ["window", "frame"])
def test_normalization(normalization, rng):
    waveform = rng.standard_normal((1, 60_000)).astype(np.float32)
    layer = STFT(n_fft=256, normalization=normalization, output_format="power")
    mean = float(np.mean(jax.jit(layer.apply)({}, waveform)[:, 2:-2, 1:-1]))
    # White noise of variance 1: E|X|^2 = sum w^2, which is 3/8 n_fft for Hann.
    assert mean == pytest.approx(1.0 if normalization == "window" else 0.375, rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_fft": 0}, "n_fft=0"),
        ({"hop_length": 2.5}, "hop_length=2.5"),
        ({"win_length": 65}, "win_length=65 must be 1 to n_fft=64"),
        ({"output_format": "Complex"}, "output_format='Complex' is unknown"),
        ({"pad_mode": "mirror"}, "pad_mode='mirror' is unknown"),
        ({"freq_scale": "no"}, "freq_scale='no' is unknown"),
        ({"fmin": 40.0}, "have no effect"),
        ({"normalization": "ortho"}, "normalization='ortho' is unknown"),
        ({"freq_scale": "log", "fmax": 12_000.0}, "must hold"),
    ],
)
def test_bad_arguments_are_refused_at_construction(arguments, message):
    with pytest.raises(ValueError, match=message):
        STFT(**({"n_fft": 64} | arguments))


def test_bad_input():
    layer = STFT(n_fft=64)
    with pytest.raises(TypeError, match="scale integers first"):
        layer.apply({}, np.zeros(100, np.int16))
    with pytest.raises(ValueError, match="needs a sample"):
        layer.apply({}, np.zeros((2, 0), np.float32))
    with pytest.raises(ValueError, match="shorter than a frame"):
        STFT(n_fft=64, center=False).apply({}, np.zeros(63, np.float32))
    inverse = InverseSTFT(n_fft=64)
    with pytest.raises(TypeError, match="GriffinLim"):
        inverse.apply({}, np.zeros((3, 33), np.float32))
    with pytest.raises(ValueError, match="33"):
        inverse.apply({}, np.zeros((3, 32), np.complex64))
    with pytest.raises(ValueError, match="samples between"):
        InverseSTFT(n_fft=64, hop_length=65)
