"""One small instance of every public layer, and what it takes: for tests that all must pass.

``test_every_layer.py`` says which are missing. A new layer is a line here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import isincnet_jax as isn
from isincnet_jax.dsp.spectral_distances import Resolution

TIME, FRAMES, BATCH = 300, 6, 2

SPEC = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
WIENER = isn.DecoderSpec("wiener", noise_variance=1e-3)  # REAL has no exact decoder
REAL = isn.FilterbankSpec(
    sample_rate=8000, hop_length=8, num_bins=17, scale="mel", shape="gauss", component="real"
)
WIDE = SPEC.replace(num_bins=17)  # its DFTs are FFTs
REFLECT = SPEC.replace(padding="reflect")
LAPPED = isn.LappedSpec(sample_rate=8000, hop_length=16)
STFT = {"n_fft": 64, "hop_length": 16}
CQT = {"sample_rate": 8000, "hop_length": 32, "fmin": 500.0, "n_bins": 12}
MELS = {"sample_rate": 8000, **STFT, "n_mels": 8}
NETWORK = {"width": 8, "num_blocks": 1}
PERIODS = isn.MultiPeriodDiscriminator((2, 3), widths=(3, 4))
RESOLUTIONS = isn.MultiResolutionDiscriminator((Resolution(64, 16, 64),), widths=(3, 4, 3))


class Case(NamedTuple):
    """A way to call a layer.

    Attributes:
        build: makes the layer.
        shape: of the input without its batch.
        kind: "waveform" (signed), "energies" (not negative), "spectrum" (complex) or "codes".
        options: of ``apply``, ``method`` among them.
        arguments: further arrays beside the first, with their batch.
    """

    build: Callable[[], Any]
    shape: tuple[int, ...] = (TIME,)
    kind: str = "waveform"
    options: dict[str, Any] = {}  # noqa: RUF012  # never written to
    arguments: tuple[Any, ...] = ()

    def values(self, batch: int = BATCH, *, silent: bool = False) -> jax.Array:
        """An input of so many clips."""
        rng = np.random.default_rng(1)
        shape = (batch, *self.shape)
        if self.kind == "codes":
            return jnp.asarray(rng.integers(0, 7, shape), jnp.int32)
        scale = 0.0 if silent else 0.5
        real = scale * rng.uniform(-1, 1, shape).astype(np.float32)
        if self.kind == "energies":
            return jnp.asarray(np.abs(real))
        if self.kind == "spectrum":
            return jnp.asarray(real + 1j * scale * rng.uniform(-1, 1, shape), jnp.complex64)
        return jnp.asarray(real)

    def variables(self) -> Any:
        """The layer's variables."""
        return jax.jit(self._init)(jax.random.key(0))

    def variable_shapes(self) -> Any:
        """Their shapes and dtypes, for what is only traced."""
        name = next(name for name, one in CASES.items() if one is self)
        return _shapes(name)

    def _init(self, key: jax.Array) -> Any:
        return self.build().init(key, *self._inputs(self.values()), **self.options)

    def apply(self, variables: Any, values: Any) -> Any:
        """What the layer makes of values."""
        return self.build().apply(variables, *self._inputs(values), **self.options)

    def _inputs(self, values: Any) -> list[Any]:
        extra = [jnp.broadcast_to(x, (len(values), *x.shape[1:])) for x in self.arguments]
        return [values, *extra]


@functools.cache
def _shapes(name: str) -> Any:
    return jax.eval_shape(CASES[name]._init, jax.random.key(0))


def _frames(width: int, kind: str, build: Callable[[], Any], **options: Any) -> Case:
    return Case(build, (FRAMES, width), kind, options)


_DECODE = {"method": "decode", "length": TIME}
_BINS = STFT["n_fft"] // 2 + 1
_CODED = jax.eval_shape(
    functools.partial(isn.Analysis(SPEC).init_with_output, jax.random.key(0)),
    jnp.zeros((1, TIME), jnp.float32),
)[0].shape[1]
_GABOR = {"sample_rate": 8000, "fmin": 500.0, "n_bins": 12}
_NONUNIFORM = {"sample_rate": 8000, "num_bins": 12}


def _coefficients(layer: Any) -> tuple[int, ...]:
    """Shape of what a Gabor transform's ``encode`` gives, without the batch."""
    found = jax.eval_shape(
        functools.partial(layer.apply, {}, method="encode"), jnp.zeros((1, TIME), jnp.float32)
    )
    return found.shape[1:]


CASES: dict[str, Case] = {
    "Analysis": Case(lambda: isn.Analysis(SPEC)),
    "Analysis convolved": Case(lambda: isn.Analysis(REAL)),
    "Analysis learnable": Case(lambda: isn.Analysis(REAL, learnable=True, window_terms=2)),
    "Analysis free": Case(lambda: isn.Analysis(SPEC, learnable="free")),
    "CFP": Case(lambda: isn.CFP(sample_rate=8000, win_length=129, hop_length=64)),
    "CNNVocoder": _frames(
        9,
        "energies",
        lambda: isn.CNNVocoder(num_bins=9, image_widths=(1, 2), widths=(4, 4), post_blocks=1),
    ),
    "CQT": Case(lambda: isn.CQT(**CQT)),
    "CQT trainable": Case(lambda: isn.CQT(**CQT, trainable_kernels=True)),
    "CQT phase": Case(lambda: isn.CQT(**CQT, output_format="phase")),
    "CQT1992": Case(lambda: isn.CQT1992(**CQT, trainable_kernels=True)),
    "CQT1992v2": Case(lambda: isn.CQT1992v2(**CQT)),
    "CQT2010": Case(lambda: isn.CQT2010(**CQT)),
    "CQT2010v2": Case(lambda: isn.CQT2010v2(**CQT, trainable_kernels=True)),
    "VQT": Case(lambda: isn.VQT(**CQT, gamma=5.0)),
    "Chroma": Case(lambda: isn.Chroma(sample_rate=8000, **STFT)),
    "Chroma trainable": Case(lambda: isn.Chroma(sample_rate=8000, **STFT, trainable_chroma=True)),
    "ConvNeXtVocoder": _frames(
        8, "energies", lambda: isn.ConvNeXtVocoder(num_bins=8, **NETWORK, **STFT)
    ),
    "ConvNeXtVocoder phase": _frames(
        _BINS,
        "energies",
        lambda: isn.ConvNeXtVocoder(num_bins=_BINS, predict="phase", **NETWORK, **STFT),
    ),
    "EfficientLeafFrontend": Case(
        lambda: isn.EfficientLeafFrontend(
            num_filters=4, num_groups=2, pool_size=33, hop_length=16, sample_rate=8000
        )
    ),
    "Gammatonegram": Case(lambda: isn.Gammatonegram(sample_rate=8000, **STFT, n_bins=8)),
    "GaussianPooling": _frames(
        4, "energies", lambda: isn.GaussianPooling(kernel_size=5, hop_length=2)
    ),
    "GriffinLim": _frames(_BINS, "energies", lambda: isn.GriffinLim(**STFT, n_iter=2)),
    "GriffinLim random": _frames(
        _BINS, "energies", lambda: isn.GriffinLim(**STFT, n_iter=2), key=jax.random.key(0)
    ),
    "ISTFTNet": _frames(
        8,
        "energies",
        lambda: isn.ISTFTNet(
            num_bins=8, width=8, strides=(4, 2), block_taps=(3,), block_dilations=(1, 2)
        ),
    ),
    "InverSynth": Case(lambda: isn.InverSynth("C1"), (16_384,)),
    "InverseGammatone": _frames(
        8, "energies", lambda: isn.InverseGammatone(sample_rate=8000, n_fft=64, n_bins=8, n_iter=3)
    ),
    "InverseMel": _frames(
        8, "energies", lambda: isn.InverseMel(sample_rate=8000, n_fft=64, n_mels=8, n_iter=3)
    ),
    "InverseSTFT": _frames(_BINS, "spectrum", lambda: isn.InverseSTFT(**STFT)),
    "InverseSTFT trainable": _frames(
        _BINS,
        "spectrum",
        lambda: isn.InverseSTFT(**STFT, trainable_kernels=True, trainable_window=True),
    ),
    "InvertibleCQT": Case(lambda: isn.InvertibleCQT(**_GABOR)),
    "InvertibleCQT magnitude": Case(
        lambda: isn.InvertibleCQT(**_GABOR, output_format="magnitude", layout="ragged")
    ),
    "InvertibleCQT decode": Case(
        lambda: isn.InvertibleCQT(**_GABOR),
        _coefficients(isn.InvertibleCQT(**_GABOR)),
        "spectrum",
        _DECODE,
    ),
    "LappedBank": Case(lambda: isn.LappedBank(LAPPED, learnable=True)),
    "LappedBank decode": Case(
        lambda: isn.LappedBank(LAPPED),
        (LAPPED.num_frames(TIME), LAPPED.num_bins),
        options=_DECODE,
    ),
    "LeafFrontend": Case(
        lambda: isn.LeafFrontend(num_filters=4, kernel_size=33, hop_length=16, sample_rate=8000)
    ),
    "LogCompression": _frames(4, "energies", isn.LogCompression),
    "LogCompression trainable": _frames(4, "energies", lambda: isn.LogCompression(trainable=True)),
    "MFCC": Case(lambda: isn.MFCC(**MELS, n_mfcc=5, lifter=3.0)),
    "MagnitudeVocoder": _frames(
        8,
        "energies",
        lambda: isn.MagnitudeVocoder(num_bins=8, iterations=1, **NETWORK, **STFT),
    ),
    "MelSpectrogram": Case(lambda: isn.MelSpectrogram(**MELS)),
    "MelSpectrogram trainable": Case(
        lambda: isn.MelSpectrogram(**MELS, trainable_mel=True, trainable_stft=True, power=1.0)
    ),
    "MuLawCompression": _frames(4, "waveform", isn.MuLawCompression),
    "MuLawCompression trainable": _frames(
        4, "waveform", lambda: isn.MuLawCompression(trainable=True)
    ),
    "MultiPeriodDiscriminator": Case(lambda: PERIODS),
    "MultiResolutionDiscriminator": Case(lambda: RESOLUTIONS),
    "NonuniformBank": Case(lambda: isn.NonuniformBank(**_NONUNIFORM)),
    "NonuniformBank magnitude": Case(
        lambda: isn.NonuniformBank(**_NONUNIFORM, output_format="magnitude", layout="ragged")
    ),
    "NonuniformBank decode": Case(
        lambda: isn.NonuniformBank(**_NONUNIFORM),
        _coefficients(isn.NonuniformBank(**_NONUNIFORM)),
        "spectrum",
        _DECODE,
    ),
    "PCEN": _frames(4, "energies", isn.PCEN),
    "PCEN trainable": _frames(4, "energies", lambda: isn.PCEN(trainable=True)),
    "PhaseGradientVocoder": _frames(
        _BINS,
        "energies",
        lambda: isn.PhaseGradientVocoder(
            num_bins=_BINS, widths=(8,), halo_bins=2, iterations=1, **STFT
        ),
    ),
    "PitchShift": Case(lambda: isn.PitchShift(n_steps=2.0, **STFT)),
    "RefinedDecoder": Case(lambda: isn.RefinedDecoder(SPEC, iterations=1, **NETWORK)),
    "RefinedDecoder magnitudes": Case(
        lambda: isn.RefinedDecoder(SPEC, "magnitudes", iterations=1, **NETWORK)
    ),
    "STFT": Case(lambda: isn.STFT(**STFT)),
    "STFT complex": Case(lambda: isn.STFT(**STFT, output_format="complex")),
    "STFT log": Case(
        lambda: isn.STFT(sample_rate=8000, **STFT, freq_scale="log", fmin=500.0, fmax=3000.0)
    ),
    "STFT log phase": Case(
        lambda: isn.STFT(
            sample_rate=8000, **STFT, freq_scale="log", fmin=500.0, output_format="phase"
        )
    ),
    "STFT trainable": Case(lambda: isn.STFT(**STFT, trainable_kernels=True, trainable_window=True)),
    "SincConv": Case(lambda: isn.SincConv(num_filters=4, kernel_size=33, sample_rate=8000)),
    "SincConv complex": Case(
        lambda: isn.SincConv(
            num_filters=4,
            kernel_size=33,
            sample_rate=8000,
            stride=8,
            component="complex",
            shape="gabor",
            padding="same",
        )
    ),
    "SincNet": Case(lambda: isn.SincNet(SPEC)),
    "SincNet by FFTs": Case(lambda: isn.SincNet(WIDE, projections=("mel",))),
    "SincNet reflect": Case(lambda: isn.SincNet(REFLECT)),
    "SincNet learned": Case(
        lambda: isn.SincNet(REAL, WIENER, learnable_filters=True, learnable_decoder=True)
    ),
    "SlicedCQT": Case(lambda: isn.SlicedCQT(**_GABOR)),
    "SlicedCQT decode": Case(
        lambda: isn.SlicedCQT(**_GABOR),
        _coefficients(isn.SlicedCQT(**_GABOR)),
        "spectrum",
        _DECODE,
    ),
    "SlicedNonuniformBank": Case(lambda: isn.SlicedNonuniformBank(**_NONUNIFORM)),
    "SlicedNonuniformBank decode": Case(
        lambda: isn.SlicedNonuniformBank(**_NONUNIFORM),
        _coefficients(isn.SlicedNonuniformBank(**_NONUNIFORM)),
        "spectrum",
        _DECODE,
    ),
    "Synthesis": _frames(SPEC.num_channels, "waveform", lambda: isn.Synthesis(SPEC)),
    "Synthesis convolved": _frames(
        REAL.num_channels, "waveform", lambda: isn.Synthesis(REAL, WIENER)
    ),
    "TimeStretch": Case(lambda: isn.TimeStretch(rate=1.5, **STFT)),
    "TokenCodec": Case(
        lambda: isn.TokenCodec(SPEC, q_bits=4, iterations_before=1, iterations_after=1, **NETWORK)
    ),
    "TokenCodec decode": Case(
        lambda: isn.TokenCodec(SPEC, q_bits=4, iterations_before=1, iterations_after=1, **NETWORK),
        (_CODED, SPEC.num_channels),
        "codes",
        _DECODE,
        (np.full((1, 1, SPEC.num_channels), 0.5, np.float32),),
    ),
    "UpsampleConv": _frames(4, "waveform", lambda: isn.UpsampleConv(3)),
    "VocoderDiscriminator": Case(lambda: isn.VocoderDiscriminator(PERIODS, RESOLUTIONS)),
}
"""By public name, and after a space what is special about it."""
