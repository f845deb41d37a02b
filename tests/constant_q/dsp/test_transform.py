"""Constant-Q transforms against librosa's wavelets in float64, and against librosa.cqt."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from isincnet_jax.constant_q.dsp import transform as constant_q
from isincnet_jax.constant_q.dsp.octave_kernels import plan_octaves
from isincnet_jax.constant_q.dsp.wavelet_bank import WaveletBank, count_bins

RATES = (8000, 16_000, 22_050, 44_100, 48_000)


def librosa_wavelets(bank: WaveletBank):
    """Wavelets in frames of an even length, position 0 at half of it; and their lengths."""
    return librosa.filters.wavelet(
        freqs=bank.frequencies,
        sr=bank.sample_rate,
        window=bank.window,
        filter_scale=bank.filter_scale,
        norm=bank.norm,
        gamma=bank.gamma,
        alpha=np.full(bank.n_bins, bank.alpha),
        dtype=np.complex128,
    )


def direct_cqt(waveform, bank: WaveletBank, *, hop_length: int, pad_mode: str = "reflect"):
    """Inner products with librosa's wavelets, float64: the oracle."""
    wavelets, lengths = librosa_wavelets(bank)
    half = wavelets.shape[1] // 2
    mode = "edge" if len(waveform) == 1 and pad_mode != "constant" else pad_mode
    padded = np.pad(np.asarray(waveform, np.float64), (half, half), mode=mode)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * half)[::hop_length]
    return (frames @ wavelets.conj().T) * np.sqrt(lengths)


def cqt(
    waveform,
    *,
    bank,
    hop_length=512,
    pad_mode="reflect",
    normalization_type="librosa",
    tolerance=constant_q.DIRECT_TOLERANCE,
):
    """The direct transform, complex, as its layers put it together."""
    groups = constant_q.plan_groups(
        bank, hop_length=hop_length, normalization_type=normalization_type, tolerance=tolerance
    )
    parts = constant_q.transform_parts(
        waveform,
        groups,
        frame_length=bank.frame_length,
        hop_length=hop_length,
        tolerance=tolerance,
        pad_mode=pad_mode,
    )
    return lax.complex(*parts)


def recursive_cqt(waveform, *, bank, hop_length=512, pad_mode="reflect", earlydownsample=True):
    """The recursive transform likewise."""
    tolerance = constant_q.RECURSIVE_TOLERANCE
    plan = plan_octaves(bank, earlydownsample=earlydownsample, tolerance=tolerance)
    real, imag = constant_q.transform_parts(
        waveform,
        plan.groups,
        frame_length=bank.frame_length,
        hop_length=hop_length,
        tolerance=tolerance,
        pad_mode=pad_mode,
    )
    scale = jnp.asarray(plan.scale * np.sqrt(bank.lengths), real.dtype)
    return lax.complex(real * scale, imag * scale)


def compiled(transform, clip, **options):
    return np.asarray(jax.jit(functools.partial(transform, **options))(clip))


def relative(got, expected):
    return np.linalg.norm(np.asarray(got) - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("gamma", [0.0, 12.5, None])
@pytest.mark.parametrize("norm", [1, 2, np.inf])
def test_wavelets_are_those_of_librosa(gamma, norm):
    for window in ("hann", "hamming", ("kaiser", 6.0)):
        bank = WaveletBank(
            sample_rate=16_000, fmin=80.0, n_bins=31, gamma=gamma, norm=norm, window=window
        )
        theirs, lengths = librosa_wavelets(bank)
        np.testing.assert_allclose(bank.lengths, lengths, rtol=1e-12)
        ours = bank.padded_wavelets()
        edge = (theirs.shape[1] - ours.shape[1]) // 2
        padded = np.pad(ours, ((0, 0), (edge, edge)))
        assert np.abs(padded - theirs).max() <= 1e-7 * np.abs(theirs).max()


@settings(max_examples=4)
@given(
    rate=st.sampled_from(RATES),
    hop=st.sampled_from([64, 160, 256, 441, 509, 512, 1000]),
    bins_per_octave=st.sampled_from([7, 12, 24, 36]),
    octaves=st.floats(0.3, 4.0),
    filter_scale=st.sampled_from([0.5, 1.0, 1.7]),
    gamma=st.sampled_from([0.0, 20.0, None]),
    seconds=st.sampled_from([0.05, 0.25, 0.6]),
    pad_mode=st.sampled_from(["reflect", "constant", "edge"]),
    jit=st.booleans(),
)
def test_equal_to_the_direct_sum(
    rate, hop, bins_per_octave, octaves, filter_scale, gamma, seconds, pad_mode, jit
):
    fmin = rate / 2.2 / 2**octaves
    bank = WaveletBank(
        sample_rate=rate,
        fmin=fmin,
        n_bins=max(1, int(octaves * bins_per_octave)),
        bins_per_octave=bins_per_octave,
        filter_scale=filter_scale,
        gamma=gamma,
    )
    clip = np.random.default_rng(7).standard_normal(int(seconds * rate)).astype(np.float32)
    expected = direct_cqt(clip, bank, hop_length=hop, pad_mode=pad_mode)

    def transform(waveform):
        return cqt(waveform, bank=bank, hop_length=hop, pad_mode=pad_mode)

    def recursive(waveform):
        return recursive_cqt(waveform, bank=bank, hop_length=hop, pad_mode=pad_mode)

    got = (jax.jit(transform) if jit else transform)(clip)
    assert got.shape == expected.shape
    assert relative(got, expected) <= 1e-5
    if gamma == 0:
        got = (jax.jit(recursive) if jit else recursive)(clip)
        assert relative(got, expected) <= 5e-3


@pytest.mark.parametrize(
    "rate",
    [8000, *(pytest.param(r, marks=pytest.mark.tail) for r in (16_000, 22_050, 44_100, 48_000))],
)
def test_default_bins_at_every_rate_and_level_of_their_output(rate):
    bank = WaveletBank(sample_rate=rate)
    time = np.arange(rate // 5) / rate
    clip = np.sin(2 * np.pi * 440 * time) + 0.1 * np.random.default_rng(3).standard_normal(
        len(time)
    )
    expected = direct_cqt(clip, bank, hop_length=512)
    clip = clip.astype(np.float32)
    assert relative(compiled(cqt, clip, bank=bank), expected) <= 1e-5
    for early in (False, True):
        got = compiled(recursive_cqt, clip, bank=bank, earlydownsample=early)
        assert relative(got, expected) <= 5e-3
    assert np.argmax(np.abs(expected).mean(axis=0)) == 45


def test_error_of_kernels_stays_small_for_tones_far_from_a_bin():
    """A tone in one bin's band may not leak into others by way of the lower rates."""
    rate = 22_050
    bank = WaveletBank(sample_rate=rate)
    run = jax.jit(functools.partial(cqt, bank=bank, pad_mode="constant"))
    for frequency in (60.0, 9000.0):
        clip = np.cos(2 * np.pi * frequency / rate * np.arange(rate // 2))
        expected = direct_cqt(clip, bank, hop_length=512, pad_mode="constant")
        peak = np.sqrt(bank.lengths) / 2
        got = np.asarray(run(clip.astype(np.float32)))
        assert np.max(np.abs(got - expected) / peak) < 2e-5


def test_double_precision_is_limited_by_the_tolerance_only(x64):
    bank = WaveletBank(fmin=220.0, n_bins=20)
    clip = np.random.default_rng(1).standard_normal(4000)
    expected = direct_cqt(clip, bank, hop_length=200)
    direct = compiled(cqt, clip, bank=bank, hop_length=200, tolerance=0.0)
    assert direct.dtype == jnp.complex128
    assert relative(direct, expected) < 1e-12
    assert relative(compiled(cqt, clip, bank=bank, hop_length=200), expected) < 7e-6


@pytest.mark.parametrize("gamma", [0.0, 15.0])
def test_librosa_itself_agrees(gamma):
    """In the interior, as librosa pads every octave at its own rate.

    It convolves where an inner product correlates: windows of odd length lie half a sample of
    their octave's rate to the other side. That is 1 to 3 % of the coefficients of a clip of
    tones, and less of their magnitudes.
    """
    rate, fmin = 22_050, 130.8
    time = np.arange(2 * rate) / rate
    tones = [146.8, 220.0, 330.0, 440.0, 660.0, 880.0, 1320.0]
    clip = sum(
        np.exp(-3 * ((time - 0.1 * i) % 0.7)) * np.sin(2 * np.pi * f * time)
        for i, f in enumerate(tones)
    ).astype(np.float32)
    bank = WaveletBank(sample_rate=rate, fmin=fmin, n_bins=48, gamma=gamma)
    theirs = librosa.vqt(clip, sr=rate, fmin=fmin, n_bins=48, gamma=gamma, sparsity=0).T
    ours = compiled(cqt, clip, bank=bank, pad_mode="constant")
    inner = slice(12, -12)
    assert relative(np.abs(ours[inner]), np.abs(theirs[inner])) < 1.2e-2
    assert relative(ours[inner], theirs[inner]) < 4e-2


def test_convention_of_nnaudio_has_its_magnitudes(golden):
    """Its Q, its rounded lengths and its three normalisations."""
    arrays = golden("nnaudio")
    bank = WaveletBank(fmin=110.0, n_bins=36, q_convention="nnaudio")
    for name in ("librosa", "convolutional", "wrap"):
        found = compiled(
            cqt,
            arrays["cqt/input"],
            bank=bank,
            pad_mode="constant",
            normalization_type=name,
        )
        assert relative(np.abs(found), arrays[f"cqt/{name}"]) < 1e-5


def test_impulse_comes_out_at_its_own_time():
    """No half-sample delays: the wavelet itself, conjugate and reversed, in every octave."""
    bank = WaveletBank(sample_rate=16_000, fmin=523.2, n_bins=30)
    clip = np.zeros(1401, np.float32)
    clip[700] = 1.0
    scale = np.sqrt(bank.lengths)
    for transform, bound in ((cqt, 1e-5), (recursive_cqt, 5e-3)):
        response = compiled(transform, clip, bank=bank, hop_length=1, pad_mode="constant")
        for index, wavelet in enumerate(bank.wavelets()):
            at = 700 - wavelet.first - np.arange(len(wavelet.taps))
            inside = (at >= 0) & (at <= 1400)
            assert (
                relative(response[at[inside], index] / scale[index], wavelet.taps.conj()[inside])
                < 2 * bound
            )


@pytest.mark.parametrize(("rate", "n_bins"), [(8000, 84), (22_050, 84), (44_100, 90), (16_000, 30)])
def test_shared_octave_and_its_corrections_give_every_octave(rate, n_bins):
    bank = WaveletBank(sample_rate=rate, n_bins=n_bins)
    plan = plan_octaves(bank, earlydownsample=True, tolerance=2e-3)
    rows = 0
    for group, octave in zip(plan.groups, plan.octaves, strict=True):
        start = plan.shared[octave.slots :]
        start = start if octave.matrix is None else start @ octave.matrix
        np.testing.assert_allclose(start + octave.correction, group.taps, atol=1e-15)
        # What rounding to samples of the full rate costs: the kernels do look alike. Next to the
        # Nyquist frequency (8 kHz) the half-band filter costs some more.
        bound = 0.06 if octave.matrix is None else 0.25
        assert np.linalg.norm(octave.correction) < bound * np.linalg.norm(group.taps)
        rows += group.taps.shape[0]
    assert rows == n_bins


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_bins": 102}, r"n_bins <= 101"),
        ({"fmin": 0.0}, "fmin"),
        ({"fmin": 12_000.0}, "fmin"),
        ({"gamma": -1.0}, "gamma"),
        ({"filter_scale": 0.0}, "filter_scale"),
        ({"norm": 0}, "norm"),
        ({"window": "no such"}, "window"),
        ({"bins_per_octave": 0}, "bins_per_octave"),
        ({"q_convention": "old"}, "q_convention"),
    ],
)
def test_impossible_banks_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        WaveletBank(**change)


def test_bins_end_at_fmax_and_both_ends_are_refused():
    common = {"sample_rate": 22_050, "fmin": 55.0, "bins_per_octave": 12}
    assert count_bins(fmax=880.0, n_bins=None, **common) == 49
    assert count_bins(fmax=879.0, n_bins=None, **common) == 48
    with pytest.raises(ValueError, match="give one"):
        count_bins(fmax=880.0, n_bins=49, **common)
    with pytest.raises(ValueError, match="fmax"):
        count_bins(fmax=12_000.0, n_bins=None, **common)
    most = count_bins(fmax=22_050 / 2, n_bins=None, **common)
    assert WaveletBank(fmin=55.0, n_bins=most).frequencies[-1] <= 11_025
    with pytest.raises(ValueError, match=f"n_bins <= {most}"):
        WaveletBank(fmin=55.0, n_bins=most + 1)
