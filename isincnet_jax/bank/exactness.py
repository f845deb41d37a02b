"""Exactness of a bank's round trip: the SNR to expect of a clip in float32, edges included.

A decoder's own figure, ``expected_snr_db`` of :class:`.SolvedDecoder`, holds for every sample of
a zero-padded clip. Reflected clips have samples near their edges that are solved from the frames
nearest to them, and those may be worse conditioned than the rest, or in no frame at all.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from isincnet_jax.bank import edges
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.designed import Bank
from isincnet_jax.bank.dsp import reflected_edges, rounding
from isincnet_jax.bank.solve import design_decoder
from isincnet_jax.bank.solved import EXACT_RESIDUAL, is_enough
from isincnet_jax.bank.spec import FilterbankSpec

_CLIP_SAMPLES = 1000
_CLIPS = 4
_SUMMED_SAMPLES = 16


class Exactness(NamedTuple):
    """Exactness to expect of a bank and its decoder.

    Attributes:
        residual: relative root mean squared error before rounding on white noise, of a clip that
            ends where its frames see it worst.
        expected_snr_db: in float32, of a clip.
        least_snr_db: in float32, of a clip that ends where its frames see it worst.
        worst_edge_snr_db: in float32, of the samples at a reflected edge alone; infinite where
            there are none.
        edge_samples: how many those are.
        unseen_samples: how many of them, at the end of a clip, may be in no frame.
    """

    residual: float
    expected_snr_db: float
    least_snr_db: float
    worst_edge_snr_db: float
    edge_samples: int
    unseen_samples: int

    @property
    def is_exact_in_float64(self) -> bool:
        """Whether the error before rounding is at most :data:`.solved.EXACT_RESIDUAL`."""
        return self.residual <= EXACT_RESIDUAL

    @property
    def is_exact(self) -> bool:
        """Whether :data:`.solved.EXACT_SNR_DB` are to be expected of every clip."""
        return self.is_exact_in_float64 and is_enough(self.least_snr_db)


@functools.lru_cache(maxsize=32)
def expect(
    spec: FilterbankSpec, decoder: DecoderSpec | None = None, *, length: int | None = None
) -> Exactness:
    """Exactness to expect of a round trip, of white noise.

    Args:
        spec: the bank.
        decoder: how its inverse is found; the default's if None.
        length: samples of the clip; if None about a thousand, ending half a hop before the last
            sample that its last frame is counted on to see, and there where it is worst.

    Returns:
        Residual and SNRs; edges count where the padding reflects.
    """
    decoder = decoder or DecoderSpec()
    solved = design_decoder(spec, decoder)
    if spec.padding == "zeros" or np.isnan(solved.residual):
        snr_db = solved.expected_snr_db
        return Exactness(solved.residual, snr_db, snr_db, np.inf, 0, 0)
    if length is None:
        frames = -(-max(_CLIP_SAMPLES, 3 * (solved.taps + spec.taps)) // spec.hop_length)
        longest = spec.bank.longest_length(frames)
        worst = expect(spec, decoder, length=longest)
        usual = expect(spec, decoder, length=longest - spec.hop_length // 2)
        return worst._replace(expected_snr_db=max(usual.expected_snr_db, worst.expected_snr_db))
    noise = solved.assumed_noise(decoder)
    plan = edges.edge_plan(spec.bank, solved, length, noise_variance=noise)
    ends = [(plan.left, "left"), (plan.right, "right")]
    found = [_edge_errors(spec.bank, edge, length, end) for edge, end in ends if edge is not None]
    solved_apart = sum(map(len, found))
    # total = ((length - edge samples) var_inside + sum of the edges' variances) / length, in
    # float32
    # and before rounding
    inside = [10.0 ** (-solved.expected_snr_db / 10.0), solved.residual**2]
    total = (length - solved_apart) * np.asarray(inside)
    total = np.sqrt((total + sum(np.sum(each, axis=0) for each in found)) / length)
    edges_db = [rounding.decibels(float(np.sqrt(np.mean(each[:, 0])))) for each in found]
    return Exactness(
        float(total[1]),
        rounding.decibels(float(total[0])),
        rounding.decibels(float(total[0])),
        min(edges_db, default=np.inf),
        solved_apart,
        spec.bank.unseen_samples,
    )


def _edge_errors(
    bank: Bank, edge: reflected_edges.EdgeDecoder, length: int, end: str
) -> Float[np.ndarray, "samples 2"]:
    """Error variances of the samples at an edge, in float32 and before rounding."""
    kernels, hop = bank.kernels, bank.hop_length
    channels, taps = kernels.shape
    reach = -(-taps // hop) + 1
    total = bank.frame_grid(length).num_frames
    # A clip of few frames that ends as this one does.
    frames = min(edge.num_frames + 2 * reach, total)
    clip = length - (total - frames) * hop
    analysis = reflected_edges.reflected_analysis_matrix(
        kernels, hop_length=hop, length=clip, num_frames=frames
    )
    rows = edge.num_frames * channels
    used = analysis[:rows] if end == "left" else analysis[-rows:]
    first = 0 if end == "left" else clip - edge.num_samples
    # W A - E, [samples, clip]: its rows' energies are the errors on white noise before rounding
    response = edge.matrix.T @ used
    response[np.arange(edge.num_samples), first + np.arange(edge.num_samples)] -= 1.0
    before = np.sum(response**2, axis=1)
    # W^2 var_c: the rounding of the coefficients; then that of the sums sum_i S_i W_i
    variance = np.tile(rounding.coefficient_variance(kernels), edge.num_frames)
    noise = np.random.default_rng(0).standard_normal((_CLIPS, clip)) @ used.T
    # Sums of thousands of products: of some samples, and in between by interpolation.
    some = np.unique(np.linspace(0, edge.num_samples - 1, _SUMMED_SAMPLES).astype(int))
    summed = [rounding.sum_variance(noise[:, :, None] * edge.matrix[:, [n]]) for n in some]
    summed = np.interp(np.arange(edge.num_samples), some, np.concatenate(summed))
    return np.stack([before + variance @ edge.matrix**2 + summed, before], axis=1)
