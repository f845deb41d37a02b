"""Nonstationary Gabor frames: an invertible filterbank of bands of any widths, for whole clips.

A band is a product in the frequency domain: the clip's DFT X, of length L, is multiplied by the
band's window and transformed back at the band's own, low, frame rate,

``c_b[t] = s_b sum_k X[k] h_b(k sample_rate / L) exp(2 pi i k t hop / L)``.

Because no window is broader than its frame rate (the "painless" case) the frame operator is
diagonal in frequency, ``S(f) = sum_b h_b(f)^2`` and mirror images, and the dual frame that
inverts the transform exactly has the windows ``h_b / S``.

**Phase.** A partial ``a cos(2 pi f t + p)`` gives ``a h_b(f) / h_b(f_b) exp(i (2 pi f t + p))`` in
band b at time t (in "amplitude" scale): the phase of the partial at the middle of the frame, as
in :func:`librosa.cqt`. The first and the last band, at 0 Hz and Nyquist, are real.

**Layouts.** "matrix": one array [..., frames, bins], every band at the frame rate of the
broadest. "ragged": a tuple of such arrays by increasing frequency, neighbouring bands of like
width in one, each with a hop of its own (:mod:`.ragged_hops`). The bands are the same in both.
Frame t lies at sample ``t hop``.

**Padding.** The clip is followed by zeros, at least ``2 / support`` seconds of the narrowest band:
half of the main lobe of its impulse response (Hann), so that what rings before the clip's
beginning, which the circular transform puts at the end, does not meet what rings after its end.
The padded clip is also at least ``4 / support`` seconds long, so that clips of one sample have
the same bands as long ones, and its length is a multiple of all hops, by a number without other
prime factors than 2, 3 and 5. Frames of the padding are part of the coefficients. A ``hop_length``
with large prime factors makes slower FFTs.

**On processors** the DFT of a clip goes through :mod:`isincnet_jax.dsp.long_fourier`, its bins are
gathered from where that leaves them, and large batches go through in groups of clips.

References: see :mod:`.gabor_bands`.
"""

from __future__ import annotations

import functools
import math
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.bank.dsp.frame_theory import FrameBounds
from isincnet_jax.constant_q.dsp import gabor_bands, gabor_tables
from isincnet_jax.constant_q.dsp.gabor_spec import BandSpec
from isincnet_jax.constant_q.dsp.groups import map_groups
from isincnet_jax.constant_q.dsp.ragged_hops import next_smooth
from isincnet_jax.dsp import batched_fft, checks, long_fourier
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array, Waveform

Coefficients: TypeAlias = Any
"""[..., frames, bins] complex; in the ragged layout a tuple of them."""

_TEMPORARY_BYTES = 2**25
"""What is in work at a time on a processor. The C library takes larger arrays from the system on
every call and gives them back, page by page, which took a third of a matrix's time."""


@settles
def padded_length(length: int, spec: BandSpec) -> int:
    """Padded length of a clip, in samples; see the module's paragraph on padding.

    Args:
        length: samples of the clip, 1 or more.
        spec: settings of the bands.

    Returns:
        A multiple of :func:`.gabor_tables.hop_unit`.

    Raises:
        ValueError: for an empty clip.

    Example:
        >>> from isincnet_jax.constant_q.dsp.gabor_spec import GaborSpec
        >>> spec = GaborSpec(hop_length=32)
        >>> padded_length(1, spec), padded_length(220_500, spec)
        (24576, 245760)
    """
    if length < 1:
        raise ValueError(f"length={length}: an empty clip has no frames; give at least 1 sample")
    lobe = ringing(spec)
    unit = gabor_tables.hop_unit(spec)
    count = math.ceil(max(length + lobe, 2 * lobe) / unit)
    return unit * next_smooth(count)


def ringing(spec: BandSpec) -> float:
    """Padding that follows a clip at least: half the main lobe of the narrowest band's response.

    Args:
        spec: settings of the bands.

    Returns:
        Samples, no whole number.
    """
    return 2 * spec.sample_rate / gabor_bands.narrowest_support(spec)


@settles
def frame_bounds(length: int, spec: BandSpec) -> FrameBounds:
    """Frame bounds of the transform of clips of ``length``, in "energy" scale.

    ``lower ||x||^2 <= sum |c|^2 <= upper ||x||^2`` for every clip that fills the padded length;
    they are nearly the same for all lengths. Their ratio is the condition number: 1 if
    ``tight``, else about 2 with a Hann window and 1.03 with "cosine"; to 2.5 and 1.4 where the
    last band ends just below Nyquist, to 3.2 and 1.8 where gamma is far above ``alpha fmin``. The
    same holds where octaves have numbers of bands of their own, but for gamma > 0, which makes it
    up to 6 where the number jumps.

    Args:
        length: samples of the clip, 1 or more.
        spec: settings of the bands.

    Returns:
        The least and the largest value of the frame operator's diagonal.

    Raises:
        ValueError: for an empty clip.

    Example:
        >>> from isincnet_jax.constant_q.dsp.gabor_spec import GaborSpec
        >>> frame_bounds(22_050, GaborSpec(window="cosine")).condition < 1.1
        True
    """
    padded = padded_length(length, spec)
    operator = gabor_tables.frame_operator(padded, spec)
    return FrameBounds(float(operator.min()), float(operator.max()))


@settles
def redundancy(length: int, spec: BandSpec, layout: str = "matrix") -> float:
    """Redundancy: real numbers among the coefficients (a complex one has two) per sample.

    Args:
        length: samples of the clip, 1 or more.
        spec: settings of the bands.
        layout: "matrix" or "ragged".

    Returns:
        A ratio; it falls with the length, as padding counts.
    """
    grid, padded = gabor_tables.array_grid(spec, layout), padded_length(length, spec)
    return 2 * sum(bins * (padded // hop) for bins, hop in grid) / length


@settles
def frame_times(length: int, spec: BandSpec, layout: str = "matrix") -> Any:
    """Frame times of a clip and its padding: frame t stands at sample ``t hop``.

    Args:
        length: samples of the clip, 1 or more.
        spec: settings of the bands.
        layout: "matrix" or "ragged".

    Returns:
        Seconds, float64 [frames]; in the ragged layout a tuple of them.

    Raises:
        ValueError: for an empty clip or an unknown layout.
    """
    grid, padded = gabor_tables.array_grid(spec, layout), padded_length(length, spec)
    times = tuple(np.arange(padded // hop) * (hop / spec.sample_rate) for _, hop in grid)
    return times if layout == "ragged" else times[0]


def analyse(waveform: Waveform, *, spec: BandSpec, layout: str = "matrix") -> Coefficients:
    """Coefficients of a clip.

    Args:
        waveform: [..., time], floating, at least 1 sample.
        spec: bands, hop and scale.
        layout: "matrix" or "ragged".

    Returns:
        [..., frames, bins] complex, frames of :func:`frame_times` and all bins of
        :func:`.gabor_bands.design_bands`; in the ragged layout a tuple of them.

    Raises:
        ValueError: for an empty clip or an unknown layout.

    Example:
        >>> from isincnet_jax.constant_q.dsp.gabor_spec import GaborSpec
        >>> clip = np.sin(np.arange(9000, dtype=np.float32))
        >>> spec = GaborSpec(fmin=110, n_bins=60)
        >>> coefficients = analyse(clip, spec=spec)
        >>> coefficients.shape
        (256, 99)
        >>> bool(np.allclose(synthesise(coefficients, spec=spec, length=9000), clip, atol=1e-6))
        True
    """
    gabor_tables.check_layout(layout)
    waveform = checks.as_waveform(waveform)
    length = waveform.shape[-1]
    zeros = padded_length(length, spec) - length
    padded = jnp.pad(jnp.asarray(waveform), [(0, 0)] * (waveform.ndim - 1) + [(0, zeros)])
    return analyse_padded(padded, spec=spec, layout=layout)


@settles
def synthesise(
    coefficients: Coefficients, *, spec: BandSpec, length: int, layout: str = "matrix"
) -> Waveform:
    """Inverse transform: the exact inverse of :func:`analyse`.

    Of coefficients that no waveform has it is the least-squares solution: in the norm of the
    "energy" scale the waveform whose (padded) coefficients are nearest. If ``spec.tight`` it is
    the adjoint of the analysis, in that scale.

    Args:
        coefficients: what :func:`analyse` gives for ``length`` samples.
        spec: as in the analysis.
        length: samples of the waveform.
        layout: as in the analysis.

    Returns:
        [..., length], floating.

    Raises:
        TypeError: for coefficients that are not complex.
        ValueError: for coefficients of another shape, or an unknown layout.
    """
    gabor_tables.check_layout(layout)
    padded = padded_length(length, spec)
    arrays = tuple(coefficients) if layout == "ragged" else (coefficients,)
    check_coefficients(arrays, padded=padded, spec=spec, layout=layout)
    arrays = tuple(jnp.asarray(array) for array in arrays)
    return synthesise_padded(arrays, padded=padded, spec=spec, layout=layout)[..., :length]


def array_shapes(padded: int, *, spec: BandSpec, layout: str) -> list[tuple[int, int]]:
    """Frames and bins of every array of coefficients.

    Args:
        padded: padded length in samples.
        spec: settings of the bands.
        layout: "matrix" or "ragged".

    Returns:
        Pairs of frames and bins.

    Raises:
        ValueError: for an unknown layout.
    """
    return [(padded // hop, bins) for bins, hop in gabor_tables.array_grid(spec, layout)]


def check_coefficients(
    arrays: tuple[Any, ...], *, padded: int, spec: BandSpec, layout: str
) -> None:
    """Checks that coefficients are those of a padded length.

    Args:
        arrays: [..., frames, bins] complex, one for the matrix layout.
        padded: padded length in samples.
        spec: settings of the bands.
        layout: "matrix" or "ragged".

    Raises:
        TypeError: for arrays that are not complex.
        ValueError: for other numbers of frames, bins or arrays.
    """
    for array in arrays:
        checks.check_complex(array, "coefficients")
    shapes = array_shapes(padded, spec=spec, layout=layout)
    if [tuple(array.shape[-2:]) for array in arrays] != shapes:
        raise ValueError(
            f"coefficients of shapes {[tuple(array.shape) for array in arrays]}: the {layout} "
            f"layout of this length has [..., frames, bins] = {shapes}; give all frames and bins "
            "of the analysis, and the length of its waveform"
        )


def scaled(values: jax.Array, factor: np.ndarray) -> jax.Array:
    """Product of a complex and a real array, which strict promotion would refuse.

    Args:
        values: complex, [..., *factor.shape] up to broadcasting.
        factor: real, of any precision.

    Returns:
        Complex, in the precision of the values.
    """
    real = match_rank(jnp.asarray(factor, jnp.real(values).dtype), values)
    return lax.complex(jnp.real(values) * real, jnp.imag(values) * real)


@functools.partial(jax.jit, static_argnames=("spec", "layout"))
def analyse_padded(waveform: jax.Array, *, spec: BandSpec, layout: str) -> Coefficients:
    """:func:`analyse` of one period of a periodic signal, without padding.

    Args:
        waveform: [..., padded], floating; of a multiple of :func:`.gabor_tables.hop_unit`.
        spec: settings of the bands.
        layout: "matrix" or "ragged".

    Returns:
        [..., frames, bins] complex; in the ragged layout a tuple of them.
    """
    tables = gabor_tables.design(waveform.shape[-1], spec, layout)
    rows = long_fourier.count_rows(tables.length)

    def grouped(clips: jax.Array) -> Coefficients:
        return map_groups(
            functools.partial(_analysed, tables=tables, layout=layout, rows=rows),
            clips,
            axes=1,
            at_once=_clips_at_once(tables, layout, jnp.dtype(clips.dtype).itemsize),
        )

    whole = functools.partial(_analysed, tables=tables, layout=layout, rows=1)
    return lax.platform_dependent(waveform, cpu=grouped, default=whole)


def _clips_at_once(tables: gabor_tables.Design, layout: str, itemsize: int) -> int:
    """Clips whose coefficients, twice, take at most 2^25 bytes, beyond which malloc asks anew.

    And what their DFTs go through, four arrays of a clip's size.
    """
    frames = tables.num_frames
    numbers = sum(
        group.window.shape[0] * (group.num_bins if layout == "ragged" else frames)
        for group in tables.groups
    )
    return max(1, _TEMPORARY_BYTES // (4 * itemsize * (numbers + tables.length)))


def _analysed(
    waveform: jax.Array, *, tables: gabor_tables.Design, layout: str, rows: int
) -> Coefficients:
    """:func:`analyse_padded` through a DFT of so many rows."""
    spectrum = long_fourier.real_dft(waveform, rows=rows)
    outputs = []
    for group in tables.groups:
        # h_b X, wrapped into the N bins of the group's own DFT: [..., bands, num_bins].
        bins = _windowed(spectrum, group, length=tables.length, rows=rows)
        if layout == "matrix":
            bins = _interpolated(bins, group.first, tables.num_frames)
        outputs.append(bins)
    if layout == "ragged":
        return tuple(batched_fft.ifft(bins).swapaxes(-1, -2) for bins in outputs)
    return batched_fft.ifft(jnp.concatenate(outputs, -2)).swapaxes(-1, -2)


def _windowed(
    spectrum: jax.Array, group: gabor_tables.Group, *, length: int, rows: int
) -> Complex[Array, "... bands num_bins"]:
    """Products of a group's windows and the bins of the clip under them."""
    index, mirrored = long_fourier.bin_places(group.place, length=length, rows=rows)
    # One axis of places: a gather of whole tables is compiled into two passes.
    values = spectrum.at[..., index.ravel()].get(mode="promise_in_bounds")
    # Where the spectrum has the conjugate, the window of the imaginary part is negative.
    flat = group.window.ravel()
    real, imag = (
        match_rank(jnp.asarray(table, jnp.real(values).dtype), values)
        for table in (flat, np.where(mirrored.ravel(), -flat, flat))
    )
    products = lax.complex(jnp.real(values) * real, jnp.imag(values) * imag)
    return products.reshape((*spectrum.shape[:-1], *group.window.shape))


def _interpolated(
    bins: Complex[Array, "... bands num_bins"], first: np.ndarray, num_frames: int
) -> Complex[Array, "... bands frames"]:
    """DFTs of more frames: the same bins, at the places that they have modulo ``num_frames``."""
    num_bins = bins.shape[-1]
    if num_bins == num_frames:
        return bins
    # Bin k stands at k mod num_bins; tiled, it stands at k mod num_frames, too, and the other
    # copies, outside of the support's num_bins places from ``first`` on, become 0.
    repeats = num_frames // num_bins
    tiled = jnp.broadcast_to(bins[..., None, :], (*bins.shape[:-1], repeats, num_bins)).reshape(
        (*bins.shape[:-1], num_frames)
    )
    place = jnp.arange(num_frames, dtype=jnp.int32)[None] - jnp.asarray(first)[:, None]
    inside = jnp.where(place < 0, place + num_frames, place) < num_bins
    return jnp.where(match_rank(inside, tiled), tiled, jnp.zeros((), bins.dtype))


@functools.partial(jax.jit, static_argnames=("padded", "spec", "layout"))
def synthesise_padded(
    arrays: tuple[jax.Array, ...], *, padded: int, spec: BandSpec, layout: str
) -> Float[Array, "... padded"]:
    """:func:`synthesise` of all ``padded`` samples.

    Args:
        arrays: [..., frames, bins] complex, one for the matrix layout.
        padded: padded length in samples.
        spec: settings of the bands.
        layout: "matrix" or "ragged".

    Returns:
        [..., padded], floating.
    """
    tables = gabor_tables.design(padded, spec, layout)
    rows = long_fourier.count_rows(padded)

    def grouped(*coefficients: jax.Array) -> Waveform:
        return map_groups(
            functools.partial(_synthesised, tables=tables, rows=rows),
            coefficients,
            axes=2,
            at_once=_clips_at_once(tables, layout, coefficients[0].dtype.itemsize // 2),
        )

    def whole(*coefficients: jax.Array) -> Waveform:
        return _synthesised(coefficients, tables=tables, rows=1)

    return lax.platform_dependent(*arrays, cpu=grouped, default=whole)


def _synthesised(
    arrays: tuple[jax.Array, ...], *, tables: gabor_tables.Design, rows: int
) -> Float[Array, "... padded"]:
    """:func:`synthesise_padded` through an inverse DFT of so many rows."""
    # DFTs of all bands of all arrays, one after the other: [..., sum of bands times frames].
    flat = jnp.concatenate(
        [lax.collapse(batched_fft.fft(array.swapaxes(-1, -2)), array.ndim - 2) for array in arrays],
        axis=-1,
    )
    below, above, half = tables.below, tables.above, tables.length // 2
    # X[k] = sum_b C_b[k] h_b[k] / S[k] over the bands that overlap at k.
    extended = jnp.concatenate(
        [scaled(flat[..., segment.source], segment.window).sum(-2) for segment in tables.segments],
        axis=-1,
    )
    # A real signal has, beside every bin, its mirror image: those below 0 and above Nyquist
    # come back, the bins at 0 and Nyquist meet themselves.
    low = jnp.conj(jnp.flip(extended[..., : below + 1], -1))
    high = jnp.conj(jnp.flip(extended[..., below + half :], -1))
    spectrum = extended[..., below : below + half + 1]
    spectrum = spectrum.at[..., : below + 1].add(low).at[..., half - above :].add(high)
    return long_fourier.real_inverse(spectrum, length=tables.length, rows=rows)
