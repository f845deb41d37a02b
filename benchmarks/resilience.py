"""Kills a training run again and again, and compares its end with that of one that never stopped.

    python benchmarks/resilience.py [--kills 20]

A tiny model is trained on generated music by ``experiments/train.py``, once in peace and once
killed (SIGKILL) while it starts, between steps, and while it writes a checkpoint. After every kill
the same command is started again. Counted are the kills after which it went on from the latest
complete checkpoint, the steps that had to be done again, and the writes that a kill cut short.
At the end parameters, optimiser, PRNG and counters, and every record of the log (but times and
speeds) must be the same, bit for bit.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import common
import numpy as np

from isincnet_jax.training.checkpoints import Checkpoints
from isincnet_jax.training.logs import read_log

NUM_STEPS, SAVE_EVERY = 800, 40
KINDS = ("write", "step", "write", "step", "start")
_TIMES = ("time_s", "steps_per_s", "samples_per_s")
_PATIENCE_S = 120.0


class Kill(NamedTuple):
    """A kill, and what came after it.

    Attributes:
        kind: of :data:`KINDS`, the moment that was waited for.
        step: the last one in the log when it came.
        complete: the latest checkpoint that was there.
        cut: whether a checkpoint was being written.
        resumed: the step that the next process went on from.
    """

    kind: str
    step: int
    complete: int
    cut: bool
    resumed: int = -1


def command(workdir: Path, *options: str) -> list[str]:
    """The tiny run; later options win."""
    fields = {
        "data.source": "generated",
        "data.sample_rate": 8000,
        "data.cache_dir": workdir.parent / "corpus",
        "data.crop_s": 0.1,
        "data.batch_size": 8,
        "model.hop_length": 8,
        "model.num_bins": 9,
        "optimizer.warmup_steps": 5,
        "train.num_steps": NUM_STEPS,
        "train.log_every": 1,
        "train.save_every": SAVE_EVERY,
        "train.evaluate_every": NUM_STEPS // 2,
        "evaluation.duration_s": 0.5,
        "workdir": workdir,
    }
    script, default = (common.ROOT / "experiments" / part for part in ("train.py", "configs"))
    given = [f"--config.{name}={value}" for name, value in fields.items()]
    return [sys.executable, str(script), f"--config={default / 'default.py'}", *given, *options]


def environment(folder: Path, *, num_devices: int = 1) -> dict[str, str]:
    """Simulated devices, and compiled programs kept in the folder."""
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        # The last of equal flags counts.
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} "
        f"--xla_force_host_platform_device_count={num_devices}",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def complete_steps(workdir: Path) -> list[int]:
    """Steps of the checkpoints that have their final name."""
    folder = workdir / "checkpoints"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdigit())


def run(workdir: Path, *options: str, num_devices: int = 1, **more: Any) -> Any:
    """The command from beginning to end; its output is text."""
    return subprocess.run(
        command(workdir, *options),
        env=environment(workdir.parent, num_devices=num_devices),
        check=False,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        **more,
    )


def run_with_kills(
    workdir: Path, *options: str, num_kills: int, num_steps: int = NUM_STEPS
) -> list[Kill]:
    """One run, killed so many times on its way, and then left to end."""
    generator, kills = random.Random(common.SEED), []
    for index in range(num_kills):
        goal = round((index + generator.random()) * 0.9 * num_steps / num_kills)
        kind = KINDS[index % len(KINDS)]
        kill, resumed = _start_and_kill(workdir, kind, goal, generator, options)
        _note_resumption(kills, resumed)
        kills.append(kill)
    done = run(workdir, *options)
    done.check_returncode()
    _note_resumption(kills, _resumed_step(done.stderr))
    return kills


def _note_resumption(kills: list[Kill], resumed: int) -> None:
    """For all kills since the last process that came to the point of saying it."""
    if resumed >= 0:
        for index, kill in enumerate(kills):
            if kill.resumed < 0:
                kills[index] = kill._replace(resumed=resumed)


def _start_and_kill(
    workdir: Path, kind: str, goal: int, generator: random.Random, options: tuple[str, ...]
) -> tuple[Kill, int]:
    output = workdir.parent / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            command(workdir, *options), env=environment(workdir.parent), stdout=file, stderr=file
        )
        delay_s = generator.uniform(0, 3) if kind == "start" else generator.uniform(0, 0.02)
        deadline = time.monotonic() + _PATIENCE_S
        while process.poll() is None and not _has_come(workdir, kind, goal):
            if time.monotonic() > deadline:
                process.kill()
                raise TimeoutError(f"no {kind} at step {goal}: {output.read_text()}")
            time.sleep(0.0005)
        time.sleep(delay_s)
        if process.poll() is not None:
            raise RuntimeError(f"ended before it was killed: {output.read_text()}")
        process.kill()
        process.wait()
    complete = max(complete_steps(workdir), default=0)
    kill = Kill(kind, _last_logged(workdir), complete, _is_writing(workdir))
    return kill, _resumed_step(output.read_text())


def _has_come(workdir: Path, kind: str, goal: int) -> bool:
    if kind == "start":
        return True
    if _last_logged(workdir) < goal:
        return False
    return kind == "step" or _is_writing(workdir)


def _is_writing(workdir: Path) -> bool:
    return any((workdir / "checkpoints").glob("*tmp*"))


def _last_logged(workdir: Path) -> int:
    path = workdir / "log.jsonl"
    found = re.findall(r'"step": (\d+)', path.read_text()) if path.is_file() else []
    return int(found[-1]) if found else 0


def _resumed_step(text: str) -> int:
    """What it said; 0 if it began anew, -1 if it was killed before it said anything."""
    if "is damaged" in text:
        raise RuntimeError(f"a torn checkpoint was seen: {text}")
    found = re.search(r"resumed from step (\d+)", text)
    begun = re.search(r"^step \d+ of", text, re.MULTILINE)
    return int(found[1]) if found else 0 if begun else -1


def final_state(workdir: Path) -> dict[str, np.ndarray]:
    """Arrays of the last checkpoint: parameters, optimiser, PRNG, counters."""
    with Checkpoints(workdir, read_only=True) as checkpoints:
        return checkpoints.read_arrays(max(checkpoints.steps))[0]


def records(workdir: Path) -> list[dict[str, Any]]:
    """The log without times and speeds."""
    return [
        {name: value for name, value in record.items() if name not in _TIMES}
        for record in read_log(workdir / "log.jsonl")
    ]


def differing_arrays(one: Path, other: Path) -> list[str]:
    """Names of arrays of the last checkpoints that are not bit for bit the same."""
    first, second = final_state(one), final_state(other)
    return sorted(
        name
        for name in set(first) | set(second)
        if name not in first
        or name not in second
        or first[name].tobytes() != second[name].tobytes()
    )


def measure(folder: Path, *, num_kills: int) -> dict[str, Any]:
    """Both runs in a folder, and what the comparison says."""
    run(folder / "peace").check_returncode()
    begun = time.perf_counter()
    kills = run_with_kills(folder / "killed", num_kills=num_kills)
    elapsed_s = time.perf_counter() - begun
    return {
        "num_steps": NUM_STEPS,
        "save_every": SAVE_EVERY,
        "elapsed_s": elapsed_s,
        **compare(folder / "peace", folder / "killed", kills),
    }


def compare(peace: Path, killed: Path, kills: list[Kill]) -> dict[str, Any]:
    """What the kills did, and where the two runs differ at their end."""
    expected, found = records(peace), records(killed)
    return {
        "num_kills": len(kills),
        "num_resumed_from_latest": sum(kill.resumed == kill.complete for kill in kills),
        "num_cut_writes": sum(kill.cut for kill in kills),
        "most_steps_lost": max(kill.step - kill.resumed for kill in kills),
        "num_arrays": len(final_state(peace)),
        "differing_arrays": differing_arrays(peace, killed),
        "num_log_records": len(expected),
        "log_is_the_same": expected == found,
        "damaged_checkpoints": (killed / "damaged").exists(),
        "kills": [kill._asdict() for kill in kills],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), num_kills=args.kills)
    header = ("moment", "last step", "complete", "write cut", "resumed from")
    rows = [tuple(kill.values()) for kill in result["kills"]]
    common.print_table(f"{args.kills} kills", header, rows)
    shown = [[name, str(value)] for name, value in result.items() if name != "kills"]
    common.print_table("result", ("figure", "value"), shown)
    common.write_results("resilience", {**common.describe_run(args), **result})


if __name__ == "__main__":
    main()
