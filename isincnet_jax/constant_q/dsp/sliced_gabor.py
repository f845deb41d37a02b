"""Sliced Gabor frames (sliCQ): invertible filterbanks of any bands for long signals and streams.

The signal is cut into slices of ``slice_length`` samples every half slice, N, slice m in the
middle of sample ``m N``, weighted by Tukey windows that sum to 1, and every slice goes through
the transform of :mod:`.nonstationary_gabor`. Memory and latency are those of a
slice, however long the signal is.

**Sliced coefficients** [..., slices, frames, bins] (in the ragged layout a tuple of them) are what
is exactly invertible. They hold every time twice: frame i of slice m lies at sample
``(m - 1) N + i hop``. Their phases refer to absolute time, as those of the whole clip do.

**Spectrogram** [..., frames, bins]: because of that the overlapping frames of neighbouring slices
may simply be added (:func:`overlap_add_slices`), which gives nearly the whole clip's coefficients.
It is half as large and for looking at; it cannot be inverted exactly.

**Windows.** A slice's window is 1 in its middle and falls, as a Hann window, within
``transition_length`` samples around a quarter and three quarters of the slice; the rest is zeros,
into which bands ring. With ``spec.tight`` it is the root of that, the analysis is tight as a
whole, and synthesis its adjoint. Else the synthesis is windowed by ``w / sum w^2``.

References:
    N. Holighaus, M. Doerfler, G. Velasco and T. Grill, "A framework for invertible, real-time
        constant-Q transforms", IEEE Trans. Audio, Speech and Language Processing 21, 2013,
        sections III to V. https://doi.org/10.1109/TASL.2012.2234114

Departure: phases refer to absolute time in every band, so that neighbouring slices add up.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.constant_q.dsp import nonstationary_gabor
from isincnet_jax.constant_q.dsp.slice_spec import SliceSpec, count_slices, hops, slice_windows
from isincnet_jax.dsp import checks
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Waveform

_SAMPLES_AT_ONCE = 2**20  # of slices that are in work together


def _arrays(coefficients: Any, spec: SliceSpec) -> tuple[Any, ...]:
    arrays = tuple(coefficients) if spec.layout == "ragged" else (coefficients,)
    for array in arrays:
        checks.check_complex(array, "coefficients", ndim=2)
    return arrays


def _layout(arrays: Any, spec: SliceSpec) -> Any:
    return tuple(arrays) if spec.layout == "ragged" else arrays[0]


def _map_rows(function: Callable[[Any], Any], rows: Any, *, samples: int) -> Any:
    """A function of [rows, ...] of which a bounded number is in work at a time."""
    at_once = max(1, _SAMPLES_AT_ONCE // samples)
    if jax.tree.leaves(rows)[0].shape[0] <= at_once:
        return function(rows)

    def one(row: Any) -> Any:
        result = function(jax.tree.map(lambda array: array[None], row))
        return jax.tree.map(lambda array: array[0], result)

    return lax.map(one, rows, batch_size=at_once)


def analyse_slice(samples: Waveform, *, spec: SliceSpec) -> Any:
    """Coefficients of slices, of a stream's latest two blocks, say: see :func:`analyse_blocks`.

    Args:
        samples: [..., slice_length], float32 or float64.
        spec: bands and slices.

    Returns:
        [..., frames, bins] complex; in the ragged layout a tuple of them.

    Raises:
        TypeError: for other dtypes.
    """
    window, _ = slice_windows(spec)
    samples = checks.as_waveform(samples, "samples")
    weighted = samples * match_rank(jnp.asarray(window, samples.dtype), samples)
    return nonstationary_gabor.analyse_padded(weighted, spec=spec.bands, layout=spec.layout)


def synthesise_slice(coefficients: Any, *, spec: SliceSpec) -> Waveform:
    """Windowed samples of slices, to be overlap-added: see :func:`synthesise_blocks`.

    Args:
        coefficients: [..., frames, bins] complex; in the ragged layout a tuple of them.
        spec: bands and slices.

    Returns:
        [..., slice_length], floating.

    Raises:
        TypeError: for coefficients that are not complex.
        ValueError: for coefficients of another shape.
    """
    _, dual = slice_windows(spec)
    arrays = _arrays(coefficients, spec)
    nonstationary_gabor.check_coefficients(
        arrays, padded=spec.samples, spec=spec.bands, layout=spec.layout
    )
    samples = nonstationary_gabor.synthesise_padded(
        tuple(jnp.asarray(array) for array in arrays),
        padded=spec.samples,
        spec=spec.bands,
        layout=spec.layout,
    )
    return samples * match_rank(jnp.asarray(dual, samples.dtype), samples)


def analyse_blocks(blocks: Float[jax.Array, "... blocks half"], *, spec: SliceSpec) -> Any:
    """Coefficients of the slices that neighbouring blocks make, those of a signal or a stream.

    A stream's state is its latest block, zeros at first.

    Args:
        blocks: [..., slices + 1, slice_length / 2], floating.
        spec: bands and slices.

    Returns:
        [..., slices, frames, bins] complex; in the ragged layout a tuple of them.
    """
    slices = jnp.concatenate([blocks[..., :-1, :], blocks[..., 1:, :]], -1)
    found = _map_rows(
        functools.partial(analyse_slice, spec=spec),
        slices.reshape((-1, spec.samples)),
        samples=spec.samples,
    )
    axes = slices.shape[:-1]
    return jax.tree.map(lambda array: array.reshape((*axes, *array.shape[1:])), found)


def synthesise_blocks(
    tail: Float[jax.Array, "... half"], coefficients: Any, *, spec: SliceSpec
) -> tuple[Float[jax.Array, "... half"], Float[jax.Array, "... slices half"]]:
    """Blocks of samples that slices complete, each together with the slice before it.

    A stream's state is the latter half of its latest slice, zeros at first. What its first slice
    completes is the silence before the signal.

    Args:
        tail: latter half of the slice before, [..., slice_length / 2].
        coefficients: [..., slices, frames, bins] complex; in the ragged layout a tuple of them.
        spec: bands and slices.

    Returns:
        The next tail, and blocks [..., slices, slice_length / 2].

    Raises:
        TypeError: for coefficients that are not complex.
        ValueError: for coefficients of another shape.
    """
    arrays = [jnp.asarray(array) for array in _arrays(coefficients, spec)]
    axes = arrays[0].shape[:-2]
    rows = _layout([array.reshape((-1, *array.shape[-2:])) for array in arrays], spec)
    samples = _map_rows(
        functools.partial(synthesise_slice, spec=spec), rows, samples=spec.samples
    ).reshape((*axes, 2, spec.samples // 2))
    # Block m is the latter half of slice m and the former half of the next.
    latter = jnp.concatenate([tail[..., None, :], samples[..., 1, :]], -2)
    return latter[..., -1, :], latter[..., :-1, :] + samples[..., 0, :]


def analyse_slices(waveform: Waveform, *, spec: SliceSpec) -> Any:
    """Sliced constant-Q coefficients of a signal.

    Args:
        waveform: [..., time], floating, at least 1 sample.
        spec: bands and slices.

    Returns:
        [..., slices, frames, bins] complex, as many slices as :func:`.slice_spec.count_slices`
        says; in the ragged layout a tuple of them.

    Raises:
        ValueError: for an empty signal.

    Example:
        >>> from isincnet_jax.constant_q.dsp.gabor_spec import GaborSpec
        >>> clip = jnp.sin(jnp.arange(9000, dtype=jnp.float32))
        >>> spec = SliceSpec(GaborSpec(fmin=110, n_bins=60))
        >>> coefficients = analyse_slices(clip, spec=spec)
        >>> coefficients.shape, overlap_add_slices(coefficients, spec=spec, length=9000).shape
        ((3, 320, 99), (167, 99))
        >>> found = synthesise_slices(coefficients, spec=spec, length=9000)
        >>> bool(jnp.allclose(found, clip, atol=1e-6))
        True
    """
    waveform = checks.as_waveform(waveform)
    *batch, length = waveform.shape
    half, count = spec.samples // 2, count_slices(length, spec)
    # Half a slice of zeros comes first, so that slice m has sample m N in its middle; slices are
    # pairs of neighbouring blocks of N samples.
    edge = [(0, 0)] * len(batch)
    padded = jnp.pad(jnp.asarray(waveform), [*edge, (half, count * half - length)])
    return analyse_blocks(padded.reshape((*batch, count + 1, half)), spec=spec)


@settles
def synthesise_slices(coefficients: Any, *, spec: SliceSpec, length: int) -> Waveform:
    """Inverse sliced constant-Q transform: the exact inverse of :func:`analyse_slices`.

    Args:
        coefficients: [..., slices, frames, bins] complex, or a tuple of them.
        spec: as in the analysis.
        length: samples of the signal.

    Returns:
        [..., length], floating.

    Raises:
        TypeError: for coefficients that are not complex.
        ValueError: for coefficients of another shape.
    """
    arrays = _arrays(coefficients, spec)
    count, half = count_slices(length, spec), spec.samples // 2
    if any(array.ndim < 3 or array.shape[-3] != count for array in arrays):
        raise ValueError(
            f"coefficients of shapes {[tuple(array.shape) for array in arrays]}: {length} samples "
            f"have [..., slices, frames, bins] with {count} slices; give sliced coefficients, "
            "not the overlap-added spectrogram, and the length of their waveform"
        )
    tail = jnp.zeros((*arrays[0].shape[:-3], half), jnp.finfo(arrays[0].dtype).dtype)
    _, blocks = synthesise_blocks(tail, coefficients, spec=spec)
    return lax.collapse(blocks[..., 1:, :], blocks.ndim - 2)[..., :length]


def overlap_add_slices(coefficients: Any, *, spec: SliceSpec, length: int) -> Any:
    """Spectrogram of sliced coefficients: overlapping frames of neighbouring slices added.

    Args:
        coefficients: of :func:`analyse_slices`.
        spec: as in the analysis.
        length: samples of the signal.

    Returns:
        [..., frames, bins] complex, at :func:`.slice_spec.frame_times`; ragged: a tuple of them.
    """
    window, _ = slice_windows(spec)
    outputs = []
    for array, hop in zip(_arrays(coefficients, spec), hops(spec), strict=True):
        faded = array
        if spec.bands.tight:  # The windows' squares sum to 1, so they are applied once more.
            faded = nonstationary_gabor.scaled(array, window[::hop, None])
        # As the samples of the synthesis: latter halves, and the former halves of the next slices
        # (none after the last).
        *batch, count, frames, bins = faded.shape
        halves = faded.reshape((*batch, count, 2, frames // 2, bins))
        ahead = jnp.pad(halves[..., 1:, 0, :, :], [(0, 0)] * len(batch) + [(0, 1), (0, 0), (0, 0)])
        summed = (halves[..., 1, :, :] + ahead).reshape((*batch, count * (frames // 2), bins))
        outputs.append(summed[..., : -(-length // hop), :])
    return _layout(outputs, spec)
