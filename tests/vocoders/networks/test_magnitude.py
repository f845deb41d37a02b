"""Magnitudes that are learned, phases that are computed: starts, learning, level, errors."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from isincnet_jax.data.demo import demo_waveform
from isincnet_jax.dsp import fourier
from isincnet_jax.pretrained.trained import export_trained, load_vocoder
from isincnet_jax.vocoders.features import VocoderFeatures
from isincnet_jax.vocoders.losses import magnitude_distance
from isincnet_jax.vocoders.networks.magnitude import MagnitudeVocoder
from isincnet_jax.vocoders.networks.phase_gradient import PhaseGradientVocoder
from isincnet_jax.vocoders.vocoder import TrainedVocoder, Vocoder

MELS, TIME = 20, 32 * 40
FEATURES = VocoderFeatures(
    "mel_slaney", 8000, n_fft=256, win_length=128, hop_length=32, n_mels=MELS
)
STFT = {"n_fft": 256, "win_length": 128, "hop_length": 32}
SMALL = functools.partial(
    MagnitudeVocoder,
    num_bins=MELS,
    width=16,
    num_blocks=1,
    iterations=2,
    sample_rate=8000,
    **STFT,
)


@functools.lru_cache
def _clip():
    return jnp.asarray(demo_waveform()[2000 : 2000 + TIME][None], jnp.float32)


@functools.lru_cache
def _mel():
    return jax.jit(FEATURES.of)(_clip())


@functools.lru_cache
def _magnitude():
    return jnp.abs(jax.jit(functools.partial(fourier.stft, **STFT))(_clip()))


@functools.lru_cache
def _variables():
    return jax.jit(SMALL().init)(jax.random.key(0), _mel()[:, :3])


@functools.lru_cache
def _run(method="__call__"):
    return jax.jit(functools.partial(SMALL().apply, method=method), static_argnames=("length",))


def _mels_of(magnitude):
    return np.asarray(magnitude) @ FEATURES.mel_weights().T


def test_it_starts_near_the_envelope_of_the_mels_and_has_them():
    found = np.asarray(_run("magnitude")(_variables(), _mel()))
    assert found.shape == (1, 41, 129)
    mel = np.asarray(_mel())
    # A band's mean magnitude is its mel over the sum of its filter.
    mean = np.max(mel / np.sum(FEATURES.mel_weights(), axis=1), axis=-1)
    assert np.all(np.abs(np.log(np.max(found, axis=-1) / mean)) < 1.5)
    error = np.linalg.norm(_mels_of(found) - mel) / np.linalg.norm(mel)
    more = SMALL(passes=40).apply(_variables(), _mel(), method="magnitude")
    less = SMALL(passes=0).apply(_variables(), _mel(), method="magnitude")
    errors = [np.linalg.norm(_mels_of(one) - mel) / np.linalg.norm(mel) for one in (less, more)]
    assert errors[0] > error > errors[1]
    assert error < 0.03
    assert errors[1] < 0.005


def test_phases_may_come_from_a_network_of_its_own():
    module = SMALL(phase_widths=(8,))
    variables = jax.jit(module.init)(jax.random.key(0), _mel()[:, :3])
    phases = PhaseGradientVocoder(**module.phase_fields)
    magnitude = module.apply(variables, _mel(), method="magnitude")
    own = {"params": variables["params"]["phases"]}
    expected = phases.apply(own, magnitude, method="spectrum")
    found = module.apply(variables, magnitude, method="spectrum")
    assert found.shape == (1, 41, 65)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert jax.jit(module.apply)(variables, _mel()).shape == (1, 41 * 32)


@pytest.mark.quick(0)
def test_it_learns_the_magnitudes_of_a_sound():
    optimizer, mel, wanted = optax.adam(1e-2), _mel(), _magnitude()

    @jax.jit
    def step(params, state):
        def loss(params):
            found = SMALL().apply({"params": params}, mel, method="magnitude")
            return jnp.mean(magnitude_distance(prediction=found, target=wanted))

        value, slope = jax.value_and_grad(loss)(params)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(slope, state)
        return optax.apply_updates(params, updates), state, value

    params, values = _variables()["params"], []
    state = optimizer.init(params)
    for _ in range(80):
        params, state, value = step(params, state)
        values.append(float(value))
    assert values[-1] < 0.6 * values[0]
    # And then it has the level and the spectrum of the sound.
    found = _run()({"params": params}, mel, length=TIME)
    again = np.abs(fourier.stft(found, **STFT))
    assert np.linalg.norm(again - wanted) < 0.6 * np.linalg.norm(wanted)
    np.testing.assert_allclose(np.std(found), np.std(_clip()), rtol=0.3)


def test_distance_is_convergence_plus_log_distance(rng):
    found, wanted = rng.uniform(1e-6, 2, (2, 3, 4, 5))
    convergence = [
        np.linalg.norm(one - other) / np.linalg.norm(other)
        for one, other in zip(found, wanted, strict=True)
    ]
    logs = np.abs(np.log(np.maximum(found, 1e-5)) - np.log(np.maximum(wanted, 1e-5)))
    np.testing.assert_allclose(
        jax.jit(magnitude_distance)(
            prediction=jnp.asarray(found, jnp.float32), target=jnp.asarray(wanted, jnp.float32)
        ),
        convergence + logs.mean((1, 2)),
        rtol=1e-5,
    )


@pytest.mark.quick(0)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_gradients_are_finite(level):
    mel = level * _mel()[:, :6]

    @jax.jit
    def total(params):
        return jnp.sum(SMALL().apply({"params": params}, mel) ** 2)

    value, slopes = jax.jit(jax.value_and_grad(total))(_variables()["params"])
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(slope)) for slope in jax.tree.leaves(slopes))


def test_a_single_frame_has_a_waveform():
    found = _run()(_variables(), _mel()[:, 3:4])
    assert found.shape == (1, 32)
    assert np.all(np.isfinite(found))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"taps": 4}, "taps=4"),
        ({"hop_length": 100}, "hop_length=100"),
        ({"iterations": -1}, "iterations=-1"),
        ({"window": "tukey"}, "window='tukey'"),
        ({"width": 0}, "width"),
        ({"floor": 0.0}, "floor"),
        ({"passes": -1}, "passes=-1"),
        ({"filters": "linear"}, "filters='linear'"),
    ],
)
def test_impossible_attributes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MagnitudeVocoder(**{"num_bins": MELS, **STFT, **options})


@pytest.mark.quick(0)
def test_stored_and_loaded_it_sounds_the_same(tmp_path):
    vocoder = TrainedVocoder(
        Vocoder(SMALL(), FEATURES), {"params": {"network": _variables()["params"]}}
    )
    loaded = load_vocoder(export_trained(vocoder, tmp_path / "model"))
    assert loaded.model.network == SMALL()
    found = loaded.synthesize(np.asarray(_mel()), length=TIME)
    # float16 turns phases a little, and what follows them.
    expected = _run()(_variables(), _mel(), length=TIME)
    assert np.linalg.norm(found - expected) < 0.3 * np.linalg.norm(expected)
