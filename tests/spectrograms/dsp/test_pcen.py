"""Per-channel energy normalisation against librosa, scipy's recursion and finite differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.spectrograms.dsp import pcen

_jitted = jax.jit(pcen.pcen, static_argnames=("gain", "bias", "power", "eps", "initial_state"))


def _energies(seed, shape=(2, 30, 5), scale=2.0**31):
    """Twelve orders of magnitude of energies, and silence."""
    rng = np.random.default_rng(seed)
    values = scale * 10.0 ** rng.uniform(-12, 0, shape)
    values[..., 3:6, 1] = 0.0
    return values.astype(np.float32)


@settings(max_examples=10)
@given(
    seed=st.integers(0, 99),
    rate=st.sampled_from([8000, 22_050, 44_100, 48_000]),
    hop=st.sampled_from([128, 512]),
    gain=st.sampled_from([0.0, 0.5, 0.98]),
    bias=st.sampled_from([0.5, 2.0]),
    power=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    time_constant=st.sampled_from([0.06, 0.4]),
)
def test_it_is_librosas(seed, rate, hop, gain, bias, power, time_constant):
    energies = _energies(seed)
    smoothing = pcen.smoothing_from_time(time_constant, frame_rate_hz=rate / hop)
    options = {"gain": gain, "bias": bias, "power": power}
    found = _jitted(energies, smoothing=smoothing, **options)
    wanted = librosa.pcen(
        energies.astype(np.float64),
        sr=rate,
        hop_length=hop,
        time_constant=time_constant,
        axis=-2,
        **options,
    )
    assert np.linalg.norm(found - wanted) / np.linalg.norm(wanted) < 1e-5
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-5 * wanted.std())


def test_without_bias_it_is_a_power_law():
    energies = _energies(1) + np.float32(1e-3)
    found = _jitted(energies, smoothing=0.1, bias=0)
    wanted = librosa.pcen(energies.astype(np.float64), b=0.1, bias=0, axis=-2)
    np.testing.assert_allclose(found, wanted, rtol=2e-5)
    silence = _jitted(jnp.zeros((4, 2)), smoothing=0.1, bias=0)
    np.testing.assert_array_equal(silence, 0.0)


@pytest.mark.parametrize("state", ["one", "first"])
@pytest.mark.parametrize("form", [pcen._smooth_in_order, pcen._smooth_in_parallel])
def test_both_forms_of_the_recursion_are_scipys(rng, x64, state, form):
    energies = rng.uniform(0, 9, (3, 50, 4))
    smoothing = np.asarray([0.01, 0.3, 1.0, 0.0])
    start = np.ones((3, 4)) if state == "one" else energies[:, 0]
    wanted = np.empty_like(energies)
    for k, b in enumerate(smoothing):
        for clip in range(3):
            wanted[clip, :, k], _ = scipy.signal.lfilter(
                [b], [1, b - 1], energies[clip, :, k], zi=[(1 - b) * start[clip, k]]
            )
    found = jax.jit(form)(jnp.asarray(energies), jnp.asarray(smoothing), jnp.asarray(start))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    found = pcen.smooth_frames(energies, smoothing=smoothing, initial_state=state)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_the_first_state_forgets_the_level():
    """From the first frame on, a louder recording gives the same, but for eps and bias."""
    energies = _energies(3)[:, :, 3:]
    options = {"smoothing": 0.05, "gain": 1.0, "eps": 1e-12, "initial_state": "first"}
    quiet, loud = (_jitted(gain * energies, **options) for gain in (1.0, 100.0))
    np.testing.assert_allclose(quiet, loud, rtol=1e-3)


def test_the_time_constant_is_that_of_the_squared_response():
    for frames in (3.0, 20.0, 300.0):
        b = pcen.smoothing_from_time(frames / 50, frame_rate_hz=50.0)
        assert 0 < b < 1
        half = 2 * np.arcsin(1 / (2 * frames))
        _, response = scipy.signal.freqz([b], [1, b - 1], [half])
        assert abs(response[0]) ** 2 == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("state", ["one", "first"])
def test_gradients_are_finite_differences(rng, x64, state):
    arguments = {
        "energies": rng.uniform(0.1, 4, (6, 3)),
        "smoothing": rng.uniform(0.05, 0.9, 3),
        "gain": rng.uniform(0.3, 1.2, 3),
        "bias": rng.uniform(0.5, 3, 3),
        "power": rng.uniform(0.2, 0.9, 3),
    }
    weights = rng.standard_normal((6, 3))

    @jax.jit
    def loss(arguments):
        return jnp.sum(weights * pcen.pcen(**arguments, initial_state=state))

    arguments = jax.tree.map(jnp.asarray, arguments)
    gradients = jax.jit(jax.grad(loss))(arguments)
    for name, value in arguments.items():
        for index in ((0,) * value.ndim, (-1,) * value.ndim):
            ends = [loss({**arguments, name: value.at[index].add(step)}) for step in (1e-5, -1e-5)]
            slope = (ends[0] - ends[1]) / 2e-5
            assert float(gradients[name][index]) == pytest.approx(float(slope), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("options", [{}, {"bias": 0}, {"power": 0}, {"initial_state": "first"}])
def test_silence_stays_silent_with_finite_gradients(options):
    def total(energies, smoothing):
        return jnp.sum(pcen.pcen(energies, smoothing=smoothing, **options))

    value, gradients = jax.jit(jax.value_and_grad(total, (0, 1)))(
        jnp.zeros((8, 3)), jnp.full(3, 0.1)
    )
    assert value == 0
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


def test_faint_energies_keep_their_digits():
    """expm1 and log1p: ``(x + 2)^r - 2^r`` itself would round to 0 in float32."""
    energies = np.full((3, 2), 1e-12, np.float32)
    found = _jitted(energies, smoothing=0.5)
    wanted = librosa.pcen(energies.astype(np.float64), b=0.5, axis=-2)
    assert np.all(wanted > 0)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_impossible_arguments_are_named():
    energies = np.ones((3, 2), np.float32)
    with pytest.raises(ValueError, match="eps=0 must be positive"):
        pcen.pcen(energies, smoothing=0.1, eps=0)
    with pytest.raises(ValueError, match="initial_state='zero'"):
        pcen.pcen(energies, smoothing=0.1, initial_state="zero")
    with pytest.raises(ValueError, match="time_constant=0"):
        pcen.smoothing_from_time(0, frame_rate_hz=43.0)
