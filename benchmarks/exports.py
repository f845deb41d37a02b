"""Exported codecs and layers: ONNX and PyTorch files beside JAX, in one run, and their sizes.

    python benchmarks/exports.py [--models 16khz-linear,...] [--batch 4] [--seconds 10] [--pairs 11]
        [--write]

Each part of a codec runs by onnxruntime and by the PyTorch module that ``isn.to_torch`` writes,
in turns with JAX (A B, B A, ...), all on the processor with all of its cores, on white noise.
``ratio`` is the median over the pairs of the other's time over JAX's: above 1 JAX is faster.
``difference`` is the largest difference from JAX over the largest value; the round trips' SNR is
over all samples. Bytes are those of the files. STFT, mel, CQT and SincConv have rows of their own.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
from paired import compare
from torch_peers import torch_device

import isincnet_jax as isn

MODELS = ("16khz-linear", "16khz-linear-causal", "16khz-mel", "44khz-mel", "16khz-lapped")
PARTS = {"encode": "waveform", "decode": "spectrogram", "round-trip": "waveform"}
LAYERS = {
    "STFT": lambda: isn.STFT(n_fft=2048, hop_length=512),
    "MelSpectrogram": isn.MelSpectrogram,
    "CQT": isn.CQT,
    "SincConv": lambda: isn.SincConv(stride=160, padding="same"),
}


def torch_net(path: Path) -> Any:
    """The module of a file, called Net."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Net()


def onnx_call(path: Path, given: np.ndarray) -> Callable[[], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: given})[0]  # type: ignore[return-value]


def torch_call(function: Callable[[Any], Any], given: np.ndarray) -> Callable[[], Any]:
    import torch

    argument = torch.tensor(given)

    def call() -> Any:
        with torch.no_grad():
            return function(argument)

    return call


def measure(name: str, part: str, ours: Any, peers: dict[str, Any], audio_s: float, pairs: int):
    """Rows of one operation: every peer beside JAX."""
    wanted = np.asarray(ours())
    rows = []
    for peer, (call, path) in peers.items():
        found = np.asarray(call())[..., : wanted.shape[-1]]
        row = {
            "name": name,
            "part": part,
            "peer": peer,
            "bytes": path.stat().st_size,
            "difference": float(np.max(np.abs(found - wanted)) / np.max(np.abs(wanted))),
            **compare(lambda: jax.block_until_ready(ours()), call, pairs=pairs, audio_s=audio_s),
        }
        rows.append(row)
        print(f"{name} {part} {peer}: {row['ratio']:.2f}", flush=True)
    return rows


def of_codec(name: str, args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    codec: Any = isn.from_pretrained(name)
    length = args.seconds * codec.spec.sample_rate // codec.spec.hop_length * codec.spec.hop_length
    rng = np.random.default_rng(common.SEED)
    waveform = rng.uniform(-1, 1, (args.batch, length)).astype(np.float32)
    given = {"waveform": waveform, "spectrogram": np.array(codec.encode(waveform))}
    net = torch_net(isn.to_torch(codec, folder / "net.py", name="Net"))
    ours = {
        "encode": codec.encode,
        "decode": lambda spectrogram: codec.decode(spectrogram, length=length),
        "round-trip": lambda waveform: codec.decode(codec.encode(waveform), length=length),
    }
    theirs = {
        "encode": net.encode,
        "decode": lambda spectrogram: net.decode(spectrogram, length=length),
        "round-trip": net,
    }
    rows = []
    for part, kind in PARTS.items():
        array, model = given[kind], folder / f"{part}.onnx"
        isn.export_onnx(codec, model, part=part)  # type: ignore[arg-type]
        peers = {
            "onnxruntime": (onnx_call(model, array), model),
            "PyTorch": (torch_call(theirs[part], array), folder / "net.py"),
        }
        argument = jnp.asarray(array)
        call = ours[part]
        found = measure(
            name, part, lambda call=call, argument=argument: call(argument), peers,
            args.batch * length / codec.spec.sample_rate, args.pairs,
        )  # fmt: skip
        if part == "round-trip":
            for row in found:
                row["snr_db"] = common.snr_db(waveform, np.asarray(peers[row["peer"]][0]()))
        rows += found
    return rows


def of_layer(name: str, args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    layer: Any = LAYERS[name]()
    length = int(args.seconds * layer.sample_rate)
    rng = np.random.default_rng(common.SEED)
    waveform = rng.uniform(-1, 1, (args.batch, length)).astype(np.float32)
    variables = layer.init(jax.random.key(0), jnp.asarray(waveform[:1]))
    model = isn.export_onnx(layer, folder / "layer.onnx", variables=variables)
    path = isn.to_torch(layer, folder / "layer.py", variables=variables, name="Net")
    peers = {
        "onnxruntime": (onnx_call(model, waveform), model),
        "PyTorch": (torch_call(torch_net(path), waveform), path),
    }
    apply, argument = jax.jit(layer.apply), jnp.asarray(waveform)
    audio_s = args.batch * args.seconds
    return measure(name, "layer", lambda: apply(variables, argument), peers, audio_s, args.pairs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default=",".join(MODELS), help="presets, by commas")
    parser.add_argument("--layers", default=",".join(LAYERS), help="layers, by commas; '' for none")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=10, help="of a clip")
    parser.add_argument("--pairs", type=int, default=11, help="measurements of each side")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results")
    args = parser.parse_args()
    load = common.load_average()
    torch_device()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in filter(None, args.models.split(",")):
            rows += of_codec(name, args, Path(folder))
        for name in filter(None, args.layers.split(",")):
            rows += of_layer(name, args, Path(folder))
    common.print_table(
        f"{args.batch} clips of {args.seconds} s: exports beside JAX",
        ["what", "part", "by", "JAX, ms", "ms", "ratio", "kB", "difference", "SNR"],
        [
            [row["name"], row["part"], row["peer"], f"{row['ours_ms']:.1f}",
             f"{row['peer_ms']:.1f}", f"{row['ratio']:.2f}", f"{row['bytes'] / 1e3:.0f}",
             f"{row['difference']:.1e}", f"{row.get('snr_db', float('nan')):.1f}"]
            for row in rows
        ],
    )  # fmt: skip
    if args.write:
        origin = common.describe_run(args, load_average_before=load)
        common.write_results("exports", {**origin, "exports": rows})


if __name__ == "__main__":
    main()
