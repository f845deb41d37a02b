"""A small corpus in the layout of GTZAN."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

GENRES = ("blues", "jazz", "rock")


@pytest.fixture(scope="session")
def gtzan_tree(tmp_path_factory):
    """``genres`` with 3 genres of 5 clips of 1 s at 22,050 Hz: .wav, .au, one file corrupt."""
    folder = tmp_path_factory.mktemp("gtzan")
    rng = np.random.default_rng(3)
    for genre in GENRES:
        (folder / "genres" / genre).mkdir(parents=True)
        for number in range(5):
            suffix = "au" if number % 2 else "wav"
            path = folder / "genres" / genre / f"{genre}.{number:05d}.{suffix}"
            level = rng.uniform(0.01, 0.9)
            noise = level * rng.uniform(-1, 1, 22_050 + 100 * number)
            soundfile.write(path, noise, 22_050, subtype="PCM_16")
    # libsndfile would take it for mu-law without a header.
    (folder / "genres" / "rock" / "rock.00003.au").write_bytes(b"no audio at all" * 50)
    (folder / "genres" / "jazz" / "jazz.00054.wav").write_bytes(b"known to be corrupt")
    (folder / "genres" / "jazz" / "._jazz.00001.wav").write_bytes(b"left by an archiver")
    (folder / "genres" / "bextract.mf").write_text("not audio")
    return folder


@pytest.fixture
def split_files(tmp_path):
    """Split files with patterns: ids 0 to 3 train, 4 validates."""
    folder = tmp_path / "splits"
    folder.mkdir()
    (folder / "train.txt").write_text("# comment\n*.0000[0-2]  # three of each\n\n*.00003.wav\n")
    (folder / "validation.txt").write_text("blues/blues.00004.wav\njazz.00004\nrock/rock.00004\n")
    return folder
