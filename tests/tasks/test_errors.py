"""What a user can mend is one clear message, and nothing is overwritten."""

from __future__ import annotations

import re
import resource
import shutil

import pytest
import resilience


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("data.source=gtzan data.path=/nowhere", r"(?s)genres\.tar\.gz.*data\.source=generated"),
        ("data.source=gtzn", r"source='gtzn': use one of gtzan"),
        ("data.source=folder data.path=/nowhere", r"/nowhere: no such folder"),
        ("data.batch_size=56", r"18 tracks, fewer than batch_size=56"),
        ("data.batch_size=9", r"batch_size=9 does not divide by 8 devices.*nearest .* is 8"),
        ("data.crop_s=7.0", r"shorter than crop_samples=56000.*has 48000 \(6\.000 s\)"),
        ("evaluation.duration_s=8.0", r"duration_s=8\.0: none of 3 tracks.*use 6\.000 or less"),
        ("optimizer.warmup_steps=40", r"warmup_steps=40 must be below total_steps=40"),
        ("optimizer.schedule=cos", r"schedule='cos' is unknown; use constant, cosine, step"),
        ("optimizer.accumulate=3", r"accumulate=3 does not divide the 1 clips"),
        ("optimizer.accumulate=0", r"accumulate=0 does not divide"),
        ("loss.l1=-1.0", r"loss 'l1' has weight -1\.0"),
        ("loss.l1=0.0 loss.l2=0.0 loss.log_stft=0.0", r"no loss has a positive weight"),
        ("data.loader=torch", r"loader='torch' is unknown; use numpy, grain, tf or device"),
        ("model.kind=cnn", r"kind='cnn' is unknown; use sincnet"),
        ("model.scale=violet", r"scale='violet'"),
        ("model.hop_length=0", r"hop_length=0"),
        ("train.num_steps=0 optimizer.warmup_steps=0", r"num_steps=0 must be at least 1"),
        ("workdir=/dev/null/run", r"/dev/null/run: Not a directory"),
        ("init_from=/nowhere", r"/nowhere: no run with checkpoints"),
        ("data.batchsize=4", r"did you mean --config\.data\.batch_size\?"),
    ],
)
def test_one_clear_message(main, options, message):
    status, text = main(*(f"--config.{option}" for option in options.split()))
    assert status == 1
    assert re.search(message, text), text
    assert len(text.splitlines()) < 20
    assert not (main.folder / "log.jsonl").exists()


def test_a_loss_that_is_not_known_is_named(main, tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "import ml_collections\nfrom configs import default\ndef get_config():\n"
        "    config = default.get_config()\n"
        "    config.loss = ml_collections.ConfigDict({'log_stf': 1.0})\n    return config\n"
    )
    status, text = main(f"--config={file}")
    assert status == 1
    assert "loss 'log_stf' is unknown; did you mean 'log_stft'" in text


def test_an_empty_split_is_named(main, tmp_path):
    (tmp_path / "train.txt").write_text("chords/chords.00000\n")
    (tmp_path / "validation.txt").write_text("")
    status, text = main(f"--config.data.splits={tmp_path}")
    assert status == 1
    assert "validation.txt: names no track" in text


def test_unknown_options_are_named(main):
    status, text = main("--bogus=1")
    assert status == 1
    assert "error: unknown option --bogus" in text


@pytest.mark.quick(0)
def test_unknown_options_have_no_traceback(start):
    assert "error: unknown option --bogus" in start("bad", "--bogus=1", status=1)


@pytest.mark.quick(0)
def test_a_checkpoint_of_another_model_is_left_alone(main, finished):
    folder, _ = finished
    log = (folder / "log.jsonl").read_bytes()
    status, text = main("--config.model.num_bins=8", name="finished")
    assert status == 1
    assert re.search(r"of another model: .*num_bins was 9 and is 8; use another folder", text)
    assert (folder / "log.jsonl").read_bytes() == log
    assert resilience.complete_steps(folder) == [30, 40]


@pytest.mark.quick(0)
def test_weights_that_do_not_fit_are_refused(main, finished):
    for source in (finished[0], finished[0] / "export"):
        status, text = main(f"--config.init_from={source}", "--config.model.num_bins=8")
        assert status == 1
        assert re.search(r"do not fit: synthesis\.kernels is float32\[", text), text


@pytest.mark.quick(0)
def test_a_damaged_checkpoint_falls_back_and_says_so(start, finished, base):
    folder = base / "damaged"
    shutil.copytree(finished[0], folder)
    blobs = [path for path in (folder / "checkpoints" / "40" / "state").rglob("d/*")]
    largest = max(blobs, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    largest.write_bytes(content)
    text = start("damaged")
    assert re.search(r"step 40 is damaged .*falling back", text)
    assert "resumed from step 30" in text
    assert (folder / "damaged" / "40").is_dir()
    assert resilience.differing_arrays(folder, finished[0]) == []
    assert resilience.records(folder) == resilience.records(finished[0])


@pytest.mark.quick(0)
def test_a_full_disk_keeps_earlier_checkpoints(start, base):
    limit = 20_000  # bytes of any file; the log reaches it first

    def shrink():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    options = ("--config.train.num_steps=100",)
    text = start("full", *options, status=1, preexec_fn=shrink)
    assert re.search(r"error: \S+/full/log\.jsonl: (No space left|File too large)", text), text
    steps = resilience.complete_steps(base / "full")
    assert steps
    last = resilience.records(base / "full")[-1]["step"]
    assert steps[-1] <= last
    text = start("full", "--config.train.num_steps=100")
    assert f"resumed from step {steps[-1]} " in text
    steps = [item["step"] for item in resilience.records(base / "full") if item["kind"] == "train"]
    assert steps == list(range(1, 101))
