"""The loop: when what happens, and that a run that was interrupted ends as one that was not."""

from __future__ import annotations

import itertools
import logging
import types

import numpy as np
import pytest

from isincnet_jax.training import parallel
from isincnet_jax.training.checkpoints import Checkpoints
from isincnet_jax.training.logs import RunLog, read_log
from isincnet_jax.training.loop import DivergedError, LoopSpec, fit

DEVICES = 8


@pytest.fixture
def start(kit):
    setup = kit.make_setup(augmentation=kit.cheap)
    return types.SimpleNamespace(state=setup.state, step=kit.make_parallel(setup.step, DEVICES))


@pytest.fixture
def batches(kit):
    def from_step(first, *, bad=()):
        for number in itertools.count(first):
            clips = kit.batch(number)
            if number in bad:
                clips = clips * np.float32(np.nan)
            yield parallel.shard(parallel.split_batch(clips))

    return from_step


def _fit(start, batches, num_steps, *, state=None, **options):
    spec_options = {
        name: options.pop(name)
        for name in ("log_every", "evaluate_every", "save_every", "max_skipped")
        if name in options
    }
    spec = LoopSpec(num_steps, **spec_options)
    state = start.state if state is None else state
    return fit(state, start.step, batches, spec=spec, samples_per_step=512, **options)


def test_cadence(start, batches, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    seen = []

    def evaluate(state):
        seen.append(int(state.step))
        assert isinstance(state.params["synthesis"]["kernels"], np.ndarray)
        return {"snr_db": -float(state.step)}

    with RunLog(tmp_path, tensorboard=False) as log, Checkpoints(tmp_path, keep_last=9) as run:
        state = _fit(
            start,
            batches(0),
            7,
            log_every=2,
            evaluate_every=3,
            save_every=4,
            log=log,
            checkpoints=run,
            evaluate=evaluate,
            meta={"note": 1},
        )
        assert run.steps == [4, 7]
        assert run.best_step == 7  # the only one that was evaluated when it was saved
        assert run.restore(state).meta == {"note": 1}
    assert state.step == 7
    assert seen == [3, 6, 7]
    records = read_log(log.path)
    found = [(record["kind"], record["step"]) for record in records]
    assert found == [
        ("train", 2),
        ("evaluation", 3),
        ("train", 4),
        ("train", 6),
        ("evaluation", 6),
        ("train", 7),
        ("evaluation", 7),
    ]
    assert {"loss", "l1", "l2", "snr_db", "grad_norm", "skipped", "steps_per_s"} <= set(records[0])
    assert records[0]["samples_per_s"] == pytest.approx(512 * records[0]["steps_per_s"])
    assert "evaluation at step 3: snr_db -3" in caplog.messages


def test_records_are_means_since_the_last(kit, start, batches, tmp_path):
    _, history = kit.run_steps(
        kit.make_setup(augmentation=kit.cheap), DEVICES, [kit.batch(n) for n in range(5)]
    )
    with RunLog(tmp_path, tensorboard=False) as log:
        _fit(start, batches(0), 5, log_every=3, log=log)
    records = read_log(log.path)
    assert records[0]["loss"] == pytest.approx(np.mean([row["loss"] for row in history[:3]]))
    assert records[1]["loss"] == pytest.approx(np.mean([row["loss"] for row in history[3:]]))


def test_zero_means_at_the_end_only(start, batches, tmp_path):
    seen = []
    with Checkpoints(tmp_path) as run:
        _fit(
            start,
            batches(0),
            3,
            evaluate_every=0,
            save_every=0,
            checkpoints=run,
            evaluate=lambda state: seen.append(int(state.step)) or {"snr_db": 1.0},
        )
        assert run.steps == [3]
    assert seen == [3]


def test_a_resumed_run_ends_bit_by_bit_like_another(kit, start, batches, tmp_path):
    whole = _fit(start, batches(0), 6, show_progress=False)
    with Checkpoints(tmp_path) as run:
        _fit(start, batches(0), 6, checkpoints=run, should_stop=_after(3), show_progress=False)
    with Checkpoints(tmp_path) as run:
        restored = run.restore(start.state)
        assert restored.step == 3
        again = _fit(start, batches(3), 6, state=restored.state, show_progress=False)
    kit.assert_equal_trees(again, whole)
    assert int(start.state.step) == 0  # the caller's state is not donated


def _after(count):
    calls = itertools.count(1)
    return lambda: next(calls) >= count


def test_stopping_saves_and_logs(start, batches, tmp_path, caplog):
    evaluated = []
    with RunLog(tmp_path, tensorboard=False) as log, Checkpoints(tmp_path) as run:
        state = _fit(
            start,
            batches(0),
            9,
            log=log,
            checkpoints=run,
            evaluate=evaluated.append,
            should_stop=_after(2),
        )
        assert run.steps == [2]
    assert state.step == 2
    assert evaluated == []
    assert [record["step"] for record in read_log(log.path)] == [2]
    assert "stopped at step 2 of 9 as asked" in caplog.text


def test_a_run_that_has_ended_does_nothing(start, caplog):
    caplog.set_level(logging.INFO)
    state = start.state.replace(step=np.int32(5))
    assert _fit(start, iter(()), 5, state=state) is state
    assert "nothing to do: step 5 of 5" in caplog.text


def test_batches_that_end_early(start, batches):
    with pytest.raises(ValueError, match="the batches ended after step 2; give an endless source"):
        _fit(start, itertools.islice(batches(0), 2), 5)


def test_divergence_is_noticed_and_the_last_good_state_saved(kit, start, batches, tmp_path):
    good = _fit(start, batches(0), 2)
    with Checkpoints(tmp_path) as run:
        with pytest.raises(DivergedError, match="step 5: 3 steps in a row had a non-finite loss"):
            _fit(
                start,
                batches(0, bad=range(2, 99)),
                20,
                log_every=1,
                max_skipped=2,
                checkpoints=run,
            )
        assert run.steps == [5]
        restored = run.restore(start.state).state
    kit.assert_equal_trees(restored.params, good.params)
    kit.assert_equal_trees(restored.opt_state, good.opt_state)
    assert (restored.skipped, restored.skipped_in_row) == (3, 3)


def test_a_few_bad_batches_are_survived(start, batches, tmp_path):
    with RunLog(tmp_path, tensorboard=False) as log:
        state = _fit(start, batches(0, bad=(1, 2, 4, 5)), 7, log_every=1, max_skipped=2, log=log)
    assert (state.step, state.skipped, state.skipped_in_row) == (7, 4, 0)
    records = read_log(log.path)
    assert [record["skipped_in_row"] for record in records] == [0, 1, 2, 0, 1, 2, 0]
    assert [record["loss"] is None for record in records] == [False, *[True] * 2] * 2 + [False]


def test_errors_of_the_evaluation_leave_written_checkpoints(start, batches, tmp_path):
    def evaluate(state):
        raise RuntimeError("evaluation failed")

    with Checkpoints(tmp_path) as run:
        with pytest.raises(RuntimeError, match="evaluation failed"):
            _fit(
                start,
                batches(0),
                5,
                save_every=2,
                evaluate_every=3,
                checkpoints=run,
                evaluate=evaluate,
            )
        assert run.steps == [2]


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"num_steps": 0}, "num_steps=0 must be at least 1"),
        ({"num_steps": 1, "log_every": 0}, "log_every=0 must be at least 1"),
        ({"num_steps": 1, "save_every": -1}, "save_every=-1 must be at least 0"),
    ],
)
def test_errors(options, pattern):
    with pytest.raises(ValueError, match=pattern):
        LoopSpec(**options)
