"""NNX modules of Linen modules and their variables, and back, over :mod:`flax.nnx.bridge`.

References:
    Flax documentation, "Use Flax NNX and Linen together",
        https://flax.readthedocs.io/en/latest/guides/bridge_guide.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.core
import flax.linen as nn
import jax
from flax import nnx
from flax.nnx.bridge import variables as bridged

from isincnet_jax.linen import TrainedModel


def to_nnx(
    model: nn.Module | TrainedModel,
    *example: Any,
    rngs: nnx.Rngs | jax.Array | None = None,
    variables: Any = None,
    **options: Any,
) -> nnx.bridge.ToNNX:
    """NNX module of any layer, network or codec of this package.

    It is called as the Linen module is, without its variables: ``module(waveform)``,
    ``module.decode(spectrogram, length=n)``, ``module(..., method="decode")``. Its state holds
    the variables under their own names and nothing else: those of the collection "params" are
    ``nnx.Param``, those of "batch_stats" ``nnx.BatchStat``; fixed filters, of the collection
    "filterbank", are of a type that ``nnx.grad`` and optimizers of ``nnx.Param`` leave alone.

    Args:
        model: a Linen module, or a codec, vocoder or other trained model with its variables.
        *example: what the module would be called with, to make variables: arrays of which shapes
            and dtypes count.
        rngs: of the initialisation, its stream "params", or a key; needed with an example.
        variables: of the Linen module, in place of an example.
        **options: of the call that the example belongs to, ``method`` among them.

    Returns:
        The module. Its calls draw no random numbers unless they are given ``rngs=``; variables
        that they change, as batch statistics, are kept if they are given
        ``mutable=["batch_stats"]``.

    Raises:
        TypeError: for what is no Linen module.
        ValueError: without example and variables, with both, or for an example without ``rngs``.

    Example:
        >>> import jax.numpy as jnp
        >>> from isincnet_jax import SincConv
        >>> layer = SincConv(num_filters=4, kernel_size=33, stride=8)
        >>> module = to_nnx(layer, jnp.zeros((1, 300)), rngs=nnx.Rngs(0))
        >>> module(jnp.zeros((2, 300))).shape, module.low[...].shape
        ((2, 34, 4), (4,))
    """
    if isinstance(model, TrainedModel):
        model, kept = model.model, model.variables
        variables = kept if variables is None and not example else variables
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model is a {type(model).__name__}; a Linen module is needed, or a codec that has one"
        )
    if (variables is None) is not bool(example):
        raise ValueError(
            f"{type(model).__name__}: variables of a module are made from an example of its input "
            "and rngs=..., or are given as variables=...: one of the two"
        )
    if variables is None:
        if rngs is None:
            raise ValueError("an example needs rngs: give rngs=nnx.Rngs(0), say")
        key = rngs.params() if isinstance(rngs, nnx.Rngs) else rngs
        variables = jax.jit(lambda key, inputs: model.init(key, *inputs, **options))(key, example)
    module = nnx.bridge.ToNNX(model)
    attributes = bridged.linen_vars_to_nnx_attrs(flax.core.unfreeze(variables))
    for name, value in attributes.items():
        setattr(module, name, nnx.data(value))
    return module


def from_nnx(module: nnx.bridge.ToNNX) -> tuple[Any, dict[str, Any]]:
    """Linen module and variables of an NNX module: the inverse of :func:`to_nnx`.

    Args:
        module: of :func:`to_nnx`, or any initialised ``flax.nnx.bridge.ToNNX``.

    Returns:
        The Linen module, and its variables by collection, for ``apply`` and for functions of the
        two such as :func:`isincnet_jax.with_exact_decoder`.

    Raises:
        TypeError: for other modules.

    Example:
        >>> import jax.numpy as jnp
        >>> import isincnet_jax as isn
        >>> spec = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=17)
        >>> net = isn.SincNet(spec, learnable_filters=True)
        >>> net = to_nnx(net, jnp.zeros((1, 100)), rngs=nnx.Rngs(0))
        >>> exact, variables = isn.with_exact_decoder(*from_nnx(net))  # after a training, say
        >>> to_nnx(exact, variables=variables)(jnp.zeros((1, 100))).shape
        (1, 100)
    """
    if not isinstance(module, nnx.bridge.ToNNX):
        raise TypeError(f"module is a {type(module).__name__}, not made by isn.to_nnx")
    kept = {name: one for name, one in vars(module).items() if not name.startswith("_")}
    (model,) = (one for one in kept.values() if isinstance(one, nn.Module))  # named by flax
    own = {name: one for name, one in kept.items() if isinstance(one, nnx.Variable | Mapping)}
    return model, bridged.nnx_attrs_to_linen_vars(own)
