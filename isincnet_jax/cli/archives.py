"""``isincnet encode`` and ``decode``: coefficients and codes in files, one or a whole corpus."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isincnet_jax.cli.commands import name_options, options_of, output
from isincnet_jax.cli.common import (
    BitsOption,
    RefinementsOption,
    ScalesOption,
    TruncatedOption,
    app,
    finite,
    positive,
    say,
)

if TYPE_CHECKING:
    from isincnet_jax.recordings.folders import FolderReport

_INTERRUPTED = 130

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
    context: typer.Context,
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
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Preset, export, address or .ckpt; if left out, 16khz-linear for .npz, and for "
            ".isn a lapped bank at the rate of IN.",
        ),
    ] = None,
    q_bits: BitsOption = None,
    scales: ScalesOption = "signal",
    step: Annotated[
        float | None,
        typer.Option(
            "--step",
            help="Codes of this step (.isn).",
            callback=positive,
        ),
    ] = None,
    snr: Annotated[
        float | None,
        typer.Option(
            "--snr",
            help="Codes of so many dB (.isn; 25 unless told, 15 of --lossless, or the step of "
            "--model).",
            callback=finite,
        ),
    ] = None,
    quality: Annotated[
        float | None,
        typer.Option(
            "--quality",
            help="For ears (.isn), 0 to 20: steps follow what is heard; one more is 3 dB less "
            "noise.",
            callback=finite,
        ),
    ] = None,
    kbps: Annotated[
        float | None,
        typer.Option(
            "--kbps",
            help="For ears (.isn): so many kbit/s, of the whole file.",
            callback=positive,
        ),
    ] = None,
    curve: Annotated[
        bool,
        typer.Option(
            "--curve",
            help="With --quality or --kbps: steps by band that stay the same throughout, for "
            "--like.",
        ),
    ] = False,
    like: Annotated[
        Path | None,
        typer.Option(
            "--like",
            metavar="FILE",
            help="Bank, step and curve of FILE (.isn): a decoded FILE gives the same tokens again.",
        ),
    ] = None,
    optimise: Annotated[
        bool,
        typer.Option(
            "--optimise",
            help="Let frames and rounding follow the recording (.isn): 5 to 7 % fewer bits.",
        ),
    ] = False,
    lossless: Annotated[
        bool,
        typer.Option(
            "--lossless",
            help="Keep the samples exactly (.isn), PCM of 8, 16 or 24 bits: codes, and what they "
            "leave.",
        ),
    ] = False,
    truncated: TruncatedOption = "refuse",
    jobs: JobsOption = None,
    suffix: FormatOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Encode IN into coefficients (float32), codes (--q-bits), or entropy-coded codes (.isn).

    If IN is a folder, all audio files below it are encoded into the folder OUT, several at a
    time; the same command goes on with a run that was interrupted.
    """
    from isincnet_jax.recordings import encoder, folders

    options: dict[str, Any] = {
        "model": model,
        "q_bits": q_bits,
        "scales": scales,
        "step": step,
        "snr_db": snr,
        "quality": quality,
        "kbps": kbps,
        "curve": curve,
        "like": like,
        "truncated": truncated,
        "optimise": optimise,
        "lossless": lossless,
    }
    if source.is_dir():
        options.update(suffix=suffix, jobs=jobs, overwrite=overwrite)
        with _told(context, target, "encoded") as progress:
            folders.encode_folder(source, target, progress=progress, **options)
        return
    _refuse_options_of_folders(source, jobs, suffix, overwrite)
    encoder.encode_file(source, target, say=say, **options)


@app.command()
def decode(
    context: typer.Context,
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
    base: Annotated[
        bool, typer.Option("--base", help="Of lossless .isn files: decode the codes alone.")
    ] = False,
    jobs: JobsOption = None,
    suffix: FormatOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Decode a file; the result has the original's rate and length unless told otherwise.

    If IN is a folder, all encoded files below it are decoded into the folder OUT, several at a
    time; the same command goes on with a run that was interrupted.
    """
    from isincnet_jax.recordings import decoder, folders

    options: dict[str, Any] = {
        "model": model,
        "model_rate": model_rate,
        "refinements": refinements,
        "base": base,
    }
    if source.is_dir():
        options.update(suffix=".wav" if suffix is None else suffix, jobs=jobs, overwrite=overwrite)
        with _told(context, target, "decoded") as progress:
            folders.decode_folder(source, target, progress=progress, **options)
        return
    _refuse_options_of_folders(source, jobs, suffix, overwrite)
    decoder.decode_file(source, target, say=say, **options)


@app.command()
def ids(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Audio file; or .json of ids, to make sound of.")
    ],
    target: Annotated[
        Path,
        typer.Argument(metavar="OUT", help=".json to write; or audio file.", callback=output),
    ],
    *,
    model: Annotated[
        str | None, typer.Option("--model", help="A lapped preset; 16khz-lapped unless told.")
    ] = None,
    order: Annotated[
        str | None,
        typer.Option("--order", help="'frames' (unless told), 'interleaved' or 'bins'."),
    ] = None,
    largest: Annotated[
        int | None,
        typer.Option("--largest", help="Largest code with an id of its own; 127 unless told."),
    ] = None,
    truncated: TruncatedOption = "refuse",
) -> None:
    """Write IN's token ids for a language model as JSON, or the sound of a JSON file of ids."""
    from isincnet_jax.recordings import id_sequences

    if not source.exists():
        raise ValueError(f"{source}: no such file")
    given: dict[str, Any] = {"model": model, "order": order, "largest": largest}
    given = {name: value for name, value in given.items() if value is not None}
    if source.suffix.lower() == ".json":
        for name in given:
            raise ValueError(f"--{name}: {source} says it; leave it out")
        id_sequences.decode_ids(source, target, say=say)
        return
    id_sequences.encode_ids(source, target, truncated=truncated, say=say, **given)


def _refuse_options_of_folders(
    source: Path, jobs: int | None, suffix: str | None, overwrite: bool
) -> None:
    if not source.exists():
        raise ValueError(f"{source}: no such file")
    for option, given in (
        ("--jobs", jobs is not None),
        ("--format", suffix is not None),
        ("--overwrite", overwrite),
    ):
        if given:
            raise ValueError(f"{option}: for folders; {source} is none, leave it out")


@contextlib.contextmanager
def _told(
    context: typer.Context, target: Path, verb: str
) -> Iterator[Callable[[FolderReport], None]]:
    """A callback of a folder's progress; prints what became of it, whatever ends the block.

    Raises:
        typer.Exit: with status 1 if a file failed, 130 if interrupted.
    """
    options = options_of(context.command.params)
    newest: list[FolderReport] = []
    try:
        with _shown(target) as show:

            def progress(report: FolderReport) -> None:
                newest[:] = [report]
                show(report)

            yield progress
    except KeyboardInterrupt:
        if not newest:
            raise
        say(f"interrupted after {_sums(newest[0], verb)}; the same command goes on from here")
        _tell_files(newest[0], options)
        raise typer.Exit(_INTERRUPTED) from None
    except BaseException:
        if newest:
            say(_sums(newest[0], verb))
            _tell_files(newest[0], options)
        raise
    report = newest[0]
    say(_sums(report, verb))
    if report.num_left:
        say(f"{report.num_left} files in {target} have no source any more; they stay as they are")
    _tell_files(report, options)
    if report.failed or report.left_out:
        raise typer.Exit(1)


def _sums(report: FolderReport, verb: str) -> str:
    return (
        f"{verb} {report.num_made} files: {report.audio_s:.1f} s of audio in "
        f"{report.seconds:.1f} s ({report.speed:.0f} x real time), {report.num_bytes} bytes"
    )


def _tell_files(report: FolderReport, options: Mapping[str, str]) -> None:
    """Notes, and what was left out or failed."""
    for note, count in sorted(report.notes.items()):
        say(f"note: {note} ({count} files)")
    for name, reason in report.left_out.items():
        say(f"left out: {name}: {reason}")
    for name, reason in report.failed.items():
        say(f"failed: {name}: {name_options(reason, options)}")
    if report.failed:
        count = f"{len(report.failed)} of {report.num_waiting}"
        say(f"{count} files failed; nothing was written for them")


@contextlib.contextmanager
def _shown(target: Path) -> Iterator[Callable[[FolderReport], None]]:
    """A progress bar on a terminal, a line for each file elsewhere."""
    import rich.console
    import rich.progress

    console = rich.console.Console()
    columns = (
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("files, {task.fields[audio]}"),
        rich.progress.TimeRemainingColumn(),
    )
    bar = rich.progress.Progress(*columns, console=console, transient=True)
    task = bar.add_task("", audio="")
    with contextlib.ExitStack() as stack:

        def show(report: FolderReport) -> None:
            total, done = report.num_waiting, report.num_made + len(report.failed)
            if report.last is None:
                if report.num_done_before:
                    count = f"{report.num_done_before} of {report.num_files}"
                    say(f"{target}: {count} files are done already")
                if console.is_terminal:
                    stack.enter_context(bar)
                bar.update(task, total=total)
                return
            if not console.is_terminal:
                what = "failed" if report.last.reason else f"{report.last.seconds:.1f} s"
                say(f"[{done:{len(str(total))}d}/{total}] {report.last.job.source}: {what}")
            audio = f"{report.audio_s:.0f} s of audio, {report.speed:.0f} x real time"
            failed = f", {len(report.failed)} failed" if report.failed else ""
            bar.update(task, completed=done, audio=audio + failed)

        yield show
