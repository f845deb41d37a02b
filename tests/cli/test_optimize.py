"""`isincnet optimize`: a folder of sounds in, a better bank out, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

import isincnet_jax as isn

pytest.importorskip("pyloudnorm")


@pytest.fixture
def sounds(tmp_path, rng):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for index in range(6):
        noise = np.cumsum(rng.standard_normal(9600)) * np.hanning(9600)
        soundfile.write(folder / f"{index}.wav", 0.5 * noise / np.abs(noise).max(), 8000)
    return folder


@pytest.fixture
def start(tmp_path):
    spec = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
    path = tmp_path / "start"
    isn.export_pretrained(isn.build_codec(isn.SincNet(spec)), path)
    return path


def test_a_bank_is_optimised_and_stored(run, tmp_path, sounds, start):
    options = "--target 'noise of 20 dB' --free window=2 --steps 3"
    status, out, err = run(f"optimize {start} {sounds} {tmp_path / 'out'} {options}")
    assert (status, err) == (0, "")
    assert "6 clips of 1 s at 8000 Hz" in out
    assert "held-out clips: " in out
    codec = isn.from_pretrained(tmp_path / "out")
    clip = 0.1 * np.random.default_rng(0).standard_normal((1, 800)).astype(np.float32)
    again = codec.decode(codec.encode(clip), length=800)
    assert float(np.max(np.abs(again - clip))) < 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--free window", "'window' is no name=number"),
        ("--free colour=1", "colour"),
        ("--target loudest", "loudest"),
    ],
)
def test_what_makes_no_bank_is_refused(run, tmp_path, sounds, start, options, message):
    status, _, err = run(f"optimize {start} {sounds} {tmp_path / 'out'} {options}")
    assert status == 1
    assert message in err
    assert not (tmp_path / "out").exists()


def test_too_few_sounds_are_refused(run, tmp_path, sounds, start):
    for path in sorted(sounds.iterdir())[:2]:
        path.unlink()
    _, _, err = run(f"optimize {start} {sounds} {tmp_path / 'out'}")
    assert "give 5 or more" in err
