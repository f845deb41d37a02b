r"""Compares filter shapes, scales, components and numbers of bins, as a config says.

    python experiments/ablate_filters.py [--config=experiments/configs/ablation.py] \
        [--config.data=DIR] [--config.parts=reconstruction,speed,classification] \
        [--config.field=value ...]

Measures every cell of the grid: condition number and SNR of the exact decoder, with few bits and
with noise; x real time; accuracy of classifiers of genres and speakers behind it over several
seeds, with learned and with fixed filters, and how far they moved. Says which differences from the
best are none. Writes ``results.json`` after every measurement, prints the table and writes
``ablation.html`` and ``pictures/`` into ``config.workdir``. The same command goes on with a run
that was interrupted, and measures other parts of the same grid; another config is refused there.
The fields and their defaults are in ``experiments/configs/ablation.py``. Without --config.data the
built-in clip and generated music serve.

Exit status: 0 when all is measured; 3 when cells failed, which stand with their messages in the
table and are tried again with --config.retry_failed=True only; 1 after an error; 143 and 130 when
SIGTERM or Ctrl-C stopped it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from isincnet_jax.ablation import measures as ablation_measures
from isincnet_jax.ablation.grid import BANK, FRONT_ENDS, Ablation, Cell, grid, run_key
from isincnet_jax.benchmark import run as benchmark_run
from isincnet_jax.benchmark import tables
from isincnet_jax.classifiers.training import wilson_interval
from isincnet_jax.dsp import checks
from isincnet_jax.pages import ablation as ablation_report
from isincnet_jax.pages import ablation_table
from isincnet_jax.tasks.command import run_command
from isincnet_jax.tasks.config import Config
from isincnet_jax.tasks.process import Stop, alone
from isincnet_jax.training.trees import first_difference

_AXES = ("shape", "scale", "component", "num_bins")
_FAILED = 3
_logger = logging.getLogger("ablation")


def ablate_filters(config: Config) -> int:
    """Measures what is missing of a grid and writes table, pictures and page.

    Args:
        config: of ``configs/ablation.py``'s kind.

    Returns:
        The exit status.

    Raises:
        ValueError: for parts, seeds or clips that are none, and a folder with results of another
            config.
    """
    from isincnet_jax.tasks.ablation_work import Work

    config = _settled(config)
    base = _base(config)
    cells = grid(base, {name: config.axes[name] for name in _AXES})
    # Whatever the parts: a file's cells that are not among these would be lost.
    cells += [Cell({**base, "front_end": one}, {"front_end": one}) for one in config.front_ends]
    folder = Path(config.workdir)
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        identity = tables.plain(_identity(config))
        results = Ablation(folder / "results.json", cells, identity=identity, facts=_facts(config))
        if results.stored_identity is not None:
            changed = first_difference(results.stored_identity, identity)
            if changed:
                raise ValueError(
                    f"{results.path} has the results of another config: {changed}; use another "
                    "--config.workdir, or the config of these results"
                )
        stop = Stop(1)
        with _programs_kept(folder / "compiled"):
            stopped = _measure(Work(config, stop), cells, results, stop)
        _finish(config, results, folder)
    if stopped:
        return stop.status
    return _FAILED if results.failures() else 0


@contextlib.contextmanager
def _programs_kept(folder: Path) -> Iterator[None]:
    """Programs are kept on the disk: seeds of a cell share theirs (half a minute of a core)."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    settings: Any = jax.config
    before = settings.jax_compilation_cache_dir
    if before is None:
        settings.update("jax_compilation_cache_dir", str(folder))
        compilation_cache.reset_cache()  # it has been asked already, maybe, and is not asked twice
    try:
        yield
    finally:
        if before is None:
            settings.update("jax_compilation_cache_dir", None)
            compilation_cache.reset_cache()


def _settled(config: Config) -> Config:
    """The config, checked; values of axes and seeds have the type that they should have.

    Raises:
        ValueError: for parts that there are not, seeds that are none, and no clips.
    """
    known = ", ".join(ablation_table.PARTS)
    for part in config.parts:
        if part not in ablation_table.PARTS:
            raise ValueError(f"parts: {part!r} is unknown; use {known}")
    if not config.parts:
        raise ValueError(f"parts is empty; use some of {known}")
    choices = {
        "tasks": tuple(config.classifiers),
        "filters": ("learned", "fixed"),
        "front_ends": FRONT_ENDS,
    }
    for name, some in choices.items():
        for value in config[name]:
            checks.check_choice(name, value, some)
        if len(set(config[name])) != len(config[name]):
            raise ValueError(f"{name}={tuple(config[name])}: give each once")
        if not config[name] and name != "front_ends" and "classification" in config.parts:
            raise ValueError(f"{name} is empty; use some of {', '.join(some)}")
    seeds = tuple(int(seed) for seed in config.seeds)
    if len(set(seeds)) != len(seeds) or ("classification" in config.parts and not seeds):
        raise ValueError(f"seeds={seeds}: give one or more, each once")
    if config.reconstruction.max_clips < 1:
        raise ValueError(
            f"reconstruction.max_clips={config.reconstruction.max_clips}: must be at least 1"
        )
    config = config.copy_and_resolve_references()
    config.seeds = seeds
    for name in _AXES:
        kind = type(config.base[name])
        config.axes[name] = tuple(kind(value) for value in config.axes[name])
    return config


def _identity(config: Config) -> dict[str, Any]:
    """What results depend on; folders by their names, wherever they are."""
    fields = json.loads(config.to_json_best_effort())
    for name in ("workdir", "parts", "tasks", "filters", "retry_failed"):
        fields.pop(name)
    fields["data"] = _folders(config.data)
    for task, classifier in fields["classifiers"].items():
        for name in ("workdir", "seed", "hosts"):
            classifier.pop(name)
        for name in ("path", "splits", "cache_dir", "sample_rate"):
            classifier["data"].pop(name)
        classifier["data"].update(_folders(config.classifiers[task].data))
    return fields


def _base(config: Config) -> dict[str, Any]:
    """Fields of all cells; those that may vary come first."""
    return {
        **{name: config.base[name] for name in (*_AXES, *config.base)},
        "front_end": BANK,
    }


def _folders(data: Any) -> dict[str, Any]:
    return {"folders": _names(data.path), "splits": Path(data.splits).name}


def _names(paths: Sequence[str]) -> list[str]:
    return [Path(path).resolve().name for path in paths if path]


def _facts(config: Config) -> dict[str, Any]:
    """What the results say of the run; folders are named, not located."""
    facts = benchmark_run.describe_run(config.reconstruction.seed)
    del facts["format"], facts["seed"]
    arguments = [_named(argument) for argument in sys.argv[1:]]
    folders = _names(config.data.path)
    return {
        **facts,
        "command": shlex.join(["python", "experiments/ablate_filters.py", *arguments]),
        "base": _base(config),
        "seeds": list(config.seeds),
        "data": ", ".join(folders) or "built-in clip, generated music",
        "q_bits": config.reconstruction.q_bits,
        "noise_snr_db": config.reconstruction.noise_snr_db,
    }


def _named(argument: str) -> str:
    """An argument whose absolute paths are only the names of what they lead to."""
    option, equals, values = argument.rpartition("=")
    parts = [Path(part).name if part.startswith("/") else part for part in values.split(",")]
    return f"{option}{equals}{','.join(parts)}"


def _measure(work: Any, cells: Sequence[Cell], results: Ablation, stop: Stop) -> bool:
    """Measures what is due; whether a signal stopped it."""
    from isincnet_jax.tasks.ablation_work import Stopped

    retry = work.config.retry_failed
    due = [
        task
        for task in work.tasks(cells)
        if results.is_due(task.cell, task.key, retry_failed=retry)
    ]
    for part in dict.fromkeys(task.part for task in due):
        work.prepare(part, results)
    for number, task in enumerate(due, start=1):
        _logger.info("%d of %d: %s of %s", number, len(due), task.key, task.cell.name)
        try:
            results.measure(task.cell, task.key, task.call)
        except Stopped:
            return True
        if stop():
            _logger.warning("stopped after %d of %d measurements as asked", number, len(due))
            return True
    return False


def _finish(config: Config, results: Ablation, folder: Path) -> None:
    """Sums up the seeds, prints the table, draws, and writes the page."""
    from isincnet_jax.tasks.ablation_pictures import pictures

    rows = results.content["cells"]
    for row in rows:
        row["classification"] = tables.plain(_accuracies(config, row["measured"]))
    verdicts = ablation_measures.compare_with_best(rows)
    results.content["verdicts"] = verdicts
    results.write()
    print(ablation_table.text_table(rows))  # noqa: T201
    print("\n".join(ablation_table.sentences(verdicts)))  # noqa: T201
    try:
        drawn = list(pictures(config, rows, folder))
    except ImportError as error:
        _logger.warning("the page has no pictures: %s", error)
        drawn = []
    page = ablation_report.write_ablation_page(
        results.content, folder / "ablation.html", pictures=drawn
    )
    _logger.info("written: %s, %s", results.path, page)


def _accuracies(config: Config, measured: dict[str, Any]) -> dict[str, Any]:
    """Summary over seeds of every task, with learned and with fixed filters."""
    found = {}
    for task, filters in itertools.product(config.classifiers, ("learned", "fixed")):
        runs = {
            seed: run
            for seed in config.seeds
            if "accuracy" in (run := measured.get(run_key(task, filters, seed), {}))
        }
        if runs:
            summary = ablation_measures.accuracy_over_seeds(
                [*runs.values()], wilson=wilson_interval
            )
            found[f"{task}, {filters}"] = {**(summary or {}), "seeds": list(runs)}
    return found


def main() -> None:
    """Runs the config of the command line."""
    run_command(ablate_filters, about=__doc__, config="ablation.py")
