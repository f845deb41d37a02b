"""Parameter ranges in which learned centres and bandwidths make an invertible bank.

Adam moves every parameter by about its learning rate per step, however small the gradient:
neighbouring centres of 128 bins are 0.008 of the Nyquist frequency apart, so that at a rate of 1e-2
bands change places from the first step on and soon leave gaps. Within the ranges every band stays
between its neighbours, where it overlaps with them.

    params = project_parameters(model, optax.apply_updates(params, updates))

after every step, or ``make_optimizer(spec, project=partial(project_parameters, model))``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax.bank.sincnet import SincNet

_LARGEST_SHARE = 0.25
"""Of the distance to the nearer neighbour, that a centre may move."""

_WIDEST = 1.25
"""Times the bandwidth at the start, and its inverse, that a bandwidth may become."""


class Range(NamedTuple):
    """Range of a parameter: smallest and largest values, float64 [bins]."""

    low: np.ndarray
    high: np.ndarray


def filter_ranges(model: SincNet) -> dict[str, Range]:
    """Parameter ranges of ``center`` and ``bandwidth``, fractions of the Nyquist frequency.

    A centre moves by a quarter of the distance to its nearer neighbour at the start, a bandwidth by
    a factor of 1.25.

    Args:
        model: a SincNet with ``learnable_filters=True``.

    Returns:
        The ranges by the names of the parameters.

    Raises:
        ValueError: for a bank whose centres and bandwidths are not learned.
    """
    if model.learnable_filters is not True:
        raise ValueError(
            f"learnable_filters={model.learnable_filters!r}: such filters have no centres and "
            "bandwidths to keep in range; use learnable_filters=True"
        )
    nyquist_hz = model.spec.sample_rate / 2
    center, bandwidth = (each / nyquist_hz for each in model.spec.centers_and_bandwidths())
    distance = np.diff(center)
    # min(c_b - c_{b-1}, c_{b+1} - c_b), [bins]
    nearer = np.minimum(np.append(np.inf, distance), np.append(distance, np.inf))
    reach = _LARGEST_SHARE * nearer
    return {
        "center": Range(np.clip(center - reach, 0.0, 1.0), np.clip(center + reach, 0.0, 1.0)),
        "bandwidth": Range(bandwidth / _WIDEST, bandwidth * _WIDEST),
    }


def largest_rate(model: SincNet) -> float:
    """Learning rate of the filters at which Adam takes 100 steps from one centre to the next.

    Args:
        model: any SincNet.

    Returns:
        Fractions of the Nyquist frequency per step.
    """
    center_hz = model.spec.center_hz
    return float(np.min(np.diff(center_hz)) / (model.spec.sample_rate / 2) / 100)


def check_rate(model: SincNet, learning_rate: float) -> None:
    """Learning rate below which neighbouring bands do not change places in one step of Adam.

    Args:
        model: a SincNet; banks whose centres and bandwidths are not learned take any rate.
        learning_rate: of the filters.

    Raises:
        ValueError: for a rate above the distance of neighbouring centres, 100 :func:`largest_rate`.
    """
    largest = largest_rate(model)
    if model.learnable_filters is True and learning_rate > 100 * largest:
        raise ValueError(
            f"learning rate {learning_rate:g} of the filters: Adam moves centres by about as much "
            f"of the Nyquist frequency per step, neighbours are {100 * largest:.2g} apart, and "
            f"bands that change places leave gaps; use filter_learning_rate <= {largest:.1g}"
        )


def project_parameters(model: SincNet, params: Any) -> Any:
    """Projected parameters: centres and bandwidths clipped to their ranges.

    Args:
        model: a SincNet with ``learnable_filters=True``.
        params: any tree in which ``center`` and ``bandwidth`` stand under ``analysis``: those of
            the model ("params", or all its variables), or of a module that has it as a part.

    Returns:
        The tree with all other leaves as they are.

    Raises:
        ValueError: for a bank whose centres and bandwidths are not learned.
    """
    ranges = filter_ranges(model)

    def clip(path: Any, leaf: Any) -> Any:
        # The last two keys of a parameter's path are ("analysis", "center"), say.
        names = [getattr(key, "key", None) for key in path]
        if len(names) < 2 or names[-2] != "analysis" or names[-1] not in ranges:
            return leaf
        low, high = (jnp.asarray(end, leaf.dtype) for end in ranges[names[-1]])
        return jnp.clip(leaf, low, high)

    return jax.tree_util.tree_map_with_path(clip, params)
