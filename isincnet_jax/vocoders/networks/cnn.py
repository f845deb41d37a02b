"""CNNVocoder: spectrogram to waveform by convolutions and linear upsampling."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from isincnet_jax.dsp import checks
from isincnet_jax.linen import SettledModule
from isincnet_jax.nets.resnet import batch_norm
from isincnet_jax.nets.upsampling import UpsampleConv
from isincnet_jax.typing import Array, Waveform
from isincnet_jax.vocoders import blocks
from isincnet_jax.vocoders.networks.network import VocoderNetwork
from isincnet_jax.vocoders.networks.residual_blocks import ImageConv, ResidualRun, ResidualUnit, elu


class _ImageStem(SettledModule):
    """Convolution of an image, BatchNorm, ELU."""

    width: int
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        image = ImageConv(self.width, dtype=self.dtype, name="conv")(image)
        norm = batch_norm(self.axis_name, train=train)
        return elu(norm(name="norm", dtype=self.dtype, axis=1)(image))


class _Stage(SettledModule):
    """Upsampling by two, convolution, BatchNorm, ELU, residual blocks."""

    width: int
    num_blocks: int
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, sequence: jax.Array, *, train: bool) -> jax.Array:
        sequence = UpsampleConv(self.width, dtype=self.dtype, name="conv")(sequence)
        norm = batch_norm(self.axis_name, train=train)
        sequence = elu(norm(name="norm", dtype=self.dtype)(sequence))
        if not self.num_blocks:
            return sequence
        run = ResidualRun(
            self.num_blocks, dtype=self.dtype, axis_name=self.axis_name, name="blocks"
        )
        return run(sequence, train=train)


def image_runs(widths: tuple[int, ...]) -> list[tuple[int, bool, int]]:
    """Runs of residual blocks after the first convolution, grouped by width.

    Args:
        widths: channels of the first convolution, then of every block.

    Returns:
        The width, whether the first block changes the width, and how many keep it.

    Example:
        >>> image_runs((1, 1, 1, 2, 2))
        [(1, False, 2), (2, True, 1)]
    """
    runs, before = [], widths[0]
    for width, same in itertools.groupby(widths[1:]):
        changes = width != before
        runs.append((width, changes, len(list(same)) - changes))
        before = width
    return runs


class _Head(SettledModule):
    """Everything between the spectrogram and the softsign: [batch, time] before and after."""

    image_widths: tuple[int, ...]
    widths: tuple[int, ...]
    stage_blocks: int
    post_blocks: int
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        common = {"dtype": self.dtype, "axis_name": self.axis_name}
        # An image of one channel: [batch, 1, frames, bins].
        image = features[:, None]
        image = _ImageStem(self.image_widths[0], **common, name="image_stem")(image, train=train)
        for index, (width, changes, count) in enumerate(image_runs(self.image_widths)):
            if changes:
                unit = ResidualUnit(width, as_image=True, **common, name=f"image_unit_{index}")
                image = unit(image, train=train)
            if count:
                run = ResidualRun(count, as_image=True, **common, name=f"image_run_{index}")
                image = run(image, train=train)
        batch, channels, frames, bins = image.shape
        # [batch, channels, frames, bins] to [batch, frames, channels bins]: bins become channels.
        sequence = jnp.moveaxis(image, 1, 2).reshape(batch, frames, channels * bins)
        for index, width in enumerate(self.widths):
            stage = _Stage(width, self.stage_blocks, **common, name=f"stage_{index}")
            sequence = stage(sequence, train=train)
        # Both go through the same last layer; the coarse one is not refined.
        coarse = sequence
        if self.post_blocks:
            run = ResidualRun(self.post_blocks, 5, **common, name="post")
            sequence = run(sequence, train=train)
        linear = nn.Dense(
            1, kernel_init=nn.initializers.xavier_uniform(), dtype=self.dtype, name="linear"
        )
        return linear(coarse)[..., 0], linear(sequence)[..., 0]


class CNNVocoder(VocoderNetwork):
    """Spectrogram to waveform: an image network, eight doublings of the rate, a refinement.

    The normalised spectrogram (:func:`.compression.spectrogram_features`, or any features of
    that range, such as mel spectrograms of 80 bins) goes through residual blocks as an image, its
    bins become channels, every stage doubles the rate, and residual blocks refine the result. Frame
    t becomes samples ``hop t`` to ``hop (t + 1) - 1``, with ``hop = 2 ** stages``.

    In training (``train=True``, ``mutable=["batch_stats"]``) BatchNorm uses the statistics of the
    batch, else those collected: synthesis does not depend on what else is in the batch. Nothing is
    scaled to a peak: the output has the level that the network learned. With the published sizes it
    has 8.41 million parameters.

    Attributes:
        num_bins: of the features.
        image_widths: channels of the image network: a convolution, then residual blocks.
        widths: channels of the stages, each of which doubles the rate.
        stage_blocks: residual blocks in every stage; 0 as published.
        post_blocks: residual blocks of 5 taps after the stages.
        num_heads: networks whose outputs are added, each times a weight, ``a x / (1 + |b x|)``
            with learned a and b (MCNN). With one, as published, it is the plain softsign.
        dtype: of features and products; parameters are float32.
        axis_name: of the devices that share batch statistics.

    Raises:
        ValueError: for sizes below 1, or features of another shape.

    References:
        S. O. Arik, H. Jun and G. Diamos, "Fast spectrogram inversion using multi-head
            convolutional neural networks", IEEE Signal Processing Letters 26, 2019.
            https://arxiv.org/abs/1808.06719
        tuan3w, "CNNVocoder". https://github.com/tuan3w/cnn_vocoder
            Departure: batch statistics are not used at synthesis; several heads are several.

    Example:
        >>> model = CNNVocoder(num_bins=9, widths=(4, 4), post_blocks=1, image_widths=(1, 2))
        >>> features = jnp.zeros((1, 6, 9), jnp.float32)
        >>> jax.eval_shape(model.init_with_output, jax.random.key(0), features)[0].shape
        (1, 24)
    """

    num_bins: int = 1025
    image_widths: tuple[int, ...] = (1,) * 10 + (2,) * 5
    widths: tuple[int, ...] = (1024, 512, 256, 128, 64, 32, 16, 8)
    stage_blocks: int = 0
    post_blocks: int = 12
    num_heads: int = 1
    dtype: Any = jnp.float32
    axis_name: str | None = None

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.check_positive_integers(num_bins=self.num_bins, num_heads=self.num_heads)
        for name in ("image_widths", "widths"):
            sizes = getattr(self, name)
            if not sizes or min(sizes) < 1:
                raise ValueError(f"{name}={sizes} must hold at least one width of at least 1")
        if self.stage_blocks < 0 or self.post_blocks < 0:
            raise ValueError(
                f"stage_blocks={self.stage_blocks}, post_blocks={self.post_blocks}: 0 or more each"
            )
        super().__post_init__()

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return 2 ** len(self.widths)

    @nn.compact
    def outputs(
        self, features: Float[Array, "batch frames bins"], *, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Waveforms before and after the refinement.

        The published network computes both and trains the second.

        Args:
            features: [batch, frames, num_bins], in [0, 1].
            train: whether BatchNorm uses and collects the statistics of the batch.

        Returns:
            Two arrays [batch, frames * hop], within (-1, 1) with one head.
        """
        features = self._input(features)
        head = functools.partial(
            _Head,
            image_widths=self.image_widths,
            widths=self.widths,
            stage_blocks=self.stage_blocks,
            post_blocks=self.post_blocks,
            dtype=self.dtype,
            axis_name=self.axis_name,
        )
        both = [head(name=f"head_{i}")(features, train=train) for i in range(self.num_heads)]
        if self.num_heads == 1:
            coarse, fine = both[0]
            return nn.soft_sign(coarse), nn.soft_sign(fine)
        even = nn.initializers.constant(1.0 / self.num_heads)
        weights = self.param("head_weights", even, (self.num_heads,), jnp.float32)
        gain = self.param("gain", nn.initializers.ones, (), jnp.float32).astype(self.dtype)
        bend = self.param("bend", nn.initializers.ones, (), jnp.float32).astype(self.dtype)

        def scaled(waveforms: tuple[jax.Array, ...]) -> jax.Array:
            # a x / (1 + |b x|) of x = sum_h w_h x_h: MCNN's scaled softsign.
            total = jnp.einsum("h,hbt->bt", weights.astype(self.dtype), jnp.stack(waveforms))
            return gain * total / (1.0 + jnp.abs(bend * total))

        coarse, fine = zip(*both, strict=True)
        return scaled(coarse), scaled(fine)

    def _waveform(self, features: Any, *, length: int, train: bool) -> Waveform:
        return blocks.fit_length(self.outputs(features, train=train)[1], length)
