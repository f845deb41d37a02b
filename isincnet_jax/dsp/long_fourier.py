"""Discrete Fourier transforms of long real signals, from short ones that fit a processor's cache.

A transform of length P = R M splits by the residues of its bins, k = r + R q, and the samples
into R stretches, n = M j + m:

``X[r + R q] = sum_m exp(-2 pi i q m / M) exp(-2 pi i r m / P) y[r, m]``, with
``y[r, m] = sum_j exp(-2 pi i r j / R) x[M j + m]``.

The second sum is a matrix product of [R, R] and [R, M], of which real signals need the rows
r = 0 .. R / 2 only; the first is a batch of transforms of length M. All cores share them, where
one transform of length P runs on one core and reads its data from memory at every pass. The result
has bin r + R q at row r and column q: whoever reads single bins asks :func:`bin_places` where they
are, and the spectrum is never sorted. On accelerators the transform of length P is faster.

References:
    J. W. Cooley and J. W. Tukey, "An algorithm for the machine calculation of complex Fourier
        series", Mathematics of Computation 19, 1965. https://doi.org/10.2307/2003354
    D. H. Bailey, "FFTs in external or hierarchical memory", J. Supercomputing 4, 1990.
        https://doi.org/10.1007/BF00162341
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Bool, Complex, Float, Int

from isincnet_jax.dsp import batched_fft
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.typing import Array

_SHORTEST = 1 << 16
"""Samples from which on it pays: shorter signals and their spectra fit the cache as they are."""
_ROWS = (16, 18, 20, 24, 30, 32, 12, 10, 8)
"""Stretches, by preference; measured at 288,000 samples, 16 to 60 differ by 5 %."""


class BinPlaces(NamedTuple):
    """Where bins stand in a flat spectrum of :func:`real_dft`.

    Attributes:
        place: of every bin, along the flat axis.
        mirrored: whether the conjugate stands there, X[-k] = conj X[k].
    """

    place: Int[np.ndarray, "..."]
    mirrored: Bool[np.ndarray, "..."]


def count_rows(length: int) -> int:
    """Number of stretches R into which a processor cuts a signal; 1: none, for short ones.

    Args:
        length: samples P.

    Returns:
        1, or an even divisor of the length.

    Example:
        >>> count_rows(288_000), count_rows(162_000), count_rows(4096)
        (16, 18, 1)
    """
    if length < _SHORTEST:
        return 1
    # Odd transforms take longer: with 10,125 samples three times as long as with 9000.
    fitting = [rows for rows in _ROWS if length % rows == 0]
    return next((rows for rows in fitting if length // rows % 4 == 0), (*fitting, 1)[0])


def bin_places(bins: Int[np.ndarray, "..."], *, length: int, rows: int) -> BinPlaces:
    """Places of bins in the flat spectrum of :func:`real_dft`.

    Args:
        bins: k, any integers; the spectrum has the period ``length``.
        length: samples P, even.
        rows: stretches R, as in the transform.

    Returns:
        Places and whether they hold conjugates, in the shape of the bins.
    """
    bins = np.asarray(bins) % length
    if rows == 1:
        mirrored = bins > length // 2
        return BinPlaces(np.where(mirrored, length - bins, bins), mirrored)
    mirrored = bins % rows > rows // 2
    row, column = np.where(mirrored, length - bins, bins) % rows, bins // rows
    # P - k = (R - r) + R (M - 1 - q)
    columns = length // rows
    return BinPlaces(row * columns + np.where(mirrored, columns - 1 - column, column), mirrored)


def real_dft(signal: Float[Array, "... length"], *, rows: int) -> Complex[jax.Array, "... bins"]:
    """DFT of a real signal, its bins in the order of :func:`bin_places`.

    Args:
        signal: [..., P], floating, of even length.
        rows: stretches R, even and a divisor of P; 1: bins 0 to P / 2 in their order.

    Returns:
        Complex [..., P / 2 + 1], or [..., (R / 2 + 1) P / R].

    Example:
        >>> signal = np.cos(np.arange(64, dtype=np.float32))
        >>> index, mirrored = bin_places(np.arange(33), length=64, rows=8)
        >>> found = np.asarray(real_dft(signal, rows=8))[index]
        >>> found = np.where(mirrored, found.conj(), found)
        >>> bool(np.allclose(found, np.fft.rfft(signal), atol=1e-5))
        True
    """
    signal = jnp.asarray(signal)
    if rows == 1:
        return batched_fft.rfft(signal)
    *batch, length = signal.shape
    half = rows // 2 + 1
    stretches = signal.reshape((*batch, rows, length // rows))
    # cos and -sin of 2 pi r j / R, one below the other: [2 (R / 2 + 1), R].
    angle = -2 * np.pi * np.outer(np.arange(half), np.arange(rows)) / rows
    kernel = np.concatenate([np.cos(angle), np.sin(angle)])
    sums = _products(kernel, stretches)
    turned = _turned(sums[..., :half, :], sums[..., half:, :], length, -1)
    return lax.collapse(batched_fft.fft(turned), turned.ndim - 2)


def real_inverse(
    spectrum: Complex[Array, "... bins"], *, length: int, rows: int
) -> Float[jax.Array, "... length"]:
    """Inverse DFT of bins 0 to P / 2 in their order: ``irfft``, through stretches.

    Args:
        spectrum: [..., P / 2 + 1]; the imaginary parts of the first and last bin do not count.
        length: samples P, even.
        rows: stretches R, as in :func:`real_dft`.

    Returns:
        [..., P], floating.
    """
    spectrum = jnp.asarray(spectrum)
    if rows == 1:
        return batched_fft.irfft(spectrum, length)
    half = rows // 2 + 1
    columns = length // rows
    # Bin r + R q at row r and column q, [..., R / 2 + 1, M]; beyond P / 2 they are mirror images.
    bins = np.arange(half)[:, None] + rows * np.arange(columns)
    index, mirrored = bin_places(bins.ravel(), length=length, rows=1)
    values = spectrum.at[..., index].get(mode="promise_in_bounds")
    sign = match_rank(jnp.asarray(np.where(mirrored, -1, 1), jnp.real(values).dtype), values)
    placed = lax.complex(jnp.real(values), jnp.imag(values) * sign)
    stretches = batched_fft.ifft(placed.reshape((*spectrum.shape[:-1], half, columns)))
    turned = _turned(jnp.real(stretches), jnp.imag(stretches), length, 1)
    # Rows r and R - r are conjugates: their sum is twice the real part of the former.
    weight = np.full(half, 2 / rows)
    weight[[0, -1]] /= 2
    angle = 2 * np.pi * np.outer(np.arange(rows), np.arange(half)) / rows
    kernel = np.concatenate([weight * np.cos(angle), -weight * np.sin(angle)], axis=1)
    parts = jnp.concatenate([jnp.real(turned), jnp.imag(turned)], -2)
    return lax.collapse(_products(kernel, parts), parts.ndim - 2)


def _products(kernel: np.ndarray, columns: jax.Array) -> jax.Array:
    """[out, in] times [..., in, M], in full precision, one product for every signal."""
    batch = columns.shape[:-2]
    axes = tuple(range(len(batch)))
    matrix = jnp.broadcast_to(jnp.asarray(kernel, columns.dtype), (*batch, *kernel.shape))
    dims = (((len(batch) + 1,), (len(batch),)), (axes, axes))
    return lax.dot_general(matrix, columns, dims, precision=lax.Precision.HIGHEST)


def _turned(real: jax.Array, imag: jax.Array, length: int, sign: int) -> jax.Array:
    """Row r times ``exp(sign 2 pi i r m / P)``, from real and imaginary parts [..., rows, M]."""
    rows, columns = real.shape[-2:]
    angle = sign * 2 * np.pi * np.outer(np.arange(rows), np.arange(columns)) / length
    cos, sin = (
        match_rank(jnp.asarray(table, real.dtype), real) for table in (np.cos(angle), np.sin(angle))
    )
    return lax.complex(real * cos - imag * sin, real * sin + imag * cos)
