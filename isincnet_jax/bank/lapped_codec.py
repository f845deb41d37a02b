"""Codec of a lapped bank: coefficients or tokens of a waveform, and back, a frozen pytree."""

from __future__ import annotations

import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax.bank.lapped_bank import LappedBank
from isincnet_jax.bank.lapped_spec import LappedSpec
from isincnet_jax.bank.uniform_quantizer import UniformQuantizer, make_uniform_quantizer
from isincnet_jax.dsp.settling import settles
from isincnet_jax.linen import TrainedModel
from isincnet_jax.typing import Array, Spectrogram, Waveform

TOKEN_STEP = 1 / 64
"""Step of tokens unless told: some 26 dB of music at -23 LUFS, and exact in binary."""


@functools.partial(jax.jit, static_argnames="model")
def _encode(variables: Any, waveform: Any, *, model: LappedBank) -> jax.Array:
    return model.apply(variables, waveform, method="encode")  # type: ignore[return-value]


@functools.partial(jax.jit, static_argnames=("model", "length"))
def _decode(variables: Any, coefficients: Any, *, model: LappedBank, length: Any) -> jax.Array:
    return model.apply(  # type: ignore[return-value]
        variables, coefficients, length=length, method="decode"
    )


@flax.struct.dataclass(eq=False)
class LappedCodec(TrainedModel[LappedBank]):
    """Codec of a lapped bank, with the step of its tokens.

    A pytree, as :class:`.codec.Codec` is, with the same methods. Its quantizer rounds to one fixed
    step, so that tokens depend on the waveform alone: those of a decoded waveform, written with 16
    bits, are those that it was decoded from, and a shift by a hop moves them by a frame.

    Attributes:
        model: the Linen module, static.
        variables: its parameters; none of a fixed bank.
        name: of the preset it came from.
        step: of its tokens, in units of the coefficients.

    Example:
        >>> import numpy as np
        >>> codec = build_lapped_codec(LappedBank(LappedSpec(sample_rate=8000, hop_length=16)))
        >>> waveform = 0.1 * np.random.default_rng(0).standard_normal((1, 100), np.float32)
        >>> codes = codec.quantizer().encode(codec.encode(waveform))
        >>> again = codec.decode(codec.quantizer().decode(codes), length=100)
        >>> bool((codec.quantizer().encode(codec.encode(again)) == codes).all())
        True
    """

    step: float = flax.struct.field(pytree_node=False, default=TOKEN_STEP)

    @property
    def spec(self) -> LappedSpec:
        """The bank."""
        return self.model.spec

    def encode(self, waveform: Waveform) -> Spectrogram:
        """Coefficients [..., frames, bins] of a waveform [..., time].

        Args:
            waveform: floating samples at ``spec.sample_rate``; NumPy float64 is cast to the
                model's dtype.

        Returns:
            [..., frames, bins] in the model's dtype.

        Raises:
            TypeError: for integers, and for JAX arrays of another dtype.
            ValueError: for an empty waveform.
        """
        return _encode(self.variables, self._cast(waveform), model=self.model)

    @settles
    def decode(self, coefficients: Spectrogram, *, length: int | None = None) -> Waveform:
        """Waveform [..., length] of coefficients [..., frames, bins].

        Args:
            coefficients: as encoded, or dequantised.
            length: samples of the clip that was encoded; the longest with so many frames if None.

        Returns:
            [..., length] in the model's dtype.

        Raises:
            TypeError: for integers, and for JAX arrays of another dtype.
            ValueError: for frames or bins that do not fit.
        """
        return _decode(self.variables, self._cast(coefficients), model=self.model, length=length)

    def quantizer(self, *, step: float | None = None) -> UniformQuantizer:
        """Quantizer of this codec's tokens.

        Args:
            step: positive; the codec's own if None.

        Returns:
            One that rounds to multiples of the step.

        Raises:
            ValueError: for a step that is not positive and finite.
        """
        return make_uniform_quantizer(self.step if step is None else step)

    def num_frames(self, length: int) -> int:
        """Frames of a clip of ``length`` samples.

        Args:
            length: samples, 1 or more.

        Returns:
            Frames, 1 or more.
        """
        return self.spec.num_frames(length)

    def window_angles(self) -> Array:
        """Angles of the window in use, the learned ones if they are learned.

        Returns:
            [N / 2]: float64 of a fixed window, else in the model's dtype.
        """
        if self.model.learnable:
            return self.variables["params"]["angles"]
        return self.spec.window_angles()

    def frame_times_s(self, length: int) -> np.ndarray:
        """Positions of the frames of a clip in seconds: the middles of their blocks.

        Args:
            length: samples, 1 or more.

        Returns:
            float64 [frames], seconds; a last row that holds the rest of a block follows it.
        """
        middle = 0.5 if self.spec.framing == "tiled" else 0.0
        index = np.arange(self.num_frames(length)) + middle
        return index * (self.spec.hop_length / self.spec.sample_rate)


def build_lapped_codec(
    model: LappedBank, *, step: float = TOKEN_STEP, name: str = "custom"
) -> LappedCodec:
    """Codec of a lapped bank, initialised.

    Args:
        model: any LappedBank.
        step: of its tokens, positive.
        name: shown by ``describe``.

    Returns:
        The model with its variables on the default device.

    Example:
        >>> import numpy as np
        >>> codec = build_lapped_codec(LappedBank(LappedSpec(hop_length=64)), step=0.01)
        >>> codec.encode(np.zeros((2, 640), np.float32)).shape, codec.name
        ((2, 10, 64), 'custom')
    """
    variables = {}  # a fixed window is no variable
    if model.learnable:
        like = jnp.zeros((1, model.spec.hop_length), model.dtype)
        variables = jax.jit(model.init)(jax.random.key(0), like)
    return LappedCodec(model, variables, name, make_uniform_quantizer(step).step)
