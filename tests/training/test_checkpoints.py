"""Checkpoints: what goes in comes out, or is said to be damaged, and the one before is used."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from isincnet_jax.training import state as train_state
from isincnet_jax.training import trees
from isincnet_jax.training.checkpoints import CheckpointError, Checkpoints
from isincnet_jax.training.initial_weights import load_parameters

# tensorstore's threads report failed reads to an event loop that orbax has closed by then.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning"
)
IDENTITY = {"spec": {"num_bins": 9, "noise": (1.0, (2.0, 3.0))}, "kind": "sincnet"}
OPTIMIZER = optax.adamw(1e-3)


def _state(seed: int, width: int = 4) -> train_state.TrainState:
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return jnp.asarray(rng.standard_normal(shape), jnp.float32)

    variables = {
        "params": {"analysis": {"center": draw(5)}, "synthesis": {"kernels": draw(3, width)}},
        "filterbank": {"window": draw(6), "half": draw(2).astype(jnp.bfloat16)},
    }
    state = train_state.create_state(variables, OPTIMIZER, key=jax.random.key(seed))
    return state.replace(
        step=jnp.int32(seed), opt_state=jax.tree.map(lambda x: x + 1, state.opt_state)
    )


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with Checkpoints(folder, identity=IDENTITY) as run:
        run.save(1, _state(1), meta={"note": "one"}, metrics={"snr_db": 1.0})
        run.save(2, _state(2), meta={"note": "two"}, metrics={"snr_db": 2.0})
    return folder


@pytest.fixture
def folder(two_checkpoints, tmp_path):
    shutil.copytree(two_checkpoints, tmp_path / "run")
    return tmp_path / "run"


def _restore(folder, **options):
    with Checkpoints(folder, identity=IDENTITY) as run:
        return run.restore(_state(0), **options)


def test_round_trip_is_bit_identical(kit, two_checkpoints):
    restored = _restore(two_checkpoints)
    assert (restored.step, restored.meta) == (2, {"note": "two"})
    kit.assert_equal_trees(restored.state, _state(2))
    assert isinstance(restored.state, train_state.TrainState)
    older = _restore(two_checkpoints, step=1)
    kit.assert_equal_trees(older.state, _state(1))
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 7; have \[1, 2\]"):
        _restore(two_checkpoints, step=7)


def test_special_values_survive(tmp_path):
    state = {"a": np.array([np.nan, -0.0, np.inf, 1e-45], np.float32)}
    with Checkpoints(tmp_path) as run:
        run.save(3, state)
        found = run.restore(state).state
    assert found["a"].tobytes() == state["a"].tobytes()


def test_an_empty_folder_has_none(tmp_path):
    with Checkpoints(tmp_path / "new" / "run") as run:
        assert run.restore(_state(0)) is None
        assert (run.steps, run.best_step) == ([], None)


def test_the_last_and_the_best_are_kept(tmp_path):
    scores = {1: 5.0, 2: 9.0, 3: 1.0, 4: float("nan"), 5: None, 6: 3.0, 7: 2.0}
    with Checkpoints(tmp_path, keep_last=2, keep_best=1) as run:
        for step, score in scores.items():
            run.save(
                step, {"a": np.arange(step)}, metrics=None if score is None else {"snr_db": score}
            )
        run.save(8, {"a": np.arange(8)}, metrics={"mse": 100.0})
        run.wait()
        assert run.steps == [2, 7, 8]
        assert run.best_step == 2
        run.save(9, {"a": np.arange(9)}, metrics={"snr_db": 10.0})
        run.wait()
        assert run.steps == [8, 9]
        assert run.best_step == 9
    with Checkpoints(tmp_path, keep_last=2, keep_best=1) as run:
        assert (run.steps, run.best_step) == ([8, 9], 9)


def test_other_metrics_and_no_best(tmp_path):
    with Checkpoints(tmp_path / "a", keep_last=1, keep_best=2, best_metric="si") as run:
        for step, score in enumerate([3.0, 7.0, 5.0, 1.0]):
            run.save(step, {"a": np.zeros(2)}, metrics={"si": score, "snr_db": -score})
        run.wait()
        assert run.steps == [1, 2, 3]
    with Checkpoints(tmp_path / "b", keep_last=1, keep_best=0) as run:
        for step, score in enumerate([3.0, 1.0]):
            run.save(step, {"a": np.zeros(2)}, metrics={"snr_db": score})
        run.wait()
        assert run.steps == [1]
    with pytest.raises(ValueError, match="keep_last=0, keep_best=1: keep at least 1 and 0"):
        Checkpoints(tmp_path, keep_last=0)


def test_what_is_saved_is_what_it_was_then(tmp_path):
    """Writing goes on in the background; the arrays may change meanwhile."""
    state = {"a": np.arange(100_000, dtype=np.float32)}
    with Checkpoints(tmp_path) as run:
        run.save(1, state)
        state["a"][:] = -1
        run.save(1, state)  # exists already: nothing happens
        found = run.restore(state).state["a"]
    np.testing.assert_array_equal(found, np.arange(100_000))


def test_another_model_is_refused_by_its_first_difference(two_checkpoints):
    for identity, difference in (
        ({**IDENTITY, "kind": "other"}, "kind was 'sincnet' and is 'other'"),
        ({"spec": {"num_bins": 9}, "kind": "sincnet"}, r"spec\.noise was \[1\.0, \[2\.0, 3\.0\]\]"),
        ({**IDENTITY, "more": 1}, "more was None and is 1"),
        (
            {**IDENTITY, "spec": {"num_bins": 9, "noise": (1.0, (2.0, 4.0))}},
            r"spec\.noise\[1\]\[1\] was 3\.0 and is 4\.0",
        ),
    ):
        with (
            Checkpoints(two_checkpoints, identity=identity) as run,
            pytest.raises(CheckpointError, match=f"step 2 is of another model: {difference}"),
        ):
            run.restore(_state(0))
        assert not (two_checkpoints / "damaged").exists()


def test_other_shapes_are_refused(two_checkpoints):
    wider = (
        r"step 2 does not fit: .*kernels is float32\[3, 4\] in the checkpoint and float32\[3, 5\] "
        "in this run"
    )
    fewer = r"does not fit: missing arrays \[\], unexpected arrays \['fixed.filterbank.half'"
    half = _state(0)
    half = half.replace(fixed={"filterbank": {"window": half.fixed["filterbank"]["window"]}})
    double = _state(0).replace(skipped=np.zeros((), np.int64))
    for template, pattern in (
        (_state(0, width=5), wider),
        (half, fewer),
        (double, r"skipped is int32\[\] in the checkpoint and int64\[\]"),
    ):
        with (
            Checkpoints(two_checkpoints, identity=IDENTITY) as run,
            pytest.raises(CheckpointError, match=pattern),
        ):
            run.restore(template)


def _damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "delete":
        path.unlink()
    elif how == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        flipped = bytearray(content)
        for place in range(len(content) // 3, len(content), max(len(content) // 5, 1)):
            flipped[place] ^= 0x55
        path.write_bytes(bytes(flipped))


DAMAGES = ("flip", "truncate", "empty", "delete")


@pytest.mark.quick(2)
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_or_whole(kit, two_checkpoints, tmp_path, caplog, how):
    """Any file of it: either the state comes back bit by bit, or the one before it does."""
    checkpoint = two_checkpoints / "checkpoints" / "2"
    set_aside = []
    for number, path in enumerate(sorted(checkpoint.rglob("*"))):
        if not path.is_file():
            continue
        folder = tmp_path / str(number)
        shutil.copytree(two_checkpoints, folder)
        _damage(folder / path.relative_to(two_checkpoints), how)
        caplog.clear()
        with Checkpoints(folder, identity=IDENTITY) as run:
            restored = run.restore(_state(0))
            assert run.steps == [1, 2][: restored.step]
        kit.assert_equal_trees(restored.state, _state(restored.step))
        is_aside = (folder / "damaged" / "2").is_dir()
        assert is_aside == (restored.step == 1)
        assert bool(re.search("step 2 is damaged .*falling back", caplog.text)) == is_aside
        if is_aside:
            set_aside.append(path.relative_to(checkpoint).parts)
    # The record, the description of the arrays and their values cannot be done without.
    assert {("meta", "metadata"), ("state", "_METADATA"), ("state", "manifest.ocdbt")} <= set(
        set_aside
    )
    assert any(parts[:2] == ("state", "d") for parts in set_aside)


@pytest.mark.parametrize("place", range(0, 480, 60))
def test_flipped_bytes_of_the_arrays_are_noticed(kit, folder, place):
    (path,) = (folder / "checkpoints" / "2" / "state" / "d").iterdir()
    content = bytearray(path.read_bytes())
    content[place * len(content) // 480] ^= 1
    path.write_bytes(bytes(content))
    restored = _restore(folder)
    kit.assert_equal_trees(restored.state, _state(restored.step))


def test_arrays_that_do_not_have_their_digest(folder):
    """Intact files, but not of this checkpoint."""
    checkpoints = folder / "checkpoints"
    shutil.rmtree(checkpoints / "2" / "state")
    shutil.copytree(checkpoints / "1" / "state", checkpoints / "2" / "state")
    with Checkpoints(folder, identity=IDENTITY) as run:
        with pytest.raises(CheckpointError, match=r"step 2 is damaged .*digest that was stored"):
            run.restore(_state(0), step=2)
        assert run.restore(_state(0)).step == 1


def test_a_run_goes_on_after_damage(kit, folder):
    _damage(folder / "checkpoints" / "2" / "meta" / "metadata", "flip")
    with Checkpoints(folder, identity=IDENTITY) as run:
        assert run.restore(_state(0)).step == 1
        run.save(2, _state(20), metrics={"snr_db": 3.0})
        run.wait()
        kit.assert_equal_trees(run.restore(_state(0)).state, _state(20))
    _damage(folder / "checkpoints" / "2" / "meta" / "metadata", "flip")
    assert _restore(folder).step == 1
    assert sorted(path.name for path in (folder / "damaged").iterdir()) == ["2", "2-again"]


def test_all_damaged_is_an_error(folder):
    for step in (1, 2):
        _damage(folder / "checkpoints" / str(step) / "state" / "manifest.ocdbt", "truncate")
    with pytest.raises(CheckpointError, match=r"none of the checkpoints \[1, 2\] can be read; .*"):
        _restore(folder)
    assert sorted(path.name for path in (folder / "damaged").iterdir()) == ["1", "2"]


class TestParameters:
    def test_those_of_the_best_checkpoint(self, kit, tmp_path):
        with Checkpoints(tmp_path) as run:
            run.save(1, _state(1), metrics={"snr_db": 4.0})
            run.save(2, _state(2), metrics={"snr_db": 3.0})
            run.save(3, _state(3))
        kit.assert_equal_trees(load_parameters(tmp_path, _state(0).params), _state(1).params)

    def test_those_of_the_last_without_scores(self, kit, tmp_path):
        with Checkpoints(tmp_path) as run:
            run.save(1, _state(1))
            run.save(2, _state(2))
        kit.assert_equal_trees(load_parameters(str(tmp_path), _state(0).params), _state(2).params)

    def test_errors(self, folder, tmp_path):
        template = _state(0).params
        with pytest.raises(CheckpointError, match="no run with checkpoints is there"):
            load_parameters(tmp_path / "none", template)
        assert not (tmp_path / "none").exists()
        (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
        with pytest.raises(CheckpointError, match="has no complete checkpoint yet"):
            load_parameters(tmp_path / "empty", template)
        with pytest.raises(CheckpointError, match=r"run: the parameters do not fit: synthesis\."):
            load_parameters(folder, _state(0, width=5).params)

    @pytest.mark.parametrize("how", DAMAGES)
    @pytest.mark.parametrize("name", ["meta/metadata", "state/manifest.ocdbt"])
    def test_damage(self, folder, how, name):
        _damage(folder / "checkpoints" / "2" / name, how)
        with pytest.raises(CheckpointError, match="step 2 is damaged"):
            load_parameters(folder, _state(0).params)
        assert not (folder / "damaged").exists()  # another run's folder is left alone


FULL_DISK = """
import resource, sys
import numpy as np
from isincnet_jax.training.checkpoints import CheckpointError, Checkpoints

rng = np.random.default_rng(0)
with Checkpoints(sys.argv[1]) as run:
    run.save(1, {"a": np.arange(10.0)})
    run.wait()
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, resource.RLIM_INFINITY))
run = Checkpoints(sys.argv[1])
try:
    run.save(2, {"a": rng.standard_normal(100_000)})
    run.wait()
except CheckpointError as error:
    print(error)
    sys.stdout.flush()
    import os
    os._exit(3)
"""


def test_a_full_disk_leaves_earlier_checkpoints(tmp_path):
    """No file may grow beyond 16 KiB: what a full disk looks like."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert re.fullmatch(
        r"[^\n]+ could not be written \(disk full\?\): [^\n]+; complete checkpoints are as they "
        r"were\n",
        done.stdout,
    ), done.stdout
    with Checkpoints(tmp_path) as run:
        assert run.steps == [1]
        restored = run.restore({"a": np.zeros(10)})
        np.testing.assert_array_equal(restored.state["a"], np.arange(10))
        run.save(2, {"a": np.ones(10)})
        run.wait()
        assert run.steps == [1, 2]


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "run").write_text("not a folder")
    with pytest.raises(CheckpointError, match="checkpoints: cannot be opened: "):
        Checkpoints(tmp_path / "run")


def test_flat_trees_and_back(kit):
    state = _state(3)
    arrays = trees.flatten(state)
    assert "params.synthesis.kernels" in arrays
    kit.assert_equal_trees(trees.unflatten(state, arrays), state)
    first = trees.digest(arrays)
    assert trees.digest(dict(reversed(arrays.items()))) == first
    for changed in (
        {**arrays, "step": arrays["step"] + 1},
        {**arrays, "step": arrays["step"].astype(np.int64)},
        {**arrays, "step": arrays["step"].reshape(1, 1)},
        {("steps" if name == "step" else name): array for name, array in arrays.items()},
    ):
        assert trees.digest(changed) != first


@pytest.mark.parametrize(
    ("stored", "wanted", "difference"),
    [
        ({"a": {"b": [1, 2]}}, {"a": {"b": (1, 2)}}, ""),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b was 1 and is 2"),
        ({"a": [[1], 2]}, {"a": ((1,), 3)}, "a[1] was 2 and is 3"),
        ({"a": [1]}, {"a": (1, 2)}, "a was [1] and is [1, 2]"),
        ({"a": {"b": 1}}, {"a": 1}, "a was {'b': 1} and is 1"),
        ({}, {}, ""),
    ],
)
def test_differences(stored, wanted, difference):
    assert trees.first_difference(stored, wanted) == difference
    assert bool(trees.first_difference(wanted, stored)) == bool(difference)
