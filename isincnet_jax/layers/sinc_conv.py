"""SincNet's first layer: a strided convolution with learned band-pass filters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import centering, scales, shapes, sinc_bands, symmetric_correlation
from isincnet_jax.layers import checks
from isincnet_jax.typing import Array, Component, Waveform


class SincConv(nn.Module):
    """Band-pass filters whose edges are learned, as a strided convolution.

    With the defaults it is SincNet's ``SincConv_fast``: the same initial filters, and the same
    output once its parameters are loaded (:meth:`load_reference`), channels last. Parameters are
    ``low`` and ``band``, [num_filters] each, and those of the shape, if it has any.

    With ``parametrization="hz"``, the reference's, filters hardly move in training: a step of 1e-3
    is 1e-3 Hz. "mel" and "normalized" start with the same filters and move them a thousand times
    as far at the same learning rate (:func:`.sinc_bands.bands_from_parameters`). All parameter
    values give finite filters and gradients.

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
        shape: a name in :data:`.shapes.SHAPES`.
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
    component: Component = "real"
    window: str = "reference"
    mix_channels: bool = False
    dtype: Any = jnp.float32
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    def __post_init__(self) -> None:
        """Checks the arguments."""
        _check_layer(self)
        super().__post_init__()

    @property
    def limits(self) -> sinc_bands.BandLimits:
        """What the bands must keep to."""
        return sinc_bands.BandLimits(self.sample_rate, self.min_low_hz, self.min_band_hz)

    @property
    def reach(self) -> int:
        """Samples from the first to the last tap, both counted."""
        return (self.kernel_size - 1) * self.dilation + 1

    @property
    def frequencies(self) -> Float[np.ndarray, " filters"]:
        """Middles of the bands at the start, Hz, float64; :meth:`bands` tells the learned ones."""
        low, high = sinc_bands.bands_from_parameters(
            *self._start(), parametrization=self.parametrization, limits=self.limits, xp=np
        )
        return (low + high) / 2

    def frame_times(self, num_samples: int) -> Float[np.ndarray, " frames"]:
        """Where the middles of the filters are, seconds, float64 [frames]."""
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
            ``low`` and ``band`` in this layer's parametrisation, to replace those in "params".

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
        return {
            name: jnp.asarray(value, self.dtype)
            for name, value in zip(("low", "band"), values, strict=True)
        }

    def setup(self) -> None:
        """Creates the parameters."""
        first, second = self._start()
        self.low = self.param("low", lambda key: jnp.asarray(first, self.dtype))
        self.band = self.param("band", lambda key: jnp.asarray(second, self.dtype))
        self.of_shape: Mapping[str, jax.Array] = {
            name: self.param(name, lambda key, value=value: jnp.asarray(value, self.dtype))
            for name, value in shapes.initial_parameters(self.shape, self.num_filters).items()
        }

    def bands(self) -> tuple[Float[jax.Array, " filters"], Float[jax.Array, " filters"]]:
        """Lower and upper edges in Hz, [num_filters] each: ``layer.apply(v, method="bands")``."""
        return sinc_bands.bands_from_parameters(
            self.low, self.band, parametrization=self.parametrization, limits=self.limits
        )

    def filters(self) -> Float[jax.Array, "channels taps"]:
        """Impulse responses, [channels, kernel_size]; a complex bank has 2 num_filters channels."""
        low, high = self.bands()
        return sinc_bands.kernels_from_bands(
            low,
            high,
            jnp.asarray(sinc_bands.band_window(self.window, self.kernel_size), self.dtype),
            sample_rate=self.sample_rate,
            shape=self.shape,
            component=self.component,
            normalization=self.normalization,
            parameters=self.of_shape,
        )

    @nn.compact
    def _mixing(self, channels: int) -> jax.Array:
        """The mixture of input channels, [channels, filters]; twice as wide for a complex bank."""
        start = nn.initializers.constant(1.0 / channels)
        mixing = self.param("mixing", start, (channels, self.num_filters), self.dtype)
        return mixing if self.component == "real" else jnp.tile(mixing, (1, 2))

    def __call__(self, waveform: Waveform) -> Float[jax.Array, "... frames channels"]:
        """Filters a waveform.

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
        checks.check_floating_waveform(waveform)
        if waveform.dtype != jnp.dtype(self.dtype):
            raise TypeError(
                f"waveform.dtype={waveform.dtype} but the layer works in {jnp.dtype(self.dtype)}; "
                "convert the waveform or set dtype"
            )
        padded = centering.pad_frames(
            waveform,
            frame_length=self.reach,
            hop_length=self.stride,
            center=self.padding == "same",
            pad_mode=self.pad_mode,
        )
        if self.mix_channels:
            return self._mixed(padded)
        return symmetric_correlation.correlate(
            padded,
            self.filters(),
            hop_length=self.stride,
            symmetry=sinc_bands.symmetry_of(
                self.shape,
                self.component,
                sinc_bands.band_window(self.window, self.kernel_size),
            ),
            dilation=self.dilation,
            precision=self.precision,
        )

    def _mixed(self, padded: Any) -> jax.Array:
        if padded.ndim < 2:
            raise ValueError(
                f"waveform.ndim={padded.ndim}: mix_channels=True needs [..., channels, time]"
            )
        mixing = self._mixing(padded.shape[-2])
        # [taps, inputs, channels]: one convolution sums over inputs and taps.
        weights = jnp.transpose(self.filters())[:, None, :] * mixing[None]
        clips = jnp.reshape(jnp.asarray(padded), (-1, *padded.shape[-2:]))
        frames = lax.conv_general_dilated(
            clips,
            weights,
            window_strides=(self.stride,),
            padding="VALID",
            rhs_dilation=(self.dilation,),
            dimension_numbers=("NCW", "WIO", "NWC"),
            precision=self.precision,
        )
        return jnp.reshape(frames, (*padded.shape[:-2], *frames.shape[1:]))

    def _start(self) -> tuple[np.ndarray, np.ndarray]:
        low, band = sinc_bands.initial_parameters(
            self.num_filters,
            scale=self.initial_scale,
            low_hz=self.low_hz,
            high_hz=_highest(self),
        )
        return sinc_bands.parameters_from_hz(
            low, band, parametrization=self.parametrization, limits=self.limits
        )


def _highest(layer: SincConv) -> float:
    """Upper edge of the last band at the start, the added minima not counted, Hz."""
    if layer.high_hz is not None:
        return layer.high_hz
    return layer.sample_rate / 2 - (layer.min_low_hz + layer.min_band_hz)


def _check_layer(layer: SincConv) -> None:
    """Raises ValueError for arguments of a :class:`SincConv` that make no filters."""
    checks.check_positive_integers(
        num_filters=layer.num_filters,
        kernel_size=layer.kernel_size,
        stride=layer.stride,
        dilation=layer.dilation,
    )
    if layer.kernel_size % 2 == 0 or layer.kernel_size < 3:
        raise ValueError(
            f"kernel_size={layer.kernel_size} must be odd and 3 or more, so that filters have a "
            f"middle; use {layer.kernel_size + 1} as the reference does"
        )
    for name, allowed in (
        ("padding", ("valid", "same")),
        ("pad_mode", centering.PAD_MODES),
        ("component", ("real", "complex")),
        ("parametrization", sinc_bands.PARAMETRIZATIONS),
        ("normalization", sinc_bands.BAND_NORMALIZATIONS),
    ):
        if getattr(layer, name) not in allowed:
            raise ValueError(
                f"{name}={getattr(layer, name)!r} is unknown; use one of {', '.join(allowed)}"
            )
    if layer.padding == "valid" and layer.pad_mode != "constant":
        raise ValueError(
            f"pad_mode={layer.pad_mode!r} has no effect with padding='valid'; use padding='same'"
        )
    if layer.min_low_hz < 0 or layer.min_band_hz < 0:
        raise ValueError(
            f"min_low_hz={layer.min_low_hz} and min_band_hz={layer.min_band_hz} must be 0 or more"
        )
    checks.check_band(fmin=layer.low_hz, fmax=_highest(layer), sample_rate=layer.sample_rate)
    if layer.low_hz == 0 and scales.SCALES[scales.canonical_scale(layer.initial_scale)][2]:
        raise ValueError(f"low_hz=0 lies outside initial_scale={layer.initial_scale!r}; use 30")
    shapes.check_shape(layer.shape)
    sinc_bands.band_window(layer.window, layer.kernel_size)
