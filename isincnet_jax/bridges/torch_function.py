"""JAX layers inside PyTorch graphs: values and gradients cross over by DLPack.

References:
    DLPack, "Open in memory tensor structure", https://dmlc.github.io/dlpack/latest/
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import flax.core
import flax.errors
import flax.linen as nn
import flax.traverse_util
import jax
import numpy as np

from isincnet_jax import extras
from isincnet_jax.linen import TrainedModel


class Call(NamedTuple):
    """What is compiled: all that is static in a call of a Linen module.

    Attributes:
        model: the Linen module.
        method: of it, by name.
        options: keyword arguments by name, in the order of their names.
        learned: paths of the parameters that stand before the inputs.
    """

    model: nn.Module
    method: str
    options: tuple[tuple[str, Any], ...]
    learned: tuple[tuple[str, ...], ...]


def torch_function(
    model: nn.Module | TrainedModel,
    variables: Any = None,
    *,
    method: str = "__call__",
    trainable: bool = False,
) -> Any:
    """PyTorch module that runs a layer or codec of this package in JAX, with its gradient.

    It is called with tensors, as the layer is with arrays, and is a node of PyTorch's graph:
    forward and pullback are compiled by JAX, once per shape, and values cross over by DLPack, on
    CPUs without copies of contiguous tensors. Gradients go to all floating inputs, and with
    ``trainable`` to the parameters, which are then ``torch.nn.Parameter``: PyTorch's optimizers,
    ``state_dict`` and devices apply to them, under names as "synthesis/kernels". Everything else
    of the variables is fixed.

    Tensors are float32 or complex64 (whose gradients have PyTorch's sign of the imaginary part),
    int32 or bool, on a CPU, or on a GPU that both JAX and PyTorch were installed for; the layer
    runs where its input is. GPUs are not measured here.

    Args:
        model: a Linen module, or a codec or other trained model with its variables.
        variables: of the Linen module, as its ``init`` returns them; None for layers that have
            none, and for trained models.
        method: of the module, by name: "encode" or "decode", say.
        trainable: whether the collection "params" becomes parameters.

    Returns:
        A ``torch.nn.Module``. Keyword arguments of its call, as ``length=n``, are those of the
        method, static and hashable; its method ``variables()`` gives the Linen variables back,
        with the parameters as they are now. It raises a TypeError for tensors of another dtype, a
        ValueError for another device or missing variables, what the layer raises for what it does
        not take, and a RuntimeError for gradients of gradients.

    Raises:
        ImportError: without PyTorch, which the extra "torch" brings.
        TypeError: for what is no Linen module.
        ValueError: if there are no parameters to train.

    Example:
        >>> import isincnet_jax as isn
        >>> import pytest; torch = pytest.importorskip("torch")
        >>> spectrum = torch_function(isn.STFT(n_fft=64, hop_length=16))
        >>> waveform = torch.zeros(2, 300, requires_grad=True)
        >>> spectrum(waveform).square().sum().backward()
        >>> waveform.grad.shape
        torch.Size([2, 300])
    """
    extras.require("torch")
    from isincnet_jax.bridges import torch_modules  # noqa: PLC0415 - it imports torch

    if isinstance(model, TrainedModel):
        model, variables = model.model, model.variables if variables is None else variables
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model is a {type(model).__name__}; a Linen module is needed, or a codec that has one"
        )
    fixed = dict(flax.core.unfreeze(variables or {}))
    learned: dict[Any, Any] = {}
    if trainable:
        learned = flax.traverse_util.flatten_dict(fixed.pop("params", {}))
        if not learned:
            raise ValueError(
                f"trainable=True, but these variables of {type(model).__name__} hold no "
                "parameters: give variables=layer.init(key, example), or leave it out"
            )
    return torch_modules.JaxModule(model, method, fixed, learned)


def _apply(fixed: Any, arrays: Any, call: Call) -> Any:
    count = len(call.learned)
    variables = fixed
    if count:
        learned = dict(zip(call.learned, arrays[:count], strict=True))
        variables = {**fixed, "params": flax.traverse_util.unflatten_dict(learned)}
    options = dict(call.options)
    return call.model.apply(variables, *arrays[count:], method=call.method, **options)


@functools.partial(jax.jit, static_argnames="call")
def _run(fixed: Any, arrays: Any, *, call: Call) -> Any:
    return _apply(fixed, arrays, call)


@functools.partial(jax.jit, static_argnames=("call", "wanted"))
def _run_with_pullback(fixed: Any, arrays: Any, *, call: Call, wanted: tuple[bool, ...]) -> Any:
    def of_wanted(*chosen: Any) -> Any:
        given = iter(chosen)
        return _apply(fixed, [next(given) if w else x for w, x in zip(wanted, arrays)], call)  # noqa: B905 - as long

    return jax.vjp(of_wanted, *(x for w, x in zip(wanted, arrays, strict=True) if w))


def run(fixed: Any, arrays: list[jax.Array], call: Call, wanted: tuple[bool, ...]) -> Any:
    """A call of a Linen module, compiled, and its pullback if any is wanted.

    Args:
        fixed: variables by collection, without what is learned.
        arrays: the learned parameters, then the inputs.
        call: all else.
        wanted: of which arrays gradients will be asked.

    Returns:
        The result, and the pullback for :func:`pull` or None; both are there, none is being
        computed, and neither shares memory with the arrays.

    Raises:
        ValueError: if the module lacks variables.
    """
    try:
        if not any(wanted):
            return jax.block_until_ready((_run(fixed, arrays, call=call), None))
        return jax.block_until_ready(_run_with_pullback(fixed, arrays, call=call, wanted=wanted))
    except (
        flax.errors.ScopeCollectionNotFound,
        flax.errors.ScopeParamNotFoundError,
        flax.errors.ScopeVariableNotFoundError,
    ) as error:
        raise ValueError(
            f"{type(call.model).__name__} lacks variables: give torch_function "
            "variables=layer.init(key, example)"
        ) from error


@functools.partial(jax.jit, static_argnames="shapes")
def pull(pullback: Any, cotangents: Any, *, shapes: Any) -> tuple[jax.Array, ...]:
    """Gradients of the wanted arrays, of JAX's sign of imaginary parts.

    Args:
        pullback: of :func:`run`.
        cotangents: of the floating leaves of the result, in their order.
        shapes: tree definition of the result, and for each leaf None, or its shape if it is not
            floating.

    Returns:
        Arrays like the wanted ones.
    """
    tree, others = shapes
    given = iter(cotangents)
    leaves = [
        next(given) if shape is None else np.zeros(shape, jax.dtypes.float0) for shape in others
    ]
    return pullback(jax.tree.unflatten(tree, leaves))
