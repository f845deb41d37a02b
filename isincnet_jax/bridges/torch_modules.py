"""PyTorch's side of :mod:`.torch_function`; importing this module imports PyTorch."""

from __future__ import annotations

from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp

from isincnet_jax import extras
from isincnet_jax.bridges import torch_function

with extras.importing("torch"):
    import torch

_TAKEN = (torch.float32, torch.complex64, torch.int32, torch.bool)
_PLATFORMS = {"cpu": "cpu", "cuda": "gpu"}  # a GPU of AMD is "cuda" to PyTorch, too


class JaxModule(torch.nn.Module):
    """Module whose forward pass and gradient are those of a Linen module.

    Args:
        model: the Linen module.
        method: of it, by name.
        fixed: variables by collection, without what is learned.
        learned: parameters by their paths.
    """

    def __init__(
        self, model: Any, method: str, fixed: dict[str, Any], learned: dict[tuple[str, ...], Any]
    ) -> None:
        super().__init__()
        self.model, self.method, self._fixed = model, method, fixed
        self._paths = tuple(learned)
        self._placed: dict[Any, Any] = {}  # the fixed variables by device
        for path, values in learned.items():
            self.register_parameter("/".join(path), torch.nn.Parameter(_own_tensor(values)))

    def extra_repr(self) -> str:
        """The Linen module's class and method, for ``repr``.

        Returns:
            A text of one line.
        """
        return f"{type(self.model).__name__}.{self.method}"

    def variables(self) -> dict[str, Any]:
        """Linen variables, with the parameters as they are now.

        Returns:
            Arrays of their own by collection, for the Linen module's ``apply``.
        """
        if not self._paths:
            return dict(self._fixed)
        learned = {
            path: jnp.array(_to_jax(one), copy=True)
            for path, one in zip(self._paths, self.parameters(), strict=True)
        }
        return {**self._fixed, "params": flax.traverse_util.unflatten_dict(learned)}

    def forward(self, *inputs: torch.Tensor, **options: Any) -> Any:
        """Result of the Linen module's method.

        Args:
            *inputs: its arrays, as tensors on one device.
            **options: its keyword arguments, hashable.

        Returns:
            Tensors, in the structure in which the method returns arrays.

        Raises:
            TypeError: for what is no tensor, tensors of another dtype and options that cannot be
                hashed.
            ValueError: for tensors on several devices, or one that JAX does not have.
        """
        call = torch_function.Call(
            self.model, self.method, tuple(sorted(options.items())), self._paths
        )
        try:
            hash(call)
        except TypeError as error:
            raise TypeError(
                f"options {sorted(options)} are compiled in, but one cannot be hashed ({error}); "
                "arrays are positional arguments"
            ) from error
        tensors = [*self.parameters(), *inputs]
        _check(tensors)
        structure: list[Any] = []
        # Within, gradients are never enabled, and needs_input_grad does not know of no_grad().
        slopes = torch.is_grad_enabled()
        leaves = _Call.apply(self._fixed_on, call, slopes, structure, *tensors)
        return jax.tree.unflatten(structure[0], leaves)

    def _fixed_on(self, device: Any) -> Any:
        if device not in self._placed:
            self._placed[device] = jax.device_put(self._fixed, device)
        return self._placed[device]


class _Call(torch.autograd.Function):
    """Node of PyTorch's graph that JAX computes, forth and back."""

    @staticmethod
    def forward(
        ctx: Any, fixed_on: Any, call: Any, slopes: bool, structure: list[Any], *tensors: Any
    ) -> Any:
        arrays = [_to_jax(tensor) for tensor in tensors]
        fixed = fixed_on(next(iter(arrays[-1].devices())))
        ctx.wanted = tuple(slopes and needed for needed in ctx.needs_input_grad[4:])
        ctx.name = f"{type(call.model).__name__}.{call.method}"
        found, ctx.pullback = torch_function.run(fixed, arrays, call, ctx.wanted)
        leaves, tree = jax.tree.flatten(found)
        structure.append(tree)
        floating = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]
        ctx.shapes = (
            tree,
            tuple(None if f else leaf.shape for f, leaf in zip(floating, leaves, strict=True)),
        )
        given = tuple(map(torch.from_dlpack, leaves))
        ctx.mark_non_differentiable(*(t for f, t in zip(floating, given, strict=True) if not f))
        # For gradients of gradients, which are refused by way of what they would depend on.
        ctx.save_for_backward(*(t for w, t in zip(ctx.wanted, tensors, strict=True) if w))
        return given

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        kept = [c for c, s in zip(cotangents, ctx.shapes[1], strict=True) if s is None]
        # dL/dx + i dL/dy is PyTorch's gradient of a complex number, dL/dx - i dL/dy JAX's.
        arrays = tuple(_to_jax(one.conj()) for one in kept)
        pulled = torch_function.pull(ctx.pullback, arrays, shapes=ctx.shapes)
        jax.block_until_ready(pulled)
        gradients: Any = [torch.from_dlpack(one).conj_physical() for one in pulled]
        if torch.is_grad_enabled():  # create_graph=True
            gradients = _Refused.apply(ctx.name, len(gradients), *gradients, *ctx.saved_tensors)
        given = iter(gradients)
        return None, None, None, None, *(next(given) if wanted else None for wanted in ctx.wanted)


class _Refused(torch.autograd.Function):
    """Gradients as they are, whose own gradients are refused."""

    @staticmethod
    def forward(ctx: Any, name: str, count: int, *tensors: Any) -> Any:
        ctx.name = name
        return tuple(one.clone() for one in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        raise RuntimeError(
            f"{ctx.name} runs in JAX by isn.torch_function, which has no gradients of gradients; "
            "take them in JAX, or leave this layer out of the penalty"
        )


def _check(tensors: list[Any]) -> None:
    for one in tensors:
        if not isinstance(one, torch.Tensor):
            raise TypeError(f"an input is a {type(one).__name__}; PyTorch tensors are needed")
        if one.dtype not in _TAKEN:
            hint = ".int()" if one.dtype == torch.int64 else ".float()"
            raise TypeError(
                f"dtype={one.dtype}: float32, complex64, int32 or bool tensors are needed; "
                f"use tensor{hint}"
            )
    found = sorted({str(one.device) for one in tensors})
    if len(found) != 1:
        raise ValueError(
            f"tensors on {' and '.join(found) or 'no device'}: give one or more on one device"
        )
    platform = _PLATFORMS.get(tensors[0].device.type)
    try:
        if platform is None:
            raise RuntimeError(f"only {' and '.join(_PLATFORMS)} tensors cross over")
        jax.devices(platform)
    except RuntimeError as error:
        raise ValueError(
            f"a tensor on {found[0]}, which JAX does not have here ({error}); use tensor.cpu()"
        ) from error


def _to_jax(tensor: torch.Tensor) -> jax.Array:
    """The same memory where it is contiguous and aligned; JAX copies what is not aligned."""
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return jax.dlpack.from_dlpack(plain)


def _own_tensor(values: Any) -> torch.Tensor:
    """A tensor that may be written to."""
    return torch.from_dlpack(jax.block_until_ready(jnp.asarray(values))).clone()
