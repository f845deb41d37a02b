"""Weights of the published CNNVocoder, from PyTorch's names and layouts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from isincnet_jax.vocoders.networks.cnn import CNNVocoder, image_runs

Tree = dict[str, Any]


def load_reference(arrays: Mapping[str, np.ndarray]) -> tuple[CNNVocoder, Tree]:
    """CNNVocoder's own weights, and the model of their sizes.

    Args:
        arrays: PyTorch's names and layouts, such as "head.upsampling.0.conv.weight" [outputs,
            inputs, taps]. If some names begin with "param/", the others are ignored, and so is
            ``num_batches_tracked``.

    Returns:
        The module and its variables, ``params`` and ``batch_stats``, float32.

    Raises:
        ValueError: for names that are none of CNNVocoder's, or missing or misshapen arrays.
    """
    prefixed = any(name.startswith("param/") for name in arrays)
    left = {
        name.removeprefix("param/"): np.asarray(values, np.float32)
        for name, values in arrays.items()
        if not name.endswith("num_batches_tracked") and (name.startswith("param/") or not prefixed)
    }
    model = _model_of(left)
    variables = _Reader(left).variables(model)
    if left:
        raise ValueError(f"array {min(left)!r} is none of this CNNVocoder's")
    probe = jax.ShapeDtypeStruct((1, 1, model.num_bins), np.float32)
    wanted = jax.eval_shape(model.init, jax.random.key(0), probe)

    def compare(path: Any, one: Any, other: Any) -> None:
        if one.shape != other.shape:
            name = jax.tree_util.keystr(path)
            raise ValueError(f"{name} has shape {other.shape}, {one.shape} is expected")

    jax.tree.map_with_path(compare, wanted, variables)
    return model, variables


class _Reader:
    """Takes arrays out of a dictionary, in our layout."""

    def __init__(self, left: dict[str, np.ndarray]) -> None:
        self._left = left

    def variables(self, model: CNNVocoder) -> Tree:
        """Variables of the module, all of them."""
        parts = {"image_stem": self._conv_and_norm("head.pre_conv.0")}
        index = 1
        for run, (_, changes, count) in enumerate(image_runs(model.image_widths)):
            if changes:
                parts[f"image_unit_{run}"] = self._unit(f"head.pre_conv.{index}")
            first = index + changes
            index = first + count
            if count:
                names = [f"head.pre_conv.{block}" for block in range(first, index)]
                parts[f"image_run_{run}"] = self._run(names)
        for stage in range(len(model.widths)):
            name = f"head.upsampling.{stage}"
            parts[f"stage_{stage}"] = self._conv_and_norm(name)
            names = [f"{name}.res_blocks.{block}" for block in range(model.stage_blocks)]
            if names:
                params, stats = parts[f"stage_{stage}"]
                more, seen = self._run(names)
                parts[f"stage_{stage}"] = ({**params, "blocks": more}, {**stats, "blocks": seen})
        if model.post_blocks:
            names = [f"head.post_conv.{block}" for block in range(model.post_blocks)]
            parts["post"] = self._run(names)
        params: Tree = {name: pair[0] for name, pair in parts.items()}
        params["linear"] = self._conv("linear")
        statistics = {name: pair[1] for name, pair in parts.items()}
        return {"params": {"head_0": params}, "batch_stats": {"head_0": statistics}}

    def _take(self, name: str) -> np.ndarray:
        if name not in self._left:
            raise ValueError(f"array {name!r} of CNNVocoder is missing")
        return self._left.pop(name)

    def _conv(self, name: str, *, bias: bool = True) -> Tree:
        """Kernels [outputs, inputs, ...] to [..., inputs, outputs].

        The sides of an image change places: PyTorch's are [bins, frames], ours [frames, bins].
        """
        kernel = {"kernel": np.ascontiguousarray(self._take(f"{name}.weight").T)}
        return kernel | ({"bias": self._take(f"{name}.bias")} if bias else {})

    def _norm(self, name: str) -> tuple[Tree, Tree]:
        params = {"scale": self._take(f"{name}.weight"), "bias": self._take(f"{name}.bias")}
        mean, var = self._take(f"{name}.running_mean"), self._take(f"{name}.running_var")
        return params, {"mean": mean, "var": var}

    def _conv_and_norm(self, name: str) -> tuple[Tree, Tree]:
        conv, (params, stats) = self._conv(f"{name}.conv"), self._norm(f"{name}.bn")
        return {"conv": conv, "norm": params}, {"norm": stats}

    def _unit(self, name: str) -> tuple[Tree, Tree]:
        """A residual block that changes the channels."""
        params, statistics = {}, {}
        for ours, theirs in (("0", "conv1"), ("1", "conv2"), ("around", "down")):
            params[f"conv_{ours}"] = self._conv(f"{name}.{theirs}.0", bias=ours != "around")
            norm, stats = self._norm(f"{name}.{theirs}.1")
            params[f"norm_{ours}"], statistics[f"norm_{ours}"] = norm, stats
        return params, statistics

    def _run(self, names: list[str]) -> tuple[Tree, Tree]:
        """Residual blocks of one width, their two convolutions in a row."""
        steps = []
        for step in (f"{name}.{part}" for name in names for part in ("conv1", "conv2")):
            norm, stats = self._norm(f"{step}.1")
            shift = {"scale": norm["scale"], "offset": norm["bias"]}
            steps.append((self._conv(f"{step}.0") | shift, stats))
        return jax.tree.map(lambda *arrays: np.stack(arrays), *steps)


def _model_of(arrays: Mapping[str, np.ndarray]) -> CNNVocoder:
    """The module whose sizes are those of the arrays."""

    def widths(pattern: str) -> tuple[int, ...]:
        numbered = {
            int(match[1]): len(values)
            for name, values in arrays.items()
            if (match := re.fullmatch(pattern, name))
        }
        return tuple(numbered[index] for index in sorted(numbered))

    # Outputs of each block's last convolution, in the blocks' order.
    image = widths(r"head\.pre_conv\.(\d+)\.(?:conv|conv2\.0)\.weight")
    stages = widths(r"head\.upsampling\.(\d+)\.conv\.weight")
    if not image or not stages:
        raise ValueError("the arrays have no pre_conv or no upsampling: they are not CNNVocoder's")
    return CNNVocoder(
        num_bins=arrays["head.upsampling.0.conv.weight"].shape[1] // image[-1],
        image_widths=image,
        widths=stages,
        stage_blocks=len(widths(r"head\.upsampling\.0\.res_blocks\.(\d+)\.conv1\.0\.weight")),
        post_blocks=len(widths(r"head\.post_conv\.(\d+)\.conv1\.0\.weight")),
    )
