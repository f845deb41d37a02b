"""EfficientLEAF front end: LEAF with filters in groups, as short and as seldom as they may be."""

from __future__ import annotations

import functools
import itertools
from typing import Literal, NamedTuple, TypeAlias, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import centering, checks, medians, scales
from isincnet_jax.frontends import sinc_bands
from isincnet_jax.frontends.compression import LogCompression
from isincnet_jax.linen import SettledModule
from isincnet_jax.nets import pooling
from isincnet_jax.nets.resnet import batch_norm
from isincnet_jax.typing import Waveform

Median: TypeAlias = Literal["append", "subtract", "none"]


class FilterGroup(NamedTuple):
    """Filters that share a length and a stride.

    Attributes:
        first: number of the first filter.
        last: of the one after the last.
        taps: of a filter, odd.
        stride: samples between its outputs, a divisor of the hop.
    """

    first: int
    last: int
    taps: int
    stride: int


class EfficientLeafFrontend(SettledModule):
    """EfficientLEAF: LEAF's Gabor filters, squared modulus and Gaussian pooling at a few percent.

    Filters stand in groups from low to high. Those of a group have ``window_factor`` standard
    deviations of its broadest envelope as their length, and a stride of ``stride_factor`` half
    periods of its highest centre, rounded down to a divisor of the hop; Gaussian pooling brings
    all groups to one frame per hop. Energies are compressed by a trained :class:`.LogCompression`
    ``log(1 + 10^a e)``, lose the median of each band over the clip, and are normalised per band
    over batch and time (BatchNorm), in place of PCEN's recursion.

    Frames are centred on every hop-th sample, ``ceil(time / hop_length)`` of them; beyond the ends
    there are zeros. Parameters are ``low``, ``band`` and ``width`` [num_filters], and those of
    ``compression`` and ``norm``, whose running averages are "batch_stats".

    Attributes:
        num_filters: bands.
        num_groups: of filters; 8, with the two factors below, is the paper's "Gabor 8G-opt".
        window_factor: length of filters in standard deviations of their envelopes.
        stride_factor: stride in half periods of the highest centre.
        pool_size: samples that the pooling reaches over, odd; 25 ms at 16 kHz.
        hop_length: samples between frames.
        sample_rate: Hz.
        low_hz: where the first band begins to pass at the start, as a triangle of a mel bank.
        high_hz: where the last one ends; 97.5 % of half the sample rate if None (7800 Hz).
        parametrization: of the bands, see :class:`.SincConv`.
        median: of each band over the frames: "append" has the logarithms without it as further
            channels behind the logarithms, "subtract" has these only, "none" keeps the logarithms.
        normalize: whether BatchNorm follows.
        axis_name: of the devices that share batch statistics.

    Raises:
        ValueError: for arguments out of range.

    References:
        J. Schlueter and G. Gutenbrunner, "EfficientLEAF: a faster learnable audio frontend of
            questionable use", EUSIPCO 2022, sections III-A (groups) and III-B (compression).
            https://arxiv.org/abs/2207.05508
        Departure: lengths and strides are those of the bands at the start, for shapes are fixed
            when a step is compiled; learned bands are cut to them. Pooling windows have sum 1 at
            every stride, the published ones peak 1, which makes groups of longer strides quieter.

    Example:
        >>> waveform = jnp.zeros((2, 1600), jnp.float32)
        >>> layer = EfficientLeafFrontend()
        >>> layer.init_with_output(jax.random.key(0), waveform)[0].shape
        (2, 10, 80)
    """

    num_filters: int = 40
    num_groups: int = 8
    window_factor: float = 6.0
    stride_factor: float = 16.0
    pool_size: int = 401
    hop_length: int = 160
    sample_rate: float = 16_000
    low_hz: float = 60.0
    high_hz: float | None = None
    parametrization: sinc_bands.Parametrization = "normalized"
    median: Median = "append"
    normalize: bool = True
    axis_name: str | None = None

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.check_positive_integers(
            num_filters=self.num_filters, num_groups=self.num_groups, hop_length=self.hop_length
        )
        if self.num_groups > self.num_filters:
            raise ValueError(
                f"num_groups={self.num_groups} exceeds num_filters={self.num_filters}; every group "
                "needs a filter"
            )
        if self.pool_size < 3 or self.pool_size % 2 == 0:
            raise ValueError(f"pool_size={self.pool_size} must be odd and 3 or more, say 401")
        for name in ("window_factor", "stride_factor", "sample_rate"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name}={getattr(self, name)} must be positive and finite")
        if not 0 <= self.low_hz < self._high_hz <= self.sample_rate / 2:
            raise ValueError(
                f"low_hz={self.low_hz} and high_hz={self.high_hz}: 0 <= low_hz < high_hz <= "
                f"{self.sample_rate / 2:g} must hold (Hz)"
            )
        if self.median not in get_args(Median):
            options = ", ".join(get_args(Median))
            raise ValueError(f"median={self.median!r} is unknown; use one of {options}")
        sinc_bands.check_parametrization(self.parametrization)
        super().__post_init__()

    @property
    def _high_hz(self) -> float:
        return 0.975 * self.sample_rate / 2 if self.high_hz is None else self.high_hz

    @property
    def limits(self) -> sinc_bands.BandLimits:
        """Limits of the bands, in Hz."""
        return sinc_bands.BandLimits(self.sample_rate, 0.0, 0.0)

    def _edges_hz(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower edges and full widths at half maximum at the start, Hz."""
        ends = scales.hz_to_scale(np.array([self.low_hz, self._high_hz]), scale="mel_htk")
        places = np.linspace(ends[0], ends[1], self.num_filters + 2)
        corners = scales.scale_to_hz(places, scale="mel_htk")
        # sigma = rate / (2 (base of the triangle)) samples; FWHM = rate sqrt(2 ln 2) / (pi sigma).
        base = corners[2:] - corners[:-2]
        width = 2.0 * np.sqrt(2.0 * np.log(2.0)) / np.pi * base
        high = np.minimum(corners[1:-1] + width / 2, self.sample_rate / 2)
        low = np.maximum(corners[1:-1] - width / 2, 0.0)
        return low, high - low

    @property
    def frequencies(self) -> Float[np.ndarray, " filters"]:
        """Centre frequencies of the bands at the start, Hz, float64 [num_filters]."""
        low, band = self._edges_hz()
        return low + band / 2

    @property
    def groups(self) -> tuple[FilterGroup, ...]:
        """Groups of filters, low to high."""
        _, band = self._edges_hz()
        sigma = self.sample_rate * np.sqrt(2.0 * np.log(2.0)) / (np.pi * band)
        divisors = [n for n in range(1, self.hop_length + 1) if self.hop_length % n == 0]
        ends = np.arange(self.num_groups + 1) * self.num_filters // self.num_groups
        found = []
        for first, last in itertools.pairwise(ends):
            half_period = self.sample_rate / (2.0 * np.max(self.frequencies[first:last]))
            fitting = [n for n in divisors if n <= max(1.0, self.stride_factor * half_period)]
            taps = max(3, int(self.window_factor * np.max(sigma[first:last])) // 2 * 2 + 1)
            found.append(FilterGroup(int(first), int(last), taps, fitting[-1]))
        return tuple(found)

    def frame_times(self, num_samples: int) -> Float[np.ndarray, " frames"]:
        """Times of the middles of the frames.

        Args:
            num_samples: length of the clip, 1 or more.

        Returns:
            Seconds, float64 [ceil(num_samples / hop_length)].

        Raises:
            ValueError: for an empty clip.
        """
        geometry = {"frame_length": self.pool_size, "hop_length": self.hop_length}
        return centering.frame_times(
            centering.count_frames(num_samples, center=True, **geometry),
            sample_rate=self.sample_rate,
            center=True,
            **geometry,
        )

    def setup(self) -> None:
        """Creates the parameters."""
        start = sinc_bands.parameters_from_hz(
            *self._edges_hz(), parametrization=self.parametrization, limits=self.limits
        )
        self.low, self.band, self.width = (
            self.param(name, lambda key, value=value: jnp.asarray(value, jnp.float32))
            for name, value in zip(
                ("low", "band", "width"), (*start, np.full(self.num_filters, 0.4)), strict=True
            )
        )
        self.compression = LogCompression(eps=1e-5, trainable=True)

    def bands(self) -> tuple[Float[jax.Array, " filters"], Float[jax.Array, " filters"]]:
        """Band edges in use: ``layer.apply(variables, method="bands")``.

        Returns:
            Lower and upper edges in Hz, [num_filters] each.
        """
        return sinc_bands.bands_from_parameters(
            self.low, self.band, parametrization=self.parametrization, limits=self.limits
        )

    def energies(self, waveform: Waveform) -> Float[jax.Array, "... frames filters"]:
        """Pooled energies, before the compression.

        Args:
            waveform: [..., time], float32.

        Returns:
            [..., ceil(time / hop), num_filters].

        Raises:
            TypeError: for another dtype.
            ValueError: for an empty clip.
        """
        checks.check_floating_waveform(waveform, dtype=jnp.float32)
        low, high = self.bands()
        half = self.pool_size // 2
        frames = centering.count_frames(
            waveform.shape[-1],
            frame_length=self.pool_size,
            hop_length=self.hop_length,
            center=True,
        )
        clips = jnp.reshape(jnp.asarray(waveform), (-1, waveform.shape[-1]))
        width = jnp.clip(self.width, 2.0 / self.pool_size, 0.5) * half
        parts = []
        for group in self.groups:
            own = slice(group.first, group.last)
            kernels = sinc_bands.kernels_from_bands(
                low[own],
                high[own],
                jnp.ones(group.taps, jnp.float32),
                sample_rate=self.sample_rate,
                shape="gabor",
                component="complex",
                normalization="gain",
            )
            outputs = pooling.squared_modulus(_correlate(clips, kernels, group.stride))
            # exp(-(n stride / width)^2 / 2), as many n as lie within the pool, of sum 1
            reach = half // group.stride
            place = jnp.asarray(np.arange(-reach, reach + 1) * group.stride, jnp.float32)
            taps = jnp.exp(-0.5 * (place[None] / width[own, None]) ** 2)
            taps = taps / jnp.sum(taps, axis=1, keepdims=True)
            parts.append(
                pooling.pool_frames(
                    outputs,
                    taps,
                    hop=self.hop_length // group.stride,
                    frames=frames,
                    same=True,
                    precision=lax.Precision.HIGHEST,
                )
            )
        energies = jnp.concatenate(parts, axis=-1)
        return jnp.reshape(energies, (*waveform.shape[:-1], *energies.shape[1:]))

    @nn.compact
    def __call__(
        self, waveform: Waveform, *, train: bool = False
    ) -> Float[jax.Array, "... frames channels"]:
        """Features of a waveform.

        Args:
            waveform: [..., time], float32.
            train: normalise with the statistics of the batch, which are collected; those
                collected otherwise.

        Returns:
            [..., ceil(time / hop), num_filters], twice as many channels where the median is
            appended.

        Raises:
            TypeError: for another dtype.
            ValueError: for an empty clip.
        """
        features = self.compression(self.energies(waveform))
        if self.median != "none":
            without = features - medians.low_median(features, axis=-2)
            if self.median == "append":
                without = jnp.concatenate([features, without], axis=-1)
            features = without
        if not self.normalize:
            return features
        return batch_norm(self.axis_name, train=train)(name="norm")(features)


def _correlate(clips: jax.Array, kernels: jax.Array, stride: int) -> jax.Array:
    """Correlation at every stride-th sample, zeros beyond the ends: tiles times parts of filters.

    ``y[t] = sum_j tile[t + j] . h[j stride : (j + 1) stride]``: one product has every tile with
    every part, and sums of few channels follow, where frames of overlapping tiles would be copies.
    """
    channels, taps = kernels.shape
    count = -(-clips.shape[-1] // stride)
    blocks = -(-taps // stride)
    total = (count - 1 + blocks) * stride
    left = taps // 2  # frame t begins at sample t stride - taps // 2
    edges = (left, total - left - clips.shape[-1], 0)
    padded = lax.pad(clips, jnp.zeros((), clips.dtype), [(0, 0, 0), edges])
    # Taps beyond the filter are 0; [channels, taps] to [stride, blocks * channels].
    whole = jnp.pad(kernels, ((0, 0), (0, blocks * stride - taps)))
    weights = jnp.transpose(jnp.reshape(whole, (channels, blocks, stride)), (2, 1, 0))
    product = jnp.matmul(
        jnp.reshape(padded, (-1, stride)),
        jnp.reshape(weights, (stride, blocks * channels)),
        precision=lax.Precision.HIGHEST,
    )
    parts = jnp.reshape(product, (len(clips), count - 1 + blocks, blocks, channels))
    shifted = [parts[:, block : block + count, block] for block in range(blocks)]
    return functools.reduce(jnp.add, shifted)
