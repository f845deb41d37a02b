"""What runs on a CPU here lowers for GPUs and TPUs, too, without one at hand.

Programs are lowered by :mod:`jax.export`, forward and backward, and their StableHLO is read: no
double precision, which TPUs have not (an FFT of it does not compile there), FFTs along one axis,
and no calls of what only this machine has, such as Python functions of the host. What a device
makes of a program, no such test can tell.
"""

from __future__ import annotations

import functools
import re

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from all_layers import CASES, RESOLUTIONS
from jax.sharding import Mesh, PartitionSpec
from test_every_layer import LONG, _gradient

import isincnet_jax as isn
from isincnet_jax.inversynth.synth import parameters, render
from isincnet_jax.pretrained.registry import LAPPED, NONUNIFORM, PRESETS, STORED
from isincnet_jax.training import losses, optimizers
from isincnet_jax.training import state as train_state
from isincnet_jax.training import step as train_step
from isincnet_jax.training.augmentation import AugmentationSpec
from isincnet_jax.vocoders import losses as vocoder_losses
from isincnet_jax.vocoders import training as vocoding

PLATFORMS = ("cuda", "tpu")
# The tridiagonal solver of cuSPARSE, which jaxlib brings for NVIDIA's devices.
ON_DEVICE = {"cuda": {"cusparse_gtsv2_ffi"}, "tpu": set()}
RATE, BATCH = 8000, 2
HEAVY = (*LONG, "RefinedDecoder magnitudes")
LARGE = (16, 10.0)
"""Clips and seconds: those of the benchmarks, which CPUs take in groups. Nothing is computed."""


def lower(function, *arguments):
    """StableHLO of a function by platform; arguments may be shapes, and only they are read."""
    program, shapes = jax.jit(function), jax.eval_shape(lambda *same: same, *arguments)
    return {
        platform: jax.export.export(program, platforms=[platform])(*shapes).mlir_module()
        for platform in PLATFORMS
    }


def faults(text, platform):
    """What a device of that kind could not run."""
    called = set(re.findall(r'custom_call @([^\s(]+)|call_target_name = "([^"]+)"', text))
    found = [f"calls {one or two}" for one, two in called if not {one, two} & ON_DEVICE[platform]]
    if re.search(r"[x<]f64>", text):
        found.append("double precision")
    if re.search(r"stablehlo\.fft[^\n]*length = \[\d+,", text):
        found.append("FFT along several axes")
    return found


def check(function, *arguments):
    """That devices run it; the programs."""
    programs = lower(function, *arguments)
    assert {name: faults(text, name) for name, text in programs.items()} == {"cuda": [], "tpu": []}
    return programs


def energy(tree):
    """Sum of squares of all leaves."""
    return sum((jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(tree)), jnp.zeros(()))


def backward(function):
    """Gradient of the energy of what a function makes of its last argument, for all arguments."""

    def gradient(*arguments):
        found = jax.grad(lambda every: energy(function(*every)), allow_int=True)(arguments)
        return jax.tree.map(lambda leaf: leaf if leaf.dtype != jax.dtypes.float0 else 0, found)

    return gradient


class TestFaults:
    """The checks see what they look for."""

    def test_callbacks(self):
        def host(x):
            return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

        with pytest.raises((ValueError, NotImplementedError), match=r"platform|backend"):
            lower(host, jnp.zeros(3))

    def test_double_precision(self, x64):
        text = lower(jnp.fft.rfft, jnp.zeros((2, 8), jnp.float64))["tpu"]
        assert faults(text, "tpu") == ["double precision"]

    def test_several_axes(self):
        text = lower(jnp.fft.fft2, jnp.zeros((2, 8, 8), jnp.complex64))["tpu"]
        assert faults(text, "tpu") == ["FFT along several axes"]

    def test_libraries_of_another_device(self):
        text = lower(jax.lax.linalg.tridiagonal_solve, *jnp.ones((3, 2, 5)), jnp.ones((2, 5, 1)))
        assert faults(text["cuda"], "cuda") == []
        assert faults(text["cuda"], "tpu") == ["calls cusparse_gtsv2_ffi"]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.tail if name in HEAVY else ()) for name in CASES]
)
def test_layers(name):
    """Results and gradients of one program, with respect to parameters and inputs."""
    case = CASES[name]
    check(functools.partial(_gradient, case), case.variable_shapes(), case.values())


def test_devices_smooth_in_parallel():
    """What is recursive on a CPU is no loop over frames elsewhere, wherever it is lowered."""
    for name in ("PCEN", "PCEN trainable"):
        case = CASES[name]
        programs = check(case.apply, case.variable_shapes(), case.values())
        assert not any("stablehlo.while" in text for text in programs.values())


def test_devices_take_all_clips_of_an_iteration_at_once():
    layer = isn.GriffinLim(n_fft=512, hop_length=128, n_iter=2)
    magnitude = jax.ShapeDtypeStruct((4, 400, 257), jnp.float32)
    programs = check(lambda values: layer.apply({}, values), magnitude)
    on_cpu = jax.jit(lambda values: layer.apply({}, values)).lower(magnitude).as_text()
    # iterations, and on a CPU clips around them
    assert on_cpu.count("stablehlo.while") == 2
    assert all(text.count("stablehlo.while") == 1 for text in programs.values())


def _noise(rate):
    clips, seconds = LARGE
    return jax.ShapeDtypeStruct((clips, round(seconds * rate)), jnp.float32)


# By FFTs, lapped, by blocks of real filters; the other ones are dense or as these.
KINDS = ("22khz-linear", "16khz-lapped", "16khz-linear-causal")


@pytest.mark.quick(len(KINDS))
@pytest.mark.parametrize("name", sorted({**PRESETS, **LAPPED}, key=lambda name: name not in KINDS))
def test_presets(name):
    codec = isn.from_pretrained(name)
    waveform = _noise(codec.spec.sample_rate)
    length = waveform.shape[-1]
    quantizer = codec.quantizer() if name in LAPPED else codec.quantizer(q_bits=8)

    def encode(codec, waveform):
        return codec.encode(waveform)

    def decode(codec, spectrogram):
        return codec.decode(spectrogram, length=length)

    def round_trip(codec, waveform):
        return codec.decode(quantizer.straight_through(codec.encode(waveform)), length=length)

    def tokens(codec, waveform):
        codes = quantizer.encode(codec.encode(waveform))
        return codes, codec.decode(quantizer.decode(codes), length=length)

    spectrogram = jax.eval_shape(encode, codec, waveform)
    check(encode, codec, waveform)
    check(decode, codec, spectrogram)
    check(backward(decode), codec, spectrogram)
    check(backward(round_trip), codec, waveform)
    check(tokens, codec, waveform)


@pytest.mark.quick(0)
@pytest.mark.parametrize("name", NONUNIFORM)
def test_nonuniform_presets(name):
    codec = isn.from_pretrained(name)
    waveform = _noise(codec.spec.sample_rate)
    length = waveform.shape[-1]

    def encode(codec, waveform):
        return codec.encode(waveform)

    def round_trip(codec, waveform):
        return codec.decode(codec.encode(waveform), length=length)

    check(encode, codec, waveform)
    check(round_trip, codec, waveform)
    check(backward(round_trip), codec, waveform)


@pytest.mark.slow
@pytest.mark.parametrize("name", STORED)
def test_stored_models(name):
    """Vocoders and InverSynth as they are shipped, and what trains them further."""
    model = isn.from_pretrained(name)
    rate = model.sample_rate
    samples = model.num_samples if hasattr(model, "num_samples") else 2 * rate
    waveform = jax.ShapeDtypeStruct((BATCH, samples), jnp.float32)

    def forward(variables, waveform):
        return model.model.apply(variables, waveform)

    check(forward, model.variables, waveform)
    check(backward(forward), model.variables, waveform)


@pytest.mark.tail
def test_the_synthesizer():
    settings = jax.ShapeDtypeStruct((17, len(parameters.NAMES)), jnp.float32)
    check(render.render, settings)
    check(backward(render.render), settings)


def _on_one_device(step):
    """As ``parallel_step``, which exports cannot be made of, runs it on each device."""
    everywhere, split = PartitionSpec(), PartitionSpec("data")
    mesh = Mesh(np.asarray(jax.devices()[:1]), ("data",))
    return jax.shard_map(
        step, mesh=mesh, in_specs=(everywhere, split), out_specs=everywhere, check_vma=False
    )


EVERYTHING = AugmentationSpec(
    reversal=0.5,
    polarity=0.5,
    impulse_response=0.5,
    impulse_decay_s=(0.001, 0.003),
    gain=0.5,
    noise=0.5,
    requantize=0.5,
    silent_items=1,
)


def _first_state(variables, optimizer):
    return jax.eval_shape(
        lambda variables: train_state.create_state(variables, optimizer, key=jax.random.key(1)),
        variables,
    )


@pytest.mark.quick(1)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_steps(accumulate):
    """With learned filters, every augmentation and every loss."""
    spec = isn.FilterbankSpec(sample_rate=RATE, hop_length=8, num_bins=9, shape="none")
    model = isn.SincNet(spec, learnable_filters=True, learnable_decoder=True, window_terms=2)
    optimizer = optimizers.make_optimizer(optimizers.OptimizerSpec(weight_decay=1e-4))
    step = train_step.make_step(
        lambda variables, waveform, key: model.apply(variables, waveform),
        loss=losses.weighted_loss(dict.fromkeys(losses.LOSSES, 1.0)),
        optimizer=optimizer,
        augmentation=EVERYTHING,
        sample_rate=RATE,
        accumulate=accumulate,
    )
    clips = jax.ShapeDtypeStruct((4, RATE), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8)))
    check(_on_one_device(step), _first_state(variables, optimizer), clips)


@pytest.mark.tail
def test_vocoder_training_steps():
    """With discriminators."""
    vocoder = isn.ISTFTNet(
        num_bins=8, width=8, strides=(4, 2), block_taps=(3,), block_dilations=(1, 2)
    )
    clips = jax.ShapeDtypeStruct((4, 1024), jnp.float32)
    optimizer = optimizers.make_optimizer(optimizers.OptimizerSpec(1e-3))
    adversary = vocoding.Adversary(
        lambda params, waveform: RESOLUTIONS.apply({"params": params}, waveform), optimizer
    )

    def generate(variables, waveform, key):
        frames = jnp.abs(waveform.reshape(len(waveform), -1, 8))
        found = vocoder.apply(variables, frames)
        return found[..., : waveform.shape[-1]], {}

    step = vocoding.make_vocoder_step(
        generate,
        loss=vocoder_losses.vocoder_loss({"l1": 1.0, "log_stft": 1.0}, sample_rate=RATE),
        optimizer=optimizer,
        sample_rate=RATE,
        augmentation=EVERYTHING,
        adversary=adversary,
    )
    key = jax.random.key(0)
    variables = jax.eval_shape(vocoder.init, key, jnp.zeros((1, 128, 8)))
    state = _first_state(variables, optimizer)
    critics = jax.eval_shape(RESOLUTIONS.init, key, jnp.zeros((1, 1024)))["params"]
    fixed = {**state.fixed, **jax.eval_shape(adversary.first_state, critics)}
    check(_on_one_device(step), state.replace(fixed=fixed), clips)
