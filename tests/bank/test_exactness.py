"""What is claimed of round trips, held against round trips."""

from __future__ import annotations

import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax.bank import edges, exactness
from isincnet_jax.bank import solve as decoding
from isincnet_jax.bank.solved import EXACT_SNR_DB
from isincnet_jax.pretrained.description import describe

SPEC = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=17, shape="none")
BANKS = {
    "uniform": SPEC,
    "mel": SPEC.replace(scale="mel", num_bins=30),
    "real causal": SPEC.replace(component="real", causal=True, num_bins=20, kernel_size=33),
    "tight": SPEC.replace(tight=True),
    "reflect": SPEC.replace(padding="reflect", scale="erb", num_bins=24),
    "reflect causal": SPEC.replace(padding="reflect", causal=True),
    "hop of one": SPEC.replace(hop_length=1, num_bins=6, kernel_size=9, scale="mel"),
}
ILL = SPEC.replace(scale="erb", component="real", num_bins=14, kernel_size=24, window="hamming")


def measured_db(spec: isn.FilterbankSpec, length: int) -> float:
    waveform = np.random.default_rng(3).standard_normal((4, length)).astype(np.float32)
    codec = isn.build_codec(isn.SincNet(spec))
    error = np.asarray(codec.decode(codec.encode(waveform), length=length), np.float64) - waveform
    return float(-10 * np.log10(np.mean(error**2)))


@pytest.mark.quick(4)
@pytest.mark.parametrize("spec", BANKS.values(), ids=BANKS)
def test_expected_snr_is_the_measured_one(spec):
    assert abs(exactness.expect(spec, length=1003).expected_snr_db - measured_db(spec, 1003)) < 6
    assert exactness.expect(spec).is_exact
    line = dict(describe(isn.build_codec(isn.SincNet(spec))))["exactness"]
    assert line.startswith("exact: ")


def test_ill_conditioned_banks_are_not_called_exact():
    solved = decoding.design_decoder(ILL)
    assert solved.is_exact_in_float64
    assert not solved.is_exact
    found = measured_db(ILL, 2000)
    assert found < EXACT_SNR_DB
    assert abs(solved.expected_snr_db - found) < 6
    lines = dict(describe(isn.build_codec(isn.SincNet(ILL))))
    assert lines["exactness"].startswith(
        f"exact in float64, about {solved.expected_snr_db:.0f} dB in float32: "
    )
    assert lines["expected SNR in float32"].startswith(f"{solved.expected_snr_db:.0f} dB")


def test_weights_that_are_not_solved_claim_nothing():
    decoder = isn.DecoderSpec("free", num_frames=5, first_frame=-2)
    found = exactness.expect(SPEC, decoder)
    assert np.isnan(found.expected_snr_db)
    assert not found.is_exact


@pytest.mark.parametrize("length", [3, 1003])
def test_errors_of_reflected_edges_are_those_of_their_decoders(length):
    """Before rounding: the edge decoders' own residuals, each over its samples."""
    spec = BANKS["reflect"]
    plan = edges.edge_plan(spec.bank, decoding.design_decoder(spec), length)
    found = exactness.expect(spec, length=length)
    both = [edge for edge in (plan.left, plan.right) if edge is not None]
    assert found.edge_samples == sum(edge.num_samples for edge in both)
    assert found.residual < 1e-11
    assert max(edge.residual for edge in both) < 1e-11
    assert 100 < found.worst_edge_snr_db < 150


def test_samples_in_no_frame_are_told():
    spec = SPEC.replace(dialect="0.5", padding="reflect", causal=True)
    assert spec.bank.unseen_samples == 7
    with pytest.warns(decoding.UnseenSamplesWarning, match="up to 7 samples at the end of a clip"):
        codec = isn.build_codec(isn.SincNet(spec))
    lines = dict(describe(codec))
    assert "up to 7 at the end are in no frame and are lost" in lines["reflected edges"]
    assert lines["exactness"].startswith("the best linear decoder, not exact")
    # A thousand samples of which the last 7 are lost.
    assert exactness.expect(spec).least_snr_db == pytest.approx(21.5, abs=1.5)


def test_issue_bank_returns_the_end_of_a_clip():
    """8 kHz, hop 18, 51 bins, mel, boxcar, 19 taps, 69 samples: 14 to 27 dB before."""
    spec = isn.FilterbankSpec(
        sample_rate=8000, hop_length=18, num_bins=51, scale="mel_slaney", window="boxcar",
        kernel_size=19, padding="reflect",
    )  # fmt: skip
    assert measured_db(spec, 69) > 110
    assert measured_db(spec.replace(tight=True), 69) > 110


def test_more_frames_are_taken_where_few_lose_in_float32():
    spec = ILL.replace(num_bins=26)
    kernels = spec.bank.kernels
    few = decoding.solve_kernels(
        kernels, hop_length=8, decoder=isn.DecoderSpec("least_squares", num_frames=8)
    )
    solved = decoding.design_decoder(spec)
    assert few.is_exact_in_float64
    assert not few.is_exact
    assert solved.is_exact
    assert solved.noise_gain < few.noise_gain / 2
    assert solved.taps > few.taps
    assert measured_db(spec, 2000) > EXACT_SNR_DB
