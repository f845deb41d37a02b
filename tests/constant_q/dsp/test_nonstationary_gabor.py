"""The whole clip's constant-Q transform against dense float64 algebra and analytic partials."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.constant_q.dsp import gabor_bands, gabor_tables
from isincnet_jax.constant_q.dsp import nonstationary_gabor as gabor
from isincnet_jax.constant_q.dsp.gabor_spec import NORMALIZATIONS, WINDOWS, GaborSpec

analyse = jax.jit(gabor.analyse, static_argnames=("spec", "layout"))
synthesise = jax.jit(gabor.synthesise, static_argnames=("spec", "length", "layout"))
analyse_padded = jax.jit(gabor.analyse_padded, static_argnames=("spec", "layout"))
synthesise_padded = jax.jit(gabor.synthesise_padded, static_argnames=("spec", "padded", "layout"))
RATE = 8000
# A narrowest band of 174 Hz: padded clips of some hundred samples, which dense algebra can hold.
SMALL = {"sample_rate": RATE, "fmin": 500.0, "n_bins": 10, "bins_per_octave": 4}
LAYOUTS = gabor_tables.LAYOUTS


def _snr_db(expected, found):
    expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    return 10 * np.log10(np.sum(expected**2) / max(np.sum((expected - found) ** 2), 1e-300))


def _round_trip_db(waveform, spec, layout="matrix"):
    length = waveform.shape[-1]
    coefficients = analyse(waveform, spec=spec, layout=layout)
    found = synthesise(coefficients, spec=spec, length=length, layout=layout)
    assert found.shape == waveform.shape
    return _snr_db(waveform, found)


def _real_vector(coefficients):
    """All coefficients as one real vector, [batch, ...] -> [batch, numbers]."""
    arrays = [np.asarray(array) for array in jax.tree.leaves(coefficients)]
    flat = [array.reshape(len(array), -1) for array in arrays]
    return np.concatenate([np.concatenate([a.real, a.imag], -1) for a in flat], -1)


def _partial(frequency_hz, num_samples, amplitude=1.0, phase=0.0):
    time = np.arange(num_samples) / RATE
    return amplitude * np.cos(2 * np.pi * frequency_hz * time + phase)


# --- exactness ---------------------------------------------------------------------------------


LENGTHS = st.one_of(st.integers(1, 40), st.sampled_from([997, 4095, 4096, 4097, 7919]))
OPTIONS = {
    "window": st.sampled_from(sorted(WINDOWS)),
    "tight": st.booleans(),
    "normalization": st.sampled_from(NORMALIZATIONS),
}


def _check_round_trip(length, layout, **options):
    spec = GaborSpec(n_bins=None, **options)
    noise = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    # Four float32 FFTs of up to 2^20 points, each about 1.5e-7 relative.
    assert _round_trip_db(noise, spec, layout) > 122


@settings(max_examples=6)
@given(
    length=LENGTHS,
    layout=st.sampled_from(LAYOUTS),
    sample_rate=st.sampled_from([8000, 11_025]),
    fmin=st.floats(200.0, 440.0),
    bins_per_octave=st.integers(12, 24),
    gamma=st.sampled_from([0.0, 3.0, 40.0]),
    **OPTIONS,
)
def test_every_clip_comes_back(length, layout, **options):
    _check_round_trip(length, layout, **options)


@pytest.mark.quick(0)
@settings(max_examples=40)
@given(
    length=LENGTHS,
    layout=st.sampled_from(LAYOUTS),
    sample_rate=st.sampled_from([8000, 16_000, 22_050, 44_100, 48_000]),
    fmin=st.floats(20.0, 440.0),
    bins_per_octave=st.integers(12, 96),
    gamma=st.sampled_from([0.0, 3.0, 40.0]),
    **OPTIONS,
)
def test_every_clip_comes_back_at_every_resolution(length, layout, **options):
    _check_round_trip(length, layout, **options)


SIGNALS = {
    "impulse at the start": lambda n: np.eye(1, n, 0)[0],
    "impulse at the end": lambda n: np.eye(1, n, n - 1)[0],
    "DC": np.ones,
    "Nyquist": lambda n: (-1.0) ** np.arange(n),
    "near Nyquist": lambda n: np.sin(np.pi * 0.999 * np.arange(n)),
    "20 Hz": lambda n: np.sin(2 * np.pi * 20 / RATE * np.arange(n)),
    "loud low, soft high": lambda n: 1 + 1e-3 * (-1.0) ** np.arange(n),
}


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_hard_signals_come_back(name, layout):
    spec = GaborSpec(sample_rate=RATE, fmin=110.0, n_bins=None)
    assert _round_trip_db(SIGNALS[name](9001).astype(np.float32), spec, layout) > 122


def test_silence_is_silence():
    spec = GaborSpec(**SMALL)
    coefficients = analyse(jnp.zeros(100), spec=spec)
    assert not np.any(coefficients)
    assert not np.any(synthesise(coefficients, spec=spec, length=100))


def test_real_music_comes_back(shared):
    path = shared / "audio" / "gtzan_mini" / "genres" / "rock" / "rock.00000.wav"
    clip, rate = librosa.load(path, sr=None, duration=5.0)
    assert _round_trip_db(clip, GaborSpec(sample_rate=rate, n_bins=None), "ragged") > 122


def test_double_precision(x64, rng):
    waveform = rng.standard_normal((2, 777))
    for layout in LAYOUTS:
        assert _round_trip_db(waveform, GaborSpec(**SMALL), layout) > 280


# --- dense linear algebra ----------------------------------------------------------------------


@functools.cache
def _dense(tight, gamma, layout, normalization="energy"):
    """Spec, padded length and the real analysis matrix [numbers, padded], by columns."""
    spec = GaborSpec(**SMALL, gamma=gamma, tight=tight, normalization=normalization)
    padded = gabor.padded_length(1, spec)
    columns = analyse_padded(jnp.eye(padded), spec=spec, layout=layout)
    return spec, padded, _real_vector(columns).T


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("gamma", [0.0, 500.0])
def test_frame_bounds_are_the_extreme_singular_values(gamma, layout, x64):
    """Also with gamma so large that bands reach below 0 Hz."""
    spec, padded, matrix = _dense(False, gamma, layout)
    singular = np.linalg.svd(matrix, compute_uv=False)
    bounds = gabor.frame_bounds(1, spec)
    assert len(singular) == padded
    np.testing.assert_allclose(bounds.lower, singular[-1] ** 2, rtol=1e-9)
    np.testing.assert_allclose(bounds.upper, singular[0] ** 2, rtol=1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("gamma", [0.0, 500.0])
def test_synthesis_is_the_pseudo_inverse(gamma, layout, x64, rng):
    """Also for coefficients that no waveform has."""
    spec, padded, matrix = _dense(False, gamma, layout)
    example = analyse_padded(jnp.zeros((1, padded)), spec=spec, layout=layout)
    random = jax.tree.map(
        lambda a: jnp.asarray(rng.standard_normal(a.shape) + 1j * rng.standard_normal(a.shape)),
        example,
    )
    arrays = tuple(random) if layout == "ragged" else (random,)
    found = synthesise_padded(arrays, padded=padded, spec=spec, layout=layout)
    expected = np.linalg.pinv(matrix) @ _real_vector(random)[0]
    np.testing.assert_allclose(found[0], expected, atol=1e-11)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tight_frames_preserve_energy_and_are_inverted_by_their_adjoint(layout, x64):
    spec, padded, matrix = _dense(True, 20.0, layout)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(padded), atol=1e-12)
    bounds = gabor.frame_bounds(1, spec)
    np.testing.assert_allclose([bounds.lower, bounds.upper], 1.0, rtol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradient_of_synthesis_is_the_adjoint_of_analysis_if_tight(layout, x64, rng):
    spec, padded, matrix = _dense(True, 20.0, layout)
    weights = rng.standard_normal(padded)
    example = analyse_padded(jnp.zeros(padded), spec=spec, layout=layout)

    def loss(coefficients):
        arrays = tuple(coefficients) if layout == "ragged" else (coefficients,)
        found = synthesise_padded(arrays, padded=padded, spec=spec, layout=layout)
        return jnp.vdot(jnp.asarray(weights), found)

    gradient = jax.tree.map(lambda a: jnp.conj(a)[None], jax.jit(jax.grad(loss))(example))
    np.testing.assert_allclose(_real_vector(gradient)[0], matrix @ weights, atol=1e-11)


def test_conditions_over_settings():
    """Hann windows: about 2; their roots: nearly 1; a tight frame: 1."""
    for bins_per_octave, fmin in itertools.product((12, 96), (32.7, 440.0)):
        options = {"fmin": fmin, "bins_per_octave": bins_per_octave, "n_bins": None}
        assert gabor.frame_bounds(1, GaborSpec(**options)).condition < 2.5
        assert gabor.frame_bounds(1, GaborSpec(**options, window="cosine")).condition < 1.5
        assert gabor.frame_bounds(1, GaborSpec(**options, gamma=10.0)).condition < 3.3
        tight = gabor.frame_bounds(1, GaborSpec(**options, tight=True))
        np.testing.assert_allclose(tight.condition, 1.0, rtol=1e-9)


# --- what the coefficients mean ----------------------------------------------------------------


@pytest.mark.parametrize("tight", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 30.0])
def test_a_partial_has_its_amplitude_phase_and_place(gamma, tight):
    spec = GaborSpec(sample_rate=RATE, fmin=110.0, n_bins=48, gamma=gamma, tight=tight)
    bands = gabor_bands.design_bands(spec)
    band = bands.placed.start + 24
    frequency = bands.center[band]
    clip = _partial(frequency, 24_000, amplitude=0.5, phase=0.7).astype(np.float32)
    coefficients = np.asarray(analyse(clip, spec=spec))
    times = gabor.frame_times(24_000, spec)
    assert len(times) == len(coefficients)
    middle = (times > 1.0) & (times < 2.0)
    assert np.all(np.abs(coefficients[middle]).argmax(-1) == band)
    expected = 0.5 * np.exp(1j * (2 * np.pi * frequency * times[middle] + 0.7))
    # Onset and end of the partial still ring, far below.
    np.testing.assert_allclose(coefficients[middle, band], expected, atol=2e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dc_and_nyquist_have_their_amplitude_and_are_real(layout):
    spec = GaborSpec(sample_rate=RATE, fmin=110.0, n_bins=48)
    for clip, band in ((np.full(16_000, 0.5), 0), (0.5 * (-1.0) ** np.arange(16_000), -1)):
        found = analyse(clip.astype(np.float32), spec=spec, layout=layout)
        array = np.asarray(found[band] if layout == "ragged" else found)[..., band]
        np.testing.assert_allclose(np.abs(array[len(array) // 3]), 0.5, atol=1e-4)
        assert np.abs(array.imag).max() < 1e-6


def test_magnitudes_are_those_of_constant_q_inner_products():
    """Partials at the centres, against librosa's wavelets: the same levels, band by band."""
    spec = GaborSpec(sample_rate=RATE, fmin=220.0, n_bins=36, normalization="librosa")
    centers = gabor_bands.design_bands(spec).center[gabor_bands.design_bands(spec).placed]
    wavelets, lengths = librosa.filters.wavelet(freqs=centers, sr=RATE, norm=1)
    for band in (0, 17, 35):
        clip = _partial(centers[band], 16_000)
        found = np.asarray(analyse(clip.astype(np.float32), spec=spec))
        hop = spec.hop
        frame = 8000 // hop
        taps = wavelets.shape[-1]
        start = frame * hop - taps // 2
        inner = wavelets[band].conj() @ clip[start : start + taps] * np.sqrt(lengths[band])
        value = found[frame, gabor_bands.design_bands(spec).placed][band]
        # alpha is sinh of the spacing here and tanh there: 0.2 % of the length.
        np.testing.assert_allclose(np.abs(value), np.abs(inner), rtol=2e-3)
        np.testing.assert_allclose(np.angle(value / inner), 0.0, atol=0.03)


def test_an_impulse_stays_where_it_is():
    spec = GaborSpec(sample_rate=RATE, fmin=220.0, n_bins=36)
    clip = np.zeros(8000, np.float32)
    clip[4000] = 1
    power = np.abs(np.asarray(analyse(clip, spec=spec))) ** 2
    times = gabor.frame_times(8000, spec)
    center = (times[:, None] * power).sum(0) / power.sum(0)
    # Bands of different length, all symmetric; half a hop is 0.0017 s.
    np.testing.assert_allclose(center[1:-1], 0.5, atol=1e-4)


def test_padding_keeps_the_ends_apart():
    """A click at the very end rings into the padding, hardly into the beginning."""
    spec = GaborSpec(sample_rate=RATE, fmin=110.0, n_bins=48)
    clip = np.zeros(8000, np.float32)
    clip[-1] = 1
    found = np.abs(np.asarray(analyse(clip, spec=spec)))
    times = gabor.frame_times(8000, spec)
    early = found[times < 0.5].max(0)
    assert np.all(early < 0.03 * found.max(0))


@pytest.mark.tail
def test_gamma_is_no_early_downsampling_fault():
    """nnAudio's VQT puts 440 Hz into bin 57 instead of 45 at 44.1 kHz."""
    for sample_rate, gamma in ((44_100, 0.0), (44_100, 7.0), (48_000, 7.0)):
        spec = GaborSpec(sample_rate=sample_rate, fmin=32.7032, gamma=gamma)
        clip = np.cos(2 * np.pi * 440 / sample_rate * np.arange(sample_rate)).astype(np.float32)
        found = np.abs(np.asarray(analyse(clip, spec=spec)))
        part = found[..., gabor_bands.design_bands(spec).placed]
        times = gabor.frame_times(sample_rate, spec)
        middle = part[(times > 0.3) & (times < 0.7)]
        assert np.all(middle.argmax(-1) == 45)
        # Its CQT2010v2 is 2.9 dB too loud at 44.1 and 48 kHz.
        np.testing.assert_allclose(middle[:, 45], 1.0, atol=3e-3)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_layouts_are_samples_of_the_same_bands(normalization, rng):
    """At the frames that both have, but for the energy scale, which goes with the hop."""
    spec = GaborSpec(**SMALL, normalization=normalization)
    waveform = rng.standard_normal((2, 1500)).astype(np.float32)
    matrix = np.asarray(analyse(waveform, spec=spec))
    ragged = analyse(waveform, spec=spec, layout="ragged")
    assert sum(array.shape[-1] for array in ragged) == matrix.shape[-1]
    groups = gabor_tables.band_groups(spec, "ragged")
    for (bands, hop), array in zip(groups, ragged, strict=True):
        shared_frames = matrix[:, :: hop // spec.hop, bands]
        factor = np.sqrt(hop / spec.hop) if normalization == "energy" else 1
        np.testing.assert_allclose(array, factor * shared_frames, atol=1e-5)


def test_a_shorter_hop_samples_the_same_band(rng):
    """Of the constant-Q bins; around them it needs fewer."""
    waveform = rng.standard_normal(2000).astype(np.float32)
    found = []
    for hop in (1, 4):
        spec = GaborSpec(**SMALL, hop_length=hop)
        part = gabor_bands.design_bands(spec).placed
        found.append(np.asarray(analyse(waveform, spec=spec))[..., part])
    assert gabor_bands.design_bands(GaborSpec(**SMALL, hop_length=1)).center.size == 10 + 2
    short = found[0][::4]
    frames = min(len(short), len(found[1]), 2000 // 4)
    np.testing.assert_allclose(found[1][:frames], short[:frames], atol=2e-2)


# --- lengths, shapes, errors -------------------------------------------------------------------


@settings(max_examples=20)
@given(
    length=st.integers(1, 3_000_000),
    bins_per_octave=st.integers(1, 96),
    gamma=st.floats(0, 100),
)
def test_padded_lengths_are_smooth_and_long_enough(length, bins_per_octave, gamma):
    spec = GaborSpec(n_bins=None, bins_per_octave=bins_per_octave, gamma=gamma)
    padded = gabor.padded_length(length, spec)
    support = gabor_bands.narrowest_support(spec) / spec.sample_rate
    assert padded >= length + 2 / support
    assert padded * support >= 4
    assert padded % 2 == 0
    for prime in (2, 3, 5):
        while padded % prime == 0:
            padded //= prime
    assert padded == 1


def test_redundancy_counts_the_coefficients():
    spec = GaborSpec(n_bins=None)
    for layout in LAYOUTS:
        shape = jax.eval_shape(
            functools.partial(gabor.analyse, spec=spec, layout=layout), jnp.zeros(220_500)
        )
        numbers = sum(2 * array.size for array in jax.tree.leaves(shape))
        assert gabor.redundancy(220_500, spec, layout) == numbers / 220_500
    assert 2 < gabor.redundancy(220_500, spec, "ragged") < 4


def test_frames_of_both_layouts_have_their_times(rng):
    spec = GaborSpec(**SMALL, hop_length=3)
    found = analyse(rng.standard_normal(500).astype(np.float32), spec=spec, layout="ragged")
    times = gabor.frame_times(500, spec, "ragged")
    assert [len(t) for t in times] == [a.shape[0] for a in found]
    np.testing.assert_allclose(gabor.frame_times(500, spec)[:2], [0, 3 / RATE])


@pytest.mark.tail
def test_jit_vmap_and_leading_axes_are_the_same(rng):
    spec = GaborSpec(**SMALL)
    waveform = rng.standard_normal((2, 3, 333)).astype(np.float32)
    analyse = functools.partial(gabor.analyse, spec=spec)
    whole = analyse(waveform)
    np.testing.assert_allclose(jax.jit(analyse)(waveform), whole, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(analyse)(jnp.asarray(waveform)), whole, atol=1e-6)
    np.testing.assert_allclose(analyse(waveform[1, 2]), whole[1, 2], atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_groups_of_clips_are_the_whole_batch(layout, rng, monkeypatch):
    """Of a size of which six are too many to be in work together."""
    spec = GaborSpec(**{**SMALL, "fmin": 501.0})
    waveform = rng.standard_normal((2, 3, 333)).astype(np.float32)
    one = [gabor.analyse(clip, spec=spec, layout=layout) for clip in waveform.reshape(6, 333)]
    numbers = sum(array.size for array in jax.tree.leaves(one[0]))
    # Two clips' coefficients of 8 bytes, each of them twice, and what their DFTs go through.
    dft = gabor.padded_length(333, spec)
    monkeypatch.setattr(gabor, "_TEMPORARY_BYTES", 2 * 16 * (numbers + dft))
    grouped = gabor.analyse(waveform, spec=spec, layout=layout)
    assert "scan" in str(jax.make_jaxpr(lambda x: analyse(x, spec=spec, layout=layout))(waveform))
    stacked = jax.tree.map(lambda *a: np.stack(a).reshape(2, 3, *a[0].shape), *one)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), grouped, stacked)
    found = synthesise(grouped, spec=spec, length=333, layout=layout)
    assert _snr_db(waveform, found) > 122


def test_the_traced_program_is_small():
    """No loop over the bands: some operations a group of bands."""
    spec = GaborSpec(n_bins=None, bins_per_octave=48)
    clip = jnp.zeros(22_050)

    def round_trip(x):
        found = analyse(x, spec=spec)
        return synthesise(found, spec=spec, length=22_050)

    text = jax.jit(round_trip).lower(clip).as_text()
    assert text.count("stablehlo.") < 600


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fmin": 0}, "fmin=0"),
        ({"sample_rate": -1}, "sample_rate=-1"),
        ({"bins_per_octave": 0}, "bins_per_octave=0"),
        ({"gamma": -1.0}, "gamma=-1"),
        ({"window": "boxcar"}, "window='boxcar'.*hann"),
        ({"normalization": "wrap"}, "normalization='wrap'.*amplitude"),
        ({"fmax": 1000.0}, "n_bins=None"),
        ({"fmax": 10.0, "n_bins": None}, "fmax=10.0 lies below"),
        ({"n_bins": 0}, "n_bins=0"),
        ({"n_bins": 101}, "n_bins <= 100"),
        ({"fmin": 10_900.0}, "no band fits"),
        ({"hop_length": 0}, "hop_length=0"),
        ({"hop_length": 49}, "hop_length <= 48"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        GaborSpec(**options)


def test_the_nearest_fixes_are_accepted():
    assert GaborSpec(n_bins=100).num_constant_q == 100
    assert GaborSpec(hop_length=48).hop == 48
    assert GaborSpec(fmin=110.0, fmax=880.0, n_bins=None).num_constant_q == 37


def test_wrong_coefficients_are_refused():
    spec = GaborSpec(**SMALL)
    found = analyse(jnp.ones(100), spec=spec)
    with pytest.raises(TypeError, match="phase retrieval"):
        gabor.synthesise(jnp.abs(found), spec=spec, length=100)
    with pytest.raises(ValueError, match="frames, bins"):
        gabor.synthesise(found[..., 1:-1], spec=spec, length=100)
    with pytest.raises(ValueError, match="frames, bins"):
        gabor.synthesise(found, spec=spec, length=5000)
    with pytest.raises(ValueError, match="layout='octaves'"):
        gabor.analyse(jnp.ones(100), spec=spec, layout="octaves")
    with pytest.raises(ValueError, match=r"waveform.shape=\(0,\)"):
        gabor.analyse(jnp.ones(0), spec=spec)
