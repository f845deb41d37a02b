"""The index of recordings that vocoders are trained from; see tests/cli/test_vocoder.py too."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from isincnet_jax.data import recording_index
from isincnet_jax.data.corpus import CorpusError

RATE = 8000


def test_lists_that_are_none(tmp_path):
    (tmp_path / "lj").mkdir()
    soundfile.write(tmp_path / "lj" / "a.wav", 0.1 * np.ones(RATE), RATE)
    (tmp_path / "lj" / "metadata.csv").write_bytes(b"\xff\xfe|text")
    with pytest.raises(CorpusError, match=r"metadata\.csv: is no list"):
        recording_index.make_index(
            tmp_path / "lj", tmp_path / "index", sample_rate=RATE, min_duration_s=0.5
        )


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"sample_rate=0, min_duration_s=0\.5, workers=0, seed=0"):
        recording_index.make_index(tmp_path, tmp_path / "index", sample_rate=0, min_duration_s=0.5)
