"""Every family of filters: gradients of every parameter, and what no parameter can break.

Gradients are held against central finite differences of fourth order in float64, parameter by
parameter. At the limits (bands at 0 Hz, at the Nyquist frequency, without width, huge and negative
parameters, breakpoints that coincide, amplitudes of 0, silence) everything is float32.
"""

from __future__ import annotations

import functools
import itertools

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.bank.analysis import Analysis
from isincnet_jax.bank.dsp import polyline, shapes
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.frontends import sinc_bands
from isincnet_jax.frontends.leaf import LeafFrontend
from isincnet_jax.frontends.sinc_conv import SincConv

KEY = jax.random.key(0)
FAMILIES = (*shapes.SHAPES, "free")
STEP = 1e-4
BANKS = (
    {"normalization": "reference", "component": "complex"},
    {"normalization": "reference", "parametrization": "mel"},
    {"normalization": "gain", "component": "complex"},
    {"normalization": "energy", "window": "hann"},
)
SPECS = (
    {"normalization": "l1"},
    {"normalization": "l2", "component": "real", "causal": True},
    {"normalization": "gain", "window": "hamming"},
    {"normalization": "none"},
)


def _each(options, *, families=FAMILIES, shift=0):
    """Every family with one of the options in turn, so that all meet symmetric shapes and others.

    What an option does to a shape is common to both layers, which take their turns shifted.
    """
    pairs = [(one, options[(turn + shift) % len(options)]) for turn, one in enumerate(families)]
    return [
        pytest.param(*pair, id="-".join([pair[0], *map(str, pair[1].values())])) for pair in pairs
    ]


def _check_gradients(loss, params, *, without_effect=()):
    """d loss / d every parameter against five points on a line each, to 1e-6."""
    leaves, structure = jax.tree.flatten(params)
    ends = np.cumsum([leaf.size for leaf in leaves])
    flat = np.concatenate([np.ravel(leaf) for leaf in leaves])
    moves = STEP * np.eye(len(flat))
    points = np.concatenate([flat[None], *(flat + factor * moves for factor in (1, -1, 2, -2))])

    def at(point):
        parts = jnp.split(point, ends[:-1])
        shaped = [jnp.reshape(p, leaf.shape) for p, leaf in zip(parts, leaves, strict=True)]
        return loss(jax.tree.unflatten(structure, shaped))

    found = jax.jit(lambda points: jax.lax.map(jax.value_and_grad(at), points))(points)
    values, gradients = map(np.asarray, found)
    values = values[1:].reshape(4, -1)
    slopes = (8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * STEP)
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    parts = zip(names, *(np.split(v, ends[:-1]) for v in (gradients[0], slopes)), strict=True)
    for name, gradient, numeric in parts:
        largest = np.max(np.abs(numeric))
        assert (largest > 0) == (name not in without_effect), name
        # Parameters of little effect: relative to the one of the same name that has most.
        np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-7 * largest, err_msg=name)


def _own(shape, rng, bins):
    """Parameters of a shape, away from the start, where amplitudes and gaps are equal."""
    found = shapes.SHAPES[shape].parameters(bins)
    return {name: rng.uniform(-0.5, 0.5, v.shape) for name, v in found.items()}


def _weighted(layer, waveform, rng):
    """Params to a random linear form of the layer's output."""
    variables = jax.eval_shape(layer.init, KEY, waveform)
    frames = jax.eval_shape(layer.apply, variables, waveform)
    weight = jnp.asarray(rng.standard_normal(frames.shape))
    return lambda params: jnp.sum(weight * layer.apply({"params": params}, waveform))


@pytest.mark.quick(3)
@pytest.mark.parametrize(("shape", "options"), _each(BANKS))
def test_gradients_of_sincconv_are_those_of_finite_differences(shape, options, rng, x64):
    options = {"parametrization": "normalized", **options}
    sizes = {"num_filters": 3, "kernel_size": 33, "stride": 8}
    layer = SincConv(**sizes, **options, shape=shape, dtype=jnp.float64)
    if shape == "free":
        channels = 6 if layer.component == "complex" else 3
        params = {"taps": rng.standard_normal((channels, 33))}
    else:
        edges = {"low": np.array([0.03, 0.22, 0.51]), "band": np.array([0.11, 0.24, 0.3])}
        params = {**edges, **_own(shape, rng, 3)}
    _check_gradients(_weighted(layer, jnp.asarray(rng.standard_normal(80)), rng), params)


@pytest.mark.quick(3)
@pytest.mark.parametrize(("shape", "options"), _each(SPECS, shift=1))
def test_gradients_of_an_analysis_are_those_of_finite_differences(shape, options, rng, x64):
    free = shape == "free"
    sizes = {"sample_rate": 8000, "hop_length": 8, "num_bins": 3, "kernel_size": 25}
    spec = FilterbankSpec(**sizes, shape="sinc" if free else shape, **options)
    learned = {"learnable": "free"} if free else {"learnable": True, "window_terms": 2}
    layer = Analysis(spec, **learned, dtype=jnp.float64)
    if free:
        # The last tap of a Hann window is 0, and so stays that of all filters.
        params = {"taps": rng.standard_normal((spec.num_channels, 25))}
    else:
        params = {
            "center": np.array([0.05, 0.31, 0.73]),
            "bandwidth": np.array([0.12, 0.27, 0.38]),
            "window": np.array([0.2, -0.1]),
            **_own(shape, rng, 3),
        }
    without_effect = ("['bandwidth']",) if shape == "none" else ()  # the window alone
    loss = _weighted(layer, jnp.asarray(rng.standard_normal(40)), rng)
    _check_gradients(loss, params, without_effect=without_effect)


@pytest.mark.parametrize("parametrization", sinc_bands.PARAMETRIZATIONS)
def test_gradients_of_every_parametrization(parametrization, rng, x64):
    layer = SincConv(
        num_filters=3,
        kernel_size=33,
        stride=8,
        parametrization=parametrization,
        shape="gauss",
        dtype=jnp.float64,
    )
    scale = 8000.0 if parametrization == "hz" else 1.0  # steps are fractions of the scale
    params = {"low": np.array([0.03, 0.2, -0.5]), "band": np.array([-0.1, 0.2, 0.3])}
    loss = _weighted(layer, jnp.asarray(rng.standard_normal(80)), rng)
    _check_gradients(lambda moved: loss({k: v * scale for k, v in moved.items()}), params)


class _DoubleLeaf(LeafFrontend):
    """LEAF in double precision: its filters are the only part that insists on a dtype."""

    def _filterbank(self, name):
        bank = super()._filterbank(None)
        options = {
            field: getattr(bank, field)
            for field in bank.__dataclass_fields__
            if field not in ("parent", "name", "dtype")
        }
        placed = {"parent": None} if name is None else {"name": name}
        return SincConv(**options, dtype=jnp.float64, **placed)


def test_gradients_of_leaf_are_those_of_finite_differences(rng, x64):
    layer = _DoubleLeaf(num_filters=3, kernel_size=33, hop_length=16)
    waveform = jnp.asarray(rng.standard_normal(100))
    start = jax.eval_shape(layer.init, KEY, waveform)["params"]
    drawn = {path: rng.uniform(0.1, 0.4, leaf.shape) for path, leaf in _flat(start).items()}
    for name in ("log_gain", "log_power"):
        drawn[f"compression/{name}"] *= -1  # both count up to 1 only
    params = flax.traverse_util.unflatten_dict(drawn, sep="/")
    assert set(params) == {"filterbank", "pooling", "compression"}
    _check_gradients(_weighted(layer, waveform, rng), params)


def _flat(tree):
    return flax.traverse_util.flatten_dict(tree, sep="/")


# Limits, in float32.

EDGES = {
    "hz": (0.0, 7.0, -2000.0, 8000.0, -8000.0, 1e30, -1e30),
    "mel": (0.0, 1e-7, -0.3, 1.0, -1.0, 1e30, -1e30),
    "normalized": (0.0, 1e-7, -0.3, 1.0, -1.0, 1e30, -1e30),
}
HEIGHTS = (
    (0.0, 0.0, 0.0, 0.0, 0.0),
    (-2.0, -2.0, -2.0, -2.0, -2.0),
    (-2.0, 0.0, -2.0, 0.0, -2.0),
    (3e-7 - 2, -2.0, -2.0, -2.0, -2.0),
    (1e30, -1e30, 0.0, 1e30, 1e30),
    (3e38, 3e38, 3e38, 3e38, 3e38),
)
GAPS = (
    (0.0, 0.0, 0.0, 0.0),
    (0.0, -200.0, 200.0, 0.0),  # breakpoints that coincide
    (-80.0, 0.0, 0.0, 0.0),
    (1e30, -1e30, 3e38, -3e38),
)

LIMITED_BANKS = (
    {"parametrization": "mel", "normalization": "gain"},
    {"parametrization": "normalized", "normalization": "energy", "component": "complex"},
    {"parametrization": "hz", "normalization": "gain", "component": "complex"},
)
LIMITED_SPECS = (
    {"normalization": "l2"},
    {"normalization": "gain", "component": "real"},
    {"normalization": "l1", "causal": True},
)


def _corners(*columns):
    """All combinations of the values of some parameters, one per filter."""
    rows = list(itertools.product(*columns))
    return [jnp.asarray([row[index] for row in rows], jnp.float32) for index in range(len(columns))]


def _corner_parameters(shape, names, first, second):
    """All combinations of two parameters, and of those of the shape."""
    own = [*shapes.SHAPES[shape].parameters(1)]
    assert own in ([], ["heights", "gaps"])
    columns = _corners(first, second, *(HEIGHTS, GAPS)[: len(own)])
    return dict(zip((*names, *own), columns, strict=True))


@functools.partial(jax.jit, static_argnums=0)
def _outputs_and_gradients(layer, params, waveform):
    def loss(params, waveform):
        outputs = layer.apply({"params": params}, waveform)
        return jnp.sum(outputs), outputs

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, waveform)


def _check_finite(layer, params, count):
    noise = np.random.default_rng(3).standard_normal(count).astype(np.float32)
    for waveform in (noise, np.zeros_like(noise)):
        results = _outputs_and_gradients(layer, params, waveform)
        for path, leaf in jax.tree_util.tree_leaves_with_path(results):
            bad = np.argwhere(~np.isfinite(leaf))
            assert bad.size == 0, f"{jax.tree_util.keystr(path)} at {bad[:5].tolist()}"


@pytest.mark.quick(3)
@pytest.mark.parametrize(("shape", "options"), _each(LIMITED_BANKS, families=(*shapes.SHAPES,)))
def test_sincconv_is_finite_at_all_limits(shape, options):
    edges = EDGES[options["parametrization"]][:: 2 if shape == "pfnet" else 1]
    values = _corner_parameters(shape, ("low", "band"), edges, edges)
    layer = SincConv(
        num_filters=len(values["low"]),
        kernel_size=33,
        stride=16,
        min_low_hz=0.0,
        min_band_hz=0.0,
        shape=shape,
        **options,
    )
    _check_finite(layer, values, 60)


@pytest.mark.quick(4)
@pytest.mark.parametrize(
    ("shape", "options"), _each(LIMITED_SPECS, families=(*shapes.SHAPES,), shift=1)
)
def test_an_analysis_is_finite_at_all_limits(shape, options):
    centers = (0.0, 1.0, 0.5, -0.3, 1.7, 1e30)
    bandwidths = (0.0, 1e-7, -0.3, 1.0, 2.0, 1e30)
    values = _corner_parameters(shape, ("center", "bandwidth"), centers, bandwidths)
    sizes = {"sample_rate": 8000, "hop_length": 8, "kernel_size": 25}
    spec = FilterbankSpec(**sizes, num_bins=len(values["center"]), shape=shape, **options)
    _check_finite(Analysis(spec, learnable=True), values, 40)


def test_free_taps_are_finite_at_all_limits():
    layer = SincConv(num_filters=5, kernel_size=33, stride=16, shape="free")
    taps = jnp.asarray([0.0, 1.0, -1.0, 1e30, -1e30], jnp.float32)[:, None] * jnp.ones((5, 33))
    _check_finite(layer, {"taps": taps}, 60)
    bands = jax.jit(lambda v: layer.apply(v, method="bands"))
    low, high = bands({"params": {"taps": taps}})
    assert np.all(np.isfinite(low) & np.isfinite(high))


@pytest.mark.parametrize("extreme", [-30.0, 0.0, 30.0])
def test_leaf_is_finite_at_all_limits(extreme):
    """Bands, widths of the pooling, which clips them, and PCEN's logarithms and logits.

    Gain and power of the PCEN go up to 1, as in LEAF.
    """
    edges = EDGES["normalized"][::2]
    low, band, width = _corners(edges, edges, (0.0, -1e30, 1e30))
    layer = LeafFrontend(num_filters=len(low), kernel_size=33, hop_length=16)
    variables = jax.eval_shape(layer.init, KEY, np.zeros(100, np.float32))
    compression = {
        name: jnp.full(
            len(low), min(extreme, 0.0) if name in ("log_gain", "log_power") else extreme
        )
        for name in variables["params"]["compression"]
    }
    bank = {"low": low, "band": band}
    params = {"filterbank": bank, "pooling": {"width": width}, "compression": compression}
    _check_finite(layer, params, 100)


def test_breakpoints_keep_their_order_in_float32_whatever_is_learned():
    rng = np.random.default_rng(1)
    gaps = (rng.standard_normal((500, 4)) * 10.0 ** rng.uniform(-3, 38, (500, 1))).astype("f4")
    _, places = polyline.points(jnp.zeros((500, 5)), jnp.asarray(gaps), jnp)
    assert np.all(np.diff(places) >= 0)
    assert np.all(np.asarray(places[:, 0]) == 0)
    np.testing.assert_allclose(places[:, -1], 1.0, atol=3e-7)
