"""Training of vocoders: the step, with discriminators if wanted.

A vocoder is a callable of variables and waveform that analyses the waveform, on the device and
inside the step, and makes a waveform of what it found; what it is made of is not known here.
Batch statistics are averaged over the devices by the model itself, as in
:mod:`isincnet_jax.classifiers.training`.

References:
    J. Kong, J. Kim and J. Bae, "HiFi-GAN", NeurIPS 2020, section 2.3 (adversarial and feature
        matching losses). https://arxiv.org/abs/2010.05646
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax
from jax import lax

from isincnet_jax.dsp import settling
from isincnet_jax.training.augmentation import AugmentationSpec, augment
from isincnet_jax.training.losses import WeightedLoss
from isincnet_jax.training.state import TrainState
from isincnet_jax.training.step import AXIS, Metrics, Step, apply_gradients
from isincnet_jax.vocoders import adversarial_losses

ADVERSARY = "adversary"
"""Key of the discriminators in ``TrainState.fixed``: their parameters and optimiser."""


class Generate(Protocol):
    """Vocoder as the trainer sees it: variables, waveform and key to waveform and statistics."""

    def __call__(self, variables: Any, waveform: jax.Array, key: jax.Array) -> tuple[Any, Any]:
        """[batch, time] from the features of [batch, time], and all collections but "params"."""
        ...


@dataclasses.dataclass(frozen=True)
class Adversary:
    """Discriminators and how they take part.

    Attributes:
        judge: (parameters, waveform [batch, time]) to (logits, feature maps), lists with one
            entry per discriminator; see :mod:`.adversarial_losses`.
        optimizer: of the discriminators.
        start_step: until then they neither learn nor are asked.
        weight: of the generator's adversarial loss.
        feature_weight: of the feature matching loss.
        kind: of the losses, "least_squares" or "hinge".

    Raises:
        ValueError: for numbers out of range, or an unknown kind.
    """

    judge: Callable[[Any, jax.Array], tuple[Any, Any]]
    optimizer: optax.GradientTransformation
    start_step: int = 0
    weight: float = 1.0
    feature_weight: float = 2.0
    kind: adversarial_losses.AdversarialKind = "least_squares"

    def __post_init__(self) -> None:
        """Checks the arguments."""
        settling.settle_fields(self)
        if self.start_step < 0 or not self.weight > 0 or not self.feature_weight >= 0:
            raise ValueError(
                f"adversary start_step={self.start_step}, weight={self.weight}, "
                f"feature_weight={self.feature_weight}: use a step of 0 or more, a positive "
                "weight and a feature_weight of 0 or more"
            )
        adversarial_losses.generator_loss(fake=[jnp.zeros(1)], kind=self.kind)

    def first_state(self, params: Any) -> dict[str, Any]:
        """State of the discriminators before the first step, for ``TrainState.fixed``.

        Args:
            params: their initial parameters.

        Returns:
            Parameters and optimiser state under :data:`ADVERSARY`.
        """
        return {ADVERSARY: {"params": params, "opt_state": self.optimizer.init(params)}}


def generator_variables(state: TrainState) -> dict[str, Any]:
    """Variables of the vocoder alone, without discriminators.

    Args:
        state: of a training run.

    Returns:
        ``params`` and the other collections, for ``model.apply``.
    """
    fixed = {name: tree for name, tree in state.fixed.items() if name != ADVERSARY}
    return {"params": state.params, **fixed}


def make_vocoder_step(
    generate: Generate,
    *,
    loss: WeightedLoss,
    optimizer: optax.GradientTransformation,
    sample_rate: int,
    augmentation: AugmentationSpec | None = None,
    adversary: Adversary | None = None,
    draw: Callable[[Any, jax.Array], jax.Array] | None = None,
    axis_name: str = AXIS,
) -> Step:
    """Builds the training step of one device; see :func:`.step.make_step`.

    With an adversary, the discriminators learn first, from recorded clips and what the vocoder
    makes of them now, and the vocoder's gradient then comes from the new discriminators; the
    vocoder runs forward once. Before ``start_step`` their arithmetic is skipped on the device, and
    the step is the same compiled program.

    Args:
        generate: the vocoder as it is trained. It averages batch statistics over ``axis_name``
            itself; what is left different on the devices is averaged here.
        loss: see :func:`.losses.vocoder_loss`.
        optimizer: of the vocoder.
        sample_rate: Hz.
        augmentation: of the waveforms; none if None.
        adversary: the state then has :meth:`Adversary.first_state` among its fixed collections.
        draw: turns the step's second argument and its number into this device's batch.
        axis_name: of the devices.

    Returns:
        A function of (state, batch [clips, time]) to (state, metrics). ``metrics`` are scalars,
        equal on all devices: "loss", the terms, "grad_norm", "skipped", "skipped_in_row"; with an
        adversary "adversarial", "feature_matching" and "discriminator", which are 0 before it
        starts. A step whose loss or gradients are not finite changes nothing.
    """

    def prepared(state: TrainState, data: Any) -> tuple[jax.Array, jax.Array]:
        # Keys of this step; clips are augmented by their place in the whole batch, not by device.
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key_data), state.step)
        augment_key, model_key = jax.random.split(key)
        clips = data if draw is None else draw(data, state.step)
        place = lax.axis_index(axis_name)
        if augmentation is not None:
            first = place * clips.shape[0]
            clips = augment(
                clips, augment_key, spec=augmentation, first_index=first, sample_rate=sample_rate
            )
        return clips, jax.random.fold_in(model_key, place)

    def step(state: TrainState, data: Any) -> tuple[TrainState, Metrics]:
        clips, key = prepared(state, data)
        own = {name: tree for name, tree in state.fixed.items() if name != ADVERSARY}

        def forward(params: Any) -> tuple[jax.Array, Any]:
            return generate({"params": params, **own}, clips, key)

        # One forward pass: the discriminators learn from its result, its gradient comes later.
        prediction, pull_back, own = jax.vjp(forward, state.params, has_aux=True)
        critics, judged = None, None
        if adversary is not None:
            critics, judged = _train_critics(adversary, state, prediction, clips, axis_name)
        total, slope, metrics = _slope_of(
            prediction, clips, loss=loss, adversary=adversary, critics=judged, number=state.step
        )
        # d loss / d params = (d prediction / d params)^T d loss / d prediction
        (gradients,) = pull_back(slope)
        found = (gradients, {"loss": total, **metrics}, own)
        gradients, metrics, own = lax.pmean(found, axis_name)
        fixed = own if critics is None else {**own, ADVERSARY: critics.state}
        if critics is not None:
            metrics = {**metrics, "discriminator": critics.loss}
            # What is not finite in one is not to go on in the other.
            metrics["loss"] = jnp.where(critics.finite, metrics["loss"], jnp.nan)
        return apply_gradients(state, gradients, metrics, optimizer, fixed=fixed)

    return step


class _Critics(NamedTuple):
    """Discriminators after a step: state, loss, and whether that and the gradients are finite."""

    state: Any
    loss: jax.Array
    finite: jax.Array


def _train_critics(
    adversary: Adversary,
    state: TrainState,
    prediction: jax.Array,
    clips: jax.Array,
    axis_name: str,
) -> tuple[_Critics, Any]:
    """The discriminators after this step, and their new parameters."""
    before = state.fixed[ADVERSARY]
    active = state.step >= adversary.start_step
    fake = lax.stop_gradient(prediction)

    def objective(params: Any) -> jax.Array:
        said_real, _ = adversary.judge(params, clips)
        said_fake, _ = adversary.judge(params, fake)
        return adversarial_losses.discriminator_loss(
            real=said_real, fake=said_fake, kind=adversary.kind
        )

    # Collectives stay outside of the branches.
    value, gradients = lax.cond(
        active,
        jax.value_and_grad(objective),
        lambda params: (jnp.zeros((), clips.dtype), jax.tree.map(jnp.zeros_like, params)),
        before["params"],
    )
    value, gradients = lax.pmean((value, gradients), axis_name)
    finite = jnp.isfinite(value) & jnp.isfinite(optax.tree.norm(gradients))
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
        updates, opt_state = adversary.optimizer.update(
            gradients, before["opt_state"], before["params"]
        )
    params = optax.apply_updates(before["params"], updates)
    after = {"params": params, "opt_state": opt_state}
    after = jax.tree.map(lambda new, old: jnp.where(active & finite, new, old), after, before)
    return _Critics(after, value, finite), after["params"]


def _slope_of(
    prediction: jax.Array,
    clips: jax.Array,
    *,
    loss: WeightedLoss,
    adversary: Adversary | None,
    critics: Any,
    number: jax.Array,
) -> tuple[jax.Array, jax.Array, Metrics]:
    """The loss, its gradient by the prediction, and its terms."""

    def spectral(prediction: jax.Array) -> Any:
        return loss(prediction=prediction, target=clips)

    # By the prediction, not by the parameters: the network's own derivative comes once, at the end.
    (total, terms), slope = jax.value_and_grad(spectral, has_aux=True)(prediction)
    if adversary is None:
        return total, slope, terms

    def social(prediction: jax.Array) -> Any:
        _, real = adversary.judge(critics, clips)
        said, fake = adversary.judge(critics, prediction)
        adversarial = adversarial_losses.generator_loss(fake=said, kind=adversary.kind)
        matching = adversarial_losses.feature_matching_loss(real=real, fake=fake)
        both = adversary.weight * adversarial + adversary.feature_weight * matching
        return both, {"adversarial": adversarial, "feature_matching": matching}

    # Before the start the discriminators are not asked: zeros of the same structure.
    zero = jnp.zeros((), prediction.dtype)
    nothing = {"adversarial": zero, "feature_matching": zero}
    (extra, more), extra_slope = lax.cond(
        number >= adversary.start_step,
        jax.value_and_grad(social, has_aux=True),
        lambda prediction: ((zero, nothing), jnp.zeros_like(prediction)),
        prediction,
    )
    # d(total + extra) / d prediction, for the vocoder to pull back.
    return total + extra, slope + extra_slope, {**terms, **more}
