"""The metrics of the benchmark, by name: what each is called, its unit, and which way is better.

Rules: a reconstruction is compared with its clip sample by sample, from the first to the last. No
shift and no gain is looked for, except the gain in SI-SDR; the perceptual models align as they
were published. What cannot be said, a ratio to silence say, is None, never a number; no error at
all is an infinity.

Spectra are those of Hann windows of 1,024 samples every 256, at the rate of the clip, unless a
metric says otherwise.

References:
    A. Gray and J. Markel, "Distance measures for speech processing", IEEE Trans. ASSP 24, 1976
        (log-spectral distance).
    R. Yamamoto, E. Song and J.-M. Kim, "Parallel WaveGAN", ICASSP 2020 (several resolutions).
        https://arxiv.org/abs/1910.11480
    R. Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", IEEE
        PACRIM 1993 (mel cepstral distortion, see :mod:`isincnet_jax.dsp.cepstral_distances`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import librosa
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.benchmark import perceptual
from isincnet_jax.dsp import cepstral_distances, checks, distances, spectral_distances
from isincnet_jax.vocoders import losses as vocoder_losses

RESOLUTION = spectral_distances.Resolution(1024, 256, 1024)
"""The spectra of all metrics of one resolution."""

MELS = 80
_RANGE = 1e-4  # 80 dB
_MEL_FLOOR = 1e-5


@dataclass(frozen=True)
class Metric:
    """A column of the benchmark.

    Attributes:
        name: in results files.
        title: in tables.
        unit: "dB", or empty.
        better: which values are.
        digits: behind the decimal point; small numbers are shown as powers of ten.
        summary: one line on what it is.
    """

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    digits: int
    summary: str

    def describe(self) -> dict[str, Any]:
        """Metric as the results file has it.

        Returns:
            All fields but the name.
        """
        fields = ("title", "unit", "better", "digits", "summary")
        return {field: getattr(self, field) for field in fields}


_ALL = (
    Metric("snr_db", "SNR", "dB", "higher", 1, "energy of the clip over energy of the error"),
    Metric("si_sdr_db", "SI-SDR", "dB", "higher", 1, "SNR after the best gain on the clip"),
    Metric("mse", "MSE", "", "lower", 6, "mean squared error"),
    Metric("mae", "MAE", "", "lower", 6, "mean absolute error"),
    Metric("peak_error", "peak error", "", "lower", 6, "largest absolute error"),
    Metric(
        "log_spectral_db",
        "log-spectral",
        "dB",
        "lower",
        2,
        "root mean square over bins, mean over frames, of the difference of levels; what lies "
        "80 dB below the clip's loudest bin counts as lying there",
    ),
    Metric(
        "convergence_db",
        "spectral convergence",
        "dB",
        "lower",
        1,
        "norm of the difference of the magnitudes over the norm of the clip's",
    ),
    Metric(
        "multi_stft",
        "multi-resolution STFT",
        "",
        "lower",
        3,
        "convergence plus log-magnitude distance, mean of three resolutions (Parallel WaveGAN)",
    ),
    Metric(
        "log_mel",
        "log-mel",
        "",
        "lower",
        3,
        f"mean absolute difference of the natural logarithms of {MELS} Slaney mel magnitudes, "
        "1e-5 at least",
    ),
    Metric(
        "correlation",
        "STFT correlation",
        "",
        "higher",
        4,
        "Pearson correlation of the magnitudes of all frames and bins",
    ),
    Metric(
        "mcd_db",
        "mel cepstral distortion",
        "dB",
        "lower",
        2,
        "distance of 13 mel cepstra without the level, mean over frames",
    ),
    Metric(
        "consistency_db",
        "consistency error",
        "dB",
        "lower",
        1,
        "norm of the difference of what the method was given, magnitudes or mels, and the same of "
        "its output, over the norm of what it was given",
    ),
    Metric("pesq", "PESQ", "MOS", "higher", 2, "ITU-T P.862.2 at 16 kHz; below, P.862 at 8 kHz"),
    Metric("stoi", "STOI", "", "higher", 3, "short-time objective intelligibility"),
    Metric("estoi", "ESTOI", "", "higher", 3, "STOI extended to modulated maskers"),
    Metric("visqol", "ViSQOL", "MOS", "higher", 2, "ViSQOL 3, audio mode at 48 kHz"),
    Metric("visqol_speech", "ViSQOL speech", "MOS", "higher", 2, "its speech mode at 16 kHz"),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
"""All metrics, in the order of columns."""

_SAMPLES = ("snr_db", "si_sdr_db", "mse", "mae", "peak_error")
_SPECTRA = (
    *("log_spectral_db", "convergence_db", "multi_stft", "log_mel", "correlation"),
    "mcd_db",
)
CORE: tuple[str, ...] = (*_SAMPLES, *_SPECTRA, "consistency_db")
"""Those that need no optional package."""


def usable_metrics(*, speech: bool) -> tuple[str, ...]:
    """The core metrics, and the perceptual ones that are installed and fit the content.

    Args:
        speech: whether the clips are speech.

    Returns:
        Names, in the order of columns.
    """
    return (*CORE, *perceptual.usable(speech=speech))


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names in the order of columns.

    Args:
        names: of metrics, in any order.

    Returns:
        Each once.

    Raises:
        ValueError: for none, or for one that there is not.
    """
    wanted = list(names)
    for name in wanted:
        if name not in METRICS:
            raise ValueError(f"metric {name!r} is unknown; use {', '.join(METRICS)}")
    if not wanted:
        raise ValueError(f"no metrics; use some of {', '.join(METRICS)}")
    return tuple(name for name in METRICS if name in wanted)


def score_clip(
    *,
    prediction: Float[np.ndarray, " time"],
    target: Float[np.ndarray, " time"],
    sample_rate: int,
    names: Iterable[str] = CORE,
    speech: bool = False,
    given: Callable[[Any], Any] | None = None,
) -> dict[str, float | None]:
    """The metrics of one clip.

    Args:
        prediction: the reconstruction, finite.
        target: the clip.
        sample_rate: Hz.
        names: of metrics.
        speech: whether the clip is speech, which most perceptual models ask for.
        given: waveform [batch, time] to what a method that is blind to phase sees of it, features
            [batch, frames, bins]; None where there is no such thing, nor a consistency error.

    Returns:
        A number for each name; None where it is undefined, an infinity without any error.

    Raises:
        ValueError: for unequal shapes, non-finite samples or unknown names.
    """
    names = check_names(names)
    checks.check_pair(prediction, target, ndim=1)
    if not np.all(np.isfinite(prediction)):
        raise ValueError("prediction: NaN or infinite samples; samples must be finite")
    scores: dict[str, float | None] = dict(_sample_scores(prediction, target))
    if any(name in _SPECTRA for name in names):
        scores |= _spectral_scores(prediction, target, sample_rate)
    if "consistency_db" in names:
        scores["consistency_db"] = _consistency_db(given, prediction, target)
    for name in names:
        if name in perceptual.MODELS:
            scores[name] = perceptual.score(
                name, prediction=prediction, target=target, sample_rate=sample_rate, speech=speech
            )
    return {name: scores[name] for name in names}


def _sample_scores(
    prediction: Float[np.ndarray, " time"], target: Float[np.ndarray, " time"]
) -> dict[str, float | None]:
    sums = distances.error_sums(prediction=prediction, target=target)
    error = np.asarray(prediction, np.float64) - np.asarray(target, np.float64)
    silent = sums.target_energy == 0.0
    # Minus infinity: nothing of the clip is in the reconstruction; no number says how little.
    invariant = None if silent or sums.si_sdr_db == -math.inf else sums.si_sdr_db
    return {
        "snr_db": None if silent else sums.snr_db,
        "si_sdr_db": invariant,
        "mse": sums.mse,
        "mae": sums.mae,
        "peak_error": float(np.max(np.abs(error), initial=0.0)),
    }


def _spectral_scores(
    prediction: Float[np.ndarray, " time"], target: Float[np.ndarray, " time"], sample_rate: int
) -> dict[str, float | None]:
    found = {
        name: float(value)
        for name, value in _spectra(
            jnp.asarray(prediction, jnp.float32),
            jnp.asarray(target, jnp.float32),
            jnp.asarray(_mel_filters(sample_rate), jnp.float32),
        ).items()
    }
    found["mcd_db"] = float(
        _mel_cepstral_distortion_db(
            prediction=jnp.asarray(prediction, jnp.float32),
            target=jnp.asarray(target, jnp.float32),
            sample_rate=sample_rate,
        )
    )
    silent = not np.any(target)
    ratio = found.pop("error_ratio")
    scores: dict[str, float | None] = dict(found)
    # 20 log10(|| |Y| - |X| || / || |X| ||)
    scores["convergence_db"] = 20.0 * math.log10(ratio) if ratio > 0 else -math.inf
    if silent:
        scores["log_spectral_db"] = scores["convergence_db"] = None
    if silent or not np.any(prediction) or not math.isfinite(found["correlation"]):
        scores["correlation"] = None
    return scores


_mel_cepstral_distortion_db = jax.jit(
    cepstral_distances.mel_cepstral_distortion_db, static_argnames=("sample_rate",)
)


def _consistency_db(
    given: Callable[[Any], Any] | None,
    prediction: Float[np.ndarray, " time"],
    target: Float[np.ndarray, " time"],
) -> float | None:
    if given is None or not np.any(target):
        return None
    found, wanted = (given(jnp.asarray(one, jnp.float32)[None]) for one in (prediction, target))
    return float(vocoder_losses.consistency_db(prediction=found, target=wanted)[0])


@functools.lru_cache(maxsize=8)
def _mel_filters(sample_rate: int) -> Float[np.ndarray, "mels bins"]:
    """The Slaney mel bank of the mel distance."""
    return librosa.filters.mel(sr=sample_rate, n_fft=RESOLUTION.n_fft, n_mels=MELS)


@jax.jit
def _spectra(
    prediction: Float[jax.Array, " time"],
    target: Float[jax.Array, " time"],
    filters: Float[jax.Array, "mels bins"],
) -> dict[str, jax.Array]:
    found = spectral_distances.magnitude(prediction, RESOLUTION)
    wanted = spectral_distances.magnitude(target, RESOLUTION)
    # Levels below 80 dB under the clip's loudest bin count as lying there; silence needs a floor.
    floor = jnp.maximum(_RANGE * jnp.max(wanted), jnp.finfo(jnp.float32).tiny)
    levels = jnp.log10(jnp.maximum(found, floor)) - jnp.log10(jnp.maximum(wanted, floor))
    # LSD = mean over frames of sqrt(mean over bins of (20 log10 |Y| - 20 log10 |X|)^2)
    per_frame = jnp.sqrt(jnp.mean((20.0 * levels) ** 2, axis=-1))

    def log_mel(magnitude: jax.Array) -> jax.Array:
        mel = jnp.matmul(magnitude, filters.T, precision=lax.Precision.HIGHEST)
        return jnp.log(jnp.maximum(mel, _MEL_FLOOR))

    def centred(magnitude: jax.Array) -> jax.Array:
        return magnitude - jnp.mean(magnitude)

    # Pearson: <a, b> / (||a|| ||b||) of what is left without the means
    one, other = centred(found), centred(wanted)
    # Ratios are 0 / 0 or infinite where the clip is silent: the caller reports None.
    return {
        "log_spectral_db": jnp.mean(per_frame),
        "error_ratio": jnp.linalg.norm(found - wanted) / jnp.linalg.norm(wanted),
        "multi_stft": spectral_distances.multi_stft(prediction=prediction, target=target),
        "log_mel": jnp.mean(jnp.abs(log_mel(found) - log_mel(wanted))),
        "correlation": jnp.sum(one * other) / (jnp.linalg.norm(one) * jnp.linalg.norm(other)),
    }
