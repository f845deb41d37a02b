"""Vocoder of ConvNeXt blocks at the frame rate with an inverse STFT at its end, as Vocos."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array, Waveform
from isincnet_jax.vocoders import blocks
from isincnet_jax.vocoders import compression as vocoder_features
from isincnet_jax.vocoders.networks.network import TrunkNetwork

Prediction: TypeAlias = Literal["spectrum", "phase"]

_LARGEST = 100.0
_SOFT = 1e-8


class ConvNeXtVocoder(TrunkNetwork):
    """Features to the spectrum of an STFT, or magnitudes to their phases, by ConvNeXt blocks.

    A convolution over frames, a norm, ConvNeXt blocks, a norm and a dense layer, all at the frame
    rate; an inverse STFT does the rest. With the defaults (Vocos at 100 mels) it has 13.5 million
    parameters; ``width=256, num_bins=80`` has 3.6 million.

    ``predict="spectrum"``: the dense layer gives log magnitudes (exponential of at most 100) and
    phases (cosine and sine), and features may be anything with the frame grid of the STFT.

    ``predict="phase"``: the features are linear magnitudes of that STFT, which are kept, and the
    network corrects the phases of a start, ``c = u (1 + a + j b)``, ``X = features c / |c|``: u is
    the unit phase of a tone at each bin's centre, or of the spectrum that the caller gives
    (``with_initial=True``), from a phase-gradient method or a few iterations of Griffin-Lim, say.
    The network then sees u relative to the tones, as two more channels per bin. It begins as
    that start: a and b are 0 before training. The output's level is that of the features.

    Frames are centred: an STFT of the output with the same geometry has the grid of the features.

    Attributes:
        num_bins: of the features; ``n_fft // 2 + 1`` for ``predict="phase"``.
        width: features inside.
        num_blocks: ConvNeXt blocks.
        expansion: hidden features of the blocks, as a multiple of the width.
        taps: frames that the kernel of a block spans, odd.
        enter_taps: frames that the first convolution spans, odd; 1 saves most parameters of wide
            inputs.
        n_fft: of the inverse STFT.
        hop_length: samples between frames.
        win_length: samples of the window, ``n_fft`` if None.
        window: a name of :func:`scipy.signal.get_window`.
        predict: "spectrum" or "phase".
        with_initial: whether the caller gives a spectrum to start from.
        compression: "log" of ``max(x, floor)``, or "none" for features that are compressed already.
        floor: of the logarithm.
        dtype: of features and products; parameters are float32.

    Raises:
        ValueError: for arguments out of range or without effect, or features of another shape.

    References:
        H. Siuzdak, "Vocos: closing the gap between time-domain and Fourier-based neural vocoders",
            ICLR 2024, section 3. https://arxiv.org/abs/2306.00814
            Departure: blocks are :class:`.ConvNeXtBlock` (one bias less each, another start);
            frames are centred at multiples of the hop; the bound of magnitudes is inside the
            exponential, where gradients cannot overflow.

    Example:
        >>> model = ConvNeXtVocoder(num_bins=33, width=8, num_blocks=1, n_fft=64, hop_length=16,
        ...                         predict="phase")
        >>> magnitude = jnp.ones((1, 5, 33), jnp.float32)
        >>> jax.eval_shape(model.init_with_output, jax.random.key(0), magnitude)[0].shape
        (1, 80)
    """

    num_bins: int = 100
    width: int = 512
    num_blocks: int = 8
    expansion: int = 3
    taps: int = 7
    enter_taps: int = 7
    n_fft: int = 1024
    hop_length: int = 256
    win_length: int | None = None
    window: str = "hann"
    predict: Prediction = "spectrum"
    with_initial: bool = False
    compression: vocoder_features.Compression = "log"
    floor: float = 1e-5
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Checks the arguments."""
        self._check_trunk()
        self._check_stft()
        vocoder_features.check_compression(self.compression, self.floor)
        self._check_prediction()
        super().__post_init__()

    def _check_prediction(self) -> None:
        if self.predict not in get_args(Prediction):
            raise ValueError(
                f"predict={self.predict!r} is unknown; use {' or '.join(get_args(Prediction))}"
            )
        if self.predict == "phase" and self.num_bins != self.spectrum_bins:
            raise ValueError(
                f"num_bins={self.num_bins}: phases are predicted for the given magnitudes of "
                f"n_fft={self.n_fft}; use num_bins={self.spectrum_bins}"
            )
        if self.with_initial and self.predict != "phase":
            raise ValueError(
                "with_initial=True has no effect with predict='spectrum'; use predict='phase'"
            )

    @property
    def stft(self) -> dict[str, Any] | None:
        """STFT that the features have to be of, if their magnitudes are kept."""
        return self._magnitudes if self.predict == "phase" else None

    @nn.compact
    def spectrum(
        self,
        features: Float[Array, "batch frames bins"],
        *,
        initial: Complex[Array, "batch frames bins"] | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Spectrum that is inverted, as of :func:`.fourier.stft`.

        Args:
            features: [batch, frames, num_bins].
            initial: spectrum to start from, of the shape of the features; if ``with_initial``.

        Returns:
            Real and imaginary parts, [batch, frames, n_fft // 2 + 1].

        Raises:
            ValueError: for other bins, no frames, or an initial spectrum that does not fit.
        """
        shown = self._input(features, compression=self.compression, floor=self.floor)
        self._check_initial(features, initial)
        start: tuple[Any, Any] = (1.0, 0.0)
        tones = self._tones(shown.shape[1])
        if initial is not None:
            start = _unit(
                jnp.real(initial).astype(self.dtype), jnp.imag(initial).astype(self.dtype)
            )
            # u conj(tone): the phase of the start as seen from the bin's centre.
            relative = _turned(start, (tones[0], -tones[1]))
            shown = jnp.concatenate([shown, *relative], axis=-1)
        first, second = jnp.split(self._network(shown), 2, axis=-1)
        if self.predict == "spectrum":
            # X = min(exp(m), 100) (cos p + j sin p), as Vocos.
            magnitude = blocks.bounded_exp(first, _LARGEST)
            return magnitude * jnp.cos(second), magnitude * jnp.sin(second)
        # c = u (1 + a + j b), X = features c / |c|.
        real, imag = _unit(*_turned(tones if initial is None else start, (1.0 + first, second)))
        magnitude = jnp.asarray(features).astype(self.dtype)
        return magnitude * real, magnitude * imag

    @settles
    def __call__(
        self,
        features: Float[Array, "batch frames bins"],
        *,
        initial: Complex[Array, "batch frames bins"] | None = None,
        length: int | None = None,
        train: bool = False,
    ) -> Waveform:
        """Waveform of features.

        Args:
            features: [batch, frames, bins]; linear magnitudes for ``predict="phase"``.
            initial: spectrum to start from, [batch, frames, n_fft // 2 + 1], if ``with_initial``.
                Only its phases count; where it is 0 there is none, and the result is 0.
            length: samples; ``frames * hop_length`` if None. A clip of n samples has ``1 + n //
                hop_length`` centred frames: give n to get as many samples.
            train: has no effect; every vocoder takes it.

        Returns:
            [batch, length], ``dtype``.

        Raises:
            ValueError: for other bins, no frames, or an initial spectrum that does not fit.
        """
        return self._called(features, length=length, train=train, initial=initial)

    def _waveform(
        self, features: Any, *, length: int, train: bool, initial: Any = None
    ) -> Waveform:
        del train
        return self._synthesize(*self.spectrum(features, initial=initial), length=length)

    def _network(self, hidden: jax.Array) -> jax.Array:
        correcting = self.predict == "phase"
        start = nn.initializers.zeros if correcting else nn.initializers.normal(0.02)
        leave = nn.Dense(2 * self.spectrum_bins, kernel_init=start, dtype=self.dtype, name="leave")
        return leave(self._trunk(hidden))

    def _tones(self, num_frames: int) -> tuple[jax.Array, jax.Array]:
        """Unit phases of tones at the bins' centres that have phase 0 at sample 0."""
        # Frame t, bin k: 2 pi k (t hop - n_fft / 2) / n_fft.
        samples = np.arange(num_frames)[:, None] * self.hop_length
        # Whole turns are taken out in integers. Frames start half an n_fft before their middles.
        cycles = (samples - self.n_fft // 2) * np.arange(self.spectrum_bins) % self.n_fft
        angle = 2 * np.pi * cycles / self.n_fft
        return jnp.asarray(np.cos(angle)[None], self.dtype), jnp.asarray(
            np.sin(angle)[None], self.dtype
        )

    def _check_initial(self, features: Any, initial: Any) -> None:
        if (initial is not None) != self.with_initial:
            given = "none is given" if initial is None else "one is given"
            raise ValueError(f"with_initial={self.with_initial}, but {given} as initial=...")
        if initial is not None and (
            initial.shape != features.shape
            or not jnp.issubdtype(initial.dtype, jnp.complexfloating)
        ):
            raise ValueError(
                f"initial is {initial.dtype} {initial.shape}: complex coefficients of the shape of "
                f"the magnitudes, {features.shape}, are expected"
            )


def _turned(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[jax.Array, jax.Array]:
    """Product of two complex arrays in parts."""
    return one[0] * other[0] - one[1] * other[1], one[0] * other[1] + one[1] * other[0]


def _unit(real: jax.Array, imag: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A complex array over its modulus, softened at 1e-4 so that gradients stay below 1e4."""
    factor = lax.rsqrt(real**2 + imag**2 + _SOFT)
    return real * factor, imag * factor
