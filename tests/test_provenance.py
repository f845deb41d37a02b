"""Which code results name: the commit of our own checkout, else the version, never another's."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

import isincnet_jax
from isincnet_jax import provenance

OURS = '[project]\nname = "isincnet-jax"\n'
VERSION = f"isincnet-jax {isincnet_jax.__version__}"


@pytest.fixture
def git(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("there is no git here")

    def run(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    return run


@pytest.fixture
def installed_at(tmp_path, monkeypatch):
    """Pretends that the package lies in a folder below the temporary one."""

    def place(folder: str) -> None:
        package = tmp_path / folder / "isincnet_jax"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        monkeypatch.setattr(isincnet_jax, "__file__", str(package / "__init__.py"))

    return place


def test_our_checkout_has_a_commit_and_says_whether_its_code_changed(git, installed_at, tmp_path):
    installed_at("")
    (tmp_path / "pyproject.toml").write_text(OURS)
    (tmp_path / "README.md").write_text("one\n")
    git("init", "-q")
    assert provenance.commit() is None  # of a repository without commits
    git("add", ".")
    git("commit", "-qm", "one")
    commit = git("rev-parse", "HEAD")
    assert re.fullmatch("[0-9a-f]{40}", commit)
    assert (provenance.checkout(), provenance.commit()) == (tmp_path.resolve(), commit)
    (tmp_path / "README.md").write_text("two\n")  # no code
    assert not provenance.has_changes()
    assert provenance.code_version() == commit
    (tmp_path / "isincnet_jax" / "more.py").write_text("")
    assert provenance.has_changes()
    assert provenance.code_version() == commit + "+"


@pytest.mark.parametrize(
    ("project", "folder"),
    [
        ('[project]\nname = "another"\n', ""),  # vendored: directly in a user's repository
        ('[project]\nname = "another"\n', ".venv/lib/site-packages"),
        (OURS, ".venv/lib/site-packages"),  # a wheel in an environment inside our own checkout
        ("no TOML = = =", ""),
        ('project = "a text"', ""),
        (None, ""),
    ],
)
def test_other_repositories_are_not_ours(git, installed_at, tmp_path, monkeypatch, project, folder):
    installed_at(folder)
    if project is not None:
        (tmp_path / "pyproject.toml").write_text(project)
    git("init", "-q")
    git("add", "-f", ".")
    git("commit", "-qm", "theirs")
    monkeypatch.chdir(tmp_path)
    assert provenance.checkout() is None
    assert (provenance.commit(), provenance.has_changes()) == (None, False)
    assert provenance.code_version() == VERSION


def test_our_files_inside_another_repository_are_not_a_checkout(git, installed_at, tmp_path):
    """A user's repository that holds our source distribution in a folder."""
    installed_at("vendor")
    (tmp_path / "vendor" / "pyproject.toml").write_text(OURS)
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "theirs")
    assert provenance.commit() is None


def test_variables_of_git_lead_nowhere_else(git, installed_at, tmp_path, monkeypatch):
    installed_at("")
    (tmp_path / "pyproject.toml").write_text(OURS)
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "ours")
    commit = git("rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert provenance.commit() == commit


def test_without_git_there_is_the_version(installed_at, tmp_path, monkeypatch):
    installed_at("")
    (tmp_path / "pyproject.toml").write_text(OURS)
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() is None
    record = provenance.record(["no-such-distribution"])
    assert record["package"] == VERSION
    assert (record["commit"], record["uncommitted_changes"]) == (None, False)
    assert record["versions"]["isincnet-jax"] == isincnet_jax.__version__
    assert record["versions"]["no-such-distribution"] == "not installed"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", record["date"])
    assert record["device"]
    assert provenance.code_text(record) == VERSION


def test_the_code_in_words():
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert provenance.code_text({"commit": commit, "package": VERSION}) == commit[:12]
    dirty = {"commit": commit, "uncommitted_changes": True}
    assert provenance.code_text(dirty) == "0123456789ab with uncommitted changes"
    assert provenance.code_text({}) == "not recorded"


def test_no_framework_is_imported_for_it():
    code = "from isincnet_jax import provenance, extras; import sys; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
