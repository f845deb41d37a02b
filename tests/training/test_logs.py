"""Logs of a run: JSON lines that survive a crash, and TensorBoard files that can be read."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import numpy as np
import pytest

from isincnet_jax.training.logs import Progress, RunLog, read_log


def _without_time(records):
    assert all(record.pop("time_s") > 1e9 for record in records)
    return records


def test_records(tmp_path):
    with RunLog(tmp_path / "run", tensorboard=False) as log:
        log.scalars("train", 1, {"loss": 0.5, "speed": np.float32(2.5)})
        first = read_log(tmp_path / "run" / "log.jsonl")  # at once, not when the run ends
        log.scalars("evaluation", 1, {"snr_db": float("inf"), "a": float("nan"), "b": -0.0})
    assert _without_time(first) == [{"kind": "train", "step": 1, "loss": 0.5, "speed": 2.5}]
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert "NaN" not in lines[1]
    record = json.loads(lines[1], parse_constant=pytest.fail)
    assert (record["snr_db"], record["a"], record["b"]) == (None, None, 0.0)
    assert _without_time(read_log(log.path))[1]["kind"] == "evaluation"


def test_a_torn_last_line_is_left_out(tmp_path):
    with RunLog(tmp_path, tensorboard=False) as log:
        for step in (1, 2):
            log.scalars("train", step, {"loss": 1.0})
    content = log.path.read_bytes()
    begin = content.index(b"\n") + 1
    for end in range(begin, len(content) - 1):
        log.path.write_bytes(content[:end])
        assert [record["step"] for record in read_log(log.path)] == [1], end
    log.path.write_bytes(content[: len(content) - 9])
    with RunLog(tmp_path, resume_step=5, tensorboard=False) as log:
        log.scalars("train", 6, {"loss": 1.0})
    assert [record["step"] for record in read_log(log.path)] == [1, 6]
    log.path.write_bytes(content[5:])
    with pytest.raises(ValueError, match=r"log\.jsonl: line 1 is damaged: "):
        read_log(log.path)
    with pytest.raises(FileNotFoundError):
        read_log(tmp_path / "none")


@pytest.mark.parametrize("resume_step", [0, 2, 3, 9])
def test_a_resumed_run_writes_later_records_again(tmp_path, resume_step):
    with RunLog(tmp_path, tensorboard=False) as log:
        for step in (1, 2, 4):
            log.scalars("train", step, {"loss": float(step)})
    with RunLog(tmp_path, resume_step=resume_step, tensorboard=False):
        kept = [record["step"] for record in read_log(log.path)]
    assert kept == [step for step in (1, 2, 4) if step <= resume_step]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl"]


def _events(folder):
    """Tags and steps of the records of all event files, by the framing of TFRecord."""
    import struct

    from tensorboardX.proto import event_pb2

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content, place = path.read_bytes(), 0
        while place < len(content):
            (size,) = struct.unpack("<Q", content[place : place + 8])
            event = event_pb2.Event.FromString(content[place + 12 : place + 12 + size])
            found += [(value.tag, event.step, value) for value in event.summary.value]
            place += 12 + size + 4
    return found


def test_tensorboard_files_are_readable(tmp_path):
    with RunLog(tmp_path) as log:
        log.scalars("train", 3, {"loss": 0.25})
        log.picture("bank", 4, np.full((6, 5, 3), 200, np.uint8))
        log.audio("clip", 5, 2 * np.sin(np.arange(100.0)), sample_rate=8000)
    events = {tag: (step, value) for tag, step, value in _events(tmp_path / "tensorboard")}
    assert set(events) == {"train/loss", "bank", "clip"}
    step, value = events["train/loss"]
    assert (step, value.simple_value) == (3, 0.25)
    step, value = events["bank"]
    assert (step, value.image.height, value.image.width) == (4, 6, 5)
    assert value.image.encoded_image_string.startswith(b"\x89PNG")
    step, value = events["clip"]
    assert (step, value.audio.sample_rate, value.audio.length_frames) == (5, 8000, 100)


def test_without_tensorboard_it_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with RunLog(tmp_path) as log:
        log.scalars("train", 1, {"loss": 1.0})
        log.picture("bank", 1, np.zeros((2, 2, 3), np.uint8))
        log.audio("clip", 1, np.zeros(5), sample_rate=8000)
    assert "pip install 'isincnet-jax[runs]'; logging to log.jsonl only" in caplog.text
    assert len(read_log(log.path)) == 1
    assert not (tmp_path / "tensorboard").exists()


VALUES = {"loss": 0.123456789, "snr_db": 3.14159, "samples_per_s": 12345678.0}


def test_progress_without_a_terminal_is_a_line(caplog):
    caplog.set_level(logging.INFO)
    progress = Progress(10)
    progress.update(3, VALUES)
    progress.update(4, {"loss": 1.0, "snr_db": 2.0})
    progress.close()
    assert caplog.messages == [
        "step 3 of 10: loss 0.12346, SNR 3.14 dB, 1.23e+07 samples/s",
        "step 4 of 10: loss 1, SNR 2.00 dB",
    ]
    Progress(10, enabled=False).update(3, VALUES)
    assert len(caplog.messages) == 2


def test_progress_on_a_terminal_is_a_bar(monkeypatch, capsys, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    progress = Progress(10, start=2)
    progress.update(3, VALUES)
    progress.close()
    assert "3/10" in capsys.readouterr().err
    assert caplog.messages == []


def test_pytorch_is_not_imported_for_tensorboard(tmp_path):
    code = (
        "import sys; from isincnet_jax.training.logs import RunLog\n"
        f"with RunLog({str(tmp_path)!r}) as log: log.scalars('train', 1, {{'loss': 1.0}})\n"
        "assert 'tensorboardX' in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
