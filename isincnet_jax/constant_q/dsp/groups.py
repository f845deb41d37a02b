"""Groups of clips that go through a transform one after the other, so that memory is bounded.

A transform of whole clips has no frames to be grouped by, as
:mod:`isincnet_jax.dsp.frame_groups` does: its FFT needs all samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
from jax import lax


def map_groups(function: Callable[[Any], Any], arrays: Any, *, axes: int, at_once: int) -> Any:
    """A batched function, applied to a bounded number of clips at a time.

    Args:
        function: of arrays whose leading axes are independent; gives arrays of the same kind.
        arrays: a pytree of [..., *clip] with the same leading axes.
        axes: axes of a clip, those behind the leading ones.
        at_once: most clips at a time; 1 or more.

    Returns:
        What ``function`` gives for all: [..., *result]. All at once where they are so few, or
        where an export leaves their number open.

    Example:
        >>> import numpy as np
        >>> map_groups(lambda rows: rows.sum(-1), np.ones((6, 5)), axes=1, at_once=4).shape
        (6,)
    """
    batch = jax.tree.leaves(arrays)[0].shape[:-axes]
    if not all(isinstance(number, int) for number in batch) or math.prod(batch) <= at_once:
        return function(arrays)
    count = math.prod(batch)
    size = max(number for number in range(1, at_once + 1) if count % number == 0)
    groups = jax.tree.map(lambda a: a.reshape((count // size, size, *a.shape[-axes:])), arrays)
    found = lax.map(function, groups)
    return jax.tree.map(lambda a: a.reshape((*batch, *a.shape[2:])), found)
