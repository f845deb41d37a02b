"""Public names of isincnet_jax, and the modules that they are loaded from on first use."""

from .bank.analysis import Analysis as Analysis
from .bank.bucketing import BucketedCodec as BucketedCodec
from .bank.bucketing import bucket_length as bucket_length
from .bank.codec import Codec as Codec
from .bank.codec import build_codec as build_codec
from .bank.concealment import conceal as conceal
from .bank.decoder_spec import DecoderSpec as DecoderSpec
from .bank.design import frame_bounds as frame_bounds
from .bank.design import suggest_invertible as suggest_invertible
from .bank.lapped_bank import LappedBank as LappedBank
from .bank.lapped_codec import LappedCodec as LappedCodec
from .bank.lapped_codec import build_lapped_codec as build_lapped_codec
from .bank.lapped_spec import LappedSpec as LappedSpec
from .bank.learned_inverse import with_exact_decoder as with_exact_decoder
from .bank.optimization import optimize_bank as optimize_bank
from .bank.quantizer import Quantizer as Quantizer
from .bank.sincnet import SincNet as SincNet
from .bank.solve import NotInvertibleWarning as NotInvertibleWarning
from .bank.spec import FilterbankSpec as FilterbankSpec
from .bank.synthesis import Synthesis as Synthesis
from .bridges.nnx import from_nnx as from_nnx
from .bridges.nnx import to_nnx as to_nnx
from .bridges.torch_function import torch_function as torch_function
from .constant_q.invertible import InvertibleCQT as InvertibleCQT
from .constant_q.invertible import SlicedCQT as SlicedCQT
from .constant_q.layers import CQT as CQT
from .constant_q.layers import CQT1992 as CQT1992
from .constant_q.layers import VQT as VQT
from .constant_q.layers import CQT1992v2 as CQT1992v2
from .constant_q.nonuniform_bank import NonuniformBank as NonuniformBank
from .constant_q.nonuniform_bank import SlicedNonuniformBank as SlicedNonuniformBank
from .constant_q.nonuniform_codec import NonuniformCodec as NonuniformCodec
from .constant_q.nonuniform_codec import build_nonuniform_codec as build_nonuniform_codec
from .constant_q.recursive import CQT2010 as CQT2010
from .constant_q.recursive import CQT2010v2 as CQT2010v2
from .data.demo import demo_waveform as demo_waveform
from .dsp.range_projection import project_onto as project_onto
from .exports.onnx_graph import export_onnx as export_onnx
from .exports.stablehlo import export_program as export_program
from .exports.torch_module import to_torch as to_torch
from .frontends.compression import (
    LogCompression as LogCompression,
)
from .frontends.compression import (
    MuLawCompression as MuLawCompression,
)
from .frontends.efficient_leaf import EfficientLeafFrontend as EfficientLeafFrontend
from .frontends.leaf import LeafFrontend as LeafFrontend
from .frontends.sinc_conv import SincConv as SincConv
from .host_memory import keep_memory as keep_memory
from .inversynth.networks import InverSynth as InverSynth
from .inversynth.sound_matching import match_sound as match_sound
from .nets.pooling import GaussianPooling as GaussianPooling
from .nets.upsampling import UpsampleConv as UpsampleConv
from .pretrained.folder import export_pretrained as export_pretrained
from .pretrained.hub import from_pretrained as from_pretrained
from .pretrained.push import push_to_hub as push_to_hub
from .pretrained.reference import load_reference as load_reference
from .pretrained.registry import PRESETS as PRESETS
from .pretrained.trained import load_inversynth as load_inversynth
from .recordings.decoder import decode_file as decode_file
from .recordings.encoder import encode_file as encode_file
from .recordings.folders import decode_folder as decode_folder
from .recordings.folders import encode_folder as encode_folder
from .recordings.id_sequences import decode_ids as decode_ids
from .recordings.id_sequences import encode_ids as encode_ids
from .recordings.round_trip import reconstruct_file as reconstruct_file
from .spectrograms.cfp import CFP as CFP
from .spectrograms.chroma import Chroma as Chroma
from .spectrograms.gammatone import Gammatonegram as Gammatonegram
from .spectrograms.griffin_lim import GriffinLim as GriffinLim
from .spectrograms.inverse_mel import InverseGammatone as InverseGammatone
from .spectrograms.inverse_mel import InverseMel as InverseMel
from .spectrograms.inverse_stft import InverseSTFT as InverseSTFT
from .spectrograms.mel import MFCC as MFCC
from .spectrograms.mel import MelSpectrogram as MelSpectrogram
from .spectrograms.pcen import PCEN as PCEN
from .spectrograms.stft import STFT as STFT
from .spectrograms.time_scale import PitchShift as PitchShift
from .spectrograms.time_scale import TimeStretch as TimeStretch
from .streaming.low_latency import low_latency_codec as low_latency_codec
from .streaming.stream import stream_decoder as stream_decoder
from .streaming.stream import stream_encoder as stream_encoder
from .tokens.refined_decoder import RefinedDecoder as RefinedDecoder
from .tokens.token_codec import TokenCodec as TokenCodec
from .tokens.token_ids import TokenIds as TokenIds
from .vocoders.compression import (
    check_spectrogram as check_spectrogram,
)
from .vocoders.compression import (
    spectrogram_features as spectrogram_features,
)
from .vocoders.discriminators import (
    MultiPeriodDiscriminator as MultiPeriodDiscriminator,
)
from .vocoders.discriminators import (
    MultiResolutionDiscriminator as MultiResolutionDiscriminator,
)
from .vocoders.discriminators import (
    VocoderDiscriminator as VocoderDiscriminator,
)
from .vocoders.mel_presets import mel_preset as mel_preset
from .vocoders.networks.cnn import CNNVocoder as CNNVocoder
from .vocoders.networks.convnext import ConvNeXtVocoder as ConvNeXtVocoder
from .vocoders.networks.istftnet import ISTFTNet as ISTFTNet
from .vocoders.networks.magnitude import MagnitudeVocoder as MagnitudeVocoder
from .vocoders.networks.phase_gradient import PhaseGradientVocoder as PhaseGradientVocoder
from .vocoders.online import stream_vocoder as stream_vocoder

__version__: str
