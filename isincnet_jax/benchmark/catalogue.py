"""Catalogue of methods: all of them at a rate, or those that were asked for."""

from __future__ import annotations

import difflib
import fnmatch
import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from isincnet_jax.benchmark import banks, baselines, vocoders, weights
from isincnet_jax.benchmark.methods import Method
from isincnet_jax.pretrained.registry import REGISTRY


def all_methods(
    *,
    sample_rate: int,
    length: int,
    wanted: Sequence[str] = (),
    reference: Path | None = None,
    models: Sequence[str] = (),
    functions: Sequence[str] = (),
) -> list[Method]:
    """The methods of a rate, in the order of tables.

    Args:
        sample_rate: Hz of the clips.
        length: samples of the clips.
        wanted: names, families or patterns (``"Opus *"``) of built-in methods; all if empty.
        reference: a folder of iSincNet's .ckpt files.
        models: exported models: codecs and vocoders.
        functions: of users, see :func:`user_method`.

    Returns:
        Those of the package first, then exported models, then users' functions.

    Raises:
        ValueError: for a name that there is not, with the nearest; for models of another rate.
        ImportError: for a function that cannot be imported.
    """
    built_in = [
        *banks.preset_methods(sample_rate=sample_rate, length=length),
        *([] if reference is None else _reference(reference, sample_rate)),
        *baselines.transform_methods(sample_rate=sample_rate, length=length),
        *baselines.phase_methods(sample_rate=sample_rate, length=length),
        *vocoders.shipped_methods(sample_rate=sample_rate),
        *baselines.codec_methods(sample_rate=sample_rate),
    ]
    own = [weights.exported_method(path, sample_rate=sample_rate) for path in models]
    own += [user_method(text, sample_rate=sample_rate) for text in functions]
    # A name of the registry that is asked for is the built-in method of that name.
    chosen = [one for one in choose(built_in, wanted) if one.name not in {*models} & {*REGISTRY}]
    return [*chosen, *own]


def _reference(folder: Path, sample_rate: int) -> Iterator[Method]:
    if not folder.is_dir():
        raise ValueError(f"--reference {folder}: no such folder; give iSincNet's checkpoints")
    return weights.reference_methods(folder, sample_rate=sample_rate)


def choose(methods: Sequence[Method], wanted: Sequence[str]) -> list[Method]:
    """Methods whose name or family is meant, in their order; all if nothing is.

    Args:
        methods: all that there are.
        wanted: names, families or patterns of :mod:`fnmatch`.

    Returns:
        Each at most once.

    Raises:
        ValueError: for a text that means none, with the nearest name.
    """
    if not wanted:
        return list(methods)
    kept: set[str] = set()
    for text in wanted:
        found = [method.name for method in methods if _means(text, method)]
        if not found:
            known = [*(method.name for method in methods), *(method.family for method in methods)]
            lower = {name.lower(): name for name in known}
            near = difflib.get_close_matches(text.lower(), lower, n=1, cutoff=0.4)
            hint = f"did you mean {lower[near[0]]!r}? " if near else ""
            names = ", ".join(method.name for method in methods)
            raise ValueError(f"method {text!r} is unknown; {hint}methods: {names}")
        kept.update(found)
    return [method for method in methods if method.name in kept]


def _means(text: str, method: Method) -> bool:
    return text in (method.name, method.family) or fnmatch.fnmatchcase(method.name, text)


def user_method(text: str, *, sample_rate: int) -> Method:
    """A user's function, called as ``function(waveform, sample_rate=...)``.

    It gets a float32 NumPy array [batch, time] in [-1, 1], mono clips of one length at that rate
    (Hz, int), and returns finite samples of the same shape, of NumPy or JAX, or a
    :class:`.methods.Coded` with the size of each clip's code. All batches
    have one size: the last one repeats clips, and the first comes twice, so that compiling is not
    timed. Its docstring's first line describes it.

    Args:
        text: ``"FILE.py:function"``, or ``"module:function"`` with the module in the current
            folder or installed.
        sample_rate: Hz, of the clips.

    Returns:
        A method of the family "user", whose settings have a digest of the file.

    Raises:
        ValueError: if the text is none of these, or the function cannot be called so.
        ImportError: if there is no such file, module or function, or it cannot be imported.
    """
    place, colon, name = text.rpartition(":")
    if not (colon and place and name):
        raise ValueError(f"--method {text!r}: write FILE.py:function or module:function")
    module = _user_module(place, text)
    function: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(function):
        raise ImportError(f"--method {text}: {place} has no function {name!r}")
    try:
        inspect.signature(function).bind(None, sample_rate=sample_rate)
    except TypeError as error:
        raise ValueError(
            f"--method {text}: {error}; it is given the waveform, and sample_rate as a keyword"
        ) from error
    except ValueError:  # a function of C, which does not tell what it takes
        pass
    source = inspect.getsourcefile(module)
    digest = hashlib.sha256(Path(source).read_bytes() if source else b"").hexdigest()
    lines = (inspect.getdoc(function) or "").splitlines()
    return Method(
        text,
        "user",
        functools.partial(function, sample_rate=sample_rate),
        lines[0] if lines else "",
        phase="unknown",
        settings={"sha256": digest},
    )


def _user_module(place: str, text: str) -> ModuleType:
    """The module of a file, or of a name; whatever it raises is named."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        path = Path(place)
        if not path.is_file():
            raise FileNotFoundError("no such file")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:  # a program: it may raise anything
        kind = "" if isinstance(error, (ImportError, OSError)) else f"{type(error).__name__}: "
        raise ImportError(f"--method {text}: cannot be imported: {kind}{error}") from error
    return module
