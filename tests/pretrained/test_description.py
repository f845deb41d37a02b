"""What `describe` says, held against an independent calculation."""

from __future__ import annotations

import re

import jax
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax.pretrained.description import describe


def _codec(decoder: isn.DecoderSpec | None = None, **options) -> isn.Codec:
    geometry = {"sample_rate": 8000, "hop_length": 16, "num_bins": 17, "shape": "none"}
    spec = isn.FilterbankSpec(**{**geometry, **options})
    return isn.build_codec(isn.SincNet(spec, decoder or isn.DecoderSpec()), name="small")


@pytest.mark.parametrize(
    "options",
    [{}, {"component": "real", "causal": True, "num_bins": 24}, {"scale": "mel", "num_bins": 30}],
)
def test_the_lines_agree_with_the_bank(options):
    codec = _codec(**options)
    lines = dict(describe(codec))
    spec = codec.spec
    assert lines["model"] == "small"
    assert lines["sample rate"] == "8000 Hz"
    assert lines["frames"].startswith("500 a second")
    assert f"{spec.num_channels} channels" in lines["bins"]
    kernels = spec.bank.kernels
    # Frame bounds by dense linear algebra on a period of 32 hops.
    period = 32 * spec.hop_length
    wrapped = np.zeros((len(kernels), period))
    np.add.at(wrapped.T, (np.arange(kernels.shape[1]) - kernels.shape[1] // 2) % period, kernels.T)
    rows = [np.roll(wrapped, shift * spec.hop_length, axis=1) for shift in range(32)]
    singular = np.linalg.svd(np.concatenate(rows), compute_uv=False)
    lower, upper, condition = (float(n) for n in re.findall(r"\d[\d.e+-]*", lines["frame bounds"]))
    assert upper == pytest.approx(singular[0] ** 2, rel=1e-2)
    assert lower == pytest.approx(singular[-1] ** 2, rel=3e-2)
    assert condition == pytest.approx(upper / lower, rel=1e-3)
    assert lines["coefficients"].startswith(f"{500 * spec.num_channels:.6g} a second")
    assert lines["bit rate"].startswith(f"{4 * spec.num_channels:.5g} kbit/s")


def test_exactness_is_claimed_where_it_is_true(rng):
    codec = _codec()
    noise = rng.uniform(-1, 1, 2000).astype(np.float32)
    assert dict(describe(codec))["exactness"].startswith("exact")
    np.testing.assert_allclose(codec.decode(codec.encode(noise), length=2000), noise, atol=1e-5)
    wiener = _codec(isn.DecoderSpec("wiener", noise_variance=1e-2))
    assert "not exact" in dict(describe(wiener))["exactness"]
    error = np.asarray(wiener.decode(wiener.encode(noise), length=2000)) - noise
    assert np.max(np.abs(error)) > 1e-3


def test_free_weights_claim_nothing():
    free = _codec(isn.DecoderSpec("free", num_frames=5, first_frame=-2))
    lines = dict(describe(free))
    assert lines["exactness"] == "not claimed: trained weights"
    assert lines["noise gain"] == "depends on the weights"


@pytest.mark.quick(0)
@pytest.mark.parametrize("options", [{}, {"component": "real", "causal": True, "num_bins": 24}])
def test_the_delay_is_what_a_frame_sees_ahead(options):
    codec = _codec(**options)
    match = re.match(
        r"(\d+) samples to encode, (\d+) to reconstruct", dict(describe(codec))["delay"]
    )
    ahead, total = int(match[1]), int(match[2])
    time = 100 * codec.spec.hop_length
    length = 4000
    times = np.round(codec.frame_times_s(length) * codec.spec.sample_rate).astype(int)
    frame = int(np.flatnonzero(times == time)[0])
    weights = np.random.default_rng(0).standard_normal(codec.spec.num_channels).astype(np.float32)
    seen = jax.jit(jax.grad(lambda x: codec.encode(x)[frame] @ weights))(
        np.zeros(length, np.float32)
    )
    assert int(np.max(np.flatnonzero(np.abs(seen) > 1e-9))) - time == ahead
    # The last frame that a decoded sample depends on has seen its own samples then.
    spectrogram = codec.encode(np.zeros(length, np.float32))
    last = 0
    for sample in range(time, time + codec.spec.hop_length):
        used = jax.jit(jax.grad(lambda s, at=sample: codec.decode(s, length=length)[at]))(
            spectrogram
        )
        strength = np.max(np.abs(used), axis=1)
        frames = np.flatnonzero(strength > 1e-7 * np.max(strength))  # as streams count
        last = max(last, int(times[frames[-1]]) + ahead - sample)
    # Within a hop: the outermost taps of a decoder may be zero.
    assert last <= total < last + codec.spec.hop_length + 1
    if options:
        assert ahead == 0


def test_projections_are_listed():
    model = isn.SincNet(_codec().spec, projections=("mel_slaney",))
    assert dict(describe(isn.build_codec(model)))["projections"] == "mel_slaney"
    assert "projections" not in dict(describe(_codec()))


@pytest.mark.parametrize("kind", ["centred", "causal", "low latency"])
def test_the_delay_is_that_of_a_stream(kind):
    codec = _codec(causal=kind != "centred")
    if kind == "low latency":
        codec = isn.low_latency_codec(codec.spec)
    latency = isn.stream_decoder(codec).total_latency
    assert f" {latency} to reconstruct" in dict(describe(codec))["delay"]


def test_the_algorithms_are_named():
    lines = dict(describe(_codec()))
    assert lines["algorithms"].startswith("folded DFT matrices, 643 products a frame; mirrored")
    learned = isn.build_codec(isn.SincNet(_codec().spec, learnable_filters=True))
    assert dict(describe(learned))["algorithms"].startswith("strided convolution, 2210 products")


def test_lapped_banks_are_described():
    spec = isn.LappedSpec(sample_rate=8000, hop_length=16)
    codec = isn.build_lapped_codec(isn.LappedBank(spec), step=0.25, name="small")
    lines = dict(describe(codec))
    assert (lines["model"], lines["sample rate"]) == ("small", "8000 Hz")
    assert lines["frames"] == "500 a second (hop_length 16)"
    assert lines["bank"] == spec.describe()
    assert lines["delay"].startswith(f"{spec.latency} samples")
    assert lines["coefficients"] == "8000 a second, 1 per sample"
    assert "a step of 0.25" in lines["tokens"]
