"""Every augmentation by an oracle of its own, and the same clips on any number of devices."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.training.augmentation import AugmentationSpec, augment

RATE = 8000
LENGTH = 400
ALL = AugmentationSpec(
    reversal=0.5,
    polarity=0.5,
    impulse_response=0.5,
    impulse_decay_s=(0.005, 0.02),
    gain=0.5,
    noise=0.5,
    requantize=0.5,
    silent_items=3,
)


@functools.lru_cache
def _compiled(spec):
    return jax.jit(
        lambda clips, key, first: augment(
            clips, key, spec=spec, first_index=first, sample_rate=RATE
        )
    )


def _augment(clips, spec, *, seed=0, first=0):
    found = _compiled(spec)(jnp.asarray(clips), jax.random.key(seed), first)
    assert found.dtype == jnp.float32
    return np.asarray(found)


@pytest.fixture
def clips(rng):
    return rng.uniform(-0.5, 0.5, (8, LENGTH)).astype(np.float32)


@pytest.fixture
def many(rng):
    return rng.uniform(-0.5, 0.5, (400, 50)).astype(np.float32)


def test_nothing_is_the_default(clips):
    np.testing.assert_array_equal(_augment(clips, AugmentationSpec()), clips)


def test_reversal_and_polarity_are_exact(clips):
    both = AugmentationSpec(reversal=1.0, polarity=1.0)
    np.testing.assert_array_equal(_augment(clips, AugmentationSpec(reversal=1.0)), clips[:, ::-1])
    np.testing.assert_array_equal(_augment(clips, AugmentationSpec(polarity=1.0)), -clips)
    np.testing.assert_array_equal(_augment(clips, both), -clips[:, ::-1])


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_probabilities(many, probability):
    flipped = _augment(many, AugmentationSpec(polarity=probability))
    happened = np.all(flipped == -many, axis=1)
    np.testing.assert_array_equal(flipped[~happened], many[~happened])
    # Four standard deviations of 400 coins.
    slack = 4 * np.sqrt(probability * (1 - probability) / 400)
    assert np.mean(happened) == pytest.approx(probability, abs=slack)


def test_coins_are_independent(many):
    spec = AugmentationSpec(polarity=0.5, reversal=0.5)
    changed = _augment(many, spec)
    candidates = [many, -many, many[:, ::-1], -many[:, ::-1]]
    counts = [np.sum(np.all(changed == candidate, axis=1)) for candidate in candidates]
    assert sum(counts) == 400
    assert min(counts) > 60  # 100 each, with a deviation of 9


def test_gain(many):
    gain_db = (-12.0, 20.0)
    changed = _augment(many, AugmentationSpec(gain=1.0, gain_db=gain_db))
    ratio = np.median(changed / many, axis=1)
    np.testing.assert_allclose(changed, ratio[:, None] * many, rtol=1e-5, atol=1e-7)
    assert np.max(np.abs(changed)) <= 1 + 1e-6
    level_db = 20 * np.log10(ratio)
    assert gain_db[0] <= level_db.min() < -10
    is_limited = np.max(np.abs(changed), axis=1) > 1 - 1e-5
    assert 0.2 < np.mean(is_limited) < 0.8  # the room is about 6 dB of -12 to 20
    free = level_db[~is_limited]
    assert np.mean(free < -3) == pytest.approx(0.5, abs=0.15)  # uniform from -12 to about 6


def test_gain_leaves_overdriven_clips_alone_or_lowers_them(clips):
    loud = 4 * clips
    changed = _augment(loud, AugmentationSpec(gain=1.0, gain_db=(0.0, 20.0)))
    np.testing.assert_array_equal(changed, loud)


def test_noise_has_its_ratio(rng):
    clips = rng.uniform(-0.5, 0.5, (50, 2000)).astype(np.float32)
    noise = _augment(clips, AugmentationSpec(noise=1.0, noise_snr_db=(10.0, 30.0))) - clips
    ratio_db = 10 * np.log10(np.mean(clips**2, axis=1) / np.mean(noise**2, axis=1))
    # The power of 2000 samples of noise is known to 3 %, 0.14 dB: four deviations.
    assert ratio_db.min() > 10 - 0.6
    assert ratio_db.max() < 30 + 0.6
    assert np.mean(ratio_db) == pytest.approx(20, abs=4 * 20 / np.sqrt(12 * 50))
    white = noise / np.std(noise, axis=1, keepdims=True)
    assert abs(np.mean(white)) < 4 / np.sqrt(white.size)
    assert abs(np.mean(white[:, 1:] * white[:, :-1])) < 4 / np.sqrt(white.size)
    assert abs(np.mean(white[1:] * white[:-1])) < 4 / np.sqrt(white.size)  # clips differ
    assert np.mean(white**4) == pytest.approx(3, abs=0.1)  # Gaussian


@pytest.mark.parametrize("bits", [2, 5, 8, 16])
def test_requantize_is_rounding(clips, bits):
    changed = _augment(clips, AugmentationSpec(requantize=1.0, requantize_bits=(bits, bits)))
    half = 2 ** (bits - 1)
    np.testing.assert_array_equal(changed, np.round(clips * half) / half)


def test_requantize_draws_all_its_bits(many):
    changed = _augment(many, AugmentationSpec(requantize=1.0, requantize_bits=(3, 5)))
    found = {
        bits: np.sum(np.all(changed == np.round(many * 2 ** (bits - 1)) / 2 ** (bits - 1), axis=1))
        for bits in (3, 4, 5)
    }
    assert sum(found.values()) >= 400
    assert min(found.values()) > 80


ROOM = AugmentationSpec(
    impulse_response=1.0, impulse_decay_s=(0.01, 0.02), impulse_level_db=(-6.0, -6.0)
)


def test_a_room_keeps_the_energy(clips):
    changed = _augment(clips, ROOM)
    np.testing.assert_allclose(np.sum(changed**2, 1), np.sum(clips**2, 1), rtol=1e-5)
    assert np.all(np.max(np.abs(changed - clips), axis=1) > 0.01)


def test_a_room_is_an_impulse_and_a_decaying_tail():
    """The room of an impulse is its response."""
    impulses = np.zeros((40, LENGTH), np.float32)
    impulses[:, 100] = 1.0
    response = _augment(impulses, ROOM)
    np.testing.assert_allclose(response[:, :100], 0.0, atol=1e-6)  # causal
    np.testing.assert_allclose(response[:, 260:], 0.0, atol=1e-6)  # 0.02 s are 160 samples
    # Direct and first tail samples coincide; later ones carry the energy of -6 dB.
    tail = np.sum(response[:, 101:] ** 2, axis=1) / response[:, 100] ** 2
    assert np.median(tail) == pytest.approx(10**-0.6, rel=0.3)
    early, late = (np.mean(response[:, a:b] ** 2) for a, b in ((101, 121), (221, 241)))
    # Over 120 samples of 80 to 160 per 60 dB: 45 to 90 dB.
    assert -95 < 10 * np.log10(late / early) < -40
    # Linear: the room of a later impulse is the same response, later.
    later = _augment(np.roll(impulses, 50, axis=1), ROOM)
    np.testing.assert_allclose(later[:, 150:300], response[:, 100:250], atol=1e-6)


def test_silent_items_count_in_the_global_batch(clips):
    spec = AugmentationSpec(silent_items=3)
    np.testing.assert_array_equal(_augment(clips, spec), clips * (np.arange(8) >= 3)[:, None])
    np.testing.assert_array_equal(_augment(clips[2:4], spec, first=2)[0], 0.0)
    np.testing.assert_array_equal(_augment(clips[2:4], spec, first=2)[1], clips[3])


@pytest.mark.quick(1)
@pytest.mark.parametrize("num_devices", [2, pytest.param(4, marks=pytest.mark.tail), 8])
def test_any_split_gives_the_same_clips(clips, num_devices):
    whole = _augment(clips, ALL)
    per_device = 8 // num_devices
    parts = [
        _augment(clips[first : first + per_device], ALL, first=np.int32(first))
        for first in range(0, 8, per_device)
    ]
    # Transforms of other batch sizes may round differently.
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_choices_follow_the_key(clips):
    np.testing.assert_array_equal(_augment(clips, ALL, seed=1), _augment(clips, ALL, seed=1))
    assert np.all(np.any(_augment(clips, ALL, seed=1) != _augment(clips, ALL, seed=2), 1)[3:])
    same = np.repeat(clips[:1], 8, axis=0)
    noisy = _augment(same, AugmentationSpec(noise=1.0))
    assert len(np.unique(noisy, axis=0)) == 8


CERTAIN = AugmentationSpec(
    reversal=1.0, polarity=1.0, impulse_response=1.0, gain=1.0, noise=1.0, requantize=1.0
)


def test_silence_stays_silence():
    silence = np.zeros((4, LENGTH), np.float32)
    np.testing.assert_array_equal(_augment(silence, CERTAIN), 0.0)


def test_gradients_are_finite_on_silence(clips):
    mixed = jnp.asarray(clips[:, :64]).at[:4].set(0.0).at[3, 0].set(1e-20)
    gradient = jax.jit(
        jax.grad(
            lambda x: jnp.sum(
                augment(x, jax.random.key(0), spec=CERTAIN, first_index=0, sample_rate=RATE) ** 2
            )
        )
    )(mixed)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"reversal": 1.5}, "reversal=1.5: a probability is 0 to 1"),
        ({"noise": float("nan")}, "noise=nan must be a number"),
        ({"gain_db": (3.0, -3.0)}, r"gain_db=\(3.0, -3.0\): give \(lowest, highest\)"),
        ({"gain_db": (3.0,)}, r"gain_db=\(3.0,\): give \(lowest, highest\)"),
        ({"gain_db": 3.0}, r"gain_db=3.0: give \(lowest, highest\)"),
        ({"silent_items": -1}, "silent_items=-1 must be >= 0"),
        ({"impulse_decay_s": (0.0, 1.0)}, r"impulse_decay_s=\(0.0, 1.0\) must be > 0"),
    ],
)
def test_errors(options, pattern):
    with pytest.raises(ValueError, match=pattern):
        AugmentationSpec(**options)


def test_lists_from_configs_become_tuples():
    assert AugmentationSpec(gain_db=[-1.0, 1.0]).gain_db == (-1.0, 1.0)  # type: ignore[arg-type]
