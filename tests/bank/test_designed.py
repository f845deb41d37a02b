"""Designed banks: one per spec, held by it; the type says which algorithm applies."""

from __future__ import annotations

import dataclasses
import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax import DecoderSpec, FilterbankSpec, SincNet
from isincnet_jax.bank.designed import Bank, UniformBank
from isincnet_jax.bank.solve import design_decoder
from isincnet_jax.bank.solved import DualWindow, SolvedDecoder

UNIFORM = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=17)
MEL = UNIFORM.replace(scale="mel")
TIGHT = UNIFORM.replace(tight=True)


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


@pytest.mark.parametrize("spec", [MEL, TIGHT, UNIFORM.replace(num_bins=12, component="real")])
def test_banks_of_no_structure_are_dense(spec):
    assert type(spec.bank) is Bank
    assert spec.bank.dense is spec.bank
    assert type(design_decoder(spec, DecoderSpec("wiener"))) is SolvedDecoder
    assert spec.bank.algorithm == ("strided convolution", spec.bank.kernels.size)


def test_learned_filters_and_weights_of_a_uniform_bank_are_dense():
    fixed, learned = SincNet(UNIFORM), SincNet(UNIFORM, learnable_filters=True)
    assert type(fixed.bank) is UniformBank
    assert type(learned.bank) is Bank
    np.testing.assert_array_equal(learned.bank.kernels, fixed.bank.kernels)
    assert type(fixed.solved) is DualWindow
    assert type(SincNet(UNIFORM, learnable_decoder=True).solved) is SolvedDecoder


@pytest.mark.quick(0)
def test_both_algorithms_of_a_uniform_bank_agree(rng):
    bank, solved = UNIFORM.bank, design_decoder(UNIFORM)
    waveform = jnp.asarray(rng.standard_normal(203), jnp.float32)
    np.testing.assert_allclose(bank.written_out(bank.filters), bank.kernels, atol=1e-15)
    found = [
        one.analyse(waveform, jnp.asarray(one.filters, jnp.float32)) for one in (bank, bank.dense)
    ]
    np.testing.assert_allclose(*found, atol=1e-5)
    place = {"hop_length": 8, "first_frame": bank.frame_grid(203).first, "length": 203}
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
