"""Training speed beside a PyTorch loop, and the input pipelines beside the step.

    python benchmarks/training.py [--audio DIR] [--rounds 5] [--steps 10]

The recipe of iSincNet 0.5 on batches of 8 x 5 s at 16 kHz: a linear complex bank of 128 bins
(fixed), a decoder of 3 frame taps (learned), L1 + L2 + log-STFT losses, reversal, polarity and a
silent item as augmentation, AdamW, gradient clipping. Both sides do the same work on the same
crops: ours is the step of ``experiments/train.py`` under ``jax.pmap``; the peer is written for
this benchmark after the recipe, with ``F.conv1d`` (with complex64 kernels, as the reference stores
them, and with 256 real ones, which is kinder), ``Conv1d`` and ``torch.stft``. They take turns, so
many steps at a time; printed are medians and the median of the ratios.

The pipelines are timed alone, reading the crops of gtzan_mini (synthetic music without it).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
from torch_peers import torch_device

import isincnet_jax as isn
from isincnet_jax.data import corpora, pipeline
from isincnet_jax.data.prefetching import prefetch
from isincnet_jax.training import losses, optimizers, parallel
from isincnet_jax.training import resident as on_device
from isincnet_jax.training import state as train_state
from isincnet_jax.training import step as train_step
from isincnet_jax.training.augmentation import AugmentationSpec

BATCH, RATE, CROP_S = 8, 16_000, 5
LENGTH = RATE * CROP_S
SPEC = isn.FilterbankSpec(shape="none")
DECODER_FRAMES = 3
AUGMENTATION = AugmentationSpec(reversal=0.5, polarity=0.5, silent_items=1)
WEIGHTS = {"l1": 1.0, "l2": 1.0, "log_stft": 1.0, "energy": 0.0}

Steps = Callable[[Iterator[np.ndarray], int], None]


def our_step(spec: isn.FilterbankSpec = SPEC, *, draw: Any = None) -> tuple[Any, Any]:
    """The compiled step over all devices, and the state it starts from, one copy per device."""
    decoder = isn.DecoderSpec("free", num_frames=DECODER_FRAMES, first_frame=-1)
    model = isn.SincNet(spec, decoder, learnable_decoder=True)
    optimizer = optimizers.make_optimizer(optimizers.OptimizerSpec(weight_decay=1e-4))
    variables = model.init(jax.random.key(common.SEED), jnp.zeros((1, spec.hop_length)))
    state = train_state.create_state(variables, optimizer, key=jax.random.key(common.SEED))
    step = parallel.parallel_step(
        train_step.make_step(
            lambda variables, waveform, key: model.apply(variables, waveform),
            loss=losses.weighted_loss(WEIGHTS),
            optimizer=optimizer,
            augmentation=AUGMENTATION,
            sample_rate=RATE,
            draw=draw,
        )
    )
    return step, parallel.replicate(state)


def our_steps(*, spec: isn.FilterbankSpec = SPEC, draw: Any = None, placed: Any = None) -> Steps:
    """A function that trains for some steps, waiting for the last."""
    step, state = our_step(spec, draw=draw)
    held = {"state": state}

    def run(batches: Iterator[np.ndarray], count: int) -> None:
        metrics = {}
        for _ in range(count):
            data = placed
            if data is None:
                data = parallel.shard(parallel.split_batch(next(batches)))
            held["state"], metrics = step(held["state"], data)
        jax.block_until_ready(metrics)

    return run


def torch_steps(*, complex_kernels: bool = False) -> Steps | None:
    """The same in PyTorch, or None without it."""
    try:
        import torch

        device = torch_device()
    except ImportError as error:
        print(f"skipped the peer: {error}")
        return None
    torch.manual_seed(common.SEED)
    functional = torch.nn.functional
    kernels = torch.from_numpy(np.array(SPEC.bank.kernels, np.float32))[:, None].to(device)
    stored = torch.complex(kernels[: SPEC.num_bins], kernels[SPEC.num_bins :])
    half, hop = SPEC.taps // 2, SPEC.hop_length
    decoder = torch.nn.Conv1d(SPEC.num_channels, hop, DECODER_FRAMES, padding=1, bias=False)
    decoder = decoder.to(device)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-3, weight_decay=1e-4)
    window = torch.hann_window(1001, device=device)

    def reconstruct(clips: Any) -> Any:
        padded = functional.pad(clips[:, None], (half, half), mode="reflect")
        if complex_kernels:
            bins = functional.conv1d(padded.to(torch.complex64), stored, stride=hop)
            frames = torch.cat([bins.real, bins.imag], dim=1)
        else:
            frames = functional.conv1d(padded, kernels, stride=hop)
        return decoder(frames).transpose(1, 2).reshape(len(clips), -1)[:, : clips.shape[1]]

    def log_magnitude(clips: Any) -> Any:
        spectrum = torch.stft(
            clips, 1024, hop_length=250, win_length=1001, window=window, return_complex=True
        )
        return torch.log1p(spectrum.abs())

    def augment(clips: Any) -> Any:
        flips = torch.rand(len(clips), device=device) < 0.5
        clips = torch.where(flips[:, None], clips.flip(1), clips)
        clips = clips * (1 - 2 * (torch.rand(len(clips), 1, device=device) < 0.5).float())
        clips[0] = 0
        return clips

    def run(batches: Iterator[np.ndarray], count: int) -> None:
        for _ in range(count):
            clips = augment(torch.from_numpy(next(batches)).to(device))
            decoded = reconstruct(clips)
            loss = functional.l1_loss(decoded, clips) + functional.mse_loss(decoded, clips)
            loss = loss + functional.l1_loss(log_magnitude(decoded), log_magnitude(clips))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(decoder.parameters(), 2.0)
            optimizer.step()
            loss.item()  # a loop that logs its loss, as the reference's does

    return run


def seconds_per_step(run: Steps, batches: Iterator[np.ndarray], steps: int) -> float:
    begun = time.perf_counter()
    run(batches, steps)
    return (time.perf_counter() - begun) / steps


def open_corpus(folder: Path | None) -> Any:
    """The training split of gtzan_mini, or synthetic music."""
    mini = folder / "gtzan_mini" if folder else None
    if mini is not None and mini.is_dir():
        splits = common.ROOT / "experiments" / "splits" / "gtzan_mini"
        return corpora.build_corpora("gtzan", mini, sample_rate=RATE, splits=splits)["train"]
    return corpora.build_corpora("generated", sample_rate=RATE)["train"]


def pipeline_rates(corpus: Any, plan: Any, count: int = 200) -> dict[str, float]:
    """Batches per second of each way to read a corpus."""
    from isincnet_jax.data import corpus_files
    from isincnet_jax.data.tf import pipeline as tf_pipeline

    rates = {}
    with tempfile.TemporaryDirectory() as folder:
        corpus_files.save_corpus(corpus, Path(folder) / "corpus")
        mapped = corpus_files.load_corpus(Path(folder) / "corpus")
        sources = {
            "NumPy, memory-mapped": lambda: pipeline.numpy_batches(mapped, plan),
            "tf.data": lambda: tf_pipeline.tf_batches(corpus, plan),
        }
        for name, make in sources.items():
            batches = make()
            for _ in range(10):
                next(batches)
            begun = time.perf_counter()
            for _ in range(count):
                next(batches)
            rates[name] = count / (time.perf_counter() - begun)
    return rates


def resident_steps(corpus: Any) -> Steps:
    """Our steps with the corpus on the device."""
    devices = jax.local_device_count()
    placed = next(on_device.resident_batches(corpus, crop_samples=LENGTH)(0))
    draw = on_device.crop_drawer(
        crop_samples=LENGTH, clips_per_device=BATCH // devices, seed=common.SEED
    )
    return our_steps(draw=draw, placed=placed)


def main() -> None:
    parser = common.parser_with_audio(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    args: argparse.Namespace = parser.parse_args()
    from isincnet_jax import host_memory

    host_memory.keep_memory()  # as experiments/train.py does; it serves both sides
    corpus = open_corpus(common.audio_folder(args.audio))
    plan = pipeline.BatchPlan(batch_size=BATCH, crop_samples=LENGTH, seed=common.SEED)
    batches = prefetch(pipeline.numpy_batches(corpus, plan))
    sides: dict[str, Steps | None] = {
        "ours": our_steps(),
        "ours, corpus on the device": resident_steps(corpus),
        "PyTorch, complex kernels": torch_steps(complex_kernels=True),
        "PyTorch, real kernels": torch_steps(),
    }
    times: dict[str, list[float]] = {name: [] for name, run in sides.items() if run}
    for round_number in range(args.rounds + 1):
        for name, run in sides.items():
            if run is not None:
                seconds = seconds_per_step(run, batches, args.steps)
                if round_number:  # the first compiles
                    times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    rates = pipeline_rates(corpus, plan)
    result: dict[str, Any] = {"steps": {}, "pipelines": {}}
    for name, seconds in medians.items():
        row = {"steps_per_s": 1 / seconds, "x_real_time": BATCH * CROP_S / seconds}
        for kind in ("complex", "real"):
            peers = times.get(f"PyTorch, {kind} kernels", [])
            ratios = [peer / own for peer, own in zip(peers, times[name], strict=bool(peers))]
            row[f"ratio_to_{kind}_kernels"] = statistics.median(ratios) if ratios else None
        result["steps"][name] = row
    for name, rate in rates.items():
        result["pipelines"][name] = {
            "batches_per_s": rate,
            "ratio_to_step": rate * medians["ours"],
        }
    common.print_table(
        f"Training steps, batch of {BATCH} x {CROP_S} s",
        ["", "steps/s", "x real time", "complex kernels' time / this", "real kernels' time / this"],
        [[name, *row.values()] for name, row in result["steps"].items()],
    )
    common.print_table(
        "Input pipelines",
        ["", "batches/s", "batches per step of ours"],
        [[name, *row.values()] for name, row in result["pipelines"].items()],
    )
    common.write_results(
        "training",
        {**common.describe_run(args, load_average=common.load_average()), **result},
    )


if __name__ == "__main__":
    main()
