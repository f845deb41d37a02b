"""Exact decoders of filters that were learned, as models that have them."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax.bank import design, filter_ranges
from isincnet_jax.bank import solve as decoding
from isincnet_jax.bank.analysis import COLLECTION
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.designed import UniformBank
from isincnet_jax.bank.dsp import frame_theory
from isincnet_jax.bank.sincnet import SincNet
from isincnet_jax.bank.solve import NotInvertibleWarning
from isincnet_jax.bank.solved import SolvedDecoder


def solve_decoder(
    model: SincNet, variables: Any, decoder: DecoderSpec | None = None
) -> SolvedDecoder:
    """Decoder of the filters in use, solved in float64 from their rounded values.

    Args:
        model: any SincNet; learned centres and bandwidths, learned taps or fixed filters.
        variables: its variables, concrete (not inside ``jax.jit``).
        decoder: how; the model's own if None. A "free" one counts as "auto" with as many frames.

    Returns:
        The decoder; ``residual`` tells how exact it is on unrounded coefficients.

    Raises:
        ValueError: for kind "least_squares" or "dual" with filters that cannot be inverted, and for
            filters that are 0 throughout or not finite.

    Warns:
        NotInvertibleWarning: for "auto" with such filters: the best linear decoder is returned.
    """
    wanted = model.decoder if decoder is None else decoder
    if wanted.kind == "free":
        wanted = DecoderSpec(num_frames=wanted.num_frames)
    spec = model.spec
    kernels = np.asarray(jax.jit(_kernels, static_argnums=0)(model, variables), np.float64)
    if not np.all(np.isfinite(kernels)) or not np.any(kernels):
        raise ValueError(
            "the filters in use are 0 throughout or have taps that are not finite: the training "
            f"diverged; use an earlier checkpoint, and {_advice(model)}"
        )
    if wanted.kind != "wiener":
        condition = frame_theory.frame_bounds_of_kernels(
            kernels, hop_length=spec.hop_length
        ).condition
        if not condition <= design.INVERTIBLE_CONDITION:
            message = (
                f"the filters in use cannot be inverted (condition number {condition:.3g}, limit "
                f"{design.INVERTIBLE_CONDITION:.0g}); {_advice(model)}"
            )
            if wanted.kind != "auto":
                raise ValueError(f"{message}; or ask for the best linear decoder, kind='wiener'")
            warnings.warn(
                f"{message}; decoding with the best linear (Wiener) decoder",
                NotInvertibleWarning,
                stacklevel=2,
            )
            wanted = dataclasses.replace(wanted, kind="wiener")
    return decoding.solve_kernels(
        kernels,
        hop_length=spec.hop_length,
        decoder=wanted,
        # Learned centres and bandwidths keep the symmetry, learned taps do not: then 4 frames are
        # tried in vain, which costs little.
        symmetric=spec.is_symmetric,
    )


def with_exact_decoder(
    model: SincNet, variables: Any, decoder: DecoderSpec | None = None
) -> tuple[SincNet, Any]:
    """Exact decoder of the filters in use, in a model that has both.

    The decoder of a :class:`SincNet` is solved from its spec, so it is exact for the filters that
    a training starts with. This is what to call after it, whichever family was learned.

    Args:
        model: any SincNet with ``padding="zeros"``.
        variables: its variables, concrete.
        decoder: see :func:`solve_decoder`.

    Returns:
        Model and variables, ready for ``apply``, :class:`.codec.Codec`, or more training;
        the decoder's kernels stand where the model keeps them, and its spec of the decoder has
        kind "free".

    Raises:
        ValueError: for ``padding="reflect"``, whose edges are solved from the spec's filters; and
            see :func:`solve_decoder`.

    Warns:
        NotInvertibleWarning: see :func:`solve_decoder`.

    Example:
        >>> from isincnet_jax.bank.spec import FilterbankSpec
        >>> spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=17)
        >>> model = SincNet(spec, learnable_filters="free")
        >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 8)))
        >>> noise = jax.random.normal(jax.random.key(1), (34, 33))
        >>> taps = variables["params"]["analysis"]["taps"]
        >>> variables["params"]["analysis"]["taps"] = taps + 0.01 * noise  # what a training does
        >>> model, variables = with_exact_decoder(model, variables)
        >>> waveform = jax.random.normal(jax.random.key(2), (1, 200))
        >>> bool(jnp.max(jnp.abs(model.apply(variables, waveform) - waveform)) < 1e-5)
        True
    """
    spec = model.spec
    if spec.padding != "zeros":
        raise ValueError(
            f"padding={spec.padding!r}: the decoders of its edges belong to the spec's filters; "
            "learn filters with padding='zeros'"
        )
    return with_solved_decoder(model, variables, solve_decoder(model, variables, decoder))


def with_solved_decoder(
    model: SincNet, variables: Any, solved: SolvedDecoder
) -> tuple[SincNet, Any]:
    """Solved decoder of the filters in use, in a model that has both.

    Args:
        model: any SincNet with ``padding="zeros"``.
        variables: its variables, concrete.
        solved: of :func:`solve_decoder`.

    Returns:
        Model and variables, as of :func:`with_exact_decoder`.
    """
    spec = model.spec
    num_frames = solved.taps // spec.hop_length
    free = DecoderSpec(
        "free",
        num_frames=num_frames,
        first_frame=solved.lead // spec.hop_length - num_frames + 1,
    )
    kernels = jnp.asarray(solved.values, model.dtype)
    changed = {name: dict(tree) for name, tree in variables.items()}
    # A bank that was initialised through ``encode`` alone has no decoder yet.
    if model.learnable_decoder:
        changed.setdefault("params", {})["synthesis"] = {"kernels": kernels}
    else:
        changed.setdefault(COLLECTION, {})["synthesis"] = {"synthesis": kernels}
    return model.clone(decoder=free), changed


def _advice(model: SincNet) -> str:
    """What keeps learned filters invertible."""
    others = (
        "learn them with a penalty on the condition number (training.penalties), or use more bins "
        "or a shorter hop"
    )
    if model.learnable_filters is not True:
        return others
    return (
        f"a learning rate of the filters of at most {filter_ranges.largest_rate(model):.1g} moves "
        "them by a hundredth of their distance per step of Adam; or keep them in their ranges "
        f"(filter_ranges.project_parameters after every step); or {others}"
    )


def _kernels(model: SincNet, variables: Any) -> jax.Array:
    """The filters as kernels [channels, taps], those of a fixed uniform bank written out."""
    if isinstance(model.bank, UniformBank):
        return jnp.asarray(model.bank.kernels, model.dtype)
    return model.apply(variables, method="filters")  # type: ignore[return-value]
