"""Description of a codec, line by line."""

from __future__ import annotations

import numpy as np

from isincnet_jax.bank import exactness
from isincnet_jax.bank.codec import Codec
from isincnet_jax.bank.dsp import rounding
from isincnet_jax.bank.lapped_codec import LappedCodec
from isincnet_jax.bank.solved import SolvedDecoder
from isincnet_jax.constant_q.nonuniform_codec import NonuniformCodec
from isincnet_jax.streaming import stream as streaming


def describe(codec: Codec | LappedCodec | NonuniformCodec) -> list[tuple[str, str]]:
    """Description of a codec: geometry, frame bounds, exactness, delay and rates.

    Args:
        codec: solved or trained; exactness is claimed of solved decoders only.

    Returns:
        Pairs of a label and a text, in the order in which they are printed.
    """
    if isinstance(codec, LappedCodec):
        return _describe_lapped(codec)
    if isinstance(codec, NonuniformCodec):
        return _describe_nonuniform(codec)
    spec = codec.spec
    bank = spec.bank
    solved = codec.model.solved
    bounds = bank.bounds
    coefficients = spec.num_channels * spec.frame_rate_hz
    center_hz = spec.center_hz
    # A sample is complete when the last frame whose kernel reaches it has seen its own samples.
    delay = bank.trail + streaming.synthesis_step(codec, spec, codec.model.dtype).lead
    lines = [
        ("model", codec.name),
        ("sample rate", f"{spec.sample_rate} Hz"),
        ("frames", f"{spec.frame_rate_hz:.6g} a second (hop_length {spec.hop_length})"),
        ("bins", f"{spec.num_bins}, {spec.scale}, {spec.component}: {spec.num_channels} channels"),
        (
            "centres",
            f"{center_hz[0]:.6g} to {center_hz[-1]:.6g} Hz, at most "
            f"{np.max(np.diff(center_hz)):.4g} Hz apart",
        ),
        (
            "filters",
            f"{spec.shape} shape, {spec.window} window, {bank.taps} taps, "
            f"{spec.normalization} normalised"
            + (", causal" if spec.causal else "")
            + (", tight" if spec.tight else ""),
        ),
        ("padding", f"{spec.padding}; arithmetic: {spec.dialect}"),
        (
            "frame bounds",
            f"{bounds.lower:.6g} to {bounds.upper:.6g}, condition number {bounds.condition:.4g}",
        ),
        ("decoder", f"{solved.method}, {solved.taps // spec.hop_length} frame taps"),
        ("algorithms", _algorithms(codec)),
        *_exactness(codec, solved),
        (
            "noise gain",
            "depends on the weights" if np.isnan(solved.noise_gain) else f"{solved.noise_gain:.4g}",
        ),
        (
            "delay",
            f"{bank.trail} samples to encode, {delay} to reconstruct "
            f"({1000 * delay / spec.sample_rate:.1f} ms)",
        ),
        ("coefficients", f"{coefficients:.6g} a second, {spec.redundancy:.4g} per sample"),
        ("bit rate", f"{8 * coefficients / 1000:.5g} kbit/s at 8 bits, before entropy coding"),
    ]
    if codec.model.projections:
        lines.append(("projections", ", ".join(codec.model.projections)))
    return lines


def _describe_lapped(codec: LappedCodec) -> list[tuple[str, str]]:
    spec = codec.spec
    return [
        ("model", codec.name),
        ("sample rate", f"{spec.sample_rate} Hz"),
        ("frames", f"{spec.frame_rate_hz:.6g} a second (hop_length {spec.hop_length})"),
        ("bank", spec.describe()),
        ("frame bounds", "1 to 1, condition number 1: orthonormal"),
        ("exactness", "exact: the inverse is the transpose"),
        ("expected SNR in float32", "135 dB on white noise"),
        (
            "delay",
            f"{spec.latency} samples to encode and decode "
            f"({1000 * spec.latency / spec.sample_rate:.1f} ms)",
        ),
        ("coefficients", f"{spec.sample_rate} a second, 1 per sample"),
        ("tokens", f"rounded to a step of {codec.step:g}, the same for every waveform"),
    ]


def _describe_nonuniform(codec: NonuniformCodec) -> list[tuple[str, str]]:
    spec, hops = codec.spec, codec.hop_lengths
    ten_seconds = round(10 * spec.sample_rate)
    bounds = codec.frame_bounds(ten_seconds)
    delay = codec.sliced().latency
    kind = "centres of its own" if spec.center_hz is not None else spec.scale
    return [
        ("model", codec.name),
        ("sample rate", f"{spec.sample_rate:g} Hz"),
        (
            "frames",
            f"{spec.sample_rate / max(hops):.6g} to {spec.sample_rate / min(hops):.6g} a second "
            f"({len(hops)} arrays, hops of {max(hops)} to {min(hops)})",
        ),
        ("bins", f"{len(codec.frequencies)}, {kind}, complex"),
        ("windows", f"{spec.window} slopes between neighbours, {spec.normalization} scale"),
        (
            "frame bounds",
            f"{bounds.lower:.6g} to {bounds.upper:.6g}, condition number {bounds.condition:.4g}",
        ),
        ("exactness", "exact: the dual frame"),
        ("expected SNR in float32", "130 dB on white noise"),
        (
            "delay",
            f"a whole clip; {delay} samples slice by slice "
            f"({1000 * delay / spec.sample_rate:.1f} ms)",
        ),
        (
            "coefficients",
            f"{codec.redundancy() * spec.sample_rate:.6g} real numbers a second, "
            f"{codec.redundancy():.4g} per sample; {codec.redundancy(ten_seconds):.4g} of 10 s "
            "with their padding",
        ),
    ]


def _algorithms(codec: Codec) -> str:
    analysis, synthesis = codec.model.bank.algorithm, codec.model.solved.algorithm
    return (
        f"{analysis.name}, {analysis.products_per_frame} products a frame; {synthesis.name}, "
        f"{synthesis.products_per_frame}"
    )


def _exactness(codec: Codec, solved: SolvedDecoder) -> list[tuple[str, str]]:
    if np.isnan(solved.residual):
        return [("exactness", "not claimed: trained weights")]
    found = exactness.expect(codec.spec, codec.model.decoder)
    usual, worst = (f"{db:.0f} dB" for db in (found.expected_snr_db, found.least_snr_db))
    ending = "" if worst == usual else f", {worst} where a clip ends worst for its frames"
    if found.is_exact:
        verdict = "exact"
    elif found.is_exact_in_float64:
        verdict = f"exact in float64, about {found.least_snr_db:.0f} dB in float32"
    else:
        verdict = "the best linear decoder, not exact"
    lines = [
        (
            "exactness",
            f"{verdict}: {-rounding.decibels(found.residual):.0f} dB error on white noise before "
            "rounding",
        ),
        ("expected SNR in float32", f"{usual} on white noise{ending}"),
    ]
    if found.edge_samples:
        unseen = found.unseen_samples
        lost = f"; up to {unseen} at the end are in no frame and are lost" if unseen else ""
        lines.append(
            (
                "reflected edges",
                f"{found.edge_samples} samples of a clip are solved from the frames nearest to "
                f"them, {found.worst_edge_snr_db:.0f} dB at worst{lost}",
            )
        )
    return lines
