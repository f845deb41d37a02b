"""Perceptual models of other packages, imported only where they are used.

They are optional, ``pip install 'isincnet-jax[perceptual]'``. PESQ and ViSQOL align the two
signals in time and level as they were published; STOI aligns nothing.

References:
    ITU-T P.862 and P.862.2 (PESQ), computed by https://pypi.org/project/pesq/.
    C. Taal et al., "An algorithm for intelligibility prediction of time-frequency weighted noisy
        speech", IEEE Trans. Audio, Speech and Language Processing 19, 2011, computed by
        https://pypi.org/project/pystoi/.
    J. Jensen and C. Taal, "An algorithm for predicting the intelligibility of speech masked by
        modulated noise maskers", IEEE/ACM Trans. Audio, Speech and Language Processing 24, 2016
        (ESTOI), computed by the same package.
    M. Chinen et al., "ViSQOL v3", QoMEX 2020, computed by
        https://pypi.org/project/visqol-python/. https://arxiv.org/abs/2004.09584
"""

from __future__ import annotations

import functools
import importlib
import itertools
import logging
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from isincnet_jax import extras
from isincnet_jax.dsp import checks

_AUDIO_RATE, _SPEECH_RATE = 48_000, 16_000
_LOCK = threading.Lock()
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """Perceptual model, and where it applies.

    Attributes:
        module: that computes it.
        speech_only: whether it says nothing about music.
        rates: Hz that it takes; any if empty.
    """

    module: str
    speech_only: bool
    rates: tuple[int, ...] = ()

    @property
    def package(self) -> str:
        """That has the module."""
        return extras.OPTIONAL[self.module].name


MODELS = {
    "pesq": Model("pesq", speech_only=True, rates=(8_000, 16_000)),
    "stoi": Model("pystoi", speech_only=True),
    "estoi": Model("pystoi", speech_only=True),
    "visqol": Model("visqol", speech_only=False),
    "visqol_speech": Model("visqol", speech_only=True),
}
"""The perceptual models by metric."""


def usable(*, sample_rate: int, speech: bool) -> tuple[str, ...]:
    """The models that are installed and fit the rate and the content.

    Args:
        sample_rate: Hz of the clips.
        speech: whether they are speech.

    Returns:
        Names in :data:`MODELS`.
    """
    return tuple(
        name
        for name, model in MODELS.items()
        if _reason_against(name, sample_rate=sample_rate, speech=speech) is None
        and extras.is_installed(model.module)
    )


def missing_packages(*, sample_rate: int, speech: bool) -> dict[str, tuple[str, ...]]:
    """Packages that are not installed, and the models of the rate and the content they would add.

    Args:
        sample_rate: Hz of the clips.
        speech: whether they are speech.

    Returns:
        Names in :data:`MODELS` by package; a run says them, and goes on without.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, model in MODELS.items():
        fits = _reason_against(name, sample_rate=sample_rate, speech=speech) is None
        if fits and not extras.is_installed(model.module):
            found[model.package] = (*found.get(model.package, ()), name)
    return found


def missing_text(*, sample_rate: int, speech: bool) -> str:
    """What a run says of models that are not installed.

    Args:
        sample_rate: Hz of the clips.
        speech: whether they are speech.

    Returns:
        One line that names them and the extra; empty where nothing is missing.
    """
    missing = missing_packages(sample_rate=sample_rate, speech=speech)
    names = ", ".join(itertools.chain(*missing.values()))
    return f"not measured: {names} (pip install 'isincnet-jax[perceptual]')" if names else ""


def check(names: Iterable[str], *, sample_rate: int, speech: bool) -> None:
    """Refuses, before anything is decoded, what every clip would fail with.

    Args:
        names: of metrics that were asked for, perceptual or not; without any, the models that
            are made for speech are asked for where the clips are speech.
        sample_rate: of the clips, Hz.
        speech: whether they are speech.

    Raises:
        ValueError: for a model that says nothing about such clips.
        ImportError: without a package, naming the extra.
    """
    asked = list(names)
    for name in asked or MODELS:
        model = MODELS.get(name)
        if model is None:
            continue
        reason = _reason_against(name, sample_rate=sample_rate, speech=speech)
        if asked and reason is not None:
            raise ValueError(f"metric {name!r}: {reason}; leave it out")
        if asked or (speech and model.speech_only and reason is None):
            extras.require(model.module)


def _reason_against(name: str, *, sample_rate: int, speech: bool) -> str | None:
    """Why a model says nothing about clips of this kind; None if it does."""
    model = MODELS[name]
    if model.speech_only and not speech:
        return f"{name} is made for speech"
    if model.rates and sample_rate not in model.rates:
        return f"{name} takes {' or '.join(map(str, model.rates))} Hz, not {sample_rate}"
    return None


def score(
    name: str,
    *,
    prediction: Float[np.ndarray, " time"],
    target: Float[np.ndarray, " time"],
    sample_rate: int,
    speech: bool = True,
) -> float | None:
    """Perceptual score of one clip; None for silence and where the model finds no utterance.

    Args:
        name: in :data:`MODELS`.
        prediction: the reconstruction, [time].
        target: the clip, [time].
        sample_rate: Hz.
        speech: whether the clip is speech; all but ViSQOL's audio mode take nothing else.

    Returns:
        MOS of PESQ and ViSQOL, an index of 0 to 1 of STOI and ESTOI.

    Raises:
        ImportError: without the package.
        ValueError: for an unknown model or a rate that it does not take.
    """
    if name not in MODELS:
        raise ValueError(f"perceptual model {name!r} is unknown; use {', '.join(MODELS)}")
    reason = _reason_against(name, sample_rate=sample_rate, speech=speech)
    if reason is not None:
        raise ValueError(f"{reason}; leave it out")
    checks.check_pair(prediction, target, ndim=1)
    module = _load(MODELS[name])
    clip = np.asarray(target, np.float64)
    decoded = np.asarray(prediction, np.float64)
    if not np.any(clip) or not np.any(decoded):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "pesq":
            return _pesq(module, clip, decoded, sample_rate)
        if name in ("stoi", "estoi"):
            return float(module.stoi(clip, decoded, sample_rate, extended=name == "estoi"))
        return _visqol(clip, decoded, sample_rate, speech=name == "visqol_speech")


def score_all(
    *,
    prediction: Float[np.ndarray, " time"],
    target: Float[np.ndarray, " time"],
    sample_rate: int,
    speech: bool = True,
) -> dict[str, float | None]:
    """Perceptual scores of one clip of any rate, by all models that are installed.

    PESQ takes the clip at 16 kHz (wide band), from below 16 kHz at 8 kHz; the others resample by
    themselves.

    Args:
        prediction: the reconstruction, [time].
        target: the clip, [time].
        sample_rate: Hz, any.
        speech: whether the clip is speech; all but ViSQOL's audio mode take nothing else.

    Returns:
        Scores by name, in the order of :data:`MODELS`; None for silence, output that is not
        finite, and where a model refuses the clip, which is logged.
    """
    import soxr

    rate = pesq_rate(sample_rate)
    scores: dict[str, float | None] = {}
    for name in usable(sample_rate=rate, speech=speech):
        pair, own_rate = (prediction, target), sample_rate
        if name == "pesq":
            pair, own_rate = tuple(soxr.resample(one, sample_rate, rate) for one in pair), rate
        scores[name] = None
        if not np.all(np.isfinite(prediction)):
            continue
        try:
            scores[name] = score(
                name, prediction=pair[0], target=pair[1], sample_rate=own_rate, speech=speech
            )
        except Exception as error:  # a model may refuse a clip in any way: too short, say
            _LOG.warning("%s: no score: %s: %s", name, type(error).__name__, error)
    return scores


def pesq_rate(sample_rate: int) -> int:
    """The rate at which PESQ compares clips of a rate.

    Args:
        sample_rate: Hz.

    Returns:
        16,000 Hz, wide band; 8,000 Hz, narrow band, of clips that have no more.
    """
    return max(MODELS["pesq"].rates) if sample_rate >= 16_000 else min(MODELS["pesq"].rates)


def _load(model: Model) -> Any:
    with extras.importing(model.module):
        return importlib.import_module(model.module)


def _pesq(module: Any, clip: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float | None:
    mode = "wb" if sample_rate == 16_000 else "nb"
    code = module.PesqError.RETURN_VALUES
    value = float(module.pesq(sample_rate, clip, decoded, mode, on_error=code))
    return None if value < 0 else value  # -1: no utterance was found


def _visqol(clip: np.ndarray, decoded: np.ndarray, sample_rate: int, *, speech: bool) -> float:
    import soxr

    # ViSQOL compares at 16 kHz in its speech mode and at 48 kHz in its audio mode.
    rate = _SPEECH_RATE if speech else _AUDIO_RATE
    one, other = (soxr.resample(signal, sample_rate, rate) for signal in (clip, decoded))
    with _LOCK:  # the object keeps state between the steps of a measurement
        return float(_visqol_api(speech).measure_from_arrays(one, other, rate).moslqo)


@functools.lru_cache(maxsize=2)
def _visqol_api(speech: bool) -> Any:
    module = importlib.import_module("visqol")
    api = module.VisqolApi()
    api.create(mode="speech" if speech else "audio", use_lattice_model=False)
    return api
