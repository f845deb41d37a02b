"""Short-time Fourier transforms and their inverses, as pure JAX functions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.dsp import (
    batched_fft,
    centering,
    checks,
    formats,
    frame_mapping,
    overlap,
    windows,
)
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array, Waveform

_BLOCK_SAMPLES = 1 << 20
_FLOOR = 1e-10


@settles
@functools.lru_cache(maxsize=32)
def stft_window(window: str, win_length: int, n_fft: int) -> Float[np.ndarray, " n_fft"]:
    """A periodic window of ``win_length``, zero-padded on both sides to ``n_fft``.

    Args:
        window: a name of :func:`scipy.signal.get_window`.
        win_length: samples of the window.
        n_fft: samples of the frame, at least as many.

    Returns:
        float64 [n_fft], the window in the middle; of an odd rest one more zero behind it.

    Raises:
        ValueError: for a name that SciPy does not know.
    """
    try:
        values = windows.get_window(window, win_length, fftbins=True)
    except ValueError as error:
        raise ValueError(
            f"window={window!r} is unknown to scipy.signal.get_window ({error}); use hann, "
            "hamming, blackman, boxcar, ..."
        ) from error
    before = (n_fft - win_length) // 2
    return np.pad(values, (before, n_fft - win_length - before))


@settles
def stft(
    waveform: Waveform,
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    window: str = "hann",
    center: bool = True,
    pad_mode: str = "reflect",
) -> Complex[Array, "... frames bins"]:
    """Short-time Fourier transform, of frames centred at multiples of the hop by default.

    ``X[t, k] = sum_n w[n] x[t hop + n - n_fft // 2] exp(-2 pi i k n / n_fft)``, the frames of
    :mod:`.centering`; it is ``librosa.stft``, but for the default padding.

    Args:
        waveform: [..., time], floating.
        n_fft: samples per frame.
        hop_length: samples between frames.
        win_length: samples of the window, ``n_fft`` if None; zero-padded to ``n_fft``.
        window: a name of :func:`scipy.signal.get_window`.
        center: whether the middle of frame 0 is sample 0; otherwise its first sample is.
        pad_mode: what lies beyond the ends of centred frames: "reflect", "constant" (zeros),
            "edge" or "symmetric".

    Returns:
        [..., frames, 1 + n_fft // 2], complex.

    Raises:
        ValueError: if the window is longer than the frame, or the clip has no frame.
    """
    waveform = checks.as_waveform(waveform)
    taper = stft_window(window, checked_win_length(win_length, n_fft), n_fft)
    padded = centering.pad_frames(
        waveform, frame_length=n_fft, hop_length=hop_length, center=center, pad_mode=pad_mode
    )
    frames = windowed_frames(padded, jnp.asarray(taper, waveform.dtype), hop_length=hop_length)
    return batched_fft.rfft(frames)


@settles
def checked_win_length(win_length: int | None, n_fft: int) -> int:
    """Window length of a frame, ``n_fft`` if None.

    Args:
        win_length: samples, 1 to ``n_fft``, or None.
        n_fft: samples per frame.

    Returns:
        Samples.

    Raises:
        ValueError: for a window that is empty or longer than the frame.
    """
    if win_length is None:
        return n_fft
    if not 1 <= win_length <= n_fft:
        raise ValueError(f"win_length={win_length} must be 1 to n_fft={n_fft}")
    return win_length


def windowed_frames(
    padded: Float[Array, "... padded"], taper: Float[Array, " n_fft"], *, hop_length: int
) -> Float[jax.Array, "... frames n_fft"]:
    """All frames of a padded signal, multiplied by the window; whole arrays in memory.

    Args:
        padded: [..., padded], see :func:`.centering.pad_frames`.
        taper: the window [n_fft].
        hop_length: samples between frames.

    Returns:
        [..., 1 + (padded - n_fft) // hop, n_fft].
    """
    (n_fft,) = taper.shape
    (frames,) = frame_mapping.map_frames(
        lambda rows: (rows * match_rank(taper, rows),),
        padded,
        num_frames=(padded.shape[-1] - n_fft) // hop_length + 1,
        taps=n_fft,
        hop_length=hop_length,
    )
    return jnp.asarray(frames)


def map_windowed_frames(
    function: Callable[[Any], jax.Array],
    padded: Float[Array, "... padded"],
    taper: Float[Array, " n_fft"],
    *,
    hop_length: int,
    frame_samples: int | None = None,
) -> Float[jax.Array, "... frames out"]:
    """Windowed frames of a padded signal, mapped by a function of single frames.

    On CPUs the frames go through in blocks of about 2^20 samples, one after the other, so that
    frames and spectra stay in the cache and never exist as whole arrays (measured: half the time
    of whole arrays). Elsewhere all frames go at once.

    Args:
        function: [..., frames, n_fft] to [..., frames, out], real; acts on each frame alone.
        padded: [..., padded], see :func:`.centering.pad_frames`.
        taper: the window.
        hop_length: samples between frames.
        frame_samples: what a frame grows to inside the function, ``n_fft`` if None.

    Returns:
        [..., frames, out], what the function makes of every frame.
    """
    (n_fft,) = taper.shape
    *batch, length = padded.shape
    num_frames = (length - n_fft) // hop_length + 1
    grown = max(frame_samples or 0, n_fft)
    # Blocks per clip, and frames per block: as even as they can be at 2^20 samples or less.
    per_clip = -(-num_frames * grown // _BLOCK_SAMPLES)
    per_block = -(-num_frames // per_clip)

    def at_once(signal: jax.Array, weights: jax.Array) -> jax.Array:
        return function(windowed_frames(signal, weights, hop_length=hop_length))

    def in_blocks(signal: jax.Array, weights: jax.Array) -> jax.Array:
        # Samples that the frames of one block read, and those that all blocks of a clip read.
        row = (per_block - 1) * hop_length + n_fft
        needed = (per_clip - 1) * per_block * hop_length + row
        clips = jnp.reshape(signal, (-1, length))
        clips = jnp.pad(clips, [(0, 0), (0, max(needed - length, 0))])
        starts = [block * per_block * hop_length for block in range(per_clip)]
        # [clips, blocks, row]: neighbouring rows share n_fft - hop samples.
        rows = jnp.stack([clips[:, start : start + row] for start in starts], axis=1)
        # Where clips may be split over devices, each takes a block of its own at a time.
        lanes = math.gcd(clips.shape[0], jax.device_count())
        turns = jnp.moveaxis(jnp.reshape(rows, (lanes, -1, row)), 1, 0)
        found = jnp.moveaxis(lax.map(lambda some: at_once(some, weights), turns), 0, 1)
        found = jnp.reshape(found, (clips.shape[0], per_clip * per_block, -1))
        # The last block is filled up with zeros: its frames beyond the clip are cut.
        return jnp.reshape(found[:, :num_frames], (*batch, num_frames, -1))

    if num_frames * int(np.prod(batch)) * grown <= _BLOCK_SAMPLES:
        return at_once(jnp.asarray(padded), jnp.asarray(taper))
    return lax.platform_dependent(
        jnp.asarray(padded), jnp.asarray(taper), cpu=in_blocks, default=at_once
    )


@settles
def stft_power(
    waveform: Waveform,
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    window: str = "hann",
    center: bool = True,
    pad_mode: str = "reflect",
    power: float = 2.0,
    then: Callable[[Any], jax.Array] | None = None,
) -> Float[jax.Array, "... frames bins"]:
    """STFT power ``|X|^power``, with finite first and second derivatives on silence.

    Args:
        waveform: [..., time], floating; X is its :func:`stft`.
        n_fft: samples per frame.
        hop_length: samples between frames.
        win_length: samples of the window, ``n_fft`` if None.
        window: a name of :func:`scipy.signal.get_window`.
        center: see :func:`stft`.
        pad_mode: see :func:`stft`.
        power: 1 for magnitudes, 2 for energies, any positive number. Powers other than 2 are
            taken of the magnitude of :func:`.formats.format_spectrum`.
        then: a function of single frames that follows while they are in the cache, such as a
            product with mel filters.

    Returns:
        [..., frames, 1 + n_fft // 2], or what ``then`` makes of it.

    Raises:
        ValueError: as :func:`stft`, and for a power that is not positive.
    """
    if power <= 0:
        raise ValueError(f"power={power} must be positive; 1 for magnitudes, 2 for energies")
    waveform = checks.as_waveform(waveform)
    taper = stft_window(window, checked_win_length(win_length, n_fft), n_fft)
    padded = centering.pad_frames(
        waveform, frame_length=n_fft, hop_length=hop_length, center=center, pad_mode=pad_mode
    )

    def follow(frames: Any) -> jax.Array:
        values = spectrum_power(batched_fft.rfft(frames), power)
        return values if then is None else then(values)

    return map_windowed_frames(
        follow, padded, jnp.asarray(taper, waveform.dtype), hop_length=hop_length
    )


def spectrum_power(spectrum: Complex[Array, "..."], power: float) -> Float[jax.Array, "..."]:
    """Spectral power ``|X|^power``, smooth where the spectrum is 0.

    Args:
        spectrum: complex, any shape.
        power: above 0; 1 for the magnitude, 2 for the energy.

    Returns:
        Floating, in the shape of the spectrum; derivatives are finite everywhere.
    """
    if power == 2:
        return formats.format_spectrum(spectrum, output_format="power")
    magnitude = formats.format_spectrum(spectrum, output_format="magnitude")
    return magnitude if power == 1 else _smooth_power(magnitude, power)


def _smooth_power(magnitude: jax.Array, power: float) -> jax.Array:
    """Roots and odd powers have infinite derivatives at 0: below 1e-10 a line takes their place."""
    audible = magnitude > _FLOOR
    # floor^p x / floor: meets x^p at the floor
    line = magnitude * _FLOOR ** (power - 1.0)
    return jnp.where(audible, jnp.where(audible, magnitude, 1.0) ** power, line)


@settles
def istft(
    spectrum: Complex[Array, "... frames bins"],
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    window: str = "hann",
    center: bool = True,
    length: int,
) -> Waveform:
    """Least-squares inverse of :func:`stft`: windowed overlap-add over the summed squares.

    ``y[m] = sum_t w[m - t hop + n_fft // 2] x_t[m - t hop + n_fft // 2] / sum_t w^2[...]`` with
    ``x_t`` the inverse transform of frame t. Among all signals it is the one whose STFT is
    nearest, except within half a frame of the edges, where the reflected samples do not count.
    Samples that no window reaches are 0, as in librosa. The imaginary parts of the first bin,
    and of the last of an even frame, are ignored.

    Args:
        spectrum: [..., frames, 1 + n_fft // 2], complex.
        n_fft: samples per frame.
        hop_length: samples between frames.
        win_length: samples of the window, ``n_fft`` if None; zero-padded to ``n_fft``.
        window: a name of :func:`scipy.signal.get_window`.
        center: whether the frames are centred, as given to :func:`stft`.
        length: samples of the waveform.

    Returns:
        [..., length], floating.

    Raises:
        ValueError: if the window is longer than the frame, or the bins are not those of a frame.

    References:
        D. Griffin and J. Lim, "Signal estimation from modified short-time Fourier transform",
            IEEE Trans. ASSP 32, 1984, equation 6. https://doi.org/10.1109/TASSP.1984.1164317
    """
    taper = stft_window(window, checked_win_length(win_length, n_fft), n_fft)
    spectrum = checks.as_complex(spectrum, "spectrum", ndim=2)
    bins = spectrum.shape[-1]
    if bins != 1 + n_fft // 2:
        raise ValueError(f"{bins} bins: n_fft={n_fft} has {1 + n_fft // 2}; give its spectrum")
    # x_t of every frame: [..., frames, n_fft]
    frames = batched_fft.irfft(spectrum, n_fft)
    return overlap.overlap_frames(
        frames, taper, hop_length=hop_length, center=center, length=length
    )
