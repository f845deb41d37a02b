"""Token codec: waveform to integer codes and back, with a decoder that knows what codes are."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank.analysis import Analysis
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.quantizer import Quantizer
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.bank.synthesis import Synthesis, check_spectrogram
from isincnet_jax.dsp import checks, companding
from isincnet_jax.dsp.settling import settles
from isincnet_jax.linen import SettledModule
from isincnet_jax.nets.convnext import Refiner
from isincnet_jax.tokens import weighted_decoding
from isincnet_jax.tokens.weighted_decoding import Cells
from isincnet_jax.typing import Codes, Waveform

_FINEST = 1e-3
"""Finest accuracy that a coefficient may claim, in half-widths of the smallest cell of the
loudest channel: silent channels would otherwise claim an infinite one."""

_MOST_NATS = 4.0
"""Largest change of a log precision by the refiner, either way: a factor of 55."""


class Tokens(NamedTuple):
    """A coded waveform.

    Attributes:
        codes: int32 in ``[0, 2^q_bits - 2]``, [..., frames, channels].
        scales: peak magnitude of each channel of each clip, [..., 1, channels].
    """

    codes: jax.Array
    scales: jax.Array


class Estimate(NamedTuple):
    """Estimate of coefficients, in units of the clip's largest scale.

    Attributes:
        target: their values, inside their cells, [..., frames, channels].
        precision: inverse variances.
        preconditioner: of the least squares, see
            :func:`.weighted_decoding.weighted_least_squares`.
    """

    target: jax.Array
    precision: jax.Array
    preconditioner: jax.Array


class TokenCodec(SettledModule):
    """Quantised spectrograms, decoded by learned precision-weighted least squares.

    Encoding is a fixed bank, peaks per channel as scales, and the symmetric mu-law code.
    Decoding has three steps. (1) Least squares in which every coefficient counts by the width
    of its cell, ``precision = 3 / half_width^2``. (2) A :class:`.Refiner` compares codes with the
    coefficients of that waveform and estimates where in its cell each coefficient lies and how
    sure that is. (3) Least squares again, from there. Step (2) starts as "in the middle, as sure
    as the cell is narrow", so that an untrained codec is the weighted least squares of
    ``iterations_before + iterations_after`` steps with one restart; with ``num_blocks=None`` it is
    left out, the steps follow each other, and nothing is learned.

    Codes are constants to gradients: they reach the parameters of the decoder only.

    Attributes:
        spec: the filterbank.
        decoder: its linear decoder, in which the least squares start and which preconditions them.
        q_bits: bits per code, 2 to 16.
        mu: of the companding.
        num_blocks: ConvNeXt blocks of the refiner; None for no refiner.
        width: features of the refiner.
        taps: frames that each block spans, odd.
        iterations_before: of the least squares before the refiner.
        iterations_after: of those after it.
        dtype: of waveforms, coefficients and filters.
        compute_dtype: of the refiner's products, bfloat16 say; ``dtype`` if None.
        precision: of the bank's products on accelerators.

    Raises:
        ValueError: for impossible bits, mu or iterations.

    Example:
        >>> model = TokenCodec(FilterbankSpec(shape="none"), q_bits=4, num_blocks=None)
        >>> waveform = jax.random.normal(jax.random.key(0), (1, 1000))
        >>> variables = jax.jit(model.init)(jax.random.key(1), waveform)
        >>> jax.jit(model.apply)(variables, waveform).shape
        (1, 1000)
    """

    spec: FilterbankSpec
    decoder: DecoderSpec = DecoderSpec()
    q_bits: int = 8
    mu: float = 30.0
    num_blocks: int | None = 2
    width: int = 192
    taps: int = 7
    iterations_before: int = 2
    iterations_after: int = 8
    dtype: Any = jnp.float32
    compute_dtype: Any = None
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    def setup(self) -> None:
        """Creates the variables.

        Raises:
            ValueError: for impossible bits, mu or iterations.
        """
        companding.check_q_bits(self.q_bits)
        if not self.mu > 0:
            raise ValueError(f"mu={self.mu} must be positive")
        if self.iterations_before < 0 or self.iterations_after < 0:
            raise ValueError(
                f"iterations_before={self.iterations_before}, "
                f"iterations_after={self.iterations_after}: neither may be negative"
            )
        common = {"dtype": self.dtype, "precision": self.precision}
        self.analysis = Analysis(self.spec, **common)
        self.synthesis = Synthesis(self.spec, self.decoder, **common)
        if self.num_blocks is not None:
            self.refiner = Refiner(
                3 * self.spec.num_channels,
                width=self.width,
                num_blocks=self.num_blocks,
                taps=self.taps,
                dtype=self.dtype,
                compute_dtype=self.compute_dtype,
            )
            # What is known of a cell wherever it is: by distance from 0, the same for all channels.
            levels = 2 ** (self.q_bits - 1)
            self.level_shift = self.param("level_shift", self._zeros, levels)
            self.level_log_precision = self.param("level_log_precision", self._zeros, levels)

    def _zeros(self, key: jax.Array, count: int) -> jax.Array:
        return jnp.zeros((count,), self.dtype)

    def encode(self, waveform: Waveform) -> Tokens:
        """Codes of a waveform.

        Args:
            waveform: [time] or [..., time], in ``dtype``.

        Returns:
            Codes [..., frames, channels] and scales [..., 1, channels].
        """
        # Scales are peaks: fit() takes the largest magnitude of each channel of each clip.
        spectrogram = lax.stop_gradient(self.analysis(waveform))
        one = np.ones((1,), np.float32)
        quantizer = Quantizer(one, self.q_bits, self.mu).fit(spectrogram)
        return Tokens(jnp.asarray(quantizer.encode(spectrogram)), jnp.asarray(quantizer.scale))

    @settles
    def decode(
        self, codes: Codes, scales: Float[jax.Array, "..."], *, length: int | None = None
    ) -> Waveform:
        """Waveform of codes.

        Args:
            codes: [..., frames, channels], integers.
            scales: largest magnitude of each channel, positive; broadcasts against the codes.
            length: samples of the clip; the longest with so many frames if None.

        Returns:
            [..., length].

        Raises:
            ValueError: if the axes do not fit the spec or the length, or for codes out of range;
                traced ones give NaN.
            TypeError: if the codes are not integers.
        """
        length, cells, unit, operators = self._prepare(codes, scales, length)
        start, precision = self._decode_cells(cells, operators)
        if self.num_blocks is None:
            return start * unit
        fit = operators.analysis(start)
        estimate = self._refine(codes, scales / unit[..., None], cells, precision, fit)
        return unit * weighted_decoding.weighted_least_squares(
            estimate.target,
            estimate.precision,
            operators=operators,
            num_iterations=self.iterations_after,
            start=start,
            preconditioner=estimate.preconditioner,
        )

    @settles
    def estimate(
        self, codes: Codes, scales: Float[jax.Array, "..."], *, length: int | None = None
    ) -> Estimate:
        """Estimate that the refiner makes of codes, before the last least squares.

        Args:
            codes: as for :meth:`decode`.
            scales: as for :meth:`decode`.
            length: as for :meth:`decode`.

        Returns:
            Targets and precisions, each [..., frames, channels].

        Raises:
            ValueError: for a codec without a refiner; else as :meth:`decode`.
            TypeError: if the codes are not integers.
        """
        if self.num_blocks is None:
            raise ValueError("num_blocks=None: this codec has no refiner; give it num_blocks")
        length, cells, unit, operators = self._prepare(codes, scales, length)
        start, precision = self._decode_cells(cells, operators)
        fit = operators.analysis(start)
        return self._refine(codes, scales / unit[..., None], cells, precision, fit)

    def __call__(self, waveform: Waveform) -> Waveform:
        """Encodes and decodes.

        Args:
            waveform: [time] or [..., time], in ``dtype``.

        Returns:
            The reconstruction, in the shape of the waveform.
        """
        codes, scales = self.encode(waveform)
        return self.decode(codes, scales, length=waveform.shape[-1])

    def _prepare(
        self, codes: Codes, scales: Any, length: int | None
    ) -> tuple[int, Cells, jax.Array, weighted_decoding.Operators]:
        most = 2**self.q_bits - 2
        checks.check_codes(codes, 0, most)
        checks.check_floating(scales, "scales")
        scales = jnp.asarray(scales, self.dtype)
        like = jax.ShapeDtypeStruct(codes.shape, self.dtype)
        length = check_spectrogram(like, self.spec, length, self.dtype)
        # The largest scale is the unit in which float32 has room for the square of everything.
        unit = jnp.max(jnp.atleast_2d(scales), axis=(-2, -1))[..., None]
        cells = weighted_decoding.code_cells(
            codes.astype(jnp.int32), scales / unit[..., None], q_bits=self.q_bits, mu=self.mu
        )
        cells = cells._replace(center=checks.codes_in_range(cells.center, codes, 0, most))
        operators = weighted_decoding.bank_operators(
            self.analysis.filters(),
            self.synthesis.fixed.value,
            spec=self.spec,
            decoder=self.decoder,
            shape=(*codes.shape[:-2], length),
            precision=self.precision,
        )
        return length, cells, unit, operators

    def _decode_cells(
        self, cells: Cells, operators: weighted_decoding.Operators
    ) -> tuple[jax.Array, jax.Array]:
        """Least squares by widths alone, and the precisions that they use."""
        levels = 2 ** (self.q_bits - 1) - 1
        # Half-width of the cell of 0 where the scale is 1: the inverse mu law of half a level.
        smallest = float(np.expm1(0.5 / levels * np.log1p(self.mu)) / self.mu)
        # Variance of a uniform distribution over a cell of half-width h: h^2 / 3.
        variance = cells.half_width**2 / 3.0 + (_FINEST * smallest) ** 2
        precision = 1.0 / variance
        waveform = weighted_decoding.weighted_least_squares(
            cells.center,
            precision,
            operators=operators,
            num_iterations=self.iterations_before
            + (self.iterations_after if self.num_blocks is None else 0),
        )
        return waveform, precision

    def _refine(
        self,
        codes: Codes,
        scales: Float[jax.Array, "..."],
        cells: Cells,
        precision: jax.Array,
        fit: jax.Array,
    ) -> Estimate:
        """The estimate from codes and from the coefficients ``fit`` of the first waveform."""
        levels = 2 ** (self.q_bits - 1) - 1
        level = codes.astype(jnp.int32) - levels
        companded = level.astype(self.dtype) / levels
        # Of silent channels, whose cells have no width: its square is still a float32.
        width = jnp.maximum(cells.half_width, np.finfo(np.float32).tiny ** 0.5)
        # Where in its cell, or how far beyond it, the first waveform has the coefficient.
        position = jnp.tanh((fit - cells.center) / width)
        loudness = 1.0 + 0.25 * jnp.log(scales + 1e-5)
        features = [
            companded,
            2.0 * jnp.abs(companded) - 0.5,
            position,
            jnp.broadcast_to(loudness, codes.shape),
        ]
        refined = self.refiner(jnp.concatenate(features, axis=-1))
        shift, sureness, steering = jnp.split(refined, 3, axis=-1)
        # What holds for a level holds for its mirror image: tables by |level|, shifts outwards.
        distance = jnp.abs(level)
        outward = jnp.sign(level).astype(self.dtype) * self.level_shift[distance]
        # Never outside the cell, which is all that the code says.
        target = cells.center + cells.half_width * jnp.tanh(outward + shift)
        log_precision = self.level_log_precision[distance]
        sureness = jnp.clip(sureness, -_MOST_NATS, _MOST_NATS)
        steering = jnp.clip(steering, -_MOST_NATS, _MOST_NATS)
        # Factors of the precision that the width alone gives; all exponents 0 before training.
        precision = precision * jnp.exp(log_precision + sureness)
        return Estimate(target, precision, precision * jnp.exp(steering))
