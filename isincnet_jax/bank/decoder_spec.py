"""Decoder specification: how the synthesis kernels of a bank are found."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from isincnet_jax.dsp import checks, settling

DecoderKind = Literal["auto", "least_squares", "dual", "wiener", "free"]

_POSITIONED = ("least_squares", "wiener")


@dataclasses.dataclass(frozen=True)
class DecoderSpec:
    """Decoder specification: how the synthesis kernels are found.

    Attributes:
        kind: "auto" (exact: a dual window for uniform banks, a folded inverse for real ones, else
            least squares with as many frames as it takes; for a bank that cannot be inverted,
            Wiener with a warning),
            "least_squares" (exact or an error), "dual" (canonical dual, cut), "wiener", or "free"
            (zeros, for weights that are loaded or learned from nothing).
        num_frames: frame taps; chosen if None: as few as are exact, and more of them where their
            noise gain would leave less than 115 dB in float32. A folded inverse that needs more is
            not taken.
        first_frame: the first of those frames, relative to the block of ``hop_length`` samples
            that they emit. "free" needs it; "least_squares" and "wiener" take it together with
            ``num_frames``, and then solve those frames as they are, exact or not, instead of frames
            evenly around the block; ``residual`` of the :class:`.SolvedDecoder` tells.
        lead: for "least_squares" and "wiener", in place of ``first_frame`` and finer: samples that
            a frame emits before its own position, at most. Streams wait ``lead`` and what frames
            look ahead.
        regularization: of the least squares, relative; larger lowers the noise gain of an
            ill-conditioned bank and the exactness with it.
        autocovariance: of the signal, for "wiener"; white noise if empty.
        noise_variance: of the coefficients, for "wiener": one number, or one per channel. For
            "least_squares" and "dual" one per channel: of all exact decoders the one that lets the
            least of such noise through; one number changes nothing there.

    Raises:
        ValueError: at construction, for an unknown kind, ``num_frames`` below 1, both
            ``first_frame`` and ``lead``, or one of them where frames are not placed by the user.

    Example:
        >>> DecoderSpec().kind
        'auto'
        >>> DecoderSpec("least_squares", num_frames=5, first_frame=-2).settled_lead(8)
        16
    """

    kind: DecoderKind = "auto"
    num_frames: int | None = None
    first_frame: int | None = None
    regularization: float = 1e-11
    autocovariance: tuple[float, ...] = ()
    noise_variance: float | tuple[float, ...] = 1e-8
    lead: int | None = None

    def __post_init__(self) -> None:
        settling.settle_fields(self)
        checks.check_choice("decoder kind", self.kind, get_args(DecoderKind))
        if self.num_frames is not None and self.num_frames < 1:
            raise ValueError(f"num_frames={self.num_frames} must be at least 1")
        if self.weighs_noise and not min(self.noise_variance, default=0.0) > 0:  # type: ignore[arg-type]
            raise ValueError(
                f"noise_variance={self.noise_variance}: an exact decoder needs a positive variance "
                "of every channel"
            )
        if self.kind == "free" and (self.num_frames is None or self.first_frame is None):
            raise ValueError("decoder kind='free' needs num_frames and first_frame")
        self._check_position()

    def _check_position(self) -> None:
        given = [f"{n}={v}" for n in ("first_frame", "lead") if (v := getattr(self, n)) is not None]
        if len(given) > 1:
            raise ValueError(f"{', '.join(given)}: both place the frames; give one of them")
        if self.kind == "free" or not given:
            return
        if self.kind not in _POSITIONED:
            raise ValueError(
                f"{given[0]}: decoder kind={self.kind!r} places its frames itself; leave it out, "
                f"or use kind={' or '.join(map(repr, _POSITIONED))}"
            )
        if self.num_frames is None:
            raise ValueError(f"{given[0]} needs num_frames, the number of frames that it places")

    @property
    def weighs_noise(self) -> bool:
        """Whether it is exact and made for noise that differs from channel to channel."""
        return self.kind in ("least_squares", "dual") and isinstance(self.noise_variance, tuple)

    def settled_lead(self, hop_length: int) -> int | None:
        """Lead in samples, given or as ``first_frame`` makes it.

        Args:
            hop_length: samples between frames.

        Returns:
            ``lead``, or ``(first_frame + num_frames - 1) hop``; None if neither is given.
        """
        if self.first_frame is None:
            return self.lead
        return (self.first_frame + (self.num_frames or 1) - 1) * hop_length
