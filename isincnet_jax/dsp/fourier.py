"""Short-time Fourier transforms and their inverses, as pure JAX functions."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.dsp import framing
from isincnet_jax.typing import Array, Waveform

_MOST_SLICES = 32


@functools.lru_cache(maxsize=32)
def stft_window(window: str, win_length: int, n_fft: int) -> Float[np.ndarray, " n_fft"]:
    """A periodic window of ``win_length``, zero-padded on both sides to ``n_fft``; float64."""
    values = scipy.signal.get_window(window, win_length, fftbins=True)
    before = (n_fft - win_length) // 2
    return np.pad(values, (before, n_fft - win_length - before))


def stft(
    waveform: Waveform,
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    window: str = "hann",
) -> Complex[Array, "... frames bins"]:
    """Short-time Fourier transform of frames centred at multiples of the hop.

    ``X[t, k] = sum_n w[n] x[t hop + n - n_fft // 2] exp(-2 pi i k n / n_fft)``; clips are
    reflected at their edges, as librosa does with ``pad_mode="reflect"``.

    Args:
        waveform: [..., time], floating.
        n_fft: samples per frame.
        hop_length: samples between frames.
        win_length: samples of the window, ``n_fft`` if None; zero-padded to ``n_fft``.
        window: a name of :func:`scipy.signal.get_window`.

    Returns:
        [..., 1 + time // hop_length, 1 + n_fft // 2], complex.

    Raises:
        ValueError: if the window is longer than the frame.
    """
    win_length = n_fft if win_length is None else win_length
    if not 1 <= win_length <= n_fft:
        raise ValueError(f"win_length={win_length} must be 1 to n_fft={n_fft}")
    num_frames = 1 + waveform.shape[-1] // hop_length
    padded = framing.pad_for_frames(
        waveform,
        grid=framing.FrameGrid(0, num_frames),
        hop_length=hop_length,
        lead=n_fft // 2,
        trail=n_fft - n_fft // 2 - 1,
        padding="reflect",
    )
    taper = jnp.asarray(stft_window(window, win_length, n_fft), waveform.dtype)
    (frames,) = framing.map_frames(
        lambda rows: (rows * taper,),
        padded,
        num_frames=num_frames,
        taps=n_fft,
        hop_length=hop_length,
    )
    return jnp.fft.rfft(frames, axis=-1)


def istft(
    spectrum: Complex[Array, "... frames bins"],
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    window: str = "hann",
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
        length: samples of the waveform.

    Returns:
        [..., length], floating.

    Raises:
        ValueError: if the window is longer than the frame, or the bins are not those of a frame.

    References:
        D. Griffin and J. Lim, "Signal estimation from modified short-time Fourier transform",
            IEEE Trans. ASSP 32, 1984, equation 6. https://doi.org/10.1109/TASSP.1984.1164317
    """
    win_length = n_fft if win_length is None else win_length
    if not 1 <= win_length <= n_fft:
        raise ValueError(f"win_length={win_length} must be 1 to n_fft={n_fft}")
    num_frames, bins = spectrum.shape[-2:]
    if bins != 1 + n_fft // 2:
        raise ValueError(f"{bins} bins: n_fft={n_fft} has {1 + n_fft // 2}; give its spectrum")
    taper = stft_window(window, win_length, n_fft)
    frames = jnp.fft.irfft(spectrum, n=n_fft, axis=-1)
    frames = frames * jnp.asarray(taper, frames.dtype)
    summed = overlap_add(frames, hop_length=hop_length)
    whole = (num_frames + -(-n_fft // hop_length)) * hop_length
    squares = np.zeros(whole)
    for frame in range(num_frames):
        squares[frame * hop_length : frame * hop_length + n_fft] += taper**2
    reached = squares > np.finfo(np.float32).tiny
    gain = np.divide(1.0, squares, out=np.zeros(whole), where=reached)
    start = n_fft // 2
    kept = summed[..., start : start + length]
    kept = kept * jnp.asarray(gain[start : start + kept.shape[-1]], kept.dtype)
    return jnp.pad(kept, [(0, 0)] * (kept.ndim - 1) + [(0, length - kept.shape[-1])])


def overlap_add(
    frames: Float[Array, "... frames taps"], *, hop_length: int
) -> Float[Array, "... samples"]:
    """Sums frames at their places, ``y[m] = sum_t frames[t, m - t hop]``, without a scatter.

    Frames are cut into blocks of one hop (the last one zero-padded), and a block of output is the
    sum of the blocks of its frames: as many shifted slices as frames overlap, or a loop over them
    where they overlap more than 32-fold.

    Args:
        frames: [..., frames, taps].
        hop_length: samples between frames; need not divide the taps.

    Returns:
        [..., (frames - 1 + ceil(taps / hop)) hop].
    """
    *batch, num_frames, taps = frames.shape
    steps = -(-taps // hop_length)
    rows = num_frames + steps - 1
    edge = [(0, 0)] * len(batch)
    if steps <= _MOST_SLICES:
        # The barrier keeps the inverse transforms out of the loop over the slices.
        padded = jnp.pad(frames, [*edge, (steps - 1,) * 2, (0, steps * hop_length - taps)])
        padded = lax.optimization_barrier(padded)
        blocks = padded.reshape((*batch, rows + steps - 1, steps, hop_length))
        parts = [blocks[..., steps - 1 - k : steps - 1 - k + rows, k, :] for k in range(steps)]
        return functools.reduce(jnp.add, parts).reshape((*batch, -1))
    padded = jnp.pad(frames, [*edge, (0, 0), (0, steps * hop_length - taps)])
    blocks = padded.reshape((-1, num_frames, steps, hop_length)).transpose(2, 0, 1, 3)

    def add(total: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        index, block = step
        start = (jnp.zeros_like(index), index, jnp.zeros_like(index))
        part = lax.dynamic_slice(total, start, block.shape) + block
        return lax.dynamic_update_slice(total, part, start), None

    total = jnp.zeros((blocks.shape[1], rows, hop_length), frames.dtype)
    summed, _ = lax.scan(add, total, (jnp.arange(steps, dtype=jnp.int32), blocks))
    return summed.reshape((*batch, -1))
