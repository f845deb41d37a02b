"""Model card of a stored model, as the Hugging Face Hub shows it: ``README.md``.

It is written for people; nothing is read from it.

References:
    Hugging Face, "Model cards", https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

_USE = """## Use

{install}```python
import isincnet_jax as isn

model = isn.from_pretrained("{address}"){said}
```
"""
_FOLDER = "  # the folder of this file, or a .zip of it"


def render(
    kind: str,
    *,
    fields: Mapping[str, Any],
    values: Mapping[str, np.ndarray],
    card: Mapping[str, Any],
    figures: Mapping[str, Any] | None = None,
    address: str | None = None,
) -> str:
    """Markdown with YAML front matter, the same for the same model.

    Args:
        kind: of the model, a name of :data:`.model_kinds.KINDS`; one of the tags.
        fields: of the model, JSON values.
        values: the variables by their paths; those of ``params/`` are counted.
        card: what its maker says, JSON values; its ``license``, if a text, is the card's.
        figures: what was found out about it.
        address: that it will be loaded from; None for the folder that the card is in.

    Returns:
        The text, ending in a newline.
    """
    learned = [array for name, array in values.items() if name.startswith("params/")]
    dtypes = " and ".join(sorted({array.dtype.name for array in learned})) or "nothing"
    front = ["library_name: isincnet_jax", "tags:"]
    front += [f"- {tag}" for tag in ("audio", "jax", "flax", kind)]
    if isinstance(card.get("license"), str):
        front.append(f"license: {json.dumps(card['license'])}")  # a JSON text is a YAML scalar
    parts = [
        "\n".join(["---", *front, "---"]),
        f"# Model of kind `{kind}`",
        f"{sum(array.size for array in learned):,} parameters, stored as {dtypes}.",
        _table("## Model", fields),
        *([_table("## Figures", figures)] if figures else []),
        *([_table("## Card", card)] if card else []),
        _use(address),
    ]
    return "\n\n".join(parts)


def _use(address: str | None) -> str:
    if address is None:
        return _USE.format(install="", address="FOLDER", said=_FOLDER)
    install = "`pip install 'isincnet-jax[hub]'`\n\n"
    return _USE.format(install=install, address=address, said="")


def _table(title: str, values: Mapping[str, Any]) -> str:
    rows = [f"| {_cell(name)} | {_cell(text)} |" for name, text in _flat(values)]
    return "\n".join([title, "", "| field | value |", "|---|---|", *rows])


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names with dots for what stands in objects, and values as text."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def _cell(text: str) -> str:
    """A text on one line of a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())
