"""The claim of the package: encoding and decoding return the waveform, whatever its length."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from isincnet_jax import DecoderSpec, FilterbankSpec, SincNet, frame_bounds
from isincnet_jax.bank import solve as decoding
from isincnet_jax.bank.edges import edge_plan
from isincnet_jax.bank.solve import UnseenSamplesWarning

BEST = 300.0
FREE = DecoderSpec("free", num_frames=3, first_frame=-1)


def snr_db(target: np.ndarray, prediction: np.ndarray) -> float:
    target, prediction = np.asarray(target, np.float64), np.asarray(prediction, np.float64)
    error = np.sum((target - prediction) ** 2)
    return BEST if error == 0 else float(10 * np.log10(np.sum(target**2) / error))


@functools.lru_cache(maxsize=32)
def compiled(spec: FilterbankSpec, dtype: str):
    """A round trip of a spec, compiled once per length."""
    model = SincNet(spec, dtype=jnp.dtype(dtype))
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 5), dtype))
    return functools.partial(jax.jit(model.apply), variables)


def round_trip(spec: FilterbankSpec, waveform: np.ndarray) -> np.ndarray:
    return compiled(spec, waveform.dtype.name)(jnp.asarray(waveform))


@st.composite
def specs(draw):
    """Small banks of every kind."""
    hop_length = draw(st.integers(4, 16))
    causal = draw(st.booleans())
    return FilterbankSpec(
        sample_rate=8000,
        hop_length=hop_length,
        num_bins=draw(st.integers(hop_length, 4 * hop_length)),
        kernel_size=draw(st.integers(3 * hop_length, 5 * hop_length)),
        scale=draw(st.sampled_from(["linear", "mel_slaney", "mel_htk", "erb", "bark"])),
        component=draw(st.sampled_from(["complex", "real"])),
        causal=causal,
        shape=draw(st.sampled_from(["sinc", "none", "gauss", "triangle", "raised_cosine"])),
        window=draw(st.sampled_from(["hann", "hamming", "blackman"])),
        padding=draw(st.sampled_from(["zeros", "reflect"])),
    )


FILTERING = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@pytest.mark.quick(0)
@settings(max_examples=10, suppress_health_check=FILTERING)
@given(spec=specs(), length=st.integers(1, 200), seed=st.integers(0, 9))
def test_float64_round_trip_is_exact_for_any_well_conditioned_bank(x64, spec, length, seed):
    assume(frame_bounds(spec).condition < 1e3)
    assume(decoding.design_decoder(spec).residual < 1e-11)
    waveform = np.random.default_rng(seed).standard_normal((2, length))
    # The solver stops at a residual of 1e-11: 220 dB; 20 dB for the rounding of coefficients.
    assert snr_db(waveform, round_trip(spec, waveform)) > 200.0


@settings(max_examples=5, suppress_health_check=FILTERING)
@given(spec=specs(), length=st.integers(1, 200), seed=st.integers(0, 9))
def test_float32_round_trip_loses_rounding_only(spec, length, seed):
    assume(frame_bounds(spec).condition < 20)
    assume(decoding.design_decoder(spec).residual < 1e-11)
    waveform = np.random.default_rng(seed).standard_normal((2, length)).astype(np.float32)
    # float32 has 144 dB; a condition of 20 takes 13, sums of tens of products the rest.
    assert snr_db(waveform, round_trip(spec, waveform)) > 110.0


UNIFORM = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=17, shape="none")
EXACT_SPECS = {
    "uniform": UNIFORM,
    "uniform causal": UNIFORM.replace(causal=True, kernel_size=65),
    "uniform reflect": UNIFORM.replace(padding="reflect"),
    "mel": UNIFORM.replace(scale="mel", num_bins=24),
    "mel reflect": UNIFORM.replace(scale="mel", num_bins=24, padding="reflect"),
    "tight": UNIFORM.replace(tight=True),
    "even taps": UNIFORM.replace(kernel_size=32, shape="gauss"),
    "hop of one": UNIFORM.replace(hop_length=1, num_bins=4, kernel_size=5),
}


@pytest.mark.parametrize("spec", EXACT_SPECS.values(), ids=EXACT_SPECS)
# One sample, two, shorter than a hop, around a hop, prime, and several kernels long.
@pytest.mark.quick(16)
@pytest.mark.parametrize("length", [1, 2, 7, 9, 61])
def test_every_impulse_returns(x64, spec, length):
    """Linear and exact on a basis: exact for all signals of the length."""
    assert frame_bounds(spec).condition < 1e3
    found = round_trip(spec, np.eye(length))
    # The canonical tight bank is cut where its tails hold 1e-16 of the energy: 1e-8.
    tolerance = 1e-7 if spec.tight else 1e-10
    np.testing.assert_allclose(found, np.eye(length), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["uniform", "uniform causal", "mel reflect", "even taps"])
@pytest.mark.parametrize("length", [3, 50])
def test_coefficients_are_the_correlation_with_the_designed_kernels(x64, rng, name, length):
    spec = EXACT_SPECS[name]
    model = SincNet(spec, dtype=jnp.float64)
    waveform = rng.standard_normal(length)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 5), jnp.float64))
    found = np.asarray(
        jax.jit(functools.partial(model.apply, method="encode"))(variables, jnp.asarray(waveform))
    )
    bank, grid = spec.design_kernels(), spec.bank.frame_grid(length)
    assert found.shape == (grid.num_frames, spec.num_channels)
    reach = 10 * spec.taps
    mode = "reflect" if spec.padding == "reflect" else "constant"
    extended = np.pad(waveform, reach, mode=mode)
    for row in range(grid.num_frames):
        start = reach + (grid.first + row) * spec.hop_length - spec.taps // 2
        value = bank @ extended[start : start + spec.taps]
        expected = np.concatenate([value.real, value.imag])
        np.testing.assert_allclose(found[row], expected, rtol=0, atol=1e-13)


def test_zero_padding_decodes_without_being_told_the_length():
    spec = EXACT_SPECS["uniform"]
    model = SincNet(spec)
    waveform = jax.random.normal(jax.random.key(1), (1, 53))
    variables = jax.jit(model.init)(jax.random.key(0), waveform)
    spectrogram = jax.jit(functools.partial(model.apply, method="encode"))(variables, waveform)
    longest = jax.jit(functools.partial(model.apply, method="decode"))(variables, spectrogram)
    assert 53 <= longest.shape[-1] < 53 + spec.hop_length
    np.testing.assert_allclose(longest[:, :53], waveform, atol=1e-5)
    np.testing.assert_allclose(longest[:, 53:], 0.0, atol=1e-5)


@pytest.mark.quick(1)
@pytest.mark.parametrize("component", ["real", "complex"])
def test_causal_reflected_frames_never_see_the_last_samples(component):
    """Why iSincNet's framing of causal filters is not exact at the right edge.

    The last frame lies at (length - 1) // hop * hop and sees nothing later: up to hop - 1
    samples are in no frame at all, so that no decoder can know them.
    """
    spec = FilterbankSpec(
        sample_rate=8000, hop_length=8, num_bins=32, causal=True, component=component,
        padding="reflect", dialect="0.5",
    )  # fmt: skip
    assert spec.bank.unseen_samples == 7
    with pytest.raises(UnseenSamplesWarning, match="up to 7 samples at the end of a clip"):
        SincNet(spec).init(jax.random.key(0), jnp.zeros((1, 8)))
    model, length = SincNet(spec, FREE), 8 * 6 + 5
    variables = model.init(jax.random.key(0), jnp.zeros((1, 8)))
    impulses = jnp.eye(length)
    encode = jax.jit(functools.partial(model.apply, method="encode"))
    spectrogram = np.asarray(encode(variables, impulses))
    seen = np.abs(spectrogram).max(axis=(1, 2))
    np.testing.assert_array_equal(seen[49:], 0.0)
    assert np.all(seen[:49] > 0)
    # With zero padding, or one more frame, the same filters see everything.
    for other in (spec.replace(padding="zeros"), spec.replace(dialect="native")):
        assert other.bank.unseen_samples == 0
        model = SincNet(other, FREE)
        variables = model.init(jax.random.key(0), jnp.zeros((1, 8)))
        encode = jax.jit(functools.partial(model.apply, method="encode"))
        assert np.all(np.abs(encode(variables, impulses)).max(axis=(1, 2)) > 0)


SHORT = FilterbankSpec(
    sample_rate=8000, hop_length=6, num_bins=18, kernel_size=9, window="boxcar", padding="reflect"
)
SEEN_BY_ONE_MORE_FRAME = {
    "few taps": SHORT,
    "few taps, mel, tight": SHORT.replace(scale="mel_slaney", tight=True),
    "causal": SHORT.replace(causal=True, kernel_size=19),
    "causal, real": SHORT.replace(causal=True, kernel_size=19, component="real"),
}


@pytest.mark.quick(16)
@pytest.mark.parametrize("spec", SEEN_BY_ONE_MORE_FRAME.values(), ids=SEEN_BY_ONE_MORE_FRAME)
@pytest.mark.parametrize("length", [1, 2, 5, 6, 7, 13, 95, 96, 97, 100])
def test_every_sample_of_a_reflected_clip_returns(x64, spec, length):
    """Also where frames 0 .. (length - 1) // hop would not reach the last sample."""
    found = round_trip(spec, np.eye(length))
    tolerance = 1e-6 if spec.tight else 1e-9  # a tight bank is cut
    np.testing.assert_allclose(found, np.eye(length), rtol=0, atol=tolerance)
    frames = spec.bank.frame_grid(length).num_frames
    assert spec.bank.longest_length(frames) >= length
    assert frames in ((length - 1) // 6 + 1, (length - 1) // 6 + 2)


@pytest.mark.quick(2)
@pytest.mark.parametrize("num_bins", [17, 24])
@pytest.mark.parametrize("remainder", [0, 1, 7, 15])
def test_long_clips_of_uniform_banks_are_exact_at_reflected_edges(x64, rng, num_bins, remainder):
    """Long enough for the edges to be solved apart from the interior, at either end."""
    spec = FilterbankSpec(
        sample_rate=8000, hop_length=16, num_bins=num_bins, shape="none", padding="reflect"
    )
    assert spec.is_uniform
    waveform = rng.standard_normal((1, 40 * 16 + 1 + remainder))
    model = SincNet(spec, dtype=jnp.float64)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 9)))
    decoded = np.asarray(jax.jit(model.apply)(variables, jnp.asarray(waveform)))
    # -200 dB of unit noise, at the worst sample.
    np.testing.assert_allclose(decoded, waveform, atol=1e-10)


def test_reflected_edges_of_a_lossy_bank_do_not_amplify_noise(rng):
    """The edges of a Wiener-decoded clip trust the coefficients no more than its interior does."""
    spec = FilterbankSpec(
        sample_rate=8000, hop_length=16, num_bins=14, scale="mel", shape="none", padding="reflect"
    )
    solved = decoding.design_decoder(spec, decoding.DecoderSpec("wiener", noise_variance=1e-4))
    plan = edge_plan(spec.bank, solved, 1000, noise_variance=1e-4)
    assert plan.left is not None
    assert plan.right is not None
    for edge in (plan.left, plan.right):
        gain = np.sqrt(np.sum(edge.matrix**2) / edge.num_samples)
        # Fewer frames see a sample at an edge: somewhat more noise, not orders of magnitude.
        assert gain < 3 * solved.noise_gain
    exact = edge_plan(spec.bank, solved, 1000)
    assert exact.left is not None
    assert np.max(np.abs(exact.left.matrix)) > 10 * np.max(np.abs(plan.left.matrix))
