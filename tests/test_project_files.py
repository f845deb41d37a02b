"""Files that other people's services read: citation, workflows, templates of issues."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FORGE = ROOT / ".github"
TEMPLATES = sorted((FORGE / "ISSUE_TEMPLATE").glob("*.yml"))
WORKFLOWS = sorted((FORGE / "workflows").glob("*.yml"))


def _read(path):
    # YAML 1.1 takes the key "on" of workflows for a truth.
    return yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)


def test_the_citation_says_what_the_project_says():
    import isincnet_jax

    citation = _read(ROOT / "CITATION.cff")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == isincnet_jax.__version__
    assert citation["license"] == project["license"]
    for one in citation["references"]:
        assert {"type", "title", "authors", "year"} <= set(one)
        assert one.get("url") or one.get("doi")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_of_issues_are_whole(path):
    form = _read(path)
    if path.name == "config.yml":
        return
    assert {"name", "description", "body"} <= set(form)
    found = [part["id"] for part in form["body"]]
    assert len(found) == len(set(found))
    assert all(part["attributes"]["label"] for part in form["body"])
    assert any(part.get("validations") == {"required": "true"} for part in form["body"])


def test_one_workflow_runs_everything():
    tests = _read(FORGE / "workflows" / "tests.yml")
    (job,) = tests["jobs"].values()
    assert job["steps"][-1]["run"] == ".ci/run"
    assert tests["permissions"] == {"contents": "read"}
    assert "pull_request" in tests["on"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_what_is_there(path):
    workflow = _read(path)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            for target in re.findall(r"^make ([\w-]+)", step.get("run", ""), re.MULTILINE):
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_contributing_names_what_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make ([\w-]+)", text, re.MULTILINE):
        assert re.search(rf"^(?:[\w -]+ )?{target}(?: [\w -]+)?:", makefile, re.MULTILINE), target
    for path in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / path).exists(), path
