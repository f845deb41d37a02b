"""Frame of a self-contained HTML page: templates that escape every text, facts of a run."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from isincnet_jax import provenance
from isincnet_jax.files import replacing
from isincnet_jax.pages.table import number_text


def write_page(
    path: str | Path,
    template: str,
    results: Mapping[str, Any],
    *,
    facts: Mapping[str, Any],
    **shown: Any,
) -> Path:
    """Writes a page that needs no network, all or nothing.

    Args:
        path: file to write; an older one is replaced.
        template: its name in the folder of templates, without the suffix.
        results: what the page is about; the frame shows their "command".
        facts: texts by their names, in order; empty ones are left out.
        **shown: whatever else the template shows; every text is escaped where it stands.

    Returns:
        The path of the page.

    Raises:
        KeyError: for results that lack what the template shows.
        OSError: if it cannot be written.
    """
    try:
        text = (
            _environment()
            .get_template(f"{template}.html")
            .render(results=results, facts=facts, **shown)
        )
    except jinja2.UndefinedError as error:
        raise KeyError(str(error)) from error
    with replacing(path) as temporary:
        # A name may hold half a surrogate pair: HTML has a reference for it, UTF-8 has nothing.
        temporary.write_bytes(text.encode("utf-8", "xmlcharrefreplace"))
    return Path(path)


@functools.cache
def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("isincnet_jax.pages")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters |= {
        "base64": lambda content: base64.b64encode(content).decode("ascii"),
        "digest": _digest,
        "number": number_text,
    }
    # Styles and scripts are ours and stand in the page as they are: the policy has their hashes.
    environment.globals["source"] = lambda *names: Markup("").join(
        Markup(loader.get_source(environment, name)[0]) for name in names
    )
    return environment


def _digest(text: str) -> str:
    """The source expression of a content security policy for exactly this inline text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def run_facts(results: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Facts of a run: when, from which commit, on which device, with which versions it was made.

    Args:
        results: "date", "commit" or "commits", "uncommitted_changes", "device" or "devices",
            "versions"; each may be missing.
        **more: facts that stand before the versions.

    Returns:
        Texts by their names, in the order of the page.
    """
    *before, last = results.get("commits") or [results.get("commit")]
    commits = [provenance.code_text({"commit": one}) for one in before]
    commits.append(provenance.code_text({**results, "commit": last}))
    versions = results.get("versions") or {}
    return {
        "Date": results.get("date") or "not recorded",
        "Commit": ", ".join(commits),
        "Device": ", ".join(results.get("devices") or [results.get("device") or "not recorded"]),
        **more,
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
