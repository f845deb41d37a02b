"""Pictures: axes, limits, and that there is something on them."""

from __future__ import annotations

import io
import sys

import matplotlib.image
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax import plots

SPEC = isn.FilterbankSpec(sample_rate=8000, hop_length=16, num_bins=17, shape="none")


def _pixels(figure) -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    assert buffer.getvalue().startswith(b"\x89PNG")
    buffer.seek(0)
    return matplotlib.image.imread(buffer)


def _filters(**options):
    arguments = {"sample_rate": 8000, "center_hz": SPEC.center_hz, **options}
    return plots.plot_filterbank(SPEC.design_kernels(), **arguments)


def _spectrogram(values, *, is_complex=True, **options):
    arguments = {
        "frame_times_s": np.arange(len(values)) * 0.002 - 0.002,
        "center_hz": SPEC.center_hz,
        "is_complex": is_complex,
        **options,
    }
    return plots.plot_spectrogram(values, **arguments)


def test_a_filterbank_has_three_axes():
    figure = _filters(num_shown=5, title="a bank")
    impulses, responses, total = figure.axes
    assert figure.get_suptitle() == "a bank"
    assert len(impulses.lines) == 5
    assert [label.get_text() for label in impulses.get_yticklabels()] == [
        f"{SPEC.center_hz[index] / 1000:.3g}" for index in (0, 4, 8, 12, 16)
    ]
    assert len(responses.lines) == 17
    assert responses.get_xlim() == total.get_xlim() == (0, 4)
    assert responses.get_ylim() == (-80, 3)
    assert "kHz" in responses.get_xlabel()
    assert np.std(_pixels(figure)) > 0.05


def test_responses_peak_at_their_centres_and_sum_up():
    _, responses, total = _filters().axes
    for line, center_hz in zip(responses.lines, SPEC.center_hz, strict=True):
        frequency_khz, level_db = line.get_data()
        # A filter at an end of the band sees its mirror image, so compare within a bin.
        assert frequency_khz[np.argmax(level_db)] * 1000 == pytest.approx(center_hz, abs=20)
    frequency_khz, level_db = total.lines[0].get_data()
    responses_sum = sum(10 ** (line.get_ydata() / 10) for line in responses.lines)
    expected_db = 10 * np.log10(responses_sum / np.mean(responses_sum))
    np.testing.assert_allclose(level_db, expected_db, atol=1e-6)


def test_impulse_responses_are_centred():
    impulses = _filters().axes[0]
    offset_ms = impulses.lines[0].get_xdata()
    assert offset_ms[len(offset_ms) // 2] == 0.0
    assert offset_ms[-1] == pytest.approx(32 / 8)
    assert np.argmax(impulses.lines[0].get_ydata()) == len(offset_ms) // 2


def test_of_a_large_bank_some_are_drawn_before_the_envelope_of_all():
    spec = isn.FilterbankSpec(sample_rate=8000, hop_length=16, num_bins=200, shape="none")
    figure = plots.plot_filterbank(
        spec.design_kernels(), sample_rate=8000, center_hz=spec.center_hz
    )
    responses = figure.axes[1]
    assert responses.get_title() == "7 of 200 frequency responses, envelope of all"
    envelope, *shown = responses.lines
    assert len(shown) == 7
    assert envelope.get_ydata().max() == pytest.approx(0.0, abs=1e-6)
    assert envelope.get_ydata().min() > -10.0  # every frequency has its filter
    for line in shown:
        assert np.all(line.get_ydata() <= envelope.get_ydata())


def test_a_spectrogram_has_two_panels_and_their_scales(rng):
    values = rng.standard_normal((40, 34)).astype(np.float32)
    figure = _spectrogram(values, title="noise")
    signed, magnitude, *bars = figure.axes
    assert len(bars) == 2
    assert figure.get_suptitle() == "noise"
    for axis in (signed, magnitude):
        assert axis.get_xlim() == pytest.approx((-0.003, 0.077))
        assert axis.get_ylim() == pytest.approx((-0.5, 16.5))
        assert axis.get_ylabel() == "frequency (kHz)"
    assert magnitude.get_xlabel() == "time (s)"
    assert signed.collections[0].get_clim() == (-1.0, 1.0)
    assert magnitude.collections[0].get_clim() == (-80.0, 0.0)
    image = magnitude.collections[0].get_array()
    power = values[:, :17] ** 2 + values[:, 17:] ** 2
    expected_db = 10 * np.log10(np.maximum(power / power.max(), 1e-8)).T
    np.testing.assert_allclose(image, expected_db, atol=1e-4)
    shown = signed.collections[0].get_array()
    cosine = values[:, :17].T
    limit = np.percentile(np.abs(cosine), 98.0)
    np.testing.assert_allclose(shown**3 * limit, cosine, atol=1e-6)
    assert np.std(_pixels(figure)) > 0.05


def test_a_real_bank_has_no_sines(rng):
    values = rng.standard_normal((40, 17))
    figure = _spectrogram(values, is_complex=False)
    image = figure.axes[1].collections[0].get_array()
    np.testing.assert_allclose(
        image, 10 * np.log10(np.maximum(values**2 / np.max(values**2), 1e-8)).T
    )


@pytest.mark.quick(2)
@pytest.mark.parametrize("frames", [1, 2, 100])
@pytest.mark.parametrize("level", [0.0, 1e-30, 1e6])
def test_short_silent_and_loud_inputs_are_drawn(frames, level):
    values = np.full((frames, 34), level, np.float32)
    figure = _spectrogram(values)
    assert np.std(_pixels(figure)) > 0.01
    image = np.asarray(figure.axes[1].collections[0].get_array())
    assert np.all(np.isfinite(image))
    expected = -80.0 if level == 0.0 else 0.0
    np.testing.assert_allclose(image, expected, atol=1e-4)


@pytest.mark.quick(1)
@pytest.mark.parametrize("title", ["a$b$c.wav", r"$\frac{.wav", "100%_^{}\\", "two\nlines", ""])
def test_titles_are_taken_literally(title):
    for figure in (_filters(title=title), _spectrogram(np.ones((3, 34)), title=title)):
        assert figure.get_suptitle() == title
        _pixels(figure)


def test_nothing_global_is_touched():
    pyplot = sys.modules.get("matplotlib.pyplot")
    before = pyplot.get_fignums() if pyplot else []
    _filters()
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert (pyplot.get_fignums() if pyplot else []) == before


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"isincnet-jax\[plots\]"):
        _filters()


def test_pixels_are_what_is_drawn():
    figure = _filters(num_shown=3)
    found = plots.pixels(figure, dots_per_inch=50)
    assert found.dtype == np.uint8
    drawn = _pixels(figure)[..., :3]
    assert found.shape == drawn.shape
    np.testing.assert_allclose(found / 255, drawn, atol=1 / 255)
    assert len(np.unique(found)) > 10


def test_magnitudes_of_any_bins():
    frequencies_hz = 100.0 * 2 ** (np.arange(24) / 12)
    magnitude = np.full((10, 24), 1e-6)
    magnitude[4, 7] = 1.0
    figure = plots.plot_magnitude(
        magnitude,
        frame_times_s=np.arange(10) * 0.01,
        frequencies_hz=frequencies_hz,
        title="one cell of $5",
        floor_db=-40.0,
    )
    axis = figure.axes[0]
    assert axis.get_title() == "one cell of $5"
    mesh = axis.collections[0]
    image = np.asarray(mesh.get_array()).reshape(24, 10)
    assert image[7, 4] == 0.0
    assert np.sum(image > -40.0) == 1
    assert mesh.get_clim() == (-40.0, 0.0)
    assert next(label.get_text() for label in axis.get_yticklabels()) == "0.1"
    assert np.std(_pixels(figure)) > 0.05


def test_ragged_magnitudes_are_drawn_on_one_time_axis():
    """Every frame of a coarse array lasts until the middle between it and the next."""
    coarse, fine = np.full((3, 2), 1e-6), np.full((6, 1), 1e-6)
    coarse[1, 0] = 1.0
    figure = plots.plot_magnitude(
        (coarse, fine),
        frame_times_s=(np.arange(3) * 0.04, np.arange(6) * 0.02),
        frequencies_hz=np.array([100.0, 200.0, 300.0]),
        floor_db=-40.0,
    )
    image = np.asarray(figure.axes[0].collections[0].get_array()).reshape(3, 6)
    assert (image[0] == 0.0).tolist() == [False, True, True, False, False, False]
    assert np.all(image[1:] == -40.0)
    with pytest.raises(ValueError, match="times of 1 arrays, but there are 2"):
        plots.plot_magnitude(
            (coarse, fine), frame_times_s=(np.arange(3),), frequencies_hz=np.arange(3)
        )


def test_of_more_cells_than_pixels_the_loudest_are_drawn():
    values = np.zeros((1300, 200))
    values[700, 101], values[701, 100] = -1.0, 0.5  # neighbours: the first is louder
    values[10, 3] = 0.25
    figure = _spectrogram(values, is_complex=False, center_hz=20.0 * np.arange(200))
    signed, magnitude = (axis.collections[0] for axis in figure.axes[:2])
    image = np.asarray(signed.get_array())
    assert image.shape == (100, 434)
    assert np.count_nonzero(image) == 2
    assert image[50, 233] == -1.0
    assert image[1, 3] == pytest.approx(np.cbrt(0.25))
    assert np.asarray(magnitude.get_array())[50, 233] == 0.0
    assert figure.axes[0].get_ylim() == pytest.approx((-0.5, 199.5))
    assert figure.axes[0].get_xlim() == pytest.approx((-0.003, 1299 * 0.002 - 0.001))


def test_colour_bars_and_their_labels_are_no_longer_than_their_axes(rng):
    values = rng.standard_normal((40, 34))
    wide = plots.plot_magnitude(
        np.abs(values), frame_times_s=np.arange(40) * 0.01, frequencies_hz=np.arange(34) * 50.0
    )
    for figure in (_spectrogram(values, title="a title"), wide):
        figure.draw_without_rendering()
        half = len(figure.axes) // 2
        for axis, bar in zip(figure.axes[:half], figure.axes[half:], strict=True):
            own = axis.get_window_extent()
            label = bar.yaxis.label.get_window_extent()
            for box in (bar.get_window_extent(), label):
                assert own.y0 - 0.5 <= box.y0
                assert box.y1 <= own.y1 + 0.5
