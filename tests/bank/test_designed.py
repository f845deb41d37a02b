"""Designed banks: one per spec, held by it; the type says which algorithm applies."""

from __future__ import annotations

import dataclasses
import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax import DecoderSpec, FilterbankSpec, SincNet
from isincnet_jax.bank.designed import Bank, RealUniformBank, SymmetricBank, UniformBank
from isincnet_jax.bank.solve import design_decoder
from isincnet_jax.bank.solved import DualWindow, FoldedDecoder, SolvedDecoder, SymmetricDecoder

UNIFORM = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=17)
MEL = UNIFORM.replace(scale="mel")
TIGHT = UNIFORM.replace(tight=True)
REAL = FilterbankSpec(
    sample_rate=8000, hop_length=15, num_bins=16, component="real", causal=True, shape="none"
)


def test_equal_specs_share_their_bank_and_its_decoders():
    again = dataclasses.replace(UNIFORM)
    assert again is not UNIFORM
    assert again.bank is UNIFORM.bank
    assert design_decoder(again) is design_decoder(UNIFORM, DecoderSpec())


def test_pickles_hold_no_bank():
    size = len(pickle.dumps(dataclasses.replace(UNIFORM)))
    assert UNIFORM.bank.lead > 0
    assert len(pickle.dumps(UNIFORM)) == size
    assert pickle.loads(pickle.dumps(UNIFORM)) == UNIFORM


@pytest.mark.parametrize(
    "spec",
    [
        MEL,
        MEL.replace(shape="gammatone"),
        REAL.replace(scale="mel"),
        REAL.replace(max_hz=3900.0),
        FilterbankSpec.reference(component="real"),
    ],
)
def test_banks_of_no_structure_are_dense(spec):
    assert type(spec.bank) is Bank
    assert spec.bank.dense is spec.bank
    assert type(design_decoder(spec, DecoderSpec("wiener"))) is SolvedDecoder
    assert spec.bank.algorithm == ("strided convolution", spec.bank.kernels.size)


def test_large_banks_of_even_and_odd_kernels_are_symmetric():
    large = FilterbankSpec(
        sample_rate=8000, hop_length=16, num_bins=24, kernel_size=65, scale="mel"
    )
    for spec in (large, TIGHT):
        assert type(spec.bank) is SymmetricBank
        assert type(spec.bank.dense) is Bank
        assert type(design_decoder(spec)) is SymmetricDecoder
        assert type(SincNet(spec, learnable_filters="free").bank) is Bank
        assert spec.bank.algorithm.name == "folded kernels"


def test_learned_filters_and_weights_of_a_uniform_bank_are_dense():
    fixed, learned = SincNet(UNIFORM), SincNet(UNIFORM, learnable_filters=True)
    assert type(fixed.bank) is UniformBank
    assert type(learned.bank) is Bank
    np.testing.assert_array_equal(learned.bank.kernels, fixed.bank.kernels)
    assert type(fixed.solved) is DualWindow
    assert type(SincNet(UNIFORM, learnable_decoder=True).solved) is SolvedDecoder


def test_learned_filters_and_weights_of_a_real_uniform_bank_are_dense():
    fixed, learned = SincNet(REAL), SincNet(REAL, learnable_filters="free")
    assert type(fixed.bank) is RealUniformBank
    assert type(learned.bank) is Bank
    np.testing.assert_array_equal(learned.bank.kernels, fixed.bank.kernels)
    assert type(fixed.solved) is FoldedDecoder
    assert type(SincNet(REAL, learnable_decoder=True).solved) is SolvedDecoder
    assert type(SincNet(REAL, DecoderSpec("least_squares")).solved) is SolvedDecoder


def test_real_banks_that_cannot_be_unfolded_keep_their_least_squares():
    # N = 30 and a window of 32 taps over hops of 8: folds mix more than two residues.
    mixed = REAL.replace(hop_length=8, kernel_size=65)
    assert type(mixed.bank) is RealUniformBank
    assert type(design_decoder(mixed)) is SolvedDecoder
    assert design_decoder(mixed).is_exact


def test_a_folded_inverse_has_no_more_frames_than_are_asked_for():
    usual = design_decoder(REAL)
    frames = usual.taps // REAL.hop_length
    assert type(design_decoder(REAL, DecoderSpec(num_frames=frames))) is FoldedDecoder
    fewer = design_decoder(REAL, DecoderSpec(num_frames=frames - 1))
    assert fewer.method == "least squares"
    assert fewer.taps == usual.taps - REAL.hop_length


@pytest.mark.quick(1)
@pytest.mark.parametrize("spec", [REAL, UNIFORM])
def test_both_algorithms_of_a_uniform_bank_agree(rng, spec):
    bank, solved = spec.bank, design_decoder(spec)
    waveform = jnp.asarray(rng.standard_normal(203), jnp.float32)
    np.testing.assert_allclose(bank.written_out(bank.filters), bank.kernels, atol=1e-15)
    found = [
        one.analyse(waveform, jnp.asarray(one.filters, jnp.float32)) for one in (bank, bank.dense)
    ]
    np.testing.assert_allclose(*found, atol=1e-5)
    place = {
        "hop_length": spec.hop_length,
        "first_frame": bank.frame_grid(203).first,
        "length": 203,
    }
    back = [
        one.synthesise(found[0], jnp.asarray(one.values, jnp.float32), **place)
        for one in (solved, solved.dense)
    ]
    np.testing.assert_allclose(*back, atol=1e-5)
    np.testing.assert_allclose(back[0], waveform, atol=1e-5)


def test_a_known_solution_is_taken_by_a_bank_without_one():
    spec = MEL.replace(num_bins=18)
    known = design_decoder(MEL)
    assert design_decoder(spec, known=known) is known
    assert design_decoder(spec) is known
    spec.bank.decoders.clear()
    assert design_decoder(spec) is not known
