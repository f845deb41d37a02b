"""isincnet_jax: invertible, learnable filterbanks for audio in JAX.

A waveform goes through a filterbank, becomes a real signed spectrogram, may be quantised, and
comes back. The public names below are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "Analysis": "isincnet_jax.bank.analysis",
    "BucketedCodec": "isincnet_jax.bank.bucketing",
    "CFP": "isincnet_jax.spectrograms.cfp",
    "CNNVocoder": "isincnet_jax.vocoders.networks.cnn",
    "CQT": "isincnet_jax.constant_q.layers",
    "CQT1992": "isincnet_jax.constant_q.layers",
    "CQT1992v2": "isincnet_jax.constant_q.layers",
    "CQT2010": "isincnet_jax.constant_q.recursive",
    "CQT2010v2": "isincnet_jax.constant_q.recursive",
    "Chroma": "isincnet_jax.spectrograms.chroma",
    "Codec": "isincnet_jax.bank.codec",
    "ConvNeXtVocoder": "isincnet_jax.vocoders.networks.convnext",
    "DecoderSpec": "isincnet_jax.bank.decoder_spec",
    "FilterbankSpec": "isincnet_jax.bank.spec",
    "Gammatonegram": "isincnet_jax.spectrograms.gammatone",
    "GaussianPooling": "isincnet_jax.nets.pooling",
    "GriffinLim": "isincnet_jax.spectrograms.griffin_lim",
    "ISTFTNet": "isincnet_jax.vocoders.networks.istftnet",
    "InverSynth": "isincnet_jax.inversynth.networks",
    "InverseGammatone": "isincnet_jax.spectrograms.inverse_mel",
    "InverseMel": "isincnet_jax.spectrograms.inverse_mel",
    "InverseSTFT": "isincnet_jax.spectrograms.inverse_stft",
    "InvertibleCQT": "isincnet_jax.constant_q.invertible",
    "LeafFrontend": "isincnet_jax.frontends.leaf",
    "LogCompression": "isincnet_jax.frontends.compression",
    "MFCC": "isincnet_jax.spectrograms.mel",
    "MelSpectrogram": "isincnet_jax.spectrograms.mel",
    "MuLawCompression": "isincnet_jax.frontends.compression",
    "MagnitudeVocoder": "isincnet_jax.vocoders.networks.magnitude",
    "MultiPeriodDiscriminator": "isincnet_jax.vocoders.discriminators",
    "MultiResolutionDiscriminator": "isincnet_jax.vocoders.discriminators",
    "NotInvertibleWarning": "isincnet_jax.bank.solve",
    "PCEN": "isincnet_jax.spectrograms.pcen",
    "PRESETS": "isincnet_jax.pretrained.hub",
    "PhaseGradientVocoder": "isincnet_jax.vocoders.networks.phase_gradient",
    "PitchShift": "isincnet_jax.spectrograms.time_scale",
    "Quantizer": "isincnet_jax.bank.quantizer",
    "RefinedDecoder": "isincnet_jax.tokens.refined_decoder",
    "STFT": "isincnet_jax.spectrograms.stft",
    "SincConv": "isincnet_jax.frontends.sinc_conv",
    "SincNet": "isincnet_jax.bank.sincnet",
    "SlicedCQT": "isincnet_jax.constant_q.invertible",
    "Synthesis": "isincnet_jax.bank.synthesis",
    "TimeStretch": "isincnet_jax.spectrograms.time_scale",
    "TokenCodec": "isincnet_jax.tokens.token_codec",
    "UpsampleConv": "isincnet_jax.nets.upsampling",
    "VQT": "isincnet_jax.constant_q.layers",
    "VocoderDiscriminator": "isincnet_jax.vocoders.discriminators",
    "bucket_length": "isincnet_jax.bank.bucketing",
    "build_codec": "isincnet_jax.bank.codec",
    "check_spectrogram": "isincnet_jax.vocoders.compression",
    "demo_waveform": "isincnet_jax.data.demo",
    "export_pretrained": "isincnet_jax.pretrained.folder",
    "export_program": "isincnet_jax.pretrained.exporting",
    "frame_bounds": "isincnet_jax.bank.design",
    "from_pretrained": "isincnet_jax.pretrained.hub",
    "load_inversynth": "isincnet_jax.pretrained.inversynth",
    "load_reference": "isincnet_jax.pretrained.reference",
    "low_latency_codec": "isincnet_jax.streaming.low_latency",
    "spectrogram_features": "isincnet_jax.vocoders.compression",
    "stream_decoder": "isincnet_jax.streaming.stream",
    "stream_encoder": "isincnet_jax.streaming.stream",
    "suggest_invertible": "isincnet_jax.bank.design",
    "with_exact_decoder": "isincnet_jax.bank.learned_inverse",
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
    from isincnet_jax.bank.analysis import Analysis
    from isincnet_jax.bank.bucketing import BucketedCodec, bucket_length
    from isincnet_jax.bank.codec import Codec, build_codec
    from isincnet_jax.bank.decoder_spec import DecoderSpec
    from isincnet_jax.bank.design import frame_bounds, suggest_invertible
    from isincnet_jax.bank.learned_inverse import with_exact_decoder
    from isincnet_jax.bank.quantizer import Quantizer
    from isincnet_jax.bank.sincnet import SincNet
    from isincnet_jax.bank.solve import NotInvertibleWarning
    from isincnet_jax.bank.spec import FilterbankSpec
    from isincnet_jax.bank.synthesis import Synthesis
    from isincnet_jax.constant_q.invertible import InvertibleCQT, SlicedCQT
    from isincnet_jax.constant_q.layers import CQT, CQT1992, VQT, CQT1992v2
    from isincnet_jax.constant_q.recursive import CQT2010, CQT2010v2
    from isincnet_jax.data.demo import demo_waveform
    from isincnet_jax.frontends.compression import LogCompression, MuLawCompression
    from isincnet_jax.frontends.leaf import LeafFrontend
    from isincnet_jax.frontends.sinc_conv import SincConv
    from isincnet_jax.inversynth.networks import InverSynth
    from isincnet_jax.nets.pooling import GaussianPooling
    from isincnet_jax.nets.upsampling import UpsampleConv
    from isincnet_jax.pretrained.exporting import export_program
    from isincnet_jax.pretrained.folder import export_pretrained
    from isincnet_jax.pretrained.hub import PRESETS, from_pretrained
    from isincnet_jax.pretrained.inversynth import load_inversynth
    from isincnet_jax.pretrained.reference import load_reference
    from isincnet_jax.spectrograms.cfp import CFP
    from isincnet_jax.spectrograms.chroma import Chroma
    from isincnet_jax.spectrograms.gammatone import Gammatonegram
    from isincnet_jax.spectrograms.griffin_lim import GriffinLim
    from isincnet_jax.spectrograms.inverse_mel import InverseGammatone, InverseMel
    from isincnet_jax.spectrograms.inverse_stft import InverseSTFT
    from isincnet_jax.spectrograms.mel import MFCC, MelSpectrogram
    from isincnet_jax.spectrograms.pcen import PCEN
    from isincnet_jax.spectrograms.stft import STFT
    from isincnet_jax.spectrograms.time_scale import PitchShift, TimeStretch
    from isincnet_jax.streaming.low_latency import low_latency_codec
    from isincnet_jax.streaming.stream import stream_decoder, stream_encoder
    from isincnet_jax.tokens.refined_decoder import RefinedDecoder
    from isincnet_jax.tokens.token_codec import TokenCodec
    from isincnet_jax.vocoders.compression import check_spectrogram, spectrogram_features
    from isincnet_jax.vocoders.discriminators import (
        MultiPeriodDiscriminator,
        MultiResolutionDiscriminator,
        VocoderDiscriminator,
    )
    from isincnet_jax.vocoders.networks.cnn import CNNVocoder
    from isincnet_jax.vocoders.networks.convnext import ConvNeXtVocoder
    from isincnet_jax.vocoders.networks.istftnet import ISTFTNet
    from isincnet_jax.vocoders.networks.magnitude import MagnitudeVocoder
    from isincnet_jax.vocoders.networks.phase_gradient import PhaseGradientVocoder


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'isincnet_jax' has no attribute {name!r}")
    value = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
