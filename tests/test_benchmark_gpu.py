"""The accelerator's benchmark on a processor: it measures everything, in its time."""

from __future__ import annotations

import gpu
import operations
import pytest


class TestClock:
    @pytest.fixture
    def clock(self):
        """Of 60 s; ``clock.held[0]`` is the time now."""
        held = [0.0]
        clock = gpu.Clock(60.0, now=lambda: held[0])
        clock.held = held
        return clock

    def test_what_does_not_fit_is_named(self, clock, capsys):
        missing = []

        def work():
            clock.held[0] += 25.0
            return "found"

        assert clock.run(work, "one", missing) == "found"
        assert clock.run(work, "two", missing) == "found"
        assert clock.run(work, "three", missing) is None  # 10 s left, and one takes 25
        assert clock.left() == 10.0
        assert missing == ["three: no time, 10 s left"]
        assert "MISSING three" in capsys.readouterr().out

    def test_the_first_case_is_taken_to_be_long(self, clock):
        clock.held[0] = 30.0
        assert not clock.fits()

    def test_failures_are_named_and_their_time_counts(self, clock):
        def work():
            clock.held[0] += 45.0
            raise ImportError("no peer")

        missing = []
        assert clock.run(work, "one", missing) is None
        assert missing == ["one: ImportError: no peer"]
        assert not clock.fits()


def test_options():
    args = gpu.parse_arguments(["--quick", "--pairs", "3"])
    assert (args.grid, args.pairs, args.minutes) == ("2x1", 3, gpu.QUICK["minutes"])
    assert gpu.parse_arguments([]).minutes == 8.0
    assert gpu.file_name("1 x NVIDIA H200") == "gpu_1_x_nvidia_h200"


@pytest.mark.slow
def test_a_quick_run_measures_everything():
    # a clip for each of the tests' devices: the training step uses all of them
    found = gpu.measure(gpu.parse_arguments(["--quick", "--grid", "8x1"]))
    rows = found["rows"]
    assert {row["operation"] for row in rows} == set(operations.OPERATIONS)
    assert all(0 < row["fraction"] < 2 for row in rows)
    assert all(row["ours_ms"] > 0 for row in rows)
    assert [row["precision"] for row in found["precisions"]] == ["highest", "high", "default"]
    assert all(row["snr_db"] > 120 for row in found["precisions"])
    assert set(found["machine"]["products_by_precision_gflops"]) == {"highest", "high", "default"}
    # peers that are not installed, and nothing of ours
    assert not any("ours" in line or "no time" in line for line in found["missing"])


def test_without_time_everything_is_named(monkeypatch):
    quick = gpu.parse_arguments(["--quick", "--minutes", "0"])
    monkeypatch.setattr(
        gpu.roofline, "measure", lambda **_: gpu.roofline.Machine({"a": 1.0}, {1: {"a": 1.0}})
    )
    monkeypatch.setattr(gpu.roofline, "product_gflops", lambda *_, **__: 1.0)
    found = gpu.measure(quick)
    assert (found["rows"], found["precisions"]) == ([], [])
    named = " ".join(found["missing"])
    assert all(name in named for name in operations.OPERATIONS)


def test_cases_that_cannot_be_made_are_named(monkeypatch):
    def broken(shape, names, presets):
        raise RuntimeError("no such preset")
        yield

    monkeypatch.setattr(operations, "make_cases", broken)
    missing = []
    args = gpu.parse_arguments(["--quick", "--grid", "1x1,2x1"])
    assert gpu.operation_rows(args, gpu.Clock(60.0), missing) == []
    assert [line.split(": ")[1:] for line in missing] == 2 * [["RuntimeError", "no such preset"]]
