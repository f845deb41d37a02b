"""From a config to a vocoder and its training. Composes, computes nothing itself.

To train another kind of network, add it to :data:`KINDS` (and to
``isincnet_jax.models.vocoder.NETWORKS``, by which it is stored).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections

from isincnet_jax.dsp import fourier
from isincnet_jax.layers.spec import FilterbankSpec
from isincnet_jax.models import discriminators
from isincnet_jax.models.cnn_vocoder import CNNVocoder
from isincnet_jax.models.convnext_vocoder import ConvNeXtVocoder
from isincnet_jax.models.istft_vocoder import ISTFTNet
from isincnet_jax.models.magnitude_vocoder import MagnitudeVocoder
from isincnet_jax.models.phase_gradient_vocoder import PhaseGradientVocoder, surprise
from isincnet_jax.models.vocoder import InputScale, Vocoder
from isincnet_jax.models.vocoder_spectrograms import VocoderFeatures
from isincnet_jax.pretrained import model_kinds
from isincnet_jax.training import optimizers, parallel, vocoder_losses, vocoding
from isincnet_jax.training import step as train_step
from isincnet_jax.training.augmentation import AugmentationSpec
from isincnet_jax.training.compiled import CompiledStep
from isincnet_jax.training.losses import WeightedLoss
from isincnet_jax.training.state import TrainState, create_state

import compose


class Parts(NamedTuple):
    """What a kind of vocoder is made of.

    Attributes:
        network: Linen module, see :data:`isincnet_jax.models.vocoder.NETWORKS`.
        features: its spectrograms.
        loss: of waveforms; :func:`config_loss` unless the kind has its own.
        input_scale: of the spectrograms that the network sees.
        generate: what is trained, see :func:`.vocoding.make_vocoder_step`; the vocoder's waveform
            if None. It may return any pytree that the loss understands.
    """

    network: Any
    features: VocoderFeatures
    loss: WeightedLoss
    input_scale: InputScale = "linear"
    generate: Callable[[Vocoder], vocoding.Generate] | None = None


class Built(NamedTuple):
    """A vocoder and what the trainer needs of it.

    Attributes:
        module: the vocoder.
        variables: initialised.
        generate: (variables, waveform, key) to what the loss is given, as it is trained.
        loss: of the prediction.
        identity: what a checkpoint must have been made with to fit.
    """

    module: Vocoder
    variables: Any
    generate: vocoding.Generate
    loss: WeightedLoss
    identity: dict[str, Any]


def config_features(config: ml_collections.ConfigDict) -> VocoderFeatures:
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


def config_loss(config: ml_collections.ConfigDict) -> WeightedLoss:
    """The loss of a config."""
    weights = {name: weight for name, weight in config.loss.items() if weight is not None}
    return vocoder_losses.vocoder_loss(weights, sample_rate=config.data.sample_rate)


def _cnn(config: ml_collections.ConfigDict) -> Parts:
    features = config_features(config)
    network = CNNVocoder(
        num_bins=features.num_bins, axis_name=train_step.AXIS, **_attributes(config.model.cnn)
    )
    return Parts(network, features, config_loss(config), input_scale="normalized")


def _convnext(config: ml_collections.ConfigDict) -> Parts:
    features, fields = config_features(config), _attributes(config.model.convnext)
    network = ConvNeXtVocoder(
        num_bins=features.num_bins,
        hop_length=features.hop_length,
        win_length=min(config.model.win_length, fields["n_fft"]),
        **fields,
    )
    return Parts(network, features, config_loss(config))


def _istftnet(config: ml_collections.ConfigDict) -> Parts:
    features = config_features(config)
    network = ISTFTNet(num_bins=features.num_bins, **_attributes(config.model.istftnet))
    return Parts(network, features, config_loss(config))


def _phase_gradient(config: ml_collections.ConfigDict) -> Parts:
    if config.adversary.enabled:
        raise ValueError(
            "adversary.enabled=True: discriminators judge waveforms; phase_gradient learns phases"
        )
    features, model = config_features(config), config.model
    network = PhaseGradientVocoder(
        num_bins=features.num_bins,
        n_fft=model.n_fft,
        win_length=model.win_length,
        hop_length=model.hop_length,
        **_attributes(model.phase_gradient),
    )

    def unlikely(vocoder: Vocoder, waveform: jax.Array) -> jax.Array:
        beliefs = vocoder.network.beliefs(vocoder.analyse(waveform))
        spectrum = fourier.stft(
            waveform,
            n_fft=network.phase_samples,
            hop_length=network.hop_length,
            win_length=network.window_samples,
        )
        return surprise(beliefs, spectrum)

    def loss(*, prediction: jax.Array, target: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        del target  # the surprise has seen it
        total = jnp.mean(prediction)
        return total, {"surprise": total}

    return Parts(network, features, loss, generate=_learns(unlikely))


def _learns(method: Callable[[Vocoder, jax.Array], jax.Array]) -> Any:
    """What is trained is what a function of vocoder and waveform says, without statistics."""

    def learn(module: Vocoder) -> vocoding.Generate:
        def generate(variables: Any, waveform: jax.Array, key: jax.Array) -> tuple[Any, Any]:
            del key
            return module.apply(variables, waveform, method=method), {}

        return generate

    return learn


def _magnitude(config: ml_collections.ConfigDict) -> Parts:
    if config.adversary.enabled:
        raise ValueError(
            "adversary.enabled=True: discriminators judge waveforms; magnitude learns magnitudes"
        )
    features, model = config_features(config), config.model
    network = MagnitudeVocoder(
        num_bins=features.num_bins,
        n_fft=model.n_fft,
        win_length=model.win_length,
        hop_length=model.hop_length,
        **_attributes(model.magnitude),
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
        distances = vocoder_losses.magnitude_distance(
            prediction=prediction, target=magnitudes(target)
        )
        total = jnp.mean(distances)
        return total, {"magnitude": total}

    def estimate(vocoder: Vocoder, waveform: jax.Array) -> jax.Array:
        return vocoder.network.magnitude(vocoder.analyse(waveform))

    return Parts(network, features, loss, generate=_learns(estimate))


KINDS: dict[str, Callable[[ml_collections.ConfigDict], Parts]] = {
    "cnn": _cnn,
    "convnext": _convnext,
    "istftnet": _istftnet,
    "magnitude": _magnitude,
    "phase_gradient": _phase_gradient,
}
"""Kinds of networks, ``config.model.kind``."""


class Told(NamedTuple):
    """What a phase-gradient vocoder says while it learns.

    Attributes:
        waveform: [batch, time].
        surprise: at the phases that there were, [batch].
    """

    waveform: jax.Array
    surprise: jax.Array


def _phase_gradient(config: ml_collections.ConfigDict) -> Parts:
    if config.adversary.enabled:
        raise ValueError(
            "adversary.enabled=True: discriminators judge waveforms alone; phase_gradient learns "
            "from phases too, train it without"
        )
    features, model = config_features(config), config.model
    network = PhaseGradientVocoder(
        num_bins=features.num_bins,
        n_fft=model.n_fft,
        win_length=model.win_length,
        hop_length=model.hop_length,
        **_attributes(model.phase_gradient),
    )
    spectral, weight = config_loss(config), config.surprise_weight

    def loss(*, prediction: Told, target: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        total, terms = spectral(prediction=prediction.waveform, target=target)
        unlikely = jnp.mean(prediction.surprise)
        return total + weight * unlikely, {**terms, "surprise": unlikely}

    return Parts(network, features, loss, generate=_told)


def _told(module: Vocoder) -> vocoding.Generate:
    network = module.network

    def generate(variables: Any, waveform: jax.Array, key: jax.Array) -> tuple[Told, Any]:
        del key

        def both(vocoder: Vocoder, waveform: jax.Array) -> Told:
            magnitude = vocoder.analyse(waveform)
            beliefs = vocoder.network.beliefs(magnitude)
            found = vocoder.network(magnitude, length=waveform.shape[-1], beliefs=beliefs)
            spectrum = fourier.stft(
                waveform,
                n_fft=network.phase_samples,
                hop_length=network.hop_length,
                win_length=network.window_samples,
            )
            return Told(found, surprise(beliefs, spectrum))

        told: Any = module.apply(variables, waveform, method=both)
        return told, {}

    return generate


def _attributes(fields: ml_collections.ConfigDict) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}


def build_vocoder(config: ml_collections.ConfigDict) -> Built:
    """The vocoder of a config, initialised from its seed.

    Raises:
        ValueError: for an unknown kind, and what the modules refuse.
    """
    if config.model.kind not in KINDS:
        options = ", ".join(KINDS)
        raise ValueError(f"model.kind={config.model.kind!r} is unknown; use {options}")
    parts = KINDS[config.model.kind](config)
    module = Vocoder(parts.network, parts.features, parts.input_scale)
    clip = jnp.zeros((1, 4 * parts.features.hop_length), jnp.float32)
    variables = jax.jit(module.init)(jax.random.key(config.seed), clip)
    generate = (parts.generate or _waveforms)(module)
    kind = model_kinds.kind_of(module)
    identity = {"kind": kind.name, **kind.plain_fields(module)}
    return Built(module, variables, generate, parts.loss, identity)


def _waveforms(module: Vocoder) -> vocoding.Generate:
    def generate(variables: Any, waveform: jax.Array, key: jax.Array) -> tuple[Any, Any]:
        del key
        found, changed = module.apply(variables, waveform, train=True, mutable=["batch_stats"])
        rest = {name: tree for name, tree in variables.items() if name != "params"}
        return found, {**rest, **changed}

    return generate


def build_optimizer(config: ml_collections.ConfigDict) -> Any:
    """The optimiser of the vocoder.

    Raises:
        ValueError: for numbers out of range.
    """
    if config.optimizer.accumulate != 1:
        raise ValueError(
            f"optimizer.accumulate={config.optimizer.accumulate}: batches of vocoders are not "
            "divided; use 1 and a smaller data.batch_size"
        )
    return compose.build_optimizer(config)


def build_adversary(config: ml_collections.ConfigDict) -> tuple[vocoding.Adversary | None, Any]:
    """The discriminators of a config and their initial parameters; None without."""
    fields = config.adversary
    if not fields.enabled:
        return None, None
    module = discriminators.VocoderDiscriminator(
        discriminators.MultiPeriodDiscriminator(tuple(fields.periods), tuple(fields.period_widths)),
        discriminators.MultiResolutionDiscriminator(widths=tuple(fields.resolution_widths)),
    )
    spec = optimizers.OptimizerSpec(
        learning_rate=fields.learning_rate,
        weight_decay=0.0,
        schedule=config.optimizer.schedule,
        total_steps=config.train.num_steps,
        final_fraction=config.optimizer.final_fraction,
        step_every=config.optimizer.step_every,
        step_factor=config.optimizer.step_factor,
        clip_norm=config.optimizer.clip_norm,
        b1=0.8,  # of HiFi-GAN, for both: discriminators forget faster
        b2=0.99,
    )
    adversary = vocoding.Adversary(
        lambda params, waveform: module.apply({"params": params}, waveform),  # type: ignore[arg-type,return-value]
        optimizers.make_optimizer(spec),
        start_step=fields.start_step,
        weight=fields.weight,
        feature_weight=fields.feature_weight,
        kind=fields.kind,
    )
    clip = jnp.zeros((1, crop_samples(config)), jnp.float32)
    variables = jax.jit(module.init)(jax.random.key(config.seed + 1), clip)
    return adversary, variables["params"]


def crop_samples(config: ml_collections.ConfigDict) -> int:
    """Samples of a crop."""
    return round(config.data.crop_s * config.data.sample_rate)


class Training(NamedTuple):
    """What changes a vocoder: its optimiser and, maybe, its discriminators."""

    optimizer: Any
    adversary: vocoding.Adversary | None
    critics: Any

    def first_state(self, config: ml_collections.ConfigDict, built: Built) -> TrainState:
        """The state before the first step, from the seed."""
        state = create_state(built.variables, self.optimizer, key=jax.random.key(config.seed))
        if self.adversary is None:
            return state
        own = self.adversary.first_state(self.critics)
        return state.replace(fixed={**state.fixed, **own})  # type: ignore[attr-defined]


def build_training(config: ml_collections.ConfigDict) -> Training:
    """The optimisers of a config."""
    return Training(build_optimizer(config), *build_adversary(config))


def build_step(
    config: ml_collections.ConfigDict, built: Built, training: Training, draw: Any
) -> CompiledStep:
    """The training step of a config over all devices, compiled once."""
    step = vocoding.make_vocoder_step(
        built.generate,
        loss=built.loss,
        optimizer=training.optimizer,
        sample_rate=config.data.sample_rate,
        augmentation=AugmentationSpec(**config.augmentation),
        adversary=training.adversary,
        draw=draw,
    )
    return CompiledStep(parallel.parallel_step(step))
