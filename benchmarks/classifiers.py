"""SincNet, LEAF and EfficientLEAF beside PyTorch: training steps, evaluation, front ends.

    python benchmarks/classifiers.py [--pairs 5] [--only "LEAF,..."] [--peer-paths DIR,...]
        [--keep-memory] [--write]

**SincNet**: a training step (RMSprop) and scores of 128 chunks of 3200 samples, 462 classes, of
``experiments/configs/classifier_speaker.py``. The peer is written for this benchmark after the
published network (LayerNorm of the waveform, sinc filters 80 x 251, two convolutions 60 x 5,
max-pooling by 3, LayerNorm, leaky ReLU, three layers of 2048 with BatchNorm); both have the same
number of parameters. **LEAF** and **EfficientLEAF**: features of 16 clips of 1 s, and the same with
gradients of a mean square with respect to all parameters, beside leaf-pytorch's ``Leaf`` and
EfficientLEAF's ``EfficientLeaf`` ("Gabor 8G-opt"), whose repositories ``--peer-paths`` names. A
peer that is missing is said to be. leaf-pytorch reads its initial filters from torchaudio; where
that is missing it gets those of a mel scale, which take the same time.

Sides take turns (A B, B A, ...); ratio = peer / ours, with quartiles and the ratio of processor
time. ``--keep-memory``: freed arrays stay in the process, as in ``train_classifier.py``.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import common
import jax
import jax.numpy as jnp
import numpy as np
import spectrograms
from paired import Operation, compare
from program import Program
from spectrogram_peers import attempt
from torch_peers import torch_device

import isincnet_jax as isn
from isincnet_jax.classifiers import training as classification
from isincnet_jax.classifiers.networks import SincNetClassifier
from isincnet_jax.frontends import sinc_bands
from isincnet_jax.training import optimizers, parallel
from isincnet_jax.training import state as train_state

RATE, CHUNKS, CHUNK, CLASSES = 16_000, 128, 3200, 462
CLIPS = 16


class Row(NamedTuple):
    """A comparison: what it is, seconds of audio of a call, and how to build both sides."""

    name: str
    audio_s: float
    ours: Callable[[], Operation]
    peer: Callable[[], Operation]


def _noise(clips: int, samples: int) -> np.ndarray:
    drawn = np.random.default_rng(common.SEED).uniform(-0.5, 0.5, (clips, samples))
    return drawn.astype(np.float32)


def _labels() -> np.ndarray:
    return np.random.default_rng(common.SEED).integers(0, CLASSES, CHUNKS)


def our_step() -> Operation:
    """The step of ``train_classifier.py`` on one batch, again and again."""
    module = SincNetClassifier(CLASSES, axis_name="data")
    variables = jax.jit(module.init)(jax.random.key(common.SEED), jnp.zeros((1, CHUNK)))
    spec = optimizers.OptimizerSpec(
        total_steps=1_000_000,
        weight_decay=0.0,
        clip_norm=None,
        schedule="constant",
        warmup_steps=0,
    )
    optimizer = classification.make_rmsprop(spec)

    def classify(variables: Any, waveform: jax.Array, key: jax.Array) -> Any:
        return module.apply(variables, waveform, train=True, mutable=["batch_stats"])

    step = parallel.parallel_step(
        classification.make_classification_step(classify, optimizer=optimizer)
    )
    state = train_state.create_state(variables, optimizer, key=jax.random.key(common.SEED))
    held = {"state": parallel.replicate(state)}
    targets = np.eye(CLASSES, dtype=np.float32)[_labels()]
    batch = tuple(
        parallel.shard(parallel.split_batch(part)) for part in (_noise(CHUNKS, CHUNK), targets)
    )

    def run() -> Any:
        held["state"], metrics = step(held["state"], batch)
        return jax.block_until_ready((held["state"], metrics))

    return run


def our_scores() -> Program:
    """Scores of a batch of chunks."""
    module = SincNetClassifier(CLASSES)
    variables = jax.jit(module.init)(jax.random.key(common.SEED), jnp.zeros((1, CHUNK)))
    return Program(module.apply, variables, jax.device_put(_noise(CHUNKS, CHUNK)))


def torch_sincnet() -> Any:
    """The published network, as a PyTorch module from [batch, time] to scores."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Norm(nn.Module):
        def __init__(self, *shape: int) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.ones(shape))
            self.beta = nn.Parameter(torch.zeros(shape))

        def forward(self, x: Any) -> Any:
            mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
            return self.gamma * (x - mean) / (std + 1e-6) + self.beta

    class Sinc(nn.Module):
        def __init__(self, filters: int, taps: int) -> None:
            super().__init__()
            bands = sinc_bands.initial_parameters(
                filters, scale="mel_htk", low_hz=30, high_hz=RATE / 2 - 100
            )
            self.low, self.band = (
                nn.Parameter(torch.tensor(one, dtype=torch.float32)[:, None]) for one in bands
            )
            half = taps // 2
            place = torch.linspace(0, taps / 2 - 1, steps=half)
            self.register_buffer("window", 0.54 - 0.46 * torch.cos(2 * math.pi * place / taps))
            nu = 2 * math.pi * torch.arange(-half, 0.0)[None] / RATE
            self.register_buffer("nu", nu)

        def forward(self, x: Any) -> Any:
            low = 50 + self.low.abs()
            high = torch.clamp(low + 50 + self.band.abs(), 50, RATE / 2)
            left = torch.sin(high * self.nu) - torch.sin(low * self.nu)
            left = left / (self.nu / 2) * self.window
            middle = 2 * (high - low)
            filters = torch.cat([left, middle, left.flip(1)], dim=1) / middle
            return functional.conv1d(x, filters[:, None]).abs()

    class SincNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.input_norm = Norm(CHUNK)
            self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
            time, channels = CHUNK, 1
            for width, taps in ((80, 251), (60, 5), (60, 5)):
                first = channels == 1
                self.convs.append(Sinc(width, taps) if first else nn.Conv1d(channels, width, taps))
                time, channels = (time - taps + 1) // 3, width
                self.norms.append(Norm(width, time))
            inputs = time * channels
            self.dense_norm, layers = Norm(inputs), []
            for _ in range(3):
                layers.append(nn.Linear(inputs, 2048, bias=False))
                layers += [nn.BatchNorm1d(2048, momentum=0.05), nn.LeakyReLU(0.2)]
                inputs = 2048
            self.dense = nn.Sequential(*layers, nn.Linear(inputs, CLASSES))

        def forward(self, x: Any) -> Any:
            x = self.input_norm(x)[:, None]
            for conv, norm in zip(self.convs, self.norms, strict=True):
                x = functional.leaky_relu(norm(functional.max_pool1d(conv(x), 3)), 0.2)
            return self.dense(self.dense_norm(x.flatten(1)))

    torch.manual_seed(common.SEED)
    net = SincNet().to(torch_device())
    module = SincNetClassifier(CLASSES)
    ours = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, CHUNK)))["params"]
    wanted = sum(leaf.size for leaf in jax.tree.leaves(ours))
    found = sum(parameter.numel() for parameter in net.parameters())
    if wanted != found:
        raise SystemExit(f"the peer has {found} parameters, ours {wanted}; not comparable")
    return net


def torch_step() -> Operation:
    """A step of the peer: cross-entropy, gradients, RMSprop."""
    import torch

    net, device = torch_sincnet(), torch_device()
    optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3, alpha=0.95, eps=1e-8)
    chunks = torch.from_numpy(_noise(CHUNKS, CHUNK)).to(device)
    labels = torch.from_numpy(_labels()).to(device)

    def run() -> Any:
        loss = torch.nn.functional.cross_entropy(net(chunks), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return run


def _without_gradients(model: Any, inputs: np.ndarray) -> Operation:
    import torch

    model, device = model.eval(), torch_device()
    clips = torch.from_numpy(inputs).to(device)

    def run() -> Any:
        with torch.no_grad():
            found = model(clips)
        if device == "cuda":
            torch.cuda.synchronize()
        return found

    return run


def _with_gradients(model: Any, inputs: np.ndarray) -> Operation:
    import torch

    device = torch_device()
    clips = torch.from_numpy(inputs).to(device)

    def run() -> Any:
        model.zero_grad()
        loss = model(clips).square().mean()
        loss.backward()
        return loss.item()

    return run


def _our_gradients(layer: Any) -> Program:
    waveform = jax.device_put(_noise(CLIPS, RATE))
    variables = layer.init(jax.random.key(common.SEED), waveform[:1])
    options = {"train": True} if "batch_stats" in variables else {}

    def loss(params: Any, fixed: Any, x: jax.Array) -> Any:
        features, state = layer.apply(
            {"params": params, **fixed}, x, mutable=["batch_stats"], **options
        )
        return jnp.mean(features**2), state

    fixed = {name: value for name, value in variables.items() if name != "params"}
    return Program(jax.value_and_grad(loss, has_aux=True), variables["params"], fixed, waveform)


def _our_features(layer: Any) -> Program:
    waveform = jax.device_put(_noise(CLIPS, RATE))
    return Program(layer.apply, layer.init(jax.random.key(common.SEED), waveform[:1]), waveform)


def leaf_pytorch() -> Any:
    """leaf-pytorch's layer."""
    import torch

    try:
        importlib.import_module("torchaudio")
    except ImportError:  # only its initial filters are read from it
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    low, high = (np.asarray(edge) for edge in isn.LeafFrontend()._filterbank(None)._start())
    centers = torch.tensor(math.pi * (low + high / 2), dtype=torch.float32)
    sigmas = torch.tensor(2 * np.sqrt(2 * np.log(2)) / (np.pi * high), dtype=torch.float32)
    module = importlib.import_module("leaf_pytorch.frontend")
    start = torch.stack([centers, sigmas], dim=1)
    return module.Leaf(initializer=lambda shape: start).to(torch_device())


def efficient_leaf() -> Any:
    """EfficientLEAF's layer, as its paper recommends it."""
    module = importlib.import_module("model.efficientleaf")
    layer = module.EfficientLeaf(n_filters=40, num_groups=8, conv_win_factor=6, stride_factor=16)
    return layer.to(torch_device())


def make_rows() -> list[Row]:
    """All comparisons."""
    chunks, clips = _noise(CHUNKS, CHUNK), _noise(CLIPS, RATE)
    chunks_s = CHUNKS * CHUNK / RATE
    rows = [
        Row("SincNet, training step", chunks_s, our_step, torch_step),
        Row(
            "SincNet, scores",
            chunks_s,
            our_scores,
            lambda: _without_gradients(torch_sincnet(), chunks),
        ),
    ]
    layers = {
        "LEAF": (isn.LeafFrontend(), leaf_pytorch, clips[:, None]),
        "EfficientLEAF": (isn.EfficientLeafFrontend(), efficient_leaf, clips),
    }
    for name, (layer, peer, inputs) in layers.items():
        rows += [
            Row(
                f"{name}, features",
                CLIPS,
                lambda layer=layer: _our_features(layer),
                lambda peer=peer, inputs=inputs: _without_gradients(peer(), inputs),
            ),
            Row(
                f"{name}, features and gradients",
                CLIPS,
                lambda layer=layer: _our_gradients(layer),
                lambda peer=peer, inputs=inputs: _with_gradients(peer(), inputs),
            ),
        ]
    # What EfficientLEAF is for: the same features in less time.
    rows.append(
        Row(
            "EfficientLEAF beside leaf-pytorch's LEAF, features and gradients",
            CLIPS,
            lambda: _our_gradients(isn.EfficientLeafFrontend()),
            lambda: _with_gradients(leaf_pytorch(), clips[:, None]),
        )
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5, help="timed pairs of a comparison")
    parser.add_argument("--only", help="rows that begin with one of these, divided by commas")
    parser.add_argument(
        "--peer-paths", metavar="DIR,...", help="folders of peers outside the environment"
    )
    parser.add_argument("--keep-memory", action="store_true", help="see above")
    parser.add_argument("--write", action="store_true", help="write results/classifiers.json")
    args = parser.parse_args()
    if args.keep_memory:
        from isincnet_jax import host_memory

        host_memory.keep_memory()
    load_before = common.load_average()
    wanted = tuple(args.only.split(",")) if args.only else ("",)
    found, missing = [], []
    with spectrograms.peer_paths(args.peer_paths):
        for row in make_rows():
            if not row.name.startswith(wanted):
                continue
            result = attempt(
                lambda row=row: compare(
                    row.ours(), row.peer(), pairs=args.pairs, audio_s=row.audio_s
                ),
                row.name,
                missing,
            )
            if result is not None:
                found.append({"row": row.name, **result})
                print(f"  {row.name}: {result['ratio']:.2f}", flush=True)
    common.print_table(
        "Classifiers and their front ends, float32; ratio = PyTorch / ours",
        ["", "ours ms", "peer ms", "ratio", "quartiles", "ratio of processor time"],
        [
            [r["row"], r["ours_ms"], r["peer_ms"], f"{r['ratio']:.2f}",
             f"{r['ratio_lower_quartile']:.2f}-{r['ratio_upper_quartile']:.2f}",
             f"{r['processor_time_ratio']:.2f}"]
            for r in found
        ],
    )  # fmt: skip
    for line in missing:
        print(f"MISSING {line}")
    if args.write:
        if args.peer_paths:
            args.peer_paths = Path("DIR")  # folders are named, never located
        origin = common.describe_run(
            args, data="uniform noise", clip_count=CLIPS, load_average_before=load_before
        )
        common.write_results("classifiers", {**origin, "rows": found, "missing": missing})


if __name__ == "__main__":
    main()
