"""Encodes a corpus by an Apache Beam pipeline: ``isincnet encode DIR OUT`` beyond one machine.

    python experiments/encode_corpus.py DIR OUT [--model NAME] [--q-bits 8] [--format .isn]
        [--runner=FlinkRunner --flink_master=HOST:8081 ...]

DIR and OUT are folders or addresses that Beam knows (``gs://bucket/folder``). What is not listed
here goes to Beam: the runner and its options; without any, the pipeline runs in this process
(Beam's own default would download a runner first). The same command goes on with a run that was
interrupted; files that cannot be read are listed in OUT/failures.jsonl and do not stop the others.
Every worker needs ``pip install 'isincnet-jax[beam]'``, with the extra ``entropy`` for .isn files.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isincnet_jax.cli.common import DEFAULT_MODEL, load_model
from isincnet_jax.cli.corpus_encoder import ARCHIVE_SUFFIX, EncodeOptions, make_encoder
from isincnet_jax.cli.token_files import SUFFIX

_IN_PROCESS = "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"


def main(arguments: Sequence[str]) -> int:
    """Runs the pipeline and returns the exit status: 1 if a file failed."""
    given, pipeline_arguments = _parser().parse_known_args(arguments)
    options = EncodeOptions(given.model, given.q_bits, given.scales, given.step, given.snr)
    is_coded = given.step is not None or given.snr is not None
    suffix = given.format or (SUFFIX if is_coded else ARCHIVE_SUFFIX)
    options.check(Path(f"corpus{suffix}"))
    codec = load_model(given.model)
    options.check_with(codec, suffix)
    counts = run(
        given.source,
        given.out,
        suffix=suffix,
        make_work=functools.partial(make_encoder, options),
        configuration=options.configuration(codec, suffix),
        overwrite=given.overwrite,
        pipeline_arguments=pipeline_arguments,
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
    import apache_beam as beam
    from apache_beam.io.textio import WriteToText
    from apache_beam.options.pipeline_options import PipelineOptions

    from isincnet_jax.data import beam_encoding

    # Of two values of an option the last one counts. File systems get theirs from the pipeline.
    pipeline = beam.Pipeline(options=PipelineOptions([_IN_PROCESS, *pipeline_arguments]))
    jobs = beam_encoding.find_jobs(source, suffix=suffix)
    begin = beam_encoding.prepare_output(out, configuration, overwrite=overwrite)
    outcome = (
        pipeline
        | "Files" >> beam.Create(jobs)
        | "Encode" >> beam_encoding.MakeFiles(make_work, source=source, out=out, not_before=begin)
    )
    _ = (
        outcome[beam_encoding.FAILURES]
        | "Lines" >> beam.Map(json.dumps)
        | "Write failures"
        >> WriteToText(
            f"{out.rstrip('/')}/failures", ".jsonl", num_shards=1, shard_name_template=""
        )
    )
    result = pipeline.run()
    result.wait_until_finish()
    beam_encoding.clear_unfinished(out)
    return beam_encoding.counted(result)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # --runner=... and its like are Beam's
    )
    parser.add_argument("source", metavar="DIR")
    parser.add_argument("out", metavar="OUT")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--q-bits", type=int)
    parser.add_argument("--scales", default="signal", choices=("signal", "spec"))
    parser.add_argument("--step", type=float)
    parser.add_argument("--snr", type=float)
    parser.add_argument("--format", choices=(ARCHIVE_SUFFIX, SUFFIX))
    parser.add_argument("--overwrite", action="store_true")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ValueError, ImportError, OSError) as problem:
        sys.exit(f"error: {problem}")
