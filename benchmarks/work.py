"""Operations and bytes of what the benchmarks run, counted from specs and shapes.

Counted is the algorithm that we use, not the shortest one that there is: products of matrices and
convolutions as two operations per multiplication and addition, a real FFT of n points as
``2.5 n log2 n``, anything elementwise as one per value and function. Multiplications by zeros that
a layout adds (padded kernels, banded matrices) are not counted. Bytes are those that have to move
whatever the algorithm: inputs read once, results written once, float32; what lies in between may
stay in the caches.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from roofline import Work

import isincnet_jax as isn
from isincnet_jax.bank.solve import design_decoder
from isincnet_jax.constant_q.dsp import multirate
from isincnet_jax.constant_q.dsp import transform as constant_q
from isincnet_jax.dsp import centering
from isincnet_jax.frontends import symmetric_correlation

FLOAT_BYTES = 4
_COMPANDING = 8
"""Elementwise functions of a coefficient on the way to its code, and as many on the way back."""


def analysis_products(spec: isn.FilterbankSpec) -> int:
    """Multiplications and additions per frame of encoding."""
    return spec.bank.algorithm.products_per_frame


def synthesis_products(spec: isn.FilterbankSpec, decoder: isn.DecoderSpec | None = None) -> int:
    """Multiplications and additions per frame of decoding."""
    return design_decoder(spec, decoder).algorithm.products_per_frame


def real_fft_flops(size: int) -> float:
    """Half of the usual ``5 n log2 n`` of a complex transform."""
    return 2.5 * size * math.log2(size)


def num_frames(spec: isn.FilterbankSpec, length: int) -> int:
    """Frames of a clip."""
    return spec.bank.frame_grid(length).num_frames


def encode(spec: isn.FilterbankSpec, *, batch: int, length: int) -> Work:
    """Waveform in, coefficients out."""
    frames = batch * num_frames(spec, length)
    values = batch * length + frames * spec.num_channels
    return Work(2.0 * frames * analysis_products(spec), FLOAT_BYTES * values)


def decode(
    spec: isn.FilterbankSpec,
    decoder: isn.DecoderSpec | None = None,
    *,
    batch: int,
    length: int,
) -> Work:
    """Coefficients in, waveform out."""
    frames = batch * num_frames(spec, length)
    values = batch * length + frames * spec.num_channels
    return Work(2.0 * frames * synthesis_products(spec, decoder), FLOAT_BYTES * values)


def round_trip(
    spec: isn.FilterbankSpec,
    decoder: isn.DecoderSpec | None = None,
    *,
    batch: int,
    length: int,
) -> Work:
    """Waveform in, waveform out; the coefficients need not leave the caches."""
    parts = (
        encode(spec, batch=batch, length=length),
        decode(spec, decoder, batch=batch, length=length),
    )
    return Work(sum(part.flops for part in parts), 2 * FLOAT_BYTES * batch * length)


def tokens(
    spec: isn.FilterbankSpec,
    decoder: isn.DecoderSpec | None = None,
    *,
    batch: int,
    length: int,
) -> Work:
    """Waveform to codes (int32), codes to waveform."""
    whole = round_trip(spec, decoder, batch=batch, length=length)
    codes = batch * num_frames(spec, length) * spec.num_channels
    return Work(whole.flops + 2 * _COMPANDING * codes, whole.bytes + 2 * FLOAT_BYTES * codes)


def stft(*, batch: int, length: int, n_fft: int, hop_length: int) -> Work:
    """Centred frames: window, FFT; complex64 out."""
    frames = batch * _centred_frames(length, n_fft, hop_length)
    flops = frames * (n_fft + real_fft_flops(n_fft))
    return Work(flops, FLOAT_BYTES * (batch * length + 2 * frames * (n_fft // 2 + 1)))


def mel(weights: np.ndarray, *, batch: int, length: int, n_fft: int, hop_length: int) -> Work:
    """STFT, power (3 per bin), and the weights [filters, bins] that are not zero."""
    frames = batch * _centred_frames(length, n_fft, hop_length)
    spectra = stft(batch=batch, length=length, n_fft=n_fft, hop_length=hop_length)
    flops = spectra.flops + frames * (3 * (n_fft // 2 + 1) + 2 * np.count_nonzero(weights))
    return Work(float(flops), FLOAT_BYTES * (batch * length + frames * len(weights)))


def cqt(layer: Any, *, batch: int, length: int) -> Work:
    """A fixed constant-Q layer: half-band filters, wavelets at their rates, magnitudes (4)."""
    bank, hop = layer.bank, layer.hop_length
    tolerance = constant_q.DIRECT_TOLERANCE
    groups = constant_q.plan_groups(bank, hop_length=hop, tolerance=tolerance)
    kernels = sum(2 * np.count_nonzero(group.taps) for group in groups)
    filter_taps = np.count_nonzero(multirate.halfband(tolerance))
    highest = max(group.level for group in groups)
    filtered = sum(hop // multirate.band_step(hop, level) for level in range(1, highest + 1))
    per_frame = 2 * (kernels + filter_taps * filtered) + 4 * bank.n_bins
    frames = batch * _centred_frames(length, bank.frame_length, hop)
    values = batch * length + frames * bank.n_bins
    return Work(float(frames * per_frame), FLOAT_BYTES * values)


def _centred_frames(length: int, frame_length: int, hop_length: int) -> int:
    return centering.count_frames(
        length, frame_length=frame_length, hop_length=hop_length, center=True
    )


def sinc_conv(*, batch: int, length: int, filters: int, taps: int, stride: int) -> Work:
    """Even filters over the frames within the clip, folded where the layer folds them.

    The filters themselves, made anew in every call, are counted as nothing: a few thousand values.
    """
    rows = symmetric_correlation._group(stride, taps)
    folds = rows.frames > 1 or 2 * stride > taps
    # Two frames that mirror each other within a row share its products; one alone has its half.
    products = rows.reach / 2 if rows.frames > 1 else (taps + 1) // 2
    frames = batch * ((length - taps) // stride + 1)
    flops = 2.0 * frames * filters * (products if folds else taps)
    return Work(flops, FLOAT_BYTES * (batch * length + frames * filters))


def training_step(
    spec: isn.FilterbankSpec,
    *,
    decoder_frames: int,
    n_fft: int,
    hop_length: int,
    batch: int,
    length: int,
) -> Work:
    """A fixed bank, a learned decoder and a log-STFT loss: forward, backward, AdamW.

    The decoder's kernels have the forward product and that of their gradient; the bank and the
    target's STFT have no gradient; the prediction's STFT has one, another FFT of every frame.
    """
    frames = batch * num_frames(spec, length)
    parameters = spec.num_channels * decoder_frames * spec.hop_length
    products = analysis_products(spec) + 2 * parameters
    spectra = stft(batch=batch, length=length, n_fft=n_fft, hop_length=hop_length)
    moved = batch * length + 6 * parameters  # weights and both moments, read and written
    return Work(2.0 * frames * products + 3 * spectra.flops, FLOAT_BYTES * moved)
