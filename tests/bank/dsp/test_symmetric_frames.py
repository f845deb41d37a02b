"""Folded frames of even and odd kernels against the direct sums."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax.bank import designed, solve, solved
from isincnet_jax.bank.dsp import symmetric_frames
from isincnet_jax.bank.synthesis import Synthesis
from isincnet_jax.dsp import framing
from isincnet_jax.dsp.distances import snr_db

HOP, REACH = 5, 41
TAPS = 2 * REACH + 1


def symmetric(rng: np.random.Generator, channels: int, num_even: int, lead: int) -> np.ndarray:
    kernels = rng.standard_normal((channels, 2 * lead))
    return kernels + symmetric_frames.mirrored(kernels, num_even=num_even, lead=lead)


@pytest.mark.quick(4)
@pytest.mark.parametrize("num_even", [7, 0, 16])
@pytest.mark.parametrize("length", [300, 1, 9])
@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_analysis_is_the_strided_correlation(rng, num_even, length, padding):
    kernels = symmetric(rng, 16, num_even, REACH + 1)[:, 1:]
    kernels[:, [0, -1]] = 0.0  # taps that do not reach as far as the array
    reach = REACH - 1
    waveform = rng.standard_normal((2, length))
    grid = framing.frame_grid(length, hop_length=HOP, lead=reach, trail=reach, padding=padding)
    common = {"grid": grid, "hop_length": HOP, "padding": padding}
    found = symmetric_frames.symmetric_analysis(
        waveform.astype(np.float32),
        kernels.astype(np.float32),
        num_even=num_even,
        reach=reach,
        **common,
    )
    padded = framing.pad_for_frames(waveform.astype(np.float32), lead=REACH, trail=REACH, **common)
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(padded), TAPS, axis=-1)
    expected = frames[:, ::HOP] @ kernels.T
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.quick(3)
@pytest.mark.parametrize("num_even", [7, 0, 16])
@pytest.mark.parametrize("length", [300, 1, 24])
def test_synthesis_is_the_direct_overlap_add(rng, num_even, length):
    lead = 8 * HOP
    kernels = symmetric(rng, 16, num_even, lead)
    kernels[:, 0] = 0.0  # without a mirror image
    spectrogram = rng.standard_normal((2, length // HOP + 5, 16)).astype(np.float32)
    place = {"hop_length": HOP, "lead": lead, "first_frame": -2, "length": length}
    found = symmetric_frames.symmetric_synthesis(
        spectrogram, kernels.astype(np.float32), num_even=num_even, **place
    )
    expected = np.zeros((2, length + 400))
    for frame in range(spectrogram.shape[1]):
        start = 200 + (frame - 2) * HOP - lead
        expected[:, start : start + 2 * lead] += spectrogram[:, frame] @ kernels
    np.testing.assert_allclose(found, expected[:, 200 : 200 + length], atol=2e-4)


def test_symmetry_is_told_from_its_absence(rng):
    kernels = symmetric(rng, 16, 8, 50)
    kernels[:, 0] = 0.0
    ask = {"num_even": 8, "lead": 50}
    assert symmetric_frames.is_symmetric(kernels, **ask)
    assert not symmetric_frames.is_symmetric(kernels, num_even=9, lead=50)
    assert not symmetric_frames.is_symmetric(kernels[:8], num_even=8, lead=50)  # few channels
    kernels[3, 0] = 1e-6  # a tap that has no mirror image
    assert not symmetric_frames.is_symmetric(kernels, **ask)


class TestCodecs:
    """The mel presets and others without uniform frequencies."""

    SPEC = isn.FilterbankSpec(scale="mel", num_bins=96, hop_length=60)

    def test_bank_and_decoder_are_symmetric_and_exact(self, rng):
        model = isn.SincNet(self.SPEC)
        assert isinstance(self.SPEC.bank, designed.SymmetricBank)
        found = Synthesis(self.SPEC, model.decoder).solved
        assert isinstance(found, solved.SymmetricDecoder)
        plain = solve.solve_kernels(
            self.SPEC.bank.kernels,
            hop_length=60,
            decoder=model.decoder,
            symmetric=True,
        )
        assert found.residual < 1e-8
        assert found.noise_gain < 1.01 * plain.noise_gain
        clip = rng.standard_normal((2, 7001)).astype(np.float32)
        codec = isn.build_codec(model)
        assert snr_db(prediction=codec.decode(codec.encode(clip), length=7001), target=clip) > 120

    def test_causal_and_asymmetric_banks_are_not(self):
        assert type(self.SPEC.replace(causal=True, component="complex").bank) is designed.Bank

    @pytest.mark.tail
    def test_gradients_are_those_of_the_dense_bank(self, rng):
        clip = rng.standard_normal(2000).astype(np.float32)
        bank = self.SPEC.bank
        filters = bank.kernels.astype(np.float32)

        def energy(analyse):
            return jax.grad(lambda x: (analyse(x, filters) ** 2).sum())(clip)

        np.testing.assert_allclose(
            energy(bank.analyse), energy(bank.dense.analyse), rtol=1e-4, atol=1e-4
        )
