"""Folders of recordings through a codec: encoded or decoded, in parallel and resumable."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from isincnet_jax.data.splits import AUDIO_SUFFIXES
from isincnet_jax.pretrained.load import name_of
from isincnet_jax.recordings import decoder, encoder, output_folder, workers
from isincnet_jax.recordings import jobs as file_jobs
from isincnet_jax.recordings.options import SUFFIXES, EncodeOptions

if TYPE_CHECKING:
    from isincnet_jax.pretrained.load import AnyCodec


class FolderReport(NamedTuple):
    """Report of a folder: what became of it, up to now.

    Attributes:
        num_files: of the source folder.
        num_waiting: of these, not done when the run began.
        num_made: of these, done now.
        audio_s: seconds of audio in them.
        num_bytes: of them.
        seconds: since the run began.
        failed: why, by name; nothing was written for these.
        left_out: why, by name, of folders that could not be listed.
        notes: what the user should know, and of how many files.
        num_left: files of earlier runs whose source is gone; they stay.
        last: the file that was made, or failed, last; None at the beginning.
    """

    num_files: int
    num_waiting: int
    num_made: int = 0
    audio_s: float = 0.0
    num_bytes: int = 0
    seconds: float = 0.0
    failed: Mapping[str, str] = {}
    left_out: Mapping[str, str] = {}
    notes: Mapping[str, int] = {}
    num_left: int = 0
    last: file_jobs.Outcome | None = None

    @property
    def num_done_before(self) -> int:
        """Files that an earlier run made."""
        return self.num_files - self.num_waiting

    @property
    def speed(self) -> float:
        """Seconds of audio per second."""
        return self.audio_s / max(self.seconds, 1e-9)

    def after(self, outcome: file_jobs.Outcome, seconds: float) -> FolderReport:
        """The report with one more file.

        Args:
            outcome: what became of the file.
            seconds: since the run began.

        Returns:
            A new report.
        """
        report = self._replace(seconds=seconds, last=outcome)
        if outcome.reason:
            return report._replace(failed={**self.failed, outcome.job.source: outcome.reason})
        counts = {note: self.notes.get(note, 0) + 1 for note in outcome.notes}
        return report._replace(
            num_made=self.num_made + 1,
            audio_s=self.audio_s + outcome.seconds,
            num_bytes=self.num_bytes + outcome.num_bytes,
            notes={**self.notes, **counts} if counts else self.notes,
        )


def encode_folder(
    source: str | Path,
    target: str | Path,
    *,
    suffix: str | None = None,
    model: str | Path | AnyCodec | None = None,
    q_bits: int | None = None,
    scales: str = "signal",
    step: float | None = None,
    snr_db: float | None = None,
    quality: float | None = None,
    kbps: float | None = None,
    curve: bool = False,
    like: str | Path | None = None,
    optimise: bool = False,
    truncated: str = "refuse",
    lossless: bool = False,
    jobs: int | None = None,
    overwrite: bool = False,
    progress: Callable[[FolderReport], None] | None = None,
) -> FolderReport:
    """Encodes every audio file below a folder into the same folders below another one.

    The same call goes on with a run that was interrupted, see :mod:`.output_folder`. Files that
    cannot be read are reported and do not stop the others.

    Args:
        source: folder of audio files of any format and rate.
        target: folder to write; made if it is missing.
        suffix: of the files to make: ".npz" or ".isn"; None for ".isn" where options of those ask
            for it, else ".npz".
        model: as of :func:`.encode_file`, and so are ``q_bits``, ``scales``, ``step``, ``snr_db``,
            ``quality``, ``kbps``, ``curve``, ``like``, ``optimise``,
            ``truncated`` and ``lossless``.
        q_bits: of companded codes, 2 to 16.
        scales: "signal" or "spec".
        step: of the codes of ".isn" files.
        snr_db: of codes whose step is searched, dB.
        quality: of ".isn" files for ears.
        kbps: of each ".isn" file for ears.
        curve: for ears, steps that stay the same throughout a recording.
        like: ".isn" file whose bank and quantiser all get.
        optimise: let frames and rounding follow each recording.
        truncated: "refuse" or "keep".
        lossless: keep the samples of each recording exactly.
        jobs: files at a time, 1 or more; None for one per core.
        overwrite: make everything anew that an earlier run made here.
        progress: called at the beginning and after each file.

    Returns:
        What was made, failed or was left out.

    Raises:
        ValueError: for what no file could be made with, or a folder that cannot be used.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import soundfile
        >>> import isincnet_jax as isn
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     soundfile.write(Path(folder, "a.wav"), isn.demo_waveform(16_000)[:8000], 16_000)
        ...     report = isn.encode_folder(folder, Path(folder, "codes"), q_bits=8)
        ...     again = isn.encode_folder(folder, Path(folder, "codes"), q_bits=8)
        >>> report.num_made, report.audio_s, dict(report.failed), again.num_done_before
        (1, 0.5, {}, 1)
    """
    source, target = Path(source), Path(target)
    _check_target(source, target)
    name = None if model is None else name_of(model)
    options = EncodeOptions(
        name, q_bits, scales, step, snr_db, quality, kbps, curve,
        None if like is None else str(like), optimise, truncated, lossless,
    )  # fmt: skip
    given = None if model is None or isinstance(model, str | Path) else model
    prepared = options.prepare(suffix, codec=given)
    one = functools.partial(encoder.FileEncoder, options, prepared.codec)
    return _make_folder(
        source,
        target,
        suffix=prepared.suffix,
        suffixes=AUDIO_SUFFIXES,
        # Deflating and entropy coding leave the interpreter, and threads share the codec.
        make_work=one,
        configuration=prepared.configuration,
        jobs=jobs,
        overwrite=overwrite,
        progress=progress,
    )


def decode_folder(
    source: str | Path,
    target: str | Path,
    *,
    suffix: str = ".wav",
    model: str | Path | AnyCodec | None = None,
    model_rate: bool = False,
    refinements: int = 0,
    base: bool = False,
    jobs: int | None = None,
    overwrite: bool = False,
    progress: Callable[[FolderReport], None] | None = None,
) -> FolderReport:
    """Decodes every encoded file below a folder into the same folders below another one.

    The same call goes on with a run that was interrupted; files whose model has other weights
    now are made again.

    Args:
        source: folder of ``.npz`` and ``.isn`` files of :func:`encode_folder`.
        target: folder to write; made if it is missing, and not the one of the recordings.
        suffix: of the audio files to make, with its point.
        model: as of :func:`.decode_file`, and so are ``model_rate``, ``refinements`` and ``base``.
        model_rate: keep the model's rate.
        refinements: 0 or more.
        base: decode the codes of lossless files alone.
        jobs: files at a time, 1 or more; None for one per core.
        overwrite: make everything anew that an earlier run made here.
        progress: called at the beginning and after each file.

    Returns:
        What was made, failed or was left out.

    Raises:
        ValueError: for an unknown suffix, or a folder that cannot be used.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import soundfile
        >>> import isincnet_jax as isn
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     soundfile.write(Path(folder, "a.wav"), isn.demo_waveform(16_000)[:8000], 16_000)
        ...     report = isn.encode_folder(folder, Path(folder, "codes"))
        ...     report = isn.decode_folder(Path(folder, "codes"), Path(folder, "back"))
        >>> report.num_made, report.last.job.target
        (1, 'a.wav')
    """
    from isincnet_jax.data import audio_writing

    source, target = Path(source), Path(target)
    _check_target(source, target)
    if not suffix.startswith("."):
        raise ValueError(f"suffix={suffix}: a suffix begins with a point; use .{suffix}")
    audio_writing.output_subtype(target / f"*{suffix}", "PCM_24")
    options = decoder.DecodeOptions(model, model_rate, refinements, base)
    return _make_folder(
        source,
        target,
        suffix=suffix,
        suffixes=SUFFIXES,
        make_work=functools.partial(decoder.FileDecoder, options),
        configuration={
            "work": "decode",
            "suffix": suffix,
            "model": None if model is None else name_of(model),
            "model_rate": model_rate,
            # Left out where it is 0, as of folders that were decoded before there was any.
            **({"refinements": refinements} if refinements else {}),
            **({"base": base} if base else {}),
        },
        jobs=jobs,
        overwrite=overwrite,
        progress=progress,
        is_current=decoder.FileDecoder(options).is_current,
    )


def _check_target(source: Path, target: Path) -> None:
    if target.suffix.lower() in {*SUFFIXES, *AUDIO_SUFFIXES} and not target.exists():
        raise ValueError(
            f"{source}: a directory, but {target} names a single file; give a folder to write to"
        )


def _make_folder(
    source: Path,
    target: Path,
    *,
    suffix: str,
    suffixes: Collection[str],
    make_work: Callable[[], workers.Work],
    configuration: Mapping[str, Any],
    jobs: int | None,
    overwrite: bool,
    progress: Callable[[FolderReport], None] | None,
    is_current: Callable[[str], bool] | None = None,
) -> FolderReport:
    """Makes a file in ``target`` for every one in ``source`` that is not done yet.

    Args:
        source: folder to read.
        target: folder to write.
        suffix: of the files to make.
        suffixes: of the files to read.
        make_work: makes the function that makes a file, see :func:`.workers.run_tasks`.
        configuration: all that the result depends on but for the sources.
        jobs: files at a time; the number of cores if None.
        overwrite: make everything anew.
        progress: called at the beginning and after each file.
        is_current: see :meth:`.output_folder.OutputFolder.is_done`.
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs={jobs}: use at least 1")
    tell = progress or (lambda _: None)
    begin = time.perf_counter()
    problems: list[file_jobs.Problem] = []
    names = file_jobs.find_files(source, suffixes, problems=problems)
    planned = file_jobs.plan_jobs(names, suffix=suffix)
    with output_folder.open_output(
        target,
        configuration,
        planned,
        source=source,
        overwrite=overwrite,
        keep_others=bool(problems),
    ) as output:
        waiting = file_jobs.waiting_jobs(source, planned, output, is_current=is_current)
        report = FolderReport(
            len(planned),
            len(waiting),
            left_out=dict(problems),
            num_left=output.count_left(planned),
        )
        tell(report)
        outcomes = file_jobs.run_jobs(
            source,
            waiting,
            output,
            make_work,
            num_workers=jobs or workers.available_cores(),
        )
        with contextlib.closing(outcomes):  # which ends the workers if the caller interrupts
            for outcome in outcomes:
                report = report.after(outcome, time.perf_counter() - begin)
                tell(report)
        return report._replace(seconds=time.perf_counter() - begin)
