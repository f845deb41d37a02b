"""isincnet_jax: invertible, learnable filterbanks for audio in JAX.

A waveform goes through a filterbank, becomes a real signed spectrogram, may be quantised, and
comes back. The public names below are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "Analysis": "isincnet_jax.layers.analysis",
    "Codec": "isincnet_jax.models.autoencoder",
    "DecoderSpec": "isincnet_jax.layers.decoding",
    "FilterbankSpec": "isincnet_jax.layers.spec",
    "NotInvertibleWarning": "isincnet_jax.layers.decoding",
    "PRESETS": "isincnet_jax.pretrained.hub",
    "Quantizer": "isincnet_jax.layers.quantizer",
    "RefinedDecoder": "isincnet_jax.models.refined_decoder",
    "SincNet": "isincnet_jax.layers.sincnet",
    "Synthesis": "isincnet_jax.layers.synthesis",
    "TokenCodec": "isincnet_jax.models.token_codec",
    "build_codec": "isincnet_jax.models.autoencoder",
    "demo_waveform": "isincnet_jax.data.demo",
    "export_pretrained": "isincnet_jax.pretrained.folder",
    "frame_bounds": "isincnet_jax.layers.design",
    "from_pretrained": "isincnet_jax.pretrained.hub",
    "load_reference": "isincnet_jax.pretrained.reference",
    "suggest_invertible": "isincnet_jax.layers.design",
}

__all__ = [
    "PRESETS",
    "Analysis",
    "Codec",
    "DecoderSpec",
    "FilterbankSpec",
    "NotInvertibleWarning",
    "Quantizer",
    "RefinedDecoder",
    "SincNet",
    "Synthesis",
    "TokenCodec",
    "__version__",
    "build_codec",
    "demo_waveform",
    "export_pretrained",
    "frame_bounds",
    "from_pretrained",
    "load_reference",
    "suggest_invertible",
]

if TYPE_CHECKING:
    from isincnet_jax.data.demo import demo_waveform
    from isincnet_jax.layers.analysis import Analysis
    from isincnet_jax.layers.decoding import DecoderSpec, NotInvertibleWarning
    from isincnet_jax.layers.design import frame_bounds, suggest_invertible
    from isincnet_jax.layers.quantizer import Quantizer
    from isincnet_jax.layers.sincnet import SincNet
    from isincnet_jax.layers.spec import FilterbankSpec
    from isincnet_jax.layers.synthesis import Synthesis
    from isincnet_jax.models.autoencoder import Codec, build_codec
    from isincnet_jax.models.refined_decoder import RefinedDecoder
    from isincnet_jax.models.token_codec import TokenCodec
    from isincnet_jax.pretrained.folder import export_pretrained
    from isincnet_jax.pretrained.hub import PRESETS, from_pretrained
    from isincnet_jax.pretrained.reference import load_reference


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'isincnet_jax' has no attribute {name!r}")
    value = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
