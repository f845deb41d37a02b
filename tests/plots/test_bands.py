"""Pictures of learned filters: movement, cumulative response, animation."""

from __future__ import annotations

import io
import itertools
import sys

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import PIL.Image
import PIL.ImageSequence
import pytest

import isincnet_jax as isn
from isincnet_jax import plots
from isincnet_jax.bank.dsp import kernels
from isincnet_jax.frontends import sinc_bands
from isincnet_jax.plots import bands

RATE = 16_000
EDGES = 700 * (np.geomspace(1.1, 11.0, 13) - 1)
LOW, HIGH = EDGES[:-1], EDGES[1:]


def _pixels(figure) -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    buffer.seek(0)
    return matplotlib.image.imread(buffer)


def _moved(steps=5):
    shift = np.linspace(0, 1, steps)[:, None] * np.where(np.arange(len(LOW)) % 2, 60.0, -20.0)
    return LOW + shift, HIGH + 1.5 * shift, np.arange(steps) * 100


def test_filters_between_edges_are_those_of_the_layer():
    found = bands.band_kernels(LOW, HIGH, sample_rate=RATE, kernel_size=101)
    window = sinc_bands.band_window("reference", 101)
    learned = sinc_bands.kernels_from_bands(
        LOW.astype(np.float32),
        HIGH.astype(np.float32),
        window.astype(np.float32),
        sample_rate=RATE,
        component="complex",
        normalization="gain",
    )
    expected = np.split(np.asarray(learned), 2)
    np.testing.assert_allclose(found, expected[0] + 1j * expected[1], atol=1e-6)


def test_responses_are_fourier_transforms():
    filters = bands.band_kernels(LOW, HIGH, sample_rate=RATE, kernel_size=101)
    frequency_hz = np.arange(64) * RATE / 128
    expected = np.abs(np.fft.fft(filters, 128, axis=1))[:, :64]
    found = bands.responses(filters, frequency_hz, sample_rate=RATE)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_movement_is_read_off_the_picture():
    low, high, _ = _moved()
    figure = plots.plot_filter_movement(
        low[0], high[0], low[-1], high[-1], sample_rate=RATE, title="a $1 run"
    )
    left, centers, widths = figure.axes
    assert figure.get_suptitle() == "a $1 run"
    before, after = left.lines
    np.testing.assert_allclose(before.get_xdata(), (LOW + HIGH) / 2)
    np.testing.assert_allclose(after.get_ydata(), high[-1] - low[-1])
    assert len(left.texts) == 11  # arrows; the filter that moved by less than 1 % has none
    moved_hz = (low[-1] + high[-1] - LOW - HIGH) / 2
    np.testing.assert_allclose(centers.lines[0].get_ydata(), moved_hz)
    np.testing.assert_allclose(widths.lines[0].get_ydata(), high[-1] - low[-1] - HIGH + LOW)
    assert "50 Hz on average" in centers.get_title()
    assert "75 Hz at most" in centers.get_title()
    assert {axis.get_xlim() for axis in figure.axes} == {(0.0, RATE / 2)}
    assert np.std(_pixels(figure)) > 0.05


def test_filters_that_hardly_moved_say_so():
    figure = plots.plot_filter_movement(LOW, HIGH, LOW + 2e-3, HIGH + 2e-3)
    left, centers, _ = figure.axes
    assert not left.texts  # no arrows that are all head
    assert "2 mHz on average" in centers.get_title()
    assert any("mHz" in label.get_text() for label in _tick_labels(figure, centers))
    assert left.get_xlim()[1] > HIGH[-1]


def test_filters_that_did_not_move_at_all():
    figure = plots.plot_filter_movement(LOW, HIGH, LOW, HIGH)
    assert "0 Hz at most" in figure.axes[1].get_title()
    assert np.std(_pixels(figure)) > 0.03


@pytest.mark.quick(0)
def test_movement_of_a_bank_by_its_parameters():
    spec = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=17, scale="erb")
    model = isn.SincNet(spec, learnable_filters=True)
    before = model.init(jax.random.key(0), jnp.zeros((1, 8)))
    after = jax.tree.map(lambda leaf: leaf, before)
    after["params"]["analysis"]["center"] += 0.01
    figures = [
        plots.plot_filter_movement(*pair, sample_rate=8000)
        for pair in (
            (before, after),
            (before["params"], after["params"]),
            (before["params"]["analysis"], after["params"]["analysis"]),
        )
    ]
    for figure in figures:
        left, centers, widths = figure.axes
        np.testing.assert_allclose(left.lines[0].get_xdata(), spec.center_hz, atol=1e-2)
        np.testing.assert_allclose(left.lines[0].get_ydata(), spec.bandwidth_hz, rtol=1e-5)
        np.testing.assert_allclose(centers.lines[0].get_ydata(), 40.0, atol=1e-2)
        np.testing.assert_allclose(widths.lines[0].get_ydata(), 0.0, atol=1e-2)
    free = isn.SincNet(spec, learnable_filters="free").init(jax.random.key(0), jnp.zeros((1, 8)))
    with pytest.raises(ValueError, match=r"without center and bandwidth \(taps\)"):
        plots.plot_filter_movement(free, free, sample_rate=8000)
    with pytest.raises(ValueError, match="and sample_rate"):
        plots.plot_filter_movement(before, after)


@pytest.mark.parametrize(
    "options",
    [
        {"scale": "erb"},
        {"scale": "linear"},
        {"scale": "erb", "component": "real", "causal": True},
    ],
    ids=["channels", "window", "real"],
)
def test_filters_of_a_bank_are_drawn_as_they_come(options):
    spec = isn.FilterbankSpec(sample_rate=8000, hop_length=4, num_bins=17, **options)
    model = isn.SincNet(spec)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 8)), method="encode")
    filters = model.apply(variables, method="filters")
    designed = spec.design_kernels()
    designed = designed.real if spec.component == "real" else designed
    found, expected = (
        plots.plot_filterbank(kernels, sample_rate=8000, center_hz=spec.center_hz)
        for kernels in (filters, designed)
    )
    for axis, other in zip(found.axes, expected.axes, strict=True):
        for line, same in zip(axis.lines, other.lines, strict=True):
            np.testing.assert_allclose(line.get_ydata(), same.get_ydata(), rtol=0.02, atol=0.02)
    with pytest.raises(ValueError, match=r"with 16 centres: give"):
        plots.plot_filterbank(designed, sample_rate=8000, center_hz=spec.center_hz[1:])


def _tick_labels(figure, axis):
    _pixels(figure)
    return axis.get_yticklabels()


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (HIGH, LOW, "0 <= low_hz < high_hz"),
        (LOW, HIGH[:-1], "the same axes"),
        (LOW - 500, HIGH, "0 <= low_hz < high_hz"),
        (LOW * np.nan, HIGH, "finite"),
        (LOW[:0], HIGH[:0], "one or more"),
        (LOW[:3], HIGH[:3], "the same filters"),
        (np.stack([LOW, LOW]), np.stack([HIGH, HIGH]), "the same filters"),
    ],
)
def test_edges_that_are_no_bands_are_refused(low, high, message):
    with pytest.raises(ValueError, match=message):
        plots.plot_filter_movement(LOW, HIGH, low, high)


@pytest.mark.parametrize("is_complex", [True, False])
def test_cumulative_responses_are_sums(is_complex):
    filters = bands.band_kernels(LOW, HIGH, sample_rate=RATE, kernel_size=101)
    filters = filters if is_complex else filters.real
    banks = {"all": filters, "one": filters[6:7]}
    figure = plots.plot_cumulative_response(banks, sample_rate=RATE, title="$")
    gains, powers = figure.axes
    assert [line.get_label() for line in gains.lines] == ["all", "one"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["all", "one"]
    frequency_hz, total = gains.lines[0].get_data()
    waves = np.exp(-2j * np.pi * np.outer(np.arange(101), frequency_hz) / RATE)
    expected = np.abs(filters @ waves)
    np.testing.assert_allclose(total, expected.sum(0) / expected.sum(0).max(), atol=1e-9)
    power = (expected**2).sum(0)
    np.testing.assert_allclose(
        powers.lines[0].get_ydata(), 10 * np.log10(power / power.max()), atol=1e-6
    )
    frequency_hz, alone = gains.lines[1].get_data()
    assert LOW[6] < frequency_hz[np.argmax(alone)] < HIGH[6]
    assert np.std(_pixels(figure)) > 0.05


def test_the_frequency_axis_is_a_mel_scale():
    figure = plots.plot_cumulative_response({"x": np.ones((1, 3))}, sample_rate=8000)
    for axis in figure.axes:
        assert axis.get_xlim() == (0.0, 4000.0)
        labels = [label.get_text() for label in axis.get_xticklabels()]
        assert labels == ["0", "0.2", "0.5", "1", "2", "4"]
        places = axis.transData.transform([[hz, 0.0] for hz in (0, 1000, 4000)])[:, 0]
        share = (places[1] - places[0]) / (places[2] - places[0])
        assert share == pytest.approx(np.log(1 + 10 / 7) / np.log(1 + 40 / 7), abs=1e-6)


@pytest.mark.parametrize("bins", [40, 128])
def test_a_sum_of_many_filters_is_a_line_with_a_band_of_ripples(bins):
    spec = isn.FilterbankSpec(sample_rate=RATE, hop_length=125, num_bins=bins, shape="none")
    kernels = spec.design_kernels()
    figure = plots.plot_filterbank(kernels, sample_rate=RATE, center_hz=spec.center_hz)
    total = figure.axes[2]
    frequency_khz, level_db = total.lines[0].get_data()
    power = np.sum(bands.responses(kernels, 1000 * frequency_khz, sample_rate=RATE) ** 2, axis=0)
    exact_db = 10 * np.log10(power / power.mean())
    if bins == 40:
        np.testing.assert_allclose(level_db, exact_db, atol=1e-6)
        assert not total.collections
        return
    inside = slice(len(level_db) // 10, -len(level_db) // 10)
    assert np.ptp(level_db[inside]) < 0.1 * np.ptp(exact_db[inside])
    [band] = total.collections
    [path] = band.get_paths()
    low, high = path.vertices[:, 1].min(), path.vertices[:, 1].max()
    assert (low, high) == (pytest.approx(exact_db.min()), pytest.approx(exact_db.max()))
    assert np.ptp(total.get_ylim()) >= 6.0


def test_many_banks_and_one():
    filters = bands.band_kernels(LOW, HIGH, sample_rate=RATE, kernel_size=101)
    figure = plots.plot_cumulative_response(
        {f"bank {index}": filters for index in range(9)}, sample_rate=RATE
    )
    assert len(figure.legends[0].get_texts()) == 9
    _pixels(figure)
    assert not plots.plot_cumulative_response({"bank": filters}, sample_rate=RATE).legends


def test_cumulative_responses_need_filters():
    with pytest.raises(ValueError, match="one bank or more"):
        plots.plot_cumulative_response({}, sample_rate=RATE)
    with pytest.raises(ValueError, match=r"banks\['x'\]\.shape=\(3,\): give \[filters, taps\]"):
        plots.plot_cumulative_response({"x": np.ones(3)}, sample_rate=RATE)


@pytest.mark.quick(0)
def test_an_animation_moves_and_can_be_saved(tmp_path):
    low, high, steps = _moved()
    animation = plots.animate_filters(
        low, high, steps, sample_rate=RATE, kernel_size=101, num_shown=4, title="run"
    )
    animation.save(tmp_path / "training.gif", writer="pillow", dpi=40)
    figure = animation._fig
    above, below = figure.axes
    assert figure.get_suptitle() == "run: step 400"
    paths = below.collections[0].get_segments()
    np.testing.assert_allclose(paths[3][:, 0], (low[:, 3] + high[:, 3]) / 2)
    np.testing.assert_allclose(paths[3][:, 1], steps)
    curves = above.collections[0].get_segments()
    assert len(curves) == 4
    last = (low[-1] + high[-1]) / 2
    for curve, center_hz in zip(curves, last[[0, 3, 7, 11]], strict=True):
        assert curve[np.argmax(curve[:, 1]), 0] == pytest.approx(center_hz, rel=0.15)
    with PIL.Image.open(tmp_path / "training.gif") as picture:
        frames = [np.asarray(frame.convert("L")) for frame in PIL.ImageSequence.Iterator(picture)]
        assert picture.info["duration"] == 100
    assert len(frames) == 5
    assert all(np.any(a != b) for a, b in itertools.pairwise(frames))


def test_an_animation_becomes_a_page_and_leaves_out_steps():
    low, high, steps = _moved(23)
    animation = plots.animate_filters(
        low, high, steps, sample_rate=RATE, kernel_size=51, max_frames=3
    )
    page = animation.to_jshtml()
    assert page.count("data:image/png;base64") == 3
    assert animation._fig.get_suptitle() == "step 2200"


def test_an_animation_of_one_step_and_one_filter(tmp_path):
    animation = plots.animate_filters(
        LOW[None, :1], HIGH[None, :1], np.array([7]), sample_rate=RATE, max_frames=1
    )
    animation.save(tmp_path / "one.gif", writer="pillow", dpi=40)
    assert animation._fig.get_suptitle() == "step 7"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": np.arange(4)}, r"steps.shape=\(4,\)"),
        ({"steps": np.array([0, 2, 2, 3, 4])}, "steps must increase"),
        ({"sample_rate": 4000}, "above half of sample_rate=4000"),
        ({"kernel_size": 10}, "kernel_size=10 must be odd"),
        ({"shape": "round"}, "shape='round'"),
        ({"num_shown": 0}, "num_shown=0"),
        ({"frames_per_second": 0}, "frames_per_second=0"),
    ],
)
def test_an_impossible_animation_is_refused(changes, message):
    low, high, steps = _moved()
    arguments = {"steps": steps, "sample_rate": RATE, **changes}
    with pytest.raises(ValueError, match=message):
        plots.animate_filters(low, high, **arguments)


def test_the_design_agrees_with_the_module_of_kernels():
    """Shapes with parameters of their own are drawn as they begin."""
    found = bands.band_kernels(LOW, HIGH, sample_rate=RATE, kernel_size=51, shape="pfnet")
    plain = kernels.design_kernels(
        (LOW + HIGH) / 2,
        HIGH - LOW,
        sinc_bands.reference_window(51),
        sample_rate=RATE,
        shape="sinc",
        component="complex",
        normalization="gain",
    )
    np.testing.assert_allclose(found, plain, atol=1e-9)


def test_nothing_global_is_touched_by_animations():
    pyplot = sys.modules.get("matplotlib.pyplot")
    before = pyplot.get_fignums() if pyplot else []
    low, high, steps = _moved(2)
    plots.animate_filters(low, high, steps, sample_rate=RATE, kernel_size=51).to_jshtml()
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert (pyplot.get_fignums() if pyplot else []) == before


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    low, high, steps = _moved()
    with pytest.raises(ImportError, match=r"isincnet-jax\[plots\]"):
        plots.animate_filters(low, high, steps, sample_rate=RATE)
    with pytest.raises(ImportError, match=r"isincnet-jax\[plots\]"):
        plots.plot_filter_movement(LOW, HIGH, LOW, HIGH)
