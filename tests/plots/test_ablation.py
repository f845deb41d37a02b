"""Pictures of an ablation: what is on them, and that they are the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from isincnet_jax.plots import ablation
from isincnet_jax.plots.ablation import Panel, Point

POINTS = [
    Point("sinc", "linear", 2.0),
    Point("gauss", "linear", 1.5, 1.0, 2.5),
    Point("sinc", "mel", 900.0),
]


def test_rows_and_groups_have_their_places():
    panels = [
        Panel("Condition", "", POINTS, may_be_logarithmic=True),
        Panel("Nothing", "dB", []),
        Panel("SNR", "dB", POINTS[:2]),
    ]
    figure = ablation.plot_comparison(panels, title="$ no formula")
    first, second = (axis for axis in figure.axes if axis.get_visible())
    assert [label.get_text() for label in first.get_yticklabels()] == ["sinc", "gauss"]
    assert first.get_ylim() == (1.5, -0.5)  # the first row is at the top
    assert (first.get_xscale(), second.get_xscale()) == ("log", "linear")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["linear", "mel"]
    linear = first.get_lines()[0]
    np.testing.assert_allclose(linear.get_xdata(), [2.0, 1.5])
    interval = next(line for line in first.get_lines() if list(line.get_xdata()) == [1.0, 2.5])
    assert interval.get_ydata()[0] == linear.get_ydata()[1]


def test_one_group_needs_no_legend():
    figure = ablation.plot_comparison([Panel("SNR", "dB", POINTS[:2])])
    assert figure.legends == []


def test_rows_of_no_group_have_a_place_in_the_legend():
    points = [*POINTS, Point("mel", "", 1.0)]
    figure = ablation.plot_comparison([Panel("SNR", "dB", points)])
    (legend,) = figure.legends
    assert "others" in [text.get_text() for text in legend.get_texts()]


def test_no_points_and_infinite_ones_are_refused():
    with pytest.raises(ValueError, match="no points to draw"):
        ablation.plot_comparison([Panel("SNR", "dB", [])])
    with pytest.raises(ValueError, match="sinc, linear: value=inf must be finite"):
        ablation.plot_comparison([Panel("SNR", "dB", [Point("sinc", "linear", np.inf)])])


def test_movement_is_a_curve_for_each_cell():
    steps = np.array([0, 10, 20])
    curves = {"base": (steps, steps / 10.0), "shape=gauss": (steps, steps / 5.0)}
    axis = ablation.plot_movement_over_steps(curves).axes[0]
    np.testing.assert_allclose(axis.get_lines()[1].get_ydata(), [0.0, 2.0, 4.0])
    assert axis.get_ylim()[0] == 0.0
    with pytest.raises(ValueError, match="base: 3 steps and 2 distances"):
        ablation.plot_movement_over_steps({"base": (steps, np.zeros(2))})
    with pytest.raises(ValueError, match="curves: none"):
        ablation.plot_movement_over_steps({})


def test_svg_is_the_same_every_time():
    texts = [
        ablation.svg_bytes(ablation.plot_comparison([Panel("SNR", "dB", POINTS)])) for _ in range(2)
    ]
    assert texts[0] == texts[1]
    assert b"<svg" in texts[0]
    assert b"<dc:date>" not in texts[0]
