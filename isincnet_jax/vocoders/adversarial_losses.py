"""Adversarial losses over the logits and feature maps of several discriminators, pure functions.

``logits`` are a sequence with an array for each discriminator, ``features`` a sequence of
sequences of arrays. Every loss is a mean within each discriminator and over discriminators, so
that neither their number nor the length of the clips changes its scale.

References:
    X. Mao et al., "Least squares generative adversarial networks", ICCV 2017.
        https://arxiv.org/abs/1611.04076
    J. H. Lim and J. C. Ye, "Geometric GAN", 2017 (the hinge). https://arxiv.org/abs/1705.02894
    J. Kong, J. Kim and J. Bae, "HiFi-GAN", NeurIPS 2020, section 2.3.
        https://arxiv.org/abs/2010.05646
        Departure: sums over discriminators and layers there, means here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jax import lax

AdversarialKind: TypeAlias = Literal["least_squares", "hinge"]
Logits: TypeAlias = Sequence[jax.Array]
Features: TypeAlias = Sequence[Sequence[jax.Array]]


def discriminator_loss(
    *, real: Logits, fake: Logits, kind: AdversarialKind = "least_squares"
) -> jax.Array:
    """Loss of discriminators: real clips towards 1, generated ones towards 0 (or -1).

    "least_squares" is ``(1 - real)^2 + fake^2``, "hinge" is ``relu(1 - real) + relu(1 + fake)``.

    Args:
        real: logits of recorded clips.
        fake: logits of generated clips; stop their gradient before the discriminators.
        kind: of the loss.

    Returns:
        A scalar, 0 at best.

    Raises:
        ValueError: for an unknown kind, or unequal numbers of discriminators.
    """
    _check(kind, real, fake)
    terms = []
    for recorded, generated in zip(real, fake, strict=True):
        if kind == "hinge":
            terms.append(jnp.mean(jax.nn.relu(1.0 - recorded)))
            terms.append(jnp.mean(jax.nn.relu(1.0 + generated)))
        else:
            terms.append(jnp.mean((1.0 - recorded) ** 2))
            terms.append(jnp.mean(generated**2))
    return _total(terms) / len(real)


def generator_loss(*, fake: Logits, kind: AdversarialKind = "least_squares") -> jax.Array:
    """Adversarial loss of the generator: ``(1 - fake)^2``, or ``-fake`` with the hinge.

    Departure: Vocos uses ``relu(1 - fake)``; without the rectifier the gradient does not stop.

    Args:
        fake: logits of generated clips.
        kind: of the loss.

    Returns:
        A scalar.

    Raises:
        ValueError: for an unknown kind, or no discriminator.
    """
    _check(kind, fake, fake)
    if kind == "hinge":
        return _total([-jnp.mean(generated) for generated in fake]) / len(fake)
    return _total([jnp.mean((1.0 - generated) ** 2) for generated in fake]) / len(fake)


def feature_matching_loss(*, real: Features, fake: Features) -> jax.Array:
    """Mean absolute difference of the feature maps; no gradient goes to the recorded ones.

    Args:
        real: feature maps of recorded clips.
        fake: feature maps of generated clips, of the same shapes.

    Returns:
        A scalar, 0 for equal maps.

    Raises:
        ValueError: for unequal numbers of discriminators or maps, or none.
    """
    pairs = [
        (recorded, generated)
        for real_maps, fake_maps in zip(real, fake, strict=True)
        for recorded, generated in zip(real_maps, fake_maps, strict=True)
    ]
    if not pairs:
        raise ValueError("real and fake hold no feature maps; give those of a discriminator")
    terms = [
        jnp.mean(jnp.abs(lax.stop_gradient(recorded) - generated)) for recorded, generated in pairs
    ]
    return _total(terms) / len(pairs)


def _total(terms: Sequence[jax.Array]) -> jax.Array:
    return jnp.sum(jnp.stack(terms))


def _check(kind: str, real: Logits, fake: Logits) -> None:
    if kind not in get_args(AdversarialKind):
        raise ValueError(f"kind={kind!r} is unknown; use {' or '.join(get_args(AdversarialKind))}")
    if len(real) != len(fake) or not fake:
        raise ValueError(
            f"{len(real)} real and {len(fake)} fake logits: give one array per discriminator, and "
            "at least one"
        )
