"""Log spectrogram that InverSynth's networks see: 64 frames of 257 bins a second."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

from isincnet_jax.dsp import checks, fourier
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array, Waveform

SAMPLE_RATE = 16_384
NUM_SAMPLES = 16_384
N_FFT = 512
HOP_LENGTH = 256

_FLOOR = 1e-10  # of powers: -100 dB, below the rounding of float32 spectra of loud sounds
# Of log magnitudes of 4,096 random sounds, which have half of their time gated off.
_MEAN, _SCALE = -7.5, 2.9


@settles
def log_stft(
    waveform: Waveform, *, n_fft: int = N_FFT, hop_length: int = HOP_LENGTH
) -> Float[jax.Array, "... frames bins"]:
    """Scaled logarithms of STFT magnitudes, one frame in the middle of every hop.

    ``(log(|X|^2 + 1e-10) / 2 + 7.5) / 2.9`` with a periodic Hann window of ``n_fft`` samples and
    sum 2, so that a sine of amplitude 1 has ``|X| = 1``. Frame t is centred at ``(t + 1/2) hop``;
    what it reads beyond the ends is 0. The two numbers bring random sounds of the synthesizer
    to about mean 0 and variance 1. Silence is -1.38; its gradient is 0.

    Args:
        waveform: [..., time], floating; its last hop is completed with zeros.
        n_fft: samples per frame, of the hop's parity and not less.
        hop_length: samples between frames.

    Returns:
        [..., ceil(time / hop_length), 1 + n_fft // 2], in the waveform's dtype.

    Raises:
        ValueError: for an empty waveform, or frames that do not fit around the hops.

    References:
        O. Barkan, D. Tsiris, N. Koenigstein and O. Katz, "InverSynth: deep estimation of
            synthesizer parameter configurations from audio signals", IEEE/ACM TASLP 27(12),
            2019, section IV (64 x 257). https://arxiv.org/abs/1812.06349

    Departure:
        The paper gives the size only; frames in the middle of hops make it 64 without cutting.
    """
    if not 1 <= hop_length <= n_fft or (n_fft - hop_length) % 2:
        raise ValueError(
            f"n_fft={n_fft}, hop_length={hop_length}: a frame reaches equally far beyond both ends "
            "of its hop; use an n_fft not below the hop and even or odd as it is"
        )
    waveform = checks.as_waveform(waveform)
    length = waveform.shape[-1]
    # Frame t reaches from t hop - beyond to (t + 1) hop + beyond.
    beyond = (n_fft - hop_length) // 2
    widths = [(0, 0)] * (waveform.ndim - 1) + [(beyond, beyond + -length % hop_length)]
    # A window of sum 2: a sine has half of its amplitude in either of two bins, +f and -f.
    gain = 2.0 / float(fourier.stft_window("hann", n_fft, n_fft).sum())
    return scaled_log(
        fourier.stft_power(
            jnp.pad(jnp.asarray(waveform) * gain, widths),
            n_fft=n_fft,
            hop_length=hop_length,
            center=False,
        )
    )


def scaled_log(power: Float[Array, "..."]) -> Float[jax.Array, "..."]:
    """Scaled logarithm of powers, ``(log(power + 1e-10) / 2 + 7.5) / 2.9``, as of :func:`log_stft`.

    Args:
        power: not negative, of any shape; 1 for a sine of amplitude 1.

    Returns:
        Of the same shape and dtype; -1.38 for silence.
    """
    return (0.5 * jnp.log(jnp.asarray(power) + _FLOOR) - _MEAN) / _SCALE
