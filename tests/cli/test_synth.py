"""``isincnet synth generate`` as a user types it."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

SMALL = "synth generate --num-examples 3 --length 0.05 --sample-rate 8000"


def test_generate_writes_a_data_set_and_then_nothing(run, tmp_path):
    status, out, err = run(SMALL)
    assert (status, err) == (0, "")
    assert "parameters: 3 sounds, drawn: test_datasets/InverSynth_data.hdf5" in out
    assert "sounds: 3 written, 0 kept: test_waves/InverSynth" in out
    assert (tmp_path / "test_datasets" / "InverSynth_params.json").is_file()
    samples, rate = soundfile.read(tmp_path / "test_waves" / "InverSynth" / "InverSynth_00002.wav")
    assert (samples.shape, rate) == ((400,), 8000)
    status, out, _ = run(SMALL)
    assert status == 0
    assert "as they were" in out
    assert "0 written, 3 kept" in out


def test_the_spellings_of_the_seed_work(run, tmp_path):
    status, out, err = run(
        "synth generate --num_examples 2 --name mine --dataset_directory a --wavefile_directory b "
        "--length 0.05 --sample_rate 8000 --sampling_method random --normalise "
        "--regenerate_samples --regenerate_audio"
    )
    assert (status, err) == (0, "")
    assert (tmp_path / "a" / "mine_data.hdf5").is_file()
    for index in range(2):
        samples, _ = soundfile.read(tmp_path / "b" / "mine" / f"mine_{index:05d}.wav")
        assert np.max(np.abs(samples)) == pytest.approx(1)
    assert "beyond full scale" not in out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--sampling-method grid", "--sampling-method 'grid' is unknown; use random"),
        ("--num-examples 0", "--num-examples 0 must be at least 1"),
        ("--sample-rate 4000", "--sample-rate 4000 must be at least 8000 Hz"),
        ("--name a/b", "--name 'a/b' must be a plain file name"),
    ],
)
def test_bad_options_are_one_line(run, tmp_path, more, message):
    status, _, err = run(f"synth generate {more}")
    assert status == 1
    assert err.count("\n") == 1
    assert message in err
    assert not any(tmp_path.iterdir())


def test_other_settings_are_one_line(run):
    run(SMALL)
    status, _, err = run(f"{SMALL} --normalise")
    assert status == 1
    assert "no --normalise (asked: True); use another --name, or --regenerate-audio" in err
    status, out, _ = run(f"{SMALL} --normalise --regenerate-audio")
    assert status == 0
    assert "3 written" in out


def test_defaults_are_those_of_the_seed():
    import inspect

    from isincnet_jax.cli.synth import generate

    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(generate).parameters.items()
    }
    assert {name: str(value) for name, value in defaults.items()} == {
        "num_examples": "150",
        "name": "InverSynth",
        "dataset_directory": "test_datasets",
        "wavefile_directory": "test_waves",
        "length": "1.0",
        "sample_rate": "16384",
        "sampling_method": "random",
        "regenerate_samples": "False",
        "regenerate_audio": "False",
        "normalise": "False",
        "seed": "0",
    }
