"""Vocoder: what its spectrograms are, the network that inverts them, how it is used.

Spectrograms that go in and out are always linear magnitudes, [..., frames, bins]; what else a
network wants to see of them (normalised decibels, logarithms) is made inside.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias, get_args

import flax.struct
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import range_projection
from isincnet_jax.dsp.settling import settles
from isincnet_jax.linen import SettledModule, TrainedModel
from isincnet_jax.phase import curl, heap_integration
from isincnet_jax.typing import Array, Waveform
from isincnet_jax.vocoders import compression as vocoder_features
from isincnet_jax.vocoders import polish as vocoder_polish
from isincnet_jax.vocoders.features import CHUNK_FRAMES, VocoderFeatures, frame_windows
from isincnet_jax.vocoders.networks.cnn import CNNVocoder
from isincnet_jax.vocoders.networks.convnext import ConvNeXtVocoder
from isincnet_jax.vocoders.networks.istftnet import ISTFTNet
from isincnet_jax.vocoders.networks.magnitude import MagnitudeVocoder
from isincnet_jax.vocoders.networks.phase_gradient import PhaseGradientVocoder

InputScale: TypeAlias = Literal["linear", "normalized"]

NETWORKS: dict[str, Any] = {
    "cnn": CNNVocoder,
    "convnext": ConvNeXtVocoder,
    "istftnet": ISTFTNet,
    "magnitude": MagnitudeVocoder,
    "phase_gradient": PhaseGradientVocoder,
}
"""Networks that vocoders are made of and stored by, by name.

A network is a Linen module of JSON-able attributes and ``dtype`` with properties or attributes
``num_bins`` and ``hop`` (samples per frame). It is called with features [batch, frames, bins],
``length`` and ``train``; frame t belongs to sample ``hop t``. One that looks farther than 64 frames
says so by ``context_frames``, None for all of them.
"""

_CONTEXT_FRAMES = 64


class Vocoder(SettledModule):
    """Features and the network that turns them back into a waveform.

    Attributes:
        network: one of :data:`NETWORKS`, with the bins and hop of the features.
        features: what spectrograms are.
        input_scale: what the network sees: "linear" magnitudes, or "normalized" decibels in [0, 1]
            (:func:`.compression.normalize_magnitude`), as CNNVocoder.
        fit: iterations of :func:`.range_projection.project_onto` behind the network, towards the
            features that were given: what they determine is met, whatever the network made of
            them. Each takes about three analyses; the whole clip is then the context.
        dtype: of waveforms, that of the network.
        precision: of the features' products on accelerators.

    Raises:
        ValueError: if network and features do not go together.

    Example:
        >>> features = VocoderFeatures("mel_slaney", n_fft=512, win_length=512, n_mels=20)
        >>> network = ConvNeXtVocoder(num_bins=20, width=8, num_blocks=1, n_fft=512, hop_length=256)
        >>> vocoder = Vocoder(network, features)
        >>> waveform = jnp.zeros((1, 4000), jnp.float32)
        >>> jax.eval_shape(vocoder.init_with_output, jax.random.key(0), waveform)[0].shape
        (1, 4000)
    """

    network: Any
    features: VocoderFeatures
    input_scale: InputScale = "linear"
    fit: int = 0
    dtype: Any = jnp.float32
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    def __post_init__(self) -> None:
        """Checks the arguments."""
        if self.input_scale not in get_args(InputScale):
            known = " or ".join(map(repr, get_args(InputScale)))
            raise ValueError(f"input_scale={self.input_scale!r} is unknown; use {known}")
        if self.fit < 0:
            raise ValueError(f"fit={self.fit} must be 0 or more iterations, say 10")
        pairs = {
            "num_bins": (self.network.num_bins, self.features.num_bins),
            "hop": (self.network.hop, self.features.hop_length),
            "dtype": (jnp.dtype(self.network.dtype), jnp.dtype(self.dtype)),
        }
        for name, (found, wanted) in pairs.items():
            if found != wanted:
                raise ValueError(
                    f"network.{name}={found}: the features and the vocoder have {wanted}; "
                    "make the network with that"
                )
        self._check_geometry()
        super().__post_init__()

    def _check_geometry(self) -> None:
        """Refuses features of another STFT than a network that counts on one."""
        wanted = getattr(self.network, "stft", None)
        if wanted is None:
            return
        found = {**self.features.facts(), "window": "hann"}
        differing = {
            name: (found.get(name), value)
            for name, value in wanted.items()
            if found.get(name) != value
        }
        if differing:
            listed = ", ".join(
                f"{name}={one!r} (the network has {other!r})"
                for name, (one, other) in differing.items()
            )
            raise ValueError(f"features of {listed}: make both for the same STFT")

    def analyse(self, waveform: Waveform) -> Float[jax.Array, "... frames bins"]:
        """Spectrogram of a waveform; needs no variables.

        Args:
            waveform: [..., time], floating, full scale 1, at ``features.sample_rate``.

        Returns:
            Linear magnitudes [..., frames, num_bins].
        """
        return self.features.of(jnp.asarray(waveform, self.dtype), precision=self.precision)

    @settles
    def synthesize(
        self,
        spectrogram: Float[Array, "batch frames bins"],
        *,
        length: int | None = None,
        train: bool = False,
    ) -> Waveform:
        """The waveform of a spectrogram, at its level.

        Args:
            spectrogram: linear magnitudes [batch, frames, num_bins].
            length: samples; ``frames * hop_length`` if None.
            train: whether BatchNorm uses and collects the statistics of the batch.

        Returns:
            [batch, length].
        """
        spectrogram = shown = jnp.asarray(spectrogram, self.dtype)
        if self.input_scale == "normalized":
            shown = vocoder_features.normalize_magnitude(spectrogram)
        return self.fitted(self.network(shown, length=length, train=train), spectrogram)

    def fitted(
        self, waveform: Waveform, spectrogram: Float[Array, "batch frames bins"]
    ) -> Float[jax.Array, "batch time"]:
        """Waveform after the iterations that lead to the given spectrogram, see ``fit``.

        Args:
            waveform: [batch, time].
            spectrogram: linear magnitudes [batch, frames, num_bins] of it; frames that either
                lacks do not count.

        Returns:
            [batch, time].
        """
        if not self.fit:
            return jnp.asarray(waveform)
        frames = min(spectrogram.shape[1], self.features.num_frames(waveform.shape[-1]))
        return range_projection.project_onto(
            waveform,
            jnp.asarray(spectrogram, self.dtype)[:, :frames],
            measure=lambda samples: self.analyse(samples)[:, :frames],
            iterations=self.fit,
        )

    def __call__(self, waveform: Waveform, *, train: bool = False) -> Waveform:
        """What becomes of a waveform [batch, time]: analysis and synthesis."""
        spectrogram = self.analyse(waveform)
        return self.synthesize(spectrogram, length=waveform.shape[-1], train=train)


@flax.struct.dataclass(eq=False)
class TrainedVocoder(TrainedModel[Vocoder]):
    """Vocoder with its variables, float32: a frozen pytree, see :class:`.linen.TrainedModel`."""

    @property
    def features(self) -> VocoderFeatures:
        """Features that it takes."""
        return self.model.features

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.features.sample_rate

    def spectrogram(self, waveform: Waveform) -> Float[jax.Array, "... frames bins"]:
        """Spectrogram of a waveform, as :meth:`synthesize` wants it.

        Args:
            waveform: [..., time], floating, full scale 1, at ``sample_rate``.

        Returns:
            Linear magnitudes [..., frames, num_bins], in the model's dtype.
        """
        return _analyse(self.model, jnp.asarray(waveform, self.model.dtype))

    @settles
    def synthesize(
        self,
        spectrogram: Float[Array, "... frames bins"],
        *,
        length: int | None = None,
        chunk_frames: int = CHUNK_FRAMES,
        polish: int = 0,
        heap: bool = False,
        online: bool = False,
    ) -> Float[Array, "... time"]:
        """The waveform of a spectrogram.

        Long ones go through the network in parts that overlap; the result is that of the whole.
        Under ``jit``, ``vmap`` and ``grad``, of the spectrogram or of this vocoder, the whole goes
        through at once, and values, which are not known yet, are not checked.

        Args:
            spectrogram: linear magnitudes [..., frames, bins] of the model's features.
            length: samples, at most ``frames * hop_length``, which it is if None.
            chunk_frames: frames of a part.
            polish: iterations of fast Griffin-Lim that follow, towards the spectrogram; only with
                features of kind "linear". Each is an analysis and a synthesis.
            heap: whether phases are first integrated along the surest steps, on the host: better,
                slower, and only of networks that predict steps.
            online: whether the phases of a frame may follow from the frames before and a few after
                it only: what :func:`.online.stream_vocoder` makes of frames as they come, and only
                of networks that predict steps.

        Returns:
            [..., length]; NumPy, unless something is traced.

        Raises:
            TypeError: if it is not an array of real floating numbers, or traced with ``heap``.
            ValueError: for other bins, no frames, NaN, negative values (decibels, say), a length
                that the frames do not have, polishing towards other features, or ``heap`` or
                ``online`` with a network that predicts no steps.
        """
        vocoder_features.check_spectrogram(spectrogram, num_bins=self.features.num_bins)
        options: Any = {"length": length, "chunk_frames": chunk_frames, "polish": polish}
        options.update(heap=heap, online=online)
        traced = self._is_traced(spectrogram)
        values: Any = (jnp if traced else np).asarray(spectrogram)
        clips = values.reshape((math.prod(values.shape[:-2]), *values.shape[-2:]))
        if traced:
            found = self._at_once(clips, **options)
        else:
            found = np.concatenate(list(self.synthesize_blocks(clips, **options)), axis=-1)
        return found.reshape((*values.shape[:-2], found.shape[-1]))

    @settles
    def synthesize_blocks(
        self,
        spectrogram: Any,
        *,
        length: int | None = None,
        chunk_frames: int = CHUNK_FRAMES,
        polish: int = 0,
        heap: bool = False,
        online: bool = False,
    ) -> Iterator[Float[np.ndarray, "batch samples"]]:
        """:meth:`synthesize` part by part, in constant memory.

        Args:
            spectrogram: [batch, frames, bins], an array or what is sliced like one, such as a
                mapped file; checked part by part.
            length: see :meth:`synthesize`.
            chunk_frames: frames of a part.
            polish: see :meth:`synthesize`; parts overlap by what the iterations reach.
            heap: see :meth:`synthesize`.
            online: see :meth:`synthesize`; the clip goes through as a whole.

        Yields:
            Consecutive samples, [batch, samples].

        Raises:
            TypeError, ValueError: see :meth:`synthesize`.
        """
        if self._is_traced(spectrogram):
            raise TypeError(
                "spectrogram is traced: blocks are made on the host, outside jit, vmap and grad; "
                "use synthesize there"
            )
        length = self._checked_length(spectrogram.shape, length, polish, chunk_frames)
        synthesise = self._way(heap=heap, online=online)
        found = self._blocks(spectrogram, length, chunk_frames, synthesise)
        if polish:
            found = vocoder_polish.polished_blocks(
                found,
                spectrogram,
                features=self.features,
                length=length,
                num_iterations=polish,
                chunk_frames=chunk_frames,
            )
        yield from found

    def _is_traced(self, spectrogram: Any) -> bool:
        leaves = jax.tree.leaves((spectrogram, self.variables))
        return any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)

    def _checked_length(
        self, shape: tuple[int, ...], length: int | None, polish: int, chunk_frames: int
    ) -> int:
        """Length of the waveform of a spectrogram [batch, frames, bins]."""
        vocoder_polish.check_polish(self.features, polish)
        if chunk_frames < 1:
            raise ValueError(f"chunk_frames={chunk_frames} must be at least 1")
        vocoder_features.check_shape(shape, num_bins=self.features.num_bins)
        return self.features.checked_length(length, num_frames=shape[1])

    def _way(self, *, heap: bool, online: bool) -> Callable[..., Any]:
        """How phases are integrated."""
        if heap and online:
            raise ValueError("heap=True, online=True: a heap needs the whole clip; leave one out")
        if online:
            check_online(self.model)
            return _online_synthesize
        if heap:
            _check_steps(self.model, "heap=True")
        return _heap_synthesize if heap else _synthesize

    def _at_once(
        self,
        spectrogram: jax.Array,
        *,
        length: int | None,
        chunk_frames: int,
        polish: int,
        heap: bool,
        online: bool,
    ) -> jax.Array:
        """:meth:`synthesize` of [batch, frames, bins] as a whole, also of what is traced."""
        length = self._checked_length(spectrogram.shape, length, polish, chunk_frames)
        synthesise = self._way(heap=heap, online=online)
        if heap:
            raise TypeError(
                "heap=True: heap integration runs on the host, outside jit, vmap and grad; use "
                "heap=False"
            )
        found = synthesise(self.model, self.variables, spectrogram, length=length)
        if polish:
            found = vocoder_polish.polished(
                found, spectrogram, features=self.features, num_iterations=polish
            )
        return found

    def _blocks(
        self, spectrogram: Any, length: int, chunk_frames: int, synthesise: Callable[..., Any]
    ) -> Iterator[Float[np.ndarray, "batch samples"]]:
        """What the network makes of checked arguments, part by part."""
        features, hop = self.features, self.features.hop_length
        num_frames = spectrogram.shape[1]
        context = getattr(self.model.network, "context_frames", _CONTEXT_FRAMES)
        if self.model.fit:  # its inner products are those of the clip
            context = None
        # Networks that count phases from their first frame find all bins at whole turns there.
        align = features.n_fft // math.gcd(features.n_fft, hop)
        for window in frame_windows(num_frames, chunk=chunk_frames, context=context, align=align):
            # Frame t makes samples t hop to (t + 1) hop - 1 of the result.
            start, stop = window.start * hop, min(window.stop * hop, length)
            if start >= stop:
                return
            part = np.asarray(spectrogram[:, window.begin : window.end])
            vocoder_features.check_spectrogram(part, num_bins=features.num_bins)
            # The last part ends where the clip ends, as in training.
            own = min(window.end * hop, length) if window.end == num_frames else window.end * hop
            samples = synthesise(self.model, self.variables, part, length=own - window.begin * hop)
            yield np.asarray(samples)[:, start - window.begin * hop : stop - window.begin * hop]


def check_online(model: Vocoder) -> None:
    """Refuses models whose phases do not follow from a few frames.

    Args:
        model: any vocoder.

    Raises:
        ValueError: for a network that predicts no steps of phase, or that iterates over the clip.
    """
    _check_steps(model, "online=True")
    if model.fit:
        raise ValueError(f"fit={model.fit} goes over the whole clip; use vocoder.model of fit=0")
    if model.network.iterations:
        raise ValueError(
            f"network.iterations={model.network.iterations} go over the whole clip, online phases "
            "over a few frames; use network.clone(iterations=0)"
        )


def _check_steps(model: Vocoder, asked: str) -> None:
    if not isinstance(model.network, PhaseGradientVocoder):
        raise ValueError(
            f"{asked}: {type(model.network).__name__} predicts no steps of phase; use a "
            "PhaseGradientVocoder such as 22khz-speech-vocoder, or leave it out"
        )


@functools.partial(jax.jit, static_argnames=("model",))
def _analyse(model: Vocoder, waveform: jax.Array) -> jax.Array:
    return model.features.of(waveform, precision=model.precision)


@functools.partial(jax.jit, static_argnames=("model", "length"))
def _synthesize(model: Vocoder, variables: Any, spectrogram: Any, *, length: int) -> jax.Array:
    return model.apply(variables, spectrogram, length=length, method="synthesize")  # type: ignore[return-value]


@functools.partial(jax.jit, static_argnames=("model", "length"))
def _online_synthesize(
    model: Vocoder, variables: Any, spectrogram: Any, *, length: int
) -> jax.Array:
    def finish(vocoder: Vocoder) -> jax.Array:
        return vocoder.network.online(spectrogram, length=length)

    return model.apply(variables, method=finish)  # type: ignore[return-value]


def _heap_synthesize(model: Vocoder, variables: Any, spectrogram: Any, *, length: int) -> jax.Array:
    """:func:`_synthesize` with phases that are first integrated on the host."""
    if spectrogram.shape[1] == 1:  # no steps
        return _synthesize(model, variables, spectrogram, length=length)
    steps, sure = _steps(model, variables, spectrogram)
    start = heap_integration.edge_heap_integration(sure)
    return _from_steps(model, variables, spectrogram, steps, start, length=length)


@functools.partial(jax.jit, static_argnames=("model",))
def _steps(model: Vocoder, variables: Any, spectrogram: Any) -> tuple[Any, Any]:
    """What is swept, and what the heap is ordered by: the same, less where it has a curl."""
    steps: Any = model.apply(
        variables, spectrogram, method=lambda vocoder, x: vocoder.network.steps(x)
    )
    return steps, curl.curl_weighted(steps)


@functools.partial(jax.jit, static_argnames=("model", "length"))
def _from_steps(
    model: Vocoder, variables: Any, spectrogram: Any, steps: Any, start: Any, *, length: int
) -> jax.Array:
    def finish(vocoder: Vocoder) -> jax.Array:
        found = vocoder.network.from_steps(spectrogram, steps, start, length=length)
        return vocoder.fitted(found, spectrogram)

    return model.apply(variables, method=finish)  # type: ignore[return-value]
