"""Sinc convolution, SincNet's first layer: strided, with learned band-pass filters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank.dsp import shapes
from isincnet_jax.dsp import centering, checks, scales
from isincnet_jax.frontends import (
    measured_bands,
    mixed_correlation,
    pooled_correlation,
    sinc_bands,
    sinc_checks,
    symmetric_correlation,
)
from isincnet_jax.linen import SettledModule
from isincnet_jax.nets import pooling
from isincnet_jax.typing import Array, Component, Waveform


class SincConv(SettledModule):
    """Sinc convolution: band-pass filters whose edges are learned, with a stride.

    With the defaults it is SincNet's ``SincConv_fast``: the same initial filters, and the same
    output once its parameters are loaded (:meth:`load_reference`), channels last. Parameters are
    ``low`` and ``band``, [num_filters] each, and those of the shape, if it has any.

    With ``parametrization="hz"``, the reference's, filters hardly move in training: a step of 1e-3
    is 1e-3 Hz. "mel" and "normalized" start with the same filters and move them a thousand times
    as far at the same learning rate (:func:`.sinc_bands.bands_from_parameters`). All parameter
    values give finite filters and gradients.

    With ``shape="free"`` every tap is learned: the only parameter, ``taps`` [channels,
    kernel_size], starts as the filters that the other arguments describe with ``initial_shape``.
    The window, normalisation and limits are those of the start; nothing holds the taps to them.

    Frames: ``padding="valid"`` has those that lie within the clip; "same" has one at every
    ``stride``-th sample, ``ceil(time / stride)`` of them, centred on it, which is PyTorch's
    ``padding=dilation * (kernel_size // 2)``.

    Attributes:
        num_filters: bands.
        kernel_size: taps, odd.
        sample_rate: Hz.
        stride: samples between frames.
        padding: "valid" or "same", see above.
        pad_mode: what lies beyond the ends of a clip with padding "same": "constant" (zeros),
            "reflect", "edge" or "symmetric".
        dilation: samples between taps. Bands keep their names in Hz and pass ``1 / dilation`` of
            them, as in the reference.
        min_low_hz: added to every lower edge.
        min_band_hz: added to every bandwidth.
        initial_scale: the bands adjoin on this scale at the start, a name in
            :data:`.scales.SCALES`.
        low_hz: lower edge of the first band at the start, ``min_low_hz`` not counted.
        high_hz: upper edge of the last one likewise; ``sample_rate / 2 - (min_low_hz +
            min_band_hz)`` if None.
        parametrization: "hz", "mel" or "normalized".
        normalization: "reference" (1 in the middle of the envelope), "gain" (response 1 in the
            middle of the band) or "energy" (unit energy): :func:`.sinc_bands.kernels_from_bands`.
        shape: a name in :data:`.shapes.SHAPES`, or "free".
        initial_shape: of "free" filters at the start; "sinc" if None.
        component: "real", or "complex" for analytic pairs: all cosine channels, then all sines.
        window: "reference" or a window of SciPy.
        mix_channels: whether every filter learns its own mixture of the input channels; the
            parameter ``mixing`` [channels, num_filters] starts as their mean.
        dtype: of parameters, waveform and output; float64 needs ``jax_enable_x64``.
        precision: of the products on accelerators, which may otherwise use TF32 or bfloat16.

    Raises:
        ValueError: for arguments out of range, an even ``kernel_size`` among them.

    References:
        M. Ravanelli and Y. Bengio, "Speaker recognition from raw waveform with SincNet", SLT
            2018. https://arxiv.org/abs/1808.00158
        Departure: an even ``kernel_size`` is refused, where the reference adds 1; several
            channels are filtered each by itself or mixed, where the reference refuses them.

    Example:
        >>> layer = SincConv(stride=160, padding="same")
        >>> waveform = jnp.zeros((2, 16_000), jnp.float32)
        >>> variables = layer.init(jax.random.key(0), waveform)
        >>> layer.apply(variables, waveform).shape
        (2, 100, 80)
    """

    num_filters: int = 80
    kernel_size: int = 251
    sample_rate: float = 16_000
    stride: int = 1
    padding: Literal["valid", "same"] = "valid"
    pad_mode: centering.PadMode = "constant"
    dilation: int = 1
    min_low_hz: float = 50.0
    min_band_hz: float = 50.0
    initial_scale: str = "mel_htk"
    low_hz: float = 30.0
    high_hz: float | None = None
    parametrization: sinc_bands.Parametrization = "hz"
    normalization: sinc_bands.BandNormalization = "reference"
    shape: str = "sinc"
    initial_shape: str | None = None
    component: Component = "real"
    window: str = "reference"
    mix_channels: bool = False
    dtype: Any = jnp.float32
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    def __post_init__(self) -> None:
        """Checks the arguments."""
        self.initial_scale = scales.ScaleName.settle(self.initial_scale)
        if self.initial_shape is not None:
            self.initial_shape = shapes.ShapeName.settle(self.initial_shape)
        self.shape = sinc_checks.settle_shape(self.shape)
        sinc_checks.check_layer(self)
        super().__post_init__()

    @property
    def limits(self) -> sinc_bands.BandLimits:
        """Limits of the bands, in Hz."""
        return sinc_bands.BandLimits(self.sample_rate, self.min_low_hz, self.min_band_hz)

    @property
    def is_free(self) -> bool:
        """Whether every tap is a parameter."""
        return self.shape == sinc_checks.FREE

    @property
    def _symmetry(self) -> symmetric_correlation.Symmetry:
        if self.is_free:
            return "none"
        window = sinc_bands.band_window(self.window, self.kernel_size)
        return sinc_bands.symmetry_of(self.shape, self.component, window)

    @property
    def reach(self) -> int:
        """Reach of a filter in samples, from the first to the last tap, both counted."""
        return (self.kernel_size - 1) * self.dilation + 1

    @property
    def frequencies(self) -> Float[np.ndarray, " filters"]:
        """Centre frequencies at the start, Hz, float64; :meth:`bands` tells the learned ones."""
        low, high = sinc_bands.bands_from_parameters(
            *self._start(), parametrization=self.parametrization, limits=self.limits, xp=np
        )
        return (low + high) / 2

    def frame_times(self, num_samples: int) -> Float[np.ndarray, " frames"]:
        """Times of the frames: where the middles of the filters are.

        Args:
            num_samples: length of the clip.

        Returns:
            Seconds, float64 [frames].

        Raises:
            ValueError: for an empty clip, or one shorter than a filter with padding "valid".
        """
        same = self.padding == "same"
        frames = centering.count_frames(
            num_samples, frame_length=self.reach, hop_length=self.stride, center=same
        )
        return centering.frame_times(
            frames,
            frame_length=self.reach,
            hop_length=self.stride,
            sample_rate=self.sample_rate,
            center=same,
        )

    def load_reference(
        self, low_hz: Float[Array, "*filters"], band_hz: Float[Array, "*filters"]
    ) -> dict[str, jax.Array]:
        """Parameters from ``low_hz_`` and ``band_hz_`` of a trained ``SincConv_fast``.

        Args:
            low_hz: [num_filters] or, as PyTorch has it, [num_filters, 1].
            band_hz: likewise.

        Returns:
            ``low`` and ``band`` in this layer's parametrisation, to replace those in "params"; of
            a free layer its ``taps``.

        Raises:
            ValueError: for other numbers of filters.
        """
        low, band = np.ravel(np.asarray(low_hz)), np.ravel(np.asarray(band_hz))
        if low.shape != (self.num_filters,) or band.shape != (self.num_filters,):
            raise ValueError(
                f"low_hz has {low.size} and band_hz {band.size} values, the layer "
                f"num_filters={self.num_filters}; all three must agree"
            )
        values = sinc_bands.parameters_from_hz(
            low, band, parametrization=self.parametrization, limits=self.limits
        )
        first, second = (jnp.asarray(value, self.dtype) for value in values)
        if self.is_free:
            return {"taps": self._designed(first, second)}
        return {"low": first, "band": second}

    def setup(self) -> None:
        """Creates the parameters."""
        first, second = (jnp.asarray(value, self.dtype) for value in self._start())
        if self.is_free:
            self.taps = self.param("taps", lambda key: self._designed(first, second))
            return
        self.low = self.param("low", lambda key: first)
        self.band = self.param("band", lambda key: second)
        self.of_shape: Mapping[str, jax.Array] = {
            name: self.param(name, lambda key, value=value: jnp.asarray(value, self.dtype))
            for name, value in shapes.initial_parameters(self.shape, self.num_filters).items()
        }

    def bands(self) -> tuple[Float[jax.Array, " filters"], Float[jax.Array, " filters"]]:
        """Band edges in use: ``layer.apply(variables, method="bands")``.

        Those of free filters are measured (:func:`.measured_bands.measured_bands`).

        Returns:
            Lower and upper edges in Hz, [num_filters] each.
        """
        if self.is_free:
            parts = 1 if self.component == "real" else 2
            return measured_bands.measured_bands(
                tuple(jnp.split(self.taps, parts, axis=0)), sample_rate=self.sample_rate
            )
        return self._edges(self.low, self.band)

    def _edges(self, low: Any, band: Any) -> tuple[jax.Array, jax.Array]:
        return sinc_bands.bands_from_parameters(
            low, band, parametrization=self.parametrization, limits=self.limits
        )

    def filters(self) -> Float[jax.Array, "channels taps"]:
        """Impulse responses in use: ``layer.apply(variables, method="filters")``.

        Returns:
            [channels, kernel_size]; a complex bank has 2 num_filters channels, cosines first.
        """
        if self.is_free:
            return self.taps
        return self._designed(self.low, self.band, self.of_shape)

    def _designed(
        self, low: jax.Array, band: jax.Array, parameters: Mapping[str, jax.Array] | None = None
    ) -> jax.Array:
        """The filters of some bands; the initial ones of a free layer."""
        return sinc_bands.kernels_from_bands(
            *self._edges(low, band),
            jnp.asarray(sinc_bands.band_window(self.window, self.kernel_size), self.dtype),
            sample_rate=self.sample_rate,
            shape=(self.initial_shape or "sinc") if self.is_free else self.shape,
            component=self.component,
            normalization=self.normalization,
            parameters=parameters,
        )

    @nn.compact
    def _mixing(self, channels: int) -> jax.Array:
        """The mixture of input channels, [channels, filters]; twice as wide for a complex bank."""
        start = nn.initializers.constant(1.0 / channels)
        mixing = self.param("mixing", start, (channels, self.num_filters), self.dtype)
        return mixing if self.component == "real" else jnp.tile(mixing, (1, 2))

    def __call__(self, waveform: Waveform) -> Float[jax.Array, "... frames channels"]:
        """Strided correlation of a waveform with the filters.

        Args:
            waveform: [..., time], ``dtype``; [batch, channels, time] keeps its channels as they
                are, or mixes them if ``mix_channels``.

        Returns:
            [..., frames, num_filters], twice as many channels of a complex bank;
            with ``mix_channels`` the axis before time is gone.

        Raises:
            TypeError: for another dtype.
            ValueError: for a clip shorter than the filters with padding "valid", or one without
                channels to mix.
        """
        padded = self._padded(waveform)
        dilation, precision = self.dilation, self.precision
        how: Any = {"hop_length": self.stride, "dilation": dilation, "precision": precision}
        if self.mix_channels:
            mixing = self._mixing(padded.shape[-2] if padded.ndim > 1 else 1)
            return mixed_correlation.correlate_mixed(padded, self.filters(), mixing, **how)
        return symmetric_correlation.correlate(
            padded, self.filters(), symmetry=self._symmetry, **how
        )

    def pooled_magnitudes(
        self, waveform: Waveform, *, pool_size: int
    ) -> Float[jax.Array, "... pooled channels"]:
        """Largest magnitudes of the output over pools of frames, SincNet's first block.

        ``layer.apply(variables, waveform, pool_size=3, method="pooled_magnitudes")`` is the
        maximum of the output's magnitude over every three frames; at stride 1 the output itself is
        not stored (:mod:`.pooled_correlation`), which is several times as fast on CPUs.

        Args:
            waveform: as in a call.
            pool_size: frames of a pool, 1 or more; frames left over at the end are dropped.

        Returns:
            [..., frames // pool_size, channels].

        Raises:
            TypeError: as a call.
            ValueError: as a call.
        """
        checks.check_positive_integers(pool_size=pool_size)
        if self.stride > 1 or self.dilation > 1 or self.mix_channels:
            return pooling.max_pool(jnp.abs(self(waveform)), pool_size)
        return pooled_correlation.correlate_pooled(
            self._padded(waveform),
            self.filters(),
            pool_size=pool_size,
            symmetry=self._symmetry,
            precision=self.precision,
        )

    def _padded(self, waveform: Waveform) -> Array:
        checks.check_floating_waveform(waveform, dtype=self.dtype)
        return centering.pad_frames(
            waveform,
            frame_length=self.reach,
            hop_length=self.stride,
            center=self.padding == "same",
            pad_mode=self.pad_mode,
        )

    def _start(self) -> tuple[np.ndarray, np.ndarray]:
        low, band = sinc_bands.initial_parameters(
            self.num_filters,
            scale=self.initial_scale,
            low_hz=self.low_hz,
            high_hz=sinc_checks.highest_edge(self),
        )
        return sinc_bands.parameters_from_hz(
            low, band, parametrization=self.parametrization, limits=self.limits
        )
