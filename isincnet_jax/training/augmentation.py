"""Augmentation of waveforms in JAX, inside the training step.

Every clip draws from its own key, which is folded from the step's key and the clip's index in
the *global* batch: one device or eight, the same clips come out.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from isincnet_jax.dsp import checks, settling

_DECAY_60_DB = 6.907755278982137  # ln(1000)
_PROBABILITIES = ("reversal", "polarity", "gain", "impulse_response", "noise", "requantize")
_RANGES = ("impulse_decay_s", "impulse_level_db", "gain_db", "noise_snr_db", "requantize_bits")


@dataclasses.dataclass(frozen=True)
class AugmentationSpec:
    """Augmentation of training clips, in this order; everything is off by default.

    Attributes:
        reversal: probability that a clip is reversed in time.
        polarity: probability that its sign is flipped.
        impulse_response: probability of a synthetic room: the clip plus exponentially decaying
            noise, at the clip's own level.
        impulse_decay_s: shortest and longest decay by 60 dB.
        impulse_level_db: lowest and highest energy of the room relative to the direct sound.
        gain: probability of another level.
        gain_db: lowest and highest gain; peaks stay at or below 1.
        noise: probability of white noise.
        noise_snr_db: lowest and highest signal-to-noise ratio.
        requantize: probability of the noise of a coarse uniform quantiser.
        requantize_bits: fewest and most bits of it.
        silent_items: the first so many clips of each global batch become silence, as in
            iSincNet.

    Raises:
        ValueError: for probabilities outside [0, 1] and ranges that end before they begin.
    """

    reversal: float = 0.0
    polarity: float = 0.0
    impulse_response: float = 0.0
    impulse_decay_s: tuple[float, float] = (0.1, 0.6)
    impulse_level_db: tuple[float, float] = (-20.0, 0.0)
    gain: float = 0.0
    gain_db: tuple[float, float] = (-12.0, 6.0)
    noise: float = 0.0
    noise_snr_db: tuple[float, float] = (20.0, 60.0)
    requantize: float = 0.0
    requantize_bits: tuple[int, int] = (8, 16)
    silent_items: int = 0

    def __post_init__(self) -> None:
        settling.settle_fields(self)
        for name in _PROBABILITIES:
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"augmentation {name}={value}: a probability is 0 to 1")
        for name in _RANGES:
            value = getattr(self, name)
            is_pair = isinstance(value, (tuple, list)) and len(value) == 2
            if not is_pair or not value[0] <= value[1]:
                raise ValueError(f"augmentation {name}={value}: give (lowest, highest)")
            object.__setattr__(self, name, tuple(value))
        if self.silent_items < 0:
            raise ValueError(f"augmentation silent_items={self.silent_items} must be >= 0")
        if self.impulse_decay_s[0] <= 0:
            raise ValueError(f"augmentation impulse_decay_s={self.impulse_decay_s} must be > 0")


def augment(
    waveform: Float[jax.Array, "batch time"],
    key: jax.Array,
    *,
    spec: AugmentationSpec,
    first_index: int | Int[jax.Array, ""],
    sample_rate: int,
) -> Float[jax.Array, "batch time"]:
    """Augments clips, each by its own random choices.

    Args:
        waveform: [batch, time].
        key: of the step; the same on all devices.
        spec: what to do.
        first_index: index of the first clip within the global batch.
        sample_rate: Hz.

    Returns:
        [batch, time] in the dtype of the input.
    """
    waveform = checks.as_waveform(waveform)
    # The key of a clip depends on its place in the batch of all devices, not on its device.
    index = jnp.asarray(first_index, jnp.int32) + jnp.arange(waveform.shape[0], dtype=jnp.int32)
    keys = jax.vmap(lambda item: jax.random.fold_in(key, item))(index)

    def one(clip: jax.Array, clip_key: jax.Array, item: jax.Array) -> jax.Array:
        clip = _augment_clip(clip, clip_key, spec, sample_rate)
        return jnp.where(item < spec.silent_items, 0.0, clip) if spec.silent_items else clip

    return jax.vmap(one)(waveform, keys, index)


def _augment_clip(
    clip: jax.Array, key: jax.Array, spec: AugmentationSpec, sample_rate: int
) -> jax.Array:
    changes = {
        "reversal": lambda x, k: x[::-1],
        "polarity": lambda x, k: -x,
        "impulse_response": lambda x, k: _add_room(x, k, spec, sample_rate),
        "gain": lambda x, k: _change_level(x, k, spec.gain_db),
        "noise": lambda x, k: _add_noise(x, k, spec.noise_snr_db),
        "requantize": lambda x, k: _requantize(x, k, spec.requantize_bits),
    }
    for number, (name, change) in enumerate(changes.items()):
        probability = getattr(spec, name)
        if probability == 0.0:
            continue
        # Numbered keys: what one change draws does not depend on which others are on.
        coin, own = jax.random.split(jax.random.fold_in(key, number))
        changed = change(clip, own)
        # Computed in any case: under vmap a branch would be too.
        happens = jax.random.bernoulli(coin, probability)
        clip = jnp.where(happens, changed, clip)
    return clip


def _uniform(key: jax.Array, limits: tuple[float, float], dtype: jnp.dtype) -> jax.Array:
    return jax.random.uniform(key, (), dtype, limits[0], limits[1])


def _amplitude(level_db: jax.Array) -> jax.Array:
    return 10.0 ** (level_db / 20.0)


def _root_mean_square(clip: jax.Array) -> jax.Array:
    """0 for silence, with the gradient 0."""
    power = jnp.mean(clip**2)
    is_audible = power > 0.0
    # sqrt sees 1 where the power is 0: its derivative at 0 is infinite, and 0 times that NaN.
    return jnp.where(is_audible, jnp.sqrt(jnp.where(is_audible, power, 1.0)), 0.0)


def _change_level(clip: jax.Array, key: jax.Array, gain_db: tuple[float, float]) -> jax.Array:
    # The gain is at most 1 / peak, or 1 for a clip that is beyond full scale already.
    peak = jnp.max(jnp.abs(clip))
    room = 1.0 / jnp.maximum(peak, 1e-6)
    gain = _amplitude(_uniform(key, gain_db, clip.dtype))
    return clip * jnp.minimum(gain, jnp.maximum(room, 1.0))


def _add_noise(clip: jax.Array, key: jax.Array, snr_db: tuple[float, float]) -> jax.Array:
    level_key, noise_key = jax.random.split(key)
    # rms(noise) = rms(clip) 10^(-SNR / 20): silence stays silent
    level = _root_mean_square(clip) * _amplitude(-_uniform(level_key, snr_db, clip.dtype))
    return clip + level * jax.random.normal(noise_key, clip.shape, clip.dtype)


def _requantize(clip: jax.Array, key: jax.Array, bits: tuple[int, int]) -> jax.Array:
    drawn = jax.random.randint(key, (), bits[0], bits[1] + 1)
    half = 2.0 ** (drawn.astype(clip.dtype) - 1.0)
    # Steps of 2^(1 - bits): so many bits cover [-1, 1).
    return jnp.round(clip * half) / half


def _add_room(
    clip: jax.Array, key: jax.Array, spec: AugmentationSpec, sample_rate: int
) -> jax.Array:
    """Convolves with 1 + decaying noise; the result has the clip's energy."""
    decay_key, level_key, noise_key = jax.random.split(key, 3)
    taps = min(int(spec.impulse_decay_s[1] * sample_rate), clip.shape[0])
    time_s = jnp.arange(taps, dtype=clip.dtype) / sample_rate
    decay_s = _uniform(decay_key, spec.impulse_decay_s, clip.dtype)
    tail = jax.random.normal(noise_key, (taps,), clip.dtype)
    # exp(-t ln(1000) / T): an amplitude of a thousandth, -60 dB, after T
    tail *= jnp.exp(-time_s * (_DECAY_60_DB / decay_s))
    level = _amplitude(_uniform(level_key, spec.impulse_level_db, clip.dtype))
    # ||tail|| = 10^(level_db / 20): its energy relative to the direct sound's, a single 1
    tail *= level / jnp.maximum(jnp.sqrt(jnp.sum(tail**2)), 1e-6)
    # Linear convolution: FFTs of a power of 2 above the time + taps - 1 samples of the result.
    size = 1 << (clip.shape[0] + taps - 1).bit_length()
    spectrum = jnp.fft.rfft(clip, size) * jnp.fft.rfft(tail, size)
    wet = clip + jnp.fft.irfft(spectrum, size)[: clip.shape[0]]
    return wet * (_root_mean_square(clip) / jnp.maximum(_root_mean_square(wet), 1e-6))
