"""The roofline picture: where dots, roof and bars stand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from isincnet_jax import plots

ROWS = (
    plots.MeasuredOperation("encode", 4e9, 1e8, 0.04, {"PyTorch": 100.0, "ours": 400.0}),
    plots.MeasuredOperation("STFT", 1e8, 1e8, 0.01, {"ours": 900.0, "librosa": 50.0}),
)


def _figure(rows=ROWS, ceiling=(200.0, 20.0), **options):
    return plots.plot_roofline(rows, ceiling, **options)


def test_dots_stand_at_intensity_and_rate_and_the_roof_has_its_ridge():
    figure = _figure(title="a machine")
    roof, _ = figure.axes
    assert figure.get_suptitle() == "a machine"
    np.testing.assert_allclose(roof.collections[0].get_offsets(), [[40.0, 100.0], [1.0, 10.0]])
    x, y = roof.lines[0].get_data()
    np.testing.assert_allclose((x[1], y[1]), (10.0, 200.0))
    np.testing.assert_allclose(y[0] / x[0], 20.0)
    assert y[2] == 200.0
    assert roof.get_xscale() == roof.get_yscale() == "log"
    assert {"1", "2", "200 GFLOP/s", "20 GB/s"} <= {text.get_text() for text in roof.texts}


def test_bars_show_every_side_of_every_row_ours_first():
    _, bars = _figure().axes
    widths = [bar.get_width() for bar in bars.patches]
    assert widths == [400.0, 100.0, 900.0, 50.0]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["encode  1", "STFT  2"]
    legend = [text.get_text() for text in bars.get_legend().get_texts()]
    assert legend == ["ours", "PyTorch", "librosa"]
    low, high = bars.get_ylim()
    assert low > high, "the first row is at the top"
    faces = [bar.get_facecolor() for bar in bars.patches]
    assert faces[0] == faces[2]
    assert len(set(faces)) == 3


def test_bars_of_a_row_do_not_overlap():
    _, bars = _figure().axes
    spans = sorted((bar.get_y(), bar.get_y() + bar.get_height()) for bar in bars.patches)
    for (_, end), (begin, _) in itertools.pairwise(spans):
        assert end <= begin + 1e-9


def test_dots_in_one_place_have_numbers_in_different_places():
    row = ROWS[0]
    roof, _ = _figure(rows=(row, row, row)).axes
    numbers = [text for text in roof.texts if text.get_text() in "123"]
    assert len({text.xyann for text in numbers}) == 3


def test_the_picture_is_drawn_within_its_limits():
    figure = _figure()
    assert np.std(plots.pixels(figure)) > 10
    roof, _ = figure.axes
    (left, right), (low, high) = roof.get_xlim(), roof.get_ylim()
    for x, y in roof.collections[0].get_offsets():
        assert left < x < right
        assert low < y < high


@pytest.mark.parametrize(
    ("rows", "ceiling", "message"),
    [
        ((), (1.0, 1.0), "give one operation"),
        (ROWS, (0.0, 1.0), "ceiling: gflops=0.0"),
        (ROWS, (1.0, float("nan")), "ceiling: gb_per_s=nan"),
        ((ROWS[0]._replace(seconds=0.0),), (1.0, 1.0), "'encode': seconds=0.0"),
        ((ROWS[0]._replace(times_real_time={"ours": -1.0}),), (1.0, 1.0), "'encode': ours=-1.0"),
    ],
)
def test_what_is_not_positive_is_refused(rows, ceiling, message):
    with pytest.raises(ValueError, match=message):
        _figure(rows, ceiling)
