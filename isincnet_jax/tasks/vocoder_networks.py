"""Vocoder networks of a config, their features and what they learn by.

To train another kind of network, add it to :data:`KINDS` (and to
``isincnet_jax.vocoders.vocoder.NETWORKS``, by which it is stored).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp import fourier
from isincnet_jax.pretrained.trained import load_vocoder
from isincnet_jax.tasks.config import Config
from isincnet_jax.training import step as train_step
from isincnet_jax.training.losses import WeightedLoss
from isincnet_jax.vocoders import losses as vocoder_losses
from isincnet_jax.vocoders import training as vocoding
from isincnet_jax.vocoders.features import VocoderFeatures
from isincnet_jax.vocoders.networks.cnn import CNNVocoder
from isincnet_jax.vocoders.networks.convnext import ConvNeXtVocoder
from isincnet_jax.vocoders.networks.istftnet import ISTFTNet
from isincnet_jax.vocoders.networks.magnitude import MagnitudeVocoder
from isincnet_jax.vocoders.networks.phase_gradient import PhaseGradientVocoder
from isincnet_jax.vocoders.vocoder import InputScale, TrainedVocoder, Vocoder


class Parts(NamedTuple):
    """Parts that a kind of vocoder is made of.

    Attributes:
        network: Linen module, see :data:`.vocoder.NETWORKS`.
        features: its spectrograms.
        loss: of waveforms; that of ``config.loss`` unless the kind has its own.
        input_scale: of the spectrograms that the network sees.
        borrowed: parameters of the network that are taken as they are and not learned, by name.
        generate: what is trained, see :func:`.training.make_vocoder_step`; the vocoder's waveform
            if None. It may return any pytree that the loss understands.
    """

    network: Any
    features: VocoderFeatures
    loss: WeightedLoss
    input_scale: InputScale = "linear"
    borrowed: dict[str, Any] | None = None
    generate: Callable[[Vocoder], vocoding.Generate] | None = None


def _config_features(config: Config) -> VocoderFeatures:
    """The features of a config."""
    model, fields = config.model, {}
    if model.input == "bank":
        fields["bank"] = FilterbankSpec(
            sample_rate=config.data.sample_rate,
            hop_length=model.hop_length,
            num_bins=model.bank_bins,
            scale=model.bank_scale,
        )
    else:
        fields.update(n_fft=model.n_fft, win_length=model.win_length)
    if model.input.startswith("mel"):
        fields.update(n_mels=model.n_mels, fmin=model.fmin, fmax=model.fmax or None)
    return VocoderFeatures(
        model.input, config.data.sample_rate, hop_length=model.hop_length, **fields
    )


def _config_loss(config: Config) -> WeightedLoss:
    """The loss of a config."""
    weights = {name: weight for name, weight in config.loss.items() if weight is not None}
    return vocoder_losses.vocoder_loss(weights, sample_rate=config.data.sample_rate)


def _cnn(config: Config) -> Parts:
    features = _config_features(config)
    network = CNNVocoder(
        num_bins=features.num_bins, axis_name=train_step.AXIS, **_attributes(config.model.cnn)
    )
    return Parts(network, features, _config_loss(config), input_scale="normalized")


def _convnext(config: Config) -> Parts:
    features, fields = _config_features(config), _attributes(config.model.convnext)
    network = ConvNeXtVocoder(
        num_bins=features.num_bins,
        hop_length=features.hop_length,
        win_length=min(config.model.win_length, fields["n_fft"]),
        **fields,
    )
    return Parts(network, features, _config_loss(config))


def _istftnet(config: Config) -> Parts:
    features = _config_features(config)
    network = ISTFTNet(num_bins=features.num_bins, **_attributes(config.model.istftnet))
    return Parts(network, features, _config_loss(config))


def _geometry(config: Config, features: VocoderFeatures, *, learns: str) -> dict[str, int]:
    """Bins and STFT of a network that learns something else than waveforms."""
    model = config.model
    if config.adversary.enabled:
        raise ValueError(
            f"adversary.enabled=True: discriminators judge waveforms; {model.kind} learns {learns}"
        )
    stft = {name: model[name] for name in ("n_fft", "win_length", "hop_length")}
    return {"num_bins": features.num_bins, **stft}


def _phase_gradient(config: Config) -> Parts:
    features = _config_features(config)
    network = PhaseGradientVocoder(
        **_geometry(config, features, learns="phases"), **_attributes(config.model.phase_gradient)
    )

    def unlikely(vocoder: Vocoder, waveform: jax.Array, key: jax.Array) -> jax.Array:
        # The network sees the features; the phases that it is judged by are those of the clip.
        spectrum = fourier.stft(
            waveform,
            n_fft=network.phase_samples,
            hop_length=network.hop_length,
            win_length=network.window_samples,
        )
        points = -(-config.model.phase_points // waveform.shape[0])
        return vocoder.network.drawn_surprise(
            vocoder.analyse(waveform), spectrum, key, num_points=points
        )

    def loss(*, prediction: jax.Array, target: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        del target  # the surprise has seen it
        total = jnp.mean(prediction)
        return total, {"surprise": total}

    return Parts(network, features, loss, generate=_learns(unlikely))


def _learns(method: Callable[[Vocoder, jax.Array, jax.Array], jax.Array]) -> Any:
    """What is trained is what a function of vocoder, waveform and key says, without statistics."""

    def learn(module: Vocoder) -> vocoding.Generate:
        def generate(variables: Any, waveform: jax.Array, key: jax.Array) -> tuple[Any, Any]:
            return module.apply(variables, waveform, key, method=method), {}

        return generate

    return learn


def _magnitude(config: Config) -> Parts:
    features, fields = _config_features(config), _attributes(config.model.magnitude)
    geometry = _geometry(config, features, learns="magnitudes")
    if not features.is_mel:
        raise ValueError(
            f"model.input={config.model.input!r}: the magnitudes of mel spectrograms are learned; "
            "use mel_slaney or mel_htk"
        )
    phases = _phases_of(config.model.phases)
    if phases is not None:
        own = phases.model.network
        fields |= {"phase_widths": own.widths, "phase_patch_bins": own.patch_bins}
    network = MagnitudeVocoder(
        **geometry,
        filters=features.kind,
        sample_rate=features.sample_rate,
        fmin=features.fmin,
        fmax=features.fmax,
        **fields,
    )

    def magnitudes(waveform: jax.Array) -> jax.Array:
        return fourier.stft_power(
            waveform,
            n_fft=network.n_fft,
            hop_length=network.hop_length,
            win_length=network.win_length,
            power=1.0,
        )

    def loss(*, prediction: jax.Array, target: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        # |STFT| of the clip itself, not of its features, is what is learned.
        distances = vocoder_losses.magnitude_distance(
            prediction=prediction, target=magnitudes(target)
        )
        total = jnp.mean(distances)
        return total, {"magnitude": total}

    def estimate(vocoder: Vocoder, waveform: jax.Array, key: jax.Array) -> jax.Array:
        del key
        return vocoder.network.magnitude(vocoder.analyse(waveform))

    borrowed = None
    if phases is not None:
        # What the two see has to be the same but for the phases' own features.
        wanted = PhaseGradientVocoder(**network.phase_fields)
        if wanted != phases.model.network:
            raise ValueError(
                f"model.phases: {phases.model.network} is of another geometry than the "
                f"mels' STFT, which needs {wanted}"
            )
        borrowed = {"phases": phases.variables["params"]["network"]}
    return Parts(network, features, loss, borrowed=borrowed, generate=_learns(estimate))


def _phases_of(name: str) -> TrainedVocoder | None:
    """The phase-gradient vocoder whose phases are used, by name or path; None for no name."""
    if not name:
        return None
    found = load_vocoder(name)
    if not isinstance(found.model.network, PhaseGradientVocoder):
        raise ValueError(
            f"model.phases={name!r}: a {type(found.model.network).__name__} has no steps "
            "of phase; use a PhaseGradientVocoder such as 22khz-speech-vocoder"
        )
    return found


KINDS: dict[str, Callable[[Config], Parts]] = {
    "cnn": _cnn,
    "convnext": _convnext,
    "istftnet": _istftnet,
    "magnitude": _magnitude,
    "phase_gradient": _phase_gradient,
}
"""Kinds of networks, ``config.model.kind``."""


def _attributes(fields: Config) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
