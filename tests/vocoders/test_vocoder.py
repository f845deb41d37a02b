"""Vocoders whole: features, chunked synthesis, files of spectrograms, storing and loading."""

from __future__ import annotations

import functools
import zipfile

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

import isincnet_jax as isn
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.pretrained.members import ModelFileError
from isincnet_jax.pretrained.trained import export_trained, load_vocoder
from isincnet_jax.vocoders import spectrogram_file
from isincnet_jax.vocoders.features import VocoderFeatures, frame_windows, spectrogram_blocks
from isincnet_jax.vocoders.networks.cnn import CNNVocoder
from isincnet_jax.vocoders.networks.convnext import ConvNeXtVocoder
from isincnet_jax.vocoders.networks.istftnet import ISTFTNet
from isincnet_jax.vocoders.networks.phase_gradient import PhaseGradientVocoder
from isincnet_jax.vocoders.vocoder import TrainedVocoder, Vocoder

LINEAR = VocoderFeatures("linear", 8000, n_fft=128, win_length=64, hop_length=16)
MEL = VocoderFeatures("mel_htk", 8000, n_fft=256, win_length=256, hop_length=16, n_mels=9)
BANK = VocoderFeatures(
    "bank",
    8000,
    hop_length=16,
    bank=FilterbankSpec(sample_rate=8000, hop_length=16, num_bins=17),
)


@functools.lru_cache
def _vocoder(name):
    small = {"width": 8, "num_blocks": 1, "hop_length": 16}
    network, features, scale = {
        "cnn": (
            CNNVocoder(num_bins=65, widths=(4,) * 4, image_widths=(1, 2), post_blocks=1),
            LINEAR,
            "normalized",
        ),
        "phase": (
            ConvNeXtVocoder(num_bins=65, n_fft=128, win_length=64, predict="phase", **small),
            LINEAR,
            "linear",
        ),
        "gradient": (
            PhaseGradientVocoder(num_bins=65, n_fft=128, hop_length=16, widths=(8,)),
            LINEAR,
            "linear",
        ),
        "mel": (ISTFTNet(num_bins=9, width=8, strides=(4,), block_taps=(3,)), MEL, "linear"),
        "bank": (ConvNeXtVocoder(num_bins=17, n_fft=64, **small), BANK, "linear"),
    }[name]
    module = Vocoder(network, features, scale)
    variables = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 64)))
    return TrainedVocoder(module, jax.tree.map(np.asarray, variables))


def _noise(length, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, length).astype(np.float32)


def test_linear_and_mel_features_are_librosas():
    clip = _noise(3000)
    for features, norm in ((LINEAR, None), (MEL, None)):
        spectrum = librosa.stft(
            clip,
            n_fft=features.n_fft,
            hop_length=16,
            win_length=features.win_length,
            pad_mode="reflect",
        )
        wanted = np.abs(spectrum).T
        if features.is_mel:
            weights = librosa.filters.mel(sr=8000, n_fft=256, n_mels=9, htk=True, norm=norm)
            wanted = wanted @ weights.T
        np.testing.assert_allclose(jax.jit(features.of)(clip), wanted, atol=2e-4)
        assert features.num_frames(3000) == len(wanted)


def test_bank_features_are_the_banks_magnitudes():
    clip = _noise(1000)
    bank = isn.Analysis(BANK.bank)
    variables = jax.jit(bank.init)(jax.random.key(0), clip)
    cosine, sine = np.split(np.asarray(jax.jit(bank.apply)(variables, clip)), 2, axis=-1)
    found = np.asarray(jax.jit(BANK.of)(clip))
    assert found.shape == (BANK.num_frames(1000), 17)
    wanted = np.hypot(cosine, sine)
    offsets = [
        first
        for first in range(len(wanted) - len(found) + 1)
        if np.allclose(wanted[first : first + len(found)], found, atol=1e-5)
    ]
    assert len(offsets) == 1


@pytest.mark.parametrize("features", [LINEAR, MEL, BANK])
def test_features_of_silence_have_gradients(features):
    slope = jax.jit(jax.grad(lambda clip: jnp.sum(features.of(clip))))(jnp.zeros(200))
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "cqt"}, "kind='cqt' is unknown"),
        ({"n_mels": 40}, "n_mels=40 has no effect with kind='linear'"),
        ({"kind": "bank"}, "needs a bank"),
        ({"hop_length": 2048}, "hop_length=2048 exceeds win_length=1024"),
        ({"kind": "mel_slaney", "fmin": 9000.0, "fmax": 800.0}, "fmin"),
    ],
)
def test_impossible_features(fields, message):
    with pytest.raises(ValueError, match=message):
        VocoderFeatures(**fields)


def test_networks_that_do_not_fit_the_features():
    with pytest.raises(ValueError, match=r"network\.num_bins=20: .* have 65"):
        Vocoder(ISTFTNet(num_bins=20, width=8, strides=(4,)), LINEAR)
    with pytest.raises(ValueError, match=r"network\.hop=256: .* have 16"):
        Vocoder(ISTFTNet(num_bins=65), LINEAR)
    with pytest.raises(ValueError, match="input_scale='dB' is unknown"):
        Vocoder(ISTFTNet(num_bins=65, width=8, strides=(4,)), LINEAR, "dB")  # type: ignore[arg-type]


@settings(max_examples=10)
@given(
    num_frames=st.integers(1, 60),
    chunk=st.integers(1, 70),
    context=st.sampled_from([None, 0, 3, 20]),
    align=st.integers(1, 8),
)
def test_windows_use_every_frame_once(num_frames, chunk, context, align):
    found = list(frame_windows(num_frames, chunk=chunk, context=context, align=align))
    used = [frame for window in found for frame in range(window.start, window.stop)]
    assert used == list(range(num_frames))
    for begin, end, start, stop in found:
        assert begin % align == 0
        assert begin <= max(start - (context or 0), 0)
        assert end == min(stop + (context or 0), num_frames)


@pytest.mark.quick(0)
@pytest.mark.parametrize("name", ["cnn", "phase", "mel", "bank"])
def test_parts_make_what_the_whole_makes(name):
    vocoder, clip = _vocoder(name), _noise(3200)
    spectrogram = vocoder.spectrogram(clip)
    whole = vocoder.synthesize(spectrogram, length=3200)
    parts = vocoder.synthesize(spectrogram, length=3200, chunk_frames=110)  # from frame 46 at last
    assert whole.shape == (3200,)
    assert np.std(whole) > 0
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def _convergence(vocoder, waveform, magnitude):
    """Distance of a waveform's magnitudes from those that were asked for, librosa's STFT."""
    features = vocoder.features
    found = librosa.stft(
        waveform, n_fft=features.n_fft, hop_length=16, win_length=64, pad_mode="reflect"
    )
    return np.linalg.norm(np.abs(found).T - magnitude) / np.linalg.norm(magnitude)


@pytest.mark.quick(0)
@pytest.mark.parametrize("name", ["phase", "gradient"])  # sees 64 frames, sees all of them
def test_polished_parts_are_the_polished_whole(name):
    vocoder, clip = _vocoder(name), _noise(3205)
    magnitude = vocoder.spectrogram(clip)
    plain = vocoder.synthesize(magnitude, length=3205)
    whole = vocoder.synthesize(magnitude, length=3205, polish=3)
    assert whole.shape == (3205,)
    distances = [_convergence(vocoder, one, magnitude) for one in (plain, whole)]
    assert distances[1] < 0.8 * distances[0]
    # 201 frames in 5 parts that see 13 frames more on either side. Rounding errors only: -80 dB.
    parts = vocoder.synthesize(magnitude, length=3205, polish=3, chunk_frames=48)
    assert np.linalg.norm(parts - whole) < 1e-4 * np.linalg.norm(whole)
    np.testing.assert_array_equal(vocoder.synthesize(magnitude, length=3205, polish=0), plain)


def test_polishing_is_fast_griffin_lim_from_the_networks_waveform():
    vocoder = _vocoder("gradient")
    magnitude = np.asarray(vocoder.spectrogram(_noise(800)))
    found = vocoder.synthesize(magnitude, length=800, polish=3)
    stft = {"n_fft": 128, "hop_length": 16, "win_length": 64}
    previous, momentum = 0.0, 0.99 / 1.99
    spectrum = librosa.stft(vocoder.synthesize(magnitude, length=800), pad_mode="reflect", **stft)
    with_phase = magnitude.T * np.exp(1j * np.angle(spectrum))
    for _ in range(2):
        projected = librosa.stft(
            librosa.istft(with_phase, length=800, **stft), pad_mode="reflect", **stft
        )
        with_phase = magnitude.T * np.exp(1j * np.angle(projected - momentum * previous))
        previous = projected
    wanted = librosa.istft(with_phase, length=800, **stft)
    assert np.linalg.norm(found - wanted) < 1e-4 * np.linalg.norm(wanted)


def test_what_cannot_be_polished():
    mel = np.ones((4, 9), np.float32)
    with pytest.raises(ValueError, match=r"polish=2: .* STFT, .* kind='mel_htk' are not; use"):
        _vocoder("mel").synthesize(mel, polish=2)
    with pytest.raises(ValueError, match="polish=-1 must be 0 or more"):
        _vocoder("mel").synthesize(mel, polish=-1)


@pytest.mark.quick(1)
@pytest.mark.parametrize("features", [LINEAR, MEL, BANK])
def test_long_waveforms_are_analysed_in_parts(features):
    clip = _noise(4001)
    parts = list(spectrogram_blocks(features, clip, chunk_frames=50))
    assert len(parts) > 4
    np.testing.assert_allclose(np.concatenate(parts), jax.jit(features.of)(clip), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s[:, :64], ValueError, "its bins must be 65"),
        (lambda s: s.T, ValueError, "looks transposed"),
        (lambda s: s[:0], ValueError, "is empty"),
        (lambda s: np.where(s > s.mean(), np.nan, s), ValueError, "NaN or infinite"),
        (lambda s: 20 * np.log10(s + 1e-5), ValueError, "looks like decibels"),
        (lambda s: s.astype(np.complex64), TypeError, "take its magnitude"),
    ],
)
def test_bad_spectrograms(change, error, message):
    vocoder = _vocoder("phase")
    spectrogram = np.asarray(vocoder.spectrogram(_noise(500)))
    with pytest.raises(error, match=message):
        vocoder.synthesize(change(spectrogram))


def test_traced_spectrograms_are_checked_by_shape_and_dtype():
    """Values are not known yet: an empty batch of them is fine, and so is what may be decibels."""
    vocoder = _vocoder("gradient")
    synthesize = jax.jit(vocoder.synthesize, static_argnames=("length", "polish", "online"))
    with pytest.raises(ValueError, match="looks transposed"):
        synthesize(jnp.ones((65, 4)))
    with pytest.raises(TypeError, match="take its magnitude"):
        synthesize(jnp.ones((4, 65), jnp.complex64))
    with pytest.raises(ValueError, match="length=65: 4 frames of 16 samples have 1 to 64"):
        synthesize(jnp.ones((4, 65)), length=65)
    with pytest.raises(ValueError, match="polish=-1"):
        synthesize(jnp.ones((4, 65)), polish=-1)
    assert synthesize(jnp.ones((0, 4, 65))).shape == (0, 64)
    assert synthesize(-jnp.ones((2, 1, 4, 65)), online=True).shape == (2, 1, 64)


def test_impossible_lengths():
    vocoder = _vocoder("phase")
    spectrogram = np.ones((4, 65), np.float32)
    with pytest.raises(ValueError, match="length=65: 4 frames of 16 samples have 1 to 64"):
        vocoder.synthesize(spectrogram, length=65)
    with pytest.raises(ValueError, match="chunk_frames=0"):
        vocoder.synthesize(spectrogram, chunk_frames=0)


@pytest.mark.quick(0)
@pytest.mark.parametrize("name", ["cnn", "mel", "bank"])
def test_stored_as_float16_and_read_as_float32(name, tmp_path):
    vocoder, clip = _vocoder(name), _noise(3200)
    folder = export_trained(vocoder, tmp_path / "model", card={"note": 1})
    stored = safetensors.numpy.load_file(folder / "model.safetensors")
    kinds = {array.ndim > 1: array.dtype for array in stored.values()}
    assert kinds == {True: "float16", False: "float32"}
    loaded = isn.from_pretrained(folder)
    assert loaded.model.clone(precision=None) == vocoder.model.clone(precision=None)
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded.variables)} == {jnp.dtype("float32")}
    spectrogram = vocoder.spectrogram(clip)
    found, wanted = (one.synthesize(spectrogram) for one in (loaded, vocoder))
    assert np.max(np.abs(found - wanted)) < 0.01 * np.max(np.abs(wanted))
    again = load_vocoder(export_trained(loaded, tmp_path / "again.zip"))
    np.testing.assert_array_equal(again.synthesize(spectrogram), found)


def test_weights_beyond_float16_and_other_models_are_refused(tmp_path):
    vocoder = _vocoder("mel")
    large = jax.tree.map(lambda leaf: leaf + np.float32(1e6), vocoder.variables)
    with pytest.raises(ValueError, match="beyond the range of float16"):
        export_trained(vocoder.replace(variables=large), tmp_path / "large")
    assert not (tmp_path / "large").exists()
    with pytest.raises(ValueError, match="no vocoder"):
        load_vocoder("16khz-linear")
    export_trained(vocoder, tmp_path / "model")
    text = (tmp_path / "model" / "config.json").read_text()
    (tmp_path / "model" / "config.json").write_text(text.replace("istftnet", "wavenet"))
    with pytest.raises(ModelFileError):
        load_vocoder(tmp_path / "model")


@pytest.mark.parametrize("features", [LINEAR, MEL, BANK])
@pytest.mark.parametrize("compressed", [False, True])
def test_files_hold_what_was_written(features, compressed, tmp_path):
    spectrogram = np.asarray(jax.jit(features.of)(_noise(1000)))
    path = tmp_path / "a.npz"
    spectrogram_file.write_spectrogram(
        path,
        [spectrogram[:3], spectrogram[3:]],
        features=features,
        num_frames=len(spectrogram),
        length=1000,
    )
    with zipfile.ZipFile(path) as stored:  # the same spectrogram is the same bytes
        assert {member.date_time for member in stored.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    if compressed:  # as others may write it
        with np.load(path) as archive:
            arrays = dict(archive)
        np.savez_compressed(path, **arrays)
    found = spectrogram_file.read_spectrogram(path)
    np.testing.assert_array_equal(found.spectrogram, spectrogram)
    assert isinstance(found.spectrogram, np.memmap) != compressed
    assert (found.features, found.length) == (features, 1000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": "decibel"}, "scale='decibel': vocoders take linear magnitudes"),
        ({"hop_length": None}, "field 'hop_length' is missing"),
        ({"format": "other 1"}, "format='other 1'"),
        ({"kind": "cqt"}, "kind='cqt' is unknown"),
        ({"n_mels": 3}, "n_mels=3 has no effect"),
        ({"spectrogram": None}, "has no array 'spectrogram'"),
        ({"spectrogram": np.ones(5)}, r"spectrogram\.shape=\(5,\)"),
        ({"spectrogram": np.array([{}])}, "isincnet vocoder spectrogram writes such files"),
    ],
)
def test_files_of_another_kind(changes, message, tmp_path):
    arrays = {"format": spectrogram_file.FORMAT, "scale": "linear", "length": 32, **LINEAR.facts()}
    arrays["spectrogram"] = np.ones((3, 65), np.float32)
    arrays = {k: v for k, v in {**arrays, **changes}.items() if v is not None}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(spectrogram_file.SpectrogramFileError, match=message):
        spectrogram_file.read_spectrogram(tmp_path / "a.npz")


def test_torn_files(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(FileNotFoundError, match="no such file"):
        spectrogram_file.read_spectrogram(path)
    with pytest.raises(ValueError, match="2 frames came, 3 were promised"):
        spectrogram_file.write_spectrogram(
            path, [np.ones((2, 65))], features=LINEAR, num_frames=3, length=32
        )
    spectrogram_file.write_spectrogram(
        path, [np.ones((3, 65))], features=LINEAR, num_frames=3, length=32
    )
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(spectrogram_file.SpectrogramFileError):
        spectrogram_file.read_spectrogram(path)


def test_fitted_vocoders_have_the_features_that_they_were_given():
    features = VocoderFeatures(
        "mel_slaney", 8000, n_fft=128, win_length=128, hop_length=32, n_mels=12
    )
    network = ConvNeXtVocoder(num_bins=12, width=8, num_blocks=1, n_fft=128, hop_length=32)
    clip = jnp.asarray(np.random.default_rng(0).uniform(-0.5, 0.5, (1, 1000)), jnp.float32)
    wanted = features.of(clip)
    variables = jax.jit(Vocoder(network, features).init)(jax.random.key(0), clip)
    missed = []
    for fit in (0, 30):
        vocoder = TrainedVocoder(Vocoder(network, features, fit=fit), variables)
        found = vocoder.synthesize(np.asarray(wanted), length=1000, chunk_frames=7)
        missed.append(np.linalg.norm(features.of(jnp.asarray(found)) - wanted))
    assert missed[1] < 0.1 * missed[0]
    with pytest.raises(ValueError, match="fit=-1"):
        Vocoder(network, features, fit=-1)
