"""Runs ``smoke.py`` at the corners of the versions that the package promises to run on.

``python .ci/corners.py [NAME ...]``:

* ``colab``: what Google Colab has (August 2026), on its Python; installing this package there must
  not change any other, and the notebooks' first cell must install it;
* ``newest``: the newest release of everything, on the newest Python found that ``pyproject.toml``
  names;
* ``floors``: every direct dependency at its floor in ``pyproject.toml``, on the oldest Python.

Interpreters are looked for on PATH and among pyenv's; a corner without one is skipped, and says
so. What cannot be installed is an error. It takes pip and a registry; uv comes from there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLAB_PYTHON = "3.13"
COLAB = [
    "jax==0.7.2",
    "jaxlib==0.7.2",
    "flax==0.11.2",
    "orbax-checkpoint==0.12.4",
    "numpy==2.1.3",
    "tensorflow-cpu==2.20.0",  # without CUDA what Colab has as tensorflow
]
NOTEBOOKS = ["ipykernel", "nbclient", "nbformat"]  # what runs them; no dependency of ours


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pythons() -> list[str]:
    """The versions of Python that ``pyproject.toml`` names, oldest first."""
    found = [re.fullmatch(r".* :: (3\.\d+)", line) for line in PROJECT["classifiers"]]
    return sorted((match[1] for match in found if match), key=lambda name: int(name[2:]))


def shown(versions: dict[str, str]) -> str:
    """The versions of what the core names, in one line."""
    names = ["jaxlib", *(re.match(r"[\w-]+", line)[0] for line in PROJECT["dependencies"])]
    return ", ".join(f"{name} {versions.get(name)}" for name in sorted(names))


def interpreter(version: str) -> str | None:
    """A Python of this version that starts: from PATH, or from pyenv's folder."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    places = [
        shutil.which(f"python{version}"),
        *sorted(root.glob(f"versions/{version}*/bin/python{version}")),
    ]
    for place in filter(None, places):
        # pyenv's shims are on PATH for versions that are not switched on, too.
        probe = "import sys; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([place, "-c", probe], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip() == version:
            return str(place)
    return None


def run(*command: object, **options: object) -> str:
    """Standard output of a command; its errors go to ours.

    Raises:
        subprocess.CalledProcessError: if it fails.
    """
    words = [str(word) for word in command]
    return subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


class Corner:
    """A virtual environment, and uv to fill it."""

    def __init__(self, uv: Path, python: str, folder: Path) -> None:
        self.uv = uv
        self.python = folder / "bin" / "python"
        run(uv, "venv", "--quiet", "--python", python, folder)

    def install(self, *what: object) -> None:
        """``uv pip install``."""
        run(self.uv, "pip", "install", "--quiet", "--python", self.python, *what)

    def versions(self) -> dict[str, str]:
        """Of everything that is installed."""
        listing = run(self.uv, "pip", "list", "--format", "json", "--python", self.python)
        return {item["name"]: item["version"] for item in json.loads(listing)}

    def smoke(self) -> None:
        """Runs the slice, outside the clone: on what is installed."""
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [self.python, ROOT / ".ci" / "smoke.py", ROOT / "colab"]
        subprocess.run(command, check=True, cwd=self.python.parent, env=clean, timeout=1800)


def colab(corner: Corner, built: Path) -> None:
    """Colab's versions stay, through pip and through the notebooks' first cell."""
    corner.install(*COLAB, *NOTEBOOKS, "pip")
    before = corner.versions()
    dry_run = ("install", "--quiet", "--dry-run", "--report", "-", f"{wheel_in(built)}[notebooks]")
    report = json.loads(run(corner.python, "-m", "pip", *dry_run))
    check_kept(before, [item["metadata"] for item in report["install"]])
    cell = (ROOT / "colab" / "first_cell.py").read_text(encoding="utf-8")
    address = f'REPOSITORY = "file://{repository_in(built)}"'
    cell, count = re.subn(r'^REPOSITORY = ".*?"', address, cell, flags=re.MULTILINE)
    assert count == 1
    print(run(corner.python, "-c", cell, cwd=built), end="", flush=True)
    check_kept(before, [{"name": name, "version": at} for name, at in corner.versions().items()])


def check_kept(before: dict[str, str], after: list[dict[str, str]]) -> None:
    """Raises RuntimeError where the version of a package changed."""

    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    old = {plain(name): version for name, version in before.items()}
    new = {plain(item["name"]): item["version"] for item in after}
    changed = {name: f"{old[name]} -> {new[name]}" for name in old.keys() & new.keys()}
    changed = {name: text for name, text in changed.items() if old[name] != new[name]}
    if changed:
        raise RuntimeError(f"installing isincnet-jax replaces what was there: {changed}")


def wheel_in(built: Path) -> Path:
    """The wheel in the folder of what was built."""
    (wheel,) = built.glob("*.whl")
    return wheel


def repository_in(built: Path) -> Path:
    """What stands here, committed or not, as a git repository of its own."""
    (archive,) = built.glob("*.tar.gz")
    folder = built / archive.name.removesuffix(".tar.gz")
    if folder.exists():
        return folder
    shutil.unpack_archive(archive, built, filter="data")
    git = ("git", "-C", folder, "-c", "user.name=corners", "-c", "user.email=corners@localhost")
    run(*git, "init", "--quiet")
    run(*git, "add", "--all")
    run(*git, "commit", "--quiet", "--no-gpg-sign", "--message", "a corner")
    return folder


def newest(corner: Corner, built: Path) -> None:
    """The newest of everything."""
    corner.install(f"{wheel_in(built)}[notebooks]", *NOTEBOOKS)


def floors(corner: Corner, built: Path) -> None:
    """The oldest that ``pyproject.toml`` allows, of everything that it names."""
    # From a folder: what a wheel depends on is not direct to uv.
    corner.install("--resolution", "lowest-direct", f"{repository_in(built)}[notebooks]")
    check_floors(corner.versions())
    corner.install(*NOTEBOOKS)
    check_floors(corner.versions())


def check_floors(versions: dict[str, str]) -> None:
    """Raises RuntimeError where another version than the floor is there: then it is not tested."""
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["plots"], *extras["runs"]]
    for line in wanted:
        name, floor = re.match(r"([\w-]+)>=([\d.]+)", line).groups()
        if not f"{versions[name]}.0.0".startswith(f"{floor}."):
            raise RuntimeError(f"{line}: {versions[name]} is the oldest that fits the others")


CORNERS: dict[str, tuple[Callable[[Corner, Path], None], Callable[[], Iterable[str]]]] = {
    "colab": (colab, lambda: [COLAB_PYTHON]),
    "newest": (newest, lambda: reversed(pythons())),
    "floors": (floors, lambda: pythons()[:1]),
}


def main(names: list[str]) -> None:
    """Runs the corners of these names, all if none is given."""
    with tempfile.TemporaryDirectory(prefix="isincnet-corners-") as text:
        folder = Path(text)
        run(sys.executable, "-m", "venv", folder / "uv")
        run(folder / "uv" / "bin" / "python", "-m", "pip", "install", "--quiet", "uv")
        uv = folder / "uv" / "bin" / "uv"
        run(uv, "build", "--quiet", "--out-dir", folder / "built", ROOT)
        for name in names or CORNERS:
            install, versions = CORNERS[name]
            wanted = list(versions())
            python = next(filter(None, map(interpreter, wanted)), None)
            if python is None:
                print(f"corner {name}: SKIPPED, no Python {' or '.join(wanted)} found", flush=True)
                continue
            began = time.perf_counter()
            corner = Corner(uv, python, folder / name)
            install(corner, folder / "built")
            print(f"corner {name}: {python}: {shown(corner.versions())}", flush=True)
            print(f"  {'installed in':14} {time.perf_counter() - began:5.1f} s", flush=True)
            corner.smoke()
            shutil.rmtree(folder / name)


if __name__ == "__main__":
    main(sys.argv[1:])
