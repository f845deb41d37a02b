"""Codecs as StableHLO programs that run without this package, through :mod:`jax.export`.

A program holds its weights and takes any batch and any length. Symbolic shapes rule out what a
codec's methods do for speed (phases of frames, folded transforms), so programs are the direct sums
over blocks of one hop, :func:`.framing.correlate_blocks` and :func:`.framing.synthesize_frames`:
equal to the codec up to the order of float32 sums.

Beside the program stands a description, plain JSON values: what goes in and out, with names,
shapes, dtypes, and what shapes must obey. Running one needs jax alone::

    import jax.export

    program = jax.export.deserialize(open("encode.stablehlo", "rb").read())
    spectrogram = program.call(waveform)

Programs are for months, not for archives: jax.export promises to read what a release of JAX wrote
in releases of up to 6 months later. The description says by which JAX and when a program was made.
For longer take ONNX (:func:`.onnx_graph.export_onnx`), or keep the codec itself.

References:
    JAX documentation, "Exporting and serializing staged-out computations" and "Shape
        polymorphism", section "Compatibility guarantees" of the first; https://docs.jax.dev/en/latest/export/index.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jax import lax

import isincnet_jax
from isincnet_jax import extras, files
from isincnet_jax.bank.codec import Codec
from isincnet_jax.bank.dsp import lapped_transform
from isincnet_jax.bank.edges import EdgePlan, edge_plan
from isincnet_jax.bank.lapped_codec import LappedCodec
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.bank.synthesis import apply_synthesis
from isincnet_jax.dsp import framing
from isincnet_jax.streaming import weights as stream_weights

FORMAT = 1
"""Of the description."""

BACKWARD_MONTHS = 6
"""For how long jax.export promises to read what a release wrote; JAX 0.11.1 refuses older files."""

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
Part: TypeAlias = Literal["encode", "decode", "round-trip"]


class Program(NamedTuple):
    """An exported part of a codec.

    Attributes:
        data: the program, for ``jax.export.deserialize``.
        description: what goes in and out, plain JSON values.
    """

    data: bytes
    description: dict[str, Any]


def export_program(
    codec: Codec | LappedCodec,
    *,
    part: Part = "round-trip",
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
) -> Program:
    """Exports a part of a codec with symbolic batch and time.

    * "encode": waveform [batch, time] to spectrogram [batch, frames, channels].
    * "decode": spectrogram to the longest waveform that has so many frames (of whole hops, where
      edges are solved); cut it to the clip.
    * "round-trip": waveform to waveform of the same length.

    Reflection needs clips longer than the filters reach, and its solved edges ask for clips of
    several times that, whole hops long: the description's ``constraints`` state it, and the program
    refuses other shapes. Lapped banks take two or more whole hops.

    Args:
        codec: any, trained ones included; of projections and quantizers it knows nothing.
        part: as above.
        platforms: of "cpu", "cuda", "rocm" and "tpu", those that the program is to run on.

    Returns:
        The program and its description.

    Raises:
        ValueError: for an unknown part or platform, or a decoder that computes in another dtype.
        ImportError: without flatbuffers, which jax.export writes programs by.

    Example:
        >>> from isincnet_jax import FilterbankSpec, SincNet, build_codec
        >>> spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
        >>> codec = build_codec(SincNet(spec))
        >>> program = export_program(codec, part="encode", platforms=["cpu"])
        >>> program.description["inputs"][0]["shape"]
        ['batch', 'time']
        >>> encode = jax.export.deserialize(bytearray(program.data)).call
        >>> encode(np.ones((3, 100), np.float32)).shape
        (3, 16, 18)
    """
    extras.require("flatbuffers")
    if part not in get_args(Part):
        raise ValueError(f"part={part!r} is unknown; use {', '.join(get_args(Part))}")
    unknown = [name for name in platforms if name not in PLATFORMS]
    if unknown or not platforms:
        raise ValueError(f"platforms={tuple(platforms)!r}: use some of {', '.join(PLATFORMS)}")
    operators = _LappedOperators(codec) if isinstance(codec, LappedCodec) else _Operators(codec)
    spec, dtype = codec.spec, np.dtype(codec.model.dtype)
    function: Callable[[Any], Any] = {
        "encode": operators.encode, "decode": operators.decode, "round-trip": operators.round_trip
    }[part]  # fmt: skip
    time, constraints = operators.time_axis(part)
    # "batch, time" or "batch, frames, 256": the symbols of jax.export's shapes.
    names = ["batch", time] + ([str(spec.num_channels)] if part == "decode" else [])
    shape = jax.export.symbolic_shape(", ".join(names), constraints=["batch >= 1", *constraints])
    exported = jax.export.export(jax.jit(function), platforms=tuple(platforms))(
        jax.ShapeDtypeStruct(shape, dtype)
    )
    inward = "spectrogram" if part == "decode" else "waveform"
    outward = "spectrogram" if part == "encode" else "waveform"
    description = {
        "format": FORMAT,
        "library": f"isincnet_jax {isincnet_jax.__version__}",
        "jax": jax.__version__,
        "made": datetime.now(UTC).date().isoformat(),
        "promised_to_load": (
            f"in JAX released up to {BACKWARD_MONTHS} months after JAX {jax.__version__} was"
        ),
        "model": codec.name,
        "part": part,
        "platforms": list(exported.platforms),
        "calling_convention_version": exported.calling_convention_version,
        "sample_rate": spec.sample_rate,
        "hop_length": spec.hop_length,
        "spec": spec.to_dict(),
        "first_frame": operators.first_frame,
        "inputs": [_described(inward, exported.in_avals[0])],
        "outputs": [_described(outward, exported.out_avals[0])],
        "constraints": ["batch >= 1", *constraints],
    }
    return Program(bytes(exported.serialize()), description)


def write_program(path: str | Path, program: Program) -> Path:
    """Writes a program and, as ``<path>.json``, its description, whose path is returned.

    Args:
        path: of the program; the folder exists.
        program: what :func:`export_program` made.

    Returns:
        The path of the description.

    Raises:
        OSError: if they cannot be written.
    """
    path = Path(path)
    beside = path.with_name(path.name + ".json")
    with files.replacing(path) as temporary:  # both files or none
        temporary.write_bytes(program.data)
        files.write_text(beside, json.dumps(program.description, indent=1, allow_nan=False) + "\n")
    return beside


def _described(name: str, array: Any) -> dict[str, Any]:
    sizes = [int(n) if isinstance(n, (int, np.integer)) else str(n) for n in array.shape]
    return {"name": name, "shape": sizes, "dtype": str(array.dtype)}


def _time_axis(spec: FilterbankSpec, edges: EdgePlan | None) -> tuple[str, list[str]]:
    """The input's time axis and what it must obey."""
    if edges is not None:
        return f"{spec.hop_length}*blocks", [f"blocks >= {least_frames(spec, edges)}"]
    bank = spec.bank
    least = max(bank.lead, _reflected_ahead(spec)) + 1 if spec.padding == "reflect" else 1
    return "time", [f"time >= {least}"]


def least_frames(spec: FilterbankSpec, edges: EdgePlan | None) -> int:
    """Frames of the shortest clip: one of a sample, or one whose edges have frames of their own.

    Args:
        spec: of the bank.
        edges: what decodes reflected edges, if anything.

    Returns:
        Frames, 1 or more.
    """
    if edges is not None:
        sides = [edge.num_frames for edge in (edges.left, edges.right) if edge is not None]
        return 2 * max(sides, default=1)
    bank = spec.bank
    if spec.padding == "reflect":
        return 1
    return bank.trail // spec.hop_length + -(-(bank.lead + 1) // spec.hop_length)


def _reflected_ahead(spec: FilterbankSpec) -> int:
    """Samples beyond a clip's end that its last frame may see."""
    return spec.bank.trail + spec.bank.samples_beyond


class _Operators:
    """A codec's analysis and synthesis as functions of arrays of symbolic shape."""

    def __init__(self, codec: Codec) -> None:
        settings = stream_weights.settings(codec)
        self.spec, self.precision = codec.spec, settings.precision
        self.analysis = jnp.asarray(stream_weights.analysis_kernels(codec), settings.dtype)
        self.solved = stream_weights.synthesis_kernels(codec)
        self.synthesis = jnp.asarray(self.solved.values, settings.dtype)
        self.edges = edges_of_whole_hops(codec)
        self.first_frame = self.spec.bank.frame_grid(1).first

    def time_axis(self, part: Part) -> tuple[str, list[str]]:
        """Time axis of what a part takes, and what it must obey."""
        if part == "decode":
            return "frames", [f"frames >= {least_frames(self.spec, self.edges)}"]
        return _time_axis(self.spec, self.edges if part == "round-trip" else None)

    def encode(self, waveform: Any) -> Any:
        taps, hop = self.analysis.shape[1], self.spec.hop_length
        lead = taps // 2
        grid = self.spec.bank.frame_grid(waveform.shape[-1])
        if self.spec.padding == "reflect":
            padded = self._reflected(waveform, grid.num_frames)
        else:
            # As framing.pad_for_frames, which compares lengths and so needs to know them.
            before = lead - grid.first * hop
            total = (grid.num_frames - 1) * hop + taps
            zero = jnp.zeros((), waveform.dtype)
            around = (before, total - before - waveform.shape[-1], 0)
            padded = lax.pad(waveform, zero, [(0, 0, 0), around])
        return framing.correlate_blocks(
            padded, self.analysis, hop_length=hop, precision=self.precision
        )

    def _reflected(self, waveform: Any, num_frames: Any) -> Any:
        """The signal from the first frame's first tap to the last frame's last tap.

        Only the samples that the bank's non-zero taps reach are reflected: clips may be that short.
        """
        bank, taps = self.spec.bank, self.analysis.shape[1]
        length, hop = waveform.shape[-1], self.spec.hop_length
        # x[-n] = x[n] and x[T - 1 + n] = x[T - 1 - n]; the end samples are not repeated.
        before = lax.rev(lax.slice_in_dim(waveform, 1, bank.lead + 1, axis=-1), [1])
        ahead = _reflected_ahead(self.spec)
        after = lax.rev(lax.slice_in_dim(waveform, length - 1 - ahead, length - 1, axis=-1), [1])
        whole = jnp.concatenate([before, waveform, after], axis=-1)
        needed = (num_frames - 1) * hop + bank.lead + bank.trail + 1
        whole = lax.slice_in_dim(whole, 0, needed, axis=-1)
        zero = jnp.zeros((), waveform.dtype)
        # Zeros where taps are zero: kernels reach taps // 2 back, their bank only lead.
        around = (taps // 2 - bank.lead, taps - 1 - taps // 2 - bank.trail, 0)
        return lax.pad(whole, zero, [(0, 0, 0), around])

    def decode(self, spectrogram: Any, length: Any = None) -> Any:
        if length is None:
            length = self.spec.bank.longest_length(spectrogram.shape[-2])
            if self.edges is not None:  # they are those of whole hops
                length -= self.spec.bank.longest_length(2) % self.spec.hop_length
        return apply_synthesis(
            spectrogram,
            self.synthesis,
            bank=self.spec.bank,
            solved=self.solved,
            length=length,
            edges=self.edges,
            precision=self.precision,
        )

    def round_trip(self, waveform: Any) -> Any:
        return self.decode(self.encode(waveform), waveform.shape[-1])


class _LappedOperators:
    """A lapped codec's analysis and synthesis as functions of arrays of symbolic shape."""

    first_frame = 0

    def __init__(self, codec: LappedCodec) -> None:
        self.spec, self.hop = codec.spec, codec.spec.hop_length
        self.angles = np.asarray(codec.window_angles())

    def time_axis(self, part: Part) -> tuple[str, list[str]]:
        """Time axis of what a part takes, and what it must obey."""
        centred = self.spec.framing == "zeros"
        if part == "decode":
            return "frames", [f"frames >= {2 + centred}"]
        return f"{self.hop}*blocks", ["blocks >= 2"]

    def encode(self, waveform: Any) -> Any:
        if self.spec.framing == "zeros":
            half = self.hop // 2
            zero = jnp.zeros((), waveform.dtype)
            waveform = lax.pad(waveform, zero, [(0, 0, 0), (half, half, 0)])
        turned = lapped_transform.turn_borders(waveform, self.angles, back=False)
        blocks = turned.reshape((turned.shape[0], -1, self.hop))
        return lapped_transform.transform_blocks(blocks)

    def decode(self, spectrogram: Any) -> Any:
        blocks = lapped_transform.invert_blocks(spectrogram)
        whole = blocks.reshape((blocks.shape[0], blocks.shape[1] * self.hop))
        waveform = lapped_transform.turn_borders(whole, self.angles, back=True)
        half = self.hop // 2 if self.spec.framing == "zeros" else 0
        return lax.slice_in_dim(waveform, half, waveform.shape[-1] - half, axis=-1)

    def round_trip(self, waveform: Any) -> Any:
        return self.decode(self.encode(waveform))


def edges_of_whole_hops(codec: Codec) -> EdgePlan | None:
    """The edge decoders of reflected clips that are a whole number of hops long.

    Args:
        codec: any.

    Returns:
        The decoders, None for zero padding and learned decoders.
    """
    if not stream_weights.has_solved_edges(codec):
        return None
    model, spec = codec.model, codec.spec
    noise = model.solved.assumed_noise(model.decoder)
    reach = model.solved.taps + 2 * spec.bank.taps
    blocks = 4 * -(-reach // spec.hop_length) + 4  # far more than a clip that is solved as a whole
    return edge_plan(spec.bank, model.solved, blocks * spec.hop_length, noise_variance=noise)
