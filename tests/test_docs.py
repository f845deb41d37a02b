"""The site is whole: every public name has its entry, every example runs, every link leads on.

Code blocks of a page run in one namespace, from top to bottom, as a reader would type them; code
cells do so when the site is built. A block that cannot run has ``<!-- skip: why -->`` on the line
before it.
"""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import textwrap
from pathlib import Path
from typing import NamedTuple

import jax
import pytest
import typer

import isincnet_jax as isn
from isincnet_jax import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]
# Pages whose examples compile much.
LONG = {
    "README.md",
    "getting_started.md",
    "nnaudio.md",
    "streaming.md",
    "training.md",
}
# What a page's examples import beyond the extra `test`.
NEEDED = {"pytorch.md": "torch"}
SHELLS = ("bash", "sh", "shell", "console")

# Backticks or colons, three or more, with what the block is; then its lines; then as many again.
_BLOCK = re.compile(
    r"(?P<skip><!-- skip[^>]*-->\n+)?^(?P<fence>```+)(?P<kind>[^\n]*)\n"
    r"(?P<text>.*?)^(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s#]*)(?:#([^)\s]*))?\)")


class Block(NamedTuple):
    """A fenced block of a page."""

    kind: str
    text: str
    line: int
    skipped: bool


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _blocks(page: Path, *kinds: str) -> list[Block]:
    text, found = page.read_text(encoding="utf-8"), []
    for match in _BLOCK.finditer(text):
        kind = match["kind"].strip().removeprefix("{code-cell}").split() or [""]
        line = text.count("\n", 0, match.start("text"))
        found.append(Block(kind[0], match["text"], line, match["skip"] is not None))
    return [block for block in found if block.kind in kinds]


def _prose(page: Path) -> str:
    """The page without its blocks and inline code."""
    return re.sub(r"`[^`\n]*`", "", _BLOCK.sub("", page.read_text(encoding="utf-8")))


def _parse(arguments: list[str]) -> None:
    """Parses a command line of ``isincnet`` down to the last subcommand; invokes nothing."""
    command, name, parent = cli._command(), "isincnet", None
    while True:
        context = command.make_context(name, list(arguments), parent=parent)
        if not hasattr(command, "resolve_command"):
            return
        rest = [*context._protected_args, *context.args]
        name, command, arguments = command.resolve_command(context, rest)
        parent = context


def _long(page: Path) -> bool:
    return page.name in LONG or page.parent.name == "howto"


LINES = [
    pytest.param(line, id=f"{_name(page)}: {line[:60]}")
    for page in PAGES
    for block in _blocks(page, *SHELLS)
    for line in block.text.replace("\\\n", " ").splitlines()
    if re.match(r"(\$ )?(isincnet|python) ", line) and not block.skipped
]


class TestReference:
    """Every public name, once, with all that a reader needs."""

    ENTRY = re.compile(r"^\.\. (?:auto)?(?:class|function|exception|data):: (\w+)$", re.MULTILINE)

    def test_every_public_name_has_one_entry(self):
        pages = sorted((ROOT / "docs/api").glob("*.md"))
        entries = [name for page in pages for name in self.ENTRY.findall(page.read_text())]
        assert sorted(entries) == sorted(isn.__all__)

    def test_every_module_of_a_wing_has_one_entry(self):
        for page in (ROOT / "docs/api").glob("*.md"):
            wing = ROOT / "isincnet_jax" / page.stem
            if page.stem == "index":
                continue
            said = re.findall(r"^\.\. automodule:: (\S+)$", page.read_text(), re.MULTILINE)
            modules = {
                str(path.relative_to(ROOT))[:-3].replace("/", "."): ast.parse(path.read_text())
                for path in wing.rglob("*.py")
            }
            public = {
                name
                for name, tree in modules.items()
                if any(
                    isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name[0] != "_"
                    for node in tree.body
                )
            }
            assert public <= set(said) <= set(modules), page.name
            assert len(said) == len(set(said)), page.name

    @pytest.mark.parametrize("name", isn.__all__)
    def test_docstring_says_all(self, name):
        value = getattr(isn, name)
        if not callable(value):
            pytest.skip("a constant, described on its page")
        tree = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
        said = inspect.getdoc(value)
        assert "Example:\n    >>> " in said, "no example"
        if isinstance(tree, ast.FunctionDef):
            self._check_function(tree, said)
            return
        fields = [node for node in tree.body if isinstance(node, ast.AnnAssign)]
        assert "Attributes:" in said or not fields
        for method in tree.body:
            if not isinstance(method, ast.FunctionDef):
                continue
            own = ast.get_docstring(method) or ""
            if method.name in ("__post_init__", "setup"):  # what they refuse is said by the class
                own = said if any(isinstance(node, ast.Raise) for node in ast.walk(method)) else ""
                assert "Raises:" in own or not own, method.name
            elif method.name == "__call__" or not method.name.startswith("_"):
                self._check_function(method, own)

    def _check_function(self, tree: ast.FunctionDef, said: str):
        settings = tree.args.posonlyargs + tree.args.args + tree.args.kwonlyargs
        if any(one.arg not in ("self", "cls") for one in settings):
            assert "Args:" in said, tree.name
            returns = tree.returns is not None and ast.unparse(tree.returns) != "None"
            assert "Returns:" in said or not returns, tree.name
        if any(isinstance(node, ast.Raise) for node in ast.walk(tree)):
            assert "Raises:" in said, tree.name


class TestExamples:
    """Every block of Python, and every command line."""

    @pytest.mark.parametrize(
        "page",
        [
            pytest.param(page, marks=pytest.mark.tail if _long(page) else (), id=_name(page))
            for page in PAGES
            if _blocks(page, "python")  # code cells run when the site is built
        ],
    )
    def test_page_runs(self, page, tmp_path, monkeypatch):
        if page.name in NEEDED:
            pytest.importorskip(NEEDED[page.name])
        monkeypatch.chdir(tmp_path)
        namespace = {"__name__": "__main__"}
        for block in _blocks(page, "python"):
            if not block.skipped:
                # Lines before the block, so that errors name those of the page.
                code = compile("\n" * block.line + block.text, str(page), "exec")
                with jax.numpy_dtype_promotion("standard"):  # as the reader has it
                    exec(code, namespace)

    @pytest.mark.parametrize("line", LINES)
    def test_command_line_parses(self, line, tmp_path, monkeypatch):
        program, *arguments = shlex.split(line.removeprefix("$ "), comments=True)
        if program == "python":
            assert (ROOT / arguments[0]).is_file() or arguments[0] == "-m"
            config = [one for one in arguments if one.startswith("--config=")]
            for path in config:
                assert (ROOT / path.removeprefix("--config=").partition(":")[0]).is_file()
            return
        monkeypatch.chdir(tmp_path)
        if "|" not in arguments:
            _parse(arguments)
            return
        begin = arguments.index("|") - 1  # "synth generate | match": a list of commands
        for name in arguments[begin::2]:
            with pytest.raises(typer.Exit):
                _parse([*arguments[:begin], name, "--help"])

    def test_code_cells_run_when_the_site_is_built(self):
        """`make docs` stops at a cell that raises, so that they need not run here, too."""
        settings = (ROOT / "docs/conf.py").read_text(encoding="utf-8")
        assert 'nb_execution_mode = "auto"' in settings
        assert "nb_execution_raise_on_error = True" in settings
        for page in PAGES:
            cells = _blocks(page, "ipython3")
            if not cells:
                continue
            assert page.read_text(encoding="utf-8").startswith("---\nfile_format: mystnb\n")
            assert not _blocks(page, "python"), page.name  # in one namespace, or in none
            assert not any(cell.skipped for cell in cells), page.name

    def test_nothing_is_skipped_without_a_reason(self):
        for page in PAGES:
            for reason in re.findall(r"<!-- skip(.*?)-->", page.read_text(encoding="utf-8")):
                assert re.match(r": \w+", reason), page.name


class TestLinks:
    """Relative links lead to files, and to headings that they have."""

    @pytest.mark.parametrize("page", PAGES, ids=_name)
    def test_links_lead_on(self, page):
        for path, anchor in _LINK.findall(_prose(page)):
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{path} is not there"
            if anchor and target.suffix == ".md":
                headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
                assert anchor in {_slug(heading) for heading in headings}, f"{path}#{anchor}"

    def test_every_page_is_in_a_table_of_contents(self):
        docs = ROOT / "docs"
        listed = set()
        for page in PAGES[1:]:
            for block in _blocks(page, "{toctree}"):
                for entry in block.text.splitlines():
                    if entry and not entry.startswith(":"):
                        listed |= set(page.parent.glob(f"{entry}.md"))
        assert set(PAGES[1:]) - listed == {docs / "index.md"}


def _slug(heading: str) -> str:
    """The anchor that GitHub and MyST give to a heading."""
    plain = re.sub(r"[`*]", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
