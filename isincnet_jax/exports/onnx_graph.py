"""Graphs as ONNX models, written with the ``onnx`` package: no converter, no JAX inside.

Operators are those of opset 17, which onnxruntime and onnxruntime-web run: convolutions, matrix
products, and what lies around them. Batch and length are dynamic, arrays float32, tokens int32.
What sizes must obey stands in the metadata as ``constraints``: ONNX has no errors of its own.

References:
    ONNX, "Operators", opset 17. https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

import isincnet_jax
from isincnet_jax import extras, files
from isincnet_jax.exports.graph import Graph, Node, Number, Size, Value
from isincnet_jax.exports.sources import Part, Source, describe_part

OPSET = 17
IR_VERSION = 8
"""Of the file format that opset 17 came with; later tools read it."""

_SAME_NAME = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "pow": "Pow",
    "mod": "Mod",
    "min": "Min",
    "max": "Max",
    "abs": "Abs",
    "neg": "Neg",
    "sign": "Sign",
    "sqrt": "Sqrt",
    "exp": "Exp",
    "log": "Log",
    "cos": "Cos",
    "sin": "Sin",
    "round": "Round",
    "floor": "Floor",
}
_OF_SIZES = {
    "+": "Add", "-": "Sub", "*": "Mul", "//": "Div", "%": "Mod", "min": "Min", "max": "Max"
}  # fmt: skip


def export_onnx(
    source: Source, path: str | Path, *, part: Part | None = None, variables: Any = None
) -> Path:
    """Writes a codec, a quantizer or a layer as an ONNX model, for any batch and length.

    Inputs and outputs are called "waveform" [batch, time], "spectrogram" [batch, frames, channels]
    (a layer's complex output: real parts of all bins, then imaginary parts) and "codes" [batch,
    frames, channels], int32. A decoder gives the longest waveform that has so many frames; cut it
    to the clip. The file's metadata hold ``constraints`` on the sizes, ``part``, ``spec`` (JSON),
    ``sample_rate``, ``hop_length``, ``library``, ``jax`` and ``model``.

    Args:
        source: a :class:`.Codec` or :class:`.LappedCodec`, trained or not, a :class:`.Quantizer`
            or :class:`.UniformQuantizer`, or a layer: :class:`.STFT`, :class:`.MelSpectrogram`,
            :class:`.Gammatonegram`, :class:`.MFCC`, those of :mod:`.constant_q.layers` and
            :mod:`.constant_q.recursive`, and :class:`.SincConv`.
        path: of the model, ``.onnx``; the folder exists.
        part: "encode", "decode" or "round-trip" of a codec or quantizer, "round-trip" if None;
            layers have none.
        variables: of a layer that has some.

    Returns:
        The path.

    Raises:
        ImportError: without the package onnx: ``pip install 'isincnet-jax[onnx]'``.
        TypeError: for a source that is none of these.
        ValueError: for an unknown part, a codec that computes in another dtype than float32, or a
            layer with an option that is not exported.
        OSError: if the file cannot be written.

    Example:
        >>> import isincnet_jax as isn
        >>> path = getfixture("tmp_path") / "encode.onnx"
        >>> spec = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
        >>> codec = isn.build_codec(isn.SincNet(spec))
        >>> export_onnx(codec, path, part="encode").name
        'encode.onnx'
    """
    with extras.importing("onnx"):
        import onnx

    described = describe_part(source, part=part, variables=variables)
    model = _Writer(described.graph).model()
    metadata = {
        **described.facts,
        "part": described.part,
        "constraints": constraints(described.graph),
        "library": f"isincnet_jax {isincnet_jax.__version__}",
        "jax": jax.__version__,
    }
    onnx.helper.set_model_props(
        model,
        {
            key: value if isinstance(value, str) else json.dumps(value, allow_nan=False)
            for key, value in metadata.items()
        },
    )
    onnx.checker.check_model(model, full_check=True)
    path = Path(path)
    with files.replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
    return path


def read_ports(path: str | Path) -> list[str]:
    """What goes into an ONNX model and what comes out, in words.

    Args:
        path: of the model.

    Returns:
        One line each, and one of the constraints.

    Raises:
        ImportError: without the package onnx.
    """
    with extras.importing("onnx"):
        import onnx

    model = onnx.load(path)
    lines = []
    for way, ports in (("input", model.graph.input), ("output", model.graph.output)):
        for port in ports:
            kind = port.type.tensor_type
            shape = [axis.dim_param or str(axis.dim_value) for axis in kind.shape.dim]
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            lines.append(f"{way:7} {port.name} [{', '.join(shape)}] {dtype}")
    told = {entry.key: entry.value for entry in model.metadata_props}
    return [*lines, f"where   {', '.join(json.loads(told['constraints']))}"]


def constraints(graph: Graph) -> list[str]:
    """Requirements of a graph whose optional numbers are left out.

    Args:
        graph: any.

    Returns:
        One text each.
    """
    return [
        each.text
        for each in graph.requirements
        if not any(isinstance(size, Size) and size.inputs() for size in (each.size, each.bound))
    ]


class _Writer:
    """Nodes and initializers of one graph."""

    def __init__(self, graph: Graph) -> None:
        with extras.importing("onnx"):
            from onnx import helper, numpy_helper

        self.graph, self.helper, self.arrays = graph, helper, numpy_helper
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.sizes: dict[Size, str] = {}

    def model(self) -> Any:
        for name, array in self.graph.constants.items():
            self.initializers[name] = array
        for node in self.graph.nodes:
            getattr(self, f"_{node.op}", self._pointwise)(node)
        graph = self.helper.make_graph(
            self.nodes,
            "isincnet_jax",
            [self._port(port) for port in self.graph.inputs],
            [self._port(port) for port in self.graph.outputs],
            [self.arrays.from_array(array, name) for name, array in self.initializers.items()],
        )
        return self.helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[self.helper.make_opsetid("", OPSET)],
            producer_name="isincnet_jax",
            producer_version=isincnet_jax.__version__,
        )

    def _port(self, port: Any) -> Any:
        kind = self.helper.np_dtype_to_tensor_dtype(np.dtype(port.value.dtype))
        return self.helper.make_tensor_value_info(port.value.name, kind, port.axes)

    def _emit(
        self, op: str, inputs: list[str], output: str | None = None, **attributes: Any
    ) -> str:
        output = output or f"_{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(op, inputs, [output], **attributes))
        return output

    def _array(self, values: Any, dtype: str) -> str:
        """An initializer; equal ones are kept once."""
        array = np.asarray(values, dtype)
        name = f"_{dtype}_{array.shape}_{array.tobytes().hex()}" if array.size < 5 else ""
        name = name or f"_array_{len(self.initializers)}"
        self.initializers[name] = array
        return name

    def _size(self, number: Number) -> str:
        """A size as an int64 array of one element."""
        if not isinstance(number, Size):
            return self._array([number], "int64")
        if number not in self.sizes:
            if number.op == "input":
                found = self._size(self.graph.numbers[number.operands[0]])
            elif number.op == "named":
                found = self._size(number.operands[1])
            elif number.op == "axis":
                value, axis = number.operands
                shape = self._emit("Shape", [value])
                found = self._emit("Gather", [shape, self._array([axis], "int64")])
            else:
                found = self._emit(_OF_SIZES[number.op], [*map(self._size, number.operands)])
            self.sizes[number] = found
        return self.sizes[number]

    def _list(self, numbers: Any) -> str:
        """Sizes as one int64 array."""
        if not any(isinstance(number, Size) for number in numbers):
            return self._array([*numbers], "int64")
        return self._emit("Concat", [self._size(number) for number in numbers], axis=0)

    # One method per operation; those on every element share one.

    def _pointwise(self, node: Node) -> None:
        if node.op in ("float32", "int32", "int64"):
            kind = self.helper.np_dtype_to_tensor_dtype(np.dtype(node.op))
            self._emit("Cast", [node.inputs[0].name], node.output.name, to=kind)  # type: ignore[union-attr]
            return
        dtype = node.output.dtype
        names = []
        for each in node.inputs:
            if isinstance(each, Value):
                names.append(each.name)
            elif isinstance(each, Size):
                names.append(self._size(each))
            else:
                names.append(self._array(each, dtype))
        self._emit(_SAME_NAME[node.op], names, node.output.name)

    def _let(self, node: Node) -> None:
        """Names of sizes are for other readers."""

    def _as(self, node: Node) -> None:
        self._emit("Identity", [node.inputs[0].name], node.output.name)  # type: ignore[union-attr]

    def _pad(self, node: Node) -> None:
        before, after = node.attributes["before"], node.attributes["after"]
        pads = self._list([0, before, 0, after])
        self._emit("Pad", [_name(node), pads], node.output.name)

    def _slice(self, node: Node) -> None:
        given = node.attributes
        bounds = [self._size(given["start"]), self._size(given["stop"])]
        axis = self._array([given["axis"]], "int64")
        self._emit("Slice", [_name(node), *bounds, axis], node.output.name)

    def _flip(self, node: Node) -> None:
        numbers = (-1, np.iinfo(np.int64).min + 1, node.attributes["axis"], -1)
        arrays = [self._array([number], "int64") for number in numbers]
        self._emit("Slice", [_name(node), *arrays], node.output.name)

    def _reshape(self, node: Node) -> None:
        sizes = self._list(node.attributes["sizes"])
        # A size of 0 is none, and not that of the input's axis.
        some = any(isinstance(size, Size) for size in node.attributes["sizes"])
        allow = int(some and -1 not in node.attributes["sizes"])
        self._emit("Reshape", [_name(node), sizes], node.output.name, allowzero=allow)

    def _transpose(self, node: Node) -> None:
        self._emit("Transpose", [_name(node)], node.output.name, perm=node.attributes["axes"])

    def _concat(self, node: Node) -> None:
        names = [each.name for each in node.inputs]  # type: ignore[union-attr]
        self._emit("Concat", names, node.output.name, axis=node.attributes["axis"])

    def _matmul(self, node: Node) -> None:
        self._emit("MatMul", [_name(node), _name(node, 1)], node.output.name)

    def _convolve(self, node: Node) -> None:
        given = node.attributes
        turned = self._emit("Transpose", [_name(node)], perm=[0, 2, 1])
        found = self._emit(
            "Conv",
            [turned, _name(node, 1)],
            strides=[given["stride"]],
            dilations=[given["dilation"]],
            group=given["groups"],
        )
        self._emit("Transpose", [found], node.output.name, perm=[0, 2, 1])

    def _spread(self, node: Node) -> None:
        given = node.attributes
        turned = self._emit("Transpose", [_name(node)], perm=[0, 2, 1])
        found = self._emit(
            "ConvTranspose",
            [turned, _name(node, 1)],
            strides=[given["stride"]],
            group=given["groups"],
        )
        one = self._array([1], "int64")
        self._emit("ReduceSum", [found, one], node.output.name, keepdims=0)

    def _fourier(self, node: Node) -> None:
        # The window times cosines and negative sines, as kernels of a convolution.
        window = self.graph.constants[_name(node, 1)].astype(np.float64)
        bins = node.attributes["bins"]
        place = np.arange(bins)[:, None] * np.arange(len(window)) % len(window)
        turns = np.exp(-2j * np.pi / len(window) * place) * window
        kernels = np.concatenate([turns.real, turns.imag])[:, None]
        self.initializers.pop(_name(node, 1), None)
        line = self._emit("Unsqueeze", [_name(node), self._array([1], "int64")])
        found = self._emit(
            "Conv", [line, self._array(kernels, "float32")], strides=[node.attributes["hop"]]
        )
        self._emit("Transpose", [found], node.output.name, perm=[0, 2, 1])

    def _range(self, node: Node) -> None:
        ends = []
        for number in (node.attributes["start"], node.attributes["stop"]):
            zero = self._array([0], "int64")
            ends.append(self._emit("Squeeze", [self._size(number), zero]))
        self._emit("Range", [*ends, self._array(1, "int64")], node.output.name)

    def _gather(self, node: Node) -> None:
        axis = node.attributes["axis"]
        self._emit("Gather", [_name(node), _name(node, 1)], node.output.name, axis=axis)

    def _largest(self, node: Node) -> None:
        axes = node.attributes["axes"]
        self._emit("ReduceMax", [_name(node)], node.output.name, axes=axes, keepdims=1)


def _name(node: Node, index: int = 0) -> str:
    value = node.inputs[index]
    assert isinstance(value, Value)
    return value.name
