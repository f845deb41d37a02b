"""PCEN layer: per-channel energy normalisation, fixed or trained per band."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from isincnet_jax.dsp import checks
from isincnet_jax.linen import SettledModule
from isincnet_jax.spectrograms.dsp import pcen
from isincnet_jax.typing import Array

# Trained logarithms count up to here, far beyond what any of them means and within float32.
_LARGEST_LOGARITHM = 15.0


class PCEN(SettledModule):
    """Per-channel energy normalisation of a spectrogram: ``librosa.pcen``, trainable if asked.

    ``(e / (eps + m)^gain + bias)^power - bias^power`` with m the energies e smoothed along the
    frames, see :func:`.pcen.pcen`. The frames are those of the input.

    Trained parameters are one number per band, float32 [bins], in forms that keep them valid:
    ``log_gain``, ``log_bias`` and ``log_power`` stay positive, ``logit_smoothing`` between 0 and 1.
    Gains and powers count up to 1, or to where they start if that is more, as in LEAF, and all
    logarithms from -15 to 15; beyond, values are those of the limit and gradients 0.

    Attributes:
        sample_rate: Hz, of the waveform; with ``hop_length`` it tells the frame rate.
        hop_length: samples between frames.
        gain: strength of the gain control, 0 or more.
        bias: 0 or more.
        power: exponent of the compression, 0 or more; 0 is the logarithm.
        time_constant: of the smoothing, seconds; 0.4 if None.
        eps: floor of the gain control, positive.
        b: the smoothing itself, 0 to 1, in place of the one that ``time_constant`` gives.
        initial_state: the smoothed energy before the first frame: "one" (librosa) or "first", the
            energy of the first frame (Wang et al., LEAF).
        trainable: whether gain, bias, power and smoothing are parameters; all positive then.

    Raises:
        ValueError: for numbers out of range.

    References:
        Y. Wang et al., "Trainable frontend for robust and far-field keyword spotting", ICASSP
            2017, section 3. https://arxiv.org/abs/1607.05666
        N. Zeghidour et al., "LEAF: a learnable frontend for audio classification", ICLR 2021.
            https://arxiv.org/abs/2101.08596
        Departure: LEAF clips its parameters themselves to valid ranges; here their logarithms.

    Example:
        >>> PCEN().apply({}, jnp.ones((2, 100, 40), jnp.float32)).shape
        (2, 100, 40)
    """

    sample_rate: float = 22_050
    hop_length: int = 512
    gain: float = 0.98
    bias: float = 2.0
    power: float = 0.5
    time_constant: float | None = None
    eps: float = 1e-6
    b: float | None = None
    initial_state: pcen.InitialState = "one"
    trainable: bool = False

    def __post_init__(self) -> None:
        """Checks the arguments."""
        for name in ("gain", "bias", "power"):
            value = getattr(self, name)
            lowest = "above 0 to be trained" if self.trainable else "0 or more"
            if not math.isfinite(value) or value < 0 or (self.trainable and value == 0):
                raise ValueError(f"{name}={value} must be finite and {lowest}")
        if self.eps <= 0:
            raise ValueError(f"eps={self.eps} must be positive, say 1e-6")
        if self.initial_state not in pcen.INITIAL_STATES:
            raise ValueError(
                f"initial_state={self.initial_state!r} is unknown; use one of "
                f"{', '.join(pcen.INITIAL_STATES)}"
            )
        if not 0 <= self.smoothing <= 1 or (self.trainable and self.smoothing in (0, 1)):
            raise ValueError(
                f"b={self.b} must be 0 to 1, and in between to be trained; leave it out for the "
                "smoothing that time_constant gives"
            )
        super().__post_init__()

    @property
    def smoothing(self) -> float:
        """Smoothing coefficient b at the start of a training: ``b``, or that of ``time_constant``.

        Raises:
            ValueError: if both are given, or for a rate or hop that is not positive.
        """
        if self.b is not None:
            if self.time_constant is not None:
                raise ValueError(
                    f"time_constant={self.time_constant} and b={self.b}: both tell the smoothing; "
                    "leave one out"
                )
            return self.b
        if self.sample_rate <= 0 or self.hop_length <= 0:
            raise ValueError(
                f"sample_rate={self.sample_rate} and hop_length={self.hop_length} must be positive"
            )
        return pcen.smoothing_from_time(
            0.4 if self.time_constant is None else self.time_constant,
            frame_rate_hz=self.sample_rate / self.hop_length,
        )

    @nn.compact
    def __call__(
        self, energies: Float[Array, "... frames bins"]
    ) -> Float[jax.Array, "... frames bins"]:
        """Per-channel energy normalisation of a spectrogram.

        Args:
            energies: [..., frames, bins], floating and not negative; librosa advises magnitudes
                times 2**31.

        Returns:
            [..., frames, bins], the dtype of the energies.

        Raises:
            TypeError: for integers.
            ValueError: for fewer than two axes.
        """
        energies = checks.as_floating(energies, "energies")
        if energies.ndim < 2 or energies.shape[-2] < 1:
            raise ValueError(
                f"energies.shape={tuple(energies.shape)} must end in 1 frame or more, and bins"
            )
        values: dict[str, Any] = {"gain": self.gain, "bias": self.bias, "power": self.power}
        smoothing: Any = self.smoothing
        if self.trainable:
            bins = energies.shape[-1]
            # exp(clip(log p, -15, log limit)): outside, the value is that of the limit and the
            # gradient 0. Gains and powers are limited to 1 or their start, the bias to e^15.
            highest = {name: max(value, 1.0) for name, value in values.items()}
            highest["bias"] = math.exp(_LARGEST_LOGARITHM)
            values = {
                name: jnp.exp(
                    jnp.clip(
                        self._start(f"log_{name}", math.log(value), bins),
                        -_LARGEST_LOGARITHM,
                        math.log(highest[name]),
                    )
                )
                for name, value in values.items()
            }
            # b = 1 / (1 + exp(-logit)), the inverse of log(b / (1 - b)).
            logit = self._start("logit_smoothing", math.log(smoothing / (1.0 - smoothing)), bins)
            smoothing = jax.nn.sigmoid(jnp.clip(logit, -_LARGEST_LOGARITHM, _LARGEST_LOGARITHM))
        return pcen.pcen(
            energies,
            smoothing=smoothing,
            eps=self.eps,
            initial_state=self.initial_state,
            **values,
        )

    def _start(self, name: str, value: float, bins: int) -> jax.Array:
        return self.param(name, lambda key: jnp.full((bins,), value, jnp.float32))
