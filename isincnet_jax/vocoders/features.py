"""Features of vocoders: what their spectrograms are, and how long ones are taken apart."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp import auditory, checks, fourier, settling
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Waveform

FeatureKind: TypeAlias = Literal["linear", "mel_slaney", "mel_htk", "bank"]

CHUNK_FRAMES = 1024
"""Frames that are synthesised at once, without their context."""

_SILENT_POWER = 1e-20


@dataclasses.dataclass(frozen=True)
class VocoderFeatures:
    """Spectrogram's kind: linear magnitudes of an STFT, mel filters on them, or a sinc bank's.

    The STFT has a Hann window and centred frames, ``1 + time // hop_length`` of them. A bank has
    ``1 + (time - 1) // hop_length`` frames.

    Attributes:
        kind: "linear" (the magnitudes of an STFT), "mel_slaney" or "mel_htk" (sums of those under
            the triangles of mel filters: of area 1 with Slaney, of height 1 with HTK), or "bank".
        sample_rate: Hz.
        n_fft: samples per frame; not of "bank".
        win_length: samples of the window; not of "bank".
        hop_length: samples between frames; that of the bank.
        n_mels: mel filters; as the next two of mel spectrograms only.
        fmin: lower edge of the first, Hz.
        fmax: upper edge of the last, Hz; half the sample rate if None.
        bank: complex filterbank of "bank".

    Raises:
        ValueError: for an unknown kind, numbers that do not go together, or fields that the kind
            does not have.
    """

    kind: FeatureKind = "linear"
    sample_rate: int = 22_050
    n_fft: int = 2048
    win_length: int = 1024
    hop_length: int = 256
    n_mels: int = 80
    fmin: float = 0.0
    fmax: float | None = None
    bank: FilterbankSpec | None = None

    def __post_init__(self) -> None:
        """Checks the arguments."""
        settling.settle_fields(self)
        if self.kind not in get_args(FeatureKind):
            known = ", ".join(get_args(FeatureKind))
            raise ValueError(f"kind={self.kind!r} is unknown; use {known}")
        checks.check_positive_integers(sample_rate=self.sample_rate, hop_length=self.hop_length)
        effective = self._effective()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in effective and value != field.default:
                raise ValueError(
                    f"{field.name}={value!r} has no effect with kind={self.kind!r}; leave it out"
                )
        if self.kind == "bank" and self.bank is None:
            raise ValueError("kind='bank' needs a bank, a FilterbankSpec with complex components")
        if self.bank is not None:
            self._check_bank(self.bank)
            return
        checks.check_positive_integers(n_fft=self.n_fft, n_mels=self.n_mels)
        win_length = fourier.checked_win_length(self.win_length, self.n_fft)
        if self.hop_length > win_length:
            raise ValueError(
                f"hop_length={self.hop_length} exceeds win_length={win_length}: samples between "
                f"frames would be lost; use at most {win_length}"
            )
        if self.is_mel:
            fmax = self.sample_rate / 2 if self.fmax is None else self.fmax
            checks.check_band(fmin=self.fmin, fmax=fmax, sample_rate=self.sample_rate)

    def _effective(self) -> list[str]:
        """Names of the fields that this kind has."""
        names = ["kind", "sample_rate", "hop_length"]
        names += ["bank"] if self.kind == "bank" else ["n_fft", "win_length"]
        return names + (["n_mels", "fmin", "fmax"] if self.is_mel else [])

    def _check_bank(self, bank: FilterbankSpec) -> None:
        if bank.component != "complex":
            raise ValueError(f"bank.component={bank.component!r} has no magnitude; use 'complex'")
        wanted = (bank.sample_rate, bank.hop_length)
        if (self.sample_rate, self.hop_length) != wanted:
            raise ValueError(
                f"sample_rate={self.sample_rate}, hop_length={self.hop_length}: the bank has "
                f"{wanted[0]} and {wanted[1]}; use those"
            )

    @property
    def is_mel(self) -> bool:
        """Whether mel filters follow the STFT."""
        return self.kind.startswith("mel")

    @property
    def num_bins(self) -> int:
        """Values per frame."""
        if self.bank is not None:
            return self.bank.num_bins
        return self.n_mels if self.is_mel else self.n_fft // 2 + 1

    def num_frames(self, num_samples: int) -> int:
        """Frames of a waveform.

        Args:
            num_samples: at least 1.

        Returns:
            ``1 + n // hop_length`` with an STFT, ``1 + (n - 1) // hop_length`` with a bank.
        """
        if self.bank is not None:
            return 1 + (num_samples - 1) // self.hop_length
        return 1 + num_samples // self.hop_length

    def checked_length(self, length: int | None, *, num_frames: int) -> int:
        """Length of the waveform of so many frames, ``hop_length`` samples each at most.

        Args:
            length: samples; all that the frames have if None.
            num_frames: 1 or more.

        Returns:
            Samples, at most ``num_frames * hop_length``.

        Raises:
            ValueError: for a length that they do not have.
        """
        most = num_frames * self.hop_length
        length = int(most if length is None else length)
        if not 1 <= length <= most:
            raise ValueError(
                f"length={length}: {num_frames} frames of {self.hop_length} samples have 1 to "
                f"{most}"
            )
        return length

    @property
    def reach_frames(self) -> int:
        """Frames on either side that the samples of a frame reach."""
        taps = self.n_fft
        if self.bank is not None:
            taps = self.bank.bank.taps
        return -(-taps // self.hop_length) + 1

    def facts(self) -> dict[str, Any]:
        """Fields that have an effect, as JSON can hold them.

        Returns:
            Values by the names of the fields; the bank as :meth:`.FilterbankSpec.to_dict`.
        """
        facts = {name: getattr(self, name) for name in self._effective()}
        if self.bank is not None:
            facts["bank"] = self.bank.to_dict()
        return facts

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> VocoderFeatures:
        """The inverse of :meth:`facts`.

        Args:
            facts: values by the names of the fields; those left out have their defaults.

        Returns:
            The features.

        Raises:
            ValueError, TypeError: for fields that there are not, or that do not go together.
        """
        facts = dict(facts)
        if facts.get("bank") is not None:
            facts["bank"] = FilterbankSpec.from_dict(facts["bank"])
        return cls(**facts)

    def of(
        self, waveform: Waveform, *, precision: lax.PrecisionLike = lax.Precision.HIGHEST
    ) -> Float[jax.Array, "... frames bins"]:
        """The spectrogram of a waveform; gradients are finite on silence.

        Args:
            waveform: [..., time], floating, full scale 1.
            precision: of the products with filters on accelerators.

        Returns:
            Linear magnitudes [..., frames, num_bins], not negative.
        """
        waveform = jnp.asarray(waveform)
        if self.bank is not None:
            return self._of_bank(waveform, precision)
        then: Callable[[Any], jax.Array] | None = None
        if self.is_mel:
            weights = self.mel_weights()
            then = functools.partial(auditory.weigh_bins, weights=weights, precision=precision)
        return fourier.stft_power(
            waveform,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            win_length=self.win_length,
            power=1.0,
            then=then,
        )

    def mel_weights(self) -> Float[np.ndarray, "mels bins"]:
        """Mel filters of mel spectrograms.

        Returns:
            float64 [n_mels, n_fft // 2 + 1], read-only.
        """
        htk = self.kind == "mel_htk"
        return auditory.mel_weights(
            self.sample_rate,
            n_fft=self.n_fft,
            n_mels=self.n_mels,
            fmin=self.fmin,
            fmax=self.fmax,
            htk=htk,
            norm=None if htk else "slaney",
        )

    def _of_bank(self, waveform: jax.Array, precision: Any) -> jax.Array:
        assert self.bank is not None
        # sqrt(cos^2 + sin^2 + 1e-20): the gradient on silence is finite.
        bank = self.bank.bank
        filters = jnp.asarray(bank.filters, waveform.dtype)
        found = bank.analyse(waveform, filters, precision=precision)
        # Banks that pad by zeros have frames before the first sample.
        first = -bank.frame_grid(waveform.shape[-1]).first
        found = found[..., first : first + self.num_frames(waveform.shape[-1]), :]
        cosine, sine = jnp.split(found, 2, axis=-1)
        return jnp.sqrt(cosine**2 + sine**2 + _SILENT_POWER)


class Window(NamedTuple):
    """A part of a sequence of frames, with context.

    Attributes:
        begin, end: frames to look at.
        start, stop: those of them that are used.
    """

    begin: int
    end: int
    start: int
    stop: int


def frame_windows(
    num_frames: int, *, chunk: int, context: int | None, align: int = 1
) -> Iterator[Window]:
    """Parts of a sequence that overlap by their contexts; at its ends there is none.

    Args:
        num_frames: of the sequence, at least 1.
        chunk: frames to use of a part.
        context: frames around them; None takes the sequence as a whole.
        align: all parts begin at a multiple of it.

    Yields:
        Windows whose frames to use follow one another.

    Example:
        >>> list(frame_windows(5, chunk=3, context=1))
        [Window(begin=0, end=4, start=0, stop=3), Window(begin=2, end=5, start=3, stop=5)]
    """
    if context is None:
        # One window over everything.
        chunk, context = num_frames, 0
    for start in range(0, num_frames, chunk):
        stop = min(start + chunk, num_frames)
        begin = max(start - context, 0) // align * align
        yield Window(begin, min(stop + context, num_frames), start, stop)


@settles
def spectrogram_blocks(
    features: VocoderFeatures,
    waveform: Float[np.ndarray, " time"],
    *,
    chunk_frames: int = 8 * CHUNK_FRAMES,
) -> Iterator[Float[np.ndarray, "frames bins"]]:
    """The spectrogram of a long waveform, part by part: that of :meth:`VocoderFeatures.of`.

    Args:
        features: what to make.
        waveform: float32 [time].
        chunk_frames: frames of a part.

    Yields:
        Consecutive frames, float32 [frames, bins].
    """
    hop, total = features.hop_length, features.num_frames(len(waveform))
    for window in frame_windows(total, chunk=chunk_frames, context=features.reach_frames):
        # The context on either side is cut off again: the frames are those of the whole waveform.
        end = len(waveform) if window.end == total else window.end * hop
        found = _features(features, waveform[window.begin * hop : end])
        yield np.asarray(found)[window.start - window.begin : window.stop - window.begin]


@functools.partial(jax.jit, static_argnames=("features",))
def _features(features: VocoderFeatures, waveform: Any) -> jax.Array:
    return features.of(waveform)
