"""InverSynth: from the waveform of a synthesizer to the settings that made it.

A network has two parts: a front end that makes a picture [frames, bins] of the waveform, and a
body that makes scores of it, 16 for each of the 23 parameters. The published ones are in
:data:`NETWORKS`, by name: C1 to C6, C6XL (a logarithmic STFT and 2-D convolutions), CE2E and
CE2E_2D (four learned 1-D convolutions instead of the STFT), and the mixer, which is ours.

References:
    O. Barkan, D. Tsiris, N. Koenigstein and O. Katz, "InverSynth: deep estimation of synthesizer
        parameter configurations from audio signals", IEEE/ACM TASLP 27(12), 2019, section IV and
        table II. https://arxiv.org/abs/1812.06349
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank.analysis import Analysis
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp import checks
from isincnet_jax.inversynth import features as inversynth_features
from isincnet_jax.inversynth.features import NUM_SAMPLES
from isincnet_jax.linen import SettledModule, TrainedModel
from isincnet_jax.nets.mixer import Mixer
from isincnet_jax.nets.pooling import squared_modulus
from isincnet_jax.nets.strided_convolution import StridedConv
from isincnet_jax.typing import Array, Waveform

Picture = Float[Array, "batch frames bins"]

_HIDDEN = 512


class Layer(NamedTuple):
    """A 2-D convolution C(F, K1, K2, S1, S2): features, taps and strides of frames and bins."""

    features: int
    frame_taps: int
    bin_taps: int
    frame_stride: int
    bin_stride: int


class WaveformLayer(NamedTuple):
    """A 1-D convolution (F, K, S): features, taps, stride."""

    features: int
    taps: int
    stride: int


class Network(NamedTuple):
    """Network's layers.

    Attributes:
        layers: 2-D convolutions of the body; none: the body is a :class:`.mixer.Mixer`.
        waveform_layers: 1-D convolutions instead of the logarithmic STFT.
    """

    layers: tuple[Layer, ...]
    waveform_layers: tuple[WaveformLayer, ...] = ()


def _layers(*numbers: tuple[int, int, int, int, int]) -> tuple[Layer, ...]:
    return tuple(Layer(*row) for row in numbers)


_C6 = _layers(
    (32, 3, 3, 2, 2),
    (71, 3, 3, 2, 2),
    (128, 3, 4, 2, 3),
    (128, 3, 3, 2, 2),
    (128, 3, 3, 2, 2),
    (128, 3, 3, 1, 2),
)
_WAVEFORM = (
    WaveformLayer(96, 64, 4),
    WaveformLayer(96, 32, 4),
    WaveformLayer(128, 16, 4),
    WaveformLayer(257, 8, 4),
)

NETWORKS: dict[str, Network] = {
    "C1": Network(_layers((38, 13, 26, 13, 26))),
    "C2": Network(_layers((35, 6, 7, 5, 6), (87, 6, 9, 5, 8))),
    "C3": Network(_layers((32, 4, 5, 3, 4), (98, 4, 6, 3, 5), (128, 4, 6, 3, 5))),
    "C4": Network(
        _layers((32, 3, 4, 2, 3), (65, 3, 4, 2, 3), (105, 3, 4, 2, 3), (128, 4, 5, 3, 4))
    ),
    "C5": Network(
        _layers(
            (32, 3, 3, 2, 2),
            (98, 3, 3, 2, 2),
            (128, 3, 4, 2, 3),
            (128, 3, 5, 2, 4),
            (128, 3, 3, 2, 2),
        )
    ),
    "C6": Network(_C6),
    "C6XL": Network(
        _layers(
            (64, 3, 3, 2, 2),
            (128, 3, 3, 2, 2),
            (128, 3, 4, 2, 3),
            (128, 3, 3, 2, 2),
            (256, 3, 3, 2, 2),
            (256, 3, 3, 1, 2),
        )
    ),
    "CE2E": Network(_C6, _WAVEFORM),
    "CE2E_2D": Network(
        (*_C6[:-2], *(layer._replace(frame_taps=1, bin_taps=1) for layer in _C6[-2:])), _WAVEFORM
    ),
    "mixer": Network(()),
}
"""The published networks and ours, by name."""
"""Every network, by name. All but "mixer" are the paper's."""


def network_named(name: str) -> Network:
    """Network of a name.

    Args:
        name: a key of :data:`NETWORKS`.

    Returns:
        Its layers.

    Raises:
        ValueError: listing the known ones.
    """
    if name not in NETWORKS:
        raise ValueError(f"network={name!r} is unknown; use {', '.join(NETWORKS)}")
    return NETWORKS[name]


class InverSynth(SettledModule):
    """Waveform to scores of the levels of every parameter.

    Convolutions have SAME padding and ReLU; a dense layer of 512 with ReLU and one of all scores
    follow. There is no pooling and no dropout.

    The dense layers tie the parameters to the length of the waveform: 1 s.

    Attributes:
        network: a name of :data:`NETWORKS`.
        spec: of a sinc bank whose log magnitudes, scaled like the STFT's, are the front end
            instead of the network's own; None for that.
        learnable_filters: whether the bank's centres and bandwidths are learned.
        num_parameters: of the synthesizer.
        num_levels: of each parameter.
        dtype: of waveforms and of the computation.
        precision: of the products on accelerators.

    Raises:
        ValueError: for an unknown network, ``learnable_filters`` without a bank, a bank of another
            sample rate, another dtype than float32 and float64, or sizes below 1.

    References:
        See the docstring of the module.

    Departure:
        A convolution's start is He's (the paper names none). The mixer and the bank are ours.

    Example:
        >>> model = InverSynth("C3")
        >>> waveform = jnp.zeros((2, 16_384), jnp.float32)
        >>> jax.eval_shape(model.init_with_output, jax.random.key(0), waveform)[0].shape
        (2, 23, 16)
    """

    network: str = "C6XL"
    spec: FilterbankSpec | None = None
    learnable_filters: bool = False
    num_parameters: int = 23
    num_levels: int = 16
    dtype: Any = jnp.float32
    precision: lax.PrecisionLike = None

    def __post_init__(self) -> None:
        """Checks the arguments."""
        network_named(self.network)
        if self.learnable_filters and self.spec is None:
            raise ValueError(
                "learnable_filters=True: there is no bank; give the spec of one, or use False"
            )
        if self.spec is not None and self.spec.sample_rate != inversynth_features.SAMPLE_RATE:
            raise ValueError(
                f"spec.sample_rate={self.spec.sample_rate}: sounds have "
                f"{inversynth_features.SAMPLE_RATE} Hz; use that"
            )
        if jnp.dtype(self.dtype) not in (jnp.float32, jnp.float64):
            raise ValueError(
                f"dtype={jnp.dtype(self.dtype).name}: use float32 or float64; Fourier transforms "
                "have no other"
            )
        if self.num_parameters < 1 or self.num_levels < 2:
            raise ValueError(
                f"num_parameters={self.num_parameters}, num_levels={self.num_levels}: a "
                "synthesizer has a parameter or more, of 2 levels or more"
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, waveform: Waveform) -> Float[jax.Array, "... parameters levels"]:
        """Scores before softmax or sigmoid.

        Args:
            waveform: [..., 16384], ``dtype``: one second at 16,384 Hz.

        Returns:
            [..., num_parameters, num_levels].

        Raises:
            TypeError: for another dtype.
            ValueError: for another length.
        """
        checks.check_floating_waveform(waveform, dtype=self.dtype)
        if waveform.shape[-1] != NUM_SAMPLES:
            raise ValueError(
                f"waveform.shape={tuple(waveform.shape)}: the network takes {NUM_SAMPLES} samples; "
                "resample to 16384 Hz, then pad or crop to 1 s"
            )
        # Any leading axes are one batch inside.
        leading = waveform.shape[:-1]
        picture = self._front_end(jnp.reshape(jnp.asarray(waveform), (-1, NUM_SAMPLES)))
        scores = self._body(picture)
        return jnp.reshape(scores, (*leading, self.num_parameters, self.num_levels))

    def _front_end(self, waveform: jax.Array) -> jax.Array:
        """[batch, time] to [batch, frames, bins]."""
        if self.spec is not None:
            bank = Analysis(
                self.spec,
                learnable=self.learnable_filters,
                dtype=self.dtype,
                precision=self.precision,
                name="analysis",
            )
            found = bank(waveform)
            # [batch, frames, bins]: cos^2 + sin^2 of a complex bank.
            power = squared_modulus(found) if self.spec.component == "complex" else found**2
            return inversynth_features.scaled_log(power)
        layers = network_named(self.network).waveform_layers
        if not layers:
            return inversynth_features.log_stft(waveform)
        # 1-D convolutions as 2-D ones over [batch, time, 1, features].
        sequence = waveform[:, :, None, None]
        for number, layer in enumerate(layers):
            conv = self._conv(layer.features, (layer.taps, 1), (layer.stride, 1), f"wave_{number}")
            sequence = nn.relu(conv(sequence))
        return sequence[:, :, 0, :]

    def _body(self, picture: jax.Array) -> jax.Array:
        """[batch, frames, bins] to [batch, scores]."""
        num_scores = self.num_parameters * self.num_levels
        layers = network_named(self.network).layers
        if not layers:
            return Mixer(num_scores, dtype=self.dtype, precision=self.precision, name="mixer")(
                picture
            )
        # [batch, frames, bins, 1]: frames and bins are the image's sides.
        image = picture[..., None]
        for number, layer in enumerate(layers):
            taps = (layer.frame_taps, layer.bin_taps)
            strides = (layer.frame_stride, layer.bin_stride)
            image = nn.relu(self._conv(layer.features, taps, strides, f"conv_{number}")(image))
        # [batch, frames bins features], without pooling.
        values = lax.collapse(image, 1)
        values = nn.relu(self._dense(_HIDDEN, "hidden")(values))
        return self._dense(num_scores, "scores")(values)

    def _conv(
        self, features: int, taps: tuple[int, int], strides: tuple[int, int], name: str
    ) -> StridedConv:
        return StridedConv(
            features, taps, strides, dtype=self.dtype, precision=self.precision, name=name
        )

    def _dense(self, features: int, name: str) -> nn.Dense:
        precision: Any = self.precision  # Flax's own type lacks algorithms
        return nn.Dense(features, dtype=self.dtype, precision=precision, name=name)


@flax.struct.dataclass(eq=False)
class TrainedInverSynth(TrainedModel[InverSynth]):
    """InverSynth with its variables, float32: a frozen pytree, see :class:`.linen.TrainedModel`."""

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return inversynth_features.SAMPLE_RATE

    @property
    def num_samples(self) -> int:
        """Of the waveforms it takes."""
        return NUM_SAMPLES

    def scores(self, waveform: Waveform) -> Float[jax.Array, "... parameters levels"]:
        """Scores of the levels of every parameter, see :class:`InverSynth`.

        Args:
            waveform: [..., 16384], floating: one second at 16,384 Hz.

        Returns:
            [..., 23, 16], before softmax or sigmoid.

        Raises:
            ValueError: for another length.
        """
        return _scores(self.model, self.variables, jnp.asarray(waveform, self.model.dtype))


@functools.partial(jax.jit, static_argnames=("model",))
def _scores(model: InverSynth, variables: Any, waveform: jax.Array) -> jax.Array:
    return model.apply(variables, waveform)  # type: ignore[return-value]
