"""Style of all plots: ticks, colours, light and dark pages."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.colors
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax import plots
from isincnet_jax.dsp import scales
from isincnet_jax.plots import drawing

SPEC = isn.FilterbankSpec(sample_rate=8000, hop_length=16, num_bins=17, shape="none")
DARK = {"figure.facecolor": "black"}  # as of Matplotlib's style "dark_background"


def _mel(bins: int) -> np.ndarray:
    ends = scales.hz_to_scale(np.array([40.0, 8000.0]), scale="mel_htk")
    return scales.scale_to_hz(np.linspace(*ends, bins), scale="mel_htk")


@pytest.mark.parametrize(
    ("frequencies_hz", "labels"),
    [
        (np.linspace(0, 4000, 17), ["0", "1", "2", "3", "4"]),
        (31.25 + 62.5 * np.arange(128), ["0", "2", "4", "6", "8"]),
        (32.7 * 2 ** (np.arange(84) / 12), ["0.05", "0.1", "0.2", "0.5", "1", "2"]),
        (np.linspace(1000, 1040, 20), ["1", "1.01", "1.02", "1.03", "1.04"]),
        (np.array([0.0, *_mel(40)]), ["0", "0.2", "0.5", "1", "2", "5"]),
        (np.array([500.0]), ["0.5"]),
        (np.array([300.0, 200.0, 250.0]), ["0.3", "0.2", "0.25"]),
    ],
    ids=["linear", "half a bin off", "octaves", "narrow", "from 0", "one", "in no order"],
)
def test_ticks_are_round_and_where_they_say(frequencies_hz, labels):
    places, texts = drawing.frequency_ticks(frequencies_hz)
    assert texts == labels
    found = np.interp(places, np.arange(len(frequencies_hz)), frequencies_hz)
    near = 1e-6 + np.max(np.abs(np.diff(frequencies_hz)), initial=0) / 2  # half a row beyond
    np.testing.assert_allclose(found, [1000 * float(text) for text in texts], atol=near)


@pytest.mark.parametrize("bins", [3, 10, 64, 576])
def test_ticks_of_a_mel_axis_leave_room_for_each_other(bins):
    places, texts = drawing.frequency_ticks(_mel(bins))
    assert 2 <= len(texts) <= 10
    assert np.min(np.diff(places)) >= (bins - 1) / 12


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
