"""``isincnet benchmark`` on a tiny generated corpus."""

from __future__ import annotations

import csv
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from isincnet_jax import cli
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.benchmark import banks as benchmark_banks
from isincnet_jax.benchmark import baselines as benchmark_baselines
from isincnet_jax.benchmark import catalogue as benchmark_methods
from isincnet_jax.benchmark import run as benchmark_run
from isincnet_jax.benchmark import tables

RATE = 8_000
FAST = "--sample-rate 8000 --duration 0.5 --no-loudness --methods 'STFT,FLAC 16 bits'"


@pytest.fixture
def corpus(tmp_path, rng):
    """Two usable clips, silence, one that is too short and one that is no audio."""
    folder = tmp_path / "corpus"
    (folder / "a").mkdir(parents=True)
    for name in ("a/one", "a/two"):
        noise = np.cumsum(rng.standard_normal(RATE)) % 1.0 - 0.5
        soundfile.write(folder / f"{name}.wav", 0.2 * noise, RATE)
    soundfile.write(folder / "silence.wav", np.zeros(RATE), RATE)
    soundfile.write(folder / "short.wav", 0.1 * np.ones(100), RATE)
    (folder / "broken.wav").write_bytes(b"no audio")
    return folder


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs the console entry in this process: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(line: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["isincnet", "benchmark", *shlex.split(line)])
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def fails(run):
    def call(line: str, message: str) -> None:
        status, _, err = run(line)
        assert status == 1
        # What is left out of the corpus is said before it; the error is one line, the last.
        notes = r"((folder [^\n]+ skipped|not measured: )[^\n]*\n)*"
        assert re.fullmatch(notes + r"isincnet: error: [^\n]+\n", err), err
        assert re.search(message, err), err

    return call


def test_a_corpus_becomes_results_table_and_sounds(run, corpus, tmp_path):
    status, out, _ = run(f"corpus {FAST} --out out/results.json --csv out/all.csv --listen 1")
    assert status == 0, out
    results = tables.load_results(tmp_path / "out/results.json")
    assert results["command"].startswith("isincnet benchmark corpus --sample-rate 8000")
    assert [clip["name"] for clip in results["corpus"]["clips"]] == ["a/one", "a/two", "silence"]
    assert set(results["corpus"]["skipped"]) == {"short", "broken"}
    assert results["corpus"]["silent"] == 1
    assert "skipped tracks: 2" in out
    assert "shorter than 0.5 s" in out
    stft, flac = results["methods"]
    assert [stft["name"], flac["name"]] == ["STFT", "FLAC 16 bits"]
    assert stft["scores"]["snr_db"]["mean"] > 120
    assert stft["scores"]["snr_db"]["undefined"] == 1
    assert 0 < flac["kbit_per_s"] < 8 * RATE
    (heard,) = [clip for clip in results["corpus"]["clips"] if clip["audio"]]
    for path in (heard["audio"], stft["audio"][heard["name"]]):
        assert soundfile.info(tmp_path / "out" / path).frames == RATE // 2
    rows = list(csv.DictReader((tmp_path / "out/all.csv").read_text().splitlines()))
    assert len(rows) == 2 * len(results["metrics"])
    assert "| STFT | kept |" in out


def test_the_same_command_goes_on(run, corpus, tmp_path):
    line = f"corpus {FAST} --out out/results.json --listen 0"
    run(line)
    before = json.loads((tmp_path / "out/results.json").read_text())["methods"]
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/results.partial/*")}
    assert len(files) == 2
    (tmp_path / "out/results.json").unlink()
    run(line)
    assert json.loads((tmp_path / "out/results.json").read_text())["methods"] == before
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_a_users_function_that_fails_on_one_clip(run, corpus, tmp_path, monkeypatch):
    (tmp_path / "mine_for_test.py").write_text(
        '"""Mine."""\n'
        "def half(waveform, *, sample_rate):\n"
        '    """Half as loud."""\n'
        "    if not waveform.any(axis=-1).all():\n"
        '        raise ValueError("silence, at %d Hz" % sample_rate)\n'
        "    return waveform / 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    line = f"corpus {FAST} --out r.json --listen 0 --method mine_for_test:half"
    status, out, _ = run(line)
    assert status == 0
    assert "failed reconstructions: 1" in out
    row = tables.load_results(tmp_path / "r.json")["methods"][-1]
    assert (row["name"], row["family"]) == ("mine_for_test:half", "user")
    assert row["description"] == "Half as loud."
    assert row["failed"] == {"silence": "ValueError: silence, at 8000 Hz"}
    assert row["scores"]["snr_db"]["mean"] == pytest.approx(20 * np.log10(2), abs=1e-3)


def test_a_users_function_that_fails_on_every_clip_is_the_exit_status(run, corpus, tmp_path):
    (tmp_path / "my own.py").write_text(
        "def bad(waveform, sample_rate):\n    raise ValueError('never')\n"
        "def good(waveform, *, sample_rate):\n"
        "    assert waveform.dtype == 'float32' and waveform.ndim == 2\n    return waveform\n"
    )
    line = "corpus --sample-rate 4000 --duration 0.6 --no-loudness --methods STFT --out r.json"
    status, out, err = run(f"{line} --listen 0 --method 'my own.py:bad' --method 'my own.py:good'")
    assert status == 1
    assert err.splitlines()[-1] == (
        "isincnet: error: failed on all 3 clips: my own.py:bad (ValueError: never)"
    )
    # The others' results are there, and resampling was said once.
    assert "| my own.py:good |" in out
    assert err.count("resampled to 4000 Hz: tracks of 8000 Hz (4)") == 1
    assert tables.load_results(tmp_path / "r.json")["methods"][-1]["failed"] == {}


def test_users_functions_that_cannot_be_used_are_refused_at_once(fails, corpus, tmp_path):
    (tmp_path / "odd.py").write_text("def one(waveform):\n    return waveform\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    fails(f"corpus {FAST} --method odd.py:one", "'sample_rate'; it is given the waveform, and")
    fails(f"corpus {FAST} --method odd.py:two", "odd.py has no function 'two'")
    fails(f"corpus {FAST} --method broken.py:f", "cannot be imported: ZeroDivisionError: ")
    fails(f"corpus {FAST} --method gone.py:f", "gone.py:f: cannot be imported: no such file")


def test_what_cannot_be_is_one_line(fails, corpus, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "old.json").write_text('{"format": 0, "methods": []}')
    fails("nowhere", "nowhere: no such folder")
    fails("empty", "empty: no audio files")
    fails(f"corpus {FAST} --duration 100", "error: --duration 100.0: none of 4 tracks is so long")
    fails("corpus --duration 0.01", "--duration 0.01: shorter than two windows .* use 0.128")
    fails(f"corpus {FAST} --methods STFTT", "method 'STFTT' is unknown; did you mean 'STFT'")
    fails("corpus --methods '16KHz-lineal'", "did you mean '16khz-linear'")
    fails(f"corpus {FAST} --metrics snr", "metric 'snr' is unknown")
    fails(f"corpus {FAST} --out old.json", "old.json: format=0: this version reads format 1")
    fails(f"corpus {FAST} --out results.txt", "must end in .json")
    fails(f"corpus {FAST} --max-clips 0", "--max-clips 0: must be at least 1")
    fails(f"corpus {FAST} --listen -1", "--listen -1: must be 0 or more")
    fails(
        f"corpus {FAST} --method json", "--method 'json': write FILE.py:function or module:function"
    )
    fails(f"corpus {FAST} --method json:nothing", "json has no function 'nothing'")
    fails(f"corpus {FAST} --reference nowhere", "--reference nowhere: no such folder")
    fails(f"corpus {FAST} --reference empty", "no .ckpt files there")
    fails(f"corpus {FAST} --model 16khz-linear", "is for 16000 Hz; use --sample-rate 16000")
    assert not (tmp_path / "benchmark").exists()


@pytest.fixture
def vocoder(tmp_path):
    """Stores small untrained vocoders: kind of features to folder or .zip."""
    import jax
    import jax.numpy as jnp

    from isincnet_jax.pretrained.trained import export_trained
    from isincnet_jax.vocoders.features import VocoderFeatures
    from isincnet_jax.vocoders.networks.istftnet import ISTFTNet
    from isincnet_jax.vocoders.networks.phase_gradient import PhaseGradientVocoder
    from isincnet_jax.vocoders.vocoder import TrainedVocoder, Vocoder

    def store(kind, name, rate=RATE):
        shape = {"n_fft": 256, "win_length": 128, "hop_length": 32}
        if kind == "linear":
            features = VocoderFeatures("linear", rate, **shape)
            network = PhaseGradientVocoder(num_bins=129, n_fft=256, hop_length=32, widths=(8,))
        else:
            features = VocoderFeatures(kind, rate, n_mels=20, **shape)
            network = ISTFTNet(num_bins=20, width=8, strides=(4, 2), block_taps=(3,))
        module = Vocoder(network, features)
        variables = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 128)))
        count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        return export_trained(TrainedVocoder(module, variables), tmp_path / name), count

    return store


@pytest.mark.quick(0)
def test_an_exported_vocoder_is_a_method(run, fails, corpus, tmp_path, vocoder):
    _, count = vocoder("linear", "mine")
    vocoder("linear", "fast.zip", rate=2 * RATE)
    line = "corpus --sample-rate 8000 --duration 0.5 --no-loudness --methods STFT"
    status, _, err = run(f"{line} --out r.json --listen 0 --model mine")
    assert status == 0, err
    row = tables.load_results(tmp_path / "r.json")["methods"][-1]
    assert (row["name"], row["family"], row["phase"]) == ("mine", "vocoder", "blind")
    assert (row["parameters"], row["checkpoint"]) == (count, "mine")
    assert row["domain"] == "129 magnitudes/frame, 250 frames/s"
    assert row["coefficients_per_s"] == 129 * 250
    assert row["description"] == "PhaseGradientVocoder, no random start"
    assert row["failed"] == {}
    assert row["scores"]["convergence_db"]["mean"] < -6
    assert row["scores"]["consistency_db"]["mean"] < -6  # of its own resolution
    assert row["scores"]["mcd_db"]["mean"] > 0
    assert tables.load_results(tmp_path / "r.json")["methods"][0]["scores"]["consistency_db"] == {
        **dict.fromkeys(("mean", "low", "high")),
        **{"count": 0, "undefined": len(row["clips"]), "exact": 0},
    }
    assert row["x_real_time"] > 0
    fails(f"{line} --model fast.zip", "fast.zip: is for 16000 Hz; use --sample-rate 16000")


@pytest.mark.quick(0)
def test_vocoders_of_the_package_are_methods_at_their_rate(
    run, corpus, tmp_path, vocoder, monkeypatch
):
    from isincnet_jax.pretrained import hub, registry

    entries = {}
    for name, kind, rate in (
        ("small-linear", "linear", RATE),
        ("small-mel", "mel_slaney", RATE),
        ("small-other", "linear", 2 * RATE),
    ):
        path, _ = vocoder(kind, f"models/{name}.zip", rate)
        entries[name] = registry.Stored(path, "a test")
    entries["small-gone"] = registry.Stored(tmp_path / "gone.zip", "a test")
    monkeypatch.setattr(registry, "STORED", entries)
    for name, entry in entries.items():
        monkeypatch.setitem(hub.REGISTRY, name, entry)
    methods = benchmark_methods.all_methods(
        sample_rate=RATE, length=RATE // 2, wanted=["vocoder"], models=["small-mel"]
    )
    assert [method.name for method in methods] == [
        "small-linear",
        "small-linear + 5 iterations",
        "small-mel",
    ]
    assert methods[-1].domain == "20 mel_slaney magnitudes/frame, 250 frames/s"
    for method in methods:
        assert (method.family, method.phase) == ("vocoder", "blind")
        assert method.parameters > 0
        json.dumps(dict(method.settings))
    line = "corpus --sample-rate 8000 --duration 0.5 --no-loudness --methods small-linear*"
    status, _, err = run(f"{line} --out r.json --listen 0 --metrics convergence_db")
    assert status == 0, err
    plain, polished = tables.load_results(tmp_path / "r.json")["methods"]
    scores = [row["scores"]["convergence_db"]["mean"] for row in (plain, polished)]
    assert scores[1] < scores[0]


def test_methods_at_a_rate_are_described():
    methods = benchmark_methods.all_methods(sample_rate=16_000, length=16_000)
    by_name = {method.name: method for method in methods}
    assert len(by_name) == len(methods)
    assert by_name["16khz-linear"].coefficients_per_s == 256 * 128
    assert by_name["16khz-linear 8 bits"].kbit_per_s == pytest.approx(262.144)
    coded = [method for method in methods if " step " in method.name]
    assert len(coded) == 10
    assert {method.curve for method in coded} == {"16khz-lapped", "16khz-lapped, optimised"}
    for method in coded:
        assert (method.family, method.coefficients_per_s) == ("tokens", 16_000)
        assert method.name.endswith(f" step {method.settings['step']:g}")
        assert ("optimised" in method.name) == method.settings["optimise"]
    for method in methods:
        assert method.description
        assert method.domain
        assert method.parameters == 0
        assert "," not in method.name  # the option separates by commas
        blind = method.family == "phase retrieval"
        assert method.phase == ("blind" if blind else "kept")
        assert method.coefficients_per_s or "codec" in method.family
        json.dumps(dict(method.settings))
    chosen = benchmark_methods.choose(methods, ["tokens", "Opus *", "PGHI"])
    assert {"PGHI", "16khz-linear 4 bits"} <= {method.name for method in chosen}
    assert not any(method.family == "linear inverse" for method in chosen)


def test_codes_of_lapped_banks_have_the_size_of_their_files(rng):
    waveform = 0.1 * rng.standard_normal((2, 16_000)).astype(np.float32)
    methods = benchmark_methods.all_methods(
        sample_rate=16_000, length=16_000, wanted=["16khz-lapped *step 0.064"]
    )
    assert [method.name for method in methods] == [
        "16khz-lapped step 0.064",
        "16khz-lapped optimised step 0.064",
    ]
    plain, optimised = (method.reconstruct(waveform) for method in methods)
    assert plain.waveform.shape == optimised.waveform.shape == waveform.shape
    # Errors up to half a step of every coefficient, evenly spread: step^2 / 12.
    error = np.sqrt(np.mean((plain.waveform - waveform) ** 2))
    assert error == pytest.approx(0.064 / 12**0.5, rel=0.05)
    # A coefficient has log2(0.1 / 0.064 sqrt(2 pi e)) bits, and a file a header of 73 bytes.
    bits = np.log2(0.1 / 0.064 * np.sqrt(2 * np.pi * np.e))
    np.testing.assert_allclose(plain.num_bits, 16_000 * bits + 8 * 81, rtol=0.02)
    assert all(few < many for few, many in zip(optimised.num_bits, plain.num_bits, strict=True))


@pytest.mark.quick(0)
def test_phase_gradients_of_a_bank_follow_its_phases(rng):
    """A sweep through a bank of redundancy 16; the opposite turn would give -1.5 dB."""
    import jax.numpy as jnp

    from isincnet_jax.bank.codec import build_codec
    from isincnet_jax.bank.sincnet import SincNet
    from isincnet_jax.benchmark import metrics

    spec = FilterbankSpec(sample_rate=RATE, hop_length=32, num_bins=257, kernel_size=513)
    codec = build_codec(SincNet(spec))
    time_s = np.arange(RATE) / RATE
    sweep = np.sin(2 * np.pi * (300 * time_s + 500 * time_s**2)).astype(np.float32)
    found = benchmark_banks._bank_pghi(codec, RATE, jnp.asarray(sweep[None]))
    convergence = metrics.score_clip(
        prediction=np.asarray(found)[0], target=sweep, sample_rate=RATE, names=["convergence_db"]
    )["convergence_db"]
    assert convergence < -15


@pytest.mark.parametrize("sample_rate", [16_000, 22_050, 44_100])
def test_librosas_constant_q_is_used_where_it_works(sample_rate, rng):
    """Its inverse once came back a hundred times too loud at 44.1 kHz: bins too near Nyquist."""
    length = 3 * sample_rate
    low = scipy.signal.butter(4, 0.3, output="sos")
    noise = scipy.signal.sosfilt(low, rng.standard_normal((1, length))).astype(np.float32)
    methods = benchmark_baselines.transform_methods(sample_rate=sample_rate, length=length)
    (method,) = [method for method in methods if method.name == "CQT librosa"]
    decoded = method.reconstruct(noise)
    assert 0.5 < np.linalg.norm(decoded) / np.linalg.norm(noise) < 2.0


@pytest.mark.parametrize("sample_rate", [16_000, 22_050, 44_100])
def test_codecs_come_back_in_time_at_every_rate(sample_rate, rng):
    """Opus takes neither 22.05 nor 44.1 kHz; delays of coders would make these 3 dB and less."""
    low = scipy.signal.butter(4, 0.2, output="sos")
    noise = 0.3 * rng.standard_normal((2, sample_rate))
    waveform = scipy.signal.sosfilt(low, noise).astype(np.float32)
    levels = {"Opus": (0.4,), "Vorbis": (0.0,), "MP3": (0.0,)}
    found = [*benchmark_baselines.codec_methods(sample_rate=sample_rate, levels=levels)]
    assert "FLAC 16 bits" in {method.name for method in found}
    for method in found:
        coded = method.reconstruct(waveform)
        assert coded.waveform.shape == waveform.shape
        error = np.linalg.norm(coded.waveform - waveform) / np.linalg.norm(waveform)
        assert error < 0.3, method.name
        assert method.file_bits is not None
        assert method.file_bits(waveform[0]) == coded.num_bits[0]
        assert ("at 48 kHz" in method.description) is (
            method.name == "Opus 0.4" and sample_rate == 44_100
        )


def test_opus_ends_at_48_khz():
    methods = benchmark_baselines.codec_methods(sample_rate=96_000)
    assert not any(method.name.startswith("Opus") for method in methods)


def test_headers_of_short_files_are_no_part_of_the_marginal_rate():
    """A header of 4 kB in 5 s of Vorbis is 6.5 kbit/s of its file; slopes of longer files agree."""
    from isincnet_jax.benchmark.methods import marginal_bits
    from isincnet_jax.data.demo import demo_waveform

    clip = demo_waveform(16_000)[: 2 * 16_000]
    levels = {"Vorbis": (0.9,)}
    for method in benchmark_baselines.codec_methods(sample_rate=16_000, levels=levels):
        if method.name == "Vorbis 0.9":
            bits = [method.file_bits(np.tile(clip, times)) for times in (1, 4, 8)]
            marginal = marginal_bits(method.file_bits, clip, bits[0])
            assert 25_000 < bits[0] - marginal < 45_000
            assert marginal == pytest.approx((bits[2] - bits[1]) / 4, rel=0.1)


def test_curves_are_ordered_by_rate():
    score = {"snr_db": {"mean": 20.0}}
    rows = [
        {"name": "b", "curve": "c", "kbit_per_s": 30.0, "scores": score},
        {"name": "a", "curve": "c", "kbit_per_s": 10.0, "scores": score},
        {"name": "d", "curve": None, "kbit_per_s": 1.0, "scores": score},
        {"name": "e", "curve": "c", "kbit_per_s": None, "scores": score},
        {"name": "f", "curve": "c", "kbit_per_s": 5.0, "scores": {"snr_db": {"mean": "exact"}}},
    ]
    rows[1] |= {"marginal_kbit_per_s": 9.0}
    rows[1] |= {"scores": {**score, "visqol": {"mean": 4.0}}}
    (curve,) = benchmark_run.curves(rows)
    assert [point["label"] for point in curve["points"]] == ["a", "b"]
    assert [point["marginal_kbit_per_s"] for point in curve["points"]] == [9.0, None]
    assert [point["visqol"] for point in curve["points"]] == [4.0, None]


def test_random_starts_do_not_depend_on_the_batch():
    one, many = (benchmark_baselines.random_phase((size, 5, 7)) for size in (1, 3))
    np.testing.assert_array_equal(np.asarray(many), np.broadcast_to(one, (3, 5, 7)))


def test_the_script_is_the_command():
    text = (Path(__file__).parents[2] / "experiments" / "benchmark.py").read_text()
    assert "from isincnet_jax.cli import main" in text
