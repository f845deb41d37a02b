"""Metrics of the benchmark against formulas written with NumPy, SciPy and librosa."""

from __future__ import annotations

import importlib.util
import math
import sys
import types

import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.fft
import scipy.signal

from isincnet_jax.benchmark import metrics, perceptual

RATE = 16_000


@pytest.fixture
def pair(rng):
    """A clip with a decaying spectrum, and the clip with noise and another gain."""
    noise = scipy.signal.lfilter([1.0], [1.0, -0.9], rng.standard_normal(RATE))
    target = (0.05 * noise).astype(np.float32)
    prediction = (0.8 * target + 0.01 * rng.standard_normal(RATE)).astype(np.float32)
    return prediction, target


def score(pair, **options):
    prediction, target = pair
    return metrics.score_clip(prediction=prediction, target=target, sample_rate=RATE, **options)


def magnitudes(waveform, n_fft=1024, hop_length=256, win_length=None):
    """In float64, bins first."""
    return np.abs(
        librosa.stft(
            waveform.astype(np.float64),
            n_fft=n_fft,
            hop_length=hop_length,
            win_length=win_length,
            pad_mode="reflect",
        )
    )


def test_sample_metrics_are_their_formulas(pair):
    prediction, target = (np.asarray(one, np.float64) for one in pair)
    error = prediction - target
    found = score(pair)
    assert found["mse"] == pytest.approx(np.mean(error**2), rel=1e-12)
    assert found["mae"] == pytest.approx(np.mean(np.abs(error)), rel=1e-12)
    assert found["peak_error"] == np.max(np.abs(error))
    ratio = 10 * np.log10(np.sum(target**2) / np.sum(error**2))
    assert found["snr_db"] == pytest.approx(ratio, abs=1e-9)
    gain = np.dot(prediction, target) / np.dot(target, target)
    rest = prediction - gain * target
    ratio = 10 * np.log10(np.sum((gain * target) ** 2) / np.sum(rest**2))
    assert found["si_sdr_db"] == pytest.approx(ratio, abs=1e-6)


def test_no_shift_and_no_gain_is_looked_for(pair):
    _, target = pair
    late = score((np.roll(target, 1), target))
    assert late["snr_db"] < 20
    loud = score((np.float32(2.0) * target, target))
    assert loud["snr_db"] == pytest.approx(0.0, abs=1e-6)
    assert loud["si_sdr_db"] == math.inf or loud["si_sdr_db"] > 100


def test_spectral_metrics_against_librosa(pair):
    found, one, other = score(pair), *(magnitudes(wave) for wave in pair)
    convergence = 20 * np.log10(np.linalg.norm(one - other) / np.linalg.norm(other))
    assert found["convergence_db"] == pytest.approx(convergence, abs=1e-3)
    floor = 1e-4 * np.max(other)
    levels = [20 * np.log10(np.maximum(each, floor)) for each in (one, other)]
    distance = np.mean(np.sqrt(np.mean((levels[0] - levels[1]) ** 2, axis=0)))
    assert found["log_spectral_db"] == pytest.approx(distance, abs=1e-3)
    correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    assert found["correlation"] == pytest.approx(correlation, abs=1e-5)
    filters = librosa.filters.mel(sr=RATE, n_fft=1024, n_mels=80)
    logs = [np.log(np.maximum(filters @ each, 1e-5)) for each in (one, other)]
    assert found["log_mel"] == pytest.approx(np.mean(np.abs(logs[0] - logs[1])), abs=1e-4)


def test_multi_resolution_distance_against_librosa(pair):
    parts = []
    for n_fft, hop, window in ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200)):
        one, other = (magnitudes(wave, n_fft, hop, window) for wave in pair)
        logs = [np.log(np.maximum(each, 1e-5)) for each in (one, other)]
        parts.append(np.linalg.norm(one - other) / np.linalg.norm(other))
        parts[-1] += np.mean(np.abs(logs[0] - logs[1]))
    assert score(pair)["multi_stft"] == pytest.approx(np.mean(parts), rel=1e-3)


def _features(waveform):
    """Power spectra, bins last, of other frames than the metrics'."""
    frames = waveform[:, : len(waveform[0]) // 400 * 400].reshape(len(waveform), -1, 400)
    return jnp.abs(jnp.fft.rfft(frames)) ** 2


def test_mel_cepstral_distortion_against_librosa_and_scipy(pair):
    filters = librosa.filters.mel(sr=RATE, n_fft=1024, n_mels=80)
    logs = [np.log(np.maximum(filters @ magnitudes(one), 1e-5)) for one in pair]
    cepstra = [scipy.fft.dct(each, axis=0)[1:14] / 80 for each in logs]
    squares = np.sum((cepstra[0] - cepstra[1]) ** 2, axis=0)
    distortion = np.mean(10 / np.log(10) * np.sqrt(2 * squares))
    assert score(pair)["mcd_db"] == pytest.approx(distortion, rel=1e-3)


def test_consistency_is_that_of_what_was_given(pair):
    one, other = (np.asarray(_features(each[None])) for each in pair)
    wanted = 20 * np.log10(np.linalg.norm(one - other) / np.linalg.norm(other))
    assert score(pair, given=_features)["consistency_db"] == pytest.approx(wanted, abs=1e-3)
    assert score(pair)["consistency_db"] is None


def test_without_an_error(pair):
    _, target = pair
    found = score((target, target))
    assert found["snr_db"] == found["si_sdr_db"] == math.inf
    assert found["convergence_db"] == -math.inf
    assert found["correlation"] == pytest.approx(1.0, abs=1e-5)
    zero = ("mse", "mae", "peak_error", "log_spectral_db", "multi_stft", "log_mel", "mcd_db")
    for name in zero:
        assert found[name] == 0.0, name


def test_ratios_to_silence_are_undefined(pair):
    prediction, _ = pair
    found = score((prediction, np.zeros_like(prediction)))
    undefined = {name for name, value in found.items() if value is None}
    ratios = {"snr_db", "si_sdr_db", "convergence_db", "log_spectral_db", "correlation"}
    assert undefined == {*ratios, "consistency_db"}
    assert score((prediction, 0 * prediction), given=_features)["consistency_db"] is None
    assert found["mse"] == pytest.approx(np.mean(prediction.astype(np.float64) ** 2))


def test_silence_for_a_clip_has_no_invariant_ratio(pair):
    _, target = pair
    found = score((np.zeros_like(target), target))
    assert found["snr_db"] == pytest.approx(0.0, abs=1e-9)
    assert found["convergence_db"] == pytest.approx(0.0, abs=1e-5)
    assert found["si_sdr_db"] is None
    assert found["correlation"] is None


def test_names_are_checked_and_ordered(pair):
    assert list(score(pair, names=("mae", "snr_db"))) == ["snr_db", "mae"]
    with pytest.raises(ValueError, match="metric 'snr' is unknown; use snr_db, "):
        score(pair, names=("snr",))
    with pytest.raises(ValueError, match="no metrics"):
        metrics.check_names(())


def test_bad_reconstructions_are_refused(pair):
    prediction, target = pair
    broken = prediction.copy()
    broken[3] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        score((broken, target))
    with pytest.raises(ValueError, match="must be equal"):
        score((prediction[:-1], target))


def test_every_metric_describes_itself():
    for name, metric in metrics.METRICS.items():
        described = metric.describe()
        assert metric.name == name
        assert described["better"] in ("higher", "lower")
        assert described["summary"]


def test_perceptual_models_say_where_they_apply(monkeypatch):
    monkeypatch.setattr(perceptual.extras, "is_installed", lambda name: True)
    wanted = ("pesq", "stoi", "estoi", "visqol", "visqol_speech")
    assert perceptual.usable(speech=True) == wanted
    assert perceptual.usable(speech=False) == ("visqol",)


def test_missing_packages_and_what_they_would_measure(monkeypatch):
    monkeypatch.setattr(perceptual.extras, "is_installed", lambda name: name == "pesq")
    missing = perceptual.missing_packages(speech=True)
    assert missing == {
        "pystoi": ("stoi", "estoi"),
        "visqol-python": ("visqol", "visqol_speech"),
    }
    assert perceptual.missing_packages(speech=False) == {"visqol-python": ("visqol",)}
    said = "not measured: visqol (pip install 'isincnet-jax[perceptual]')"
    assert perceptual.missing_text(speech=False) == said
    monkeypatch.setattr(perceptual.extras, "is_installed", lambda name: True)
    assert perceptual.missing_text(speech=True) == ""


class Pretended:
    """Stands for the packages: remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def stoi(self, clip, decoded, sample_rate, *, extended):
        self.asked.append(("stoi", sample_rate, extended))
        return 0.25 if extended else 0.5

    def VisqolApi(self):  # noqa: N802 (the package's name)
        return self

    def create(self, *, mode, use_lattice_model):
        self.mode = mode

    def measure_from_arrays(self, one, other, rate):
        self.asked.append((self.mode, rate, len(one)))
        return types.SimpleNamespace(moslqo=3.0)


@pytest.mark.parametrize(
    ("name", "asked", "value"),
    [
        ("stoi", ("stoi", RATE, False), 0.5),
        ("estoi", ("stoi", RATE, True), 0.25),
        ("visqol", ("audio", 48_000, 48_000), 3.0),
        ("visqol_speech", ("speech", 16_000, 16_000), 3.0),
    ],
)
def test_models_are_asked_in_their_mode_and_rate(name, asked, value, pair, monkeypatch):
    pretended = Pretended()
    for module in ("pystoi", "visqol"):
        monkeypatch.setitem(sys.modules, module, pretended)
    perceptual._visqol_api.cache_clear()
    found = perceptual.score(name, prediction=pair[0], target=pair[1], sample_rate=RATE)
    perceptual._visqol_api.cache_clear()
    assert found == value
    assert pretended.asked == [asked]


def test_what_would_fail_for_every_clip_is_refused_at_once(monkeypatch):
    for module in ("pesq", "pystoi", "visqol"):
        monkeypatch.setitem(sys.modules, module, None)
    perceptual.check([], speech=False)
    perceptual.check(["snr_db"], speech=True)
    with pytest.raises(ImportError, match=r"metric pesq needs pesq: .*\[perceptual\]"):
        perceptual.check([], speech=True)
    with pytest.raises(ImportError, match=r"metric stoi needs pystoi"):
        perceptual.check(["stoi"], speech=True)
    with pytest.raises(ImportError, match=r"metric visqol needs visqol-python"):
        perceptual.check(["snr_db", "visqol"], speech=False)
    with pytest.raises(ValueError, match="metric 'stoi': stoi is made for speech; leave it out"):
        perceptual.check(["stoi"], speech=False)


def test_perceptual_models_refuse_other_content(pair):
    common = {"prediction": pair[0], "target": pair[1]}
    with pytest.raises(ValueError, match="stoi is made for speech"):
        perceptual.score("stoi", sample_rate=RATE, speech=False, **common)
    with pytest.raises(ValueError, match="'polqa' is unknown; use pesq, stoi, estoi, visqol"):
        perceptual.score("polqa", sample_rate=RATE, **common)


def test_a_missing_package_is_named(pair, monkeypatch):
    monkeypatch.setitem(sys.modules, "pystoi", None)
    with pytest.raises(ImportError, match=r"needs pystoi: pip install .*perceptual"):
        perceptual.score("stoi", prediction=pair[0], target=pair[1], sample_rate=RATE)


def test_scores_of_any_rate(pair, monkeypatch):
    """PESQ gets 16 kHz, the others what there is; who refuses a clip has no score."""
    heard = {}

    def pesq(rate, clip, decoded, mode, on_error):
        heard["pesq"] = (rate, len(clip), len(decoded), mode)
        return 3.0

    def stoi(clip, decoded, rate, extended):
        heard[extended] = (rate, len(clip))
        if extended:
            raise ValueError("too short")
        return 0.9

    errors = types.SimpleNamespace(RETURN_VALUES=0)
    monkeypatch.setitem(sys.modules, "pesq", types.SimpleNamespace(pesq=pesq, PesqError=errors))
    monkeypatch.setitem(sys.modules, "pystoi", types.SimpleNamespace(stoi=stoi))
    monkeypatch.setitem(sys.modules, "visqol", None)
    monkeypatch.setattr(perceptual.extras, "is_installed", lambda name: name != "visqol")
    both = {"prediction": pair[0], "target": pair[1]}
    found = perceptual.score_all(**both, sample_rate=32_000)
    assert found == {"pesq": 3.0, "stoi": 0.9, "estoi": None}
    assert heard == {
        "pesq": (16_000, 8000, 8000, "wb"),
        False: (32_000, RATE),
        True: (32_000, RATE),
    }
    perceptual.score_all(**both, sample_rate=11_025)
    assert (heard["pesq"][0], heard["pesq"][3]) == (8_000, "nb")
    assert perceptual.score_all(**both, sample_rate=32_000, speech=False) == {}
    nothing = perceptual.score_all(
        prediction=pair[0] * np.float32(np.nan), target=pair[1], sample_rate=32_000
    )
    assert set(nothing.values()) == {None}


CLEAN = {"pesq": 4.6, "stoi": 0.999, "estoi": 0.999, "visqol": 4.5, "visqol_speech": 4.0}


@pytest.mark.parametrize("name", perceptual.MODELS)
def test_perceptual_scores_of_real_speech(name, shared):
    model = perceptual.MODELS[name]
    if importlib.util.find_spec(model.module) is None:
        pytest.skip(f"{model.package} is not installed")
    files = sorted((shared / "audio" / "ljspeech_mini").rglob("*.wav"))
    target, _ = librosa.load(files[0], sr=RATE, duration=4.0)
    noise = np.random.default_rng(0).standard_normal(len(target)).astype(np.float32)
    worse = target + np.float32(0.05) * noise
    kind = {"target": target, "sample_rate": RATE, "speech": True}
    clean = perceptual.score(name, prediction=target, **kind)
    noisy = perceptual.score(name, prediction=worse, **kind)
    assert clean is not None
    assert noisy is not None
    assert clean > noisy + 0.05
    assert clean >= CLEAN[name]
    assert perceptual.score(name, prediction=0 * target, **kind) is None
