"""Targets of an optimised bank: losses that see the bank through its solved decoder.

Each has a smooth loss of coefficients and decoder, for the descent, and a figure that is measured
with a codec in float32, for the certificate.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.bank.dsp import coding_costs
from isincnet_jax.bank.dsp.differentiable_inverse import Inverse
from isincnet_jax.bank.quantizer import Quantizer
from isincnet_jax.dsp import companding
from isincnet_jax.typing import Spectrogram, Waveform

UserTarget = Callable[[Spectrogram, Callable[[Spectrogram], Waveform]], jax.Array]
_STEP_ROUNDS, _FAR_DB = 8, 20.0
_TINY, _LEAST_NOISE = 1e-30, 1e-6


@dataclasses.dataclass(frozen=True)
class Bank:
    """A bank in use, differentiable.

    Attributes:
        hop_length: samples between frames.
        invert: noise variances of the channels [channels] to the decoder of least noise.
        decode: coefficients to a waveform, by the decoder for equal noise.
    """

    hop_length: int
    invert: Callable[[jax.Array], Inverse]
    decode: Callable[[Spectrogram], Waveform]


class Target(Protocol):
    """What a bank is optimised for."""

    unit: ClassVar[str]
    better: ClassVar[int]
    """1 where more is better, -1 where less is."""

    def loss(self, spectrogram: Spectrogram, power: jax.Array, bank: Bank) -> jax.Array:
        """Smooth loss of coefficients [clips, frames, channels] of clips of a power [clips]."""
        ...

    def noise(self, spectrogram: Spectrogram, power: jax.Array) -> jax.Array | None:
        """Variances that the decoder should know of, [channels]; None if they are equal."""
        ...

    def measure(self, codec: Any, clips: np.ndarray) -> float:
        """The figure of a codec on clips [clips, time]."""
        ...


def _pooled(noise: jax.Array, power: jax.Array) -> jax.Array:
    """Variances [channels] of noise [clips, channels], of clips of power 1."""
    pooled = jnp.mean(noise / power[:, None], axis=0)
    # -60 dB of the mean at least: a channel that is silent here is not to be trusted alone.
    return jnp.maximum(pooled, _LEAST_NOISE * jnp.mean(pooled))


def _noise_loss(noise: jax.Array, power: jax.Array, bank: Bank) -> jax.Array:
    """Minus the mean SNR in dB, of noise of variances [clips, channels]."""
    pooled = _pooled(noise, power)
    found = bank.invert(pooled)
    # Sum_c n_c |g_c|^2 / hop, and what a decoder that is not exact yet misses, per clip
    heard = jnp.matmul(noise, found.energies(bank.hop_length), precision="highest")
    heard = heard + found.bias * jnp.mean(noise, axis=-1) / jnp.mean(pooled)
    return -10 * jnp.mean(jnp.log10(power / heard))


def snr_db(found: Any, clips: np.ndarray) -> Float[np.ndarray, " clips"]:
    """Signal-to-noise ratios of clips, in float64.

    Args:
        found: reconstructions [clips, time].
        clips: what they should be.

    Returns:
        dB, finite, [clips].
    """
    error = np.sum((np.asarray(found, np.float64) - clips) ** 2, axis=-1) + _TINY
    return 10 * np.log10((np.sum(np.asarray(clips, np.float64) ** 2, axis=-1) + _TINY) / error)


def _mean_snr_db(found: Any, clips: np.ndarray) -> float:
    return float(np.mean(snr_db(found, clips)))


@dataclasses.dataclass(frozen=True)
class SnrAtBits:
    """SNR of coefficients of a few bits, with the peaks of each clip and channel as scales.

    Attributes:
        q_bits: 2 to 16.
    """

    q_bits: int
    unit: ClassVar[str] = "dB"
    better: ClassVar[int] = 1

    def loss(self, spectrogram: Spectrogram, power: jax.Array, bank: Bank) -> jax.Array:
        """Minus the SNR by :func:`.coding_costs.companding_noise`."""
        noise = coding_costs.companding_noise(spectrogram, q_bits=self.q_bits)
        return _noise_loss(noise, power, bank)

    def noise(self, spectrogram: Spectrogram, power: jax.Array) -> jax.Array:
        """Variances of the quantisation noise, of clips of power 1."""
        noise = coding_costs.companding_noise(spectrogram, q_bits=self.q_bits)
        return _pooled(noise, power)

    def measure(self, codec: Any, clips: np.ndarray) -> float:
        """Mean SNR of the clips with the quantiser itself."""
        spectrogram = codec.encode(clips)
        quantizer = Quantizer(np.ones(1, np.float32), self.q_bits).fit(spectrogram)
        values = quantizer.decode(quantizer.encode(spectrogram))
        return _mean_snr_db(codec.decode(values, length=clips.shape[-1]), clips)


@dataclasses.dataclass(frozen=True)
class SnrOfNoise:
    """SNR of coefficients with white noise that is so many dB below their mean power.

    Attributes:
        noise_db: SNR of the coefficients.
    """

    noise_db: float
    unit: ClassVar[str] = "dB"
    better: ClassVar[int] = 1

    def _level(self, spectrogram: Spectrogram) -> jax.Array:
        return jnp.mean(spectrogram**2, axis=(-2, -1)) * 10 ** (-self.noise_db / 10)

    def loss(self, spectrogram: Spectrogram, power: jax.Array, bank: Bank) -> jax.Array:
        """Minus the SNR, by the noise gain of the decoder."""
        ones = jnp.ones(spectrogram.shape[-1], spectrogram.dtype)
        return _noise_loss(self._level(spectrogram)[:, None] * ones, power, bank)

    def noise(self, spectrogram: Spectrogram, power: jax.Array) -> None:
        """None: all channels have the same."""
        return

    def measure(self, codec: Any, clips: np.ndarray) -> float:
        """Mean SNR of the clips, of seeded noise."""
        spectrogram = codec.encode(clips)
        noise = jax.random.normal(jax.random.key(0), spectrogram.shape, spectrogram.dtype)
        noise = noise * jnp.sqrt(self._level(spectrogram))[:, None, None]
        return _mean_snr_db(codec.decode(spectrogram + noise, length=clips.shape[-1]), clips)


@dataclasses.dataclass(frozen=True)
class BitsAtSnr:
    """Bits per sample at an SNR, of coefficients rounded to one step for each clip.

    Attributes:
        snr_db: to be reached.
    """

    snr_db: float
    unit: ClassVar[str] = "bits per sample"
    better: ClassVar[int] = -1

    def _rate(self, steps: Spectrogram, hop_length: int) -> jax.Array:
        bits = coding_costs.coding_bits(steps)
        return jnp.mean(bits) * (steps.shape[-1] / hop_length)

    def loss(self, spectrogram: Spectrogram, power: jax.Array, bank: Bank) -> jax.Array:
        """Bits by :func:`.coding_costs.coding_bits`, the step by the noise gain."""
        found = bank.invert(jnp.ones(spectrogram.shape[-1], spectrogram.dtype))
        gain = jnp.sum(found.energies(bank.hop_length)) + found.bias
        # step^2 / 12 gain = power 10^(-SNR / 10)
        step = jnp.sqrt(12 * power * 10 ** (-self.snr_db / 10) / gain)
        return self._rate(spectrogram / step[:, None, None], bank.hop_length)

    def noise(self, spectrogram: Spectrogram, power: jax.Array) -> None:
        """None: all channels have the same."""
        return

    def measure(self, codec: Any, clips: np.ndarray) -> float:
        """Bits of rounded coefficients at the step that gives the SNR after decoding."""
        spectrogram = codec.encode(clips)
        step = jnp.sqrt(12 * jnp.mean(clips**2, axis=-1) * 10 ** (-self.snr_db / 10))
        codes = spectrogram
        for _ in range(_STEP_ROUNDS):
            codes = jnp.round(spectrogram / step[:, None, None])
            found = codec.decode(codes * step[:, None, None], length=clips.shape[-1])
            beyond = np.clip(snr_db(found, clips) - self.snr_db, -_FAR_DB, _FAR_DB)
            # The error is in proportion to the step, as long as few codes are 0.
            step = step * jnp.asarray(10 ** (beyond / 20), step.dtype)
        return float(self._rate(codes, codec.spec.hop_length))


@dataclasses.dataclass(frozen=True)
class OfUser:
    """A user's own function, to be made small.

    Attributes:
        function: ``(spectrogram, decode)`` to a number; ``decode(values)`` is the reconstruction
            from any coefficients.
    """

    function: UserTarget
    unit: ClassVar[str] = ""
    better: ClassVar[int] = -1

    def loss(self, spectrogram: Spectrogram, power: jax.Array, bank: Bank) -> jax.Array:
        """The function's value."""
        return self.function(spectrogram, bank.decode)

    def noise(self, spectrogram: Spectrogram, power: jax.Array) -> None:
        """None: what the function adds is not known."""
        return

    def measure(self, codec: Any, clips: np.ndarray) -> float:
        """The function's value for the codec."""
        decode = functools.partial(codec.decode, length=clips.shape[-1])
        return float(self.function(codec.encode(clips), decode))


_NAMED: tuple[tuple[str, Callable[[str], Target]], ...] = (
    (r"bits at ([\d.]+) dB", lambda number: BitsAtSnr(float(number))),
    (r"SNR at (\d+) bits", lambda number: SnrAtBits(companding.check_q_bits(int(number)))),
    (r"noise of ([\d.]+) dB", lambda number: SnrOfNoise(float(number))),
)


def settle_target(target: str | UserTarget) -> Target:
    """Target of a name or of a function.

    Args:
        target: "bits at 25 dB", "SNR at 4 bits", "noise of 20 dB", with any numbers; or a function.

    Returns:
        The target.

    Raises:
        ValueError: for an unknown name, and bits that no quantiser has.

    Example:
        >>> settle_target("SNR at 4 bits")
        SnrAtBits(q_bits=4)
    """
    if callable(target):
        return OfUser(target)
    for pattern, make in _NAMED:
        found = re.fullmatch(pattern, str(target).strip())
        if found:
            return make(found[1])
    raise ValueError(
        f"target={target!r} is unknown; use 'bits at 25 dB', 'SNR at 4 bits', 'noise of 20 dB', or "
        "a function of (spectrogram, decode)"
    )


def power_of(clips: Float[Any, "clips time"]) -> Float[Any, " clips"]:
    """Mean squares of clips, never 0.

    Args:
        clips: [clips, time].

    Returns:
        [clips].
    """
    return jnp.mean(clips**2, axis=-1) + _TINY
