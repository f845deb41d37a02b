"""Graphs as PyTorch modules: one readable Python file, weights inside, that needs torch alone."""

from __future__ import annotations

import base64
import json
import keyword
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

import isincnet_jax
from isincnet_jax import files
from isincnet_jax.exports.graph import Graph, Node, Number, Size, Value
from isincnet_jax.exports.sources import Module, Source, describe_module

_WIDTH = 100
_SIMPLE = ("axis", "input", "named", "min", "max")
_POINTWISE = {
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "div": "{} / {}",
    "pow": "{} ** {}",
    "mod": "{} % {}",
    "abs": "{}.abs()",
    "neg": "-{}",
    "sign": "{}.sign()",
    "sqrt": "{}.sqrt()",
    "exp": "{}.exp()",
    "log": "{}.log()",
    "cos": "{}.cos()",
    "sin": "{}.sin()",
    "round": "{}.round()",
    "floor": "{}.floor()",
    "float32": "{}.float()",
    "int32": "{}.to(torch.int32)",
    "int64": "{}.long()",
}
_HEAD = '''\
"""{model} as a PyTorch module, written by isincnet_jax {version}; it needs torch alone."""

{facts}

import base64

import torch
from torch.nn import functional


class {name}(torch.nn.Module):
    """{model}: {text}

    Arrays are float32, with any axes before those named; weights are {kind}.
    """

    def __init__(self):
        super().__init__()
        for name, (dtype, shape, text) in _WEIGHTS.items():
            data = bytearray(base64.b64decode(text))
            values = torch.frombuffer(data, dtype=dtype).reshape(shape).clone()
            {keep}
'''
_ROUND_TRIP = '''\
def forward(self, waveform):
    """Waveform [..., time] to its reconstruction in the same shape."""
    return self.decode(self.encode(waveform), length=waveform.shape[-1])
'''
_REQUANTIZED = '''\
def forward(self, spectrogram):
    """Coefficients [..., frames, channels] to those of their codes."""
    return self.decode(self.encode(spectrogram))
'''


def to_torch(
    source: Source,
    path: str | Path,
    *,
    variables: Any = None,
    name: str | None = None,
    trainable: bool = False,
) -> Path:
    """Writes a codec, a quantizer or a layer as a PyTorch module: one Python file.

    The file holds one ``torch.nn.Module`` with its weights and imports nothing but torch; torch is
    not needed to write it. A codec has ``encode`` (waveform [..., time] to spectrogram [...,
    frames, channels]), ``decode(spectrogram, length=None)`` and, calling it, the round trip; a
    quantizer ``encode``, ``decode`` and both; a layer is called. All is differentiable where the
    mathematics is, moves with ``.to(device)``, and refuses shapes that cannot be.

    Args:
        source: as of :func:`.onnx_graph.export_onnx`.
        path: of the file, ``.py``; the folder exists.
        variables: of a layer that has some.
        name: of the class; of the source if None.
        trainable: whether weights are parameters; buffers otherwise.

    Returns:
        The path.

    Raises:
        TypeError: for a source that has no graph.
        ValueError: for a name that is no identifier, a codec that computes in another dtype than
            float32, or a layer with an option that is not exported.
        OSError: if the file cannot be written.

    Example:
        >>> import isincnet_jax as isn
        >>> path = getfixture("tmp_path") / "small.py"
        >>> spec = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
        >>> to_torch(isn.build_codec(isn.SincNet(spec)), path, name="Small").name
        'small.py'
        >>> "class Small(torch.nn.Module):" in path.read_text()
        True
    """
    module = describe_module(source, variables=variables)
    name = _class_name(module.facts["model"]) if name is None else name
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"name={name!r} is no name of a Python class; use letters and digits")
    path = Path(path)
    files.write_text(path, _module_text(module, name=name, trainable=trainable))
    return path


def _class_name(name: str) -> str:
    """A class's name of a preset's or a layer's: "16khz-linear" is Linear16khz."""
    words = [word for word in re.split(r"[^0-9A-Za-z]+", name) if word]
    words.sort(key=lambda word: word[0].isdigit())
    return "".join(word[:1].upper() + word[1:] for word in words) or "Exported"


def _module_text(module: Module, *, name: str, trainable: bool) -> str:
    constants: dict[str, np.ndarray] = {}
    methods = []
    for method, graph in module.methods.items():
        for key, array in graph.constants.items():
            if not np.array_equal(constants.setdefault(key, array), array):
                raise ValueError(f"two arrays of one module are called {key!r}")
        methods.append(_Method(graph).text(method))
    text = "a layer; call it."
    if "decode" in module.methods:
        of_codes = module.methods["decode"].inputs[0].value.name == "codes"
        methods.append(_REQUANTIZED if of_codes else _ROUND_TRIP)
        text = "``encode``, ``decode``, and both when it is called."
    keep = "self.register_buffer(name, values)"
    if trainable:
        keep = "setattr(self, name, torch.nn.Parameter(values, values.is_floating_point()))"
    comment = {"initial_indent": "# ", "subsequent_indent": "# ", "break_on_hyphens": False}
    head = _HEAD.format(
        model=module.facts["model"].replace('"', "'"),
        version=isincnet_jax.__version__,
        facts=textwrap.fill(json.dumps(module.facts), _WIDTH, **comment),
        name=name,
        text=text,
        kind="parameters" if trainable else "buffers",
        keep=keep,
    )
    body = "".join(f"\n{textwrap.indent(each.rstrip(), '    ')}\n" for each in methods)
    weights = "".join(map(_weight, constants.items()))
    return f"{head}{body}\n\n_WEIGHTS = {{\n{weights}}}\n"


def _weight(item: tuple[str, np.ndarray]) -> str:
    name, array = item
    text = base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()
    lines = "\n".join(text[start : start + _WIDTH] for start in range(0, len(text), _WIDTH))
    return f'    "{name}": (torch.{array.dtype.name}, {array.shape}, """\n{lines}\n"""),\n'


class _Method:
    """A graph as a method, one operation a line."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.renamed: dict[str, str] = {}
        self.device = graph.inputs[0].value.name

    def text(self, method: str) -> str:
        (given,), (result,) = self.graph.inputs, self.graph.outputs
        name, axes = given.value.name, given.axes
        numbers = "".join(f", {each}=None" for each in self.graph.numbers)
        inner = len(axes) - 1
        inward = ", ".join(["...", *map(str, axes[1:])])
        outward = ", ".join(["...", *map(str, result.axes[1:])])
        lines = [f'"""{_words(name)} [{inward}] to {_words(result.value.name)} [{outward}]."""']
        fixed = [(place, size) for place, size in enumerate(axes) if isinstance(size, int)]
        for place, size in fixed:
            wrong = f"{name}.shape[{place - len(axes)}] != {size}"
            text = f"{name}: expected [{inward}]"
            lines += [f"if {wrong}:", f'    raise ValueError("{text}")']
        lines.append(f"leading = {name}.shape[:-{inner}]")
        lines.append(f"{name} = {name}.reshape(leading.numel(), *{name}.shape[-{inner}:])")
        for each, default in self.graph.numbers.items():
            lines += [f"if {each} is None:", f"    {each} = {self.size(default)}"]
        for each in self.graph.requirements:
            sign = "!=" if each.exact else "<"
            condition = f"{self.size(each.size)} {sign} {self.size(each.bound)}"
            lines += [f"if {condition}:", f'    raise ValueError("needed: {each.text}")']
        for node in self.graph.nodes:
            lines += self.line(node)
        last = self.value(result.value)
        lines.append(f"return {last}.reshape(*leading, *{last}.shape[1:])")
        body = textwrap.indent("\n".join(lines), "    ")
        return f"def {method}(self, {name}{numbers}):\n{body}"

    def value(self, value: Any) -> str:
        if not isinstance(value, Value):
            return self.operand(value)
        if value.name in self.graph.constants:
            return f"self.{value.name}"
        return self.renamed.get(value.name, value.name)

    def size(self, number: Number) -> str:
        if not isinstance(number, Size):
            return str(number)
        left: Any
        right: Any
        left, right = (*number.operands, None)[:2]
        if number.op == "axis":
            return f"{self.renamed.get(left, left)}.shape[{right}]"
        if number.op in ("input", "named"):
            return str(left)
        if number.op in ("min", "max"):
            return f"{number.op}({self.size(left)}, {self.size(right)})"
        sign, op = right, number.op
        if op == "+" and isinstance(sign, int) and sign < 0:
            op, right = "-", -sign
        first = self.size(left) if op in ("+", "-") else self.inner(left)
        return f"{first} {op} {self.inner(right)}"

    def inner(self, number: Number) -> str:
        """A size as an operand: in brackets where it is an expression."""
        text = self.size(number)
        simple = not isinstance(number, Size) or number.op in _SIMPLE
        return text if simple and not text.startswith("-") else f"({text})"

    def operand(self, operand: Any) -> str:
        if isinstance(operand, Size):
            return self.inner(operand)
        if isinstance(operand, float):
            return (
                repr(float(np.float32(operand)))
                if operand >= 0
                else f"({float(np.float32(operand))!r})"
            )
        return str(operand)

    def line(self, node: Node) -> list[str]:
        name = node.output.name
        if node.op == "as":  # an output's own name
            self.renamed[name] = self.value(node.inputs[0])
            return []
        if node.op == "let":
            return [f"{name} = {self.size(node.attributes['size'])}"]
        write = getattr(self, f"_{node.op}", self._pointwise)
        return [f"{name} = {write(node)}"]

    def _pointwise(self, node: Node) -> str:
        operands = [self.value(each) for each in node.inputs]
        if node.op in ("min", "max"):
            if isinstance(node.inputs[1], Value):
                return f"torch.{node.op}imum({', '.join(operands)})"
            return f"{operands[0]}.clamp({'max' if node.op == 'min' else 'min'}={operands[1]})"
        return _POINTWISE[node.op].format(*operands)

    def _pad(self, node: Node) -> str:
        before, after = self.size(node.attributes["before"]), self.size(node.attributes["after"])
        return f"functional.pad({self.value(node.inputs[0])}, ({before}, {after}))"

    def _slice(self, node: Node) -> str:
        given = node.attributes
        start = "" if given["start"] == 0 else f"{self.size(given['start'])} "
        colons = ":, " * given["axis"]
        return f"{self.value(node.inputs[0])}[{colons}{start}: {self.size(given['stop'])}]"

    def _flip(self, node: Node) -> str:
        return f"{self.value(node.inputs[0])}.flip({node.attributes['axis']})"

    def _reshape(self, node: Node) -> str:
        sizes = ", ".join(map(self.size, node.attributes["sizes"]))
        return f"{self.value(node.inputs[0])}.reshape({sizes})"

    def _transpose(self, node: Node) -> str:
        axes = ", ".join(map(str, node.attributes["axes"]))
        return f"{self.value(node.inputs[0])}.permute({axes})"

    def _concat(self, node: Node) -> str:
        parts = ", ".join(map(self.value, node.inputs))
        return f"torch.cat([{parts}], dim={node.attributes['axis']})"

    def _matmul(self, node: Node) -> str:
        return " @ ".join(map(self.value, node.inputs))

    def _convolve(self, node: Node) -> str:
        rows, kernels = map(self.value, node.inputs)
        given = {key: value for key, value in node.attributes.items() if value != 1}
        options = "".join(f", {key}={value}" for key, value in given.items())
        return f"functional.conv1d({rows}.transpose(1, 2), {kernels}{options}).transpose(1, 2)"

    def _spread(self, node: Node) -> str:
        rows, kernels = map(self.value, node.inputs)
        given = {key: value for key, value in node.attributes.items() if value != 1}
        options = "".join(f", {key}={value}" for key, value in given.items())
        return f"functional.conv_transpose1d({rows}.transpose(1, 2), {kernels}{options}).sum(1)"

    def _fourier(self, node: Node) -> str:
        line, window = map(self.value, node.inputs)
        assert isinstance(node.inputs[1], Value)
        taps = len(self.graph.constants[node.inputs[1].name])
        frames = f"{line}.unfold(1, {taps}, {node.attributes['hop']})"
        bins = node.attributes["bins"]
        cut = "" if bins == taps // 2 + 1 else f"[..., :{bins}]"
        spectrum = f"torch.fft.rfft({frames} * {window}){cut}"
        return f"torch.view_as_real({spectrum}).transpose(2, 3).flatten(2)"

    def _range(self, node: Node) -> str:
        ends = self.size(node.attributes["start"]), self.size(node.attributes["stop"])
        start = "" if ends[0] == "0" else f"{ends[0]}, "
        return f"torch.arange({start}{ends[1]}, device={self.device}.device)"

    def _gather(self, node: Node) -> str:
        value, index = map(self.value, node.inputs)
        return f"{value}[{':, ' * node.attributes['axis']}{index}]"

    def _largest(self, node: Node) -> str:
        axes = node.attributes["axes"]
        return f"{self.value(node.inputs[0])}.amax({axes}, keepdim=True)"


def _words(name: str) -> str:
    return name.replace("_", " ")
