"""Lost coefficients: frames, bins and single ones; guesses; what is refused."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.bank.codec import build_codec
from isincnet_jax.bank.concealment import conceal
from isincnet_jax.bank.sincnet import SincNet
from isincnet_jax.bank.spec import FilterbankSpec

TIME = 600
SPEC = FilterbankSpec(sample_rate=1000, hop_length=16, num_bins=16, kernel_size=65)


@functools.lru_cache
def _codec():
    return build_codec(SincNet(SPEC))


@functools.lru_cache
def _clip():
    return jnp.asarray(np.random.default_rng(0).standard_normal((2, TIME)), jnp.float32)


@functools.lru_cache
def _spectrogram():
    return _codec().encode(_clip())


def _snr_db(found):
    error = np.asarray(found) - np.asarray(_clip())
    return 10 * np.log10(np.sum(np.square(_clip())) / np.sum(error**2))


def _frames(every):
    return jnp.arange(_spectrogram().shape[-2])[:, None] % every != 2


@pytest.mark.parametrize("every", [5, 8])
def test_lost_frames_are_found_again(every):
    known = _frames(every)
    lost = jnp.where(known, _spectrogram(), jnp.nan)  # nothing of them is used
    zeroed = _codec().decode(jnp.where(known, _spectrogram(), 0), length=TIME)
    found = conceal(_codec(), lost, known, length=TIME, iterations=60)
    assert _snr_db(found) > _snr_db(zeroed) + 15


def test_it_is_least_squares_over_what_is_known():
    known = np.broadcast_to(np.asarray(_frames(5)), _spectrogram().shape[1:])
    found = conceal(_codec(), _spectrogram(), jnp.asarray(known), length=TIME, iterations=400)
    analysis = np.asarray(jax.jacfwd(_codec().encode)(jnp.zeros(TIME, jnp.float32)), np.float64)
    matrix = analysis.reshape(-1, TIME)[known.reshape(-1)]
    wanted = np.asarray(_spectrogram(), np.float64).reshape(2, -1)[:, known.reshape(-1)]
    expected = np.linalg.lstsq(matrix, wanted.T, rcond=1e-6)[0].T
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < 0.02


def test_a_guess_fills_what_nothing_is_known_of():
    # A stretch longer than any kernel: the guess stays as it is in the middle.
    known = (jnp.arange(_spectrogram().shape[-2]) // 10 != 1)[:, None]
    found = conceal(
        _codec(), _spectrogram(), known, length=TIME, guess=_clip() * 0 + 0.25, iterations=20
    )
    middle = np.asarray(found)[:, 15 * 16]
    np.testing.assert_allclose(middle, 0.25, atol=0.02)


def test_slopes_are_finite_and_of_what_is_known_only():
    known = _frames(5)

    def total(spectrogram):
        found = conceal(_codec(), spectrogram, known, length=TIME, iterations=1)
        return jnp.sum(found**2)

    slope = np.asarray(jax.grad(total)(_spectrogram()))
    assert np.all(np.isfinite(slope))
    assert not np.any(slope * ~np.asarray(known))
    assert np.any(slope)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"known": jnp.ones((3, 1), bool)}, ValueError, "known.shape"),
        ({"known": jnp.ones((41, 1))}, TypeError, "known.dtype=float32"),
        ({"length": 300}, ValueError, "length=300"),
        ({"iterations": 0}, ValueError, "iterations=0"),
    ],
)
def test_impossible_arguments_are_named(change, error, message):
    arguments = {"known": _frames(5), "length": TIME, **change}
    with pytest.raises(error, match=message):
        conceal(_codec(), _spectrogram(), arguments.pop("known"), **arguments)
