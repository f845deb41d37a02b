"""Builds the browser page: ONNX graphs, the built-in clip, and the runtime beside the page.

    python docs/browser/build.py docs/_build/web --runtime node_modules/onnxruntime-web

``make web`` fetches the runtime and calls this. The folder is served as it is:
``python -m http.server --directory docs/_build/web``; nothing is requested from anywhere else.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import soundfile

import isincnet_jax as isn

PRESETS = ("16khz-linear", "16khz-mel", "44khz-linear")
PAGE = ("index.html", "style.css", "app.js")
RUNTIME = (
    "ort.wasm.bundle.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)
CLIP_RATE = 44_100


def build(target: Path, runtime: Path) -> None:
    """Writes the folder.

    Args:
        target: folder to write; made if missing.
        runtime: the package onnxruntime-web.

    Raises:
        SystemExit: if the runtime is not there.
    """
    here = Path(__file__).parent
    missing = [name for name in RUNTIME if not (runtime / "dist" / name).is_file()]
    if missing:
        raise SystemExit(f"{runtime}: has no {', '.join(missing)}; `make web` fetches the package")
    target.mkdir(parents=True, exist_ok=True)
    models = []
    for name in PRESETS:
        codec = isn.from_pretrained(name)
        spec = codec.spec
        for part in ("encode", "decode"):
            isn.export_onnx(codec, target / f"{name}-{part}.onnx", part=part)
        models.append(
            {
                "name": name,
                "sample_rate": spec.sample_rate,
                "num_bins": spec.num_bins,
                "num_channels": spec.num_channels,
                "top_hz": round(float(spec.center_hz[-1])),
            }
        )
    (target / "models.json").write_text(json.dumps(models))
    soundfile.write(target / "clip.wav", isn.demo_waveform(CLIP_RATE), CLIP_RATE, subtype="PCM_16")
    for name in PAGE:
        shutil.copyfile(here / name, target / name)
    for name in RUNTIME:
        shutil.copyfile(runtime / "dist" / name, target / name)
    package = json.loads((runtime / "package.json").read_text())
    (target / "RUNTIME.txt").write_text(
        f"onnxruntime-web {package['version']}, {package['license']} licence, "
        f"{package['repository']['url']}\n"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", type=Path)
    parser.add_argument("--runtime", type=Path, required=True)
    args = parser.parse_args()
    build(args.target, args.runtime)
