"""``isincnet encode`` and ``decode``: coefficients and codes in files, one or a whole corpus."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from isincnet_jax import extras
from isincnet_jax.cli import corpus_folders, token_files
from isincnet_jax.cli.commands import output
from isincnet_jax.cli.common import (
    DEFAULT_MODEL,
    BitsOption,
    ModelOption,
    RefinementsOption,
    ScalesOption,
    TruncatedOption,
    app,
    finite,
    load_model,
    positive,
    say,
)
from isincnet_jax.recordings import decoder as corpus_decoder
from isincnet_jax.recordings import encoder as corpus_encoder

_CODED = (corpus_encoder.ARCHIVE_SUFFIX, token_files.SUFFIX)

JobsOption = Annotated[
    int | None,
    typer.Option("--jobs", help="Of a folder: files at a time; one per core unless told."),
]
FormatOption = Annotated[
    str | None, typer.Option("--format", help="Of a folder: suffix of the files to write.")
]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Of a folder: make everything anew that this command made before."
    ),
]


@app.command()
def encode(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Audio file of any format and rate, or a folder.")
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="File to write: .npz, or .isn; or a folder.", callback=output
        ),
    ],
    *,
    model: ModelOption = DEFAULT_MODEL,
    q_bits: BitsOption = None,
    scales: ScalesOption = "signal",
    entropy: Annotated[
        bool, typer.Option("--entropy", help="Entropy-code into an .isn file; implied by .isn.")
    ] = False,
    step: Annotated[
        float | None,
        typer.Option(
            "--step",
            help="Uniform codes of this step (.isn).",
            callback=positive,
        ),
    ] = None,
    snr: Annotated[
        float | None,
        typer.Option(
            "--snr", help="Uniform codes of so many dB (.isn; 25 unless told).", callback=finite
        ),
    ] = None,
    truncated: TruncatedOption = "refuse",
    jobs: JobsOption = None,
    suffix: FormatOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Encode IN into coefficients (float32), codes (--q-bits), or entropy-coded codes (.isn).

    If IN is a folder, all audio files below it are encoded into the folder OUT, several at a
    time; the same command goes on with a run that was interrupted.
    """
    _check_source(source)
    is_coded = entropy or step is not None or snr is not None
    if token_files.SUFFIX in (suffix, target.suffix.lower()) or is_coded:
        extras.require("constriction")
    options = corpus_encoder.EncodeOptions(model, q_bits, scales, step, snr, truncated)
    if source.is_dir():
        suffix = suffix or (token_files.SUFFIX if is_coded else corpus_encoder.ARCHIVE_SUFFIX)
        _check_target(source, target)
        if suffix not in _CODED:
            raise ValueError(f"--format {suffix}: use {' or '.join(_CODED)}")
        if is_coded and suffix != token_files.SUFFIX:
            raise ValueError(
                f"--format {suffix}: --entropy, --step and --snr make entropy-coded files; use "
                f"--format {token_files.SUFFIX}"
            )
        options.check(target / f"*{suffix}")
        codec = load_model(model)
        options.check_with(codec, suffix)
        encoder = corpus_encoder.FileEncoder(options, codec)
        is_parallel = suffix == corpus_encoder.ARCHIVE_SUFFIX  # deflating leaves the interpreter
        corpus_folders.run_folder(
            source,
            target,
            suffix=suffix,
            make_work=(lambda: encoder)
            if is_parallel
            else functools.partial(corpus_encoder.make_encoder, options),
            kind=lambda _: "threads" if is_parallel else "processes",
            configuration=options.configuration(codec, suffix),
            num_jobs=jobs,
            overwrite=overwrite,
            verb="encoded",
        )
        return
    _check_file(source, jobs, suffix, overwrite)
    options.check(target, entropy=entropy)
    corpus_encoder.FileEncoder(options, load_model(model), say=say)(source, target)


@app.command()
def decode(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="File of `isincnet encode`, or a folder of them.")
    ],
    target: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Audio file to write; or a folder.", callback=output),
    ],
    *,
    model: Annotated[
        str | None, typer.Option("--model", help="Insist on this model instead of the archive's.")
    ] = None,
    model_rate: Annotated[
        bool, typer.Option("--model-rate", help="Keep the model's rate; do not resample back.")
    ] = False,
    refinements: RefinementsOption = 0,
    jobs: JobsOption = None,
    suffix: FormatOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Decode a file; the result has the original's rate and length unless told otherwise.

    If IN is a folder, all encoded files below it are decoded into the folder OUT, several at a
    time; the same command goes on with a run that was interrupted.
    """
    from isincnet_jax.data import audio_writing

    _check_source(source)
    names = source.rglob("*") if source.is_dir() else [source]
    if any(path.suffix.lower() == token_files.SUFFIX for path in names):
        extras.require("constriction")
    options = corpus_decoder.DecodeOptions(model, model_rate, refinements)
    if source.is_dir():
        suffix = suffix or ".wav"
        _check_target(source, target)
        if not suffix.startswith("."):
            raise ValueError(f"--format {suffix}: a suffix begins with a point; use .{suffix}")
        audio_writing.output_subtype(target / f"*{suffix}", "PCM_24")
        corpus_folders.run_folder(
            source,
            target,
            suffixes=_CODED,
            suffix=suffix,
            make_work=functools.partial(corpus_decoder.make_decoder, options),
            kind=corpus_decoder.suitable_workers,
            configuration={
                "work": "decode",
                "suffix": suffix,
                "model": model,
                "model_rate": model_rate,
                # Left out where it is 0, as of folders that were decoded before there was any.
                **({"refinements": refinements} if refinements else {}),
            },
            num_jobs=jobs,
            overwrite=overwrite,
            verb="decoded",
            is_current=corpus_decoder.FileDecoder(options).is_current,
        )
        return
    _check_file(source, jobs, suffix, overwrite)
    corpus_decoder.FileDecoder(options, say=say)(source, target)


def _check_source(source: Path) -> None:
    if not source.exists():
        raise ValueError(f"{source}: no such file")


def _check_target(source: Path, target: Path) -> None:
    from isincnet_jax.data.splits import AUDIO_SUFFIXES

    if target.suffix.lower() in {*_CODED, *AUDIO_SUFFIXES} and not target.exists():
        raise ValueError(
            f"{source}: a directory, but {target} names a single file; give a folder to write to"
        )


def _check_file(source: Path, jobs: int | None, suffix: str | None, overwrite: bool) -> None:
    for option, given in (
        ("--jobs", jobs is not None),
        ("--format", suffix is not None),
        ("--overwrite", overwrite),
    ):
        if given:
            raise ValueError(f"{option}: for folders; {source} is none, leave it out")
