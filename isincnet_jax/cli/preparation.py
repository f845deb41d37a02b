"""``isincnet prepare``: decode a corpus once, for training without its files."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from isincnet_jax import extras
from isincnet_jax.cli import progress
from isincnet_jax.cli.commands import output
from isincnet_jax.cli.common import (
    LoudnessOption,
    NoLoudnessOption,
    TruncatedOption,
    app,
    refuse_missing,
    say,
    say_skipped,
    warn,
)


@app.command()
def prepare(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE_PATH",
            help="Folder or archive of the corpus; any word for --source generated.",
        ),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT_DIR", help="Folder to write; must be new or empty.", callback=output
        ),
    ],
    *,
    source: Annotated[
        str, typer.Option("--source", help="gtzan, musdb18, folder, datasets or generated.")
    ] = "folder",
    sample_rate: Annotated[int, typer.Option("--sample-rate", help="Hz.")] = 16_000,
    splits: Annotated[
        Path | None,
        typer.Option(
            "--splits",
            metavar="DIR",
            help="train.txt, validation.txt, maybe test.txt. Without: 80, 10, 10 % by name.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the division by name.")] = 0,
    loudness: LoudnessOption = -23.0,
    no_loudness: NoLoudnessOption = False,
    stems: Annotated[
        str, typer.Option("--stems", help="Of musdb18: names with commas, or all.")
    ] = "mixture",
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Accept any GTZAN archive, whatever its SHA-256.")
    ] = False,
    truncated: TruncatedOption = "refuse",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the corpora that are in OUT_DIR.")
    ] = False,
) -> None:
    """Decode a corpus into OUT_DIR/{train,validation,test}, at one rate and loudness."""
    if source == "folder":
        refuse_missing(path, "no such folder; give a folder of audio files")
    if not no_loudness:
        extras.require("pyloudnorm")
    from isincnet_jax.data import corpora, corpus_files, preparation

    corpus_files.check_free(target, overwrite=overwrite)
    opened = corpora.open_source(
        source,
        path,
        sample_rate=sample_rate,
        seed=seed,
        stems=tuple(name.strip() for name in stems.split(",") if name.strip()),
        verify=not no_verify,
        truncated=truncated,  # type: ignore[arg-type]
    )
    assignment = preparation.assign_splits(opened, splits=splits, seed=seed)
    with _quiet():
        prepared = preparation.prepare(
            opened,
            assignment,
            sample_rate=sample_rate,
            loudness_db=None if no_loudness else loudness,
            folder=target,
            overwrite=overwrite,
            progress=progress.count("tracks"),
        )
    if prepared.resampled:
        warn(prepared.resampled_text(sample_rate))
    for split, corpus in prepared.corpora.items():
        say(f"{split}: {len(corpus)} tracks, {corpus.duration_s / 3600:.3f} h")
    say_skipped(prepared.skipped)
    say(f"wrote {target}: {sample_rate} Hz")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps warnings of skipped files from the screen: the command tells them at its end."""
    logger = logging.getLogger("isincnet_jax.data.sources")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
