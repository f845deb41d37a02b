"""Statistics of training clips, from which closed-form (Wiener) decoders follow."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.dsp import covariance
from isincnet_jax.bank.quantizer import Quantizer
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp.settling import settles

_QUIETEST = 1e-12


@settles
def measured_noise(
    clips: Float[np.ndarray, "clips time"], *, spec: FilterbankSpec, q_bits: int, mu: float = 30.0
) -> Float[np.ndarray, " channels"]:
    """Quantisation noise per channel: mean squared error of the symmetric code on clips.

    Args:
        clips: [clips, time] at the spec's rate; each is coded with its own peaks as scales.
        spec: the bank.
        q_bits: 2 to 16.
        mu: of the companding.

    Returns:
        float64 [channels].
    """
    filters = jnp.asarray(spec.bank.filters, jnp.float32)

    @jax.jit
    def squared_error(clip: jax.Array) -> jax.Array:
        spectrogram = spec.bank.analyse(clip, filters)
        quantizer = Quantizer(np.ones((1,), np.float32), q_bits, mu).fit(spectrogram)
        # e_c^2, the mean over frames of a clip, and below over clips: [channels]
        error = quantizer.decode(quantizer.encode(spectrogram)) - spectrogram
        return jnp.mean(error**2, axis=-2)

    rows = np.atleast_2d(np.asarray(clips, np.float32))
    return np.mean([np.asarray(squared_error(row), np.float64) for row in rows], axis=0)


@settles
def measured_wiener(
    clips: Float[np.ndarray, "clips time"],
    *,
    spec: FilterbankSpec,
    q_bits: int | None = None,
    mu: float = 30.0,
    num_frames: int | None = None,
    noise_db: float = -100.0,
) -> DecoderSpec:
    """Wiener decoder of a corpus: the best linear one for its autocovariance and code noise.

    Args:
        clips: training clips [clips, time] at the spec's rate and at one level, -23 LUFS say.
        spec: the bank.
        q_bits: of the codes to be decoded; None for unquantised coefficients.
        mu: of their companding.
        num_frames: frame taps; the decoder's default if None.
        noise_db: white noise on unquantised coefficients, relative to the mean variance of the
            channels: what keeps a bank without an inverse from amplifying rounding errors.

    Returns:
        ``DecoderSpec(kind="wiener", ...)``: plain numbers, hashable, storable.
    """
    kernels = spec.bank.kernels
    frames = num_frames or 2 * -(-kernels.shape[1] // spec.hop_length) + 4
    # Lags between the first and the last sample that these frames see.
    count = (frames - 1) * spec.hop_length + kernels.shape[1]
    lags = covariance.measured_autocovariance(clips, num_lags=count)
    variances = covariance.channel_variances(kernels, lags)
    if q_bits is None:
        noise = np.full(spec.num_channels, 10 ** (noise_db / 10) * float(np.mean(variances)))
    else:
        noise = measured_noise(clips, spec=spec, q_bits=q_bits, mu=mu)
    # -120 dB of the mean at least: silent channels have no noise, and a singular matrix.
    noise = np.maximum(noise, _QUIETEST * float(np.mean(variances)))
    return DecoderSpec(
        kind="wiener",
        num_frames=num_frames,
        autocovariance=tuple(map(float, lags)),
        noise_variance=tuple(map(float, noise)),
    )
