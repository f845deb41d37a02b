"""Edge decoders of reflected clips: exact for all lengths modulo the hop."""

from __future__ import annotations

import numpy as np
import pytest

from isincnet_jax.bank.dsp import kernels, reflected_edges

HOP = 4


def make_bank(*, num_bins=7, taps=17):
    bank = kernels.design_kernels(
        np.linspace(0, 32.0, num_bins),
        np.full(num_bins, 64.0 / num_bins),
        kernels.make_window("hann", taps),
        sample_rate=64,
        shape="gauss",
        component="complex",
        normalization="l1",
    )
    return kernels.stack_components(bank, component="complex")


BANK = make_bank()


def analyse_reflected(waveform, bank):
    """Frames 0 .. (length - 1) // hop of numpy's own reflection, [frames * channels]."""
    length, taps = len(waveform), bank.shape[1]
    count = (length - 1) // HOP + 1
    pad = taps + HOP
    extended = np.pad(waveform, pad, mode="reflect") if length > 1 else np.full(2 * pad, waveform)
    starts = pad - taps // 2 + HOP * np.arange(count)
    return np.stack([bank @ extended[s : s + taps] for s in starts]).reshape(-1)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 9, 30])
def test_reflected_analysis_matrix_is_numpys_reflection(rng, length):
    matrix = reflected_edges.reflected_analysis_matrix(BANK, hop_length=HOP, length=length)
    waveform = rng.standard_normal(length)
    np.testing.assert_allclose(matrix @ waveform, analyse_reflected(waveform, BANK), atol=1e-13)


@pytest.mark.parametrize("length", range(1, 14))
def test_short_clips_are_solved_as_a_whole(rng, length):
    decoder = reflected_edges.whole_clip_decoder(BANK, hop_length=HOP, length=length)
    waveform = rng.standard_normal(length)
    assert decoder.num_samples == length
    assert decoder.residual < 1e-11
    # Float64 through a matrix of condition below 1e4.
    found = analyse_reflected(waveform, BANK) @ decoder.matrix
    np.testing.assert_allclose(found, waveform, atol=1e-10)


@pytest.mark.parametrize("remainder", range(HOP))
@pytest.mark.parametrize("num_samples", [3, 9])
def test_edges_are_exact_for_every_remainder(rng, remainder, num_samples):
    num_frames = 8
    length = 30 * HOP + remainder + 1
    waveform = rng.standard_normal(length)
    coefficients = analyse_reflected(waveform, BANK)
    used = num_frames * len(BANK)
    left = reflected_edges.left_edge_decoder(
        BANK, hop_length=HOP, num_samples=num_samples, num_frames=num_frames
    )
    right = reflected_edges.right_edge_decoder(
        BANK,
        hop_length=HOP,
        num_samples=num_samples,
        num_frames=num_frames,
        remainder=remainder,
    )
    assert max(left.residual, right.residual) < 1e-11
    np.testing.assert_allclose(
        coefficients[:used] @ left.matrix, waveform[:num_samples], atol=1e-10
    )
    np.testing.assert_allclose(
        coefficients[-used:] @ right.matrix, waveform[-num_samples:], atol=1e-10
    )


def test_right_edge_of_another_remainder_is_wrong(rng):
    """The remainder matters: the decoder of one does not serve another."""
    length = 30 * HOP + 1
    waveform = rng.standard_normal(length)
    wrong = reflected_edges.right_edge_decoder(
        BANK, hop_length=HOP, num_samples=3, num_frames=8, remainder=2
    )
    found = analyse_reflected(waveform, BANK)[-8 * len(BANK) :] @ wrong.matrix
    assert np.max(np.abs(found - waveform[-3:])) > 1e-2


def test_too_few_frames_leave_a_residual():
    # On the reflected frame at sample 0 the sine channels vanish: 7 equations for 9 samples.
    decoder = reflected_edges.left_edge_decoder(BANK, hop_length=HOP, num_samples=9, num_frames=1)
    assert decoder.residual == pytest.approx(np.sqrt(2 / 9), rel=1e-4)
