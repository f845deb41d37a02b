"""Style of all plots: colours, light and dark pages."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.colors
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax import plots
from isincnet_jax.plots import drawing

SPEC = isn.FilterbankSpec(sample_rate=8000, hop_length=16, num_bins=17, shape="none")
DARK = {"figure.facecolor": "black"}  # as of Matplotlib's style "dark_background"


def _lightness(shades: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB, by the standard and not by the code that is tested."""
    linear = np.where(shades <= 0.04045, shades / 12.92, ((shades + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return 116 * np.cbrt(luminance) - 16


@pytest.mark.parametrize("settings", [{}, DARK], ids=["light", "dark"])
def test_signed_colours_get_steadily_farther_from_the_page(settings):
    with mpl.rc_context(settings):
        shades = drawing.signed_colormap()(np.linspace(0, 1, 257))[:, :3]
        page = matplotlib.colors.to_rgb(drawing.theme().page)
    lightness = _lightness(shades)
    away = np.abs(lightness - lightness[128])
    assert np.all(np.diff(away[128:]) > 0)
    assert np.all(np.diff(away[:129]) < 0)
    np.testing.assert_allclose(away[:128], away[:128:-1], rtol=0.15)  # either sign alike
    assert away[0] > 45
    assert abs(lightness[128] - _lightness(np.array(page))) < 12
    assert shades[0, 2] > shades[0, 0]  # blue below, orange above
    assert shades[-1, 0] > shades[-1, 2]


@pytest.mark.parametrize("settings", [{}, DARK], ids=["light", "dark"])
def test_colours_are_seen_on_their_page(settings):
    with mpl.rc_context(settings):
        page, ink, soft, _, cycle, _ = drawing.theme()
        sequence = drawing.colors(9)[:, :3]

    def contrast(color):
        linear = [
            one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4
            for one in matplotlib.colors.to_rgb(color)
        ]
        return np.dot(linear, [0.2126, 0.7152, 0.0722]) + 0.05

    def against_page(color):
        pair = sorted((contrast(color), contrast(page)))
        return pair[1] / pair[0]

    assert against_page(ink) > 12
    assert against_page(soft) > 4.5
    assert min(map(against_page, [*cycle, *sequence])) > 1.9
    assert len(set(cycle)) == len(cycle)


def test_figures_are_dark_where_matplotlib_is():
    figures = []
    for settings in ({}, DARK):
        with mpl.rc_context(settings):
            before = dict(mpl.rcParams)
            figures.append(
                plots.plot_filterbank(
                    SPEC.design_kernels(), sample_rate=8000, center_hz=SPEC.center_hz
                )
            )
            assert dict(mpl.rcParams) == before
    light, dark = (plots.pixels(figure, dots_per_inch=40) for figure in figures)
    assert np.median(light) > 240
    assert np.median(dark) < 50
    # Ticks are made when the figure is drawn, long after the style was left.
    colors = [figure.axes[1].xaxis.get_ticklabels()[0].get_color() for figure in figures]
    assert colors == ["#1b1d22", "#e9eaee"]


def test_curves_are_told_apart_beyond_the_colours():
    cycle = drawing.theme().cycle
    styles = [tuple(drawing.line_style(index).items()) for index in range(3 * len(cycle))]
    assert len(set(styles)) == len(styles)
