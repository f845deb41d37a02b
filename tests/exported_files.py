"""Runs exported files in a process where neither JAX nor this package can be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

_BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("isincnet_jax", "jax", "jaxlib", "flax"):
            raise ImportError(f"{name} is not installed here")
        return None

sys.meta_path.insert(0, Blocker())
import numpy as np

folder = sys.argv[1]
given = dict(np.load(f"{folder}/given.npz"))
found = {}
"""

_ONNX = """
import onnxruntime

sessions = {}
for key, array in given.items():
    name = key.split(" ")[0]
    if name not in sessions:
        sessions[name] = onnxruntime.InferenceSession(f"{folder}/{name}.onnx")
    session = sessions[name]
    (found[key],) = session.run(None, {session.get_inputs()[0].name: array})
"""

_TORCH = """
import importlib.util
import torch

def load(name):
    spec = importlib.util.spec_from_file_location(name, f"{folder}/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Net()

nets = {}
for key, array in given.items():
    name, method, length, cotangent = (key.split(" ") + ["", "", ""])[:4]
    if cotangent == "cotangent":
        continue
    net = nets.setdefault(name, load(name) if name not in nets else None)
    options = {"length": int(length)} if method == "decode" and length else {}
    argument = torch.tensor(array, requires_grad=array.dtype == np.float32)
    result = (net if method == "forward" else getattr(net, method))(argument, **options)
    found[key] = result.detach().numpy()
    if f"{key} cotangent" in given:
        (result * torch.tensor(given[f"{key} cotangent"])).sum().backward()
        found[f"{key} gradient"] = argument.grad.numpy()
"""

_END = """
np.savez(f"{folder}/found.npz", **found)
assert not {"jax", "jaxlib", "isincnet_jax"} & {name.split(".")[0] for name in sys.modules}
"""


def run_outside(kind: str, folder: Path, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Results of files in a folder for arrays by "file ..." (ONNX) or "file method [length]"."""
    np.savez(folder / "given.npz", **given)  # type: ignore[arg-type]
    script = _BLOCKED + (_ONNX if kind == "onnx" else _TORCH) + _END
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "found.npz") as found:
        return dict(found)


def snr_db(original: np.ndarray, found: np.ndarray) -> float:
    """Energy over that of the error, dB."""
    original = original.astype(np.float64)
    return 10 * np.log10(np.sum(original**2) / max(np.sum((found - original) ** 2), 1e-300))


def noise(batch: int, length: int) -> np.ndarray:
    """White noise, float32 [batch, length]."""
    return np.random.default_rng(length).uniform(-1, 1, (batch, length)).astype(np.float32)
