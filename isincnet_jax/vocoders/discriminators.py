"""Discriminators of waveforms: by period and by resolution, for adversarial training.

Every discriminator gives logits [batch, n] and a list of feature maps. Convolutions are weight
normalised (direction and length of every output's kernel are separate parameters) unless
``weight_norm=False``, which leaves them plain.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import checks, spectral_distances
from isincnet_jax.linen import SettledModule
from isincnet_jax.typing import Array

_SLOPE = 0.1
_leaky = functools.partial(nn.leaky_relu, negative_slope=_SLOPE)


class Judgement(NamedTuple):
    """Judgement of clips by discriminators.

    Attributes:
        logits: [batch, n] of every discriminator, large for what sounds recorded.
        features: for every discriminator, the feature maps after every layer.
    """

    logits: list[jax.Array]
    features: list[list[jax.Array]]


def fold(
    waveform: Float[Array, "batch time"], period: int
) -> Float[jax.Array, "batch rows period 1"]:
    """Rows of ``period`` samples, the clip padded by reflection to whole rows.

    Args:
        waveform: [batch, time], at least one sample.
        period: samples per row, at least 1.

    Returns:
        [batch, ceil(time / period), period, 1].

    Example:
        >>> fold(jnp.arange(5.0)[None], 3)[0, ..., 0]
        Array([[0., 1., 2.],
               [3., 4., 3.]], dtype=float32)
    """
    batch, time = waveform.shape
    # Reflection needs as many samples as it makes; shorter clips repeat the last one.
    missing = -time % period
    mode = "reflect" if missing < time else "edge"
    # Row r, column c is sample r period + c: a kernel of one column sees every period-th sample.
    padded = jnp.pad(waveform, [(0, 0), (0, missing)], mode=mode)
    return padded.reshape(batch, padded.shape[1] // period, period, 1)


def _check_sizes(**sizes: tuple[int, ...]) -> None:
    for name, values in sizes.items():
        if not values:
            raise ValueError(f"{name}=() must hold at least one size")
        for value in values:
            checks.check_positive_integers(**{name: value})


class _ImageCritic(SettledModule):
    """Convolutions over [batch, height, width, channels] with leaky ReLUs, and one to logits.

    Attributes:
        widths: channels of the layers.
        kernels: sizes of their kernels, and of the last layer's.
        strides: of the layers; the last layer's is 1.
        weight_norm: whether kernels are weight normalised.
        dtype: of the computation.
    """

    widths: tuple[int, ...]
    kernels: tuple[tuple[int, int], ...]
    strides: tuple[tuple[int, int], ...]
    weight_norm: bool
    dtype: Any

    @nn.compact
    def __call__(self, image: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        maps = []
        for index, width in enumerate((*self.widths, 1)):
            last = index == len(self.widths)
            kernel = self.kernels[index]
            conv: Any = nn.Conv(
                width,
                kernel,
                strides=(1, 1) if last else self.strides[index],
                padding=[(size // 2, size // 2) for size in kernel],
                dtype=self.dtype,
                name=f"conv_{index}",
            )
            if self.weight_norm:
                conv = nn.WeightNorm(conv, name=f"norm_{index}")
            image = conv(image)
            if not last:
                image = _leaky(image)
            maps.append(image)
        # Logits [batch, height width].
        return lax.collapse(image, 1), maps


class MultiPeriodDiscriminator(SettledModule):
    """Clips folded at several periods into images, each judged by its own convolutions.

    A period p puts every p-th sample into a column; kernels never join columns. Clips are padded by
    reflection to whole periods. With the defaults it has 41.1 million parameters.

    Attributes:
        periods: samples, primes so that they overlap little.
        widths: channels of the layers, all but the last of stride 3.
        taps: rows of the kernels; 3 in the last layer.
        weight_norm: whether kernels are weight normalised.
        dtype: of the computation.

    Raises:
        ValueError: for periods or widths below 1, or none.

    References:
        J. Kong, J. Kim and J. Bae, "HiFi-GAN", NeurIPS 2020, section 2.3 and appendix A.
            https://arxiv.org/abs/2010.05646

    Example:
        >>> critic = MultiPeriodDiscriminator(periods=(2, 3), widths=(4, 8))
        >>> waveform = jnp.zeros((1, 600))
        >>> said, _ = jax.eval_shape(critic.init_with_output, jax.random.key(0), waveform)
        >>> len(said.logits)  # one for each period
        2
    """

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    widths: tuple[int, ...] = (32, 128, 512, 1024, 1024)
    taps: int = 5
    weight_norm: bool = True
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Checks the arguments."""
        _check_sizes(periods=self.periods, widths=self.widths)
        super().__post_init__()

    @nn.compact
    def __call__(self, waveform: Float[Array, "batch time"]) -> Judgement:
        """Judges clips.

        Args:
            waveform: [batch, time], floating.

        Returns:
            Logits and feature maps of every critic.
        """
        checks.check_floating_waveform(waveform)
        layers = len(self.widths)
        # Along rows only, as the kernels: columns stay apart.
        strides = [(3, 1)] * (layers - 1) + [(1, 1)]
        kernels = [(self.taps, 1)] * layers + [(3, 1)]
        said = []
        for period in self.periods:
            critic = _ImageCritic(
                self.widths,
                tuple(kernels),
                tuple(strides),
                self.weight_norm,
                self.dtype,
                name=f"period_{period}",
            )
            said.append(critic(fold(jnp.asarray(waveform, self.dtype), period)))
        return Judgement(*(list(parts) for parts in zip(*said, strict=True)))


class MultiResolutionDiscriminator(SettledModule):
    """Magnitude spectrograms at several resolutions, each judged by its own convolutions.

    Magnitudes are those of :func:`.spectral_distances.magnitude`: finite gradients on silence.

    Attributes:
        resolutions: of the STFTs.
        widths: channels of the layers; all but the first and the last halve the bins.
        weight_norm: whether kernels are weight normalised.
        dtype: of the computation.

    Raises:
        ValueError: for no resolutions, or widths below 1.

    References:
        W. Jang et al., "UnivNet: a neural vocoder with multi-resolution spectrogram discriminators
            for high-fidelity waveform generation", Interspeech 2021, section 2.2.
            https://arxiv.org/abs/2106.07889

    Example:
        >>> critic = MultiResolutionDiscriminator(widths=(4, 4))
        >>> waveform = jnp.zeros((1, 4000))
        >>> said, _ = jax.eval_shape(critic.init_with_output, jax.random.key(0), waveform)
        >>> len(said.logits) == len(critic.resolutions)
        True
    """

    resolutions: tuple[spectral_distances.Resolution, ...] = spectral_distances.RESOLUTIONS
    widths: tuple[int, ...] = (32, 32, 32, 32, 32)
    weight_norm: bool = True
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Checks the arguments."""
        _check_sizes(widths=self.widths)
        if not self.resolutions:
            raise ValueError("resolutions=() gives nothing to judge; name at least one")
        super().__post_init__()

    @nn.compact
    def __call__(self, waveform: Float[Array, "batch time"]) -> Judgement:
        """Judges clips.

        Args:
            waveform: [batch, time], floating.

        Returns:
            Logits and feature maps of every critic.
        """
        checks.check_floating_waveform(waveform)
        layers = len(self.widths)
        # 3 x 9 kernels while bins are many, 3 x 3 in the last layer and for the logits.
        kernels = [(3, 9)] * (layers - 1) + [(3, 3), (3, 3)]
        strides = [(1, 1), *[(1, 2)] * (layers - 2), (1, 1)][:layers]
        said = []
        for resolution in self.resolutions:
            critic = _ImageCritic(
                self.widths,
                tuple(kernels),
                tuple(strides),
                self.weight_norm,
                self.dtype,
                name="resolution_" + "_".join(map(str, resolution)),
            )
            image = spectral_distances.magnitude(jnp.asarray(waveform, self.dtype), resolution)
            said.append(critic(image[..., None]))
        return Judgement(*(list(parts) for parts in zip(*said, strict=True)))


class VocoderDiscriminator(SettledModule):
    """A multi-period and a multi-resolution discriminator, their judgements put end to end.

    Attributes:
        by_period: the first.
        by_resolution: the second.

    Example:
        >>> critic = VocoderDiscriminator(
        ...     MultiPeriodDiscriminator(periods=(2,), widths=(4,)),
        ...     MultiResolutionDiscriminator(widths=(4,)),
        ... )
        >>> waveform = jnp.zeros((1, 4000))
        >>> said, _ = jax.eval_shape(critic.init_with_output, jax.random.key(0), waveform)
        >>> len(said.logits)
        4
    """

    by_period: MultiPeriodDiscriminator = MultiPeriodDiscriminator()
    by_resolution: MultiResolutionDiscriminator = MultiResolutionDiscriminator()

    @nn.compact
    def __call__(self, waveform: Float[Array, "batch time"]) -> Judgement:
        """Judges clips.

        Args:
            waveform: [batch, time], floating.

        Returns:
            Logits and feature maps of every critic.
        """
        one, other = self.by_period(waveform), self.by_resolution(waveform)
        return Judgement(one.logits + other.logits, one.features + other.features)
