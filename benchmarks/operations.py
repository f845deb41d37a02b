"""Every operation beside every installed peer, over batch and length, and under the roofline.

    python benchmarks/operations.py [--operations encode,decode,...] [--grid 16x10,1x5]
        [--presets 16khz-linear,...] [--pairs 11] [--seconds 1] [--quick] [--plot FILE.png]
        [--peer-paths DIR,...] [--keep-memory]

Encode, decode and round trip of the presets; 8-bit tokens; STFT, mel spectrogram and constant-Q
transform at 22.05 kHz; SincConv at strides 1 and 160; one training step of the reference's recipe.
A grid of "16x10" is a batch of 16 clips of 10 s, of noise. Without ``--presets`` all four run at
the first two shapes and the first at all; tokens are those of the first.

**Peers.** PyTorch in the reference's geometry (``torch_peers.py``: real kernels, and complex ones
as the reference stores them), ``torch.stft``, nnAudio, librosa and librosax. Ours and a peer take
turns in one process (A B, B A, A B, ...), in bursts; ``ratio`` is the median over the pairs of the
peer's time over ours, with quartiles: above 1 we are faster. ``--pairs`` is the most that are
taken, ``--seconds`` the time after which a comparison makes do with fewer, but at least three. What
is not installed or raises stands under "missing" with the reason. The decoders do not do the same
work: the reference's reads three frames and is approximate, ours is exact.

Memory is handled as the C library does by default: large arrays that one side frees go back to the
system and are faulted in again, page by page, by the next call of either. ``--keep-memory`` keeps
them in the process, as ``experiments/train.py`` does; it shortens both sides' times, not equally.

**Costs.** ``compile_s`` is tracing, lowering and compilation, once per shape, with nothing read
from a cache on disk; the design of the bank came before it. ``peak_bytes`` is what XLA plans for
arguments, results and temporary arrays.

**Ceiling.** Operations and bytes are counted from specs and shapes (``work.py``): the operations of
the algorithm that we use, the bytes that must move. The machine's float32 matrix rate and copy
bandwidth are measured before and after (``roofline.py``) and the higher taken. ``fraction`` is the
time that the slower of the two allows over the time that was taken, ``binds`` names that side.

Runs of some operations, presets or shapes take the place of those rows in the results file and keep
the others; every row carries its command, commit and date. ``--quick`` only prints.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import common
import jax
import numpy as np
import roofline
import sincconv
import spectrogram_peers
import spectrograms
import training
import work
from paired import Operation, compare, median_times, timed
from program import Cost, Program, cost_of
from spectrogram_peers import Builder, attempt
from torch_peers import TorchPeers, check_tokens, stacked, torch_device

import isincnet_jax as isn
from isincnet_jax import provenance
from isincnet_jax.bank.synthesis import Synthesis
from isincnet_jax.dsp.spectral_distances import REFERENCE_RESOLUTION
from isincnet_jax.training import parallel

OPERATIONS = (
    "encode",
    "decode",
    "round trip",
    "tokens",
    "STFT",
    "mel",
    "CQT",
    "SincConv",
    "training step",
)
CODEC_OPERATIONS = OPERATIONS[:4]
PRESETS = ("16khz-linear", "44khz-linear", "16khz-linear-causal", "16khz-mel")
GRID = ((16, 10.0), (1, 5.0), (1, 60.0), (64, 2.0))
SPECTROGRAM_ROWS = {"STFT": "stft_complex", "mel": "mel", "CQT": "CQT1992v2"}
ALL_PRESETS = 2
"""Shapes at which all presets run."""
Q_BITS = 8
FEWEST_PAIRS = 3
LONGEST_BURST = 32


class Shape(NamedTuple):
    """A batch of clips of so many seconds."""

    batch: int
    duration_s: float

    def __str__(self) -> str:
        return f"{self.batch} x {self.duration_s:g} s"

    def length(self, sample_rate: int) -> int:
        """Samples of a clip."""
        return round(self.duration_s * sample_rate)

    def noise(self, sample_rate: int) -> np.ndarray:
        """Uniform noise [batch, time], float32."""
        size = (self.batch, self.length(sample_rate))
        drawn = np.random.default_rng(common.SEED).random(size, dtype=np.float32)
        drawn -= 0.5
        return drawn


class Case(NamedTuple):
    """One operation at one shape: what runs it, what it runs beside, and what it needs.

    Attributes:
        operation: of :data:`OPERATIONS`.
        variant: preset or geometry.
        sample_rate: Hz.
        ours: builds a callable with a method ``cost``.
        peers: builders by name.
        work: counts.
    """

    operation: str
    variant: str
    sample_rate: int
    ours: Callable[[], Any]
    peers: dict[str, Builder]
    work: Callable[[], roofline.Work]


def codec_cases(preset: str, shape: Shape, operations: list[str]) -> Iterator[Case]:
    """Encode, decode, round trip and tokens of a preset, beside the reference in PyTorch."""
    codec = isn.from_pretrained(preset)
    spec, decoder = codec.spec, codec.model.decoder
    rate, hop = spec.sample_rate, spec.hop_length
    length = shape.length(rate)
    geometry = {"batch": shape.batch, "length": length}
    reference = isn.FilterbankSpec.reference(
        sample_rate=rate, frame_rate=rate // hop, component=spec.component
    )
    noise = shape.noise(rate)
    waveform = jax.device_put(noise)
    quantizer = codec.quantizer(q_bits=Q_BITS)

    def codes(codec: isn.Codec, quantizer: isn.Quantizer, x: jax.Array) -> Any:
        found = quantizer.encode(codec.encode(x))
        return found, codec.decode(quantizer.decode(found), length=length)

    def decoding() -> Program:
        spectrogram = Program(lambda c, x: c.encode(x), codec, waveform)()
        return Program(lambda c, s: c.decode(s, length=length), codec, spectrogram)

    def peer(method: str, *arguments: Any, **options: Any) -> Builder:
        return lambda: getattr(TorchPeers(noise), method)(*arguments, hop, **options)

    real = stacked(reference)
    encoders = {"PyTorch": peer("encode_real", real)}
    if spec.component == "complex":
        encoders["PyTorch, complex kernels"] = peer("encode_complex", reference.design_kernels())
    decoders = {"PyTorch": peer("decode", reference.num_channels)}
    if not spec.is_uniform:  # the same kernels in PyTorch
        solved = Synthesis(spec, decoder).solved.dense
        encoders["PyTorch, same kernels"] = peer("encode_real", spec.bank.kernels)
        decoders["PyTorch, same kernels"] = peer("decode_dense", solved.values)
    known = {
        "encode": (
            lambda: Program(lambda c, x: c.encode(x), codec, waveform),
            encoders,
            lambda: work.encode(spec, **geometry),
        ),
        "decode": (
            decoding,
            decoders,
            lambda: work.decode(spec, decoder, **geometry),
        ),
        "round trip": (
            lambda: Program(lambda c, x: c.decode(c.encode(x), length=length), codec, waveform),
            {"PyTorch": peer("round_trip", real)},
            lambda: work.round_trip(spec, decoder, **geometry),
        ),
        "tokens": (
            lambda: Program(codes, codec, quantizer, waveform),
            {"PyTorch": peer("tokens", real, q_bits=Q_BITS)},
            lambda: work.tokens(spec, decoder, **geometry),
        ),
    }
    for operation in operations:
        if operation in known:
            yield Case(operation, preset, rate, *known[operation])


def spectrogram_cases(shape: Shape, operations: list[str]) -> Iterator[Case]:
    """Rows of spectrograms.py; two threads of librosa only where there are clips to share."""
    rate, n_fft, hop = spectrogram_peers.RATE, spectrogram_peers.N_FFT, spectrogram_peers.HOP
    rows = spectrograms.make_rows(shape.noise(rate))
    geometry = {"batch": shape.batch, "length": shape.length(rate)}
    frames = {**geometry, "n_fft": n_fft, "hop_length": hop}
    mel = spectrogram_peers.layer(
        "MelSpectrogram", sample_rate=rate, n_fft=n_fft, hop_length=hop, n_mels=128
    )
    cqt = spectrogram_peers.layer("CQT1992v2", **spectrogram_peers.CQT)
    counts = {
        "STFT": lambda: work.stft(**frames),
        "mel": lambda: work.mel(mel.design(), **frames),
        "CQT": lambda: work.cqt(cqt, **geometry),
    }
    variants = {"STFT": f"{n_fft}, complex", "mel": f"{n_fft}, 128 mels", "CQT": "84 bins"}
    for operation in operations:
        if operation not in SPECTROGRAM_ROWS:
            continue
        row = rows[SPECTROGRAM_ROWS[operation]]
        peers = {
            "PyTorch" if name == "torch" else name: build
            for name, build in row.peers.items()
            if shape.batch > 1 or name != "librosa, 2 threads"
        }
        if operation == "CQT":  # librosax has the recursive one only
            peers["librosax"] = rows["CQT2010v2"].peers["librosax"]
        yield Case(operation, variants[operation], rate, row.ours, peers, counts[operation])


def sincconv_cases(shape: Shape) -> Iterator[Case]:
    """SincConv beside SincConv_fast."""
    rate = sincconv.RATE
    noise = shape.noise(rate)
    for stride in sincconv.STRIDES:
        counted = {
            "batch": shape.batch,
            "length": shape.length(rate),
            "filters": sincconv.FILTERS,
            "taps": sincconv.TAPS,
            "stride": stride,
        }
        yield Case(
            "SincConv",
            f"stride {stride}",
            rate,
            lambda stride=stride: sincconv.our_layer(noise, stride),
            {"PyTorch": lambda stride=stride: sincconv.torch_peer(noise, stride)},
            lambda counted=counted: work.sinc_conv(**counted),
        )


class _TrainingStep:
    """One step of ours after the other, on the same clips."""

    def __init__(self, clips: np.ndarray) -> None:
        self._clips = clips
        self._run = training.our_steps()

    def __call__(self) -> None:
        """A step."""
        self._run(itertools.repeat(self._clips), 1)

    def cost(self) -> Cost:
        """Of the step."""
        step, state = training.our_step()
        batch = parallel.shard(parallel.split_batch(self._clips))
        return cost_of(lambda: step.lower(state, batch))


def training_cases(shape: Shape) -> Iterator[Case]:
    """A step of the reference's recipe beside the same in PyTorch."""
    clips = shape.noise(training.RATE)

    def peer(*, complex_kernels: bool) -> Builder:
        def build() -> Operation:
            torch_device()  # says what is missing
            run = training.torch_steps(complex_kernels=complex_kernels)
            if run is None:
                raise ImportError("PyTorch is not installed")
            return lambda: run(itertools.repeat(clips), 1)

        return build

    def needed() -> roofline.Work:
        return work.training_step(
            training.SPEC,
            decoder_frames=training.DECODER_FRAMES,
            n_fft=REFERENCE_RESOLUTION.n_fft,
            hop_length=REFERENCE_RESOLUTION.hop_length,
            batch=shape.batch,
            length=shape.length(training.RATE),
        )

    yield Case(
        "training step",
        "reference's recipe",
        training.RATE,
        lambda: _TrainingStep(clips),
        {
            "PyTorch": peer(complex_kernels=False),
            "PyTorch, complex kernels": peer(complex_kernels=True),
        },
        needed,
    )


def make_cases(shape: Shape, operations: list[str], presets: list[str]) -> Iterator[Case]:
    """All cases of a shape; tokens of the first preset only."""
    for index, preset in enumerate(presets):
        wanted = [name for name in operations if name != "tokens" or index == 0]
        if set(wanted) & set(CODEC_OPERATIONS):
            yield from codec_cases(preset, shape, wanted)
    if set(operations) & set(SPECTROGRAM_ROWS):
        yield from spectrogram_cases(shape, operations)
    if "SincConv" in operations:
        yield from sincconv_cases(shape)
    if "training step" in operations:
        yield from training_cases(shape)


def beside(
    ours: Operation, peer: Operation, *, pairs: int, seconds: float, audio_s: float
) -> dict[str, Any]:
    """:func:`.paired.compare` with as many pairs as fit into some seconds, but at least three.

    Both sides run for a while before it: until the C library's allocator has adapted to the sizes
    at hand, every large array costs page faults.
    """
    pair_s = 0.0
    for operation in (ours, peer):
        deadline = time.perf_counter() + seconds / 8
        operation()
        while time.perf_counter() < deadline:
            operation()
        pair_s += timed(operation, 1)[0]
    fewest = 1 if pair_s > seconds / 8 else 2
    burst = int(np.clip(seconds / (pairs * pair_s) - 1, fewest, LONGEST_BURST))
    # A measurement is one call to settle and a burst.
    fitting = min(pairs, max(FEWEST_PAIRS, int(seconds / ((burst + 1) * pair_s))))
    found = compare(ours, peer, pairs=fitting, audio_s=audio_s, burst=burst)
    return {"pairs": fitting, "burst": burst, **found}


def run_case(
    case: Case, shape: Shape, *, pairs: int, seconds: float, missing: list[str]
) -> dict[str, Any] | None:
    """Costs and times of a case beside all its peers; None where ours does not run."""
    title = f"{shape}, {case.operation}, {case.variant}"
    ours = attempt(case.ours, f"{title}, ours", missing)
    if ours is None:
        return None
    cost = attempt(ours.cost, f"{title}, compilation", missing) or Cost(float("nan"), None)
    if attempt(lambda: (ours(), True), f"{title}, ours", missing) is None:
        return None
    audio_s = shape.batch * shape.duration_s
    peers = []
    for name, build in case.peers.items():
        found = attempt(
            lambda build=build: beside(
                ours, build(), pairs=pairs, seconds=seconds, audio_s=audio_s
            ),
            f"{title}, {name}",
            missing,
        )
        if found is not None:
            peers.append({"peer": name, **found})
            print(f"  {title}, {name}: {found['ratio']:.2f}", flush=True)
        gc.collect()
    times = [found["ours_ms"] for found in peers]
    alone_s = 1e-3 * statistics.median(times) if times else median_times(ours, pairs)[0]
    counted = case.work()
    return {
        "operation": case.operation,
        "variant": case.variant,
        "sample_rate": case.sample_rate,
        "batch": shape.batch,
        "duration_s": shape.duration_s,
        "ours_ms": 1e3 * alone_s,
        "times_real_time": audio_s / alone_s,
        "compile_s": cost.compile_s,
        "peak_bytes": cost.peak_bytes,
        "flops": counted.flops,
        "bytes": counted.bytes,
        "peers": peers,
    }


def add_ceiling(row: dict[str, Any], machine: roofline.Machine) -> None:
    """What of the machine a row reaches."""
    needed = roofline.Work(row["flops"], row["bytes"])
    seconds = 1e-3 * row["ours_ms"]
    ceiling = machine.ceiling(needed.bytes)
    row.update(
        gflops=1e-9 * needed.flops / seconds,
        gb_per_s=1e-9 * needed.bytes / seconds,
        ceiling_gflops=ceiling.gflops,
        ceiling_gb_per_s=ceiling.gb_per_s,
        fraction=needed.fraction(ceiling, seconds),
        binds=needed.binds(ceiling),
    )


def _list(text: str | None, known: tuple[str, ...], option: str) -> list[str]:
    names = list(known) if text is None else text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"--{option} {','.join(unknown)}: unknown; there are {', '.join(known)}")
    return names


def parse_grid(text: str | None) -> list[Shape]:
    """Shapes of "16x10,1x5"; :data:`GRID` if None."""
    if text is None:
        return [Shape(*shape) for shape in GRID]
    try:
        pairs = [item.split("x") for item in text.split(",")]
        shapes = [Shape(int(batch), float(seconds)) for batch, seconds in pairs]
    except ValueError:
        raise SystemExit(f"--grid {text}: give BATCHxSECONDS,..., such as 16x10,1x5") from None
    if any(batch < 1 or seconds <= 0 for batch, seconds in shapes):
        raise SystemExit(f"--grid {text}: batches and seconds must be positive")
    return shapes


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--operations", metavar="NAME,...", help=", ".join(OPERATIONS))
    parser.add_argument("--presets", metavar="NAME,...", help=", ".join(PRESETS))
    parser.add_argument("--grid", metavar="BATCHxSECONDS,...", help="16x10,1x5,1x60,64x2")
    parser.add_argument("--pairs", type=int, default=11, help="the most pairs of a comparison")
    parser.add_argument("--seconds", type=float, default=1.0, help="for the pairs of a comparison")
    parser.add_argument("--quick", action="store_true", help="2 x 1 s, one preset; writes nothing")
    parser.add_argument("--keep-memory", action="store_true", help="see above")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="picture of the first shape")
    parser.add_argument(
        "--peer-paths", metavar="DIR,...", help="folders of peers outside the environment"
    )
    args = parser.parse_args()
    if args.quick:
        args.grid, args.presets = args.grid or "2x1", args.presets or PRESETS[0]
        args.pairs, args.seconds = min(args.pairs, 2), min(args.seconds, 0.1)
    return args


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["operation"], row["variant"], row["batch"], row["duration_s"]


def merge(rows: list[dict[str, Any]], origin: dict[str, Any]) -> list[dict[str, Any]]:
    """These rows with their origin, and those of the results file that were not measured now."""
    mark = {name: origin[name] for name in ("command", "commit", "date", "load_average_before")}
    path = common.RESULTS / "operations.json"
    before = json.loads(path.read_text())["rows"] if path.is_file() else []
    measured = {key_of(row) for row in rows}
    kept = [row for row in before if key_of(row) not in measured]
    found = [{**row, **mark} for row in rows] + kept
    shapes = [Shape(*shape) for shape in GRID]

    def order(row: dict[str, Any]) -> tuple[int, int]:
        shape = Shape(row["batch"], row["duration_s"])
        place = shapes.index(shape) if shape in shapes else len(shapes)
        return place, OPERATIONS.index(row["operation"])

    return sorted(found, key=order)


def print_rows(rows: list[dict[str, Any]], machine: roofline.Machine) -> None:
    for shape in dict.fromkeys(Shape(row["batch"], row["duration_s"]) for row in rows):
        mine = [row for row in rows if (row["batch"], row["duration_s"]) == tuple(shape)]
        common.print_table(
            f"{shape}, float32; ratio = peer / ours (quartiles)",
            ["", "", "ours ms", "x real time", "compile s", "MB", "ceiling", "binds", "peers"],
            [
                [r["operation"], r["variant"], f"{r['ours_ms']:.3g}", round(r["times_real_time"]),
                 f"{r['compile_s']:.2f}",
                 "" if r["peak_bytes"] is None else f"{1e-6 * r['peak_bytes']:.1f}",
                 f"{100 * r['fraction']:.0f} %", r["binds"],
                 "; ".join(f"{p['peer']} {p['ratio']:.2f} ({p['ratio_lower_quartile']:.2f}-"
                           f"{p['ratio_upper_quartile']:.2f})" for p in r["peers"])]
                for r in mine
            ],
        )  # fmt: skip
    best = machine.describe()
    print(
        f"\nCeiling: {best['gflops']:.0f} GFLOP/s ({best['fastest_product']}), copies "
        + ", ".join(
            f"{size / (1 << 20):g} MiB {max(rates.values()):.0f} GB/s"
            for size, rates in machine.copies.items()
        )
    )


def draw(rows: list[dict[str, Any]], machine: roofline.Machine, path: Path) -> None:
    """The first shape under the roof and beside its peers."""
    from isincnet_jax import plots

    first = key_of(rows[0])[2:]
    mine = [row for row in rows if key_of(row)[2:] == first]
    shown = [
        plots.MeasuredOperation(
            label=f"{row['operation']}, {row['variant']}",
            flops=row["flops"],
            bytes=row["bytes"],
            seconds=1e-3 * row["ours_ms"],
            times_real_time={
                "ours": row["times_real_time"],
                **{peer["peer"]: peer["peer_times_real_time"] for peer in row["peers"]},
            },
        )
        for row in mine
    ]
    figure = plots.plot_roofline(
        shown, machine.ceiling(), title=f"{Shape(*first)}, {provenance.device_name()}"
    )
    figure.savefig(path, dpi=110)
    print(f"written: {path.name}")


def main() -> None:
    args = parse_arguments()
    operations = _list(args.operations, OPERATIONS, "operations")
    presets = _list(args.presets, PRESETS, "presets")
    shapes = parse_grid(args.grid)
    if args.keep_memory:
        from isincnet_jax import host_memory

        host_memory.keep_memory()
    # Peers' deprecations; nothing of ours warns.
    warnings.simplefilter("ignore")
    with contextlib.suppress(ImportError):  # without PyTorch its peers are reported as missing
        check_tokens()
    load_before, begin = common.load_average(), time.perf_counter()
    limits = {"rounds": 3, "largest": 1 << 26} if args.quick else {}
    machine = roofline.measure(**limits)
    rows: list[dict[str, Any]] = []
    missing: list[str] = []
    with spectrograms.peer_paths(args.peer_paths):
        for index, shape in enumerate(shapes):
            some = presets if args.presets or index < ALL_PRESETS else presets[:1]
            for case in make_cases(shape, operations, some):
                row = run_case(case, shape, pairs=args.pairs, seconds=args.seconds, missing=missing)
                if row is not None:
                    rows.append(row)
            jax.clear_caches()
    machine = machine.best(roofline.measure(**limits))
    for row in rows:
        add_ceiling(row, machine)
    print_rows(rows, machine)
    for line in missing:
        print(f"MISSING {line}")
    print(f"{time.perf_counter() - begin:.0f} s in all")
    if args.plot:
        draw(rows, machine, args.plot)
    if args.quick:
        return
    for name in ("peer_paths", "plot"):  # folders are named, never located
        if getattr(args, name):
            setattr(args, name, Path("DIR"))
    origin = common.describe_run(args, data="uniform noise", load_average_before=load_before)
    results = {"machine": machine.describe(), "rows": merge(rows, origin), "missing": missing}
    common.write_results("operations", {**origin, **results})


if __name__ == "__main__":
    main()
