"""A corpus on a Dask cluster of this machine that loses a worker: same bytes, failures told."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from isincnet_jax.recordings.beam import FAILURES
from isincnet_jax.recordings.output_folder import CONFIGURATION

pytest.importorskip("dask")
pytest.importorskip("distributed")

SCRIPT = Path(__file__).parents[2] / "experiments" / "encode_corpus.py"
RUNNER = "--runner=apache_beam.runners.dask.dask_runner.DaskRunner"
NUM_FILES = 16


@contextlib.contextmanager
def _cluster(folder: Path):
    """A scheduler and two workers, processes of one thread each, on the loopback interface."""
    address = folder / "scheduler.json"
    common = ["--no-dashboard", "--host=127.0.0.1", f"--scheduler-file={address}"]
    own = ["--no-nanny", "--nthreads=1", f"--local-directory={folder}"]
    processes = []

    def start(name: str, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.dask_{name}", *common, *options]
        with (folder / f"{len(processes)}.log").open("w") as log:
            processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        return processes[-1]

    try:
        start("scheduler", "--port=0")
        while not address.exists():
            assert processes[0].poll() is None, (folder / "0.log").read_text()
            time.sleep(0.05)
        yield address, [start("worker", *own) for _ in range(2)]
    finally:
        for process in reversed(processes):  # the scheduler last
            process.terminate()
        for process in processes:
            process.wait()


def _encode(source: Path, out: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, SCRIPT, source, out, "--q-bits=8", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_gives_the_bytes_of_one_process(tmp_path):
    source, local, there = (tmp_path / name for name in ("in", "local", "there"))
    rng = np.random.default_rng(5)
    for number in range(NUM_FILES):
        path = source / str(number % 3) / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.2 * rng.standard_normal(32_000), 16_000)
    (source / "bad.wav").write_bytes(b"no audio at all" * 9)
    alone = _encode(source, local)
    said = alone.communicate()
    assert alone.returncode == 1, said
    with _cluster(tmp_path) as (address, workers):
        options = (RUNNER, f"--dask_scheduler_file={address}")
        run = _encode(source, there, *options, "--dask_partition_size=1")
        while not (made := len(list(there.glob("*/*.npz")))) and run.poll() is None:
            time.sleep(0.005)
        workers[0].kill()
        output, errors = run.communicate()
    assert 0 < made < NUM_FILES, errors
    assert workers[0].returncode == -9
    assert run.returncode == 1, errors
    assert "1 failed" in output
    found = _content(there)
    assert found == _content(local)  # nothing half-written, nothing left over
    assert len(found) == NUM_FILES + len((CONFIGURATION, FAILURES))
    assert json.loads(found[f"{FAILURES}.jsonl"])["source"] == "bad.wav"


def test_without_dask_the_extra_is_named():
    code = (
        "import sys\nsys.modules['distributed'] = None\n"
        f"sys.path.insert(0, {str(SCRIPT.parent)!r})\nimport encode_corpus\n"
        f"try:\n    encode_corpus.unknown_to_beam([{RUNNER!r}])\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'isincnet-jax[dask]'" in done.stdout
