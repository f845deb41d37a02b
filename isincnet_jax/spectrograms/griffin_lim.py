"""Griffin-Lim layer: magnitudes of an STFT to a waveform."""

from __future__ import annotations

import math

import jax
from jaxtyping import Float

from isincnet_jax.dsp import centering, checks, fourier
from isincnet_jax.dsp.settling import settles
from isincnet_jax.linen import SettledModule
from isincnet_jax.phase import iterations, retrieval
from isincnet_jax.typing import Array, Waveform


class GriffinLim(SettledModule):
    """Griffin-Lim phase retrieval with momentum, ``librosa.griffinlim`` and its fast form.

    Without a PRNG key the start has phase 0, with one a random phase: nothing depends on hidden
    state. See :func:`.retrieval.griffin_lim`.

    Attributes:
        n_fft: samples per frame.
        n_iter: iterations of one synthesis and one analysis each.
        hop_length: samples between frames; a quarter of the window if None.
        win_length: samples of the window, ``n_fft`` if None.
        window: a name of :func:`scipy.signal.get_window`.
        center: whether the frames are centred.
        pad_mode: what lies beyond the ends of centred frames, as in the STFT that the magnitudes
            come from: "reflect", "constant" (librosa's default), "edge" or "symmetric".
        momentum: 0 for the original algorithm, 0.99 for the fast one; above 1 it may diverge.

    Raises:
        ValueError: for arguments out of range.

    References:
        D. Griffin and J. Lim, "Signal estimation from modified short-time Fourier transform",
            IEEE Trans. ASSP 32, 1984. https://doi.org/10.1109/TASSP.1984.1164317
        N. Perraudin, P. Balazs and P. Sondergaard, "A fast Griffin-Lim algorithm", WASPAA 2013.
            https://doi.org/10.1109/WASPAA.2013.6701851

    Example:
        >>> import jax.numpy as jnp
        >>> layer = GriffinLim(n_fft=512, n_iter=4)
        >>> layer.apply({}, jnp.ones((2, 20, 257), jnp.float32), key=jax.random.key(0)).shape
        (2, 2432)
    """

    n_fft: int = 2048
    n_iter: int = 32
    hop_length: int | None = None
    win_length: int | None = None
    window: str = "hann"
    center: bool = True
    pad_mode: str = "reflect"
    momentum: float = 0.99

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.check_positive_integers(n_fft=self.n_fft, win_length=self.win_length)
        win_length = fourier.checked_win_length(self.win_length, self.n_fft)
        fourier.stft_window(self.window, win_length, self.n_fft)
        centering.check_framing(
            frame_length=self.n_fft, hop_length=self.hop, pad_mode=self.pad_mode
        )
        iterations.check_iterations(self.n_iter)
        if not (self.momentum >= 0 and math.isfinite(self.momentum)):
            raise ValueError(f"momentum={self.momentum} must not be negative; use 0 to 1, say 0.99")
        super().__post_init__()

    @property
    def hop(self) -> int:
        """Hop length in samples: ``hop_length``, or a quarter of the window."""
        if self.hop_length is not None:
            return self.hop_length
        return max(1, fourier.checked_win_length(self.win_length, self.n_fft) // 4)

    @settles
    def __call__(
        self,
        magnitude: Float[Array, "... frames bins"],
        *,
        length: int | None = None,
        key: jax.Array | None = None,
    ) -> Waveform:
        """Phase retrieval: a waveform whose STFT has the given magnitudes.

        Args:
            magnitude: [..., frames, 1 + n_fft // 2], floating and not negative.
            length: samples of the waveform, as many as the frames reach if None. Those of the clip
                that the magnitudes are of are best.
            key: PRNG key of a random start; phase 0 if None.

        Returns:
            [..., length].

        Raises:
            TypeError: for magnitudes that are not floating.
            ValueError: for magnitudes of another transform, or a length with other frames.
        """
        checks.check_floating(magnitude, "magnitude")
        bins = 1 + self.n_fft // 2
        if magnitude.ndim < 2 or magnitude.shape[-1] != bins:
            raise ValueError(
                f"magnitude.shape={tuple(magnitude.shape)} must end in frames and {bins} bins, "
                f"those of n_fft={self.n_fft}"
            )
        frames = magnitude.shape[-2]
        # The frames span (frames - 1) hop + n_fft samples, of which centring adds n_fft // 2 at
        # either end; up to hop - 1 samples more have the same number of frames.
        reach = (frames - 1) * self.hop + self.n_fft
        whole = reach - (2 * (self.n_fft // 2) if self.center else 0)
        samples = whole if length is None else length
        counted = centering.count_frames(
            samples, frame_length=self.n_fft, hop_length=self.hop, center=self.center
        )
        if counted != frames:
            raise ValueError(
                f"length={samples} has {counted} frames at hop_length={self.hop}, the magnitude "
                f"has {frames}; use length={whole} to {whole + self.hop - 1}"
            )
        operators = retrieval.stft_operators(
            n_fft=self.n_fft,
            hop_length=self.hop,
            win_length=self.win_length,
            length=samples,
            window=self.window,
            center=self.center,
            pad_mode=self.pad_mode,
        )
        return retrieval.griffin_lim(
            magnitude,
            **operators._asdict(),
            num_iterations=self.n_iter,
            momentum=self.momentum,
            key=key,
        )
