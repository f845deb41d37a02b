"""What the benchmarks count, beside counts by hand; the roofline, merged results, peers."""

from __future__ import annotations

import json

import common
import measured_tables
import numpy as np
import operations
import pytest
import roofline
import work
from operations import Shape
from program import Program
from roofline import Ceiling, Machine, Work

import isincnet_jax as isn
from isincnet_jax.constant_q.layers import CQT1992v2
from isincnet_jax.spectrograms.mel import MelSpectrogram

DIRECT = isn.FilterbankSpec(
    sample_rate=8000, hop_length=4, num_bins=5, kernel_size=8, component="real", scale="mel"
)
FREE = isn.DecoderSpec("free", num_frames=3, first_frame=-1)


def test_encoding_by_the_direct_sum_counted_by_hand():
    # Frames that touch 20 samples; every one of 5 channels has 8 products.
    frames = isn.build_codec(isn.SincNet(DIRECT, FREE)).num_frames(20)
    assert 20 / 4 <= frames <= 20 / 4 + 2
    counted = work.encode(DIRECT, batch=3, length=20)
    assert counted.flops == 2 * 3 * frames * 5 * 8
    assert counted.bytes == 4 * 3 * (20 + frames * 5)


def test_decoding_round_trip_and_tokens_add_up():
    frames = work.num_frames(DIRECT, 20)
    shape = {"batch": 2, "length": 20}
    encoded = work.encode(DIRECT, **shape)
    decoded = work.decode(DIRECT, FREE, **shape)
    assert decoded.flops == 2 * 2 * frames * 5 * (3 * 4)  # three frames of a hop each
    assert decoded.bytes == encoded.bytes
    trip = work.round_trip(DIRECT, FREE, **shape)
    assert trip == Work(encoded.flops + decoded.flops, 2 * 4 * 2 * 20)
    coded = work.tokens(DIRECT, FREE, **shape)
    assert coded.bytes - trip.bytes == 2 * 4 * 2 * frames * 5
    assert coded.flops > trip.flops


@pytest.mark.parametrize("options", [{}, {"causal": True, "component": "real"}, {"scale": "mel"}])
def test_no_algorithm_needs_more_than_the_direct_sum(options):
    spec = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=17, shape="none", **options)
    decoder = isn.DecoderSpec(num_frames=8)
    assert 0 < work.analysis_products(spec) <= spec.num_channels * spec.taps
    dense = spec.num_channels * 8 * spec.hop_length
    assert 0 < work.synthesis_products(spec, decoder) <= dense


def test_a_transform_of_four_points():
    # Centred frames of 5 samples at hop 2: at 0, 2 and 4.
    counted = work.stft(batch=2, length=5, n_fft=4, hop_length=2)
    assert counted.flops == 2 * 3 * (4 + 2.5 * 4 * 2)
    assert counted.bytes == 4 * 2 * (5 + 3 * 3 * 2)


def test_mel_weights_of_zero_are_not_counted():
    weights = np.array([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]])
    shape = {"batch": 1, "length": 5, "n_fft": 4, "hop_length": 2}
    extra = work.mel(weights, **shape).flops - work.stft(**shape).flops
    assert extra == 3 * (3 * 3 + 2 * 4)
    layer = MelSpectrogram(sample_rate=8000, n_fft=64, hop_length=16, n_mels=8)
    dense = 8 * 33
    assert 0 < np.count_nonzero(layer.design()) < dense / 2


def test_constant_q_with_kernels_at_the_full_rate():
    # Short kernels, none of which is worth a lower rate: two products per tap of every bin.
    layer = CQT1992v2(sample_rate=8000, hop_length=64, fmin=2000.0, n_bins=6)
    taps = sum(len(kernel.taps) for kernel in layer.bank.wavelets())
    frames = len(layer.frame_times(640))
    counted = work.cqt(layer, batch=2, length=640)
    assert {group.level for group in layer._groups()} == {0}
    assert counted.flops == pytest.approx(2 * frames * (2 * 2 * taps + 4 * 6), rel=0.02)
    assert counted.bytes == 4 * 2 * (640 + frames * 6)


def test_constant_q_at_lower_rates_needs_less_than_the_direct_sum():
    layer = CQT1992v2(sample_rate=8000, hop_length=64, fmin=55.0, n_bins=60)
    taps = sum(len(kernel.taps) for kernel in layer.bank.wavelets())
    frames = len(layer.frame_times(8000))
    assert work.cqt(layer, batch=1, length=8000).flops < frames * 4 * taps / 3


@pytest.mark.parametrize(
    ("stride", "products"),
    [
        (1, (251 + 31) / 2),  # 32 frames of a row of 282 samples share its even and odd parts
        (160, 126),  # one frame, folded
        (100, 251),  # neither: the direct convolution
    ],
)
def test_even_filters_are_folded_where_the_layer_folds_them(stride, products):
    counted = work.sinc_conv(batch=2, length=1251, filters=80, taps=251, stride=stride)
    frames = 2 * (1000 // stride + 1)
    assert counted.flops == 2 * frames * 80 * products
    assert counted.bytes == 4 * (2 * 1251 + frames * 80)


def test_a_training_step_has_the_decoder_twice_and_three_transforms():
    shape = {"batch": 2, "length": 20}
    counted = work.training_step(DIRECT, decoder_frames=3, n_fft=8, hop_length=4, **shape)
    frames = 2 * work.num_frames(DIRECT, 20)
    spectra = work.stft(n_fft=8, hop_length=4, **shape).flops
    assert counted.flops == 2 * frames * (5 * 8 + 2 * 5 * 12) + 3 * spectra


def test_the_slower_side_binds():
    ceiling = Ceiling(gflops=100.0, gb_per_s=10.0)
    dense, thin = Work(2e9, 1e8), Work(1e8, 1e9)
    assert dense.seconds_at(ceiling) == pytest.approx(0.02)
    assert thin.seconds_at(ceiling) == pytest.approx(0.1)
    assert (dense.binds(ceiling), thin.binds(ceiling)) == ("operations", "bytes")
    assert dense.fraction(ceiling, 0.04) == pytest.approx(0.5)


def test_an_operation_is_held_against_copies_of_its_size():
    machine = Machine(
        {"JAX, 512": 90.0, "PyTorch, 512": 100.0},
        {1 << 20: {"JAX": 80.0, "NumPy": 60.0}, 1 << 29: {"JAX": 9.0, "NumPy": 10.0}},
    )
    assert machine.ceiling() == machine.ceiling(1e12) == Ceiling(100.0, 10.0)
    assert machine.ceiling(2e6) == machine.ceiling(0.0) == Ceiling(100.0, 80.0)
    assert machine.describe()["fastest_product"] == "PyTorch, 512"
    slower = Machine({"JAX, 512": 95.0, "PyTorch, 512": 70.0}, machine.copies)
    assert machine.best(slower).products == {"JAX, 512": 95.0, "PyTorch, 512": 100.0}


def test_a_product_is_measured_in_operations_per_second(monkeypatch):
    monkeypatch.setattr(roofline, "timed", lambda operation, burst: (0.5, 0.5))
    assert roofline.product_gflops(size=64, rounds=3) == pytest.approx(2e-9 * 64**3 / 0.5)


ORIGIN = {"command": "c", "commit": "0123456789", "date": "2026-01-02 03", "load_average_before": 0}


def _row(operation="encode", batch=16, duration_s=10.0, **more):
    peer = {"peer": "PyTorch", "ratio": 3.0}
    quartiles = {"ratio_lower_quartile": 2.5, "ratio_upper_quartile": 3.5}
    figures = {"ours_ms": 10.0, "times_real_time": 16_000.0, "fraction": 0.5, "binds": "bytes"}
    return {
        "operation": operation,
        "variant": "16khz-linear",
        "batch": batch,
        "duration_s": duration_s,
        "peers": [{**peer, **quartiles}],
        **figures,
        **more,
    }


def test_a_partial_run_takes_the_place_of_its_rows_only(monkeypatch, tmp_path):
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    old = [{**_row("decode"), **ORIGIN}, {**_row(), **ORIGIN, "ours_ms": 99.0}]
    (tmp_path / "operations.json").write_text(json.dumps({"rows": old}))
    new = {**ORIGIN, "command": "partial"}
    merged = operations.merge([_row(), _row(batch=3)], new)
    found = [(row["operation"], row["batch"], row["command"]) for row in merged]
    assert found == [("encode", 16, "partial"), ("decode", 16, "c"), ("encode", 3, "partial")]
    assert merged[0]["ours_ms"] == 10.0


def test_the_page_shows_asked_shapes_ratios_and_ceiling():
    threads = {"peer": "librosa, 2 threads", "ratio": 2.0}
    quartiles = {"ratio_lower_quartile": 1.9, "ratio_upper_quartile": 2.1}
    alone = {"peer": "librosa", "ratio": 4.0, **quartiles}
    rows = [_row(), _row("STFT", peers=[alone, {**threads, **quartiles}]), _row(batch=7)]
    machine = {"gflops": 300.0, "gb_per_s": 20.0, "fastest_product": "JAX, 512"}
    text = measured_tables.operation_speed({"rows": rows, "machine": machine})
    assert "| encode | 16khz-linear | 10 | 16,000 | 50 % (bytes) | 3.00 (2.50-3.50) |  |" in text
    assert "| STFT | 16khz-linear | 10 | 16,000 | 50 % (bytes) |  | 2.00 (1.90-2.10) |" in text
    assert "Batch 7" not in text
    assert "Batch 1 x" not in text, "nothing was measured there"
    hour = {"duration_s": 3600.0, "seconds": 21.0, "peak_bytes": 8e8, "snr_db": 130.0}
    text = measured_tables.long_file(hour)
    assert "60 minutes of stereo at 44.1 kHz reconstruct in 21.0 s with 800 MB" in text


@pytest.mark.parametrize("text", ["16", "16x", "0x5", "2x-1", "axb"])
def test_a_grid_that_cannot_be_is_refused(text):
    with pytest.raises(SystemExit, match="--grid"):
        operations.parse_grid(text)
    assert operations.parse_grid("16x10,1x0.5") == [Shape(16, 10.0), Shape(1, 0.5)]


def test_a_program_tells_what_it_holds():
    program = Program(lambda x: x @ x, np.ones((64, 64), np.float32))
    cost = program.cost()
    assert cost.compile_s > 0
    assert cost.peak_bytes >= 2 * 4 * 64**2  # argument and result
    np.testing.assert_array_equal(program(), np.full((64, 64), 64.0))


def test_every_operation_has_a_case_that_counts():
    shape = Shape(1, 0.05)
    cases = list(operations.make_cases(shape, list(operations.OPERATIONS), ["16khz-linear"]))
    assert {case.operation for case in cases} == set(operations.OPERATIONS)
    for case in cases:
        counted = case.work()
        assert counted.flops > 0
        assert counted.bytes >= 4 * shape.length(case.sample_rate)
        assert "PyTorch" in case.peers or case.operation == "CQT"
