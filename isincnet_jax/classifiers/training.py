"""Training and evaluation of classifiers: loss, step, RMSprop, decisions over whole tracks.

A model is a callable of variables, waveform and key; what it is made of is not known here. Batch
statistics are averaged over the devices by the model itself (``BatchNorm(axis_name="data")``):
the step keeps what it returns.

References:
    M. Ravanelli and Y. Bengio, "Speaker recognition from raw waveform with SincNet", SLT 2018,
        section 4.2 (decision by summed log-posteriors, d-vectors).
        https://arxiv.org/abs/1808.00158
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal
        of the American Statistical Association 22, 1927 (the interval).
    C. Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016,
        section 7 (label smoothing). https://arxiv.org/abs/1512.00567
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Float, Int

from isincnet_jax.training import optimizers
from isincnet_jax.training.state import TrainState, model_variables
from isincnet_jax.training.step import AXIS, Metrics, Step, apply_gradients

_ADAM_ONLY = ("weight_decay", "b1", "b2")


class Classify(Protocol):
    """Classifier as the trainer sees it: variables, waveform and key to logits and statistics."""

    def __call__(self, variables: Any, waveform: jax.Array, key: jax.Array) -> tuple[Any, Any]:
        """Logits [batch, classes] of [batch, time], and all collections but "params"."""
        ...


def cross_entropy(
    logits: Float[jax.Array, "batch classes"],
    targets: Float[jax.Array, "batch classes"],
    *,
    label_smoothing: float = 0.0,
) -> Float[jax.Array, " batch"]:
    """Cross-entropy with targets that may be mixtures of classes.

    ``-sum_c q_c log softmax(logits)_c`` with ``q = (1 - s) targets + s / classes``.

    Args:
        logits: [batch, classes].
        targets: [batch, classes], 0 or more, rows of sum 1.
        label_smoothing: s, 0 to below 1.

    Returns:
        Nats, [batch].

    Raises:
        ValueError: for a label_smoothing out of range.
    """
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing={label_smoothing} must be 0 to below 1, say 0.1")
    smooth = (1.0 - label_smoothing) * targets + label_smoothing / logits.shape[-1]
    return -jnp.sum(smooth * jax.nn.log_softmax(logits), axis=-1)


def make_classification_step(
    classify: Classify,
    *,
    optimizer: optax.GradientTransformation,
    label_smoothing: float = 0.0,
    axis_name: str = AXIS,
) -> Step:
    """Builds the training step of one device; see :func:`.step.make_step`.

    Args:
        classify: the model as it is trained. It averages its batch statistics over
            ``axis_name`` itself; what is left different on the devices is averaged here.
        optimizer: of the parameters.
        label_smoothing: see :func:`cross_entropy`.
        axis_name: of the devices.

    Returns:
        A function of (state, (waveform [clips, time], targets [clips, classes])) to (state,
        metrics). ``metrics`` are scalars, equal on all devices: "loss", "accuracy" (of the clips,
        by the largest target), "grad_norm", "skipped", "skipped_in_row". A step whose loss or
        gradients are not finite leaves parameters, optimiser and batch statistics as they were.
    """
    # Refuses a label_smoothing out of range now, not when the step is traced.
    cross_entropy(jnp.zeros((1, 2)), jnp.zeros((1, 2)), label_smoothing=label_smoothing)

    def objective(params: Any, fixed: Any, batch: Any, key: jax.Array) -> Any:
        waveform, targets = batch
        logits, fixed = classify({"params": params, **fixed}, waveform, key)
        loss = jnp.mean(cross_entropy(logits, targets, label_smoothing=label_smoothing))
        hit = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
        accuracy = jnp.mean(hit.astype(logits.dtype))
        return loss, (fixed, {"loss": loss, "accuracy": accuracy})

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key_data), state.step)
        key = jax.random.fold_in(key, lax.axis_index(axis_name))
        gradient = jax.grad(objective, has_aux=True)
        found = gradient(state.params, state.fixed, batch, key)
        # Shares of the batch are of one size: the mean of their means is that of all clips.
        gradients, (fixed, metrics) = lax.pmean(found, axis_name)
        return apply_gradients(state, gradients, metrics, optimizer, fixed=fixed)

    return step


def make_rmsprop(
    spec: optimizers.OptimizerSpec, *, decay: float = 0.95
) -> optax.GradientTransformation:
    """SincNet's optimiser: RMSprop, filters at a rate of their own.

    ``v <- decay v + (1 - decay) g^2``, ``p <- p - rate g / (sqrt(v) + eps)`` with v = 0 at the
    start, as in PyTorch. Rates, schedule, ``eps``, ``clip_norm`` and ``filter_paths`` are those of
    the spec.

    Args:
        spec: without weight decay; ``b1`` and ``b2`` are Adam's.
        decay: called alpha in SincNet's recipe, 0 to below 1.

    Returns:
        An ``optax.GradientTransformation``.

    Raises:
        ValueError: for a decay out of range, and fields of the spec that RMSprop does not have.
    """
    if not 0.0 <= decay < 1.0:
        raise ValueError(f"decay={decay} must be 0 to below 1; SincNet's is 0.95")
    defaults = {**{f.name: f.default for f in dataclasses.fields(spec)}, "weight_decay": 0.0}
    for name in _ADAM_ONLY:
        if getattr(spec, name) != defaults[name]:
            raise ValueError(f"{name}={getattr(spec, name)}: RMSprop has none; leave it out")
    rate, own = spec.learning_rate, spec.filter_learning_rate

    def group(peak: float) -> optax.GradientTransformation:
        schedule = optimizers.learning_rate_schedule(spec, peak)
        return optax.rmsprop(schedule, decay, spec.eps, eps_in_sqrt=False)

    def labels(params: Any) -> Any:
        return optimizers.label_parameters(params, spec)

    frozen = optax.set_to_zero()
    groups: dict[Hashable, optax.GradientTransformation] = {
        "main": group(rate),
        "filters": frozen if own == 0 else group(rate if own is None else own),
    }
    parts: list[optax.GradientTransformation] = [optax.partition(groups, labels)]
    if spec.clip_norm is not None:
        parts.insert(0, optax.clip_by_global_norm(spec.clip_norm))
        if own == 0:  # the gradients of frozen filters are none of the norm's business
            keep: dict[Hashable, Any] = {"main": optax.identity(), "filters": frozen}
            parts.insert(0, optax.partition(keep, labels))
    return optax.chain(*parts)


class Scores(NamedTuple):
    """Decisions and embeddings of whole tracks.

    Attributes:
        log_posteriors: sums over the chunks of each track, float64 [tracks, classes].
        labels: true classes, [tracks].
        embeddings: means over the chunks of each track (d-vectors), float64 [tracks, features].
        num_chunks: of each track.
        chunk_hits: chunks of each track that are right by themselves.
    """

    log_posteriors: Float[np.ndarray, "tracks classes"]
    labels: Int[np.ndarray, " tracks"]
    embeddings: Float[np.ndarray, "tracks features"]
    num_chunks: Int[np.ndarray, " tracks"]
    chunk_hits: Int[np.ndarray, " tracks"]

    @property
    def predicted(self) -> Int[np.ndarray, " tracks"]:
        """The class with the largest sum of log-posteriors."""
        return np.argmax(self.log_posteriors, axis=-1)

    @property
    def num_hits(self) -> int:
        """Tracks that are right."""
        return int(np.sum(self.predicted == self.labels))

    @property
    def accuracy(self) -> float:
        """Share of tracks that are right."""
        return self.num_hits / len(self.labels)

    @property
    def chunk_accuracy(self) -> float:
        """Share of chunks that are right, over all tracks."""
        return float(np.sum(self.chunk_hits) / np.sum(self.num_chunks))

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson's interval of the accuracy; see :func:`wilson_interval`.

        Args:
            confidence: between 0 and 1.

        Returns:
            Both ends, 0 to 1.
        """
        return wilson_interval(self.num_hits, len(self.labels), confidence=confidence)

    def confusion(self) -> Int[np.ndarray, "true predicted"]:
        """Numbers of tracks, [true class, predicted class].

        Returns:
            int64 [classes, classes]; rows sum to the tracks of a class.
        """
        classes = self.log_posteriors.shape[-1]
        table = np.zeros((classes, classes), np.int64)
        np.add.at(table, (self.labels, self.predicted), 1)
        return table


def score_tracks(
    predict: Callable[[np.ndarray], tuple[Any, Any]],
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    labels: Sequence[int] | Int[np.ndarray, " tracks"],
) -> Scores:
    """Classifies tracks by the sum of their chunks' log-posteriors.

    Args:
        predict: chunks [batch, time] to logits [batch, classes] and embeddings [batch, features].
        batches: (chunks [batch, time], track of each chunk [batch], -1 for rows that only fill
            the batch), every track in one batch at least.
        labels: true class of every track.

    Returns:
        Sums and means in float64.

    Raises:
        ValueError: for a track without chunks.
    """
    truth = np.asarray(labels, np.int64)
    num_chunks, hits = np.zeros(len(truth), np.int64), np.zeros(len(truth), np.int64)
    sums: Any = None
    for chunks, rows in batches:
        real = rows >= 0  # the others fill the last batch
        owner = rows[real]
        logits, embeddings = (np.asarray(found, np.float64)[real] for found in predict(chunks))
        if sums is None:
            sums = [np.zeros((len(truth), found.shape[-1])) for found in (logits, embeddings)]
        # log softmax(z) = z - log sum exp(z). add.at: a track may have several rows of a batch.
        np.add.at(sums[0], owner, logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
        np.add.at(sums[1], owner, embeddings)
        np.add.at(num_chunks, owner, 1)
        np.add.at(hits, owner, np.argmax(logits, axis=-1) == truth[owner])
    if sums is None or not num_chunks.all():
        raise ValueError(f"{int(np.sum(num_chunks == 0))} of {len(truth)} tracks have no chunk")
    return Scores(sums[0], truth, sums[1] / num_chunks[:, None], num_chunks, hits)


def make_predict(
    apply: Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]], state: TrainState
) -> Callable[[np.ndarray], tuple[Any, Any]]:
    """For :func:`score_tracks`: ``apply(variables, chunks)`` with the variables of a state.

    Args:
        apply: (variables, chunks) to logits and embeddings; jitted.
        state: of a run, on the host.

    Returns:
        A function of chunks [batch, time].
    """
    variables = jax.device_put(model_variables(state))
    return lambda chunks: apply(variables, jnp.asarray(chunks))


def wilson_interval(
    num_hits: float, num_trials: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Wilson's score interval of a proportion, which stays within [0, 1] for small numbers too.

    Args:
        num_hits: successes; a mean over several counts, maybe.
        num_trials: at least 1.
        confidence: between 0 and 1.

    Returns:
        Both ends, within [0, 1].

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> [round(limit, 4) for limit in wilson_interval(8, 10)]
        [0.4902, 0.9433]
    """
    if not 0 <= num_hits <= num_trials or num_trials < 1:
        raise ValueError(
            f"num_hits={num_hits} of num_trials={num_trials}: 0 <= hits <= trials >= 1"
        )
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence={confidence} must lie between 0 and 1, say 0.95")
    # (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n); extra = z^2 / n
    z = statistics.NormalDist().inv_cdf(0.5 + 0.5 * confidence)
    share, extra = num_hits / num_trials, z * z / num_trials
    middle = (share + extra / 2.0) / (1.0 + extra)
    half = (share * (1.0 - share) * extra + extra * extra / 4.0) ** 0.5 / (1.0 + extra)
    return max(0.0, middle - half), min(1.0, middle + half)
