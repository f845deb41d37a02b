"""Window tables of one clip length: bands sampled on its DFT, duals, and where every bin goes.

Everything is arranged so that analysis and synthesis are one gather, one product and one batched
FFT per group of bands, with no loop over bands and no scatter. A bin k of band b, one of N frames,
belongs at ``k mod N`` of the band's DFT (the time of a frame is absolute, so that phases are). In
the analysis it comes from bin k of the DFT of the real clip, which mirror images continue below 0
and beyond Nyquist; in the synthesis it goes to bin k of the *extended spectrum*, from ``-below`` to
``length / 2 + above``, whose ends are folded back.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from jaxtyping import Float, Int

from isincnet_jax.constant_q.dsp import gabor_bands, ragged_hops
from isincnet_jax.constant_q.dsp.gabor_spec import BandSpec

Layout: TypeAlias = Literal["matrix", "ragged"]
LAYOUTS: tuple[str, ...] = get_args(Layout)

_MOST_SEGMENTS = 8  # ranges of bins into which the synthesis is cut


class Group(NamedTuple):
    """Group of neighbouring bands: all supports fit into ``num_bins`` bins of the DFT.

    Attributes:
        bands: their slice of all bands.
        num_bins: frames of the group; in the matrix layout those that it would need alone.
        first: the lowest bin of each band's support, modulo the frames of the matrix, [bands].
        place: the bin of the clip's DFT that each bin of a band's DFT comes from, negative below
            0, above ``length / 2`` beyond Nyquist; [bands, num_bins].
        window: what it is multiplied with, 0 outside of the support, [bands, num_bins].
    """

    bands: slice
    num_bins: int
    first: Int[np.ndarray, " bands"]
    place: Int[np.ndarray, "bands num_bins"]
    window: Float[np.ndarray, "bands num_bins"]


class Segment(NamedTuple):
    """Segment of the extended spectrum: bins as sums over the bands that overlap there.

    Attributes:
        source: places in the DFTs [bands, frames] of all arrays of coefficients, flattened and
            one after the other; [overlap, bins].
        window: dual windows, 0 where fewer bands overlap; [overlap, bins].
    """

    source: Int[np.ndarray, "overlap bins"]
    window: Float[np.ndarray, "overlap bins"]


class Design(NamedTuple):
    """Tables of the transform of one padded length; float64 and int32 NumPy.

    Attributes:
        length: the padded length.
        num_frames: frames of the matrix layout, and of the broadest bands of the ragged one.
        below: bins of the extended spectrum below 0.
        above: its bins above Nyquist.
        groups: of the analysis, by increasing frequency.
        segments: of the synthesis, which together are the extended spectrum.
    """

    length: int
    num_frames: int
    below: int
    above: int
    groups: tuple[Group, ...]
    segments: tuple[Segment, ...]


def check_layout(layout: str) -> None:
    """Checks the layout of coefficients.

    Args:
        layout: "matrix" or "ragged".

    Raises:
        ValueError: for any other.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout={layout!r} is unknown; use one of {', '.join(LAYOUTS)}")


@functools.lru_cache(maxsize=64)
def band_groups(spec: BandSpec, layout: str) -> tuple[tuple[slice, int], ...]:
    """Groups of neighbouring bands of one hop.

    Args:
        spec: settings of the bands.
        layout: "ragged": the groups that are arrays; "matrix": those whose bins are transformed
            alike, with the hop that they would need alone, a multiple ``hop 2^j`` of all frames'.

    Returns:
        Slices of the bands with their hops in samples.
    """
    longest = _longest_hops(spec)
    unit, hops = spec.ragged_hops(longest)
    if layout == "matrix":
        # 2^j must divide the frames of every padded length.
        _, hops = ragged_hops.octave_hops(spec.hop, longest)
        hops = np.minimum(hops, spec.hop * math.gcd(unit // spec.hop, 1 << 62))
    edges = [0, *(np.flatnonzero(np.diff(hops)) + 1).tolist(), len(hops)]
    return tuple(
        (slice(start, stop), int(hops[start])) for start, stop in itertools.pairwise(edges)
    )


def _longest_hops(spec: BandSpec) -> Float[np.ndarray, " bands"]:
    return spec.sample_rate / (2 * gabor_bands.design_bands(spec).width)


def array_grid(spec: BandSpec, layout: str) -> tuple[tuple[int, int], ...]:
    """Bins and hop of every array of coefficients.

    Args:
        spec: settings of the bands.
        layout: "matrix", one array, or "ragged".

    Returns:
        Pairs of a number of bins and a hop in samples.

    Raises:
        ValueError: for an unknown layout.
    """
    check_layout(layout)
    groups = band_groups(spec, layout)
    if layout == "matrix":
        return ((groups[-1][0].stop, spec.hop),)
    return tuple((bands.stop - bands.start, hop) for bands, hop in groups)


@functools.lru_cache(maxsize=64)
def hop_unit(spec: BandSpec) -> int:
    """Unit of padded lengths in samples, which all hops divide.

    Args:
        spec: settings of the bands.

    Returns:
        An even number of samples.
    """
    return spec.ragged_hops(_longest_hops(spec))[0]


class _Entries(NamedTuple):
    """Every bin of every band's support, one band after the other; all but the last [entries].

    Attributes:
        band: the band.
        place: the bin, from ``-below`` to ``length / 2 + above``.
        window: the band's window there, tightened if the spec says so.
        dual: the dual window.
        first: the first bin of each band, [bands].
    """

    band: np.ndarray
    place: np.ndarray
    window: np.ndarray
    dual: np.ndarray
    first: np.ndarray


def _entries(length: int, spec: BandSpec) -> tuple[_Entries, Float[np.ndarray, " spectrum"]]:
    """Windows in "energy" scale, and the diagonal of their frame operator."""
    bands, spacing, half = gabor_bands.design_bands(spec), spec.sample_rate / length, length // 2
    # The bins strictly between a window's ends, where it is 0; ends that are bins but for rounding
    # are none of them, for a support may have as many bins as its band has frames.
    first = np.floor(bands.lower / spacing + 1e-9).astype(int) + 1
    number = np.ceil(bands.upper / spacing - 1e-9).astype(int) - first
    band = np.repeat(np.arange(len(number)), number)
    # Counts first, first + 1 ... anew for every band.
    place = np.arange(len(band)) + np.repeat(first + number - np.cumsum(number), number)
    window = gabor_bands.sample_windows(spec, band, place * spacing)
    # Bin -k and bin length - k of a real clip are the conjugate of bin k: all fold into 0 .. half.
    mirrored = np.abs(place)
    mirrored = np.where(mirrored > half, length - mirrored, mirrored)

    def operator(values: np.ndarray) -> np.ndarray:
        # S(f) = sum_b h_b(f)^2 + mirror images; bins 0 and half meet their own images.
        sums = np.bincount(mirrored, values**2, half + 1)
        sums[[0, half]] *= 2
        return sums

    diagonal = operator(window)
    if spec.tight:
        # h_b / sqrt(S) has the frame operator 1.
        window = window / np.sqrt(diagonal[mirrored])
        diagonal = operator(window)
    return _Entries(band, place, window, window / diagonal[mirrored], first), diagonal


def frame_operator(length: int, spec: BandSpec) -> Float[np.ndarray, " spectrum"]:
    """Frame operator: its diagonal on the bins of the DFT, in "energy" scale.

    Args:
        length: padded length in samples, even.
        spec: settings of the bands.

    Returns:
        Float64 [length // 2 + 1].
    """
    return _entries(length, spec)[1]


@functools.lru_cache(maxsize=4)
def design(length: int, spec: BandSpec, layout: str) -> Design:
    """Window tables of a padded length; cached.

    Args:
        length: padded length in samples, a multiple of :func:`hop_unit`.
        spec: settings of the bands.
        layout: "matrix" or "ragged".

    Returns:
        Tables of analysis and synthesis, in the scale of ``spec.normalization``.

    Raises:
        ValueError: for an unknown layout, or a length without whole frames.
    """
    check_layout(layout)
    if length < 1 or length % hop_unit(spec):
        raise ValueError(f"length={length} must be a multiple of {hop_unit(spec)} samples")
    entries, _ = _entries(length, spec)
    groups = band_groups(spec, layout)
    grid = array_grid(spec, layout)
    hop = np.repeat([one for _, one in grid], [bins for bins, _ in grid])
    # c_b = s_b sqrt(2 / hop) ifft(h_b X), with L / hop points: for s_b = 1 the sum of |c_b|^2 is
    # 2 / L sum_k |h_b X|^2, twice that of Parseval, for bands have one half of the spectrum only.
    scale = gabor_bands.band_scales(spec, hop)
    entries = entries._replace(
        window=entries.window * (scale * np.sqrt(2 / hop))[entries.band],
        dual=entries.dual * (np.sqrt(hop / 2) / scale)[entries.band],
    )
    num_frames, lowest = length // spec.hop, int(entries.place.min())
    # Bins beyond 0 and Nyquist that some window reaches: the ends of the extended spectrum.
    below, above = max(0, -lowest), max(0, int(entries.place.max()) - length // 2)
    return Design(
        length=length,
        num_frames=num_frames,
        below=below,
        above=above,
        groups=tuple(
            _group(entries, bands, length // alone)._replace(
                first=(entries.first[bands] % num_frames).astype(np.int32)
            )
            for bands, alone in groups
        ),
        segments=_segments(entries, length // hop),
    )


def _group(entries: _Entries, bands: slice, num_bins: int) -> Group:
    """Tables of the analysis of some bands."""
    first = entries.first[bands]
    chosen = (entries.band >= bands.start) & (entries.band < bands.stop)
    row, place = entries.band[chosen] - bands.start, entries.place[chosen]
    # Bin k belongs at k mod N of the band's DFT; the places without one have window 0.
    table = np.zeros((len(first), num_bins), np.int32)
    window = np.zeros((len(first), num_bins))
    table[row, place % num_bins] = place
    window[row, place % num_bins] = entries.window[chosen]
    return Group(bands, num_bins, first, table, window)


def _segments(entries: _Entries, frames: Int[np.ndarray, " bands"]) -> tuple[Segment, ...]:
    """Tables of the synthesis, of bands of so many frames."""
    # Entries by bin of the extended spectrum; ``flat`` is where an entry's value stands among the
    # DFTs of all bands one after the other.
    order = np.argsort(entries.place, kind="stable")
    place, band = entries.place[order], entries.band[order]
    flat = (np.cumsum(frames) - frames)[band] + place % frames[band]
    place = place - place[0]
    # So many bands overlap at a bin; ``rank`` numbers them 0, 1, 2 ... at every bin.
    depth = np.bincount(place)
    begin = np.cumsum(depth) - depth
    rank = np.arange(len(place)) - begin[place]
    segments = []
    for start, stop in _split_by_depth(depth):
        shape = (int(depth[start:stop].max()), stop - start)
        source, window = np.zeros(shape, np.int32), np.zeros(shape)
        part = slice(begin[start], begin[stop - 1] + depth[stop - 1])
        slot = rank[part], place[part] - start
        source[slot], window[slot] = flat[part], entries.dual[order[part]]
        segments.append(Segment(source, window))
    return tuple(segments)


def _split_by_depth(depth: np.ndarray) -> list[tuple[int, int]]:
    """Cuts bins into a few ranges of about equal overlap, halving towards low frequencies.

    With gamma > 0 hundreds of bands may overlap at the lowest frequencies and two at the highest.
    """
    edges = [len(depth)]
    while len(edges) < _MOST_SEGMENTS and edges[-1] > 64:
        edges.append(edges[-1] // 2)
    ranges = list(zip([*edges[1:], 0], edges, strict=True))[::-1]
    merged = [ranges[0]]
    for start, stop in ranges[1:]:
        # Tables take depth times bins: joined as long as that costs at most 15 % more.
        before = merged[-1]
        whole = depth[before[0] : stop].max() * (stop - before[0])
        apart = depth[before[0] : before[1]].max() * (before[1] - before[0])
        apart += depth[start:stop].max() * (stop - start)
        if whole <= 1.15 * apart:
            merged[-1] = (before[0], stop)
        else:
            merged.append((start, stop))
    return merged
