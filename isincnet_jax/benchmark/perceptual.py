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
    """

    module: str
    speech_only: bool

    @property
    def package(self) -> str:
        """That has the module."""
        return extras.OPTIONAL[self.module].name


MODELS = {
    "pesq": Model("pesq", speech_only=True),
    "stoi": Model("pystoi", speech_only=True),
    "estoi": Model("pystoi", speech_only=True),
    "visqol": Model("visqol", speech_only=False),
    "visqol_speech": Model("visqol", speech_only=True),
}
"""The perceptual models by metric."""


def usable(*, speech: bool) -> tuple[str, ...]:
    """The models that are installed and fit the content.

    Args:
        speech: whether the clips are speech.

    Returns:
        Names in :data:`MODELS`.
    """
    return tuple(
        name
        for name, model in MODELS.items()
        if (speech or not model.speech_only) and extras.is_installed(model.module)
    )


def missing_packages(*, speech: bool) -> dict[str, tuple[str, ...]]:
    """Packages that are not installed, and the models of the content that they would add.

    Args:
        speech: whether the clips are speech.

    Returns:
        Names in :data:`MODELS` by package; a run says them, and goes on without.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, model in MODELS.items():
        if (speech or not model.speech_only) and not extras.is_installed(model.module):
            found[model.package] = (*found.get(model.package, ()), name)
    return found


def missing_text(*, speech: bool) -> str:
    """What a run says of models that are not installed.

    Args:
        speech: whether the clips are speech.

    Returns:
        One line that names them and the extra; empty where nothing is missing.
    """
    names = ", ".join(itertools.chain(*missing_packages(speech=speech).values()))
    return f"not measured: {names} (pip install 'isincnet-jax[perceptual]')" if names else ""


def check(names: Iterable[str], *, speech: bool) -> None:
    """Refuses, before anything is decoded, what every clip would fail with.

    Args:
        names: of metrics that were asked for, perceptual or not; without any, the models that
            are made for speech are asked for where the clips are speech.
        speech: whether the clips are speech.

    Raises:
        ValueError: for a model that says nothing about such clips.
        ImportError: without a package, naming the extra.
    """
    asked = list(names)
    for name in asked or MODELS:
        model = MODELS.get(name)
        if model is None:
            continue
        if asked and model.speech_only and not speech:
            raise ValueError(f"metric {name!r}: {name} is made for speech; leave it out")
        if asked or (speech and model.speech_only):
            extras.require(model.module)


def score(
    name: str,
    *,
    prediction: Float[np.ndarray, " time"],
    target: Float[np.ndarray, " time"],
    sample_rate: int,
    speech: bool = True,
) -> float | None:
    """Perceptual score of one clip; None for silence and where the model finds no utterance.

    Models that compare at another rate get the clips resampled.

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
        ValueError: for an unknown model, or one that is made for speech and clips that are none.
    """
    if name not in MODELS:
        raise ValueError(f"perceptual model {name!r} is unknown; use {', '.join(MODELS)}")
    if MODELS[name].speech_only and not speech:
        raise ValueError(f"{name} is made for speech; leave it out")
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
    """Perceptual scores of one clip by all models that are installed.

    Args:
        prediction: the reconstruction, [time].
        target: the clip, [time].
        sample_rate: Hz.
        speech: whether the clip is speech; all but ViSQOL's audio mode take nothing else.

    Returns:
        Scores by name, in the order of :data:`MODELS`; None for silence, for output that is not
        finite, and where a model refuses the clip, which is logged.
    """
    scores: dict[str, float | None] = dict.fromkeys(usable(speech=speech))
    if not np.all(np.isfinite(prediction)):
        return scores
    pair: dict[str, Any] = {"prediction": prediction, "target": target}
    for name in scores:
        try:
            scores[name] = score(name, **pair, sample_rate=sample_rate, speech=speech)
        except Exception as error:  # a model may refuse a clip in any way: too short, say
            _LOG.warning("%s: no score: %s: %s", name, type(error).__name__, error)
    return scores


def _load(model: Model) -> Any:
    with extras.importing(model.module):
        return importlib.import_module(model.module)


def _pesq(module: Any, clip: np.ndarray, decoded: np.ndarray, sample_rate: int) -> float | None:
    import soxr

    # Wide band is compared at 16 kHz; what has no wide band, in narrow band at 8 kHz.
    rate, mode = (16_000, "wb") if sample_rate >= 16_000 else (8_000, "nb")
    one, other = (soxr.resample(signal, sample_rate, rate) for signal in (clip, decoded))
    code = module.PesqError.RETURN_VALUES
    value = float(module.pesq(rate, one, other, mode, on_error=code))
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
