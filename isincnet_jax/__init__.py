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
    "BucketedCodec": "isincnet_jax.models.bucketing",
    "CFP": "isincnet_jax.layers.cfp",
    "CNNVocoder": "isincnet_jax.models.cnn_vocoder",
    "CQT": "isincnet_jax.layers.constant_q",
    "CQT1992": "isincnet_jax.layers.constant_q",
    "CQT1992v2": "isincnet_jax.layers.constant_q",
    "CQT2010": "isincnet_jax.layers.recursive_cqt",
    "CQT2010v2": "isincnet_jax.layers.recursive_cqt",
    "Chroma": "isincnet_jax.layers.chroma",
    "Codec": "isincnet_jax.models.autoencoder",
    "ConvNeXtVocoder": "isincnet_jax.models.convnext_vocoder",
    "DecoderSpec": "isincnet_jax.layers.decoder_spec",
    "FilterbankSpec": "isincnet_jax.layers.spec",
    "Gammatonegram": "isincnet_jax.layers.gammatone",
    "GaussianPooling": "isincnet_jax.layers.pooling",
    "GriffinLim": "isincnet_jax.layers.griffin_lim",
    "ISTFTNet": "isincnet_jax.models.istft_vocoder",
    "InverSynth": "isincnet_jax.models.inversynth",
    "InverseGammatone": "isincnet_jax.layers.inverse_mel",
    "InverseMel": "isincnet_jax.layers.inverse_mel",
    "InverseSTFT": "isincnet_jax.layers.inverse_stft",
    "InvertibleCQT": "isincnet_jax.layers.invertible_cqt",
    "LeafFrontend": "isincnet_jax.layers.leaf",
    "LogCompression": "isincnet_jax.layers.compression",
    "MFCC": "isincnet_jax.layers.mel",
    "MelSpectrogram": "isincnet_jax.layers.mel",
    "MuLawCompression": "isincnet_jax.layers.compression",
    "MagnitudeVocoder": "isincnet_jax.models.magnitude_vocoder",
    "MultiPeriodDiscriminator": "isincnet_jax.models.discriminators",
    "MultiResolutionDiscriminator": "isincnet_jax.models.discriminators",
    "NotInvertibleWarning": "isincnet_jax.layers.decoding",
    "PCEN": "isincnet_jax.layers.pcen",
    "PRESETS": "isincnet_jax.pretrained.hub",
    "PhaseGradientVocoder": "isincnet_jax.models.phase_gradient_vocoder",
    "PitchShift": "isincnet_jax.layers.time_scale",
    "Quantizer": "isincnet_jax.layers.quantizer",
    "RefinedDecoder": "isincnet_jax.models.refined_decoder",
    "STFT": "isincnet_jax.layers.stft",
    "SincConv": "isincnet_jax.layers.sinc_conv",
    "SincNet": "isincnet_jax.layers.sincnet",
    "SlicedCQT": "isincnet_jax.layers.invertible_cqt",
    "Synthesis": "isincnet_jax.layers.synthesis",
    "TimeStretch": "isincnet_jax.layers.time_scale",
    "TokenCodec": "isincnet_jax.models.token_codec",
    "UpsampleConv": "isincnet_jax.layers.upsampling",
    "VQT": "isincnet_jax.layers.constant_q",
    "VocoderDiscriminator": "isincnet_jax.models.discriminators",
    "bucket_length": "isincnet_jax.models.bucketing",
    "build_codec": "isincnet_jax.models.autoencoder",
    "check_spectrogram": "isincnet_jax.dsp.vocoder_features",
    "demo_waveform": "isincnet_jax.data.demo",
    "export_pretrained": "isincnet_jax.pretrained.folder",
    "export_program": "isincnet_jax.pretrained.exporting",
    "frame_bounds": "isincnet_jax.layers.design",
    "from_pretrained": "isincnet_jax.pretrained.hub",
    "load_inversynth": "isincnet_jax.pretrained.inversynth",
    "load_reference": "isincnet_jax.pretrained.reference",
    "low_latency_codec": "isincnet_jax.models.low_latency",
    "spectrogram_features": "isincnet_jax.dsp.vocoder_features",
    "stream_decoder": "isincnet_jax.models.streaming",
    "stream_encoder": "isincnet_jax.models.streaming",
    "suggest_invertible": "isincnet_jax.layers.design",
    "with_exact_decoder": "isincnet_jax.layers.learned_inverse",
}

__all__ = [
    "CFP",
    "CQT",
    "CQT1992",
    "CQT2010",
    "MFCC",
    "PCEN",
    "PRESETS",
    "STFT",
    "VQT",
    "Analysis",
    "BucketedCodec",
    "CNNVocoder",
    "CQT1992v2",
    "CQT2010v2",
    "Chroma",
    "Codec",
    "ConvNeXtVocoder",
    "DecoderSpec",
    "FilterbankSpec",
    "Gammatonegram",
    "GaussianPooling",
    "GriffinLim",
    "ISTFTNet",
    "InverSynth",
    "InverseGammatone",
    "InverseMel",
    "InverseSTFT",
    "InvertibleCQT",
    "LeafFrontend",
    "LogCompression",
    "MagnitudeVocoder",
    "MelSpectrogram",
    "MuLawCompression",
    "MultiPeriodDiscriminator",
    "MultiResolutionDiscriminator",
    "NotInvertibleWarning",
    "PhaseGradientVocoder",
    "PitchShift",
    "Quantizer",
    "RefinedDecoder",
    "SincConv",
    "SincNet",
    "SlicedCQT",
    "Synthesis",
    "TimeStretch",
    "TokenCodec",
    "UpsampleConv",
    "VocoderDiscriminator",
    "__version__",
    "bucket_length",
    "build_codec",
    "check_spectrogram",
    "demo_waveform",
    "export_pretrained",
    "export_program",
    "frame_bounds",
    "from_pretrained",
    "load_inversynth",
    "load_reference",
    "low_latency_codec",
    "spectrogram_features",
    "stream_decoder",
    "stream_encoder",
    "suggest_invertible",
    "with_exact_decoder",
]

if TYPE_CHECKING:
    from isincnet_jax.data.demo import demo_waveform
    from isincnet_jax.dsp.vocoder_features import check_spectrogram, spectrogram_features
    from isincnet_jax.layers.analysis import Analysis
    from isincnet_jax.layers.cfp import CFP
    from isincnet_jax.layers.chroma import Chroma
    from isincnet_jax.layers.compression import LogCompression, MuLawCompression
    from isincnet_jax.layers.constant_q import CQT, CQT1992, VQT, CQT1992v2
    from isincnet_jax.layers.decoder_spec import DecoderSpec
    from isincnet_jax.layers.decoding import NotInvertibleWarning
    from isincnet_jax.layers.design import frame_bounds, suggest_invertible
    from isincnet_jax.layers.gammatone import Gammatonegram
    from isincnet_jax.layers.griffin_lim import GriffinLim
    from isincnet_jax.layers.inverse_mel import InverseGammatone, InverseMel
    from isincnet_jax.layers.inverse_stft import InverseSTFT
    from isincnet_jax.layers.invertible_cqt import InvertibleCQT, SlicedCQT
    from isincnet_jax.layers.leaf import LeafFrontend
    from isincnet_jax.layers.learned_inverse import with_exact_decoder
    from isincnet_jax.layers.mel import MFCC, MelSpectrogram
    from isincnet_jax.layers.pcen import PCEN
    from isincnet_jax.layers.pooling import GaussianPooling
    from isincnet_jax.layers.quantizer import Quantizer
    from isincnet_jax.layers.recursive_cqt import CQT2010, CQT2010v2
    from isincnet_jax.layers.sinc_conv import SincConv
    from isincnet_jax.layers.sincnet import SincNet
    from isincnet_jax.layers.spec import FilterbankSpec
    from isincnet_jax.layers.stft import STFT
    from isincnet_jax.layers.synthesis import Synthesis
    from isincnet_jax.layers.time_scale import PitchShift, TimeStretch
    from isincnet_jax.layers.upsampling import UpsampleConv
    from isincnet_jax.models.autoencoder import Codec, build_codec
    from isincnet_jax.models.bucketing import BucketedCodec, bucket_length
    from isincnet_jax.models.cnn_vocoder import CNNVocoder
    from isincnet_jax.models.convnext_vocoder import ConvNeXtVocoder
    from isincnet_jax.models.discriminators import (
        MultiPeriodDiscriminator,
        MultiResolutionDiscriminator,
        VocoderDiscriminator,
    )
    from isincnet_jax.models.inversynth import InverSynth
    from isincnet_jax.models.istft_vocoder import ISTFTNet
    from isincnet_jax.models.low_latency import low_latency_codec
    from isincnet_jax.models.magnitude_vocoder import MagnitudeVocoder
    from isincnet_jax.models.phase_gradient_vocoder import PhaseGradientVocoder
    from isincnet_jax.models.refined_decoder import RefinedDecoder
    from isincnet_jax.models.streaming import stream_decoder, stream_encoder
    from isincnet_jax.models.token_codec import TokenCodec
    from isincnet_jax.pretrained.exporting import export_program
    from isincnet_jax.pretrained.folder import export_pretrained
    from isincnet_jax.pretrained.hub import PRESETS, from_pretrained
    from isincnet_jax.pretrained.inversynth import load_inversynth
    from isincnet_jax.pretrained.reference import load_reference


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'isincnet_jax' has no attribute {name!r}")
    value = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
