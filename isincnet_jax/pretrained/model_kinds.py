"""Kinds of models that can be stored: one entry each.

A kind says how a Linen module becomes plain fields and comes back, what its ``init`` is called
with, and what a user gets. To make another module class storable, add a :class:`ModelKind` to
:data:`KINDS`. The defaults suit modules of waveforms whose attributes are specs, numbers, texts,
dtypes and tuples of them: ``ModelKind("vocoder", Vocoder)`` is then all it takes.

Stored models outlive versions: an attribute or spec field that is added later, and so is missing
in what was stored before, gets its default, which therefore has to mean what was before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from isincnet_jax import jax_names
from isincnet_jax.bank.codec import Codec
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.sincnet import SincNet
from isincnet_jax.bank.solve import design_decoder
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.inversynth.networks import NUM_SAMPLES, InverSynth, TrainedInverSynth
from isincnet_jax.linen import TrainedModel
from isincnet_jax.tokens.refined_decoder import RefinedDecoder
from isincnet_jax.tokens.token_codec import TokenCodec
from isincnet_jax.vocoders.features import VocoderFeatures
from isincnet_jax.vocoders.vocoder import NETWORKS, TrainedVocoder, Vocoder

_SPECS = {"spec": FilterbankSpec, "working_spec": FilterbankSpec, "decoder": DecoderSpec}
_NOT_STORED = ("parent", "name", "dtype", "precision")


def _attributes_of(module: Any) -> dict[str, Any]:
    """A module's attributes as JSON can hold them, ``dtype`` and ``precision`` left out."""
    fields = {}
    for attribute in dataclasses.fields(module):
        name, value = attribute.name, getattr(module, attribute.name)
        if name in _NOT_STORED:
            continue
        if name in _SPECS and value is not None:
            value = _spec_fields(value)
        elif name.endswith("dtype") and value is not None:
            value = jnp.dtype(value).name
        fields[name] = value
    return fields


def _module_of(
    module_class: Any, fields: dict[str, Any], *, dtype: Any, precision: lax.PrecisionLike
) -> Any:
    """The inverse of :func:`_attributes_of`: missing attributes have their defaults."""
    attributes: dict[str, Any] = {}
    for name, value in _with_tuples(fields).items():
        if name in _SPECS and value is not None:
            attributes[name] = _spec_of(_SPECS[name], _with_tuples(value))
        elif name.endswith("dtype") and value is not None:
            attributes[name] = jnp.dtype(value)
        else:
            attributes[name] = value
    return module_class(**attributes, dtype=dtype, precision=precision)


def _spec_fields(spec: Any) -> dict[str, Any]:
    return spec.to_dict() if isinstance(spec, FilterbankSpec) else dataclasses.asdict(spec)


def _spec_of(spec_class: Any, values: dict[str, Any]) -> Any:
    if spec_class is FilterbankSpec:
        return FilterbankSpec.from_dict(values, partial=True)
    return spec_class(**values)


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    """Modules and specs are hashable: what JSON made a list was a tuple."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def _one_hop(module: Any) -> tuple[jax.ShapeDtypeStruct]:
    """A waveform of one hop, [1, hop_length], as shape and dtype."""
    return (jax.ShapeDtypeStruct((1, module.spec.hop_length), module.dtype),)


@dataclasses.dataclass(frozen=True)
class ModelKind:
    """Kind of models: how modules of one class are stored.

    Attributes:
        name: in ``config.json``.
        module: the class; subclasses are other kinds. Its modules have ``dtype`` and
            ``precision``, which loading may choose.
        to_fields: module to what JSON can hold. Whatever a module derives from its attributes
            and its variables depend on belongs here too: loading compares the fields of the new
            module with the stored ones.
        from_fields: ``from_fields(module class, fields, dtype=..., precision=...)``, a module.
        inputs: module to the arguments of its ``init`` after the key, as shapes and dtypes.
        wrap: ``wrap(module, variables, name)``, what :func:`isincnet_jax.from_pretrained` returns.
    """

    name: str
    module: Any
    to_fields: Callable[[Any], dict[str, Any]] = _attributes_of
    from_fields: Callable[..., Any] = _module_of
    inputs: Callable[[Any], tuple[Any, ...]] = _one_hop
    wrap: Callable[[Any, Any, str], Any] = TrainedModel

    def plain_fields(self, module: Any) -> dict[str, Any]:
        """Fields of a module as they come back from JSON: lists instead of tuples.

        Args:
            module: of this kind.

        Returns:
            JSON values by name.

        Raises:
            TypeError: if JSON cannot hold them.
        """
        fields = self.to_fields(module)
        try:
            return json.loads(json.dumps(fields, allow_nan=False))
        except (ValueError, TypeError) as error:
            raise TypeError(f"{fields} cannot be stored as JSON: {error}") from error

    def build(
        self, fields: dict[str, Any], *, dtype: Any, precision: lax.PrecisionLike = None
    ) -> Any:
        """Module of some fields, without its variables.

        Args:
            fields: as :meth:`plain_fields` returns them.
            dtype: of the module.
            precision: of products on accelerators.

        Returns:
            The module.
        """
        return self.from_fields(self.module, fields, dtype=dtype, precision=precision)

    def template(self, module: Any) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and dtypes of the variables, by their paths; nothing is computed.

        Args:
            module: of this kind.

        Returns:
            "params/synthesis/kernels" and so on to shape and dtype.
        """
        wide = jnp.dtype(module.dtype) == jnp.float64
        with jax_names.enable_x64(True) if wide else contextlib.nullcontext():
            shapes = jax.eval_shape(module.init, jax.random.key(0), *self.inputs(module))
        flat: Any = flax.traverse_util.flatten_dict(shapes, sep="/")
        return flat


def _sincnet_fields(model: SincNet) -> dict[str, Any]:
    solved = design_decoder(model.spec, model.decoder)
    # Where the kernels stand is not stored with them but follows from the solution.
    return {**_attributes_of(model), "synthesis": {"lead": solved.lead, "taps": solved.taps}}


def _sincnet_of(module_class: Any, fields: dict[str, Any], **options: Any) -> SincNet:
    attributes = {name: value for name, value in fields.items() if name != "synthesis"}
    return _module_of(module_class, attributes, **options)


@dataclasses.dataclass(frozen=True)
class HalfModelKind(ModelKind):
    """A kind whose arrays of two or more axes are float16 on disk, see :func:`half_precision`."""

    def template(self, module: Any) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and dtypes of the variables as they are stored, by their paths.

        Args:
            module: of this kind.

        Returns:
            As :meth:`ModelKind.template`, float16 for arrays of two or more axes.
        """
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, _stored_dtype(leaf)),
            super().template(module),
        )


def half_precision(variables: Any) -> Any:
    """Variables as a :class:`HalfModelKind` stores them: matrices float16, vectors float32.

    Args:
        variables: a pytree of arrays; integers are left as they are.

    Returns:
        The same tree of NumPy arrays.

    Raises:
        ValueError: for values beyond the range of float16, 65504.
    """

    def stored(leaf: Any) -> np.ndarray:
        values, dtype = np.asarray(leaf), _stored_dtype(leaf)
        largest = np.max(np.abs(values), initial=0)
        if dtype == jnp.float16 and largest > np.finfo(np.float16).max:
            raise ValueError(f"a weight of {largest:g} is beyond the range of float16, 65504")
        return values.astype(dtype)

    return jax.tree.map(stored, variables)


def _full_precision(variables: Any) -> Any:
    """Floating variables as float32; cast by NumPy, for JAX compiles a cast for every shape."""
    return jax.tree.map(
        lambda leaf: (
            jnp.asarray(np.asarray(leaf).astype(np.float32))
            if jnp.issubdtype(leaf.dtype, jnp.floating)
            else leaf
        ),
        variables,
    )


def _stored_dtype(leaf: Any) -> Any:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf.dtype
    return jnp.dtype(jnp.float16 if leaf.ndim > 1 else jnp.float32)


def _vocoder_fields(model: Vocoder) -> dict[str, Any]:
    network = model.network
    names = [name for name, known in NETWORKS.items() if type(network) is known]
    if not names:
        known = ", ".join(one.__name__ for one in NETWORKS.values())
        raise TypeError(f"network={type(network).__name__} cannot be stored; this stores {known}")
    return {
        "network": {"kind": names[0], **_attributes_of(network)},
        "features": model.features.facts(),
        "input_scale": model.input_scale,
        "fit": model.fit,
    }


def _vocoder_of(
    module_class: Any, fields: dict[str, Any], *, dtype: Any, precision: lax.PrecisionLike
) -> Vocoder:
    network = _with_tuples(fields["network"])
    return module_class(
        NETWORKS[network.pop("kind")](**network, dtype=jnp.dtype(dtype)),
        VocoderFeatures.from_facts(fields["features"]),
        input_scale=fields["input_scale"],
        fit=fields.get("fit", 0),
        dtype=jnp.dtype(dtype),
        precision=precision,
    )


def _few_hops(module: Any) -> tuple[jax.ShapeDtypeStruct]:
    return (jax.ShapeDtypeStruct((1, 4 * module.features.hop_length), module.dtype),)


def _trained_vocoder(module: Any, variables: Any, name: str) -> TrainedVocoder:
    return TrainedVocoder(module, _full_precision(variables), name)


def _one_second(module: Any) -> tuple[jax.ShapeDtypeStruct]:
    return (jax.ShapeDtypeStruct((1, NUM_SAMPLES), module.dtype),)


def _trained_inversynth(module: Any, variables: Any, name: str) -> TrainedInverSynth:
    return TrainedInverSynth(module, _full_precision(variables), name)


KINDS: tuple[ModelKind, ...] = (
    ModelKind("sincnet", SincNet, _sincnet_fields, _sincnet_of, wrap=Codec),
    ModelKind("token_codec", TokenCodec),
    ModelKind("refined_decoder", RefinedDecoder),
    HalfModelKind(
        "vocoder", Vocoder, _vocoder_fields, _vocoder_of, inputs=_few_hops, wrap=_trained_vocoder
    ),
    HalfModelKind("inversynth", InverSynth, inputs=_one_second, wrap=_trained_inversynth),
)
"""Every kind."""


def kind_named(name: object) -> ModelKind:
    """Kind of a name.

    Args:
        name: in ``config.json``.

    Returns:
        The entry of :data:`KINDS`.

    Raises:
        ValueError: if there is none.
    """
    for kind in KINDS:
        if kind.name == name:
            return kind
    known = ", ".join(kind.name for kind in KINDS)
    raise ValueError(f"kind={name!r} is unknown; this version knows {known}")


def kind_of(module: object) -> ModelKind:
    """Kind of a module.

    Args:
        module: of a class of :data:`KINDS`, no subclass of one.

    Returns:
        The entry of :data:`KINDS`.

    Raises:
        TypeError: if modules of its class cannot be stored.
    """
    for kind in KINDS:
        if type(module) is kind.module:
            return kind
    known = ", ".join(kind.module.__name__ for kind in KINDS)
    raise TypeError(f"a {type(module).__name__} cannot be stored; this version stores {known}")
