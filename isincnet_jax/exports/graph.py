"""Computations as lists of a few plain operations, for other tools than JAX to run.

A layer is written once, by a :class:`Builder`, as a :class:`Graph`; :mod:`.onnx_graph` and
:mod:`.torch_module` write it down in their languages. Sizes that are known only where the graph
runs, such as the length of a clip, are :class:`Size` expressions of integers.

The operations, arrays in the layouts of this package (frames before channels):

=============  =====================================================================================
pointwise      arithmetic with broadcasting, see :data:`POINTWISE`
pad            zeros before and after the last axis
let            a name for a size
slice, flip    along one axis
reshape        to sizes, of which one may be -1
transpose      a permutation of the axes
concat         along one axis
matmul         of the last two axes
convolve       [batch, rows, in] with kernels [out, in / groups, taps] to [batch, frames, out]
spread         overlap-add: [batch, frames, channels], [channels, 1, taps] to [batch, time]
fourier        [batch, time] and a window [n] to [batch, frames, 2 bins], real parts first
range          integers from one size to another
gather         of one axis, by a list of integers
largest        of the last axes, kept as axes of 1
=============  =====================================================================================
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

POINTWISE = {
    "add": 2,
    "sub": 2,
    "mul": 2,
    "div": 2,
    "pow": 2,
    "mod": 2,
    "min": 2,
    "max": 2,
    "abs": 1,
    "neg": 1,
    "sign": 1,
    "sqrt": 1,
    "exp": 1,
    "log": 1,
    "cos": 1,
    "sin": 1,
    "round": 1,
    "floor": 1,
    "float32": 1,
    "int32": 1,
    "int64": 1,
}
"""Operations on every element and their numbers of arguments; types are conversions."""


@dataclasses.dataclass(frozen=True)
class Size:
    """Size that is known when the graph runs: an expression of integers.

    ``//`` and ``%`` are for numerators that are not negative and positive divisors.

    Attributes:
        op: "axis" (of a value), "input" (of a decoder, its length), "named" (another size, for
            those who read), or "+", "-", "*", "//", "%", "min", "max".
        operands: the value's name and the axis; a name; a name and the size; or two sizes.
    """

    op: str
    operands: tuple[Any, ...]

    def __add__(self, other: Number) -> Number:
        return combined("+", self, other)

    def __radd__(self, other: Number) -> Number:
        return combined("+", other, self)

    def __sub__(self, other: Number) -> Number:
        return combined("-", self, other)

    def __rsub__(self, other: Number) -> Number:
        return combined("-", other, self)

    def __mul__(self, other: Number) -> Number:
        return combined("*", self, other)

    def __rmul__(self, other: Number) -> Number:
        return combined("*", other, self)

    def inputs(self) -> set[str]:
        """Names of the optional numbers in it.

        Returns:
            The names.
        """
        if self.op == "input":
            return {self.operands[0]}
        inner = [each.inputs() for each in self.operands if isinstance(each, Size)]
        return set().union(*inner)

    def __floordiv__(self, other: Number) -> Number:
        return combined("//", self, other)

    def __mod__(self, other: Number) -> Number:
        return combined("%", self, other)


Number: TypeAlias = int | Size
_ARITHMETIC: dict[str, Any] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "min": min,
    "max": max,
}


def combined(op: str, left: Number, right: Number) -> Number:
    """Size of two others; of integers an integer.

    Args:
        op: "+", "-", "*", "//", "%", "min" or "max".
        left: an operand.
        right: the other.

    Returns:
        The size, ``x + 0``, ``x * 1`` and ``x // 1`` simplified, and ``x + 1 - 3`` added up.
    """
    if not isinstance(left, Size) and not isinstance(right, Size):
        return _ARITHMETIC[op](int(left), int(right))
    if op == "-" and not isinstance(right, Size):
        op, right = "+", -right
    if op == "+" and isinstance(right, Size) and not isinstance(left, Size):
        left, right = right, left
    if (op, right) in {("+", 0), ("*", 1), ("//", 1)}:
        return left
    if isinstance(left, Size) and left.op == op == "+" and not isinstance(right, Size):
        inner, added = left.operands
        if isinstance(added, int):
            return combined("+", inner, added + right)
    return Size(op, (left, right))


def largest_of(left: Number, right: Number) -> Number:
    """The larger of two sizes.

    Args:
        left: one.
        right: the other.

    Returns:
        Their maximum.
    """
    return combined("max", left, right)


def ceil_divided(number: Number, by: int) -> Number:
    """Quotient that is rounded up.

    Args:
        number: 0 or more.
        by: 1 or more.

    Returns:
        ``ceil(number / by)``.
    """
    return combined("//", combined("+", number, by - 1), by)


@dataclasses.dataclass(frozen=True)
class Value:
    """Array of a graph: an input, a constant, or what a node makes.

    Attributes:
        name: a Python identifier, one of its kind in the graph.
        dtype: "float32", "int32" or "int64".
    """

    name: str
    dtype: str = "float32"

    def size(self, axis: int) -> Size:
        """Size of an axis.

        Args:
            axis: 0 or more.

        Returns:
            The size.
        """
        return Size("axis", (self.name, axis))


Operand: TypeAlias = Value | float | Number


class Node(NamedTuple):
    """Operation of a graph.

    Attributes:
        op: its name, see the head of this module.
        inputs: arrays, or numbers where the operation is pointwise.
        attributes: integers, sizes and lists of them, by name.
        output: what it makes.
    """

    op: str
    inputs: tuple[Operand, ...]
    attributes: dict[str, Any]
    output: Value


class Port(NamedTuple):
    """Input or output of a graph.

    Attributes:
        value: the array.
        axes: names of the axes whose sizes vary, and the sizes of the others.
    """

    value: Value
    axes: tuple[str | int, ...]


class Requirement(NamedTuple):
    """What the sizes of inputs must obey.

    Attributes:
        size: of the inputs.
        bound: what it is at least, or exactly.
        text: in words.
        exact: whether it is exactly that.
    """

    size: Number
    bound: Number
    text: str
    exact: bool = False


class Graph(NamedTuple):
    """Computation as a list of operations.

    Attributes:
        nodes: the operations, in order.
        constants: arrays by name, float32 or int64.
        inputs: what goes in.
        outputs: what comes out.
        numbers: optional integer inputs and what they are by default, such as a decoder's length.
        requirements: of the inputs.
    """

    nodes: tuple[Node, ...]
    constants: dict[str, np.ndarray]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    numbers: dict[str, Number]
    requirements: tuple[Requirement, ...]


class Builder:
    """Builder of a graph: every method adds an operation and returns what it makes.

    Arguments called ``name`` are for those who read the result; they need not be unique.
    """

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._constants: dict[str, np.ndarray] = {}
        self._inputs: list[Port] = []
        self._numbers: dict[str, Number] = {}
        self._requirements: list[Requirement] = []
        self._used: set[str] = set()

    def _unique(self, name: str) -> str:
        found, count = name, 1
        while found in self._used:
            count += 1
            found = f"{name}_{count}"
        self._used.add(found)
        return found

    def _add(
        self, op: str, *inputs: Operand, name: str, dtype: str = "float32", **attributes: Any
    ) -> Value:
        output = Value(self._unique(name), dtype)
        self._nodes.append(Node(op, inputs, attributes, output))
        return output

    def input(self, name: str, *axes: str | int, dtype: str = "float32") -> Value:
        """Input of the graph.

        Args:
            name: an identifier.
            *axes: names of those whose sizes vary, and the sizes of the others.
            dtype: of its elements.

        Returns:
            The array.
        """
        value = Value(self._unique(name), dtype)
        self._inputs.append(Port(value, axes))
        return value

    def number(self, name: str, default: Number) -> Size:
        """Integer input that may be left out.

        Args:
            name: an identifier.
            default: what it is then.

        Returns:
            The size.
        """
        self._numbers[name] = default
        return Size("input", (name,))

    def constant(self, values: Any, name: str) -> Value:
        """Constant array; the same values under the same name are kept once.

        Args:
            values: integers or floating numbers, cast to int64 or float32.
            name: an identifier.

        Returns:
            The array.
        """
        array = np.asarray(values)
        dtype = "int64" if np.issubdtype(array.dtype, np.integer) else "float32"
        array = np.ascontiguousarray(array, dtype)
        known = self._constants.get(name)
        if known is not None and np.array_equal(known, array):
            return Value(name, dtype)
        name = self._unique(name)
        self._constants[name] = array
        return Value(name, dtype)

    def let(self, name: str, size: Number) -> Number:
        """Name for a size, for those who read the result.

        Args:
            name: an identifier.
            size: any.

        Returns:
            The size under that name; an integer as it is.
        """
        if not isinstance(size, Size):
            return size
        name = self._unique(name)
        self._nodes.append(Node("let", (), {"size": size}, Value(name, "int64")))
        return Size("named", (name, size))

    def require(self, size: Number, bound: Number, text: str, *, exact: bool = False) -> None:
        """Requirement of the inputs.

        Args:
            size: of them.
            bound: what it is at least.
            text: in words.
            exact: whether it is exactly that.
        """
        self._requirements.append(Requirement(size, bound, text, exact))

    def pointwise(self, op: str, *operands: Operand, name: str = "values") -> Value:
        """Operation on every element, with broadcasting.

        Args:
            op: of :data:`POINTWISE`.
            *operands: arrays of one dtype, or numbers in their place; one array at least.
            name: of the result.

        Returns:
            The array, in the operands' dtype, or that which the operation names.

        Raises:
            ValueError: for an unknown operation or another number of arguments.
        """
        if POINTWISE.get(op) != len(operands):
            raise ValueError(f"{op!r} with {len(operands)} arguments is no pointwise operation")
        dtype = next(each.dtype for each in operands if isinstance(each, Value))
        if op in ("float32", "int32", "int64"):
            dtype = op
        return self._add(op, *operands, name=name, dtype=dtype)

    def pad(self, value: Value, before: Number, after: Number, name: str = "padded") -> Value:
        """Zeros before and after the last axis.

        Args:
            value: [batch, time].
            before: how many, 0 or more.
            after: likewise.
            name: of the result.

        Returns:
            [batch, before + time + after].
        """
        if (before, after) == (0, 0):
            return value
        return self._add("pad", value, name=name, before=before, after=after)

    def continued(self, value: Value, before: Number, after: Number, mode: str) -> Value:
        """Clip that goes on beyond its ends as :func:`.padding.continuation` has it, at any length.

        Args:
            value: [batch, time], one sample or more.
            before: samples added before it, 0 or more.
            after: likewise after it.
            mode: "constant" (zeros), "reflect", "edge" or "symmetric".

        Returns:
            [batch, before + time + after].

        Raises:
            ValueError: for another mode.
        """
        if mode == "constant" or (before, after) == (0, 0):
            return self.pad(value, before, after)
        if mode not in ("reflect", "edge", "symmetric"):
            raise ValueError(f"pad_mode={mode!r}: use constant, reflect, edge or symmetric")
        length = value.size(1)

        def end(start: Number, stop: Number) -> Value:
            index = self._add("range", name="index", dtype="int64", start=start, stop=stop)
            if mode == "edge":
                inside = self.pointwise("max", index, 0, name="index")
                index = self.pointwise("min", inside, length - 1, name="index")
            else:
                # Triangles: up over the clip, and down again. The end samples of reflections are
                # not repeated, but for clips of one sample.
                period = 2 * (length - 1) if mode == "reflect" else 2 * length
                last = period if mode == "reflect" else period - 1
                turned = self.pointwise("mod", index, largest_of(period, 1), name="index")
                back = self.pointwise("sub", last, turned, name="index")
                index = self.pointwise("min", turned, back, name="index")
            return self.gather(value, index, axis=1, name="end")

        parts = [value]
        if before != 0:
            parts.insert(0, end(combined("-", 0, before), 0))
        if after != 0:
            parts.append(end(length, length + after))
        return self.concat(parts, axis=1, name="padded")

    def range(self, start: Number, stop: Number, name: str = "index") -> Value:
        """Integers from one size to before another.

        Args:
            start: the first.
            stop: what follows the last.
            name: of the result.

        Returns:
            int64 [stop - start].
        """
        return self._add("range", name=name, dtype="int64", start=start, stop=stop)

    def gather(self, value: Value, index: Value, *, axis: int, name: str = "gathered") -> Value:
        """Elements of an axis by their places.

        Args:
            value: any array.
            index: int64 [count], not negative; for ``axis=0`` of a list, of any shape.
            axis: 0 or more.
            name: of the result.

        Returns:
            The array, ``count`` long in that axis.
        """
        return self._add("gather", value, index, name=name, dtype=value.dtype, axis=axis)

    def slice(
        self, value: Value, start: Number, stop: Number, *, axis: int, name: str = "part"
    ) -> Value:
        """Part of an axis.

        Args:
            value: any array.
            start: first place, 0 or more.
            stop: what follows the last, 0 or more.
            axis: 0 or more.
            name: of the result.

        Returns:
            The array, ``stop - start`` long in that axis, less where it ends before.
        """
        return self._add(
            "slice", value, name=name, dtype=value.dtype, axis=axis, start=start, stop=stop
        )

    def flip(self, value: Value, *, axis: int, name: str = "flipped") -> Value:
        """Reversed axis.

        Args:
            value: any array.
            axis: 0 or more.
            name: of the result.

        Returns:
            The array.
        """
        return self._add("flip", value, name=name, dtype=value.dtype, axis=axis)

    def reshape(self, value: Value, *sizes: Number, name: str = "shaped") -> Value:
        """Other axes over the same elements.

        Args:
            value: any array.
            *sizes: of the new axes; -1 for at most one that follows from the others.
            name: of the result.

        Returns:
            The array.
        """
        return self._add("reshape", value, name=name, dtype=value.dtype, sizes=sizes)

    def transpose(self, value: Value, *axes: int, name: str = "turned") -> Value:
        """Axes in another order.

        Args:
            value: any array.
            *axes: for each new axis, which one it was.
            name: of the result.

        Returns:
            The array.
        """
        return self._add("transpose", value, name=name, dtype=value.dtype, axes=axes)

    def concat(self, values: Sequence[Value], *, axis: int, name: str = "joined") -> Value:
        """Arrays one behind the other.

        Args:
            values: one or more, of one dtype.
            axis: 0 or more.
            name: of the result.

        Returns:
            The array.
        """
        if len(values) == 1:
            return values[0]
        return self._add("concat", *values, name=name, dtype=values[0].dtype, axis=axis)

    def matmul(self, left: Value, right: Value, name: str = "product") -> Value:
        """Matrix product over the last axis of one and the last but one of the other.

        Args:
            left: [..., rows, inner].
            right: [inner, columns].
            name: of the result.

        Returns:
            [..., rows, columns].
        """
        return self._add("matmul", left, right, name=name)

    def convolve(
        self,
        value: Value,
        kernels: Value,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        name: str = "frames",
    ) -> Value:
        """Strided correlation, at the places where all taps meet samples.

        Args:
            value: [batch, rows, in].
            kernels: [out, in / groups, taps].
            stride: rows between frames.
            dilation: rows between taps.
            groups: of channels that are filtered apart from each other.
            name: of the result.

        Returns:
            [batch, frames, out].
        """
        return self._add(
            "convolve",
            value,
            kernels,
            name=name,
            stride=stride,
            dilation=dilation,
            groups=groups,
        )

    def spread(
        self, value: Value, kernels: Value, *, stride: int, groups: int = 1, name: str = "line"
    ) -> Value:
        """Overlap-add of all channels, the transpose of :meth:`analyse`.

        Args:
            value: [batch, frames, channels].
            kernels: [channels, 1, taps].
            stride: samples between frames.
            groups: of channels that are summed by themselves before all are.
            name: of the result.

        Returns:
            [batch, (frames - 1) stride + taps].
        """
        return self._add("spread", value, kernels, name=name, stride=stride, groups=groups)

    def analyse(self, padded: Value, kernels: Value, *, hop: int, name: str) -> Value:
        """Strided correlation of clips with a bank of kernels.

        Args:
            padded: [batch, time].
            kernels: [channels, 1, taps].
            hop: samples between frames.
            name: of the result.

        Returns:
            [batch, (time - taps) // hop + 1, channels].
        """
        line = self.reshape(padded, -1, padded.size(1), 1, name="line")
        return self.convolve(line, kernels, stride=hop, name=name)

    def fourier(self, padded: Value, window: Value, *, hop: int, bins: int, name: str) -> Value:
        """Short-time Fourier transform of clips.

        Args:
            padded: [batch, time].
            window: [n], even or odd.
            hop: samples between frames.
            bins: the first so many, at most ``n // 2 + 1``.
            name: of the result.

        Returns:
            [batch, (time - n) // hop + 1, 2 bins], real parts before imaginary ones.
        """
        return self._add("fourier", padded, window, name=name, hop=hop, bins=bins)

    def largest(self, value: Value, *, axes: tuple[int, ...], name: str = "peak") -> Value:
        """Largest element over some axes.

        Args:
            value: any array.
            axes: 0 or more, each.
            name: of the result.

        Returns:
            The array, 1 long in those axes.
        """
        return self._add("largest", value, name=name, dtype=value.dtype, axes=axes)

    def build(self, *outputs: tuple[str, Value, Sequence[str | int]]) -> Graph:
        """The graph so far.

        Args:
            *outputs: name, array and axes of what comes out.

        Returns:
            The graph, with outputs of those names.

        Raises:
            ValueError: for the name of another array.
        """
        ports = []
        for name, value, axes in outputs:
            if name in self._used:
                raise ValueError(f"{name!r} names another array of the graph already")
            self._nodes.append(Node("as", (value,), {}, Value(self._unique(name), value.dtype)))
            ports.append(Port(self._nodes[-1].output, tuple(axes)))
        return Graph(
            tuple(self._nodes),
            dict(self._constants),
            tuple(self._inputs),
            tuple(ports),
            dict(self._numbers),
            tuple(self._requirements),
        )
