"""Phase gradients that are believed: distributions against scipy, patches by hand, sounds."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
import scipy.stats

from isincnet_jax.data.demo import demo_waveform
from isincnet_jax.dsp import fourier
from isincnet_jax.phase import curl, heap_integration, propagation, sweeps
from isincnet_jax.phase.beliefs import PhaseBeliefs, mean_direction, surprise
from isincnet_jax.pretrained.trained import export_trained, load_vocoder
from isincnet_jax.vocoders.features import VocoderFeatures
from isincnet_jax.vocoders.networks.phase_gradient import PhaseGradientVocoder
from isincnet_jax.vocoders.vocoder import TrainedVocoder, Vocoder

SMALL = functools.partial(
    PhaseGradientVocoder,
    num_bins=129,
    n_fft=256,
    win_length=128,
    hop_length=32,
    widths=(12, 8),
    halo_bins=4,
)
STFT = {"n_fft": 256, "win_length": 128, "hop_length": 32}
TIME = 32 * 40


@functools.lru_cache
def _clip():
    return jnp.asarray(demo_waveform()[2000 : 2000 + TIME][None], jnp.float32)


@functools.lru_cache
def _magnitude():
    return jnp.abs(jax.jit(functools.partial(fourier.stft, **STFT))(_clip()))


@functools.lru_cache
def _variables(**options):
    return jax.jit(SMALL(**options).init)(jax.random.key(0), _magnitude()[:, :3])


@functools.lru_cache
def _synthesis(**options):
    return jax.jit(SMALL(**options).apply, static_argnames=("length", "method"))


@pytest.mark.quick(0)
def test_untrained_it_believes_the_gaussian_windows_differences():
    beliefs = _synthesis()(_variables(), _magnitude(), method="beliefs")
    steps = propagation.gaussian_steps(
        propagation.relative_level(_magnitude()),
        n_fft=256,
        hop_length=32,
        gamma=heap_integration.window_gamma("hann", 128),
        every=2,
    )
    for found, wanted in zip(beliefs, steps, strict=True):
        assert found.shape == (1, 41, 65)
        turned = np.asarray(found) * np.exp(-1j * np.asarray(wanted))
        np.testing.assert_allclose(turned, 2.0, atol=0.05)  # the last layer starts at 1e-3


@pytest.mark.parametrize("patch_bins", [1, 2, 3])
def test_what_it_sees_is_the_spectrogram_around_each_patch(patch_bins):
    level = np.random.default_rng(0).uniform(-12, 0, (5, 129)).astype(np.float32)
    model = SMALL(past_frames=1, future_frames=2, patch_bins=patch_bins)
    frames, patches = np.array([0, 2, 4]), np.array([0, 7, 64 // patch_bins])
    padded = model._padded(jnp.asarray(level)[None])[0]
    seen = np.asarray(model._seen(padded, jnp.asarray(frames), jnp.asarray(patches)))
    width = 2 * (patch_bins + 8)
    assert seen.shape == (3, 4, width)
    for found, frame, patch in zip(seen, frames, patches, strict=True):
        rows = np.clip(np.arange(frame - 1, frame + 3), 0, 4)
        first = 2 * patch_bins * patch - 9
        # Bins are mirrored at 0 Hz and at the Nyquist frequency.
        bins = np.abs(np.arange(first, first + width))
        bins = np.minimum(bins, 2 * 128 - bins)
        np.testing.assert_array_equal(found, level[np.ix_(rows, bins)])


@pytest.mark.parametrize("patch_bins", [1, 2])
def test_what_is_learned_from_draws_is_the_surprise(patch_bins):
    """Without bias, and of what synthesis believes: patches of both ways agree."""
    noise = functools.partial(jax.random.normal, jax.random.key(3))
    start = _variables(patch_bins=patch_bins)
    variables = jax.tree.map(lambda leaf: leaf + 0.3 * noise(leaf.shape), start)
    spectrum = fourier.stft(_clip(), n_fft=128, hop_length=32)
    beliefs = _synthesis(patch_bins=patch_bins)(variables, _magnitude(), method="beliefs")
    wanted = jax.jit(surprise)(beliefs, spectrum)

    @jax.jit
    def drawn(key):
        return SMALL(patch_bins=patch_bins).apply(
            variables, _magnitude(), spectrum, key, num_points=1500, method="drawn_surprise"
        )

    found = np.mean([drawn(jax.random.key(seed)) for seed in range(6)], axis=0)
    np.testing.assert_allclose(found, wanted, atol=0.03)


def test_surprise_is_the_von_mises_likelihood_of_scipy(rng):
    shape = (2, 4, 6)
    natural = [rng.standard_normal(shape) + 1j * rng.standard_normal(shape) for _ in range(2)]
    spectrum = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    found = jax.jit(surprise)(
        PhaseBeliefs(*(jnp.asarray(part, jnp.complex64) for part in natural)),
        jnp.asarray(spectrum, jnp.complex64),
    )
    phases = np.angle(spectrum * (-1.0) ** np.arange(6))
    weight = np.sqrt(np.abs(spectrum))
    for clip in range(2):
        total = 0.0
        for every, axis in zip(natural, (0, 1), strict=True):
            later = tuple(slice(1, None) if axis == place else slice(None) for place in (0, 1))
            eta = every[clip][later]
            turn = np.diff(phases[clip], axis=axis)
            logs = scipy.stats.vonmises.logpdf(turn, np.abs(eta), loc=np.angle(eta))
            first = tuple(slice(-1) if axis == place else slice(None) for place in (0, 1))
            weights = np.sqrt(weight[clip][later] * weight[clip][first])
            total -= np.sum(weights * (logs + np.log(2 * np.pi))) / np.sum(weights)
        np.testing.assert_allclose(found[clip], total, rtol=1e-4)


def test_certainties_are_mean_directions():
    sure = np.array([1e-2, 0.5, 3.0, 80.0])
    natural = jnp.asarray(sure * np.exp(0.7j), jnp.complex64)
    wanted = scipy.special.i1e(sure) / scipy.special.i0e(sure) * np.exp(0.7j)
    np.testing.assert_allclose(mean_direction(natural), wanted, rtol=1e-3)
    np.testing.assert_allclose(mean_direction(natural, 0.5), wanted / 2, rtol=1e-3)


def test_untrained_it_inverts_music_and_iterations_help():
    scores = []
    for iterations in (0, 4):
        found = _synthesis(iterations=iterations)(_variables(), _magnitude(), length=TIME)
        assert found.shape == (1, TIME)
        np.testing.assert_allclose(np.std(found), np.std(_clip()), rtol=0.15)
        again = np.abs(fourier.stft(found, **STFT))
        scores.append(np.linalg.norm(again - _magnitude()) / np.linalg.norm(_magnitude()))
    assert scores[0] < 0.3
    assert scores[1] < 0.8 * scores[0]


def test_the_level_is_that_of_the_features():
    quiet = _synthesis()(_variables(), 1e-3 * _magnitude(), length=TIME)
    loud = _synthesis()(_variables(), _magnitude(), length=TIME)
    np.testing.assert_allclose(quiet, 1e-3 * loud, atol=1e-5 * float(jnp.max(jnp.abs(loud))))


@pytest.mark.quick(0)
def test_it_learns_what_a_sound_has():
    model, optimizer = SMALL(), optax.adam(3e-3)
    spectrum = fourier.stft(_clip(), n_fft=128, hop_length=32)

    @jax.jit
    def step(params, state):
        def loss(params):
            beliefs = model.apply({"params": params}, _magnitude(), method="beliefs")
            return jnp.mean(surprise(beliefs, spectrum))

        value, slope = jax.value_and_grad(loss)(params)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(slope, state)
        return optax.apply_updates(params, updates), state, value

    params = _variables()["params"]
    state, values = optimizer.init(params), []
    for _ in range(60):
        params, state, value = step(params, state)
        values.append(float(value))
    assert values[-1] < values[0] - 0.2


@pytest.mark.quick(0)
@pytest.mark.parametrize("level", [0.0, 1e-12, 1.0])
def test_gradients_are_finite(level):
    magnitude = level * _magnitude()[:, :6]
    spectrum = jnp.zeros((1, 6, 65), jnp.complex64)

    @jax.jit
    def total(params):
        beliefs = SMALL().apply({"params": params}, magnitude, method="beliefs")
        found = SMALL(iterations=1).apply({"params": params}, magnitude)
        return jnp.sum(found**2) + jnp.sum(surprise(beliefs, spectrum))

    value, slopes = jax.jit(jax.value_and_grad(total))(_variables()["params"])
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(slope)) for slope in jax.tree.leaves(slopes))


def test_a_single_frame_has_a_waveform():
    found = _synthesis()(_variables(), _magnitude()[:, 3:4])
    assert found.shape == (1, 32)
    assert np.all(np.isfinite(found))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_bins": 65}, "num_bins=65.*use num_bins=129"),
        ({"win_length": 200}, "win_length=200.*n_fft / every"),
        ({"every": 3}, "every=3.*multiple of 6"),
        ({"coupling": -1.0}, "coupling=-1.0"),
        ({"sweeps": 0}, "sweeps"),
        ({"window": "tukey"}, "window='tukey'"),
        ({"iterations": -1}, "iterations=-1"),
        ({"patch_bins": 0}, "patch_bins"),
        ({"hop_length": 0}, "hop_length"),
        ({"halo_bins": 1.5}, "halo_bins=1.5"),
        ({"widths": (8, 0)}, "widths"),
        ({"dtype": jnp.bfloat16}, "dtype=bfloat16"),
    ],
)
def test_impossible_attributes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SMALL(**options)


def test_other_bins_and_no_frames_are_refused():
    with pytest.raises(ValueError, match="64"):
        SMALL().apply(_variables(), jnp.ones((1, 4, 64), jnp.float32))
    with pytest.raises(ValueError, match="frame"):
        SMALL().apply(_variables(), jnp.ones((1, 0, 129), jnp.float32))


def test_stored_and_loaded_it_sounds_the_same(tmp_path):
    features = VocoderFeatures("linear", 8000, n_fft=256, win_length=128, hop_length=32)
    vocoder = TrainedVocoder(
        Vocoder(SMALL(), features), {"params": {"network": _variables()["params"]}}
    )
    loaded = load_vocoder(export_trained(vocoder, tmp_path / "model"))
    assert loaded.model.network == SMALL()
    magnitude = np.asarray(_magnitude())
    found = loaded.synthesize(magnitude, length=TIME)
    np.testing.assert_allclose(
        found, _synthesis()(_variables(), _magnitude(), length=TIME), atol=0.02
    )
    # Phases are swept over all frames: parts are not joined, however few are asked for.
    np.testing.assert_array_equal(loaded.synthesize(magnitude, length=TIME, chunk_frames=7), found)


def test_phases_are_integrated_along_the_surest_steps_on_the_host():
    features = VocoderFeatures("linear", 8000, n_fft=256, win_length=128, hop_length=32)
    vocoder = TrainedVocoder(
        Vocoder(SMALL(), features), {"params": {"network": _variables()["params"]}}
    )
    magnitude = _magnitude()
    steps = _synthesis()(_variables(), magnitude, method="steps")
    start = heap_integration.edge_heap_integration(curl.curl_weighted(steps))
    directions = sweeps.swept(steps, coupling=1.0, sweeps=8, start=start)
    spectrum = propagation.scaled(propagation.counted_from_start(directions), magnitude[..., ::2])
    wanted = fourier.istft(spectrum, n_fft=128, hop_length=32, length=TIME)
    found = vocoder.synthesize(np.asarray(magnitude), length=TIME, heap=True)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert np.max(np.abs(found - vocoder.synthesize(np.asarray(magnitude), length=TIME))) > 0.01
    assert vocoder.synthesize(np.asarray(magnitude[:, :1]), heap=True).shape == (1, 32)


@pytest.mark.parametrize("options", [{"win_length": 256}, {"n_fft": 512}])
def test_features_of_another_stft_are_refused(options):
    geometry = {"n_fft": 256, "win_length": 128, **options}
    bins = geometry["n_fft"] // 2 + 1
    features = VocoderFeatures("linear", 8000, hop_length=32, **geometry)
    network = SMALL(num_bins=bins, n_fft=2 * (bins - 1)) if "n_fft" not in options else SMALL()
    with pytest.raises(ValueError, match=r"win_length=256|num_bins=129"):
        Vocoder(network, features)
