"""Vocoders of a config and their training. Composes, computes nothing itself."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from isincnet_jax.pretrained import model_kinds
from isincnet_jax.tasks import compose
from isincnet_jax.tasks.config import Config
from isincnet_jax.tasks.vocoder_networks import KINDS
from isincnet_jax.training import optimizers, parallel
from isincnet_jax.training.augmentation import AugmentationSpec
from isincnet_jax.training.compiled import CompiledStep
from isincnet_jax.training.losses import WeightedLoss
from isincnet_jax.training.state import TrainState, create_state
from isincnet_jax.vocoders import discriminators
from isincnet_jax.vocoders import training as vocoding
from isincnet_jax.vocoders.vocoder import Vocoder


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


def build_vocoder(config: Config) -> Built:
    """The vocoder of a config, initialised from its seed.

    Args:
        config: ``model``, ``loss``, ``data.sample_rate`` and ``seed``.

    Returns:
        Module, variables and what the trainer asks of them.

    Raises:
        ValueError: for an unknown kind, and what the modules refuse.
    """
    if config.model.kind not in KINDS:
        options = ", ".join(KINDS)
        raise ValueError(f"model.kind={config.model.kind!r} is unknown; use {options}")
    parts = KINDS[config.model.kind](config)
    module = Vocoder(parts.network, parts.features, parts.input_scale, config.model.fit)
    clip = jnp.zeros((1, 4 * parts.features.hop_length), jnp.float32)
    variables = jax.jit(module.init)(jax.random.key(config.seed), clip)
    if parts.borrowed is not None:
        network = {**variables["params"]["network"], **parts.borrowed}
        variables = {**variables, "params": {"network": network}}
    generate = (parts.generate or _waveforms)(module)
    kind = model_kinds.kind_of(module)
    identity = {"kind": kind.name, **kind.plain_fields(module)}
    return Built(module, variables, generate, parts.loss, identity)


def _waveforms(module: Vocoder) -> vocoding.Generate:
    def generate(variables: Any, waveform: jax.Array, key: jax.Array) -> tuple[Any, Any]:
        del key
        found, changed = module.apply(variables, waveform, train=True, mutable=["batch_stats"])
        # All collections but "params": those that the call changed, the others as they were.
        rest = {name: tree for name, tree in variables.items() if name != "params"}
        return found, {**rest, **changed}

    return generate


def _build_adversary(config: Config) -> tuple[vocoding.Adversary | None, Any]:
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
    clip = jnp.zeros((1, compose.crop_samples(config)), jnp.float32)
    # Another key than the vocoder's, whose weights are drawn from the seed itself.
    variables = jax.jit(module.init)(jax.random.key(config.seed + 1), clip)
    return adversary, variables["params"]


class Training(NamedTuple):
    """Optimiser of a vocoder and, maybe, its discriminators."""

    optimizer: Any
    adversary: vocoding.Adversary | None
    critics: Any

    def first_state(self, config: Config, built: Built) -> TrainState:
        """The state before the first step, from the seed.

        Args:
            config: with ``seed``.
            built: whose variables are the start.

        Returns:
            On the host; discriminators and their optimiser's state are in ``fixed``.
        """
        state = create_state(built.variables, self.optimizer, key=jax.random.key(config.seed))
        if self.adversary is None:
            return state
        own = self.adversary.first_state(self.critics)
        return state.replace(fixed={**state.fixed, **own})  # type: ignore[attr-defined]


def build_training(config: Config) -> Training:
    """Optimisers of a config, and its discriminators where there are any.

    Args:
        config: ``optimizer``, ``adversary``, ``train.num_steps`` and ``seed``.

    Returns:
        The optimiser, and the adversary with its initial parameters or None.

    Raises:
        ValueError: for numbers out of range.
    """
    optimizer = compose.build_optimizer(config, undivided="vocoders")
    return Training(optimizer, *_build_adversary(config))


def build_step(config: Config, built: Built, training: Training, draw: Any) -> CompiledStep:
    """The training step of a config over all devices, compiled once.

    Args:
        config: ``augmentation`` and ``data.sample_rate``.
        built: the vocoder.
        training: what changes it.
        draw: of :class:`.compose.Data`; None where batches are handed to the step.

    Returns:
        See :func:`isincnet_jax.vocoders.training.make_vocoder_step`.
    """
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
