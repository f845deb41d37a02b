"""Argument checks of a :class:`.sinc_conv.SincConv`."""

from __future__ import annotations

from typing import Any

from isincnet_jax.bank.dsp import shapes
from isincnet_jax.dsp import centering, checks, scales
from isincnet_jax.frontends import sinc_bands

FREE = "free"
"""The family of filters whose every tap is learned; no shape, so not in ``shapes.SHAPES``."""


def settle_shape(shape: str) -> str:
    """Spectral shape by its name, with what that stands for now, or "free".

    Args:
        shape: a name in :data:`.shapes.SHAPES`, or "free".

    Returns:
        A :class:`.shapes.ShapeName`, or "free".

    Raises:
        ValueError: for an unknown name.
    """
    if shape == FREE:
        return FREE
    if shape not in shapes.SHAPES and not isinstance(shape, shapes.ShapeName):
        raise ValueError(
            f"shape={shape!r} is unknown; use one of {', '.join(shapes.SHAPES)}, {FREE}"
        )
    return shapes.ShapeName.settle(shape)


def highest_edge(layer: Any) -> float:
    """Upper edge of the last band at the start, the added minima not counted.

    Args:
        layer: the ``SincConv`` that is built.

    Returns:
        Hz: its ``high_hz``, or what the Nyquist frequency leaves.
    """
    if layer.high_hz is not None:
        return layer.high_hz
    return layer.sample_rate / 2 - (layer.min_low_hz + layer.min_band_hz)


def check_layer(layer: Any) -> None:
    """Checks the arguments of a layer.

    Args:
        layer: the ``SincConv`` that is built.

    Raises:
        ValueError: for arguments that make no filters or exclude each other.
    """
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
    _check_names(layer)
    if layer.padding == "valid" and layer.pad_mode != "constant":
        raise ValueError(
            f"pad_mode={layer.pad_mode!r} has no effect with padding='valid'; use padding='same'"
        )
    if layer.min_low_hz < 0 or layer.min_band_hz < 0:
        raise ValueError(
            f"min_low_hz={layer.min_low_hz} and min_band_hz={layer.min_band_hz} must be 0 or more"
        )
    checks.check_band(fmin=layer.low_hz, fmax=highest_edge(layer), sample_rate=layer.sample_rate)
    if layer.low_hz == 0 and scales.functions_of(layer.initial_scale).needs_positive_hz:
        raise ValueError(f"low_hz=0 lies outside initial_scale={layer.initial_scale!r}; use 30")
    sinc_bands.band_window(layer.window, layer.kernel_size)


def _check_names(layer: Any) -> None:
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
    if layer.initial_shape is not None and layer.shape != FREE:
        raise ValueError(
            f"initial_shape={layer.initial_shape!r} has no effect with shape={layer.shape!r}; "
            "use shape='free'"
        )
