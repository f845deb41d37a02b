"""Plots of filterbanks and spectrograms: the only package that draws.

Functions take arrays and plain numbers, return a Matplotlib figure or animation and show nothing.
All have one style, whose colours are told apart with any colour vision. Figures are light; under
``matplotlib.pyplot.style.context("dark_background")`` they are made for a dark page.
"""

from __future__ import annotations

from isincnet_jax.plots.animation import animate_filters
from isincnet_jax.plots.bands import band_kernels
from isincnet_jax.plots.cumulative import plot_cumulative_response
from isincnet_jax.plots.drawing import pixels
from isincnet_jax.plots.filterbank import plot_filterbank
from isincnet_jax.plots.movement import plot_filter_movement
from isincnet_jax.plots.roofline import MeasuredOperation, plot_roofline
from isincnet_jax.plots.spectrograms import plot_magnitude, plot_spectrogram

__all__ = [
    "MeasuredOperation",
    "animate_filters",
    "band_kernels",
    "pixels",
    "plot_cumulative_response",
    "plot_filter_movement",
    "plot_filterbank",
    "plot_magnitude",
    "plot_roofline",
    "plot_spectrogram",
]
