"""CFP against the formulas of the paper in two-sided float64 NumPy, and against nnAudio."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax import jax_names
from isincnet_jax.spectrograms.dsp import cfp, cfp_bands

DEFAULTS = {
    "sample_rate": 16_000,
    "hop_length": 320,
    "frequency_resolution": 2.0,
    "win_length": 2049,
    "fmin": 80.0,
    "tc": 1 / 1000,
    "gammas": (0.24, 0.6, 1.0),
    "bins_per_octave": 48,
}
SMALL = {
    **DEFAULTS,
    "sample_rate": 4000,
    "hop_length": 100,
    "frequency_resolution": 5.0,
    "win_length": 401,
    "bins_per_octave": 24,
}


def _run(clip, **options):
    return jax.jit(functools.partial(cfp.combined_frequency_periodicity, **options))(clip)


FAST = jax.jit(functools.partial(cfp.combined_frequency_periodicity, **DEFAULTS))


def _harmonic(f0, *, sample_rate=16_000, samples=8000, seed=0):
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, 9)
    time = np.arange(samples) / sample_rate
    orders = [k for k in range(1, 9) if k * f0 < 0.45 * sample_rate]
    return 0.1 * sum(np.cos(2 * np.pi * f0 * k * time + phases[k]) / k for k in orders)


def _triangles(bin_hz, centers, step, *, faulty):
    """Weights [bands, bins], one at a time."""
    rows = np.zeros((len(centers), len(bin_hz)))
    spacing_order = np.sort(bin_hz)
    for band, center in enumerate(centers):
        low, high = center / step, center * step
        upper = spacing_order[spacing_order > center].min()
        lower = spacing_order[spacing_order <= center].max()
        if not faulty and center - low < upper - lower:
            rows[band, bin_hz == lower] = (upper - center) / (upper - lower)
            rows[band, bin_hz == upper] = (center - lower) / (upper - lower)
            continue
        for index, frequency in enumerate(bin_hz):
            if low < frequency < center:
                rows[band, index] = (frequency - low) / (center - low)
            elif center < frequency < high:
                rows[band, index] = (high - frequency) / (high - center)
            elif frequency == center and not faulty:
                rows[band, index] = 1.0
    return rows


def _oracle(waveform, options, *, faulty=False):
    """Every step on both halves of the circle; ``faulty`` repeats nnAudio's faults, and only them.

    Returns salience, magnitude, spectral, temporal, each [frames, bands].
    """
    rate, hop, taps = (options[name] for name in ("sample_rate", "hop_length", "win_length"))
    n_fft = int(rate / options["frequency_resolution"])
    taper = scipy.signal.windows.blackmanharris(taps, sym=True)
    padded = np.pad(np.asarray(waveform, np.float64), n_fft)
    frames = []
    for frame in range(1 + len(waveform) // hop):
        start = n_fft + frame * hop - taps // 2 - (1 if faulty else 0)
        frames.append(np.fft.fft(padded[start : start + taps] * taper, n_fft))
    magnitude = np.abs(np.array(frames)) / np.linalg.norm(taper)
    gammas = options["gammas"]
    layers = [np.log(magnitude + 1e-8) if gammas[0] == 0 else magnitude ** gammas[0]]
    cuts = (round(options["fmin"] * n_fft / rate), round(options["tc"] * rate))
    distance = np.minimum(np.arange(n_fft), n_fft - np.arange(n_fft))
    for index, gamma in enumerate(gammas[1:], start=1):
        layer = np.fft.fft(layers[-1]).real / np.sqrt(n_fft)
        layer = np.maximum(layer, 0.0) ** gamma
        layer[:, distance < cuts[index % 2]] = 0.0
        if faulty:
            layer[:, -cuts[index % 2] :] = 0.0
        layers.append(layer)
    cepstrum = layers[-1] if len(layers) % 2 == 0 else layers[-2]
    spectrum = layers[-2] if len(layers) % 2 == 0 else layers[-1]
    octave, top = options["bins_per_octave"], 1 / options["tc"]
    step = 2 ** (1 / octave)
    centers = [options["fmin"] * 2.0 ** (i / octave) for i in range(1000)]
    centers = np.array([hz for hz in centers if hz < top * (1 - 1e-9)])
    index = np.arange(1, n_fft // 2 + 1)
    line_hz = index * rate / n_fft * (n_fft / (n_fft - 2) if faulty else 1)
    lines = _triangles(line_hz, centers, step, faulty=faulty)
    # nnAudio keeps 1 + 1 / (tc fr) lines and 1 + fs / fc lags, enough for all but its own edges.
    lags = _triangles(rate / index, centers, step, faulty=faulty)
    half = slice(1, n_fft // 2 + 1)
    spectral, temporal = spectrum[:, half] @ lines.T, cepstrum[:, half] @ lags.T
    return spectral * temporal, magnitude[:, half] @ lines.T, spectral, temporal


def _relative(found, expected):
    found, expected = np.asarray(found, np.float64), np.asarray(expected)
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("gammas", [(0.24, 0.6, 1.0), (0.5, 0.9), (0.0, 1.0), (0.3, 0.6, 0.8, 0.7)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_four_spectrograms_follow_the_formulas(gammas, dtype, rng, x64):
    options = {**SMALL, "gammas": gammas}
    clip = _harmonic(170.0, sample_rate=4000, samples=1230) + 0.01 * rng.standard_normal(1230)
    found = _run(jnp.asarray(clip, dtype), **options)
    for name, values, expected in zip(found._fields, found, _oracle(clip, options), strict=True):
        assert values.dtype == dtype, name
        assert values.shape == expected.shape == (13, 88), name
        # Products of float32 rounding with powers below 1, which lift small values.
        assert _relative(values, expected) < (2e-5 if dtype == np.float32 else 1e-9), name


@settings(max_examples=4)
@given(
    samples=st.integers(1, 900),
    hop_length=st.integers(40, 300),
    win_length=st.integers(50, 700),
    frequency_resolution=st.sampled_from([5.0, 4.3]),
    fmin=st.floats(30, 300),
    bins_per_octave=st.sampled_from([12, 36, 60]),
)
def test_any_geometry_follows_the_formulas(samples, **geometry):
    options = {**SMALL, **geometry}
    clip = np.random.default_rng(samples).standard_normal(samples)
    with jax_names.enable_x64(True):
        run = jax.jit(functools.partial(cfp.combined_frequency_periodicity, **options))
        found = run(jnp.asarray(clip))
    for values, expected in zip(found, _oracle(clip, options), strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("f0", [85, 110, 160, 200, 320, 440, 523.25, 640, 700, 880, 950])
def test_a_harmonic_tone_peaks_at_its_pitch(f0):
    """Among them the pitches whose lags nnAudio loses: 160, 320, 440, 523, 640 and 880 Hz."""
    centers = cfp_bands.cfp_frequencies(fmin=80.0, tc=1 / 1000, bins_per_octave=48)
    salience = FAST(jnp.asarray(_harmonic(f0), jnp.float32)).salience
    assert salience.shape == (26, 175)
    peaks = centers[np.argmax(salience[5:-5], axis=-1)]
    # Half a band is 0.72 %; low pitches have lines 2 Hz apart, which is more.
    np.testing.assert_allclose(peaks, f0, rtol=0.0075, atol=0.5)


def test_two_tones_have_both_their_peaks():
    centers = cfp_bands.cfp_frequencies(fmin=80.0, tc=1 / 1000, bins_per_octave=48)
    clip = _harmonic(220.0) + _harmonic(329.6, seed=1)
    salience = np.asarray(FAST(jnp.asarray(clip, jnp.float32)).salience[12])
    peaks, _ = scipy.signal.find_peaks(salience)
    highest = centers[sorted(peaks[np.argsort(salience[peaks])[-2:]])]
    np.testing.assert_allclose(highest, [220.0, 329.6], rtol=0.01)


def test_nnaudio_is_the_formulas_with_the_faults_that_are_documented(golden):
    """Equal with the faults, and therefore nothing else differs; far away without them."""
    arrays = golden("nnaudio")
    clip = arrays["cfp_faults/input"]
    faulty = _oracle(clip, DEFAULTS, faulty=True)
    right = _oracle(clip, DEFAULTS)
    ours = FAST(jnp.asarray(clip))
    for name, expected, true in zip(ours._fields, faulty, right, strict=True):
        # It drops the first and the last frame; its first band is always empty.
        found = arrays[f"cfp_faults/{name}"]
        assert not found[:, 0].any(), name
        assert _relative(found[:, 1:], expected[1:-1, 1:174]) < 1e-4, name
        assert _relative(getattr(ours, name), true) < 1e-4, name
    assert _relative(faulty[0], right[0]) > 0.1


def test_equals_nnaudio_where_it_is_right(golden):
    """Bands that are wider than the bins' spacing and have no bin at their centre."""
    arrays = golden("nnaudio")
    magnitude, spectral, temporal = (
        arrays[f"cfp_late/{name}"] for name in ("magnitude", "spectral", "temporal")
    )
    ours = FAST(jnp.asarray(arrays["cfp_late/input"]))
    centers = cfp_bands.cfp_frequencies(fmin=80.0, tc=1 / 1000, bins_per_octave=48)[:174]
    # Lines 0.025 % too high: of a steep spectrum that is a percent.
    wide = centers > 150
    assert _relative(magnitude[:, wide], ours.magnitude[1:-1, :174][:, wide]) < 0.02
    assert _relative(spectral[:, wide], ours.spectral[1:-1, :174][:, wide]) < 0.02
    # Lags are 16000 / n: triangles of 1.45 % hold one on both sides below 230 Hz.
    wide = (centers > 81) & (centers < 220) & (np.abs(centers - 160) > 0.1)
    assert _relative(temporal[:, wide], ours.temporal[1:-1, :174][:, wide]) < 1e-3


def test_no_band_is_deaf_as_nnaudios_are(golden):
    """Of nnAudio's 174 bands, those without a lag are 0 whatever comes in."""
    arrays = golden("nnaudio")
    ours = np.asarray(FAST(jnp.asarray(arrays["cfp_noise/input"])).salience)
    assert np.sum(~arrays["cfp_noise/salience"].any(axis=0)) == 20
    assert ours.any(axis=0).all()


@pytest.mark.parametrize("bins_per_octave", [1, 12, 48, 200])
def test_weights_of_a_band(bins_per_octave):
    """Bands take in at least a bin's worth, never a negative one; the weights are centred."""
    centers = cfp_bands.cfp_frequencies(fmin=80.0, tc=1 / 1000, bins_per_octave=bins_per_octave)
    assert centers[0] == 80.0
    assert centers[-1] < 1000.0 <= centers[-1] * 2 ** (1 / bins_per_octave) * (1 + 1e-9)
    for bin_hz in (np.arange(1, 4001) * 2.0, 16_000 / np.arange(1, 4001)):
        weights = cfp_bands.band_weights(bin_hz, centers, bins_per_octave=bins_per_octave)
        assert weights.min() >= 0
        assert weights.sum(axis=0).min() > 0.9
        mean_hz = bin_hz @ weights / weights.sum(axis=0)
        # Lags crowd towards low frequencies: wide bands lean there.
        assert np.all(np.abs(mean_hz / centers - 1) < 0.6 / bins_per_octave + 1e-3)


def test_nothing_is_removed_where_less_than_half_a_bin_is_asked_for(x64):
    """nnAudio slices [-0:] there and removes everything."""
    options = {**SMALL, "frequency_resolution": 20.0, "win_length": 199, "fmin": 45.0}
    options.update(tc=1 / 1900, sample_rate=4000)
    clip = _harmonic(400.0, sample_rate=4000, samples=600)
    found = _run(jnp.asarray(clip), **options)
    np.testing.assert_allclose(found.salience, _oracle(clip, options)[0], rtol=1e-6, atol=1e-12)
    assert float(jnp.max(found.salience)) > 0


@pytest.mark.quick(4)
@pytest.mark.parametrize("gammas", [(0.24, 0.6, 1.0), (0.0, 0.5), (1.0, 1.0)])
@pytest.mark.parametrize("level", [0.0, 1e-12, 0.1])
def test_gradients_are_finite(gammas, level, rng):
    options = {**SMALL, "gammas": gammas}
    clip = jnp.asarray(level * rng.standard_normal(700), jnp.float32)

    def total(x):
        return sum(jnp.sum(part) for part in cfp.combined_frequency_periodicity(x, **options))

    value, slope = jax.jit(jax.value_and_grad(total))(clip)
    assert np.isfinite(value)
    assert np.all(np.isfinite(slope))


def test_gradient_is_that_of_finite_differences(rng, x64):
    clip = jnp.asarray(_harmonic(200.0, sample_rate=4000, samples=500))
    direction = jnp.asarray(rng.standard_normal(500))

    @jax.jit
    def total(scale):
        found = _run(clip + scale * direction * 0.01, **SMALL)
        return jnp.sum(found.salience)

    step = 1e-6
    expected = (total(0.3 + step) - total(0.3 - step)) / (2 * step)
    np.testing.assert_allclose(jax.jit(jax.grad(total))(0.3), expected, rtol=1e-4)


def test_leading_axes_and_paddings(rng):
    clip = jnp.asarray(rng.standard_normal((2, 3, 777)), jnp.float32)
    for center, pad_mode in ((True, "reflect"), (True, "constant"), (False, "constant")):
        run = functools.partial(
            cfp.combined_frequency_periodicity, **SMALL, center=center, pad_mode=pad_mode
        )
        whole = jax.jit(run)(clip).salience
        assert whole.shape == (2, 3, 8 if center else 4, 88)
        # An independent look: what the layer sees is the clip that NumPy pads.
        padded = np.pad(clip[1, 2], 201, mode=pad_mode) if center else clip[1, 2]
        once = _run(jnp.asarray(padded), **SMALL, center=False)
        np.testing.assert_allclose(whole[1, 2], once.salience, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"win_length": 801}, "win_length=801"),
        ({"frequency_resolution": 0.0}, "frequency_resolution=0"),
        ({"fmin": 0.0}, "fmin=0"),
        ({"fmin": 1200.0}, "fmin=1200"),
        ({"fmin": 8.0}, "two of its periods"),
        ({"tc": 1 / 3000}, "tc=0.0003"),
        ({"gammas": (0.24,)}, "2 powers"),
        ({"gammas": (0.24, 0.0, 1.0)}, "positive"),
        ({"gammas": (-0.1, 1.0)}, "positive"),
        ({"bins_per_octave": 0}, "bins_per_octave=0"),
        ({"hop_length": 0}, "hop_length=0"),
        ({"window": "nonesuch"}, "window"),
        ({"pad_mode": "wrap"}, "pad_mode='wrap'"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        cfp.combined_frequency_periodicity(jnp.zeros(400), **{**SMALL, **options})
