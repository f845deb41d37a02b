"""``isincnet benchmark``: methods over a corpus, to a results file, a page and a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from isincnet_jax import extras
from isincnet_jax.cli.commands import output
from isincnet_jax.cli.common import (
    LoudnessOption,
    NoLoudnessOption,
    TruncatedOption,
    app,
    positive,
    refuse_missing,
    say,
    say_skipped,
    warn,
)

_COLUMNS = ("snr_db", "si_sdr_db", "convergence_db", "log_spectral_db")


@app.command()
def benchmark(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of audio files.")],
    *,
    out: Annotated[
        Path,
        typer.Option("--out", help="Results; sounds go to audio/ beside it.", callback=output),
    ] = Path("benchmark/results.json"),
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page to listen to.", callback=output)
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write all means as CSV.", callback=output)
    ] = None,
    sample_rate: Annotated[int, typer.Option("--sample-rate", help="Hz.")] = 16_000,
    duration: Annotated[
        float,
        typer.Option(
            "--duration",
            help="Seconds of each clip.",
            callback=positive,
        ),
    ] = 5.0,
    max_clips: Annotated[int | None, typer.Option("--max-clips", help="At most.")] = None,
    splits: Annotated[
        Path | None, typer.Option("--splits", metavar="DIR", help="Lists of names, *.txt.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Of --splits.")] = "validation",
    loudness: LoudnessOption = -23.0,
    no_loudness: NoLoudnessOption = False,
    speech: Annotated[
        bool, typer.Option("--speech", help="The clips are speech: PESQ, STOI and ESTOI apply.")
    ] = False,
    methods: Annotated[
        str, typer.Option("--methods", help="Names, families or patterns, with commas.")
    ] = "",
    metrics: Annotated[
        str, typer.Option("--metrics", help="With commas; all that can be computed by default.")
    ] = "",
    reference: Annotated[
        Path | None, typer.Option("--reference", metavar="DIR", help="iSincNet's .ckpt files.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="An exported model; repeatable.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="Yours, FILE.py:function or module:function; repeatable. Called as "
            "function(waveform, sample_rate=...) with float32 [batch, time]; see below.",
        ),
    ] = None,
    listen: Annotated[int, typer.Option("--listen", help="Clips with sounds.")] = 6,
    partial: Annotated[
        Path | None, typer.Option("--partial", help="Results of single methods, to resume from.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Clips per call.")] = 4,
    seed: Annotated[int, typer.Option("--seed", help="Of the intervals.")] = 0,
    truncated: TruncatedOption = "refuse",
) -> None:
    """Compare methods on the clips of DIR; the same command goes on where it stopped.

    A function of --method gets a float32 NumPy array [batch, time] in [-1, 1], --batch-size mono
    clips of one length at --sample-rate, and returns a finite array of the same shape (NumPy or
    JAX), or isincnet_jax.benchmark.methods.Coded(waveform, num_bits) with the size of every
    clip's code, num_bits [batch], for the column kbit/s. Its docstring's first line describes it.
    """
    refuse_missing(path, "no such folder; give a folder of audio files")
    if not no_loudness:
        extras.require("pyloudnorm")
    from isincnet_jax.benchmark import perceptual

    perceptual.check(_listed(metrics), speech=speech)
    from isincnet_jax.benchmark import run as benchmark_run
    from isincnet_jax.benchmark import tables

    settings = benchmark_run.Settings(
        path=path,
        out=out,
        sample_rate=sample_rate,
        duration_s=duration,
        max_clips=max_clips,
        splits=splits,
        split=split,
        loudness_db=None if no_loudness else loudness,
        speech=speech,
        methods=_listed(methods),
        metrics=_listed(metrics),
        reference=reference,
        models=tuple(model or ()),
        functions=tuple(method or ()),
        listen=listen,
        partial=partial,
        batch_size=batch_size,
        seed=seed,
        truncated=truncated,
    )
    results, skipped = benchmark_run.run(settings, tell=warn)
    say(tables.markdown_table(results, metrics=_columns(results["metrics"])))
    failed = sum(len(row["failed"]) for row in results["methods"])
    say(f"{len(results['corpus']['clips'])} clips, {len(results['methods'])} methods")
    if failed:
        say(f"failed reconstructions: {failed}")
    say_skipped(skipped, what="skipped tracks")
    say(f"wrote {out}")
    if csv is not None:
        tables.write_csv(csv, results)
        say(f"wrote {csv}")
    if html is not None:
        from isincnet_jax.pages.benchmark import write_report

        write_report(out, html)
        say(f"wrote {html}")
    _refuse_failures(results)


def _refuse_failures(results: dict[str, Any]) -> None:
    """Makes the exit status 1 where a method has nothing to show.

    Raises:
        ValueError: naming the methods that failed on every clip, each with a reason.
    """
    count = len(results["corpus"]["clips"])
    reasons = [
        f"{row['name']} ({next(iter(row['failed'].values()))})"
        for row in results["methods"]
        if len(row["failed"]) == count
    ]
    if reasons:
        clips = "the clip" if count == 1 else f"all {count} clips"
        raise ValueError(f"failed on {clips}: {', '.join(reasons)}")


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _columns(known: dict[str, object]) -> tuple[str, ...]:
    return tuple(name for name in _COLUMNS if name in known) or tuple(known)[:4]
