"""The runner: scores, times, failures, and going on where it stopped."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from isincnet_jax.benchmark import metrics, runner
from isincnet_jax.benchmark.methods import Coded, Method, marginal_bits, safe_name, sound_path
from isincnet_jax.dsp import distances

RATE, LENGTH = 8_000, 4_096
NAMES = ("a/one", "a/two", "b/three", "b/four", "silence")
METRICS = ("snr_db", "mae", "correlation")


@pytest.fixture
def clips(rng):
    found = (0.1 * rng.standard_normal((len(NAMES), LENGTH))).astype(np.float32)
    found[-1] = 0.0
    return found


class Recorder:
    """A method that halves, and remembers what it was given."""

    def __init__(self):
        self.shapes = []

    def __call__(self, waveform):
        self.shapes.append(waveform.shape)
        return waveform * np.float32(0.5)


@pytest.fixture
def run(clips, tmp_path):
    def call(*methods, **options):
        options = {"names": NAMES, "metrics": METRICS, "batch_size": 2, **options}
        return runner.run_benchmark(methods, clips, sample_rate=RATE, folder=tmp_path, **options)

    return call


def test_scores_are_those_of_each_clip(run, clips):
    row = run(Method("half", "test", Recorder(), "one line", parameters=3))[0]
    assert row["failed"] == {}
    assert set(row["clips"]) == set(NAMES)
    for name, clip in zip(NAMES[:-1], clips, strict=False):
        wanted = distances.error_sums(prediction=clip * np.float32(0.5), target=clip)
        assert row["clips"][name]["snr_db"] == pytest.approx(wanted.snr_db, abs=1e-4)
        assert row["clips"][name]["mae"] == pytest.approx(wanted.mae, rel=1e-5)
    score = row["scores"]["snr_db"]
    assert score["mean"] == pytest.approx(20 * np.log10(2), abs=1e-4)
    assert (score["count"], score["undefined"]) == (4, 1)
    assert row["clips"]["silence"] == {"snr_db": None, "mae": 0.0, "correlation": None}
    assert (row["description"], row["parameters"]) == ("one line", 3)
    assert row["x_real_time"] > 0


def test_compiled_methods_see_one_shape_others_their_clips(run):
    compiled, free = Recorder(), Recorder()
    run(Method("a", "test", compiled), Method("b", "test", free, compiled=False))
    assert compiled.shapes == [(2, LENGTH)] * 4  # the first of them is not timed
    assert free.shapes == [(1, LENGTH), (2, LENGTH), (2, LENGTH), (1, LENGTH)]


def test_a_failure_on_one_clip_leaves_the_others(run, clips):
    def picky(waveform):
        if np.any(np.all(waveform == clips[2], axis=-1)):
            raise RuntimeError("<object at 0x7f6e00466ed0>: not\nthis one")
        return waveform

    row, other = run(Method("picky", "test", picky), Method("half", "test", Recorder()))
    assert row["failed"] == {"b/three": "RuntimeError: <object>: not this one"}
    assert set(row["clips"]) == set(NAMES) - {"b/three"}
    assert row["scores"]["snr_db"]["exact"] == 3
    assert row["scores"]["snr_db"]["mean"] == "exact"
    assert other["failed"] == {}


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda waveform: waveform[:, :-1], "its output has the shape"),
        (lambda waveform: waveform * np.float32(np.nan), "NaN or infinite"),
        (lambda waveform: 1 // 0, "ZeroDivisionError"),
        (lambda waveform: None, "its output has the shape"),
    ],
)
def test_useless_outputs_are_failures(run, function, reason):
    row = run(Method("broken", "test", function))[0]
    assert set(row["failed"]) == set(NAMES)
    assert all(reason in text for text in row["failed"].values())
    assert row["scores"]["mae"]["mean"] is None
    assert row["x_real_time"] is None or "NaN" in reason


def test_sizes_are_measured_per_clip(run):
    def coded(waveform):
        return Coded(waveform, [1000 + np.sum(clip != 0) for clip in waveform])

    row = run(Method("coded", "test", coded, kbit_per_s=1.0))[0]
    seconds = LENGTH / RATE
    wanted = (1000 + LENGTH * 4 / 5) / seconds / 1e3
    assert row["kbit_per_s"] == pytest.approx(wanted, rel=1e-3)


HEADER, PER_SAMPLE = 4_096, 0.75


def synthetic_bits(clip):
    """A codec with a header of 4,096 bits and three quarters of a bit a sample."""
    return HEADER + PER_SAMPLE * len(clip)


def test_the_marginal_rate_of_a_codec_with_a_known_header(run):
    def coded(waveform):
        return Coded(waveform, [synthetic_bits(clip) for clip in waveform])

    row, plain = run(
        Method("coded", "test", coded, file_bits=synthetic_bits), Method("none", "test", coded)
    )
    assert row["marginal_kbit_per_s"] == pytest.approx(PER_SAMPLE * RATE / 1e3, rel=1e-5)
    fixed = (row["kbit_per_s"] - row["marginal_kbit_per_s"]) * 1e3 * LENGTH / RATE
    assert fixed == pytest.approx(HEADER, rel=1e-3)
    assert plain["marginal_kbit_per_s"] is None
    assert plain["kbit_per_s"] == row["kbit_per_s"]


def test_marginal_bits_are_what_the_clip_adds_to_itself(rng):
    clip = rng.standard_normal(1000)
    seen = []

    def bits(samples):
        seen.append(samples)
        return synthetic_bits(samples)

    assert marginal_bits(bits, clip, synthetic_bits(clip)) == 750.0
    np.testing.assert_array_equal(seen[0], np.tile(clip, 2))


def test_a_codec_that_refuses_a_longer_file_is_a_failure(run):
    def coded(waveform):
        return Coded(waveform, [1.0 for _ in waveform])

    def refuse(clip):
        raise ValueError(f"{len(clip)} samples are too many")

    row = run(Method("short", "test", coded, file_bits=refuse))[0]
    assert set(row["failed"].values()) == {
        f"could not be scored: ValueError: {2 * LENGTH} samples are too many"
    }


def test_a_second_run_computes_only_what_is_new(run):
    first, second = Recorder(), Recorder()
    rows = run(Method("a", "test", first))
    calls = len(first.shapes)
    again = run(Method("a", "test", first), Method("b", "test", second))
    assert len(first.shapes) == calls
    assert again[0] == rows[0]
    assert second.shapes


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ({"settings": {"bits": 4}}, {}),
        ({"description": "other"}, {}),
        ({}, {"version": "2"}),
        ({}, {"metrics": ("mae",)}),
        ({}, {"seed": 1}),
        ({}, {"names": ("x", *NAMES[1:])}),
    ],
)
def test_whatever_changes_is_computed_anew(run, method, options):
    recorder = Recorder()
    run(Method("a", "test", recorder))
    calls = len(recorder.shapes)
    run(Method("a", "test", recorder, **method), **options)
    assert len(recorder.shapes) == 2 * calls


def test_other_clips_are_computed_anew(run, clips):
    recorder = Recorder()
    run(Method("a", "test", recorder))
    calls = len(recorder.shapes)
    clips[0, 0] += 0.1
    run(Method("a", "test", recorder))
    assert len(recorder.shapes) == 2 * calls


def test_damaged_and_hopeless_results_are_computed_anew(run, tmp_path):
    recorder = Recorder()
    run(Method("a", "test", recorder))
    calls = len(recorder.shapes)
    (file,) = (tmp_path / "partial").iterdir()
    for content in ("", '{"row": ', '{"row": 3}', json.dumps({"row": {"audio": {}}})):
        file.write_text(content)
        recorder.shapes.clear()
        run(Method("a", "test", recorder))
        assert len(recorder.shapes) == calls
    content = json.loads(file.read_text())
    content["row"]["failed"] = dict.fromkeys(NAMES, "no memory")
    file.write_text(json.dumps(content))
    run(Method("a", "test", recorder))
    assert len(recorder.shapes) == 2 * calls


def test_an_interrupted_run_keeps_what_was_finished(run):
    recorder = Recorder()

    def interrupted(waveform):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Method("a", "test", recorder), Method("b", "test", interrupted))
    calls = len(recorder.shapes)
    run(Method("a", "test", recorder), Method("b", "test", recorder))
    assert len(recorder.shapes) == 2 * calls


def test_sounds_are_written_and_brought_back(run, clips, tmp_path):
    recorder = Recorder()
    row = run(Method("loud: x", "test", recorder), audio_clips=["a/two"])[0]
    assert row["audio"] == {"a/two": sound_path("a/two", "loud: x")}
    path = tmp_path / row["audio"]["a/two"]
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(samples, 0.5 * clips[1], atol=2**-15)
    calls = len(recorder.shapes)
    path.unlink()
    run(Method("loud: x", "test", recorder), audio_clips=["a/two"])
    assert path.is_file()
    assert len(recorder.shapes) == 2 * calls


def test_names_become_safe_and_stay_different():
    assert safe_name("16khz-linear") == "16khz-linear"
    names = ["a/b", "a_b", "a:b", "..", "../x", "é", "", "con?"]
    safe = [safe_name(name) for name in names]
    assert len(set(safe)) == len(safe)
    for name in safe:
        assert name
        assert not set(name) & set('/\\:*?"<>| ')
        assert not name.startswith(".")


def test_impossible_runs_are_refused(run, clips, tmp_path):
    method = Method("a", "test", Recorder())
    with pytest.raises(ValueError, match="two methods are called 'a'"):
        run(method, method)
    with pytest.raises(ValueError, match="4 names of 5 clips"):
        run(method, names=NAMES[1:])
    with pytest.raises(ValueError, match="each needs one of its own"):
        run(method, names=("silence", *NAMES[1:]))
    with pytest.raises(ValueError, match="no clip is called 'z'"):
        run(method, audio_clips=["z"])
    with pytest.raises(ValueError, match="batch_size=0"):
        run(method, batch_size=0)
    with pytest.raises(ValueError, match="metric 'snr' is unknown"):
        run(method, metrics=("snr",))
    options = {"sample_rate": RATE, "folder": tmp_path, "names": ()}
    with pytest.raises(ValueError, match=r"clips.shape=\(0, 4096\)"):
        runner.run_benchmark([method], clips[:0], **options)
    clips[0, 0] = np.inf
    with pytest.raises(ValueError, match="NaN or infinite"):
        run(method)


def test_core_metrics_are_the_default(clips, tmp_path):
    row = runner.run_benchmark(
        [Method("a", "test", Recorder())],
        clips[:1],
        names=NAMES[:1],
        sample_rate=RATE,
        folder=tmp_path,
        show_progress=True,
    )[0]
    assert tuple(row["scores"]) == metrics.CORE
