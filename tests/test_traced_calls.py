"""What is said to be jitted, batched and differentiable is: one table, three questions to each row.

A traced call equals the eager one, ``vmap`` equals a loop, and a gradient is finite and what finite
differences say along one direction. In double precision, which leaves little room for excuses.
Layers are Linen modules: ``all_layers.CASES`` has them, in single precision as they are built.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from all_layers import CASES
from jax import lax

import isincnet_jax as isn
from isincnet_jax.bank.dsp import coding_costs, differentiable_inverse
from isincnet_jax.benchmark.operators import bank_operators
from isincnet_jax.constant_q.dsp.nonuniform_spec import NonuniformSpec
from isincnet_jax.dsp import auditory, companding, distances, fourier, spectral_distances
from isincnet_jax.inversynth import matching
from isincnet_jax.inversynth.networks import TrainedInverSynth
from isincnet_jax.inversynth.synth import parameters
from isincnet_jax.inversynth.synth.render import render
from isincnet_jax.phase import curl, heap_integration, mel_inversion, propagation, retrieval, sweeps
from isincnet_jax.phase.beliefs import PhaseBeliefs
from isincnet_jax.spectrograms.dsp import time_stretch
from isincnet_jax.vocoders import compression, losses
from isincnet_jax.vocoders.features import VocoderFeatures
from isincnet_jax.vocoders.vocoder import TrainedVocoder, Vocoder

WIDE = jnp.float64
TIME, FRAMES, N_FFT, HOP = 200, 7, 32, 8
BINS = N_FFT // 2 + 1
STFT = {"n_fft": N_FFT, "hop_length": HOP}
STEPS = {**STFT, "gamma": heap_integration.window_gamma("hann", N_FFT)}
SPEC = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
MELS = np.random.default_rng(5).uniform(0, 1, (4, BINS))
LONG = (  # to compile: seconds each
    "matching.spectral_distance",
    "propagated_phase",
    "score_clips",
    "spectral_distances.multi_stft",
    "swept",
    "swept_on",
    "swept_phase",
    "time_stretch",
)


WITHOUT_SLOPE = {
    "CFP": "its roots are too curved for a step that single precision resolves",
    "ISTFTNet": "its sound before training is too faint for that",
    "MagnitudeVocoder": "most of its magnitudes are at their bound there; see the vocoder of mels",
    "STFT log phase": "jumps by a whole turn within the step",
    "TokenCodec": "codes are constants",
}
"""Layers that finite differences say nothing of, and why."""


class Call(NamedTuple):
    """A call of one array.

    Attributes:
        make: what is called, made inside the test.
        shape: of its argument.
        kind: "waveform" (signed), "energies" (positive), "number" (small) or "codes".
        smooth: whether there is a gradient.
        step: of finite differences, whose error is about its square.
    """

    make: Callable[[], Callable[[Any], Any]]
    shape: tuple[int, ...] = (TIME,)
    kind: str = "waveform"
    smooth: bool = True
    step: float = 1e-6


@functools.cache
def _codec():
    return isn.build_codec(isn.SincNet(SPEC, dtype=WIDE))


@functools.cache
def _lapped():
    spec = isn.LappedSpec(sample_rate=8000, hop_length=16)
    return isn.build_lapped_codec(isn.LappedBank(spec, learnable=True, dtype=WIDE), step=0.1)


@functools.cache
def _nonuniform():
    spec = NonuniformSpec(sample_rate=8000, num_bins=8, window="cosine")
    return isn.build_nonuniform_codec(spec, dtype=WIDE)


def _nonuniform_decode():
    """Of the coefficients of a clip, each array times a number of its own."""
    codec = _nonuniform()
    clip = jnp.asarray(np.random.default_rng(2).standard_normal(TIME), WIDE)
    coefficients = codec.encode(clip)

    def decode(gains):
        louder = [
            array * gains[index % 6].astype(array.dtype) for index, array in enumerate(coefficients)
        ]
        return codec.decode(louder, length=TIME)

    return decode


@functools.cache
def _quantizer():
    return isn.Quantizer(np.full(4, 1.5), q_bits=4)


@functools.cache
def _vocoder(name="gradient"):
    linear = VocoderFeatures("linear", 8000, win_length=16, **STFT)
    network, features = {
        "gradient": (
            isn.PhaseGradientVocoder(
                num_bins=BINS, win_length=16, widths=(3,), halo_bins=1, dtype=WIDE, **STFT
            ),
            linear,
        ),
        "phase": (
            isn.ConvNeXtVocoder(
                num_bins=BINS,
                win_length=16,
                predict="phase",
                width=4,
                num_blocks=1,
                dtype=WIDE,
                **STFT,
            ),
            linear,
        ),
        "mel": (
            isn.MagnitudeVocoder(
                num_bins=5,
                width=4,
                num_blocks=1,
                iterations=1,
                filters="mel_htk",
                sample_rate=8000,
                dtype=WIDE,
                **STFT,
            ),
            VocoderFeatures("mel_htk", 8000, win_length=N_FFT, n_mels=5, **STFT),
        ),
    }[name]
    model = Vocoder(network, features, dtype=WIDE)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 40), WIDE))
    return TrainedVocoder(model, jax.tree.map(lambda leaf: leaf.astype(WIDE), variables))


def _synthesis(name="gradient", **options):
    return lambda: functools.partial(_vocoder(name).synthesize, length=FRAMES * HOP - 3, **options)


def _of_variables(trained, call):
    """A call as a function of a number, by which all variables are moved."""

    def function(number):
        keys = iter(jax.random.split(jax.random.key(3), 100))
        moved = jax.tree.map(
            lambda leaf: leaf + number[0] * jax.random.normal(next(keys), leaf.shape, leaf.dtype),
            trained.variables,
        )
        return call(trained.replace(variables=moved))

    return function


def _energies(*shape):
    return np.random.default_rng(9).uniform(0.1, 1.0, shape)


@functools.cache
def _estimator():
    model = isn.InverSynth("C1", dtype=WIDE)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 16_384), WIDE))
    return TrainedInverSynth(model, variables)


def _operators(**options):
    return retrieval.stft_operators(length=FRAMES * HOP - 3, **STFT)._asdict() | options


def _complex(function):
    """A function of complex numbers as one of real ones."""
    return lambda values: function(lax.complex(values, values**2 - 0.4))


def _steps(function):
    """A function of steps, of a magnitude."""
    return lambda values: function(sweeps.analytic_steps(values[None], **STEPS))[0]


def _distance(function):
    target = _energies(TIME) - 0.5
    return lambda waveform: function(prediction=waveform, target=target)


def _advance(direction):
    """Inner steps of streams on a block."""
    source = _codec() if direction in ("encoder", "decoder") else _lapped()
    if direction.endswith("encoder"):
        stream = isn.stream_encoder(source)
        return lambda blocks: stream.advance(stream.init().context, blocks)
    stream = isn.stream_decoder(source)
    return lambda frames: stream.advance(stream.init().history, frames)


def _vocoder_advance():
    stream = isn.stream_vocoder(_vocoder())
    carry = stream.step(stream.init(), _energies(4, BINS))[0].carry
    return lambda frames: stream.advance(carry, frames)


def _inverted(inverse, kernels, **options):
    found = inverse(kernels, jnp.ones(5, WIDE), hop_length=2, ridge=1e-3, **options)
    return found.kernels, found.bias


def _bank_round_trip():
    operators = bank_operators(_codec(), length=TIME)
    return lambda waveform: operators.synthesise(operators.analyse(waveform))


def _settings():
    """Settings of a synthesizer around the middle of their ranges: amplitudes and envelope."""
    low, high = (
        np.array([getattr(p, end) for p in parameters.PARAMETERS]) for end in ("low", "high")
    )
    moved = 1.0 * np.array([name[:3] in ("amp", "sus", "res") for name in parameters.NAMES])
    middle = low + 0.41 * (high - low)
    return lambda number: render(
        jnp.asarray(middle + moved * 0.1) + moved * number[0], num_samples=300
    )


MAGNITUDES = {"shape": (FRAMES, BINS), "kind": "energies"}
CALLS: dict[str, Call] = {
    # Codecs and their quantizers.
    "Codec.encode": Call(lambda: _codec().encode),
    "Codec.decode": Call(lambda: _codec().decode, (7, 18)),
    "Codec.decode, refined": Call(
        lambda: functools.partial(_codec().decode, refinements=1), (7, 18)
    ),
    "Codec.quantizer(scale)": Call(
        lambda: (
            lambda scale: (
                _codec().quantizer(scale=scale).decode(np.full((3, 18), 9, np.uint8), dtype=WIDE)
            )
        ),
        (18,),
        "energies",
        step=1e-2,  # scales are float32
    ),
    "Quantizer.fit, decode": Call(
        lambda: (
            lambda values: _quantizer().fit(values).decode(np.full((3, 4), 9, np.uint8), dtype=WIDE)
        ),
        (5, 4),
    ),
    "Quantizer.encode": Call(lambda: _quantizer().encode, (5, 4), smooth=False),
    "Quantizer.decode": Call(lambda: _quantizer().decode, (5, 4), "codes"),
    "LappedCodec.encode": Call(lambda: _lapped().encode),
    "LappedCodec.decode": Call(lambda: functools.partial(_lapped().decode, length=60), (4, 16)),
    "NonuniformCodec.encode": Call(lambda: _nonuniform().encode),
    "NonuniformCodec.decode": Call(_nonuniform_decode, (6,)),
    "LappedCodec.window_angles, of its variables": Call(
        lambda: _of_variables(_lapped(), lambda codec: codec.window_angles()), (1,), "number"
    ),
    "UniformQuantizer.encode": Call(lambda: _lapped().quantizer().encode, (5, 4), smooth=False),
    "UniformQuantizer.decode": Call(lambda: _lapped().quantizer().decode, (5, 4), "codes"),
    "bank_operators": Call(_bank_round_trip),
    # What banks are optimised by.
    "companding_noise": Call(
        lambda: functools.partial(coding_costs.companding_noise, q_bits=4), (5, 4)
    ),
    "coding_bits": Call(lambda: coding_costs.coding_bits, (5, 4)),
    "periodic_inverse": Call(
        lambda: lambda kernels: _inverted(differentiable_inverse.periodic_inverse, kernels), (5, 7)
    ),
    "positioned_inverse": Call(
        lambda: (
            lambda kernels: _inverted(
                differentiable_inverse.positioned_inverse, kernels, num_frames=4, lead=2
            )
        ),
        (5, 7),
    ),
    # Streams.
    "StreamEncoder.advance": Call(lambda: _advance("encoder"), (24,)),
    "StreamDecoder.advance": Call(lambda: _advance("decoder"), (3, 18)),
    "LappedStreamEncoder.advance": Call(lambda: _advance("lapped encoder"), (48,)),
    "LappedStreamDecoder.advance": Call(lambda: _advance("lapped decoder"), (3, 16)),
    "StreamVocoder.advance": Call(_vocoder_advance, (3, BINS), "energies"),
    # Vocoders.
    "TrainedVocoder.spectrogram": Call(lambda: _vocoder().spectrogram),
    "TrainedVocoder.spectrogram, mel": Call(lambda: _vocoder("mel").spectrogram),
    "TrainedVocoder.synthesize": Call(_synthesis(), **MAGNITUDES),
    "TrainedVocoder.synthesize, polished": Call(_synthesis(polish=2), **MAGNITUDES),
    "TrainedVocoder.synthesize, online": Call(_synthesis(online=True), **MAGNITUDES),
    "TrainedVocoder.synthesize, other network": Call(_synthesis("phase"), **MAGNITUDES),
    "TrainedVocoder.synthesize, mel": Call(_synthesis("mel"), (FRAMES, 5), "energies"),
    "TrainedVocoder.synthesize, of its variables": Call(
        lambda: _of_variables(
            _vocoder(), lambda vocoder: vocoder.synthesize(_energies(FRAMES, BINS))
        ),
        (1,),
        "number",
    ),
    "check_spectrogram": Call(
        lambda: lambda values: isn.check_spectrogram(values, num_bins=BINS) or values, **MAGNITUDES
    ),
    "spectrogram_features": Call(
        lambda: functools.partial(isn.spectrogram_features, win_length=16, **STFT)
    ),
    "normalize_magnitude": Call(lambda: compression.normalize_magnitude, **MAGNITUDES),
    "score_clips": Call(
        lambda: (
            lambda waveform: losses.score_clips(
                prediction=waveform[None],
                target=_energies(1, 1100) - 0.5,
                lengths=np.array([1000]),
            )
        ),
        (1100,),
    ),
    # Estimators of a synthesizer's settings.
    "TrainedInverSynth.scores": Call(lambda: _estimator().scores, (16_384,)),
    "render": Call(_settings, (1,), "number"),
    "values_from_levels": Call(
        lambda: parameters.values_from_levels, (parameters.NUM_PARAMETERS,), "codes"
    ),
    "matching.spectral_distance": Call(
        lambda: (
            lambda waveform: matching.spectral_distance(
                prediction=waveform, target=_energies(1100) - 0.5
            )
        ),
        (1100,),
    ),
    # Phases.
    "griffin_lim": Call(
        lambda: functools.partial(
            retrieval.griffin_lim, **_operators(num_iterations=2, momentum=0.9)
        ),
        **MAGNITUDES,
    ),
    "polish": Call(
        lambda: (
            lambda values: retrieval.polish(
                np.sin(np.arange(53.0)), values, **_operators(num_iterations=2)
            )
        ),
        **MAGNITUDES,
    ),
    "admm": Call(
        lambda: functools.partial(retrieval.admm, **_operators(num_iterations=2)), **MAGNITUDES
    ),
    "difference_map": Call(
        lambda: functools.partial(retrieval.difference_map, **_operators(num_iterations=2)),
        **MAGNITUDES,
    ),
    "mel_to_magnitude": Call(
        lambda: lambda mel: mel_inversion.mel_to_magnitude(mel, MELS, num_iterations=3),
        (FRAMES, 4),
        "energies",
    ),
    "mel_admm": Call(
        lambda: lambda mel: mel_inversion.mel_admm(mel, MELS, **_operators(num_iterations=2)),
        (FRAMES, 4),
        "energies",
    ),
    "propagated_phase": Call(
        lambda: functools.partial(propagation.propagated_phase, **STEPS), **MAGNITUDES
    ),
    "swept_phase": Call(lambda: functools.partial(sweeps.swept_phase, **STEPS), **MAGNITUDES),
    "swept": Call(lambda: _steps(functools.partial(sweeps.swept, sweeps=3)), **MAGNITUDES),
    "swept_on": Call(
        lambda: _steps(lambda steps: sweeps.swept_on(jnp.ones((1, BINS), "complex128"), steps)),
        **MAGNITUDES,
    ),
    "curl_weighted": Call(
        lambda: _complex(lambda values: curl.curl_weighted(PhaseBeliefs(values, values[::-1]))),
        **MAGNITUDES,
    ),
    # Transforms and distances.
    "stft": Call(lambda: functools.partial(fourier.stft, **STFT)),
    "stft_power": Call(lambda: functools.partial(fourier.stft_power, power=1.0, **STFT)),
    "istft": Call(lambda: _complex(functools.partial(fourier.istft, length=50, **STFT)), (7, BINS)),
    "power_to_db": Call(lambda: auditory.power_to_db, **MAGNITUDES),
    "time_stretch": Call(lambda: functools.partial(time_stretch.time_stretch, rate=1.5, **STFT)),
    "mu_law": Call(lambda: functools.partial(companding.mu_law, mu=30.0)),
    **{
        f"spectral_distances.{name}": Call(
            lambda name=name: _distance(getattr(spectral_distances, name)), (TIME,)
        )
        for name in ("l1", "l2", "energy", "negative_snr_db")
    },
    "spectral_distances.multi_stft": Call(
        lambda: (
            lambda waveform: spectral_distances.multi_stft(
                prediction=waveform, target=_energies(1100) - 0.5
            )
        ),
        (1100,),
    ),
}


def _argument(call: Call) -> np.ndarray:
    rng = np.random.default_rng(1)
    if call.kind == "codes":
        return rng.integers(0, 7, call.shape).astype(np.int32)
    if call.kind == "number":
        return 0.05 * np.ones(call.shape)
    low = 0.1 if call.kind == "energies" else -0.6
    return rng.uniform(low, 0.9, call.shape)


def _weighed(found: Any, xp: Any = jnp) -> Any:
    """A number of all that was found: real and imaginary parts, each times a weight of its own."""
    total = 0.0
    for number, leaf in enumerate(jax.tree.leaves(found)):
        rng = np.random.default_rng(number)
        for part in (leaf.real, leaf.imag) if xp.iscomplexobj(leaf) else (leaf,):
            total = total + xp.sum(part * rng.standard_normal(part.shape).astype(part.dtype))
    return total


def _answers(function: Callable[[Any], Any], *, smooth: bool) -> Callable[..., Any]:
    """Program of the call, of the call on a batch of points, and of a slope along a direction."""

    def program(value: Any, points: Any, direction: Any) -> Any:
        slope = ()
        if smooth:
            gradient = jax.grad(lambda x: _weighed(function(x)))(value)
            # Of complex numbers the real parts are moved.
            slope = jnp.sum(jnp.real(gradient) * direction)
        return function(value), jax.vmap(function)(points), slope

    return jax.jit(program)


def _close(found: Any, wanted: Any, tolerance: float, what: str) -> None:
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert one.dtype == other.dtype, what
        scale = max(float(np.max(np.abs(other), initial=0.0)), 1e-30)
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale, err_msg=what)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.tail if name in LONG else ()) for name in CALLS]
)
def test_traced_calls_are_eager_ones_batched_ones_and_have_slopes(name, x64):
    call = CALLS[name]
    function, value = call.make(), _argument(call)
    smooth = call.smooth and call.kind != "codes"
    direction = np.random.default_rng(2).standard_normal(value.shape)
    moved = (call.step * direction if smooth else 0 * value).astype(value.dtype)
    points = np.stack([value, value + moved, value - moved])
    program = _answers(function, smooth=smooth)
    once, batched, slope = jax.device_get(program(value, points, direction))
    _close(once, jax.device_get(function(jnp.asarray(value))), 1e-9, "jit")
    each = [jax.tree.map(lambda leaf, n=n: leaf[n], batched) for n in range(3)]
    _close(each[0], once, 1e-9, "vmap")
    _close(each[1], jax.device_get(function(jnp.asarray(points[1]))), 1e-9, "vmap")
    if smooth:
        wanted = (_weighed(each[1], np) - _weighed(each[2], np)) / (2 * call.step)
        assert np.isfinite(slope)
        assert abs(wanted) > 0
        np.testing.assert_allclose(slope, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.quick(0)
@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].kind != "codes"])
def test_layers_are_batched_and_have_slopes(name):
    """Jitted, as elsewhere in the tests, and in single precision, hence by percents."""
    case, step = CASES[name], 1e-3
    variables, value = case.variables(), np.asarray(case.values())
    factor = np.random.default_rng(2).uniform(0.5, 1.5, value.shape).astype(np.float32)
    direction = factor * value.real
    points = np.stack([value, value + step * direction, value - step * direction])
    program = _answers(functools.partial(case.apply, variables), smooth=True)
    once, batched, slope = jax.device_get(program(value, points, direction))
    _close([leaf[0] for leaf in jax.tree.leaves(batched)], once, 1e-5, "vmap")
    assert np.isfinite(slope)
    if name not in WITHOUT_SLOPE:
        wide = [leaf.astype(np.result_type(leaf, np.float64)) for leaf in jax.tree.leaves(batched)]
        sums = [_weighed([leaf[n] for leaf in wide], np) for n in (1, 2)]
        np.testing.assert_allclose(slope, (sums[0] - sums[1]) / (2 * step), rtol=0.03)


def test_what_runs_on_the_host_says_so():
    vocoder = isn.from_pretrained("22khz-speech-vocoder")
    magnitude = np.ones((3, 1025), np.float32)
    bucketed = isn.BucketedCodec(isn.build_codec(isn.SincNet(SPEC)))
    host = {
        "synthesize": (lambda x: vocoder.synthesize(x, heap=True), magnitude),
        "blocks": (lambda x: next(vocoder.synthesize_blocks(x)), magnitude[None]),
        "heap": (
            lambda x: heap_integration.edge_heap_integration(PhaseBeliefs(x, x)),
            np.ones((4, 3), "complex64"),
        ),
        "bucketed": (bucketed.encode, np.ones(100, np.float32)),
        "SNR": (lambda x: distances.snr_db(prediction=x, target=x), np.ones(9, np.float32)),
    }
    for function, value in host.values():
        with pytest.raises(TypeError, match=r"host, outside jit, vmap and grad; use") as error:
            jax.jit(function)(value)
        assert "\n" not in str(error.value)
