"""MLP-Mixer for spectrograms: dense layers over frames and over channels in turns."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.linen import SettledModule
from isincnet_jax.typing import Array


class Mixer(SettledModule):
    """MLP-Mixer from a spectrogram of fixed size to scores.

    Groups of frames become vectors of ``width``. Every block adds to them what two dense layers
    make of each channel over time, then what two dense layers make of each vector. Nothing is
    assumed to look the same at other times or frequencies: sounds that all begin at 0 do not.

    Attributes:
        num_scores: of the output.
        width: of a vector.
        num_blocks: of both kinds.
        group: frames of a vector.
        expansion: of the hidden layers.
        summary: numbers per vector that the scores are made of.
        hidden: width of the layer before the scores.
        dtype: of the computation.
        precision: of the products on accelerators.

    References:
        I. Tolstikhin et al., "MLP-Mixer: an all-MLP architecture for vision", NeurIPS 2021,
            section 2. https://arxiv.org/abs/2105.01601
    """

    num_scores: int
    width: int = 256
    num_blocks: int = 4
    group: int = 2
    expansion: int = 2
    summary: int = 32
    hidden: int = 512
    dtype: Any = jnp.float32
    precision: lax.PrecisionLike = None

    @nn.compact
    def __call__(
        self, picture: Float[Array, "batch frames bins"]
    ) -> Float[jax.Array, "batch scores"]:
        """[batch, frames, bins] to [batch, num_scores]; frames beyond whole groups are dropped."""
        batch, frames, bins = picture.shape
        count = frames // self.group
        grouped = jnp.reshape(
            jnp.asarray(picture[:, : count * self.group], self.dtype),
            (batch, count, self.group * bins),
        )
        x = self._dense(self.width, "enter")(grouped)  # [batch, groups of frames, width]
        place = self.param("place", nn.initializers.normal(0.02), (count, self.width))
        x = x + jnp.asarray(place, self.dtype)
        for block in range(self.num_blocks):
            # Time last for the layers over time: [batch, width, groups].
            over_time = jnp.swapaxes(self._norm(f"time_norm_{block}")(x), 1, 2)
            over_time = self._two_layers(over_time, f"time_{block}")
            x = x + jnp.swapaxes(over_time, 1, 2)
            x = x + self._two_layers(self._norm(f"norm_{block}")(x), f"channels_{block}")
        x = self._dense(self.summary, "summary")(self._norm("last_norm")(x))
        x = nn.gelu(self._dense(self.hidden, "hidden")(lax.collapse(x, 1)))
        return self._dense(self.num_scores, "scores")(x)

    def _two_layers(self, values: jax.Array, name: str) -> jax.Array:
        width = values.shape[-1]
        hidden = nn.gelu(self._dense(self.expansion * width, f"{name}_in")(values))
        return self._dense(width, f"{name}_out")(hidden)

    def _dense(self, features: int, name: str) -> nn.Dense:
        precision: Any = self.precision  # Flax's own type lacks algorithms
        return nn.Dense(features, dtype=self.dtype, precision=precision, name=name)

    def _norm(self, name: str) -> nn.LayerNorm:
        return nn.LayerNorm(dtype=self.dtype, name=name)
