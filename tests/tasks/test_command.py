"""The command line of experiments: what it takes, and how it refuses."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from isincnet_jax.tasks import command

SCRIPTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.py"))
ABLATION = SCRIPTS[0].parent / "configs" / "ablation.py"


def read(line: str):
    return command.read_config(line.split())


def test_the_default_is_the_recipe():
    assert read("").workdir == "runs/gtzan"


def test_fields_keep_their_type():
    config = read(
        "--config.data.batch_size=6 --config.seed 3 --config.optimizer.learning_rate=1 "
        "--config.model.causal=true --config.workdir=a=b --config.data.stems=drums,bass "
        "--config.loss.multi_stft=2.5 --config.optimizer.clip_norm=None --config.data.cache_dir="
    )
    assert (config.data.batch_size, config.seed, config.workdir) == (6, 3, "a=b")
    assert isinstance(config.optimizer.learning_rate, float)
    assert config.model.causal is True
    assert config.data.stems == ("drums", "bass")
    assert (config.loss.multi_stft, config.optimizer.clip_norm) == (2.5, None)
    assert config.data.cache_dir == ""


@pytest.mark.parametrize(
    ("line", "warmup"),
    [
        ("", 100),
        ("--config.train.num_steps=20", 2),
        ("--config.train.num_steps=5", 0),
        ("--config.train.num_steps=999", 99),
        ("--config.train.num_steps=5000", 100),
        ("--config.train.num_steps=0", 100),
        ("--config.train.num_steps=20 --config.optimizer.warmup_steps=15", 15),
    ],
)
def test_warmup_of_a_short_run_is_short(line, warmup):
    assert read(line).optimizer.warmup_steps == warmup


def test_warmup_of_the_classifiers_of_an_ablation_is_short():
    config = read(f"--config={ABLATION} --config.classifiers.genre.train.num_steps=40")
    assert config.classifiers.genre.optimizer.warmup_steps == 4
    assert config.classifiers.speaker.optimizer.warmup_steps == 20


def test_a_config_file_takes_a_text(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "from configs import default\ndef get_config(text):\n    config = default.get_config()\n"
        "    config.seed = int(text)\n    return config\n"
    )
    assert read(f"--config={file}:7").seed == 7


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--config.data.batchsize=4", r"did you mean --config\.data\.batch_size\?"),
        ("--config.dta.batch_size=4", r"did you mean --config\.data\.batch_size\?"),
        ("--config.batch_size=4", r"did you mean --config\.data\.batch_size\?"),
        ("--config.data=4", r"no such field; did you mean"),
        ("--config.zzz=4", r"fields .* are in .*default\.py"),
        ("--config.data.batch_size=abc", r"batch_size=abc: must be of type int"),
        ("--config.data.batch_size=4.5", r"must be of type int"),
        ("--config.data.batch_size=None", r"must be of type int"),
        ("--config.optimizer.learning_rate=None", r"must be of type float"),
        ("--config.loss.multi_stft=x", r"must be of type float"),
        ("--config.model.causal=maybe", r"must be of type bool"),
        ("--config.train.num_steps=", r"must be of type int"),
        ("--config.seed", r"--config\.seed has no value"),
        ("--config=", r"--config has no value"),
        ("--config=nope.py", r"nope\.py: no such file; .*gtzan\.py"),
        ("--config=experiments", r"no such file"),
        ("--bogus=1", r"unknown option --bogus"),
        ("extra", r"unexpected argument 'extra'"),
    ],
)
def test_mistakes_are_named(line, message):
    with pytest.raises(command.ArgumentsError, match=message) as caught:
        read(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(:", "SyntaxError"),
        ("def get_config():\n    pass", "is no config"),
        ("x = 1", "KeyError"),
        (
            "from configs import default\ndef get_config():\n    config = default.get_config()\n"
            "    config.data.batchsize = 3\n    return config\n",
            "batchsize",
        ),
    ],
)
def test_broken_config_files_are_named(tmp_path, text, message):
    file = tmp_path / "own.py"
    file.write_text(text)
    with pytest.raises(command.ArgumentsError, match=message) as caught:
        read(f"--config={file}")
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_finds_what_it_calls(script):
    assert callable(runpy.run_path(str(script))["main"])
