"""Ablations from the command line: cells, failures, resumption; and the record of filters."""

from __future__ import annotations

import json
import re
import signal

import numpy as np
import pytest
import resilience

from isincnet_jax.training import parallel
from isincnet_jax.training.loop import LoopSpec

EXPERIMENTS = resilience.common.ROOT / "experiments"
TINY = {
    "axes.shape": "sinc,gauss",
    "axes.scale": "linear,mel_slaney",
    "axes.num_bins": "()",
    "base.sample_rate": 8000,
    "base.hop_length": 16,
    "base.kernel_size": 65,
    "base.num_bins": 17,
    "reconstruction.duration_s": 0.25,
    "speed.duration_s": 0.1,
    "speed.batch_size": 1,
    "speed.repeats": 1,
    "seeds": "0,1",
    "tasks": "genre",
    "front_ends": "()",
    **{
        f"classifiers.{task}.{name}": value
        for task in ("genre", "speaker")
        for name, value in {
            "data.chunk_s": 0.25,
            "data.batch_size": 8,
            "model.num_filters": 17,
            "model.kernel_size": 65,
            "model.hop_length": 80,
            "model.widths": "(8,16)",
            "model.max_masked_bins": 0,
            "optimizer.warmup_steps": 2,
            "train.num_steps": 12,
            "train.log_every": 4,
            "train.evaluate_every": 6,
            "train.save_every": 6,
            "evaluation.hop_s": 0.5,
        }.items()
    },
}


def _arguments(folder, options):
    fields = {**TINY, **options, "workdir": folder}
    return [f"--config.{name}={value}" for name, value in fields.items()]


def _results(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.fixture
def main(in_process, tmp_path, capsys):
    """Runs the command in this process: exit status or message, and what it printed."""

    def call(options=None, name="run"):
        arguments = _arguments(tmp_path / name, {str(k): v for k, v in (options or {}).items()})
        return in_process("ablate_filters", arguments), capsys.readouterr().out

    return call


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": "reconstruction,spead"}, r"parts: 'spead' is unknown; use reconstruction"),
        ({"parts": "()"}, r"parts is empty"),
        ({"parts": "classification", "seeds": "()"}, r"seeds=\(\): give one or more"),
        ({"parts": "classification", "tasks": "()"}, r"tasks is empty; use some of genre, speaker"),
        ({"filters": "learnt"}, r"filters='learnt' is unknown; use learned, fixed"),
        ({"front_ends": "mel,mel"}, r"front_ends=\('mel', 'mel'\): give each once"),
        ({"seeds": "1,1"}, r"seeds=\(1, 1\): give one or more, each once"),
        ({"axes.shape": "sinc,sinc"}, r"axes\.shape: 'sinc' comes twice"),
        ({"axes.window": "hann"}, r"axes\.window: no such field"),
        ({"data.path": "/nowhere"}, r"/nowhere"),
        ({"reconstruction.max_clips": 0}, r"max_clips=0: must be at least 1"),
    ],
)
def test_one_clear_message(main, tmp_path, options, message):
    code, _ = main(options)
    assert re.search(message, code), code
    assert not (tmp_path / "run" / "results.json").exists()


@pytest.mark.quick(0)
def test_a_grid_is_measured_and_goes_on_with_what_is_missing(main, tmp_path, monkeypatch):
    """One cell cannot be inverted, one raises; a later command measures another part only."""
    from isincnet_jax.tasks.ablation_work import Work

    folder = tmp_path / "run"
    measured = []
    reconstruction = Work.reconstruction

    def flaky(self, cell):
        measured.append(cell.name)
        if cell.name == "base" and broken:
            raise MemoryError("no memory\nleft")
        return reconstruction(self, cell)

    monkeypatch.setattr(Work, "reconstruction", flaky)
    broken = True
    options = {"parts": "reconstruction", "axes.shape": "()", "axes.scale": "()"}
    options["axes.num_bins"] = "17,6"
    code, printed = main(options)
    assert code == 3
    assert "base: failed: reconstruction: MemoryError: no memory left" in printed
    assert len(measured) == 2

    code, _ = main(options)  # a failure is not tried again by itself
    assert code == 3
    assert len(measured) == 2
    broken = False
    code, printed = main({**options, "retry_failed": True})
    assert code == 0
    assert measured[2:] == ["base"]
    assert "failed" not in printed

    cells = {cell["name"]: cell["measured"] for cell in _results(folder)["cells"]}
    assert list(cells) == ["base", "num_bins=6"]
    exact = cells["base"]["reconstruction"]
    assert 1 < exact["condition"] < 10
    assert exact["snr_db"]["worst"] > 120
    assert 20 < exact["quantized_snr_db"]["mean"] < 70
    assert exact["noisy_snr_db"]["mean"] > 20
    lost = cells["num_bins=6"]["reconstruction"]
    assert not lost["invertible"]
    assert "use num_bins >=" in lost["reason"]
    assert "snr_db" not in lost

    before = _results(folder)["cells"][0]["measured"]["reconstruction"]
    code, printed = main({**options, "parts": "speed"})
    assert code == 0
    assert len(measured) == 3
    after = _results(folder)
    assert after["cells"][0]["measured"]["reconstruction"] == before
    assert after["cells"][0]["measured"]["speed"]["decode_x_real_time"] > 0
    lost = after["cells"][1]["measured"]["speed"]
    assert lost["encode_x_real_time"] > 0
    assert lost["decode_x_real_time"] is None
    assert str(tmp_path) not in json.dumps(after)  # folders are named, not located
    assert after["clips"] == ["built-in clip"]

    page = (folder / "ablation.html").read_text()
    assert page.count("data:image/svg+xml") == 2
    assert str(tmp_path) not in page
    for name in ("reconstruction", "speed"):
        assert (folder / "pictures" / f"{name}.svg").read_text().startswith("<?xml")

    code, _ = main({**options, "reconstruction.q_bits": 6})
    assert "another config: reconstruction.q_bits was 8 and is 6" in code
    assert _results(folder)["cells"] == after["cells"]


def test_a_signal_ends_the_run_after_the_measurement(main, tmp_path, monkeypatch):
    from isincnet_jax.tasks.ablation_work import Stopped, Work

    handlers = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    done = []

    def measured(self, cell):
        done.append(cell.name)
        if len(done) == 2:
            handlers[signal.SIGTERM](signal.SIGTERM, None)
        return {"encode_x_real_time": 1.0}

    def stopped(self, cell, task, filters, seed):  # a classifier writes its checkpoint and stops
        handlers[signal.SIGTERM](signal.SIGTERM, None)
        raise Stopped

    monkeypatch.setattr(Work, "speed", measured)
    monkeypatch.setattr(Work, "classification", stopped)
    monkeypatch.setattr(Work, "prepare", lambda self, part, results: None)
    code, printed = main({"parts": "speed"})
    assert code == 128 + signal.SIGTERM
    assert done == ["base", "scale=mel_slaney"]
    assert "shape=gauss" in printed  # the table has all cells, measured or not
    assert (tmp_path / "run" / "ablation.html").exists()
    code, _ = main({"parts": "speed"})
    assert code == 0
    assert done[2:] == ["shape=gauss", "shape=gauss, scale=mel_slaney"]
    code, _ = main({"parts": "speed,classification"})
    assert code == 128 + signal.SIGTERM
    cells = _results(tmp_path / "run")["cells"]
    assert all(list(cell["measured"]) == ["speed"] for cell in cells)


def test_clips_come_evenly_from_the_folders(main, tmp_path, rng):
    import soundfile

    for folder, count in (("one", 3), ("two", 2)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            samples = 0.1 * rng.standard_normal(8000)
            soundfile.write(tmp_path / folder / f"{number}.wav", samples, 8000)
    options = {
        "parts": "reconstruction",
        "axes.shape": "()",
        "axes.scale": "()",
        "reconstruction.max_clips": 3,
        "reconstruction.loudness_db": -23.0,
        "data": f"{tmp_path / 'one'},{tmp_path / 'two'}",
    }
    code, _ = main(options)
    assert code == 0
    found = _results(tmp_path / "run")
    assert found["clips"] == ["one/0", "two/0", "two/1"]
    assert found["data"] == "one, two"
    assert found["cells"][0]["measured"]["reconstruction"]["snr_db"]["count"] == 3
    assert str(tmp_path) not in json.dumps(found)


def test_cells_become_classifiers():
    from isincnet_jax.tasks import classifier_parts, command
    from isincnet_jax.tasks.ablation_work import Work

    fields = command.read_config(
        [
            f"--config={EXPERIMENTS / 'configs' / 'ablation.py'}",
            "--config.data.path=('a',)",
            "--config.base.sample_rate=8000",
            "--config.axes.num_bins=128,24",
        ]
    )
    work = Work(fields, None)
    values = {"shape": "gauss", "scale": "erb", "component": "real", "num_bins": 24}
    config = work.classifier_config("genre", values, 3, folder="there")
    bank = classifier_parts.build_frontend(config)
    assert (bank.filterbank.shape, bank.filterbank.initial_scale) == ("gauss", "erb")
    assert (bank.filterbank.component, bank.is_complex) == ("real", False)
    assert bank.filterbank.num_filters == 24
    assert bank.filterbank.sample_rate == 8000
    assert (config.seed, config.workdir, config.data.path) == (3, "there", ("a",))
    assert config.data.source == "gtzan"
    assert config.optimizer.filter_learning_rate > 0
    assert fields.classifiers.genre.model.shape == "sinc"  # the base is left as it was
    fixed = work.classifier_config("genre", values, 3, filters="fixed")
    assert fixed.optimizer.filter_learning_rate == 0
    leaf = work.classifier_config("speaker", {"front_end": "leaf"}, 0)
    assert (leaf.model.kind, leaf.data.source) == ("leaf", "generated")  # no folder of speakers
    free = work.classifier_config("genre", {"front_end": "free"}, 0)
    assert (free.model.kind, free.model.shape, free.model.num_filters) == ("sincnet", "free", 40)
    fields.data.path = ()
    assert Work(fields, None).classifier_config("genre", {}, 0).data.source == "generated"


# ---- The record of filters ----------------------------------------------------------------------


def _classifier(filters=3):
    from isincnet_jax.tasks.classifier_parts import Classifier

    def bands_hz(variables):
        low = np.asarray(variables["params"]["frontend"]["low"], np.float64)
        return low, low + 10.0

    start = {"params": {"frontend": {"low": np.arange(float(filters))}}}
    return Classifier(None, start, ("frontend",), {}, bands_hz)


def _moved(step, filters=3):
    return {"params": {"frontend": {"low": np.arange(float(filters)) + step}}}


def test_filters_are_recorded_and_later_records_dropped_on_resumption(tmp_path):
    from isincnet_jax.tasks.classifier_parts import BandRecord

    path = tmp_path / "bands.npz"
    record = BandRecord(path, _classifier())
    for step in (5, 10, 15):
        record.add(step, _moved(step))
    BandRecord(path, _classifier(), resume_step=10).add(15, _moved(99))
    with np.load(path) as file:
        np.testing.assert_array_equal(file["steps"], [0, 5, 10, 15])
        np.testing.assert_array_equal(file["low_hz"][:, 0], [0, 5, 10, 99])
        np.testing.assert_array_equal(file["high_hz"], file["low_hz"] + 10)
        assert file["low_hz"].dtype == np.float64
        assert file["steps"].dtype == np.int64
    assert [one.name for one in tmp_path.iterdir()] == ["bands.npz"]


@pytest.mark.parametrize("damage", ["cut", "other filters", "no arrays"])
def test_a_damaged_record_is_begun_anew(tmp_path, caplog, damage):
    from isincnet_jax.tasks.classifier_parts import BandRecord

    path = tmp_path / "bands.npz"
    BandRecord(path, _classifier()).add(5, _moved(5))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    elif damage == "no arrays":
        np.savez(path, steps=np.arange(2))
    else:
        BandRecord(path, _classifier(filters=4)).add(5, _moved(5, filters=4))
    BandRecord(path, _classifier(), resume_step=5)
    assert "ignored and begun anew" in caplog.text
    with np.load(path) as file:
        np.testing.assert_array_equal(file["steps"], [0])
        assert file["low_hz"].shape == (1, 3)


def test_a_watched_step_records_when_the_loop_logs_or_evaluates(tmp_path):
    from types import SimpleNamespace

    from isincnet_jax.tasks.classifier_parts import BandRecord

    def step(state, batch):
        moved = _moved(batch)["params"]
        return SimpleNamespace(params=parallel.replicate(moved)), {"loss": 0.0}

    record = BandRecord(tmp_path / "bands.npz", _classifier(), resume_step=2)
    watched = record.watching(step, LoopSpec(9, log_every=4, evaluate_every=6), start=2)
    state = None
    for number in range(3, 10):
        state, metrics = watched(state, float(number))
    assert metrics == {"loss": 0.0}
    with np.load(tmp_path / "bands.npz") as file:
        np.testing.assert_array_equal(file["steps"], [0, 4, 6, 8, 9])
        np.testing.assert_array_equal(file["low_hz"][:, 0], [0, 4, 6, 8, 9])


@pytest.mark.quick(0)
def test_classifiers_of_a_bank_and_mel_filters_and_two_seeds(script, tmp_path):
    """On generated music: all runs, what they leave, and nothing done twice."""
    folder = tmp_path / "run"
    options = {
        "parts": "reconstruction,classification",
        "axes.scale": "()",
        "axes.shape": "()",
        "front_ends": "mel",
    }

    def call():
        return script("ablate_filters.py", _arguments(folder, options))

    done = call()
    assert "genre (fixed) %" in done.stdout
    assert done.stdout.count("is best with") == done.stdout.count("2 seeds, 3 tracks") == 1
    found = _results(folder)
    *banks, mel = found["cells"]
    assert [cell["name"] for cell in banks] == ["base"]
    assert list(mel["classification"]) == ["genre, fixed"]  # there is nothing to learn,
    assert "reconstruction" not in mel["measured"]  # and no bank
    assert set(found["verdicts"]) == {"genre, fixed"}  # one bank is learned, and has no other
    for cell in banks:
        fixed = cell["classification"]["genre, fixed"]
        assert fixed["filter_movement_hz"] == 0
        result = cell["classification"]["genre, learned"]
        assert len(result["accuracies"]) == 2
        assert result["tracks"] == 3
        assert result["seeds_low"] <= result["accuracy"] <= result["seeds_high"]
        assert result["tracks_low"] <= result["accuracy"] <= result["tracks_high"]
        assert result["filter_movement_hz"] > 0
        for seed in (0, 1):
            run = folder / cell["measured"][f"genre, learned, seed {seed}"]["run"]
            with np.load(run / "bands.npz") as file:
                np.testing.assert_array_equal(file["steps"], [0, 4, 6, 8, 12])
                centers = (file["low_hz"] + file["high_hz"]) / 2
            moved = json.loads((run / "result.json").read_text())["filter_movement_hz"]
            assert np.mean(np.abs(centers[-1] - centers[0])) == pytest.approx(moved, rel=1e-6)
    assert (folder / "ablation.html").read_text().count("data:image/svg+xml") == 4
    # Another part, and another choice of tasks, lose nothing of what was measured.
    options |= {"parts": "reconstruction", "tasks": "speaker"}
    again = call()
    assert "of base" not in again.stderr
    assert _results(folder)["tracks"] == found["tracks"]
    assert again.stdout == done.stdout
    assert _results(folder)["cells"] == found["cells"]
