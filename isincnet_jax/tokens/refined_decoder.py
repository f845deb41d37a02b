"""Refined decoding of spectrograms that do not determine the waveform, learned."""

from __future__ import annotations

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank.analysis import Analysis
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.bank.synthesis import Synthesis
from isincnet_jax.dsp import checks
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.dsp.settling import settles
from isincnet_jax.linen import SettledModule
from isincnet_jax.nets.convnext import Refiner
from isincnet_jax.tokens import weighted_decoding
from isincnet_jax.tokens.weighted_decoding import Operators
from isincnet_jax.typing import Array, Spectrogram, Waveform

Observation = Literal["coefficients", "magnitudes"]

_FLOOR = 1e-3
"""Level that counts as silence to features, relative to the loudest of the clip: -60 dB."""

_SILENT = 1e-12
"""Largest magnitude of a clip that counts as silence."""


def magnitudes(spectrogram: Spectrogram) -> Float[jax.Array, "... frames bins"]:
    """Magnitudes of a complex bank, ``sqrt(cosine^2 + sine^2)``; gradient 0 where both are 0.

    Args:
        spectrogram: [..., frames, 2 bins], cosine channels before sine channels.

    Returns:
        [..., frames, bins], in the dtype of the input.
    """
    cosine, sine = jnp.split(spectrogram, 2, axis=-1)
    square = cosine * cosine + sine * sine
    some = square > 0
    return jnp.where(some, jnp.sqrt(jnp.where(some, square, 1.0)), square)  # NaN stays NaN


def center_rotation(
    spec: FilterbankSpec, num_frames: int, *, first_frame: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation of a tone at each bin's centre from frame to frame: cosine and sine of its phase.

    Args:
        spec: the bank.
        num_frames: frames, at least 0.
        first_frame: index t of the first one; frame t stands at sample ``t * hop_length``.

    Returns:
        Two float64 arrays [frames, bins], of the phase ``2 pi f_b t hop_length / sample_rate``.
    """
    center_hz, _ = spec.centers_and_bandwidths()
    # f_b t hop / rate, in float64: thousands of cycles, of which the fraction counts.
    cycles = np.outer(
        first_frame + np.arange(num_frames), center_hz * spec.hop_length / spec.sample_rate
    )
    return np.cos(2 * np.pi * cycles), np.sin(2 * np.pi * cycles)


def _relative(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Log levels between about -1 and 1, and the unit they refer to, [..., 1, 1].

    The unit is the clip's largest value, or 1 in silence.
    """
    # A unit for each clip, constant to gradients.
    loudest = lax.stop_gradient(jnp.max(values, axis=(-2, -1), keepdims=True))
    unit = jnp.where(loudest > _SILENT, loudest, 1.0)
    # log(1e-3) = -6.9 in silence, 0 at the loudest: from -1 to 1.
    return 1.0 + jnp.log(values / unit + _FLOOR) / 3.45, unit


class RefinedDecoder(SettledModule):
    """Autoencoder of a bank that loses information, with a decoder that learns what is likely.

    From coefficients of a bank without an inverse (too few bins): the best linear decoder, then
    a :class:`.Refiner` that sees that waveform through a second bank, one that has an inverse,
    and corrects it there, then least squares that make the result agree again with what was
    observed. It starts as the linear decoder.

    From magnitudes: a :class:`.Refiner` estimates the phase of every coefficient, relative to a
    tone at the bin's centre; then alternating projections (Griffin and Lim) in which the
    coefficients keep the given magnitudes and take the phases of their waveform. It starts from
    tones. Phases are known up to a sign at best, so train it with a spectral loss.

    Attributes:
        spec: the bank that is observed.
        observation: "coefficients" or "magnitudes" (complex banks).
        decoder: the bank's linear decoder; ``DecoderSpec(kind="wiener", ...)`` where there is no
            inverse.
        working_spec: the bank of the corrections, with the same rate and hop and an inverse; a
            uniform one of ``hop_length + 3`` complex bins if None. Not used with magnitudes.
        num_blocks: ConvNeXt blocks.
        width: features of the blocks.
        taps: frames that each block spans, odd.
        iterations: of the least squares, or of the alternating projections, afterwards.
        dtype: of waveforms, coefficients and filters.
        compute_dtype: of the refiner's products, bfloat16 say; ``dtype`` if None.
        precision: of the banks' products on accelerators.

    Raises:
        ValueError: for an unknown observation, magnitudes of a real bank, or a working bank of
            another rate or hop.

    References:
        D. Griffin and J. Lim, "Signal estimation from modified short-time Fourier transform",
            IEEE Trans. ASSP 32, 1984.

    Example:
        >>> import jax
        >>> spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=3, shape="none")
        >>> model = RefinedDecoder(spec, decoder=DecoderSpec("wiener"), num_blocks=1, width=8)
        >>> waveform = jnp.zeros((1, 100))
        >>> jax.eval_shape(model.init_with_output, jax.random.key(0), waveform)[0].shape
        (1, 100)
    """

    spec: FilterbankSpec
    observation: Observation = "coefficients"
    decoder: DecoderSpec = DecoderSpec()
    working_spec: FilterbankSpec | None = None
    num_blocks: int = 4
    width: int = 192
    taps: int = 7
    iterations: int = 2
    dtype: Any = jnp.float32
    compute_dtype: Any = None
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    def setup(self) -> None:
        """Creates the variables."""
        _check(self.spec, self.observation, self.working_spec, self.iterations)
        common = {"dtype": self.dtype, "precision": self.precision}
        self.analysis = Analysis(self.spec, **common)
        self.synthesis = Synthesis(self.spec, self.decoder, **common)
        if self.observation == "coefficients":
            self.working_analysis = Analysis(self._working(), **common)
            self.working_synthesis = Synthesis(self._working(), **common)
        bank = self._working() if self.observation == "coefficients" else self.spec
        self.refiner = Refiner(
            bank.num_channels,
            width=self.width,
            num_blocks=self.num_blocks,
            taps=self.taps,
            dtype=self.dtype,
            compute_dtype=self.compute_dtype,
        )

    def _working(self) -> FilterbankSpec:
        if self.working_spec is not None:
            return self.working_spec
        return FilterbankSpec(
            sample_rate=self.spec.sample_rate,
            hop_length=self.spec.hop_length,
            num_bins=self.spec.hop_length + 3,
            shape="none",
        )

    def encode(self, waveform: Waveform) -> Spectrogram:
        """Observation of a waveform.

        Args:
            waveform: [time] or [..., time], in ``dtype``.

        Returns:
            Coefficients [..., frames, channels], or magnitudes [..., frames, bins].
        """
        spectrogram = self.analysis(waveform)
        return spectrogram if self.observation == "coefficients" else magnitudes(spectrogram)

    @settles
    def decode(self, observed: Float[Array, "..."], *, length: int | None = None) -> Waveform:
        """Waveform of what was observed.

        Args:
            observed: as :meth:`encode` returns it, in ``dtype``.
            length: samples of the clip; the longest with so many frames if None.

        Returns:
            [..., length].

        Raises:
            ValueError: if the frames do not fit the length.
        """
        checks.check_floating(observed, "observed", dtype=self.dtype, ndim=2)
        if length is None:
            length = self.spec.bank.longest_length(observed.shape[-2])
        operators = weighted_decoding.bank_operators(
            self.analysis.filters(),
            self.synthesis.fixed.value,
            spec=self.spec,
            decoder=self.decoder,
            shape=(*observed.shape[:-2], length),
            precision=self.precision,
        )
        observed = jnp.asarray(observed, self.dtype)
        if self.observation == "magnitudes":
            return self._decode_magnitudes(observed, operators, length)
        # x0 = B s, x1 = x0 + correction(x0), then least squares of |s - A x|^2 from x1.
        linear = self.synthesis(observed, length)
        corrected = jnp.asarray(linear) + self._correction(linear)
        return weighted_decoding.weighted_least_squares(
            observed,
            jnp.ones_like(observed),
            operators=operators,
            num_iterations=self.iterations,
            start=corrected,
        )

    def __call__(self, waveform: Waveform) -> Waveform:
        """Encodes and decodes.

        Args:
            waveform: [time] or [..., time], in ``dtype``.

        Returns:
            The reconstruction, in the shape of the waveform.
        """
        return self.decode(self.encode(waveform), length=waveform.shape[-1])

    def _correction(self, linear: Waveform) -> Waveform:
        """Waveform that the refiner adds, through the working bank; 0 before training."""
        # The refiner sees s / (|s| + floor), the phase, and log |s|; what it gives scales |s|.
        spectrogram = self.working_analysis(linear)
        level = magnitudes(spectrogram)
        log_level, unit = _relative(level)
        level = jnp.concatenate([level, level], axis=-1)
        direction = spectrogram / (level + _FLOOR * unit)
        loudest = jnp.max(level, axis=(-2, -1), keepdims=True)  # 0 in silence, which stays silent
        envelope = level + _FLOOR * lax.stop_gradient(loudest)
        outputs = self.refiner(jnp.concatenate([direction, log_level], axis=-1))
        return self.working_synthesis(envelope * outputs, linear.shape[-1])

    def _decode_magnitudes(
        self, observed: jax.Array, operators: Operators, length: int
    ) -> Waveform:
        """Phases from the refiner, then from alternating projections."""
        grid = self.spec.bank.frame_grid(length)
        log_level, unit = _relative(observed)
        # Everything from here on in units of the clip's loudest magnitude.
        observed = observed / unit
        real, imaginary = jnp.split(self.refiner(log_level), 2, axis=-1)
        cosine, sine = (
            match_rank(jnp.asarray(part, self.dtype), observed)
            for part in center_rotation(self.spec, grid.num_frames, first_frame=grid.first)
        )
        # (1 + refined) exp(i phase of the centre): an untrained refiner gives tones.
        real = 1.0 + real
        turned = jnp.concatenate(
            [real * cosine - imaginary * sine, real * sine + imaginary * cosine], axis=-1
        )
        waveform = operators.synthesis(_with_magnitudes(turned, observed))
        # Griffin and Lim: s <- |given| A B s / |A B s|.
        for _ in range(self.iterations):
            consistent = operators.analysis(waveform)
            waveform = operators.synthesis(_with_magnitudes(consistent, observed))
        return waveform * unit[..., 0]


def _with_magnitudes(spectrogram: jax.Array, wanted: jax.Array) -> jax.Array:
    """Coefficients with a spectrogram's phases and given magnitudes of at most 1; smooth at 0."""
    cosine, sine = jnp.split(spectrogram, 2, axis=-1)
    # 1e-12: a coefficient of 0 has no phase; its gradient stays finite.
    square = cosine * cosine + sine * sine + 1e-12
    # s |wanted| / |s|
    gain = wanted * lax.rsqrt(square)
    return jnp.concatenate([gain * cosine, gain * sine], axis=-1)


def _check(
    spec: FilterbankSpec, observation: str, working: FilterbankSpec | None, iterations: int
) -> None:
    if observation not in get_args(Observation):
        raise ValueError(
            f"observation={observation!r} is unknown; use {', '.join(get_args(Observation))}"
        )
    if observation == "magnitudes" and spec.component != "complex":
        raise ValueError("magnitudes need cosine and sine channels; use component='complex'")
    if iterations < 0:
        raise ValueError(f"iterations={iterations} must not be negative")
    if working is not None and (working.sample_rate, working.hop_length) != (
        spec.sample_rate,
        spec.hop_length,
    ):
        raise ValueError(
            f"working_spec has sample_rate={working.sample_rate} and "
            f"hop_length={working.hop_length}, the observed bank {spec.sample_rate} and "
            f"{spec.hop_length}: their frames must coincide"
        )
    if observation == "coefficients" and working is not None and working.component != "complex":
        raise ValueError("working_spec must be complex, so that its channels have magnitudes")
