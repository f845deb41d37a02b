"""A name that gets another meaning: specs, layers, caches and files tell the two apart."""

from __future__ import annotations

import copy
import functools
import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax.bank import design
from isincnet_jax.bank import solve as decoding
from isincnet_jax.bank.dsp import shapes
from isincnet_jax.classifiers.ms_sincresnet import MSSincResNet
from isincnet_jax.classifiers.networks import SincNetClassifier
from isincnet_jax.dsp import meanings, scales
from isincnet_jax.exports import stablehlo
from isincnet_jax.pretrained.members import ModelFileError
from isincnet_jax.tokens import archive

GEOMETRY = {"sample_rate": 8000, "hop_length": 8, "num_bins": 17, "scale": "erb"}
KEY = jax.random.key(0)


def _decay(slope, time_s, bandwidth_hz, xp):
    return xp.exp(-slope * np.pi * bandwidth_hz * xp.abs(time_s))


def _shape(slope: float, **options) -> shapes.Shape:
    return shapes.Shape(functools.partial(_decay, slope), **options)


@pytest.fixture
def register(monkeypatch):
    """Gives the name "mine" a decay of that slope, as a cell that is edited and run again does."""
    return lambda slope: monkeypatch.setitem(shapes.SHAPES, "mine", _shape(slope))


def _spec(**options) -> isn.FilterbankSpec:
    return isn.FilterbankSpec(**{**GEOMETRY, "shape": "mine", **options})


def _noise(length: int) -> np.ndarray:
    return np.random.default_rng(length).standard_normal((1, length)).astype(np.float32)


def _snr_db(target, prediction):
    return 10 * np.log10(np.sum(target**2) / np.sum((prediction - target) ** 2))


@pytest.mark.parametrize("learnable", [False, True, "free"])
def test_a_shape_defined_again_is_seen_and_what_was_built_keeps_its_own(register, learnable):
    codecs, coefficients = [], []
    for slope in (1.0, 0.25):
        register(slope)
        codecs.append(isn.build_codec(isn.SincNet(_spec(), learnable_filters=learnable)))
        coefficients.append(np.asarray(codecs[-1].encode(_noise(200))))
    assert not np.allclose(*coefficients, atol=1e-3)
    np.testing.assert_array_equal(codecs[0].encode(_noise(200)), coefficients[0])
    for codec in codecs:  # another length is compiled anew, with the filters that the codec has
        again = codec.decode(codec.encode(_noise(240)), length=240)
        assert _snr_db(_noise(240), np.asarray(again)) > 100


def test_every_cache_of_designs_tells_the_shapes_apart(register):
    found = []
    for slope in (1.0, 0.25):
        register(slope)
        spec = _spec()
        found.append(
            (
                spec,
                spec.digest(),
                spec.bank.kernels.tobytes(),
                design.frame_bounds(spec).condition,
                decoding.design_decoder(_spec()).values.tobytes(),
            )
        )
    assert all(first != second for first, second in zip(*found, strict=True))


def test_the_same_function_registered_again_is_the_same_shape(register):
    register(0.5)
    first = _spec()
    register(0.5)
    assert _spec() == first
    assert hash(_spec()) == hash(first)
    assert _spec().bank is first.bank


@pytest.mark.parametrize(
    "other",
    [_shape(1.0, even=False), _shape(1.0, symmetric=False), _shape(1.0 + 1e-5)],
    ids=["even", "symmetric", "slope"],
)
def test_flags_and_small_changes_make_another_shape(register, monkeypatch, other):
    register(1.0)
    first = _spec()
    monkeypatch.setitem(shapes.SHAPES, "mine", other)
    assert _spec() != first


def test_initial_parameters_make_another_shape(monkeypatch):
    def envelope(time_s, bandwidth_hz, xp, *, slope):
        return _decay(slope, time_s, bandwidth_hz, xp)

    specs = []
    for start in (1.0, 0.5):
        shape = shapes.Shape(envelope, lambda bins, start=start: {"slope": np.full(bins, start)})
        monkeypatch.setitem(shapes.SHAPES, "mine", shape)
        specs.append(_spec())
    assert specs[0] != specs[1]
    kernels = [spec.bank.kernels for spec in specs]
    assert not np.allclose(*kernels)


def test_a_function_that_reads_a_variable(monkeypatch):
    slopes = {"now": 0.6}  # no other test's, whose compiled functions would serve
    monkeypatch.setitem(
        shapes.SHAPES, "mine", shapes.Shape(lambda t, b, xp: _decay(slopes["now"], t, b, xp))
    )
    model = isn.SincNet(_spec(), learnable_filters=True)
    codec = isn.build_codec(model)
    before = codec.encode(_noise(200))
    slopes["now"] = 0.15
    np.testing.assert_array_equal(codec.encode(_noise(200)), before)  # compiled: as it was
    with pytest.raises(meanings.MeaningError, match=r"shape='mine' has changed .* variable"):
        codec.encode(_noise(240))  # not new filters with the old decoder
    again = isn.build_codec(isn.SincNet(_spec(), learnable_filters=True))
    assert _snr_db(_noise(240), again.decode(again.encode(_noise(240)), length=240)) > 100


@functools.partial(jax.jit, static_argnums=0)
def _apply_filters(layer):
    variables = layer.init(KEY, jnp.zeros((1, 400)))
    return layer.apply(variables, method="filters")


@pytest.mark.parametrize(
    "options", [{"shape": "mine"}, {"shape": "free", "initial_shape": "mine"}], ids=["own", "free"]
)
def test_learned_bands_as_static_arguments(register, options):
    found = []
    for slope in (1.0, 0.25):
        register(slope)
        found.append(_apply_filters(isn.SincConv(num_filters=4, kernel_size=31, **options)))
    assert not np.allclose(*found)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SincNetClassifier(3, shape="mine"),
        lambda: MSSincResNet(3, shape="mine"),
        lambda: isn.SincConv(shape="mine"),
        lambda: isn.SincNet(_spec()),
    ],
)
def test_modules_of_two_shapes_differ_as_static_arguments(register, make):
    register(1.0)
    first = make()
    assert first == make()
    assert hash(first) == hash(make())
    register(0.25)
    assert first != make()
    assert first.clone() == first  # a copy keeps the shape that it was built with


def test_scales_are_told_apart_too(monkeypatch):
    def register(power):
        scale = scales.FrequencyScale(
            lambda hz: np.sign(hz) * np.abs(hz) ** power,
            lambda unit: np.sign(unit) * np.abs(unit) ** (1 / power),
        )
        monkeypatch.setitem(scales.SCALES, "power", scale)

    found = []
    for power in (0.5, 0.7):
        register(power)
        spec = _spec(scale="power", shape="sinc")
        layer = isn.SincConv(num_filters=4, kernel_size=31, initial_scale="power")
        model = isn.SincNet(_spec(scale="linear", shape="sinc"), projections=("power",))
        projected = isn.build_codec(model).encode(_noise(200), scale="power")
        found.append((spec, layer, model, spec.bank.kernels.tobytes(), projected))
    for first, second in list(zip(*found, strict=True))[:4]:
        assert first != second
    assert not np.allclose(found[0][-1], found[1][-1])
    np.testing.assert_allclose(found[0][0].center_hz, (np.linspace(0, 4000**0.5, 17)) ** 2)


def test_a_built_in_name_may_be_given_another_meaning(monkeypatch):
    plain = _spec(shape="sinc")
    kernels = plain.design_kernels()
    monkeypatch.setitem(shapes.SHAPES, "sinc", _shape(1.0))
    assert _spec(shape="sinc") != plain
    assert "shape_digest" in _spec(shape="sinc").to_dict()
    np.testing.assert_array_equal(plain.design_kernels(), kernels)
    monkeypatch.setitem(scales.SCALES, "mel_htk", scales.SCALES["log"])
    before = isn.SincConv()
    monkeypatch.undo()
    assert before != isn.SincConv()


def test_names_stay_texts(register):
    register(1.0)
    spec = _spec()
    assert spec.shape == "mine"
    assert f"{spec.shape}" == "mine"
    assert spec.shape in {"mine": 1}
    assert repr(spec.shape) == "'mine'"
    for same in (copy.deepcopy(spec), pickle.loads(pickle.dumps(spec)), spec.replace(shape="mine")):
        assert same == spec
    text = json.dumps(spec.to_dict())
    assert type(json.loads(text)["shape"]) is str
    assert isn.FilterbankSpec.from_dict(json.loads(text)) == spec


def test_files_of_built_in_shapes_have_no_digests():
    values = isn.FilterbankSpec().to_dict()
    assert [name for name in values if "digest" in name] == []
    assert {type(values["shape"]), type(values["scale"])} == {str}
    assert isn.FilterbankSpec().digest() == "289a7245ac32586d"  # as it always was


def test_another_process_with_another_function_is_told(register):
    register(1.0)
    pickled, stored = pickle.dumps(_spec()), _spec().to_dict()
    register(0.25)
    for restore in (lambda: pickle.loads(pickled), lambda: isn.FilterbankSpec.from_dict(stored)):
        with pytest.raises(meanings.MeaningError, match="'mine' registered here is another"):
            restore()
    before = {name: value for name, value in stored.items() if name != "shape_digest"}
    assert isn.FilterbankSpec.from_dict(before) == _spec()  # written before digests were


def test_headers_of_files_carry_the_digest(register):
    register(1.0)
    common = {"model": "m", "length": 8, "original_length": 8, "original_rate": 8000}
    plain = archive.Header(_spec(), **common)
    coded = archive.Header(_spec(), q_bits=8, mu=30.0, **common)
    for header in (plain, coded):
        assert type(header).from_json(header.to_json()) == header
    register(0.25)
    for header in (plain, coded):
        with pytest.raises(meanings.MeaningError, match="is another function"):
            type(header).from_json(header.to_json())


def test_stored_models_and_the_cache_on_disk(register, tmp_path):
    register(1.0)
    first, second = tmp_path / "first", tmp_path / "second"
    cache = {"cache_dir": tmp_path / "cache"}
    isn.export_pretrained(isn.build_codec(isn.SincNet(_spec())), first)
    coefficients = isn.from_pretrained(first, **cache).encode(_noise(200))
    register(0.25)
    isn.export_pretrained(isn.build_codec(isn.SincNet(_spec())), second)
    assert not np.allclose(isn.from_pretrained(second, **cache).encode(_noise(200)), coefficients)
    assert len(list((tmp_path / "cache").iterdir())) == 2
    with pytest.raises(ModelFileError, match=r"'mine' registered here is another function .*there"):
        isn.from_pretrained(first, **cache)
    register(1.0)
    np.testing.assert_array_equal(
        isn.from_pretrained(first, **cache).encode(_noise(200)), coefficients
    )


def test_the_description_of_a_program_has_the_digest(register):
    register(1.0)
    codec = isn.build_codec(isn.SincNet(_spec()))
    program = stablehlo.export_program(codec, part="encode", platforms=("cpu",))
    assert program.description["spec"]["shape_digest"] == _spec().shape.digest


def test_digests_do_not_depend_on_the_last_bits():
    values = np.linspace(0.0, 1.0, 100) ** 2 + 0.123
    one = meanings.digest_values("", [values, -0.0])
    assert meanings.digest_values("", [values * (1 + 1e-15), 0.0]) == one
    assert meanings.digest_values("", [values + 1e-6, 0.0]) != one
    assert meanings.digest_values("even", [values, 0.0]) != one
