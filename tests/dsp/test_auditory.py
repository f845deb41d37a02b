"""Auditory and chroma weights against librosa, nnAudio, scipy's filters and closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.dsp import auditory
from isincnet_jax.spectrograms.dsp import chroma

RATES = st.sampled_from([8000, 16_000, 22_050, 44_100, 48_000])


def _relative(found, wanted):
    return np.linalg.norm(np.asarray(found) - wanted) / np.linalg.norm(wanted)


@settings(max_examples=10)
@given(
    rate=RATES,
    n_fft=st.sampled_from([512, 1001, 2048]),
    n_mels=st.integers(1, 24),
    fmin=st.sampled_from([0.0, 133.3]),
    top=st.sampled_from([None, 0.3]),
    htk=st.booleans(),
    norms=st.sampled_from(
        [("slaney",) * 2, (1, "slaney"), (None, None), (np.inf, np.inf), (2.0, 2.0), ("l1", 1)]
    ),
)
def test_mel_weights_are_those_of_librosa(rate, n_fft, n_mels, fmin, top, htk, norms):
    fmax = None if top is None else top * rate
    options = {"n_fft": n_fft, "n_mels": n_mels, "fmin": fmin, "fmax": fmax, "htk": htk}
    ours, theirs = norms
    found = auditory.mel_weights(rate, **options, norm=ours)
    wanted = librosa.filters.mel(sr=rate, **options, norm=theirs, dtype=np.float64)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12 * wanted.max())
    peaks = librosa.mel_frequencies(n_mels + 2, fmin=fmin, fmax=fmax or rate / 2, htk=htk)[1:-1]
    centres = auditory.mel_frequencies(n_mels, fmin=fmin, fmax=fmax or rate / 2, htk=htk)
    np.testing.assert_allclose(centres, peaks, rtol=1e-12)


def _slaney_cascade(center_hz, rate):
    """The four second-order sections of Slaney's report, coefficient by coefficient."""
    period = 1 / rate
    width = 1.019 * 2 * np.pi * (center_hz / 9.26449 + 24.7)
    angle, decay = 2 * np.pi * center_hz * period, np.exp(width * period)
    sections = []
    for outer, inner in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        root = outer * np.sqrt(3 + inner * 2**1.5)
        a1 = -period * (np.cos(angle) + root * np.sin(angle)) / decay
        sections.append([period, a1, 0.0, 1.0, -2 * np.cos(angle) / decay, decay**-2])
    return np.asarray(sections)


@pytest.mark.parametrize(("rate", "n_fft"), [(16_000, 512), (44_100, 2048)])
def test_gammatone_weights_are_responses_of_the_recursive_filters(rate, n_fft):
    found = auditory.gammatone_weights(rate, n_fft=n_fft, n_bins=20, fmin=50.0, norm=None)
    centres = auditory.gammatone_frequencies(20, fmin=50.0, fmax=rate / 2)
    for row, center_hz in zip(found, centres, strict=True):
        bins = np.append(np.arange(1 + n_fft // 2) * rate / n_fft, center_hz)
        _, response = scipy.signal.freqz_sos(_slaney_cascade(center_hz, rate), bins, fs=rate)
        wanted = np.abs(response)
        assert _relative(row, wanted[:-1] / wanted[-1]) < 1e-6


def test_gammatone_responses_are_as_wide_as_their_ear_bands():
    """The energy of a fourth-order gammatone with b = 1.019 ERB passes one ERB."""
    weights = auditory.gammatone_weights(44_100, n_fft=1 << 16, n_bins=8, fmin=300.0, fmax=8000.0)
    centres = auditory.gammatone_frequencies(8, fmin=300.0, fmax=8000.0)
    unit = weights * (1 << 16)
    np.testing.assert_allclose(unit.max(axis=1), 1.0, rtol=3e-3)
    passed = np.sum(unit**2, axis=1) * 44_100 / (1 << 16)
    np.testing.assert_allclose(passed, centres / 9.26449 + 24.7, rtol=0.04)


def test_gammatone_centres_are_equal_steps_of_the_ear():
    centres = auditory.gammatone_frequencies(64, fmin=20.0, fmax=8000.0)
    numbers = 9.26449 * np.log(1 + centres / (9.26449 * 24.7))
    np.testing.assert_allclose(np.diff(numbers, 2), 0.0, atol=1e-12)
    assert centres[0] == pytest.approx(20.0)
    last = 2 * numbers[-1] - numbers[-2]
    assert last == pytest.approx(9.26449 * np.log(1 + 8000.0 / (9.26449 * 24.7)))


def test_gammatone_norms_do_something():
    """nnAudio accepts a norm and ignores it."""
    options = {"n_fft": 4096, "n_bins": 12, "fmin": 200.0, "fmax": 6000.0}
    plain = auditory.gammatone_weights(16_000, **options, norm=None)
    np.testing.assert_allclose(
        auditory.gammatone_weights(16_000, **options), plain / 4096, rtol=1e-12
    )
    areas = auditory.gammatone_weights(16_000, **options, norm="slaney").sum(axis=1) * 16_000 / 4096
    np.testing.assert_allclose(areas, 1.0, rtol=0.1)
    for norm, order in (("l1", 1), (2, 2), (np.inf, np.inf)):
        weights = auditory.gammatone_weights(16_000, **options, norm=norm)
        np.testing.assert_allclose(np.linalg.norm(weights, order, axis=1), 1.0, rtol=1e-12)


@pytest.mark.quick(2)
@pytest.mark.parametrize("n_mels", [5, 40, 128])
def test_weighed_bins_are_dense_products(rng, x64, n_mels):
    spectrogram = rng.standard_normal((2, 7, 1025))
    for weights in (
        auditory.mel_weights(22_050, n_fft=2048, n_mels=n_mels),
        auditory.mel_weights(8000, n_fft=2048, n_mels=n_mels, fmin=10.0, fmax=90.0),  # empty ones
        auditory.gammatone_weights(22_050, n_fft=2048, n_bins=n_mels),
    ):
        wanted = spectrogram @ weights.T
        for given_weights in (weights, jnp.asarray(weights)):
            found = auditory.weigh_bins(jnp.asarray(spectrogram), given_weights)
            np.testing.assert_allclose(found, wanted, atol=1e-11 * np.abs(wanted).max())


def test_blocks_of_mel_filters_leave_out_most_products():
    weights = auditory.mel_weights(22_050, n_fft=2048, n_mels=128)
    blocks = auditory._blocks(weights)
    assert sum(weights[block].size for block in blocks) < 0.3 * weights.size
    assert sum(weights[block].sum() for block in blocks) == pytest.approx(weights.sum())


@pytest.mark.parametrize("top_db", [80.0, 30.0, None])
def test_decibels_are_those_of_librosa_and_do_not_depend_on_the_batch(rng, top_db):
    power = (10 ** rng.uniform(-13, 1, (3, 9, 6))).astype(np.float32)
    power[1] *= 1e-4
    found = auditory.power_to_db(power, top_db=top_db)
    wanted = np.stack([librosa.power_to_db(clip, top_db=top_db) for clip in power])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)


def test_decibels_of_silence_have_finite_gradients():
    gradient = jax.jit(jax.grad(lambda power: auditory.power_to_db(power).sum()))(jnp.zeros((3, 4)))
    np.testing.assert_array_equal(gradient, 0.0)


@settings(max_examples=10)
@given(
    rate=RATES,
    n_fft=st.sampled_from([512, 1001, 2048]),
    n_chroma=st.sampled_from([1, 7, 12, 24, 36]),
    tuning=st.sampled_from([0.0, 0.31, -0.5]),
    octwidth=st.sampled_from([None, 2.0, 0.7]),
    norm=st.sampled_from([None, 1, 2, np.inf]),
    base_c=st.booleans(),
)
def test_chroma_weights_are_those_of_librosa(rate, n_fft, octwidth, **options):
    options = {"n_fft": n_fft, "octwidth": octwidth, "ctroct": 4.5, **options}
    found = chroma.chroma_weights(rate, **options)
    wanted = librosa.filters.chroma(sr=rate, **options, dtype=np.float64)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@settings(max_examples=10)
@given(
    n_bins=st.integers(1, 200),
    n_chroma=st.sampled_from([6, 12, 24]),
    merged=st.integers(1, 4),
    fmin=st.sampled_from([None, 27.5, 55.0, 34.0, 440.0]),
    base_c=st.booleans(),
)
def test_folding_of_constant_q_bins_is_librosas(n_bins, n_chroma, merged, fmin, base_c):
    options = {"bins_per_octave": n_chroma * merged, "n_chroma": n_chroma, "fmin": fmin}
    found = chroma.cq_to_chroma(n_bins, **options, base_c=base_c)
    wanted = librosa.filters.cq_to_chroma(n_bins, **options, base_c=base_c, dtype=np.float64)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("norm", [np.inf, 1, 2, 3.5, None])
def test_frames_are_normalised_as_librosa_does(rng, norm):
    values = rng.uniform(0, 1, (4, 6)).astype(np.float32)
    values[1] = 0.0
    values[2] *= 1e-30  # squares of it underflow in float32
    found = chroma.normalize_frames(values, norm=norm)
    wanted = librosa.util.normalize(values, norm=norm, axis=-1)
    np.testing.assert_allclose(found, wanted, rtol=2e-6)

    def energy(values):
        return jnp.sum(chroma.normalize_frames(values, norm=norm) ** 2)

    gradient = jax.jit(jax.grad(energy))
    assert np.all(np.isfinite(gradient(jnp.zeros((4, 6)))))
    assert np.all(np.isfinite(gradient(jnp.asarray(values))))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auditory.mel_weights(8000, n_fft=64, n_mels=4, norm="peak"), "norm='peak'"),
        (lambda: auditory.mel_weights(8000, n_fft=64, n_mels=4, norm=-1.0), "norm=-1.0"),
        (lambda: auditory.mel_weights(8000, n_fft=64, n_mels=4, fmin=5000), "fmin=5000"),
        (lambda: auditory.gammatone_weights(8000, n_fft=64, n_bins=0), "n_bins=0"),
        (lambda: chroma.chroma_weights(8000, n_fft=2), "n_fft=2"),
        (lambda: chroma.chroma_weights(8000, n_fft=64, octwidth=0), "octwidth=0"),
        (lambda: chroma.cq_to_chroma(84, bins_per_octave=18), "bins_per_octave=18"),
        (lambda: chroma.cq_to_chroma(84, fmin=0), "fmin=0"),
        (lambda: chroma.normalize_frames(np.ones((2, 2)), norm=0), "norm=0"),
    ],
)
def test_impossible_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
