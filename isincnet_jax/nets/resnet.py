"""ResNet-18, frames first and channels last, for spectrograms as images.

References:
    K. He et al., "Deep residual learning for image recognition", CVPR 2016, table 1 and section
        4.2 (the stem for small images). https://arxiv.org/abs/1512.03385
    K. He et al., "Spatial pyramid pooling in deep convolutional networks for visual recognition",
        ECCV 2014, section 2.2. https://arxiv.org/abs/1406.4729
"""

from __future__ import annotations

import functools
from typing import Any, Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.linen import SettledModule
from isincnet_jax.typing import Array

Stem = Literal["imagenet", "small"]

_he = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def _adaptive_bins(size: int, bins: int) -> list[tuple[int, int]]:
    """Bins of adaptive pooling: bin i of n is ``floor(i size / n) .. ceil((i + 1) size / n)``.

    Example:
        >>> _adaptive_bins(10, 3)
        [(0, 4), (3, 7), (6, 10)]
    """
    return [(i * size // bins, -(-(i + 1) * size // bins)) for i in range(bins)]


def adaptive_average(
    sequence: Float[Array, "batch time channels"], bins: int
) -> Float[jax.Array, "batch bins channels"]:
    """Averages over adaptive bins along time, as PyTorch's ``AdaptiveAvgPool1d``.

    The widths of the bins differ by one sample at most; they are read as windows of the largest
    width whose last sample may count 0.

    Args:
        sequence: [batch, time, channels].
        bins: at least 1; more than there are samples repeat samples.

    Returns:
        [batch, bins, channels], of the same dtype.
    """
    size = sequence.shape[1]
    if size % bins == 0:
        # Bins of equal width, without overlap.
        return jnp.mean(
            sequence.reshape(len(sequence), bins, size // bins, sequence.shape[2]), axis=2
        )
    ranges = np.array(_adaptive_bins(size, bins))
    width = int(np.max(ranges[:, 1] - ranges[:, 0]))
    # [bins, width]: samples of the windows, and 1 / bin width where they lie in the bin.
    index = ranges[:, :1] + np.arange(width)
    weights = (index < ranges[:, 1:]) / (ranges[:, 1:] - ranges[:, :1])
    windows = sequence[:, np.minimum(index, size - 1)]
    return jnp.einsum("bowc,ow->boc", windows, weights.astype(sequence.dtype))


def pyramid_pool(
    image: Float[Array, "batch height width channels"], levels: tuple[int, ...]
) -> Float[jax.Array, "batch features"]:
    """Spatial pyramid pooling: maxima over n x n adaptive bins for every level n, end to end.

    Args:
        image: [batch, height, width, channels], of any size.
        levels: bins along each axis.

    Returns:
        [batch, channels * sum of n^2].
    """
    pooled = [
        jnp.max(image[:, top:bottom, left:right], axis=(1, 2))
        for level in levels
        for top, bottom in _adaptive_bins(image.shape[1], level)
        for left, right in _adaptive_bins(image.shape[2], level)
    ]
    return jnp.concatenate(pooled, axis=-1)


class ResidualBlock(SettledModule):
    """Residual block: two 3 x 3 convolutions and a way around them.

    Attributes:
        width: channels of the result.
        stride: of the first convolution; unless it is 1 and the width stays, the way around is a
            1 x 1 convolution.
        axis_name: of the devices that share batch statistics.
    """

    width: int
    stride: int = 1
    axis_name: str | None = None

    @nn.compact
    def __call__(self, image: Float[Array, "batch h w c"], *, train: bool = False) -> jax.Array:
        """[batch, height, width, channels] to [batch, height / stride, width / stride, width]."""
        norm = batch_norm(self.axis_name, train=train)
        conv = functools.partial(nn.Conv, self.width, use_bias=False, kernel_init=_he)
        strides = (self.stride, self.stride)
        main = conv((3, 3), strides=strides, padding=1, name="conv_0")(image)
        main = nn.relu(norm(name="norm_0")(main))
        main = conv((3, 3), padding=1, name="conv_1")(main)
        # From zero the block is the identity at the start, which is easier to train.
        main = norm(name="norm_1", scale_init=nn.initializers.zeros)(main)
        if self.stride != 1 or image.shape[-1] != self.width:
            image = conv((1, 1), strides=strides, name="conv_around")(image)
            image = norm(name="norm_around")(image)
        return nn.relu(main + image)


class ResNet(SettledModule):
    """ResNet-18 (with two blocks per stage) up to the class scores.

    With 3 input channels and 10 classes it has 11,181,642 parameters with the stem "imagenet" (a
    7 x 7 convolution of stride 2 and a max-pooling of stride 2), 11,173,962 with "small" (a 3 x 3
    convolution of stride 1, for images like CIFAR's), without the pyramid.

    Attributes:
        num_classes: scores.
        widths: channels of the stages; all but the first halve the image.
        blocks: per stage.
        stem: "imagenet" or "small".
        pyramid: levels of :func:`pyramid_pool` in place of the global average; none if empty.
        dropout: of the features before the scores.
        axis_name: of the devices that share batch statistics.

    Raises:
        ValueError: for an unknown stem, or levels below 1.
    """

    num_classes: int
    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: int = 2
    stem: Stem = "imagenet"
    pyramid: tuple[int, ...] = ()
    dropout: float = 0.0
    axis_name: str | None = None

    def __post_init__(self) -> None:
        """Checks the arguments."""
        if self.stem not in get_args(Stem):
            raise ValueError(f"stem={self.stem!r} is unknown; use {' or '.join(get_args(Stem))}")
        if any(level < 1 for level in self.pyramid):
            raise ValueError(f"pyramid={self.pyramid}: levels are 1 or more, (1, 2, 4) say")
        super().__post_init__()

    @nn.compact
    def features(self, image: Float[Array, "batch h w c"], *, train: bool = False) -> Any:
        """Class scores of images, and the features that they are made of.

        Args:
            image: [batch, height, width, channels].
            train: whether statistics are those of the batch, and dropout acts.

        Returns:
            Scores before the softmax [batch, num_classes], and features before dropout
            [batch, widths[-1]], times the sum of n^2 with a pyramid.
        """
        norm = batch_norm(self.axis_name, train=train)
        conv = functools.partial(nn.Conv, self.widths[0], use_bias=False, kernel_init=_he)
        if self.stem == "imagenet":
            image = conv((7, 7), strides=(2, 2), padding=3, name="stem")(image)
        else:
            image = conv((3, 3), padding=1, name="stem")(image)
        image = nn.relu(norm(name="stem_norm")(image))
        if self.stem == "imagenet":
            # As PyTorch pads: one pixel on all sides, which "SAME" does not.
            edges: Any = ((1, 1), (1, 1))  # Flax's annotation knows names of paddings only
            image = nn.max_pool(image, (3, 3), strides=(2, 2), padding=edges)
        for stage, width in enumerate(self.widths):
            for block in range(self.blocks):
                image = ResidualBlock(
                    width,
                    stride=2 if stage and not block else 1,
                    axis_name=self.axis_name,
                    name=f"stage_{stage}_block_{block}",
                )(image, train=train)
        if self.pyramid:
            features = pyramid_pool(image, self.pyramid)
        else:
            features = jnp.mean(image, axis=(1, 2))
        dropped = nn.Dropout(self.dropout, deterministic=not train)(features)
        return nn.Dense(self.num_classes, name="classes")(dropped), features

    def __call__(
        self, image: Float[Array, "batch h w c"], *, train: bool = False
    ) -> Float[jax.Array, "batch classes"]:
        """[batch, height, width, channels] to scores before the softmax [batch, classes]."""
        return self.features(image, train=train)[0]


def batch_norm(axis_name: str | None, *, train: bool) -> Any:
    """Batch norm as PyTorch has it by default, its statistics shared by the devices of an axis.

    Args:
        axis_name: of the devices; None for one device. It is used in training only.
        train: statistics of the batch, which are collected; those collected otherwise.

    Returns:
        ``nn.BatchNorm`` with everything but the name.
    """
    return functools.partial(
        nn.BatchNorm,
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        axis_name=axis_name if train else None,
    )
