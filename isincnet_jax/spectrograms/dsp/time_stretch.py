"""Phase vocoder: other durations at the same pitch, other pitches at the same duration."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Complex

from isincnet_jax.dsp import batched_fft, checks, formats, fourier
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array, Waveform

_EDGE = 512  # samples over which a clip fades out beyond its ends
_CANDIDATES = 4096  # lengths among which a period for resampling is sought


def phase_vocoder(
    spectrum: Complex[Array, "... frames bins"], *, rate: float
) -> Complex[Array, "... frames_out bins"]:
    """Phase vocoder: a spectrum of the short-time Fourier transform played at another rate.

    Frame t of the output lies at the place ``s_t = t rate`` of the input. Its magnitude is
    interpolated linearly between the frames around that place, its phase advances from frame to
    frame as the input's does there::

        Y[t, k] = ((1 - a_t) |X[j_t, k]| + a_t |X[j_t + 1, k]|) exp(i phi[t, k])
        phi[t, k] = arg X[0, k] + sum_{u < t} (arg X[j_u + 1, k] - arg X[j_u, k])

    with ``j_t = floor(s_t)`` and ``a_t = s_t - j_t``; the frame after the last one is 0. The
    expected advance of a bin's centre, on which textbooks unwrap the differences, adds multiples
    of a whole turn and drops out because input and output have the same hop.

    Phases are summed as fractions of a turn, rounded once to multiples of 2^-24 (float32) and
    wrapped to [-1/2, 1/2] at every sum of a parallel scan. On that grid sums and wraps are exact,
    so what is left are the roundings of the input's phases. In float32, the phases of 10 minutes
    (25,840 frames of hop 512 at 22,050 Hz) are within 5e-5 of a radian of those in float64.

    Args:
        spectrum: [..., frames, bins], complex.
        rate: how many times faster; below 1 is slower.

    Returns:
        [..., ceil(frames / rate), bins], of the dtype of ``spectrum``.

    Raises:
        ValueError: for a rate that is not positive and finite.

    References:
        J. L. Flanagan and R. M. Golden, "Phase vocoder", Bell System Technical Journal 45, 1966.
            https://doi.org/10.1002/j.1538-7305.1966.tb01706.x
        D. P. W. Ellis, "A phase vocoder in Matlab", Columbia University, 2002.
            https://www.ee.columbia.edu/~dpwe/resources/matlab/pvoc/
        J. Laroche and M. Dolson, "Improved phase vocoder time-scale modification of audio",
            IEEE Trans. Speech and Audio Processing 7, 1999 (what its sound lacks, and why).
            https://doi.org/10.1109/89.759041

    Departure: librosa 0.11 sums unwrapped phases in the precision of its input; with complex64
    its phases are off by radians after seconds. With complex128 the two agree.

    Example:
        >>> phase_vocoder(jnp.ones((10, 3), jnp.complex64), rate=2.0).shape
        (5, 3)
    """
    _check_rate(rate)
    spectrum = checks.as_complex(spectrum, "spectrum", ndim=2)
    num_frames = spectrum.shape[-2]
    places = np.arange(0, num_frames, rate, dtype=np.float64)
    before = np.floor(places).astype(np.int32)
    # One frame of silence after the last one.
    extended = jnp.pad(spectrum, [(0, 0)] * (spectrum.ndim - 2) + [(0, 1), (0, 0)])
    # Phases in turns: the first frame's, then the advance at each place; their running sum is phi.
    magnitude = formats.format_spectrum(extended, output_format="magnitude")
    turns = _turns(formats.format_spectrum(extended, output_format="phase"))
    advance = _wrapped(turns[..., 1:, :] - turns[..., :-1, :])
    steps = jnp.concatenate([turns[..., :1, :], _frames_at(advance, before[:-1])], axis=-2)
    summed = lax.associative_scan(lambda a, b: _wrapped(a + b), steps, axis=steps.ndim - 2)
    angle = summed * (2 * math.pi)
    # a_t between the frames before and after each place.
    share = match_rank(jnp.asarray((places - before)[:, None], magnitude.dtype), magnitude)
    level = (1 - share) * _frames_at(magnitude, before) + share * _frames_at(magnitude, before + 1)
    return lax.complex(level * jnp.cos(angle), level * jnp.sin(angle))


def _check_rate(rate: float) -> None:
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"rate={rate} must be positive and finite; 2.0 is twice as fast")


def _turns(angle: jax.Array) -> jax.Array:
    """Radians as fractions of a turn, on a grid on which sums of two are exact.

    Multiples of 2^-24 up to 1 are float32 numbers, and so are their sums up to 1: summed in any
    order, wrapped ones have no rounding at all. (Unrounded ones have: those of a steady tone are
    alike at every frame, and were measured to drift by 2e-3 of a radian in 10 minutes.)
    1 / (2 pi) is given in two parts, or a whole turn would be 3e-8 too long.
    """
    high = np.asarray(1 / (2 * np.pi), angle.dtype)
    low = np.asarray(1 / (2 * np.pi) - float(high), angle.dtype)
    turns = angle * high + angle * low
    digits = jnp.finfo(angle.dtype).nmant + 1
    grid = jnp.round(turns * 2.0**digits) * 2.0**-digits
    # The derivative is that of the line, not that of the steps.
    return lax.stop_gradient(grid) + (turns - lax.stop_gradient(turns))


def _wrapped(turns: jax.Array) -> jax.Array:
    """Takes off whole turns; the derivative is that of the identity."""
    return turns - lax.stop_gradient(jnp.round(turns))


def _frames_at(values: jax.Array, index: np.ndarray) -> jax.Array:
    return jnp.take(values, jnp.asarray(index), axis=-2)


@settles
def time_stretch(
    waveform: Waveform,
    *,
    rate: float,
    n_fft: int = 2048,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: str = "hann",
) -> Waveform:
    """Time stretching by a phase vocoder: another duration at the same pitch.

    Args:
        waveform: [..., time], floating.
        rate: how many times faster; below 1 is slower. 1 gives the clip back.
        n_fft: samples per frame.
        hop_length: samples between frames, ``win_length // 4`` if None.
        win_length: samples of the window, ``n_fft`` if None.
        window: a name of :func:`scipy.signal.get_window`.

    Returns:
        [..., round(time / rate)], at least 1 sample.

    Raises:
        ValueError: for a rate that is not positive and finite, or what the transform refuses.

    References:
        As :func:`phase_vocoder`.

    Example:
        >>> time_stretch(jnp.ones(4000), rate=0.5).shape
        (8000,)
    """
    _check_rate(rate)
    waveform = checks.as_waveform(waveform)
    geometry: dict[str, Any] = {
        "n_fft": n_fft,
        "win_length": n_fft if win_length is None else win_length,
        "window": window,
    }
    geometry["hop_length"] = geometry["win_length"] // 4 if hop_length is None else hop_length
    spectrum = fourier.stft(waveform, **geometry, pad_mode="constant")
    stretched = phase_vocoder(spectrum, rate=rate)
    return fourier.istft(stretched, length=_stretched_length(waveform.shape[-1], rate), **geometry)


@settles
def _stretched_length(length: int, rate: float) -> int:
    """Samples of a stretched clip, ``round(length / rate)`` and at least 1."""
    return max(1, round(length / rate))


@settles
def pitch_shift(
    waveform: Waveform,
    *,
    n_steps: float,
    bins_per_octave: int = 12,
    n_fft: int = 2048,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: str = "hann",
) -> Waveform:
    """Pitch shifting by ``n_steps / bins_per_octave`` octaves at the same duration.

    The clip is stretched by ``2^(n_steps / bins_per_octave)`` and resampled back to its length.

    Args:
        waveform: [..., time], floating.
        n_steps: steps upwards; fractions and negative ones are welcome.
        bins_per_octave: steps of an octave, 12 for semitones.
        n_fft: samples per frame.
        hop_length: samples between frames, ``win_length // 4`` if None.
        win_length: samples of the window, ``n_fft`` if None.
        window: a name of :func:`scipy.signal.get_window`.

    Returns:
        [..., time].

    Raises:
        ValueError: for steps of no size, and for what :func:`time_stretch` refuses.

    References:
        As :func:`phase_vocoder`.
    """
    if bins_per_octave < 1:
        raise ValueError(f"bins_per_octave={bins_per_octave} must be at least 1")
    waveform = checks.as_waveform(waveform)
    rate = 2.0 ** (-n_steps / bins_per_octave)
    stretched = time_stretch(
        waveform,
        rate=rate,
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        window=window,
    )
    return resample(stretched, ratio=rate, length=waveform.shape[-1])


class _Periods(NamedTuple):
    """Lengths of one period before and after resampling."""

    source: int
    target: int


def _periods(source: int, ratio: float) -> _Periods:
    """The shortest periods, from ``source`` samples on, that have a ratio to 1e-3 of a sample."""
    sources = source + np.arange(_CANDIDATES)
    targets = np.round(sources * ratio)
    drift = np.abs(targets - sources * ratio)
    best = int(np.argmax(drift <= max(1e-3, float(drift.min()))))
    return _Periods(int(sources[best]), int(targets[best]))


@settles
def resample(waveform: Waveform, *, ratio: float, length: int) -> Waveform:
    """Resampling by a ratio of any size, by cutting or extending the Fourier transform.

    Sample n of the result is the band-limited interpolation at the place ``n / ratio``, to a
    thousandth of a sample over the whole clip. Frequencies that the result cannot hold are
    removed by a cut without a slope. Beyond its ends the clip fades out, reflected, over 512
    samples.

    Args:
        waveform: [..., time], floating.
        ratio: of the new rate to the old one; below 1 gives fewer samples.
        length: samples of the result, at most about ``ratio`` times (time + 512).

    Returns:
        [..., length], of the dtype of the waveform.

    Raises:
        ValueError: for a ratio that is not positive and finite, or too long a result.

    Example:
        >>> resample(jnp.ones(441), ratio=160 / 441, length=160).shape
        (160,)
    """
    waveform = checks.as_waveform(waveform)
    samples = waveform.shape[-1]
    if not (math.isfinite(ratio) and ratio > 0):
        raise ValueError(f"ratio={ratio} must be positive and finite; 0.5 halves the rate")
    periods = _periods(samples + 2 * _EDGE, ratio)
    if not 1 <= length <= (samples + _EDGE) * ratio + 1:
        raise ValueError(
            f"length={length}: {samples} samples at ratio={ratio} are {samples * ratio:.0f}; "
            "use that length"
        )
    # One period: the clip, its reflected end fading out, silence, its reflected start fading in.
    fade = np.cos(np.pi / 2 * (np.arange(_EDGE) + 0.5) / _EDGE) ** 2
    index = np.pad(np.arange(samples), _EDGE, mode="reflect" if samples > 1 else "edge")
    dtype = waveform.dtype
    fade = match_rank(jnp.asarray(fade, dtype), waveform)
    before = waveform[..., index[:_EDGE]] * jnp.flip(fade, axis=-1)
    after = waveform[..., index[-_EDGE:]] * fade
    silence = jnp.zeros((*waveform.shape[:-1], periods.source - samples - 2 * _EDGE), dtype)
    period = jnp.concatenate([waveform, after, silence, before], axis=-1)
    # Without the bin at the Nyquist frequency, which an even period shares between two halves.
    bins = (min(periods) + 1) // 2
    spectrum = batched_fft.rfft(period)[..., :bins]
    wider = [(0, 0)] * (waveform.ndim - 1) + [(0, periods.target // 2 + 1 - bins)]
    resampled = batched_fft.irfft(jnp.pad(spectrum, wider), periods.target)
    # The inverse divides by the target's samples, the forward transform summed the source's.
    return resampled[..., :length] * (periods.target / periods.source)
