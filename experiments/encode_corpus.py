"""Encodes a corpus by an Apache Beam pipeline: ``isincnet encode DIR OUT`` beyond one machine.

    python experiments/encode_corpus.py DIR OUT [--model NAME] [--q-bits 8] [--format .isn]
        [--runner=FlinkRunner --flink_master=HOST:8081 ...]

DIR and OUT are folders or addresses that Beam knows (``gs://bucket/folder``). What is not listed
here goes to Beam: the runner and its options; without any, the pipeline runs in this process
(Beam's own default would download a runner first). What Beam does not know either is refused,
unless it comes after ``--``: some options only the job server of a runner knows. The same command
goes on with a run that was interrupted; files that cannot be read are listed in
OUT/failures.jsonl and do not stop the others.
Every worker needs ``pip install 'isincnet-jax[beam]'``.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from typing import Any

from isincnet_jax import extras
from isincnet_jax.cli.commands import name_options
from isincnet_jax.recordings.encoder import make_encoder
from isincnet_jax.recordings.options import SUFFIXES, EncodeOptions

_IN_PROCESS = "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"


def main(arguments: Sequence[str]) -> int:
    """Runs the pipeline and returns the exit status: 1 if a file failed."""
    arguments, unchecked = _split(list(arguments))
    given, for_beam = _parser().parse_known_args(arguments)
    unknown = unknown_to_beam(for_beam)
    if unknown:
        raise ValueError(
            f"{' '.join(unknown)}: no option of this script (see --help) nor of Apache Beam; what "
            "only a runner's job server knows goes after --"
        )
    options = EncodeOptions(
        given.model, given.q_bits, given.scales, given.step, given.snr, given.quality, given.kbps,
        given.curve, given.like, given.optimise,
    )  # fmt: skip
    prepared = options.prepare(given.format)
    counts = run(
        given.source,
        given.out,
        suffix=prepared.suffix,
        make_work=functools.partial(make_encoder, options, prepared.suffix),
        configuration=prepared.configuration,
        overwrite=given.overwrite,
        pipeline_arguments=[*for_beam, *unchecked],
    )
    print(  # noqa: T201
        f"encoded {counts['made']} files: {counts['milliseconds_of_audio'] / 1000:.1f} s of "
        f"audio; {counts['skipped']} were done already, {counts['failed']} failed"
    )
    return 1 if counts["failed"] else 0


def run(
    source: str,
    out: str,
    *,
    suffix: str,
    make_work: Any,
    configuration: dict[str, Any],
    overwrite: bool = False,
    pipeline_arguments: Sequence[str] = (),
) -> dict[str, int]:
    """Makes all files that are not done; returns what was counted."""
    with extras.importing("apache_beam"):
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

    from isincnet_jax.recordings import beam as beam_encoding

    # Of two values of an option the last one counts. File systems get theirs from the pipeline.
    pipeline = beam.Pipeline(options=PipelineOptions([_IN_PROCESS, *pipeline_arguments]))
    source, out = beam_encoding.absolute(source), beam_encoding.absolute(out)
    jobs = beam_encoding.find_jobs(source, suffix=suffix)
    begin = beam_encoding.prepare_output(
        out, configuration, jobs, source=source, overwrite=overwrite
    )
    _ = (
        pipeline
        | "Files" >> beam.Create(jobs)
        | "Encode" >> beam_encoding.MakeFiles(make_work, source=source, out=out, not_before=begin)
        | "Report" >> beam_encoding.WriteReport(out)
    )
    pipeline.run().wait_until_finish()
    counts = beam_encoding.read_report(out)
    beam_encoding.clear_unfinished(out)
    return counts


def unknown_to_beam(arguments: Sequence[str]) -> list[str]:
    """What Beam would leave unparsed.

    Args:
        arguments: a command line without options of this script.

    Returns:
        Those that no options of Beam take.

    Raises:
        ImportError: without Beam, or without Dask for Beam's DaskRunner.
    """
    with extras.importing("apache_beam"):
        from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

    if "dask" in str(PipelineOptions(list(arguments)).view_as(StandardOptions).runner).lower():
        with extras.importing("dask", "distributed"):  # Beam knows its options when it is imported
            import distributed  # noqa: F401
            from apache_beam.runners.dask import dask_runner  # noqa: F401

    unknown: list[str] = []

    def note(parser: argparse.ArgumentParser) -> None:  # one that knows all of Beam's options
        unknown.extend(parser.parse_known_args(list(arguments))[1])

    PipelineOptions([]).get_all_options(add_extra_args_fn=note)
    return unknown


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What comes before ``--``, and behind it."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # --runner=... and its like are Beam's
    )
    parser.add_argument("source", metavar="DIR")
    parser.add_argument("out", metavar="OUT")
    parser.add_argument("--model")
    parser.add_argument("--q-bits", type=int)
    parser.add_argument("--scales", default="signal", choices=("signal", "spec"))
    parser.add_argument("--step", type=float)
    parser.add_argument("--snr", type=float)
    parser.add_argument("--quality", type=float)
    parser.add_argument("--kbps", type=float)
    parser.add_argument("--curve", action="store_true")
    parser.add_argument("--like")
    parser.add_argument("--optimise", action="store_true")
    parser.add_argument("--format", choices=SUFFIXES)
    parser.add_argument("--overwrite", action="store_true")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ValueError, ImportError, OSError) as problem:
        names = {
            name: f"--{name.replace('_', '-')}" for name in ("q_bits", "scales", "step", "snr")
        }
        plain = ("model", "quality", "kbps", "curve", "like", "optimise", "overwrite")
        names |= {name: f"--{name}" for name in plain}
        names["suffix"] = "--format"
        sys.exit(f"error: {name_options(str(problem), names)}")
