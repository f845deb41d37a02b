"""Stored estimators: half precision on disk, the same scores, sizes, refusals."""

import jax
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.inversynth.networks import NUM_SAMPLES, InverSynth, TrainedInverSynth
from isincnet_jax.pretrained import model_kinds
from isincnet_jax.pretrained.trained import export_trained, load_inversynth

BANK = FilterbankSpec(sample_rate=16_384, hop_length=256, num_bins=16)


def trained(model, seed=0):
    clip = jax.ShapeDtypeStruct((1, NUM_SAMPLES), np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), clip)
    rng = np.random.default_rng(seed)
    return TrainedInverSynth(
        model,
        jax.tree.map(lambda leaf: 0.05 * rng.standard_normal(leaf.shape, np.float32), shapes),
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A network, where it is stored, and what comes back."""
    model = trained(InverSynth("C1"))
    path = export_trained(model, tmp_path_factory.mktemp("stored") / "c1", card={"mpr": 70.0})
    return model, path, load_inversynth(path)


def test_what_comes_back_is_the_network_of_half_precision(stored):
    model, _, found = stored
    assert found.model == model.model.clone(precision=found.model.precision)
    for one, other in zip(
        jax.tree.leaves(model.variables), jax.tree.leaves(found.variables), strict=True
    ):
        wanted = one.astype(np.float16).astype(np.float32) if one.ndim > 1 else one
        np.testing.assert_array_equal(other, wanted)
        assert other.dtype == np.float32


def test_the_public_loader_gives_the_same(stored):
    _, path, found = stored
    again = isn.from_pretrained(path)
    assert isinstance(again, TrainedInverSynth)
    clip = np.random.default_rng(1).standard_normal((1, NUM_SAMPLES)).astype(np.float32)
    np.testing.assert_array_equal(found.scores(clip), again.scores(clip))


def test_it_takes_two_bytes_a_weight(stored):
    _, path, _ = stored
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert size < 1.03 * 2 * 1_175_000


def test_networks_behind_a_bank_keep_it(tmp_path):
    model = trained(InverSynth("C1", spec=BANK, learnable_filters=True))
    found = load_inversynth(export_trained(model, tmp_path / "bank.zip"))
    assert found.model.spec == BANK
    assert found.model.learnable_filters
    assert "analysis" in found.variables["params"]


def test_plain_fields_name_the_network():
    fields = model_kinds.kind_of(InverSynth("C6")).plain_fields(InverSynth("C6"))
    assert (fields["network"], fields["spec"]) == ("C6", None)


def test_other_models_are_refused(tmp_path):

    from isincnet_jax.vocoders.features import VocoderFeatures
    from isincnet_jax.vocoders.networks.istftnet import ISTFTNet
    from isincnet_jax.vocoders.vocoder import TrainedVocoder, Vocoder

    features = VocoderFeatures("mel_slaney", n_fft=64, win_length=64, hop_length=16, n_mels=4)
    network = ISTFTNet(
        num_bins=4,
        width=4,
        strides=(4,),
        block_taps=(3,),
        block_dilations=(1,),
        n_fft=16,
        hop_length=4,
    )
    vocoder = Vocoder(network, features)
    shapes = jax.eval_shape(
        vocoder.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 64), np.float32)
    )
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    path = export_trained(TrainedVocoder(vocoder, zeros), tmp_path / "vocoder")
    with pytest.raises(ValueError, match="a Vocoder, no InverSynth; use the export folder"):
        load_inversynth(path)


def test_weights_beyond_half_precision_are_refused(tmp_path):
    model = trained(InverSynth("C1"))
    large = jax.tree.map(lambda leaf: leaf + 1e5, model.variables)
    with pytest.raises(ValueError, match="beyond the range of float16"):
        export_trained(TrainedInverSynth(model.model, large), tmp_path / "large")
    assert not (tmp_path / "large").exists()
