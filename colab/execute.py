"""Runs notebooks and stores what they show: ``python colab/execute.py [NAME ...]``, all by default.

Pictures are stored with 256 colours; sounds, animations, warnings and paths of the machine are
left out. Each notebook notes what it was run from, so that a test tells a stale one.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

COLAB = Path(__file__).resolve().parent
PATHS = re.compile(r"(?<![\w.:/<\]])/(?:[\w.+@-]+/)+")
"""The folders of an absolute path; what follows them is kept."""


def digest(notebook: dict[str, Any]) -> str:
    """Fingerprint of the code, the common first cell left out."""
    sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256("\0".join(sources[1:]).encode()).hexdigest()[:16]


def stripped(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outputs of a cell as they are stored."""
    kept = []
    for output in outputs:
        if output["output_type"] == "stream":
            text = PATHS.sub("", "".join(output["text"]))
            if output["name"] == "stdout" and kept and kept[-1]["output_type"] == "stream":
                kept[-1]["text"] += text  # in how many parts it came is chance
            elif output["name"] == "stdout":
                kept.append({**output, "text": text})
            continue
        if output["output_type"] == "error":
            raise ValueError(f"{output['ename']}: {output['evalue']}")
        data = output["data"]
        text = PATHS.sub("", "".join(data.get("text/plain", "")))
        html = "".join(data.get("text/html", ""))
        if "<audio" in html:
            data = {"text/plain": "(a sound: run the cell to hear it)"}
        elif html:
            data = {"text/plain": "(an animation: run the cell to see it)"}
        elif "image/png" in data:
            data = {"image/png": small_png(data["image/png"]), "text/plain": text}
        else:
            data = {"text/plain": text}
        kept.append({**output, "data": data, "metadata": {}})
    return kept


def small_png(content: str) -> str:
    """A picture with a palette, base64 as the given one."""
    from PIL import Image

    target = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        # The palette covers all colours, also those of few pixels: colour bars have steps else.
        cover, plain = Image.Quantize.MAXCOVERAGE, Image.Dither.NONE
        flat = picture.convert("RGB").quantize(256, method=cover, kmeans=1, dither=plain)
        flat.save(target, format="PNG", optimize=True)
    return base64.b64encode(target.getvalue()).decode("ascii")


def executed(path: Path) -> dict[str, Any]:
    """Notebook with the outputs of a run from top to bottom."""
    import nbclient
    import nbformat

    source = json.loads(path.read_text(encoding="utf-8"))
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=480, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    ).execute()
    for cell, run in zip(source["cells"], notebook.cells, strict=True):
        if cell["cell_type"] == "code":
            cell["execution_count"] = run.execution_count
            cell["outputs"] = stripped(json.loads(json.dumps(run.outputs)))
    source["metadata"]["isincnet_jax"] = {"executed": digest(source)}
    return source


def main() -> None:
    """Runs and stores the notebooks that are named, or all."""
    names = sys.argv[1:] or sorted(path.stem for path in COLAB.glob("*.ipynb"))
    for name in names:
        path, began = COLAB / f"{name}.ipynb", time.perf_counter()
        text = json.dumps(executed(path), indent=1, ensure_ascii=False)
        path.write_text(f"{text}\n", encoding="utf-8")
        print(f"{name:24} {time.perf_counter() - began:5.1f} s, {len(text) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
