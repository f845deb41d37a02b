"""Rounding error of an exact inverse: what to expect of a round trip in float32.

For white noise of variance 1 every source of error is known from the kernels alone. With ``u`` half
a unit in the last place, a sum of products in float32 is rounded after every addition, so that its
error has the variance ``k u^2`` times the sum of the variances of its partial sums. k would be 1/6
if the leading digits of the partial sums were spread evenly; those of normal numbers have 0.15.

* **Analysis**: channel c's partial sums are the energies of the first taps of its kernel.
* **Decoder**: it amplifies the error of channel c by the energy of its synthesis kernel, per
  output sample. This is what ill-conditioned banks suffer from.
* **Kernels** are rounded themselves: the residual of the rounded decoder for the rounded bank,
  which contains that of the decoder before rounding.
* **Synthesis**: partial sums ``sum_i S_i g_i`` may be far larger than the sample that they end at.
  They are measured on a few frames of seeded noise. Matrix products add up panels of 256 products.

Measured beside the prediction: ``benchmarks/random_specs.py``.

References:
    N. J. Higham, "Accuracy and stability of numerical algorithms", 2nd edition, SIAM 2002,
        sections 2.2 (the rounding of one operation) and 4.2 (sums of n terms).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from isincnet_jax.bank.dsp import decoders

_UNIT = 2.0**-24
_PER_ADDITION = 0.15 * _UNIT**2
# A coefficient is written and read back, and so are the samples that it is made of.
_PER_COEFFICIENT = 0.6 * _UNIT**2
PANEL = 256
"""Products that a matrix product adds up before it adds them to others."""
# One output sample a hop is a product with a vector, whose sum runs in several lanes at once.
_LANES = 8
_CLIPS = 6
_MOST_SAMPLES = 12


def coefficient_variance(
    kernels: Float[np.ndarray, "channels taps"],
) -> Float[np.ndarray, " channels"]:
    """Rounding error of coefficients in float32: variances for white noise of variance 1.

    Args:
        kernels: float64 [channels, taps]; taps that are 0 in all channels cost nothing.

    Returns:
        float64 [channels].
    """
    # E[c, n] = sum_{i <= n} k_c[i]^2: the variance of the partial sum over taps 0 .. n
    energy = np.cumsum(kernels**2, axis=1)
    used = np.any(kernels != 0.0, axis=0)
    # 0.15 u^2 sum_n E[c, n], from the first tap that some channel has to the last
    partial = np.sum(energy[:, np.argmax(used) : len(used) - np.argmax(used[::-1])], axis=1)
    return _PER_ADDITION * partial + _PER_COEFFICIENT * energy[:, -1]


def sum_variance(
    products: Float[np.ndarray, "clips terms samples"], *, panel: int = PANEL
) -> Float[np.ndarray, " samples"]:
    """Rounding error of sums of products in float32 that are added in panels: variances.

    Args:
        products: of every clip, in the order in which they are added, [clips, terms, samples].
        panel: terms that are added to each other before they are added to others.

    Returns:
        float64 [samples], the mean over clips.
    """
    # P[n] = sum_{i < n} S_i g_i, [clips, terms + 1, samples], P[0] = 0
    partial = np.cumsum(np.pad(products, ((0, 0), (1, 0), (0, 0))), axis=1)
    found = np.zeros(partial.shape[2])
    for start in range(0, products.shape[1], panel):
        # Within a panel its own partial sums are rounded; then the running total, once.
        part = partial[:, start : start + panel + 1]
        found += np.mean(np.sum((part - part[:, :1]) ** 2, axis=1), axis=0)
        if start:
            found += np.mean(part[:, -1] ** 2, axis=0)
    return _PER_ADDITION * found


def round_trip_error(
    kernels: Float[np.ndarray, "channels taps"],
    decoder: decoders.SynthesisKernels,
    *,
    hop_length: int,
    panel: int = PANEL,
) -> float:
    """Relative root mean squared error to expect of a round trip in float32, on white noise.

    Args:
        kernels: float64 analysis kernels, centred at ``taps // 2``.
        decoder: synthesis kernels, a whole number of hops long.
        hop_length: samples between frames.
        panel: products that the synthesis adds up before it adds them to others.

    Returns:
        At least the decoder's own residual; 1e-6 is an SNR of 120 dB.
    """
    channels, taps = kernels.shape
    num_frames = decoder.kernels.shape[1] // hop_length
    # coded = sum_c var_c |g_c|^2 / hop: every output sample sees taps / hop frames
    energy = np.sum(decoder.kernels**2, axis=1) / hop_length
    coded = float(np.sum(coefficient_variance(kernels) * energy))

    # cast: the residual of the kernels after rounding, for the bank after rounding
    rounded = decoder._replace(kernels=decoder.kernels.astype(np.float32).astype(np.float64))
    bank = kernels.astype(np.float32).astype(np.float64)
    cast = decoders.measured(rounded, bank, hop_length=hop_length).residual

    # summed: products S[t, c] g_c[m - t hop] of seeded noise, frame by frame, at some samples of
    # a block; [clips, frames * channels, samples]
    noise = np.random.default_rng(0).standard_normal((_CLIPS, (num_frames - 1) * hop_length + taps))
    frames = [noise[:, t * hop_length :][:, :taps] @ kernels.T for t in range(num_frames)]
    samples = np.unique(np.linspace(0, hop_length - 1, min(hop_length, _MOST_SAMPLES)).astype(int))
    blocks = decoder.kernels.reshape(channels, num_frames, hop_length)[:, ::-1, samples]
    weights = blocks.transpose(1, 0, 2).reshape(num_frames * channels, -1)
    products = np.concatenate(frames, axis=1)[:, :, None] * weights
    summed = float(np.mean(sum_variance(products, panel=panel)))
    if hop_length == 1:
        summed /= _LANES
    return float(np.sqrt(coded + cast**2 + summed))


def decibels(error: float) -> float:
    """Signal-to-noise ratio of a relative error.

    Args:
        error: root mean squared, relative; 1e-6 is 120 dB.

    Returns:
        dB, 320 at most.
    """
    return float(-20.0 * np.log10(max(error, 1e-16)))
