"""MS-SincResNet: three sinc filterbanks of different lengths as the colours of an image."""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from isincnet_jax.frontends import sinc_checks
from isincnet_jax.frontends.sinc_conv import SincConv
from isincnet_jax.linen import SettledModule
from isincnet_jax.nets.resnet import ResNet, Stem, adaptive_average, batch_norm
from isincnet_jax.typing import Array


class MSSincResNet(SettledModule):
    """Sinc filters of three lengths, each an image [frames, filters], and a ResNet-18 on them.

    Each bank runs at stride 1, its outputs are normalised (BatchNorm), rectified and averaged to
    ``num_frames``; the three become the channels of one image. Short filters see time, long ones
    pitch.

    The rectifier stands between filters and average, so a larger stride would not be the same:
    the samples between would be missing from the average. What makes it fit into memory is that
    nothing of a bank's [time, filters] is kept for the gradient; it is computed again (``remat``),
    which gives the same numbers for a third more arithmetic. A bank of 160 filters on 3 s at 16
    kHz is 31 MB per clip while it is computed, and 0.7 MB after.

    Attributes:
        num_classes: scores.
        sample_rate: Hz.
        num_filters: of each bank.
        kernel_sizes: of the banks, samples, odd.
        num_frames: of the image.
        parametrization: of the sinc filters: "hz" is as published, and hardly moves.
        shape: of the bands, see :data:`.shapes.SHAPES`.
        widths: channels of the ResNet's stages.
        stem: of the ResNet, see :class:`.resnet.ResNet`.
        pyramid: levels of spatial pyramid pooling; none if empty.
        dropout: of the ResNet's features.
        remat: compute the banks again for the gradient instead of keeping their outputs.
        axis_name: of the devices that share batch statistics.

    References:
        P.-C. Chang, Y.-S. Chen and C.-H. Lee, "MS-SincResNet: joint learning of 1D and 2D kernels
            using multi-scale SincNet and ResNet for music genre classification", ICMR 2021.
            https://arxiv.org/abs/2109.08910 (91.49 % on GTZAN)
    """

    num_classes: int
    sample_rate: int = 16_000
    num_filters: int = 160
    kernel_sizes: tuple[int, ...] = (251, 501, 1001)
    num_frames: int = 1024
    parametrization: Literal["hz", "mel", "normalized"] = "hz"
    shape: str = "sinc"
    widths: tuple[int, ...] = (64, 128, 256, 512)
    stem: Stem = "imagenet"
    pyramid: tuple[int, ...] = ()
    dropout: float = 0.0
    remat: bool = True
    axis_name: str | None = None

    def __post_init__(self) -> None:
        """Settles the shape: a name whose meaning can change."""
        self.shape = sinc_checks.settle_shape(self.shape)
        super().__post_init__()

    @property
    def filter_paths(self) -> tuple[str, ...]:
        """Names of the parameters that are filters, for the optimiser's own rate."""
        return tuple(f"frontend_{taps}" for taps in self.kernel_sizes)

    @nn.compact
    def image(
        self, waveform: Float[Array, "batch time"], *, train: bool = False
    ) -> Float[jax.Array, "batch frames filters banks"]:
        """Image of a waveform [batch, time], as the ResNet sees it.

        Args:
            waveform: [batch, time].
            train: use the statistics of the batch, not the running ones.

        Returns:
            float32 [batch, num_frames, num_filters, banks], 0 or more.
        """

        def bank(module: MSSincResNet, samples: jax.Array, taps: int) -> jax.Array:
            outputs = SincConv(
                num_filters=module.num_filters,
                kernel_size=taps,
                sample_rate=module.sample_rate,
                padding="same",
                parametrization=module.parametrization,
                shape=module.shape,
                name=f"frontend_{taps}",
            )(samples)
            norm = batch_norm(module.axis_name, train=train)(name=f"norm_{taps}")
            return adaptive_average(nn.relu(norm(outputs)), module.num_frames)

        if self.remat:
            bank = nn.remat(bank, static_argnums=(2,))
        samples = jnp.asarray(waveform)
        banks = [bank(self, samples, taps) for taps in self.kernel_sizes]
        return jnp.stack(banks, axis=-1)  # the banks are the colours

    @nn.compact
    def features(self, waveform: Float[Array, "batch time"], *, train: bool = False) -> Any:
        """Scores [batch, classes] and embeddings [batch, features] of waveforms [batch, time].

        Args:
            waveform: [batch, time].
            train: use the statistics of the batch, and dropout.

        Returns:
            Scores before the softmax, and embeddings; see :meth:`.resnet.ResNet.features`.
        """
        return ResNet(
            self.num_classes,
            widths=self.widths,
            stem=self.stem,
            pyramid=self.pyramid,
            dropout=self.dropout,
            axis_name=self.axis_name,
            name="resnet",
        ).features(self.image(waveform, train=train), train=train)

    def __call__(
        self, waveform: Float[Array, "batch time"], *, train: bool = False
    ) -> Float[jax.Array, "batch classes"]:
        """[batch, time] to scores before the softmax [batch, classes]."""
        return self.features(waveform, train=train)[0]
