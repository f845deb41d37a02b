"""Classifiers of waveforms: SincNet as published, and a small network behind any front end.

All classifiers are called in the same way: ``module.apply(variables, waveform)`` gives scores
before the softmax, ``method="features"`` gives scores and embedding (the d-vector of a chunk).
With ``train=True`` they use the statistics of the batch, averaged over the devices of
``axis_name``, and want ``mutable=["batch_stats"]`` and an rng "dropout".
"""

from __future__ import annotations

import functools
from typing import Any, Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.frontends import sinc_checks
from isincnet_jax.frontends.compression import LogCompression
from isincnet_jax.frontends.sinc_conv import SincConv
from isincnet_jax.linen import SettledModule
from isincnet_jax.nets.pooling import max_pool, squared_modulus
from isincnet_jax.nets.resnet import batch_norm
from isincnet_jax.spectrograms.pcen import PCEN
from isincnet_jax.typing import Array

Compression = Literal["none", "log", "pcen"]
_SLOPE = 0.2  # of the leaky ReLUs

_leaky = functools.partial(nn.leaky_relu, negative_slope=_SLOPE)
# U(-a, a) with a = sqrt(0.01 / (fan_in + fan_out)), and PyTorch's a = 1 / sqrt(fan_in).
_dense_init = nn.initializers.variance_scaling(0.01 / 6.0, "fan_avg", "uniform")
_conv_init = nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")


class SincNetClassifier(SettledModule):
    """SincNet: band-passes with learned edges, two convolutions, three wide layers, a softmax.

    The waveform is normalised (LayerNorm over time). Three blocks follow: convolution without
    padding (the first with sinc filters, whose output is rectified), max-pooling, LayerNorm over
    time per channel, leaky ReLU of slope 0.2. Then LayerNorm over all features, three dense layers
    with BatchNorm and leaky ReLU (their output is the d-vector), and the scores. Optimise with
    RMSprop at 1e-3 (:func:`.training.make_rmsprop`) in batches of 128 chunks of 200 ms.

    Gradients are finite on silence. The input's length is part of the parameters' shapes.

    Attributes:
        num_classes: speakers.
        sample_rate: Hz.
        num_filters: of the three convolutions.
        kernel_sizes: of the three convolutions, samples.
        pool_sizes: of the three max-poolings.
        hidden: units of the dense layers.
        parametrization: of the sinc filters: "hz" is as published, and hardly moves.
        shape: of the bands, see :data:`.shapes.SHAPES`.
        axis_name: of the devices that share batch statistics.

    Raises:
        ValueError: unless there are as many kernel sizes and pool sizes as numbers of filters.

    References:
        M. Ravanelli and Y. Bengio, "Speaker recognition from raw waveform with SincNet", SLT
            2018, section 4.2. https://arxiv.org/abs/1808.00158
        Departure: LayerNorm divides by sqrt(variance + eps) rather than by the standard deviation
            + eps, whose gradient is NaN on silence; biases of convolutions start at 0.
    """

    num_classes: int
    sample_rate: int = 16_000
    num_filters: tuple[int, ...] = (80, 60, 60)
    kernel_sizes: tuple[int, ...] = (251, 5, 5)
    pool_sizes: tuple[int, ...] = (3, 3, 3)
    hidden: tuple[int, ...] = (2048, 2048, 2048)
    parametrization: Literal["hz", "mel", "normalized"] = "hz"
    shape: str = "sinc"
    axis_name: str | None = None

    def __post_init__(self) -> None:
        """Checks the arguments."""
        self.shape = sinc_checks.settle_shape(self.shape)
        if not len(self.num_filters) == len(self.kernel_sizes) == len(self.pool_sizes) > 0:
            raise ValueError(
                f"num_filters={self.num_filters}, kernel_sizes={self.kernel_sizes}, "
                f"pool_sizes={self.pool_sizes}: give one of each for every convolution"
            )
        super().__post_init__()

    @nn.compact
    def features(self, waveform: Float[Array, "batch time"], *, train: bool = False) -> Any:
        """Scores [batch, classes] and d-vectors [batch, hidden units] of waveforms [batch, time].

        Args:
            waveform: [batch, time], of the length that the parameters were initialised with.
            train: use the statistics of the batch, not the running ones.

        Returns:
            Scores before the softmax, and the output of the last hidden layer.
        """
        # Quiet chunks are brought to the same level: eps counts for inaudible ones only.
        x = _TimeNorm(1e-12, name="input_norm")(jnp.asarray(waveform)[..., None])
        sizes = zip(self.num_filters, self.kernel_sizes, self.pool_sizes, strict=True)
        for block, (width, taps, pool) in enumerate(sizes):
            if block == 0:  # [batch, time, 1] to [batch, (time - taps + 1) // pool, filters]
                x = self._filterbank().pooled_magnitudes(x[..., 0], pool_size=pool)
            else:
                conv = nn.Conv(
                    width, (taps,), padding="VALID", kernel_init=_conv_init, name=f"conv_{block}"
                )
                x = max_pool(conv(x), pool)
            x = _leaky(_TimeNorm(name=f"norm_{block}")(x))
        # [batch, time, channels] to [batch, features]
        x = nn.LayerNorm(epsilon=1e-6, name="dense_input_norm")(lax.collapse(x, 1))
        # No bias before BatchNorm, which subtracts the mean.
        norm = functools.partial(batch_norm(self.axis_name, train=train), momentum=0.95)
        for layer, width in enumerate(self.hidden):
            dense = nn.Dense(width, use_bias=False, kernel_init=_dense_init, name=f"dense_{layer}")
            x = _leaky(norm(name=f"dense_norm_{layer}")(dense(x)))
        return nn.Dense(self.num_classes, kernel_init=_dense_init, name="classes")(x), x

    def _filterbank(self) -> nn.Module:
        return SincConv(
            num_filters=self.num_filters[0],
            kernel_size=self.kernel_sizes[0],
            sample_rate=self.sample_rate,
            padding="valid",
            parametrization=self.parametrization,
            shape=self.shape,
            name="frontend",
        )

    def __call__(
        self, waveform: Float[Array, "batch time"], *, train: bool = False
    ) -> Float[jax.Array, "batch classes"]:
        """[batch, time] to scores before the softmax [batch, classes]."""
        return self.features(waveform, train=train)[0]


class _TimeNorm(SettledModule):
    """LayerNorm over the time of each channel, with a weight and bias for each of both.

    ``(x - mean) / sqrt(variance + epsilon) * scale + bias``: Flax's LayerNorm with
    ``reduction_axes=-2``, ``feature_axes=(-2, -1)`` and its names, but for the gradients of scale
    and bias: sums over the batch, for which XLA reads the batch once per element on CPUs. Weights
    that reach the batch by a product with ones get them as a product with ones, three times as
    fast.
    """

    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[batch, time, channels] to the same."""
        centred = lax.optimization_barrier(x - jnp.mean(x, axis=1, keepdims=True))
        variance = jnp.mean(centred**2, axis=1, keepdims=True)
        normalised = centred * lax.rsqrt(variance + self.epsilon)
        batch, *features = x.shape
        ones = jnp.ones((batch, 1), x.dtype)
        scale, bias = (
            jnp.reshape(
                jnp.matmul(
                    ones,
                    jnp.reshape(self.param(name, start, features, jnp.float32), (1, -1)),
                    precision=lax.Precision.HIGHEST,
                ),
                x.shape,
            )
            for name, start in (("scale", nn.initializers.ones), ("bias", nn.initializers.zeros))
        )
        return normalised * scale + bias


class BandEnergies(SettledModule):
    """A filterbank as a front end: squared outputs, averaged over time.

    Attributes:
        filterbank: waveform [..., time] to [..., frames, channels]; two or more frames for each of
            the result give smooth energies.
        pool: frames that are averaged; what is left over at the end is dropped.
        is_complex: the first half of the channels are cosines, the second half sines: their
            squares are added.
    """

    filterbank: nn.Module
    pool: int = 1
    is_complex: bool = False

    @nn.compact
    def __call__(self, waveform: Float[Array, "... time"]) -> Float[jax.Array, "... frames bins"]:
        """Waveform [..., time] to energies [..., frames, bins], not negative."""
        outputs = self.filterbank(waveform)
        energies = squared_modulus(outputs) if self.is_complex else outputs**2
        # [..., frames * pool, bins] to [..., frames, pool, bins], the mean of each pool
        frames = energies.shape[-2] // self.pool
        kept = energies[..., : frames * self.pool, :]
        shape = (*kept.shape[:-2], frames, self.pool, kept.shape[-1])
        return jnp.mean(kept.reshape(shape), axis=-2)


class AudioClassifier(SettledModule):
    """Classifier behind any front end: a compression and a small convolutional network.

    Energies are compressed, normalised per bin (BatchNorm), masked in training (SpecAugment) and
    go through blocks of a 3 x 3 convolution, BatchNorm, ReLU and 2 x 2 average-pooling. What is
    left of the bins is averaged and maximised over time (the embedding) and scored.

    Attributes:
        frontend: waveform [batch, time] to energies [batch, frames, bins], about 100 frames a
            second.
        num_classes: scores.
        compression: "log" (of the energies + ``floor``), "pcen" (trained), or "none" for front
            ends that compress by themselves, as LEAF does.
        floor: of "log"; relative to energies of the front end.
        widths: channels of the blocks.
        dropout: of the embedding.
        max_masked_frames: longest mask over time; 0 for none.
        max_masked_bins: widest mask over bins; 0 for none.
        axis_name: of the devices that share batch statistics.
        learn_frontend: whether gradients reach the front end; without, they are not computed.

    Raises:
        ValueError: for an unknown compression.

    References:
        D. S. Park et al., "SpecAugment", Interspeech 2019. https://arxiv.org/abs/1904.08779
    """

    frontend: nn.Module
    num_classes: int
    compression: Compression = "log"
    floor: float = 1e-6
    widths: tuple[int, ...] = (16, 32, 64, 128)
    dropout: float = 0.3
    max_masked_frames: int = 20
    max_masked_bins: int = 8
    axis_name: str | None = None
    learn_frontend: bool = True

    def __post_init__(self) -> None:
        """Checks the arguments."""
        if self.compression not in get_args(Compression):
            options = ", ".join(get_args(Compression))
            raise ValueError(f"compression={self.compression!r} is unknown; use {options}")
        super().__post_init__()

    @nn.compact
    def features(self, waveform: Float[Array, "batch time"], *, train: bool = False) -> Any:
        """Scores [batch, classes] and embeddings [batch, features] of waveforms [batch, time].

        Args:
            waveform: [batch, time].
            train: use the statistics of the batch, masks and dropout.

        Returns:
            Scores before the softmax, and what they are a linear function of, before dropout.
        """
        norm = batch_norm(self.axis_name, train=train)
        x = self.frontend(waveform)
        x = x if self.learn_frontend else lax.stop_gradient(x)
        if self.compression == "pcen":
            x = PCEN(initial_state="first", trainable=True, name="pcen")(x)
        elif self.compression == "log":
            x = LogCompression(eps=self.floor)(x)
        x = norm(name="input_norm")(x)
        if train:
            x = _mask(x, self.make_rng("dropout"), axis=1, widest=self.max_masked_frames)
            x = _mask(x, self.make_rng("dropout"), axis=2, widest=self.max_masked_bins)
        x = x[..., None]  # [batch, frames, bins, 1]: an image
        for block, width in enumerate(self.widths):
            x = nn.Conv(width, (3, 3), use_bias=False, name=f"conv_{block}")(x)
            x = nn.relu(norm(name=f"norm_{block}")(x))
            x = _halve(x)
        # Mean and maximum over time, [batch, bins, 2 channels], flattened
        x = jnp.concatenate([jnp.mean(x, axis=1), jnp.max(x, axis=1)], axis=-1)
        x = lax.collapse(x, 1)
        dropped = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_classes, name="classes")(dropped), x

    def __call__(
        self, waveform: Float[Array, "batch time"], *, train: bool = False
    ) -> Float[jax.Array, "batch classes"]:
        """[batch, time] to scores before the softmax [batch, classes]."""
        return self.features(waveform, train=train)[0]


def _halve(image: jax.Array) -> jax.Array:
    """Averages over 2 x 2, over less where an axis has only 1; an odd last row is dropped."""
    # [batch, rows * tall, columns * wide, channels] to [batch, rows, tall, columns, wide, channels]
    batch, *sizes, channels = image.shape
    (tall, rows), (wide, columns) = ((min(2, size), max(1, size // 2)) for size in sizes)
    image = image[:, : tall * rows, : wide * columns]
    return jnp.mean(image.reshape(batch, rows, tall, columns, wide, channels), axis=(2, 4))


def _mask(x: jax.Array, key: jax.Array, *, axis: int, widest: int) -> jax.Array:
    """Sets a stretch of 0 to ``widest`` along an axis to 0, another one in every item."""
    if not widest:
        return x
    width_key, start_key = jax.random.split(key)
    size = x.shape[axis]
    # width ~ U{0 ... widest}, start ~ U{0 ... size - width}, one of each for every item
    width = jax.random.randint(width_key, (x.shape[0], 1), 0, min(widest, size) + 1)
    start = jax.random.randint(start_key, (x.shape[0], 1), 0, size - width + 1)
    place = jnp.arange(size)
    masked = (place >= start) & (place < start + width)
    shape = [x.shape[0], *(size if other == axis else 1 for other in range(1, x.ndim))]
    return jnp.where(masked.reshape(shape), 0.0, x)
