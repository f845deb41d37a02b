"""JAX layers as nodes of PyTorch's graph: values, gradients, memory, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from all_layers import CASES

import isincnet_jax as isn

torch = pytest.importorskip("torch", reason="PyTorch is not installed; the extra torch brings it")

SPEC = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
STFT = isn.STFT(n_fft=64, hop_length=16, output_format="complex")
LOG = isn.LogCompression(trainable=True)


def _noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


def _tensor(values, *, grad=True):
    made = torch.from_numpy(np.array(values))
    return made.requires_grad_(grad and (made.is_floating_point() or made.is_complex()))


def _weighted(tree, weights, array) -> Any:
    """A real number of all that a layer gives back, and differentiable in PyTorch and JAX."""
    leaves = jax.tree.leaves(tree)
    return sum((array(w) * abs(leaf) ** 2).sum() for w, leaf in zip(weights, leaves, strict=True))


# Real and complex, in and out; integers; several arrays; a tuple; parameters and batch statistics.
QUICK = ("SincConv", "STFT complex", "InverseSTFT trainable")
NAMES = [
    "Analysis learnable",
    "CQT",
    "EfficientLeafFrontend",
    "InvertibleCQT decode",
    "InvertibleCQT magnitude",
    "LappedBank decode",
    "MelSpectrogram trainable",
    "NonuniformBank",
    "NonuniformBank decode",
    "SincNet learned",
    "SincNet reflect",
]


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.tail) for name in NAMES)]
)
def test_values_and_gradients_are_those_of_jax(name):
    case = CASES[name]
    layer, variables, values = case.build(), case.variables(), case.values()
    options = dict(case.options)
    method = options.pop("method", "__call__")
    function = isn.torch_function(layer, variables, method=method, trainable="params" in variables)
    waveform = _tensor(values)
    found = function(waveform, **options)
    wanted = jax.jit(case.apply)(variables, values)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-6, atol=1e-7)

    weights = [_noise(*leaf.shape, seed=i) + 1 for i, leaf in enumerate(jax.tree.leaves(wanted))]
    _weighted(found, weights, torch.from_numpy).backward()

    def loss(variables, values):
        return _weighted(case.apply(variables, values), weights, jnp.asarray)

    of_variables, of_values = jax.jit(jax.grad(loss, (0, 1)))(variables, values)
    # PyTorch's gradient of a complex number is the conjugate of JAX's.
    _assert_close(waveform.grad.numpy(), np.conj(of_values))
    learned = dict(function.named_parameters())
    slopes = {
        "/".join(str(part.key) for part in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(of_variables.get("params", {}))
    }
    assert set(learned) == set(slopes)
    for path, slope in slopes.items():
        _assert_close(learned[path].grad.numpy(), slope)


def _assert_close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.max(np.abs(theirs)))


@pytest.mark.tail
def test_codes_go_in_and_come_out_without_gradients():
    case = CASES["TokenCodec decode"]
    layer, variables = case.build(), case.variables()
    decode = isn.torch_function(layer, variables, method="decode")
    codes, scales = (_tensor(one) for one in case._inputs(case.values()))
    found = decode(codes, scales, length=case.options["length"])
    found.square().sum().backward()
    assert codes.grad is None
    assert bool(torch.any(scales.grad != 0))
    encode = isn.torch_function(layer, variables, method="encode")
    waveform = _tensor(_noise(1, 300))
    again, its_scales = encode(waveform)
    assert again.dtype == torch.int32
    assert not again.requires_grad
    assert its_scales.requires_grad


def test_a_codec_is_a_module_and_trains_in_pytorch():
    codec = isn.build_codec(isn.SincNet(SPEC, learnable_decoder=True))
    encode = isn.torch_function(codec, method="encode")
    decode = isn.torch_function(codec, method="decode", trainable=True)
    assert repr(decode) == "JaxModule(SincNet.decode)"
    assert list(encode.parameters()) == []
    assert [name for name, _ in decode.named_parameters()] == ["synthesis/kernels"]
    waveform = torch.from_numpy(_noise(2, 100))
    codes = encode(waveform)
    assert not codes.requires_grad
    (kernels,) = decode.parameters()
    losses = []
    for _ in range(3):
        loss = (decode(codes, length=100) - 0.5 * waveform).square().mean()
        (slope,) = torch.autograd.grad(loss, kernels)
        with torch.no_grad():
            kernels -= 1e-3 * slope  # in place, as optimizers do: the memory that JAX was handed
        losses.append(float(loss.detach()))
    assert losses[0] > losses[1] > losses[2] > 0
    variables = decode.variables()
    with torch.no_grad():
        found = decode(codes, length=100).numpy()
    wanted = dataclasses.replace(codec, variables=variables).decode(codes.numpy(), length=100)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)
    other = isn.torch_function(codec, method="decode", trainable=True)
    other.load_state_dict(decode.state_dict())
    np.testing.assert_array_equal(other(codes, length=100).detach().numpy(), found)
    before = np.array(variables["params"]["synthesis"]["kernels"])
    with torch.no_grad():
        kernels.zero_()
    np.testing.assert_array_equal(variables["params"]["synthesis"]["kernels"], before)


def test_memory_that_changes_afterwards_changes_no_gradient():
    function = isn.torch_function(LOG, LOG.init(jax.random.key(0), jnp.ones((1, 4))))
    values = np.abs(_noise(2, 5, 4))
    waveform = torch.from_numpy(values.copy())
    leaf = waveform.clone().requires_grad_()
    handed = leaf * 1  # not a leaf: it may be written to
    found = function(handed)
    kept = found.detach().clone()
    total = (found * 2).sum()
    with torch.no_grad():
        handed.zero_()
        found.zero_()
    total.backward()
    wanted = torch.from_numpy(values.copy()).requires_grad_()
    again = function(wanted)
    (again * 2).sum().backward()
    torch.testing.assert_close(leaf.grad, wanted.grad)
    torch.testing.assert_close(kept, again.detach())


def test_contiguous_tensors_are_not_copied():
    from isincnet_jax.bridges.torch_modules import _to_jax

    waveform = torch.from_numpy(_noise(4, 1024)).clone()  # of PyTorch's allocator: aligned
    assert _to_jax(waveform).unsafe_buffer_pointer() == waveform.data_ptr()
    values = jnp.asarray(_noise(4, 64))
    assert torch.from_dlpack(values).data_ptr() == values.unsafe_buffer_pointer()


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:, 3:],
        lambda x: x.T.contiguous().T,
        lambda x: x[::2],
        lambda x: x[:1].expand(3, -1),
        lambda x: torch.view_as_complex(torch.stack([x, x], -1)).conj().imag,
    ],
    ids=["unaligned", "transposed", "strided", "broadcast", "negative"],
)
def test_views_are_taken_as_they_are(view):
    function = isn.torch_function(isn.MuLawCompression())
    seen = view(torch.from_numpy(_noise(4, 64)))
    assert function(seen).shape == seen.shape
    wanted: Any = isn.MuLawCompression().apply({}, seen.resolve_neg().numpy())
    np.testing.assert_allclose(function(seen).numpy(), wanted, rtol=1e-6)


def test_conjugate_views_too():
    back = isn.torch_function(isn.InverseSTFT(n_fft=64, hop_length=16))
    forth = isn.torch_function(STFT)
    spectrum = forth(torch.from_numpy(_noise(2, 300)))
    found = back(spectrum.conj(), length=300)
    torch.testing.assert_close(found, back(spectrum.conj().resolve_conj(), length=300))


def test_gradients_of_gradients_are_refused():
    function = isn.torch_function(isn.MuLawCompression())
    waveform = torch.from_numpy(_noise(2, 8)).requires_grad_()
    (slope,) = torch.autograd.grad(function(waveform).sum(), waveform, create_graph=True)
    with pytest.raises(RuntimeError, match=r"MuLawCompression.__call__ runs in JAX"):
        slope.square().sum().backward()
    # Asked for, but not used: nothing is wrong.
    (again,) = torch.autograd.grad(function(waveform).sum(), waveform, create_graph=True)
    torch.testing.assert_close(again.detach(), slope.detach())


def test_only_what_needs_a_gradient_is_differentiated(monkeypatch):
    from isincnet_jax.bridges import torch_function

    asked = []

    def run(fixed, arrays, call, wanted):
        asked.append(wanted)
        return original(fixed, arrays, call, wanted)

    original = torch_function.run
    monkeypatch.setattr(torch_function, "run", run)
    function = isn.torch_function(LOG, LOG.init(jax.random.key(0), jnp.ones((1, 4))))
    values = torch.ones(1, 4)
    function(values)
    with torch.no_grad():
        function(values.clone().requires_grad_())
    function(values.clone().requires_grad_())
    assert asked == [(False,), (False,), (True,)]


def test_programs_are_compiled_once_for_a_shape():
    from isincnet_jax.bridges import torch_function

    programs: Any = (torch_function._run_with_pullback, torch_function.pull)
    sizes = []
    layer = isn.MuLawCompression(mu=100.0)
    for _ in range(3):  # a module each: it is the layer that counts
        waveform = torch.from_numpy(_noise(3, 7)).requires_grad_()
        isn.torch_function(layer)(waveform).sum().backward()
        sizes.append([one._cache_size() for one in programs])
    assert sizes[0] == sizes[1] == sizes[2]


class TestRefusals:
    @property
    def function(self):
        return isn.torch_function(STFT)

    @pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int64"])
    def test_other_dtypes(self, dtype):
        hint = "int" if dtype == "int64" else "float"
        with pytest.raises(TypeError, match=rf"dtype=torch.{dtype}: .* use tensor.{hint}\(\)"):
            self.function(torch.ones(1, 300, dtype=getattr(torch, dtype)))

    def test_what_is_no_tensor(self):
        with pytest.raises(TypeError, match="an input is a ndarray; PyTorch tensors are needed"):
            self.function(np.ones((1, 300), np.float32))

    def test_nothing(self):
        with pytest.raises(ValueError, match="tensors on no device: give one or more"):
            self.function()

    def test_devices_that_jax_lacks(self):
        with pytest.raises(ValueError, match=r"on meta, .*only cpu and cuda .* use tensor.cpu\(\)"):
            self.function(torch.ones(1, 300, device="meta"))

    def test_what_the_layer_refuses(self):
        with pytest.raises(TypeError, match="dtype=int32"):
            self.function(torch.ones(1, 300, dtype=torch.int32))

    def test_options_that_are_arrays(self):
        with pytest.raises(TypeError, match=r"options \['length'\] are compiled in"):
            self.function(torch.ones(1, 300), length=np.ones(3))

    def test_missing_variables(self):
        function = isn.torch_function(isn.SincConv(num_filters=4, kernel_size=33))
        with pytest.raises(ValueError, match="SincConv lacks variables: give torch_function"):
            function(torch.ones(1, 300))

    def test_nothing_to_train(self):
        with pytest.raises(ValueError, match=r"trainable=True, but .* STFT hold no parameters"):
            isn.torch_function(STFT, trainable=True)

    def test_what_is_no_layer(self):
        with pytest.raises(TypeError, match="model is a int; a Linen module is needed"):
            isn.torch_function(3)  # type: ignore[arg-type]
