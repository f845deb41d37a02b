"""LEAF front end: Gabor filters, squared modulus, Gaussian pooling and PCEN, all of it learned."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp import centering
from isincnet_jax.frontends import sinc_bands
from isincnet_jax.frontends.sinc_conv import SincConv
from isincnet_jax.linen import SettledModule
from isincnet_jax.nets.pooling import GaussianPooling, squared_modulus
from isincnet_jax.spectrograms.pcen import PCEN
from isincnet_jax.typing import Waveform


class LeafFrontend(SettledModule):
    """LEAF, a learnable audio front end: an assembly of four layers.

    ``filterbank``, a complex :class:`.SincConv` of Gabor filters at every sample with response 1
    in the middle of their bands; :func:`.pooling.squared_modulus`; ``pooling``, a
    :class:`.GaussianPooling` to one frame per hop; ``compression``, a trained :class:`.PCEN`.
    Parameters stand under these names.

    Attributes:
        num_filters: bands.
        kernel_size: taps of filters and pooling, odd; 25 ms at 16 kHz.
        hop_length: samples between frames.
        sample_rate: Hz.
        low_hz: lower edge of the first band at the start.
        high_hz: upper edge of the last one; 97.5 % of half the sample rate if None (7800 Hz).
        parametrization: of the bands, see :class:`.SincConv`.

    Raises:
        ValueError: for arguments out of range.

    References:
        N. Zeghidour et al., "LEAF: a learnable frontend for audio classification", ICLR 2021.
            https://arxiv.org/abs/2101.08596
        Departure: LEAF clips the widths of its Gabor filters and energies below 1e-5, where
            gradients vanish; here any width above 0 is allowed and PCEN's eps is the floor.
            Frames are centred on every hop-th sample, LEAF's half a hop later. Bands adjoin at
            the start, LEAF's are half as wide again.

    Example:
        >>> import jax.numpy as jnp
        >>> waveform = jnp.zeros((2, 1600), jnp.float32)
        >>> LeafFrontend().init_with_output(jax.random.key(0), waveform)[0].shape
        (2, 10, 40)
    """

    num_filters: int = 40
    kernel_size: int = 401
    hop_length: int = 160
    sample_rate: float = 16_000
    low_hz: float = 60.0
    high_hz: float | None = None
    parametrization: sinc_bands.Parametrization = "normalized"

    def __post_init__(self) -> None:
        """Checks the arguments: those of the layers that it consists of."""
        self._filterbank(None)
        self._pooling(None)
        super().__post_init__()

    @property
    def frequencies(self) -> Float[np.ndarray, " filters"]:
        """Centre frequencies of the bands at the start, Hz, float64 [num_filters]."""
        return self._filterbank(None).frequencies

    def frame_times(self, num_samples: int) -> Float[np.ndarray, " frames"]:
        """Times of the middles of the frames.

        Args:
            num_samples: length of the clip, 1 or more.

        Returns:
            Seconds, float64 [ceil(num_samples / hop_length)].

        Raises:
            ValueError: for an empty clip.
        """
        return centering.frame_times(
            self._pooling(None).count_frames(num_samples),
            frame_length=self.kernel_size,
            hop_length=self.hop_length,
            sample_rate=self.sample_rate,
            center=True,
        )

    @nn.compact
    def __call__(self, waveform: Waveform) -> Float[jax.Array, "... frames filters"]:
        """Features of a waveform.

        Args:
            waveform: [..., time], float32.

        Returns:
            [..., ceil(time / hop), num_filters].
        """
        # [..., time, 2 filters] to [..., time, filters]: cosine^2 + sine^2.
        pairs = self._filterbank("filterbank")(waveform)
        energies = self._pooling("pooling")(squared_modulus(pairs))
        return PCEN(
            sample_rate=self.sample_rate,
            hop_length=self.hop_length,
            gain=0.96,
            bias=2.0,
            power=0.5,
            b=0.04,
            initial_state="first",
            trainable=True,
            name="compression",
        )(energies)

    def _filterbank(self, name: str | None) -> SincConv:
        high_hz = 0.975 * self.sample_rate / 2 if self.high_hz is None else self.high_hz
        return SincConv(
            num_filters=self.num_filters,
            kernel_size=self.kernel_size,
            sample_rate=self.sample_rate,
            padding="same",
            min_low_hz=0.0,
            min_band_hz=0.0,
            low_hz=self.low_hz,
            high_hz=high_hz,
            parametrization=self.parametrization,
            normalization="gain",
            shape="gabor",
            component="complex",
            window="rectangular",
            **_placed(name),
        )

    def _pooling(self, name: str | None) -> GaussianPooling:
        return GaussianPooling(
            kernel_size=self.kernel_size,
            hop_length=self.hop_length,
            normalization="peak",
            **_placed(name),
        )


def _placed(name: str | None) -> dict[str, Any]:
    """Arguments that make a layer a named part of the module at work, or one that stands alone."""
    return {"parent": None} if name is None else {"name": name}
