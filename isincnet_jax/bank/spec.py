"""Filterbank specification: the one place where rate, hop, taps and filters are stated."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import Float

from isincnet_jax import files
from isincnet_jax.bank import designed
from isincnet_jax.bank.dsp import kernels, shapes, symmetric_frames, uniform
from isincnet_jax.bank.spec_checks import check_geometry, check_sizes, default_band, require
from isincnet_jax.dsp import scales, settling
from isincnet_jax.typing import ComplexKernels, Component, Dialect, Normalization, Padding

_LINEAR = scales.ScaleName.settle("linear")
_NAMES: dict[str, Any] = {"scale": scales.ScaleName, "shape": shapes.ShapeName}


@dataclasses.dataclass(frozen=True)
class FilterbankSpec:
    """Filterbank specification: frozen, hashable, validated, serialisable.

    Attributes:
        sample_rate: Hz.
        hop_length: samples between frames.
        num_bins: filters; a complex bank has two real channels per filter.
        kernel_size: taps of a filter; ``4 * hop_length + 1`` if None.
        scale: "linear", "mel_slaney" (also "mel"), "mel_htk", "erb", "bark" or "log".
        component: "complex" (cosine and sine channels) or "real" (cosine channels only).
        causal: filters end at their frame's position: no look-ahead.
        shape: spectral shape of a band, a name in :data:`.shapes.SHAPES`: "sinc" (rectangle),
            "none" (window only), "gauss", "pfnet", ... A spec keeps the shape (and the scale) that
            the name stands for at construction; specs of one name whose functions differ are
            unequal.
        window: a window of :func:`scipy.signal.get_window`, symmetric.
        normalization: "l1", "max_l1", "l2", "gain" or "none", see
            :func:`.kernels.normalize_kernels`.
        padding: "zeros" (all frames that touch the signal: exact at the edges) or "reflect"
            (frames 0 .. (length - 1) // hop, as in iSincNet; in dialect "native" one more where
            those would not see the last sample, as of causal filters).
        min_hz: first centre; 0 if None, C1 (32.7 Hz) on a log scale.
        max_hz: last centre; half the sample rate if None.
        tight: replace the filters by the canonical tight bank that belongs to them (longer
            filters, frame bounds 1 and 1).
        dialect: "native", or "0.5" / "0.1.0" for the arithmetic of an iSincNet release.

    Raises:
        ValueError, TypeError: at construction, for anything that cannot work.

    Example:
        >>> spec = FilterbankSpec(sample_rate=16_000, hop_length=125, num_bins=128)
        >>> spec.kernel_size, spec.num_channels, spec.frame_rate_hz
        (501, 256, 128.0)
    """

    sample_rate: int = 16_000
    hop_length: int = 125
    num_bins: int = 128
    kernel_size: int | None = None
    scale: str = "linear"
    component: Component = "complex"
    causal: bool = False
    shape: str = "sinc"
    window: str = "hann"
    normalization: Normalization = "l1"
    padding: Padding = "zeros"
    min_hz: float | None = None
    max_hz: float | None = None
    tight: bool = False
    dialect: Dialect = "native"

    def __post_init__(self) -> None:
        def settle(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        settling.settle_fields(self)
        if self.kernel_size is None:
            settle("kernel_size", 4 * self.hop_length + 1)
        check_sizes(self)
        for name, kind in _NAMES.items():
            settle(name, kind.settle(getattr(self, name)))
        lowest, highest = default_band(self.sample_rate, self.scale, self.dialect)
        settle("min_hz", float(lowest if self.min_hz is None else self.min_hz))
        settle("max_hz", float(highest if self.max_hz is None else self.max_hz))
        check_geometry(self)

    # Settled values, typed: the optional fields are never None after construction.

    @property
    def taps(self) -> int:
        """``kernel_size``, settled."""
        assert self.kernel_size is not None
        return self.kernel_size

    @property
    def low_hz(self) -> float:
        """``min_hz``, settled."""
        assert self.min_hz is not None
        return self.min_hz

    @property
    def high_hz(self) -> float:
        """``max_hz``, settled."""
        assert self.max_hz is not None
        return self.max_hz

    @property
    def num_channels(self) -> int:
        """Real coefficients per frame."""
        return self.num_bins * (2 if self.component == "complex" else 1)

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    @property
    def redundancy(self) -> float:
        """Real coefficients per sample; an invertible bank has at least 1."""
        return self.num_channels / self.hop_length

    @property
    def is_uniform(self) -> bool:
        """Whether all filters are one window at equally spaced frequencies from 0 to Nyquist."""
        return (
            self.dialect == "native"
            and shapes.check_shape(self.shape).symmetric
            and self.scale == _LINEAR
            and self.component == "complex"
            and not self.tight
            and self.taps % 2 == 1
            and self.low_hz == 0.0
            and self.high_hz == self.sample_rate / 2
        )

    @property
    def is_symmetric(self) -> bool:
        """Whether cosine channels are exactly even, and sine channels odd, around the centre."""
        even = shapes.check_shape(self.shape).even
        return even and self.dialect == "native" and not self.causal and self.taps % 2 == 1

    def centers_and_bandwidths(
        self,
    ) -> tuple[Float[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
        """Centre frequencies and bandwidths.

        Returns:
            ``center_hz`` and ``bandwidth_hz``, Hz, float64 [bins].
        """
        if self.dialect == "0.1.0":
            return scales.reference_0_1_0_centers(
                self.num_bins, scale=self.scale, max_hz=self.high_hz
            )
        return scales.centers_and_bandwidths(
            self.num_bins, scale=self.scale, min_hz=self.low_hz, max_hz=self.high_hz
        )

    @property
    def center_hz(self) -> Float[np.ndarray, " bins"]:
        """Centre frequencies in Hz."""
        return self.centers_and_bandwidths()[0]

    @property
    def bandwidth_hz(self) -> Float[np.ndarray, " bins"]:
        """Bandwidths in Hz."""
        return self.centers_and_bandwidths()[1]

    def window_taps(self) -> Float[np.ndarray, " taps"]:
        """Window of the filters.

        Returns:
            float64 [taps]; zeros behind the centre if the bank is causal.
        """
        return kernels.make_window(self.window, self.taps, causal=self.causal)

    def design_kernels(self) -> ComplexKernels:
        """Complex kernels before ``tight``.

        Returns:
            complex128 [bins, taps], centred at ``taps // 2``.
        """
        center_hz, bandwidth_hz = self.centers_and_bandwidths()
        native = self.dialect == "native"
        design = kernels.design_kernels if native else kernels.design_reference_kernels
        return design(
            center_hz,
            bandwidth_hz,
            self.window_taps(),
            sample_rate=self.sample_rate,
            shape=self.shape,
            component=self.component,
            normalization=self.normalization,
        )

    @functools.cached_property
    def bank(self) -> designed.Bank:
        """The designed bank, held by the spec and shared with equal ones; not pickled.

        Raises:
            ValueError: for ``tight=True`` on a bank that is no frame.
        """
        return _designed(self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "bank"}

    def replace(self, **changes: Any) -> FilterbankSpec:
        """Spec with other values.

        ``max_hz`` follows the sample rate, and ``min_hz`` the scale, if they are what None stands
        for; ``kernel_size`` is kept unless it is given.

        Args:
            **changes: fields by name.

        Returns:
            A spec, validated.

        Raises:
            ValueError, TypeError: as at construction.
        """
        defaults = default_band(self.sample_rate, self.scale, self.dialect)
        for name, default in zip(("min_hz", "max_hz"), defaults, strict=True):
            if getattr(self, name) == default:
                changes.setdefault(name, None)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Fields as plain values, all of them.

        A shape or scale that is not built in is a name and, as ``shape_digest`` or
        ``scale_digest``, a hash of its function's values.

        Returns:
            Numbers, texts and truth values, for JSON.
        """
        values = dataclasses.asdict(self)
        for name in _NAMES:
            if values[name].digest:
                values[f"{name}_digest"] = values[name].digest
            values[name] = str(values[name])
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any], *, partial: bool = False) -> FilterbankSpec:
        """Spec of a dictionary: the inverse of :meth:`to_dict`.

        Args:
            values: as :meth:`to_dict` makes them.
            partial: whether fields may be missing; they have their defaults then.

        Returns:
            A spec, equal to the one that was written.

        Raises:
            ValueError: unless all fields of this version are there, and no others (a TypeError for
                others if ``partial``).
            isincnet_jax.dsp.meanings.MeaningError: if a shape or scale of that name is another
                function here (a ValueError).
        """
        values = dict(values)
        digests = {name: values.pop(f"{name}_digest", None) for name in _NAMES}
        known = {field.name for field in dataclasses.fields(cls)}
        unknown, missing = sorted(set(values) - known), sorted(known - set(values))
        require(partial or not unknown, f"unknown fields of a filterbank: {', '.join(unknown)}")
        require(partial or not missing, f"missing fields of a filterbank: {', '.join(missing)}")
        for name, digest in digests.items():
            if digest is not None:
                values[name] = _NAMES[name].restore(values[name], digest)
        return cls(**values)

    def digest(self) -> str:
        """Digest of all fields, stable across machines and versions.

        Returns:
            16 hexadecimal digits.
        """
        return files.content_digest(self.to_dict())

    @classmethod
    def reference(
        cls,
        *,
        sample_rate: int = 16_000,
        frame_rate: int = 128,
        scale: str = "linear",
        component: Component = "complex",
        version: str = "0.5",
    ) -> FilterbankSpec:
        """Reference bank of an iSincNet release, bit by bit: time grid, centres, bins, padding.

        Args:
            sample_rate: Hz.
            frame_rate: frames per second; the hop is ``sample_rate // frame_rate``.
            scale: "linear" or "mel" (Slaney in 0.5, HTK in 0.1.0).
            component: "real" is causal and "complex" is not, as in 0.5.
            version: "0.5" (no envelope, bins the next power of two at or above the hop) or
                "0.1.0" (sinc envelope, 128 bins).

        Returns:
            A spec whose ``dialect`` is the release.

        Raises:
            ValueError: for an unknown version or scale.
        """
        require(version in ("0.5", "0.1.0"), f"version={version!r}; use '0.5' or '0.1.0'")
        old = version == "0.1.0"
        wanted = scales.canonical_scale(scale)
        if old and scale == "mel":
            wanted = "mel_htk"
        require(
            wanted in ("linear", "mel_htk" if old else "mel_slaney"),
            f"scale={scale!r} does not exist in iSincNet {version}; use 'linear' or 'mel'",
        )
        # Bins of 0.5: the least power of two that is not below the hop.
        hop_length = sample_rate // frame_rate
        return cls(
            sample_rate=sample_rate,
            hop_length=hop_length,
            num_bins=128 if old else 1 << (hop_length - 1).bit_length(),
            scale=wanted,
            component=component,
            causal=component == "real",
            shape="sinc" if old else "none",
            normalization="max_l1" if old and wanted != "linear" else "l1",
            padding="reflect",
            dialect="0.1.0" if old else "0.5",
        )


@functools.lru_cache(maxsize=64)
def _designed(spec: FilterbankSpec) -> designed.Bank:
    channels = kernels.stack_components(spec.design_kernels(), component=spec.component)
    reflected_trail = designed.kernels_support(channels)[1]
    if spec.tight:
        channels = designed.tight_kernels(channels, spec.hop_length)
    num_even = len(channels) // (1 if spec.component == "real" else 2)
    center = channels.shape[1] // 2
    kind: Any = designed.Bank
    if spec.component == "real" and uniform.cosine_gains(channels) is not None:
        kind = designed.RealUniformBank
    elif spec.is_uniform:
        kind = designed.UniformBank
    elif symmetric_frames.is_symmetric(channels, num_even=num_even, lead=center):
        kind = functools.partial(designed.SymmetricBank, num_even=num_even)
    return kind(
        designed.read_only(channels),
        hop_length=spec.hop_length,
        padding=spec.padding,
        sees_all=spec.dialect == "native",
        reflected_trail=reflected_trail,
    )
