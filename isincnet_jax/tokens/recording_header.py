"""Header of one recording's codes: what spectrogram archives and token files both say of it."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp import settling

_MOST_BINS, _LARGEST_BANK = 1 << 18, 1 << 26  # taps of all bins: half a gigabyte in float64


@dataclasses.dataclass(frozen=True)
class RecordingHeader:
    """Bank, codec, lengths and rates of a recording.

    Attributes:
        spec: the bank that made the coefficients.
        model: name of the codec.
        length: samples per audio channel at ``spec.sample_rate``.
        original_length: samples of the recording at its own rate.
        original_rate: Hz, of the recording.

    Raises:
        ValueError, TypeError: at construction, for values that no recording has.
    """

    spec: FilterbankSpec
    model: str
    length: int
    original_length: int
    original_rate: int

    def __post_init__(self) -> None:
        settling.settle_fields(self)
        self._check_counts("length", "original_length", "original_rate")
        if not isinstance(self.model, str):
            raise TypeError(f"model={self.model!r} must be a name")

    def _check_counts(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}={value!r} must be a positive integer")

    def _values(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        return {**dataclasses.asdict(self), "spec": self.spec.to_dict()}

    @classmethod
    def _of_values(cls, values: dict[str, Any]) -> Self:
        """The inverse of :meth:`_values`, for values of another's making.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: if they are none of a header; of a
                bank beyond all bounds before anything of its size is made.
        """
        num_bins, taps = values["spec"]["num_bins"], values["spec"]["kernel_size"]
        if not (1 <= num_bins <= _MOST_BINS and 1 <= taps <= _LARGEST_BANK // num_bins):
            raise ValueError(f"a bank of {num_bins} x {taps} taps is out of bounds")
        return cls(**{**values, "spec": FilterbankSpec.from_dict(values["spec"])})
