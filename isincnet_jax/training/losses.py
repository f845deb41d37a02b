"""Losses by name, and their weighted sum."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from isincnet_jax.dsp import spectral_distances
from isincnet_jax.typing import Waveform

Loss = Callable[..., Float[jax.Array, "..."]]

LOSSES: dict[str, Loss] = {
    "l1": spectral_distances.l1,
    "l2": spectral_distances.l2,
    "log_stft": spectral_distances.log_stft,
    "multi_stft": spectral_distances.multi_stft,
    "spectral_convergence": spectral_distances.spectral_convergence,
    "negative_snr_db": spectral_distances.negative_snr_db,
    "energy": spectral_distances.energy,
}
"""All of them take ``prediction`` and ``target`` [batch, time] and return one value per clip."""

WeightedLoss = Callable[..., tuple[jax.Array, dict[str, jax.Array]]]


def weighted_loss(
    weights: Mapping[str, float], *, known: Mapping[str, Loss] = MappingProxyType(LOSSES)
) -> WeightedLoss:
    """The weighted sum of losses, averaged over clips.

    Args:
        weights: name in ``known`` to weight. A weight of 0 means: computed and reported,
            but not learned from.
        known: losses by name, of :data:`LOSSES`' kind.

    Returns:
        A function of ``prediction`` and ``target`` [batch, time] that returns the scalar loss
        and the mean of each term, unweighted.

    Raises:
        ValueError: for an unknown name, a negative weight, or nothing to learn from.
    """
    for name, weight in weights.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"loss {name!r} is unknown; {hint}losses: {', '.join(known)}")
        if not weight >= 0:
            raise ValueError(f"loss {name!r} has weight {weight}; weights are 0 or positive")
    if not any(weight > 0 for weight in weights.values()):
        raise ValueError("no loss has a positive weight; give one, such as l1=1.0")

    def loss(*, prediction: Waveform, target: Waveform) -> Any:
        terms = {
            name: jnp.mean(known[name](prediction=prediction, target=target)) for name in weights
        }
        return sum(weights[name] * term for name, term in terms.items() if weights[name]), terms

    return loss
