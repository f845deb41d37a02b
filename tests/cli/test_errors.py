"""What all commands share: folders of outputs, options in messages, the version."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
import soundfile

import isincnet_jax
from isincnet_jax.cli import commands

OPTIONS = {
    "sample_rate": "--sample-rate",
    "duration": "--duration",
    "examples": "--examples",
    "no_loudness": "--no-loudness",
    "loudness": "--loudness",
    "overwrite": "--overwrite",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sample_rate=0 must be 1 or more", "--sample-rate 0 must be 1 or more"),
        ("x.wav: duration_s=5.0: too long", "x.wav: --duration 5.0: too long"),
        ("num_examples=0", "--examples 0"),
        ("switch it off with loudness_db=None", "switch it off with --no-loudness"),
        ("or give overwrite=True", "or give --overwrite"),
        ("overwrite=False, now overwrite=True", "no --overwrite, now --overwrite"),
        ("hop_length=3 is no option here", "hop_length=3 is no option here"),
        ("(--config.data.sample_rate=8000)", "(--config.data.sample_rate=8000)"),
        ("https://host/m.zip?duration=1", "https://host/m.zip?duration=1"),
        ("a == b, 1 <= sample_rate", "a == b, 1 <= sample_rate"),
    ],
)
def test_messages_name_options(text, expected):
    assert commands.name_options(text, OPTIONS) == expected


def test_the_version(run):
    assert run("--version") == (0, f"isincnet {isincnet_jax.__version__}\n", "")


def test_without_arguments_there_is_help(run):
    _, out, err = run("")
    assert "Usage:" in out + err
    assert "reconstruct" in out + err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bogus", r"no such command 'bogus'; see isincnet --help"),
        ("--nope", r"no such option: --nope; see isincnet --help"),
        ("reconstruct", r"missing argument 'IN'; see isincnet reconstruct --help"),
        ("plot bogus", r"no such command 'bogus'; see isincnet plot --help"),
        ("plot filters", r"missing argument 'OUT'; see isincnet plot filters --help"),
        ("vocoder train", r"missing argument 'INDEX'; see isincnet vocoder train --help"),
        ("synth match --bogus", r"no such option: --bogus.*; see isincnet synth match --help"),
        ("describe a b", r"got unexpected extra argument.* \(b\); see isincnet describe --help"),
        ("encode a b --snr", r"option '--snr' requires an argument"),
        ("encode a b --optimise=1", r"option '--optimise' does not take a value"),
        ("encode a b --q-bits many", r"invalid value for '--q-bits': .*integer.*encode --help"),
        ("encode a b --step 0", r"invalid value for '--step': 0\.0: give a number above 0; see .*"),
    ],
)
def test_wrong_usage_is_one_line(run, line, message):
    status, out, err = run(line)
    assert (status, out) == (2, "")
    assert re.fullmatch(f"isincnet: error: {message}[^\n]*\n", err), err


def test_folders_of_outputs_are_made(run, tmp_path):
    soundfile.write(tmp_path / "in.wav", 0.1 * np.ones(4000), 16_000)
    assert run("encode in.wav new/deep/a.npz")[0] == 0
    assert run("decode new/deep/a.npz other/a.wav")[0] == 0
    assert (tmp_path / "other" / "a.wav").is_file()
    files = sorted(tmp_path.rglob("*"))
    for line in ("encode gone.wav more/a.npz", "decode in.wav more/a/b.wav", "demo in.wav/x"):
        assert run(line)[0] == 1
        assert sorted(tmp_path.rglob("*")) == files


def test_what_a_block_leaves_empty_is_removed(tmp_path):
    target = tmp_path / "a" / "b"
    with commands.made_folder(target):
        (target / "c" / "d").mkdir(parents=True)
    assert not any(tmp_path.iterdir())
    with commands.made_folder(target):
        target.mkdir()
        (target / "kept").touch()
    assert (target / "kept").exists()
    (tmp_path / "empty").mkdir()
    with commands.made_folder(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").is_dir()  # it was there before


def test_demo_without_matplotlib_succeeds_without_pictures(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, _, err = run("demo d --model 16khz-linear")
    assert status == 0
    assert err == "no pictures: drawing needs Matplotlib: pip install 'isincnet-jax[plots]'\n"
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == [
        "original.wav",
        "reconstructed.wav",
        "reconstructed_8bit.wav",
    ]
