"""``isincnet export``: a codec as a StableHLO program that runs without this package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isincnet_jax import extras
from isincnet_jax.cli.commands import output
from isincnet_jax.cli.common import app, say
from isincnet_jax.pretrained.load import load_codec


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
        typer.Argument(metavar="OUT", help="Program to write, say out.stablehlo.", callback=output),
    ],
    part: Annotated[
        str, typer.Option("--part", help="'encode', 'decode' or 'round-trip'.")
    ] = "round-trip",
    platforms: Annotated[
        str, typer.Option("--platforms", help="Where it is to run: of cpu, cuda, rocm, tpu.")
    ] = "cpu,cuda,tpu",
) -> None:
    """Write a part of MODEL, weights inside, as a program for any batch and length.

    OUT is read with jax.export.deserialize; OUT.json says what goes in and out.
    """
    extras.require("flatbuffers")
    from isincnet_jax.exports import stablehlo

    program = stablehlo.export_program(
        load_codec(model),
        part=part,  # type: ignore[arg-type]
        platforms=[name.strip() for name in platforms.split(",") if name.strip()],
    )
    beside = stablehlo.write_program(target, program)
    for way in ("inputs", "outputs"):
        for array in program.description[way]:
            shape = ", ".join(map(str, array["shape"]))
            say(f"{way[:-1]:7} {array['name']} [{shape}] {array['dtype']}")
    say(f"where   {', '.join(program.description['constraints'])}")
    say(f"runs on {', '.join(program.description['platforms'])}")
    say(f"wrote   {target}: {len(program.data) / 1e6:.2f} MB, and {beside.name}")
