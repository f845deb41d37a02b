"""Models of a config: the module, how it is trained, what is reported of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import isincnet_jax as isn
from isincnet_jax.bank import filter_ranges
from isincnet_jax.bank.dsp import frame_theory
from isincnet_jax.pretrained import model_kinds
from isincnet_jax.tasks.config import Config
from isincnet_jax.tokens.refined_decoder import RefinedDecoder
from isincnet_jax.tokens.token_codec import TokenCodec
from isincnet_jax.training import penalties
from isincnet_jax.training import step as train_step


class Model(NamedTuple):
    """A module and what the trainer needs of it.

    Attributes:
        module: Linen module; ``apply(variables, waveform)`` reconstructs.
        variables: initialised.
        reconstruct: (variables, waveform, key) to waveform, as it is trained.
        identity: what a checkpoint must have been made with to fit.
        penalties: of the variables.
        diagnose: variables to numbers that evaluations report beside the metrics.
    """

    module: Any
    variables: Any
    reconstruct: train_step.Reconstruct
    identity: dict[str, Any]
    penalties: dict[str, train_step.Penalty]
    diagnose: Callable[[Any], dict[str, float]]


def _build_spec(config: Config) -> isn.FilterbankSpec:
    """The filterbank of a config."""
    model = config.model
    return isn.FilterbankSpec(
        sample_rate=config.data.sample_rate,
        hop_length=model.hop_length,
        num_bins=model.num_bins,
        scale=model.scale,
        shape=model.shape,
        component=model.component,
        causal=model.causal,
    )


def build_model(config: Config) -> Model:
    """The module of a config, initialised from its seed.

    Args:
        config: ``model``, ``penalty``, ``optimizer`` (its rates), ``data.sample_rate`` and
            ``seed``.

    Returns:
        Module, variables and what the trainer asks of them.

    Raises:
        ValueError: for an unknown kind or decoder, rates at which bands would change places, and a
            penalty of filters that are not learned.
    """
    kinds = {
        "sincnet": _sincnet,
        "token_codec": _token_codec,
        "refined_decoder": _refined_decoder,
    }
    if config.model.kind not in kinds:
        options = ", ".join(kinds)
        raise ValueError(f"model.kind={config.model.kind!r} is unknown; use {options}")
    return kinds[config.model.kind](config)


def _sincnet(config: Config) -> Model:
    model = config.model
    spec = _build_spec(config)
    decoders = {
        "random": isn.DecoderSpec(
            "free", num_frames=model.num_frames, first_frame=-(model.num_frames // 2)
        ),
        "exact": isn.DecoderSpec(num_frames=model.num_frames),
        "fixed": isn.DecoderSpec(num_frames=model.num_frames),
    }
    if model.decoder not in decoders:
        raise ValueError(f"model.decoder={model.decoder!r} is unknown; use {', '.join(decoders)}")
    module = isn.SincNet(
        spec,
        decoders[model.decoder],
        learnable_filters=model.learnable_filters,
        learnable_decoder=model.decoder != "fixed",
        window_terms=model.window_terms,
        compute_dtype=_compute_dtype(config),
    )
    rates = config.optimizer
    rate = rates.filter_learning_rate
    filter_ranges.check_rate(module, rates.learning_rate if rate is None else rate)
    init_key, decoder_key = jax.random.split(jax.random.key(config.seed))
    variables: Any = module.init(init_key, jnp.zeros((1, spec.hop_length)))
    if model.decoder == "random":
        kernels = variables["params"]["synthesis"]["kernels"]
        # U(-a, a) with a = 1 / sqrt(number of products that a sample sums up)
        limit = 1.0 / np.sqrt(spec.num_channels * model.num_frames)
        variables["params"]["synthesis"]["kernels"] = jax.random.uniform(
            decoder_key, kernels.shape, kernels.dtype, -limit, limit
        )

    def reconstruct(variables: Any, waveform: jax.Array, key: jax.Array) -> jax.Array:
        del key
        if not model.q_bits:
            return module.apply(variables, waveform)  # type: ignore[return-value]
        spectrogram: Any = module.apply(variables, waveform, method="encode")
        # Scales from this batch, as constants; gradients pass the rounding unchanged.
        coarse = isn.Quantizer(np.ones(1, np.float32), model.q_bits)
        coded = coarse.fit(jax.lax.stop_gradient(spectrogram)).straight_through(spectrogram)
        return module.apply(  # type: ignore[return-value]
            variables, coded, length=waveform.shape[-1], method="decode"
        )

    return Model(
        module,
        variables,
        reconstruct,
        _identity(module),
        _penalties(config, module),
        functools.partial(_condition, module) if model.learnable_filters else _nothing,
    )


def _token_codec(config: Config) -> Model:
    model, refiner = config.model, config.model.refiner
    spec = _build_spec(config)
    module = TokenCodec(
        spec,
        isn.DecoderSpec(num_frames=model.num_frames),
        q_bits=model.q_bits,
        num_blocks=refiner.num_blocks,
        width=refiner.width,
        iterations_before=refiner.iterations_before,
        iterations_after=refiner.iterations_after,
        compute_dtype=_compute_dtype(config),
    )
    return _plain(config, module)


def _refined_decoder(config: Config) -> Model:
    model, refiner = config.model, config.model.refiner
    kind = "wiener" if model.decoder == "wiener" else "auto"
    module = RefinedDecoder(
        _build_spec(config),
        observation=model.observation,
        decoder=isn.DecoderSpec(kind, num_frames=model.num_frames),
        num_blocks=refiner.num_blocks,
        width=refiner.width,
        iterations=refiner.iterations_after,
        compute_dtype=_compute_dtype(config),
    )
    return _plain(config, module)


def _plain(config: Config, module: Any) -> Model:
    """A module whose call is the reconstruction that is trained."""
    clip = jnp.zeros((1, module.spec.hop_length))
    variables = jax.jit(module.init)(jax.random.key(config.seed), clip)

    def reconstruct(variables: Any, waveform: jax.Array, key: jax.Array) -> jax.Array:
        del key
        return module.apply(variables, waveform)  # type: ignore[return-value]

    return Model(module, variables, reconstruct, _identity(module), {}, _nothing)


def _compute_dtype(config: Config) -> Any:
    return jnp.bfloat16 if config.model.bfloat16 else None


def _nothing(variables: Any) -> dict[str, float]:
    del variables
    return {}


def _condition(module: isn.SincNet, variables: Any) -> dict[str, float]:
    """Condition number of learned filters, in float64."""
    # Nine frequencies, not refined: a lower bound of B / A, cheap enough for every evaluation.
    kernels = np.asarray(module.apply(variables, method="filters"), np.float64)
    bounds = frame_theory.frame_bounds_of_kernels(
        kernels, hop_length=module.spec.hop_length, num_frequencies=9, refine=False
    )
    return {"condition": bounds.condition}


def _identity(module: Any) -> dict[str, Any]:
    kind = model_kinds.kind_of(module)
    return {"kind": kind.name, **kind.plain_fields(module)}


def _penalties(config: Config, module: Any) -> dict[str, train_step.Penalty]:
    if not config.penalty.condition:
        return {}
    if not config.model.learnable_filters:
        raise ValueError(
            f"penalty.condition={config.penalty.condition} needs model.learnable_filters=True"
        )
    penalty = penalties.condition_penalty(
        lambda variables: module.apply(variables, method="filters"),
        hop_length=config.model.hop_length,
        weight=config.penalty.condition,
        target=config.penalty.condition_target,
    )
    return {"condition": penalty}
