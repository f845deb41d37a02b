"""Training from the command line: killed, stopped, resumed, on several devices and hosts."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time

import jax.numpy as jnp
import numpy as np
import pytest
import resilience

import isincnet_jax as isn
from isincnet_jax.benchmark.clips import evaluate_clips
from isincnet_jax.data import corpora, pipeline

SHORT = ("--config.train.num_steps=40", "--config.train.save_every=10")


def _losses(folder):
    found = [record for record in resilience.records(folder) if record["kind"] == "train"]
    assert [record["step"] for record in found] == list(range(1, len(found) + 1))
    return np.array([record["loss"] for record in found])


def _assert_resumed(result, *, num_kills, save_every):
    assert result["num_kills"] == num_kills
    assert result["num_resumed_from_latest"] == num_kills
    assert result["most_steps_lost"] <= 2 * save_every
    assert result["differing_arrays"] == []
    assert result["num_arrays"] > 5
    assert result["log_is_the_same"]
    assert not result["damaged_checkpoints"]


@pytest.mark.quick(0)
def test_kills_at_every_moment_lose_nothing(tmp_path):
    """Every kind, in their order; ``benchmarks/resilience.py`` does twenty."""
    count = len(resilience.KINDS)
    result = resilience.measure(tmp_path, num_kills=count)
    _assert_resumed(result, num_kills=count, save_every=result["save_every"])
    assert result["num_cut_writes"] >= 1


@pytest.mark.quick(0)
def test_a_first_start_prints_no_noise(finished):
    lines = finished[1].splitlines()
    assert lines[0].startswith("evaluating on 3 clips, ")
    assert [line.partition(":")[0] for line in lines[1:41]] == [
        f"step {step} of 40" for step in range(1, 41)
    ]
    assert lines[41].startswith("evaluation at step 40: mse ")
    assert lines[42].startswith("exported: ")
    assert len(lines) == 43


def test_help_is_one_screen(help_of):
    text = help_of("train")
    assert "--config=experiments/configs/gtzan.py" in text
    assert "143" in text
    assert len(text.splitlines()) < 25


def test_a_finished_run_is_left_as_it_is(main, finished):
    records = resilience.records(finished[0])
    assert main(name="finished")[0] == 0
    assert resilience.records(finished[0]) == records
    assert resilience.complete_steps(finished[0]) == [30, 40]


def test_the_export_reconstructs_as_evaluated(finished):
    codec = isn.from_pretrained(finished[0] / "export")
    corpus = corpora.build_corpora("generated", sample_rate=8000)["validation"]
    _, clips = pipeline.validation_clips(corpus, duration_s=0.5, max_clips=100)
    scores = evaluate_clips(
        lambda batch: codec.decode(codec.encode(jnp.asarray(batch)), length=batch.shape[-1]), clips
    )
    logged = resilience.records(finished[0])[-1]
    assert logged["kind"] == "evaluation"
    assert logged["snr_db"] == pytest.approx(scores["snr_db"], abs=1e-3)
    assert logged["mse"] == pytest.approx(scores["mse"], rel=1e-4)


@pytest.mark.parametrize("source", ["", "export"])
def test_a_run_starts_from_the_weights_of_another(base, finished, source):
    from isincnet_jax.pretrained.trained import starting_parameters
    from isincnet_jax.tasks import command, compose, reconstruction, reconstruction_models
    from isincnet_jax.training import trees

    config = command.read_config(
        [
            *resilience.command(base / "bad", *SHORT)[2:],
            f"--config.init_from={finished[0] / source}",
        ]
    )
    model = reconstruction_models.build_model(config)
    state = reconstruction.first_state(config, model, compose.build_optimizer(config))
    params = starting_parameters(config.init_from, state.params)
    stored = resilience.final_state(finished[0])
    for name, array in trees.flatten(params).items():
        np.testing.assert_array_equal(array, stored[f"params.{name}"])


@pytest.mark.quick(0)
def test_eight_devices_give_the_same_losses(start, base, finished):
    start("eight", num_devices=8)
    np.testing.assert_allclose(_losses(base / "eight"), _losses(finished[0]), atol=1e-5)


@pytest.mark.quick(0)
def test_eight_devices_draw_the_same_from_a_resident_corpus(start, base):
    for num_devices in (1, 8):
        start(f"resident{num_devices}", "--config.data.loader=device", num_devices=num_devices)
    np.testing.assert_allclose(_losses(base / "resident8"), _losses(base / "resident1"), atol=1e-5)


@pytest.mark.quick(0)
def test_sigterm_saves_and_the_run_goes_on(base, start):
    options = (*SHORT, "--config.train.num_steps=5000", "--config.train.save_every=1000")
    folder = base / "stopped"
    process = subprocess.Popen(
        resilience.command(folder, *options),
        env=resilience.environment(base),
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_for(process, lambda: resilience._last_logged(folder) > 3)
    process.terminate()
    text = process.communicate(timeout=240)[1]
    assert process.returncode == 128 + signal.SIGTERM, text
    assert "Traceback" not in text
    assert "as asked" in text
    (step,) = resilience.complete_steps(folder)
    assert step == resilience.records(folder)[-1]["step"]
    assert not (folder / "export").exists()
    text = start("stopped", f"--config.train.num_steps={step + 3}")
    assert f"resumed from step {step} " in text
    assert len(_losses(folder)) == step + 3


def _wait_for(process, condition):
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _start_hosts(base, name, *options):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return [
        subprocess.Popen(
            resilience.command(
                base / name,
                *SHORT,
                f"--config.hosts.coordinator=localhost:{port}",
                "--config.hosts.count=2",
                f"--config.hosts.index={index}",
                *options,
            ),
            env=resilience.environment(base, num_devices=2),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in (0, 1)
    ]


def _end_hosts(hosts, status=0):
    output = []
    for process in hosts:
        err = process.communicate(timeout=240)[1]
        assert process.returncode == status, err
        assert "Traceback" not in err, err
        output.append(err)
    return output


@pytest.mark.quick(0)
def test_two_hosts_give_the_same_losses_also_after_a_stop(base, finished):
    hosts = _start_hosts(base, "hosts", "--config.train.num_steps=100000")
    _wait_for(hosts[0], lambda: resilience._last_logged(base / "hosts") > 12)
    hosts[1].terminate()  # all stop when one is asked
    _end_hosts(hosts, status=128 + signal.SIGTERM)
    stopped = resilience.complete_steps(base / "hosts")[-1]
    assert stopped == resilience.records(base / "hosts")[-1]["step"]

    _end_hosts(_start_hosts(base, "whole"))
    np.testing.assert_allclose(_losses(base / "whole"), _losses(finished[0]), atol=1e-5)

    shutil.rmtree(base / "whole" / "checkpoints" / "40")  # as if killed after step 30
    shutil.rmtree(base / "whole" / "export")
    first, second = _end_hosts(_start_hosts(base, "whole"))
    assert "resumed from step 30" in first
    assert "exported" in first
    assert second == ""
    np.testing.assert_allclose(_losses(base / "whole"), _losses(finished[0]), atol=1e-5)
    assert resilience.complete_steps(base / "whole") == [30, 40]
