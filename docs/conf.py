"""The site, built by ``make docs``: offline, with warnings as errors.

Public names stand on the pages of ``api/`` as ``isincnet_jax.NAME``, everything else under the
module that defines it. Docstrings refer to both by the end of the path, as in
``:func:`.fourier.stft```.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes

import isincnet_jax as isn

ROOT = Path(__file__).resolve().parents[1]

project = "isincnet_jax"
author = "the isincnet_jax contributors"
copyright = author
version = release = isn.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_extra", "jupyter_execute"]

# References to other packages are links where the network is allowed: ISINCNET_INTERSPHINX=1.
intersphinx_mapping = (
    {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "jax": ("https://docs.jax.dev/en/latest", None),
        "flax": ("https://flax.readthedocs.io/en/latest", None),
        "librosa": ("https://librosa.org/doc/latest", None),
    }
    if os.environ.get("ISINCNET_INTERSPHINX")
    else {}
)

autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "ignore-module-all": True,  # what a module only hands on stands where it is defined
}
autodoc_typehints = "none"  # units and shapes stand in Args
autodoc_mock_imports = ["apache_beam", "ml_collections", "torch"]
autodoc_mock_imports += ["tensorflow", "tensorflow_datasets"]
autosummary_generate = False  # the pages of api/ are written, one for each wing
add_module_names = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_attr_annotations = False
maximum_signature_line_length = 88

# A reference of ours that leads nowhere is an error; others are not looked up offline.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(jax|flax|optax|numpy|np|scipy|librosa|matplotlib|typer|torch)\..*"),
    (r"py:.*", r"(zipfile|safetensors)\..*"),
    (r"py:.*", r"(jaxtyping|jaxlib|collections|pathlib|json|fnmatch|ndarray|'.*)(\..*)?"),
    (r"py:(exc|class)", r"[A-Z]\w*(Error|Warning)|optional|callable"),
    # Values and private names in what Sphinx shows of aliases and constants.
    (r"py:.*", r"<function .*|Path|.*'|.*\b_\w+.*|linen\.TrainedModel"),
    # The ground floor and the tasks have no pages.
    (r"py:.*", r"isincnet_jax\.(files|extras|provenance|linen|typing|tasks|pages|cli)(\..*)?"),
]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "auto"  # pages with code cells run when they are built
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

html_theme = "furo"
html_title = f"isincnet_jax {version}"
html_extra_path = ["_extra"] if (ROOT / "docs/_extra").is_dir() else []  # of listening.py
html_show_sourcelink = False
REPOSITORY = re.search(
    r'^REPOSITORY = "(.*?)"', (ROOT / "colab/first_cell.py").read_text("utf-8"), re.MULTILINE
)
if REPOSITORY and REPOSITORY[1]:
    html_theme_options = {
        "source_repository": REPOSITORY[1],
        "source_branch": "main",
        "source_directory": "docs/",
    }

_NAME = re.compile(r"isn\.(\w+(?:\.\w+)*)(?:\(.*\))?")
PUBLIC = {name: getattr(isn, name) for name in isn.__all__}


def _public_name(value: Any) -> str | None:
    """The public name of an object, other than constants and aliases."""
    name = getattr(value, "__name__", None)
    return name if name is not None and PUBLIC.get(name) is value else None


def skip_public(app: Any, what: str, name: str, obj: Any, *given: Any) -> bool | None:
    """Leaves public names out of the modules that define them: they have entries of their own."""
    if what == "module" and _public_name(obj) == name:
        return True
    # Flax calls ``setup``, and a dtype is a field whose default is a class.
    if what == "class" and (name == "setup" or isinstance(obj, type)):
        return True
    if (inspect.getdoc(obj) or "").startswith("Alias for field number"):
        return True  # the fields of a named tuple are among its attributes
    return None


_ROLE = re.compile(r":(func|class|data|exc|attr|meth):`([A-Za-z_]\w*)((?:\.\w+)*)`")
_RAISED = re.compile(r"^(    )?([A-Z]\w*(?:, [A-Z]\w*)*): ")
_SEVERAL = re.compile(r"    \w+(?:, \w+)+: ")
# Code, examples and emphasis stay; lone bars and stars would be markup.
_MARKUP = re.compile(
    r"``.*?``|`[^`]*`|^[ ]*>>>.*?(?:\n[ ]*\n|\Z)|\*\w[^*\n]*\w\*|(?<![\w*\\])\*(?=\w)|\|",
    re.DOTALL | re.MULTILINE,
)


def _full_name(module: Any, name: str) -> str | None:
    """Where a name of a module is defined, if it is one of ours."""
    value = getattr(module, name, None)
    owner = getattr(value, "__module__", None) or getattr(module, "__name__", "")
    if value is None or not owner.startswith("isincnet_jax") or isinstance(value, type(sys)):
        return None
    return f"{owner}.{name}"


def tidy(app: Any, what: str, name: str, obj: Any, *given: Any) -> None:
    """Docstrings as Napoleon and docutils want them, before they see them."""
    lines = given[1]  # the first are the options
    where = getattr(getattr(obj, "fget", obj), "__module__", None) or getattr(obj, "__name__", "")
    module = sys.modules.get(where)

    def link(found: re.Match[str]) -> str:
        full = _full_name(module, found[2])
        return f":{found[1]}:`{found[2]}{found[3]} <{full}{found[3]}>`" if full else found[0]

    text = _ROLE.sub(link, "\n".join(lines))
    text = _MARKUP.sub(lambda found: "\\" + found[0] if found[0] in ("|", "*") else found[0], text)
    tidied, section = [], ""
    for line in text.split("\n"):
        if line and not line.startswith(" "):
            section = line.removesuffix(":") if re.fullmatch(r"[A-Z]\w+:", line) else ""
            tidied.append(line)
        else:
            tidied.append(_entry(line, section, module))
    if what in ("attribute", "data", "property") and ":" in tidied[0]:
        tidied.insert(0, "\\")  # what stands before the colon is no type
    lines[:] = tidied


def _entry(line: str, section: str, module: Any) -> str:
    """A line below a heading: references become a list, errors are named in full."""
    begins = re.match(r"    (?=\S)", line) is not None
    if section == "References" and line.strip():
        return ("    * " if begins else "      ") + line.strip()
    several = _SEVERAL.match(line) if section == "Attributes" and begins else None
    if several is not None:  # with blanks all but the last would be types
        return line.replace(several[0], several[0].replace(", ", ","), 1)
    raised = _RAISED.match(line) if section == "Raises" and begins else None
    if raised is None:
        return line
    names = [_full_name(module, one) for one in raised[2].split(", ")]
    shown = [
        f"~{full}" if full else one for full, one in zip(names, raised[2].split(", "), strict=True)
    ]
    return f"    {', '.join(shown)}: {line[raised.end() :]}"


def shorten(app: Any, what: str, name: str, obj: Any, *given: Any) -> tuple[str, Any] | None:
    """Signatures without what Flax adds to every module."""
    _, signature, returns = given  # the first are the options
    if what != "class" or not signature:
        return None
    signature = re.sub(r", parent=<.*?>(?=, name)|, name=None(?=\))", "", signature)
    return re.sub(r"<class 'jax\.numpy\.(\w+)'>", r"jnp.\1", signature), returns


def name_by_module(app: Any, env: Any) -> None:
    """Public names can be referred to by the modules that define them, too."""
    objects = env.domains["py"].objects
    for public, value in PUBLIC.items():
        entry, name = objects.get(f"isincnet_jax.{public}"), getattr(value, "__name__", None)
        if entry is None or name is None:
            continue
        full = f"{value.__module__}.{name}"
        objects.setdefault(full, entry._replace(aliased=True))
        prefix = f"isincnet_jax.{public}."
        for inner in [key for key in objects if key.startswith(prefix)]:
            member = full + "." + inner.removeprefix(prefix)
            objects.setdefault(member, objects[inner]._replace(aliased=True))


def link_names(app: Any, doctree: Any) -> None:
    """Makes links of ``isn.NAME`` in the prose, which reads as well without them."""
    for literal in list(doctree.findall(nodes.literal)):
        found = _NAME.fullmatch(literal.astext())
        if found is None or isinstance(literal.parent, (nodes.reference, addnodes.pending_xref)):
            continue
        if found[1].split(".")[0] not in PUBLIC:
            continue
        reference = addnodes.pending_xref(
            "",
            refdomain="py",
            reftype="obj",
            reftarget=f"isincnet_jax.{found[1]}",
            refwarn=True,
            refexplicit=True,
        )
        literal.replace_self(reference)
        reference += literal


def setup(app: Any) -> dict[str, bool]:
    """Connects the above."""
    app.connect("autodoc-skip-member", skip_public)
    app.connect("autodoc-process-docstring", tidy, priority=400)  # Napoleon's is 500
    app.connect("autodoc-process-signature", shorten)
    app.connect("env-updated", name_by_module)
    app.connect("doctree-read", link_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
