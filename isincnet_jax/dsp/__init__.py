"""Signal processing without Flax that several concepts share; that of one stands with it."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

_MOVED = {  # what users' own code imported from here: shapes of their own, phases, features
    "decoders": "bank.dsp.decoders",
    "frames": "bank.dsp.frame_theory",
    "kernels": "bank.dsp.kernels",
    "mel_inversion": "phase.mel_inversion",
    "pcen": "spectrograms.dsp.pcen",
    "phase": "phase.retrieval",
    "phase_vocoder": "spectrograms.dsp.time_stretch",
    "shapes": "bank.dsp.shapes",
    "vocoder_features": "vocoders.compression",
}


def __getattr__(name: str) -> Any:
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place = f"isincnet_jax.{_MOVED[name]}"
    warnings.warn(f"{__name__}.{name} is {place} now", DeprecationWarning, stacklevel=2)
    return importlib.import_module(place)
