"""``isincnet push``: a model onto the Hugging Face Hub."""

from __future__ import annotations

from typing import Annotated

import typer

from isincnet_jax import extras
from isincnet_jax.cli.common import app, say


@app.command()
def push(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A preset, an exported folder or .zip, or an iSincNet .ckpt."
        ),
    ],
    repository: Annotated[
        str,
        typer.Argument(metavar="OWNER/NAME", help="Repository; OWNER/NAME@BRANCH for a branch."),
    ],
    private: Annotated[
        bool, typer.Option("--private", help="A new repository is for its owner alone.")
    ] = False,
    message: Annotated[str | None, typer.Option("--message", help="Of the commit.")] = None,
) -> None:
    """Put MODEL on the Hugging Face Hub, with a model card; it is hf://OWNER/NAME then.

    Whoever pushes is logged in (hf auth login), or has set HF_TOKEN.
    """
    extras.require("huggingface_hub")
    from isincnet_jax.pretrained.push import push_to_hub

    address = push_to_hub(model, repository, private=private, message=message)
    say(f"pushed {address}")
