"""Lapped orthogonal transform (MDCT): windows, analysis and synthesis, as pure functions.

A signal is cut into blocks of N samples. At each border between two blocks the samples within
N / 2 of it are turned in pairs, one on either side: Givens rotations, by angles that the window
stands for. A DCT-IV of each block follows. Every step is an orthogonal matrix, so the whole is one,
whatever the angles are, and the inverse is the transpose: the DCT-IV again, and the pairs turned
back. Between the ends of a clip this is the modified discrete cosine transform::

    X[t, k] = sqrt(2 / N) sum_n w[n] x[t N - N / 2 + n] cos(pi / N (n + 1/2 + N / 2) (k + 1/2))

with a window w of 2 N samples around block t, for n from 0 to 2 N - 1.

Two framings say what happens at the ends of a clip of L samples:

=========  =================================================================================
"tiled"    block t is the samples from t N on. There is no border at either end, hence no overlap.
           The last block is longer: with ``L = B N + r``, r below N, the first B - 1 blocks have N
           samples and the last has N + r (L, if L is below N). Its coefficients, of a DCT-IV of its
           size, fill the last row and go on in one more, lowest frequency first. So
           ``X.reshape(-1)[:L]`` are all coefficients, as many as samples, and what follows is 0.
"zeros"    block t is centred at t N, and the clip is zero outside: ceil(L / N) + 1 blocks, and up
           to 2 N - 1 coefficients more than samples.
=========  =================================================================================

References:
    J. P. Princen and A. B. Bradley, "Analysis/synthesis filter bank design based on time domain
        aliasing cancellation", IEEE Trans. ASSP 34, 1986; with A. W. Johnson, "Subband/transform
        coding using filter bank designs based on time domain aliasing cancellation", ICASSP 1987.
    H. S. Malvar, "Signal Processing with Lapped Transforms", Artech House 1992: the modulated
        lapped transform, and its structure of rotations and a DCT-IV.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.bank.dsp.dct4 import dct4
from isincnet_jax.dsp import checks
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array, Waveform

LappedWindow: TypeAlias = Literal["sine", "kbd", "vorbis"]
LappedFraming: TypeAlias = Literal["tiled", "zeros"]


@settles
def window_angles(
    window: LappedWindow, hop_length: int, *, beta: float | None = None
) -> Float[np.ndarray, " half"]:
    """Angles of a window: ``w[n] = sin(angle[n])`` for n below N / 2.

    All else follows: ``w[N - 1 - n] = cos(angle[n])``, so that ``w[n]^2 + w[N - 1 - n]^2 = 1``, and
    the second half mirrors the first. With ``s = pi (n + 1/2) / (2 N)``:

    - "sine": ``w[n] = sin(s)``, the angle is s.
    - "vorbis": ``w[n] = sin(pi / 2 sin(s)^2)``, the angle is ``pi / 2 sin(s)^2``.
    - "kbd", Kaiser-Bessel derived: ``w[n]^2`` is the sum of the first n + 1 of N + 1 values of a
      Kaiser window over the sum of all.

    Args:
        window: "sine", "kbd" or "vorbis".
        hop_length: N, samples, even.
        beta: of the Kaiser window, 0 or more, as in SciPy; pi times the alpha of the literature.
            "kbd" needs it, the others have none.

    Returns:
        float64 [N / 2], between 0 and pi / 4, rising.

    Raises:
        ValueError: for an unknown window, an odd hop, and a ``beta`` that is missing, negative,
            infinite or not asked for.

    References:
        L. D. Fielder et al., "AC-2 and AC-3: low-complexity transform-based audio coding", in
            Collected Papers on Digital Audio Bit-Rate Reduction, AES 1996: "kbd".
        Xiph.Org Foundation, "Vorbis I specification", sections 1.3.2 and 4.3.1.
            https://xiph.org/vorbis/doc/Vorbis_I_spec.html

    Example:
        >>> window_angles("sine", 4) / np.pi
        array([0.0625, 0.1875])
    """
    check_window(window, hop_length, beta=beta)
    half = hop_length // 2
    base = np.pi / (2 * hop_length) * (np.arange(half) + 0.5)
    if window == "sine":
        return base
    if window == "vorbis":
        return np.pi / 2 * np.sin(base) ** 2
    sums = np.cumsum(np.kaiser(hop_length + 1, beta or 0.0))
    # tan(angle[n])^2 = w[n]^2 / w[N - 1 - n]^2
    return np.arctan2(np.sqrt(sums[:half]), np.sqrt(sums[half:-1][::-1]))


def check_window(window: str, hop_length: int, *, beta: float | None) -> None:
    """Checks a window as :func:`window_angles` takes it.

    Args:
        window: anything.
        hop_length: samples.
        beta: of "kbd", None for the others.

    Raises:
        ValueError: as :func:`window_angles`.
    """
    if hop_length < 2 or hop_length % 2:
        raise ValueError(
            f"hop_length={hop_length} must be even and at least 2: samples are turned in pairs "
            f"within half a block of a border; use {max(2, hop_length + 1)}"
        )
    checks.check_choice("window", window, get_args(LappedWindow))
    if (beta is not None) != (window == "kbd"):
        raise ValueError(
            f"window={window!r}, beta={beta}: 'kbd' needs a beta, and the others have none"
        )
    if beta is not None and not 0 <= beta < np.inf:
        raise ValueError(f"beta={beta} must be at least 0 and finite; 4 pi is usual")


def window_of_angles(angles: Float[Array, " half"]) -> Float[Array, " taps"]:
    """Window of angles: the inverse of :func:`window_angles`.

    Args:
        angles: [N / 2], any values.

    Returns:
        [2 N], symmetric, with ``w[n]^2 + w[n + N]^2 = 1``; NumPy's for NumPy's angles.
    """
    numpy = np if isinstance(angles, np.ndarray) else jnp
    rising = numpy.concatenate([numpy.sin(angles), numpy.cos(angles)[::-1]])
    return numpy.concatenate([rising, rising[::-1]])


@settles
def count_frames(length: int, *, hop_length: int, framing: LappedFraming) -> int:
    """Frames of a clip: ceil(L / N) if tiled, one more with zeros outside.

    Args:
        length: L, samples, 1 or more.
        hop_length: N, samples.
        framing: "tiled" or "zeros".

    Returns:
        Frames, 1 or more.

    Raises:
        ValueError: for an empty clip or an unknown framing.
    """
    check_framing(framing)
    checks.check_positive_integers(length=length)
    return -(-length // hop_length) + (framing == "zeros")


def check_framing(framing: str) -> None:
    """Checks the name of a framing.

    Args:
        framing: anything.

    Raises:
        ValueError: for anything but "tiled" and "zeros".
    """
    checks.check_choice("framing", framing, get_args(LappedFraming))


def analyse_lapped(
    waveform: Waveform,
    angles: Float[Array, " half"],
    *,
    framing: LappedFraming = "tiled",
) -> Float[jax.Array, "... frames bins"]:
    """Lapped transform of a waveform, see the head of this module.

    Args:
        waveform: [..., time], float32 or float64, one sample or more.
        angles: [N / 2], see :func:`window_angles`; any values give an orthogonal transform. NumPy's
            are turned into sines and cosines in float64 and cast once, JAX's in their own dtype,
            differentiably.
        framing: "tiled" or "zeros".

    Returns:
        [..., frames, N] in the dtype of the waveform. Its energy is that of the waveform.

    Raises:
        TypeError: for integers and other dtypes.
        ValueError: for an empty waveform, no angles, or an unknown framing.

    Example:
        >>> angles = window_angles("sine", 8)
        >>> coefficients = analyse_lapped(jnp.ones((2, 20)), angles)
        >>> coefficients.shape  # [batch, frames, bins]
        (2, 3, 8)
        >>> bool(jnp.allclose(synthesise_lapped(coefficients, angles, length=20), 1.0, atol=1e-6))
        True
    """
    signal = checks.as_waveform(waveform)
    hop_length = _hop_of(angles)
    *batch, length = signal.shape
    frames = count_frames(length, hop_length=hop_length, framing=framing)
    if framing == "zeros":
        before = hop_length // 2
        after = frames * hop_length - before - length
        signal = jnp.pad(signal, [(0, 0)] * len(batch) + [(before, after)])
        length = frames * hop_length
    signal = turn_borders(signal, angles, back=False)
    whole = count_whole_blocks(length, hop_length)
    parts = []
    if whole:
        blocks = signal[..., : whole * hop_length].reshape((*batch, whole, hop_length))
        parts.append(transform_blocks(blocks))
    if whole < frames:
        last = transform_blocks(signal[..., whole * hop_length :])
        rest = frames * hop_length - length
        last = jnp.pad(last, [(0, 0)] * len(batch) + [(0, rest)])
        parts.append(last.reshape((*batch, frames - whole, hop_length)))
    return jnp.concatenate(parts, axis=-2)


@settles
def synthesise_lapped(
    coefficients: Float[Array, "... frames bins"],
    angles: Float[Array, " half"],
    *,
    length: int | None = None,
    framing: LappedFraming = "tiled",
) -> Waveform:
    """Inverse of :func:`analyse_lapped`, which is its transpose.

    Args:
        coefficients: [..., frames, N], float32 or float64. What tiled ones hold behind the first L
            is ignored.
        angles: [N / 2], those of the analysis.
        length: L, samples of the clip; the longest with so many frames if None.
        framing: that of the analysis.

    Returns:
        [..., length] in the dtype of the coefficients.

    Raises:
        TypeError: for integers and other dtypes.
        ValueError: unless there are N bins, and as many frames as the length has.
    """
    values = checks.as_floating(coefficients, "coefficients", ndim=2)
    check_framing(framing)
    hop_length = _hop_of(angles)
    *batch, frames, bins = values.shape
    if bins != hop_length:
        raise ValueError(f"{bins} bins: the window has a hop of {hop_length}, and as many bins")
    if length is None:
        length = (frames - (framing == "zeros")) * hop_length
    wanted = count_frames(length, hop_length=hop_length, framing=framing)
    if frames != wanted:
        raise ValueError(f"{frames} frames: {length} samples have {wanted}; give their length")
    tiled = frames * hop_length if framing == "zeros" else length
    whole = count_whole_blocks(tiled, hop_length)
    parts = []
    if whole:
        blocks = invert_blocks(values[..., :whole, :])
        parts.append(blocks.reshape((*batch, whole * hop_length)))
    if whole < frames:
        last = values[..., whole:, :].reshape((*batch, (frames - whole) * hop_length))
        parts.append(invert_blocks(last[..., : tiled - whole * hop_length]))
    signal = turn_borders(jnp.concatenate(parts, axis=-1), angles, back=True)
    start = hop_length // 2 if framing == "zeros" else 0
    return signal[..., start : start + length]


def _hop_of(angles: Array) -> int:
    if angles.ndim != 1 or not angles.size:
        raise ValueError(f"angles.shape={angles.shape}: half a hop of angles, 1 or more, is needed")
    return 2 * angles.size


def count_whole_blocks(length: int, hop_length: int) -> int:
    """Blocks of exactly one hop: all of a whole number of hops, else all but the last one.

    Args:
        length: samples of a tiled clip.
        hop_length: N.

    Returns:
        Blocks, 0 or more; what is behind them is one longer block.
    """
    blocks, rest = divmod(length, hop_length)
    return blocks if rest == 0 else max(blocks - 1, 0)


def turn_borders(signal: jax.Array, angles: Array, *, back: bool) -> jax.Array:
    """Rotation of the pairs around every border: at N, 2 N, ... but for the ends of the clip.

    Args:
        signal: [..., time]; a last block that is longer than N has no border inside.
        angles: [N / 2].
        back: turn back, as the synthesis does.

    Returns:
        [..., time].
    """
    # Row b is the N samples around border b. Sample n is paired with its mirror image N - 1 - n:
    # y[n] = w[N - 1 - n] x[n] + w[n] x[N - 1 - n] before the border, n below N / 2, and
    # y[N - 1 - n] = w[N - 1 - n] x[N - 1 - n] - w[n] x[n] behind it. The other sign turns back.
    hop_length = _hop_of(angles)
    *batch, length = signal.shape
    borders = max(length // hop_length, 1) - 1
    if not borders:
        return signal
    numpy = np if isinstance(angles, np.ndarray) else jnp
    sines, cosines = numpy.sin(angles), numpy.cos(angles)
    if back:
        sines = -sines
    own = jnp.asarray(numpy.concatenate([cosines, cosines[::-1]]), signal.dtype)
    other = jnp.asarray(numpy.concatenate([sines, -sines[::-1]]), signal.dtype)
    begin, end = hop_length // 2, hop_length // 2 + borders * hop_length
    rows = signal[..., begin:end].reshape((*batch, borders, hop_length))
    turned = match_rank(own, rows) * rows + match_rank(other, rows) * rows[..., ::-1]
    turned = turned.reshape((*batch, borders * hop_length))
    return jnp.concatenate([signal[..., :begin], turned, signal[..., end:]], axis=-1)


def transform_blocks(blocks: jax.Array) -> jax.Array:
    """Coefficients of blocks whose borders are turned.

    Args:
        blocks: [..., N]; a last block of another size alone.

    Returns:
        [..., N].
    """
    # cos(pi / N (m + 1/2 + N) (k + 1/2)), sample m of a block in the formula of the MDCT, is
    # -cos(pi / N (N - 1 - m + 1/2) (k + 1/2)): minus the DCT-IV of the block read backwards.
    return -dct4(blocks[..., ::-1])


def invert_blocks(coefficients: jax.Array) -> jax.Array:
    """Blocks of coefficients, before their borders are turned back.

    Args:
        coefficients: [..., N].

    Returns:
        [..., N].
    """
    return -dct4(coefficients)[..., ::-1]
