"""Windows are SciPy's, bit by bit."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.signal

from isincnet_jax.dsp import windows


@pytest.mark.parametrize("fftbins", [True, False])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 501, 512, 1001])
@pytest.mark.parametrize(
    "name", ["hann", "hamming", "blackman", "boxcar", "bartlett", ("kaiser", 8.0)]
)
def test_windows_are_scipys(name, length, fftbins):
    found = windows.get_window(name, length, fftbins=fftbins)
    np.testing.assert_array_equal(found, scipy.signal.get_window(name, length, fftbins=fftbins))
    assert found.dtype == np.float64


def test_unknown_names_are_scipys_error():
    with pytest.raises(ValueError, match="bananas"):
        windows.get_window("bananas", 8, fftbins=True)


def test_a_codec_is_loaded_without_scipys_larger_packages():
    """Half of the time to the first decoded clip went into importing them."""
    code = (
        "import sys, isincnet_jax as isn; isn.from_pretrained('16khz-mel');"
        "print([name for name in ('scipy.signal', 'scipy.optimize', 'scipy.stats', 'librosa',"
        "'numba', 'matplotlib', 'optax', 'orbax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
