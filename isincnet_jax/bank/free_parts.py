"""Free parts of banks: what an optimisation may move, and what follows from where it is."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax import jax_names
from isincnet_jax.bank import design, targets
from isincnet_jax.bank.codec import Codec, build_codec
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.dsp import differentiable_inverse, frame_theory, lapped_transform
from isincnet_jax.bank.dsp.differentiable_inverse import Inverse
from isincnet_jax.bank.lapped_bank import LappedBank
from isincnet_jax.bank.lapped_codec import LappedCodec, build_lapped_codec
from isincnet_jax.bank.lapped_spec import LappedSpec
from isincnet_jax.bank.learned_inverse import solve_decoder, with_solved_decoder
from isincnet_jax.bank.sincnet import SincNet
from isincnet_jax.bank.solve import NotInvertibleWarning
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp import checks, framing

FREE_FILTERS: Mapping[str, float] = {"center": 0.1, "bandwidth": 1.5, "window": 4}
"""Free parts of a FilterbankSpec, unless told."""
FREE_LAPPED: Mapping[str, float] = {"window": 8}
"""Free parts of a LappedSpec, unless told."""

_PARTS = {"center": (0.0, 1.0), "bandwidth": (1.0, 100.0), "shape": (0.0, np.inf)}
_LARGEST_TERM = 2.0
_LARGEST_TAP = 0.5
_LARGEST_ANGLE = 0.5  # radians
_ROUGH_CONDITION = 1e4
_RIDGES = (1e-3, 1e-10)
"""Relative: the decoder of a bank without an inverse, and on to exact ones."""
_BLOCKS = 8
"""Hops that the decoders of the descent reach: nine frequencies, in between all is smooth."""
_FRAMES = (8, 16, 32)
_DUAL_FRAMES = (32, 64, 128)
_MOST_SOLVED_SAMPLES = 2048  # a second's work; canonical duals are solved by frequencies
_SOLVED_RESIDUAL = 1e-9
_NOISIER = 1.02
"""Power of the noise that fewer frames may cost."""


def _settle_free(
    free: Mapping[str, float] | None, defaults: Mapping[str, float], parts: Sequence[str]
) -> dict[str, float]:
    settled = dict(defaults if free is None else free)
    unknown = [name for name in settled if name not in parts]
    if unknown or not settled:
        given = f"free part {unknown[0]!r} is unknown" if unknown else "free names no part"
        raise ValueError(f"{given}; use {', '.join(parts)}")
    for name, reach in settled.items():
        if name in ("window", "kernel"):
            checks.check_positive_integers(**{name: reach})  # type: ignore[arg-type]
            if name == "kernel" and reach % 2 == 0:
                raise ValueError(
                    f"free['kernel']={reach}: short kernels have an odd number of taps"
                )
            continue
        least, most = _PARTS[name]
        if not least < reach <= most:
            raise ValueError(
                f"free[{name!r}]={reach}: a reach lies above {least:g}"
                + (f", up to {most:g}" if most < np.inf else "")
            )
    return settled


class Prepared(NamedTuple):
    """Clips as a bank takes them again and again.

    Attributes:
        values: [clips, ...].
        length: samples of a clip.
    """

    values: jax.Array
    length: int


class FilterParts:
    """Free parts of a FilterbankSpec: the parameters of a learnable SincNet.

    Args:
        spec: the start.
        free: parts and their reach.
        latency_ms: of the codec, at most.
    """

    def __init__(
        self, spec: FilterbankSpec, free: Mapping[str, float] | None, latency_ms: float | None
    ) -> None:
        if spec.padding != "zeros":
            raise ValueError(
                f"padding={spec.padding!r}: the decoders of its edges belong to the spec's "
                "filters; optimise with padding='zeros'"
            )
        parts = ("center", "bandwidth", "window", "shape", "kernel")
        self.spec, self.free = spec, _settle_free(free, FREE_FILTERS, parts)
        self.lead = None if latency_ms is None else self._lead(latency_ms)
        # The decoder is solved here in each step; the module's own is for nothing.
        self.model = SincNet(
            spec,
            DecoderSpec("free", num_frames=1, first_frame=0),
            learnable_filters=True,
            window_terms=int(self.free.get("window", 0)),
        )
        wide = self.model.clone(dtype=jnp.float64)
        self.wide = wide
        params = jax.jit(wide.init)(jax.random.key(0), jnp.zeros((1, spec.hop_length)))["params"]
        self.start = {name: np.asarray(one) for name, one in params["analysis"].items()}
        own = set(self.start) - {"center", "bandwidth", "window"}
        if "kernel" in self.free:
            self.start["kernel"] = np.zeros((spec.num_channels, int(self.free["kernel"])))
        self.names = [name for name in self.start if self._reach(name) is not None]
        if "shape" in self.free and not own:
            raise ValueError(
                f"shape={spec.shape!r} has no parameters of its own; free center, bandwidth or "
                "window"
            )
        low, high = [], []
        for name in self.names:
            start, ones = self.start[name].ravel(), np.ones(self.start[name].size)
            low.append(-ones)
            room = ones
            if name == "center":  # none beyond the Nyquist frequency, which is 1
                room = (1.0 - start) / np.maximum(self.free["center"] * start, 1e-12)
            high.append(np.minimum(ones, room))
        self.bounds = list(zip(np.concatenate(low), np.concatenate(high), strict=True))
        is_near = design.frame_bounds(spec).condition <= _ROUGH_CONDITION
        self.ridges = _RIDGES[-1:] if is_near else _RIDGES

    def _lead(self, latency_ms: float) -> int:
        """Samples that a frame may emit before its position."""
        samples, trail = int(latency_ms * self.spec.sample_rate / 1000), self.spec.bank.trail
        least = max(self.spec.hop_length - 1, trail)
        if samples < least:
            raise ValueError(
                f"latency_ms={latency_ms:g}: frames of this bank wait "
                f"{1000 * least / self.spec.sample_rate:.3g} ms (hop_length={self.spec.hop_length},"
                f" {trail} samples ahead); use a shorter hop, or causal=True"
            )
        return samples - trail

    @property
    def num_frames(self) -> int:
        """Frames of a decoder whose latency is bounded."""
        return 2 * -(-self.spec.taps // self.spec.hop_length)

    def _reach(self, name: str) -> float | None:
        own = name if name in ("center", "bandwidth", "window", "kernel") else "shape"
        return self.free.get(own)

    def params(self, values: Any) -> dict[str, Any]:
        """Parameters of the model: the start, moved by values between -1 and 1."""
        found, at, xp = dict(self.start), 0, jnp if isinstance(values, jax.Array) else np
        for name in self.names:
            start, reach = self.start[name], self._reach(name)
            assert reach is not None
            moved = values[at : at + start.size].reshape(start.shape)
            at += start.size
            if name == "center":
                found[name] = start * (1 + reach * moved)
            elif name == "bandwidth":
                found[name] = start * xp.exp(np.log(reach) * moved)
            else:
                largest = {"window": _LARGEST_TERM, "kernel": _LARGEST_TAP}.get(name, reach)
                found[name] = start + largest * moved
        return found

    def kernels(self, values: Any) -> jax.Array:
        """Kernels [channels, taps], float64."""
        params = self.params(values)
        short = params.pop("kernel", None)
        found: Any = self.wide.apply({"params": {"analysis": params}}, method="filters")
        if short is None:
            return found
        # (delta + w) * k, as long as k: what reaches beyond its ends is cut off.
        half, taps = short.shape[1] // 2, found.shape[1]
        padded = jnp.pad(found, ((0, 0), (half, half)))
        shifted = [short[:, [j]] * padded[:, 2 * half - j :][:, :taps] for j in range(2 * half + 1)]
        support = jnp.asarray(self.spec.bank.tap_support, found.dtype)
        return found + sum(shifted) * support

    def prepare(self, clips: np.ndarray) -> Prepared:
        """Clips as their frames [clips, frames, taps]: of these, kernels make a plain product."""
        taps, hop, length = self.spec.taps, self.spec.hop_length, clips.shape[-1]
        padded = framing.pad_for_frames(
            jnp.asarray(clips),
            lead=taps // 2,
            trail=taps - 1 - taps // 2,
            hop_length=hop,
            grid=self.spec.bank.frame_grid(length),
            padding=self.spec.padding,
        )
        frames = np.lib.stride_tricks.sliding_window_view(np.asarray(padded), taps, axis=-1)
        return Prepared(jnp.asarray(frames[:, ::hop]), length)

    def apply(
        self, values: jax.Array, prepared: Prepared, ridge: Any
    ) -> tuple[jax.Array, targets.Bank]:
        """Coefficients of clips, and the bank."""
        kernels, hop = self.kernels(values), self.spec.hop_length
        invert = functools.partial(self._invert, kernels, ridge=ridge)
        length = prepared.length

        def decode(spectrogram: Any) -> Any:
            found = invert(jnp.ones(kernels.shape[0], kernels.dtype))
            first = self.spec.bank.frame_grid(length).first
            return framing.synthesize_frames(
                spectrogram, found.kernels, hop_length=hop, lead=found.lead, first_frame=first,
                length=length,
            )  # fmt: skip

        spectrogram = jnp.matmul(prepared.values, kernels.T, precision="highest")
        return spectrogram, targets.Bank(hop, invert, decode)

    def _invert(self, kernels: jax.Array, noise: jax.Array, *, ridge: Any) -> Inverse:
        hop = self.spec.hop_length
        if self.lead is None:
            # Kernels of more hops have more detail in frequency.
            blocks = max(_BLOCKS, 2 * -(-self.spec.taps // hop))
            return differentiable_inverse.periodic_inverse(
                kernels, noise, hop_length=hop, ridge=ridge, num_blocks=blocks
            )
        return differentiable_inverse.positioned_inverse(
            kernels, noise, hop_length=hop, num_frames=self.num_frames, lead=self.lead, ridge=ridge
        )

    def noise(
        self, values: np.ndarray, target: targets.Target, clips: np.ndarray
    ) -> np.ndarray | None:
        """Variances that the decoder is made for."""
        prepared = self.prepare(clips)

        @jax.jit
        def variances(values: jax.Array, clips: jax.Array, power: jax.Array) -> jax.Array | None:
            spectrogram, _ = self.apply(values, prepared._replace(values=clips), 0.0)
            return target.noise(spectrogram, power)

        power = targets.power_of(jnp.asarray(clips))
        found = variances(jnp.asarray(values), prepared.values, power)
        return None if found is None else np.asarray(found)

    def codec(self, values: np.ndarray, noise: np.ndarray | None) -> Codec:
        """Codec of the learned filters, with the decoder that loses the least in float32."""
        model, params = self.model, self.params(values)
        if "kernel" in params:
            with jax_names.enable_x64(True):
                params = {"taps": np.asarray(self.kernels(jnp.asarray(values)))}
            model = model.clone(learnable_filters="free", window_terms=0)
        params = {name: jnp.asarray(one, jnp.float32) for name, one in params.items()}
        variables = {"params": {"analysis": params}}
        least = self._heard(values, noise)
        best: Any = None
        for decoder in self._decoders(noise):
            solved = solve_decoder(model, variables, decoder)
            if best is None or solved.expected_snr_db > best.expected_snr_db:
                best = solved
            energies = np.sum(solved.values**2, axis=1) / self.spec.hop_length
            heard = np.sum(energies if noise is None else noise * energies)
            if solved.residual <= _SOLVED_RESIDUAL and heard <= _NOISIER * least:
                best = solved
                break
        self.solved = best
        return Codec(*with_solved_decoder(model, variables, best), "optimised")

    def _heard(self, values: np.ndarray, noise: np.ndarray | None) -> float:
        """Power of the noise behind the best of all exact decoders."""

        @jax.jit
        def power(values: jax.Array, noise: jax.Array) -> jax.Array:
            found = self._invert(self.kernels(values), noise, ridge=_RIDGES[-1])
            return jnp.sum(noise * found.energies(self.spec.hop_length))

        with jax_names.enable_x64(True):
            ones = np.ones(self.spec.num_channels)
            return float(power(jnp.asarray(values), jnp.asarray(ones if noise is None else noise)))

    def _decoders(self, noise: np.ndarray | None) -> list[DecoderSpec]:
        more: dict[str, Any] = {} if noise is None else {"noise_variance": tuple(noise.tolist())}
        if self.lead is not None:
            more |= {"lead": self.lead, "num_frames": self.num_frames}
            return [DecoderSpec("least_squares", **more)]
        hop, least = self.spec.hop_length, self.spec.taps // 2
        counts = [("least_squares", n) for n in _FRAMES if least <= n * hop <= _MOST_SOLVED_SAMPLES]
        counts += [("dual", count) for count in _DUAL_FRAMES]
        return [DecoderSpec(kind, count, **more) for kind, count in counts]  # type: ignore[arg-type]

    def start_codec(self) -> Codec:
        """Codec of the spec, as anybody would build it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotInvertibleWarning)
            return build_codec(SincNet(self.spec))

    def facts(self, values: np.ndarray, codec: Any) -> dict[str, Any]:
        """What the certificate says of the bank."""
        filters = jax.jit(functools.partial(codec.model.apply, method="filters"))
        kernels = np.asarray(filters(codec.variables), np.float64)
        center = self.start["center"]
        moved = np.abs(np.asarray(self.params(values)["center"]) - center)
        wait = self.solved.lead if self.lead is None else self.lead
        return {
            "start_bounds": design.frame_bounds(self.spec),
            "bounds": frame_theory.frame_bounds_of_kernels(
                kernels, hop_length=self.spec.hop_length
            ),
            "expected_snr_db": self.solved.expected_snr_db,
            "noise_gain": self.solved.noise_gain,
            "largest_shift": float(np.max(moved / np.maximum(center, 1e-12))),
            "latency_ms": 1000 * (wait + self.spec.bank.trail) / self.spec.sample_rate,
        }


class LappedParts:
    """Free parts of a LappedSpec: the angles of its window, orthonormal whatever they are.

    Args:
        spec: the start.
        free: terms of the window.
        latency_ms: of the codec, at most.
    """

    ridges = (0.0,)

    def __init__(
        self, spec: LappedSpec, free: Mapping[str, float] | None, latency_ms: float | None
    ) -> None:
        hop = spec.hop_length
        limited = dict(FREE_LAPPED, window=min(int(FREE_LAPPED["window"]), hop // 2))
        terms = int(_settle_free(free, limited, ("window",))["window"])
        if terms > hop // 2:
            raise ValueError(f"free['window']={terms}: hop_length={hop} has {hop // 2} angles")
        self.spec, self.latency_ms = spec, 1000 * spec.latency / spec.sample_rate
        if latency_ms is not None and latency_ms < self.latency_ms:
            raise ValueError(
                f"latency_ms={latency_ms:g}: this bank waits {self.latency_ms:.3g} ms whatever its "
                "window; use a shorter hop"
            )
        # Angles a(s), s = pi (n + 1/2) / (2 N), mirror themselves at pi / 4, as sin(4 k s) does.
        place = np.pi / (2 * hop) * (np.arange(hop // 2) + 0.5)
        self.series = np.sin(4 * np.arange(1, terms + 1)[:, None] * place)
        self.bounds = [(-1.0, 1.0)] * terms

    def angles(self, values: Any) -> Any:
        """Angles of the window [N / 2]."""
        return self.spec.window_angles() + _LARGEST_ANGLE * (values @ self.series)

    def prepare(self, clips: np.ndarray) -> Prepared:
        """Clips as they are."""
        return Prepared(jnp.asarray(clips), clips.shape[-1])

    def apply(
        self, values: jax.Array, prepared: Prepared, ridge: Any
    ) -> tuple[jax.Array, targets.Bank]:
        """Coefficients of clips, and the bank."""
        angles, framed = self.angles(values), dict[str, Any](framing=self.spec.framing)
        hop, waveform, length = self.spec.hop_length, prepared.values, prepared.length
        # The inverse is the transpose: noise comes out as it goes in.
        own = Inverse(jnp.eye(hop, dtype=waveform.dtype), 0, jnp.zeros((), waveform.dtype))
        return (
            lapped_transform.analyse_lapped(waveform, angles, **framed),
            targets.Bank(
                hop,
                lambda noise: own,
                lambda values: lapped_transform.synthesise_lapped(  # type: ignore[return-value]
                    values, angles, length=length, **framed
                ),
            ),
        )

    def noise(self, values: np.ndarray, target: targets.Target, clips: np.ndarray) -> None:
        """None: the decoder is what it is."""
        return

    def codec(self, values: np.ndarray, noise: None) -> LappedCodec:
        """Codec of the learned window."""
        angles = jnp.asarray(self.angles(values), jnp.float32)
        model = LappedBank(self.spec, learnable=True)
        return LappedCodec(model, {"params": {"angles": angles}}, "optimised")

    def start_codec(self) -> LappedCodec:
        """Codec of the spec."""
        return build_lapped_codec(LappedBank(self.spec))

    def facts(self, values: np.ndarray, codec: Any) -> dict[str, Any]:
        """What the certificate says of the bank."""
        return {
            "start_bounds": self.spec.frame_bounds,
            "bounds": self.spec.frame_bounds,
            "expected_snr_db": float("inf"),
            "noise_gain": 1.0,
            "largest_shift": 0.0,
            "latency_ms": self.latency_ms,
        }
