"""``isincnet export``: a codec as a StableHLO program, an ONNX model or a PyTorch module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from isincnet_jax import extras
from isincnet_jax.cli.commands import output
from isincnet_jax.cli.common import app, say
from isincnet_jax.pretrained.load import load_codec

_PLATFORMS = "cpu,cuda,tpu"


@app.command()
def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A preset, an exported folder or .zip, or an iSincNet .ckpt."
        ),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="File to write: .stablehlo, .onnx or .py.", callback=output
        ),
    ],
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            help="'encode', 'decode' or 'round-trip' (the default); a .py file has all of them.",
        ),
    ] = None,
    platforms: Annotated[
        str | None,
        typer.Option(
            "--platforms",
            help=f"Where a .stablehlo file is to run: of cpu, cuda, rocm, tpu; {_PLATFORMS}.",
        ),
    ] = None,
) -> None:
    """Write a part of MODEL, weights inside, for any batch and length, for other tools.

    OUT's suffix decides: .stablehlo is read with jax.export.deserialize, and OUT.json says what
    goes in and out; .onnx is an ONNX model; .py is a PyTorch module, encoder and decoder.
    """
    kind = target.suffix.lower()
    if kind not in (".stablehlo", ".onnx", ".py"):
        raise ValueError(
            f"{target}: a codec is written as .stablehlo (JAX), .onnx (ONNX) or .py (PyTorch); "
            "give OUT one of these suffixes"
        )
    if platforms is not None and kind != ".stablehlo":
        raise ValueError(f"platforms={platforms}: of .stablehlo files only; leave it out")
    if part is not None and kind == ".py":
        raise ValueError(f"part={part}: a PyTorch module has all parts; leave it out")
    if kind == ".onnx":
        extras.require("onnx")
        _write_onnx(model, target, part)
    elif kind == ".py":
        from isincnet_jax.exports.torch_module import to_torch

        to_torch(load_codec(model), target)
        say(f"wrote   {target}: {_megabytes(target)}, a torch.nn.Module")
    else:
        extras.require("flatbuffers")
        _write_stablehlo(model, target, part or "round-trip", platforms or _PLATFORMS)


def _write_onnx(model: str, target: Path, part: Any) -> None:
    from isincnet_jax.exports.onnx_graph import export_onnx, read_ports

    export_onnx(load_codec(model), target, part=part)
    for line in read_ports(target):
        say(line)
    say(f"wrote   {target}: {_megabytes(target)}")


def _write_stablehlo(model: str, target: Path, part: Any, platforms: str) -> None:
    from isincnet_jax.exports import stablehlo

    program = stablehlo.export_program(
        load_codec(model),
        part=part,
        platforms=[name.strip() for name in platforms.split(",") if name.strip()],
    )
    beside = stablehlo.write_program(target, program)
    for way in ("inputs", "outputs"):
        for array in program.description[way]:
            shape = ", ".join(map(str, array["shape"]))
            say(f"{way[:-1]:7} {array['name']} [{shape}] {array['dtype']}")
    say(f"where   {', '.join(program.description['constraints'])}")
    say(f"runs on {', '.join(program.description['platforms'])}")
    say(f"loads   {program.description['promised_to_load']}")
    say(f"wrote   {target}: {_megabytes(target)}, and {beside.name}")


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.2f} MB"
