"""Every spectrogram layer beside every installed peer: time, memory of kernels, accuracy.

    python benchmarks/spectrograms.py [--pairs 7] [--only stft_complex,mel] [--skip-accuracy]

A batch of 16 clips of 10 s at 22.05 kHz, float32, all cores. Ours and a peer take turns in one
process (A B, B A, A B, ...), each with a call to settle and a burst of up to eight; idle OpenMP
threads sleep instead of spinning. Printed are both medians and the median of the ratios pair by
pair, peer over ours: above 1 we are faster.

Peers are librosa (one call for the batch, and again with a pool of two threads over the clips:
compare with the faster), torch, nnAudio, nnaudio2 (its inverse CQT) and librosax. What is not
installed, or raises, is printed and stands in the results under "missing"; so does a layer of ours.
Packages outside the environment are read from folders that ``--peer-paths`` names. Rows beside
CQT_pytorch, "invertible_cqt_ragged_32_forward" and the like, have clips of their own
(``cqt_pytorch.py``).

``--only`` takes the place of those rows in the results file and keeps the others, each with the
commit and date of its measurement. nnAudio's CQT1992 takes minutes to construct.

Rows "train ..." are the forward pass and the gradient of the mean squared magnitude with respect
to the kernels. Accuracy is relative L2 distance to double precision: librosa's where librosa is
exact, direct inner products with ``librosa.filters.wavelet`` for constant Q.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import common
import cqt_pytorch
import jax
import jax.numpy as jnp
import numpy as np
from paired import Operation, compare
from spectrogram_accuracy import kernel_memory, run_accuracy
from spectrogram_peers import (
    BATCH,
    CQT,
    CQT_LAYERS,
    DURATION_S,
    FMIN,
    HOP,
    INVERTIBLE,
    LENGTH,
    N_FFT,
    RATE,
    THEIR_CQT,
    VQT_GAMMA,
    Builder,
    Peers,
    Row,
    attempt,
    layer,
    run_ours,
    train_ours,
)

NOT_LOADED = "not loaded"


def make_rows(clips: np.ndarray) -> dict[str, Row]:
    """All comparisons by name, most of them on clips [batch, time] at 22.05 kHz."""
    on_device = jax.device_put(clips)
    length = clips.shape[-1]
    peers = Peers(clips)
    geometry = {"n_fft": N_FFT, "hop_length": HOP}
    options = {"sample_rate": RATE, **geometry}
    theirs = {"sr": RATE, **geometry}

    def ours(name: str, **more: Any) -> Builder:
        return lambda: run_ours(layer(name, **more), on_device)

    def trained(name: str, **more: Any) -> Builder:
        return lambda: train_ours(layer(name, **more), on_device)

    def spectrum() -> np.ndarray:
        import librosa

        return librosa.stft(clips, **geometry)

    def magnitude() -> np.ndarray:
        return np.abs(spectrum())

    def frames_first(make: Callable[[], np.ndarray]) -> jax.Array:
        return jnp.asarray(make().swapaxes(-1, -2))

    def torch_stft() -> Operation:
        torch, values = peers.torch, peers.placed(clips)
        window = peers.placed(torch.hann_window(N_FFT))
        return peers.finished(
            lambda: torch.stft(
                values, N_FFT, HOP, window=window, pad_mode="reflect", return_complex=True
            )
        )

    def torch_magnitude() -> Operation:
        complex_stft = torch_stft()
        return peers.finished(lambda: complex_stft().abs())

    def torch_mel() -> Operation:
        magnitudes = torch_magnitude()
        weights = importlib.import_module("librosa").filters.mel(sr=RATE, n_fft=N_FFT, n_mels=128)
        filters = peers.placed(weights)
        return peers.finished(lambda: filters @ magnitudes() ** 2)

    def torch_istft() -> Operation:
        torch, values = peers.torch, peers.placed(spectrum())
        window = peers.placed(torch.hann_window(N_FFT))
        return peers.finished(lambda: torch.istft(values, N_FFT, HOP, window=window, length=length))

    def their_inverse() -> Operation:
        model = peers.quiet(lambda: peers.nnaudio.iSTFT(**theirs, verbose=False))
        values = peers.torch.view_as_real(peers.placed(spectrum())).contiguous()
        model = model.to(values.device)
        return peers.finished(lambda: model(values, onesided=True, length=length))

    quiet = {"verbose": False}
    band = {"freq_scale": "log", "fmin": 50.0, "fmax": 6000.0}
    mono = {"pad_mode": "reflect"}
    rows = {
        "stft_complex": Row(
            ours("STFT", **options, output_format="complex"),
            {
                **peers.librosa(lambda m, x: m.stft(x, **geometry, **mono)),
                "torch": torch_stft,
                "nnAudio": peers.module("STFT", **theirs, output_format="Complex", **quiet),
                "librosax": peers.librosax(lambda m, x: m.stft(x, **geometry)),
            },
        ),
        "stft_magnitude": Row(
            ours("STFT", **options, output_format="magnitude"),
            {
                **peers.librosa(lambda m, x: np.abs(m.stft(x, **geometry, **mono))),
                "torch": torch_magnitude,
                "nnAudio": peers.module("STFT", **theirs, output_format="Magnitude", **quiet),
                "librosax": peers.librosax(lambda m, x: jnp.abs(m.stft(x, **geometry))),
            },
        ),
        "stft_log": Row(
            ours("STFT", **options, **band),
            {"nnAudio": peers.module("STFT", **theirs, **band, output_format="Magnitude", **quiet)},
        ),
        "istft": Row(
            lambda: run_ours(
                layer("InverseSTFT", **geometry),
                frames_first(spectrum),
                length=length,
            ),
            {
                **peers.librosa(
                    lambda m, x: m.istft(x, hop_length=HOP, length=length), inputs=spectrum
                ),
                "torch": torch_istft,
                "nnAudio": their_inverse,
            },
        ),
        "mel": Row(
            ours("MelSpectrogram", **options, n_mels=128),
            {
                **peers.librosa(
                    lambda m, x: m.feature.melspectrogram(y=x, sr=RATE, **geometry, **mono)
                ),
                "torch": torch_mel,
                "nnAudio": peers.module("MelSpectrogram", **theirs, n_mels=128, **quiet),
                "librosax": peers.librosax(
                    lambda m, x: m.feature.melspectrogram(y=x, sr=RATE, **geometry)
                ),
            },
        ),
        "mfcc": Row(
            ours("MFCC", **options, n_mfcc=20),
            {
                **peers.librosa(lambda m, x: m.feature.mfcc(y=x, sr=RATE, **geometry, **mono)),
                "nnAudio": peers.module("MFCC", **theirs, n_mfcc=20, **quiet),
                "librosax": peers.librosax(lambda m, x: m.feature.mfcc(y=x, sr=RATE, **geometry)),
            },
        ),
        "gammatone": Row(
            ours("Gammatonegram", **options, n_bins=64),
            {"nnAudio": peers.module("Gammatonegram", **theirs, n_bins=64, **quiet)},
        ),
        "chroma": Row(
            ours("Chroma", **options),
            peers.librosa(
                lambda m, x: m.feature.chroma_stft(y=x, sr=RATE, tuning=0.0, **geometry, **mono)
            ),
        ),
        "pcen": Row(
            lambda: run_ours(
                layer("PCEN", sample_rate=RATE, hop_length=HOP),
                frames_first(magnitude) * 2.0**31,
            ),
            peers.librosa(
                lambda m, x: m.pcen(x, sr=RATE, hop_length=HOP),
                inputs=lambda: magnitude() * np.float32(2.0**31),
            ),
        ),
        "griffin_lim": Row(
            lambda: run_ours(
                layer("GriffinLim", **geometry, n_iter=32),
                frames_first(magnitude),
                length=length,
            ),
            {
                **peers.librosa(
                    lambda m, x: m.griffinlim(x, n_iter=32, hop_length=HOP, random_state=0),
                    inputs=magnitude,
                ),
                "nnAudio": peers.module("Griffin_Lim", inputs=magnitude, **geometry, n_iter=32),
            },
        ),
        "cfp": Row(
            ours("CFP", sample_rate=RATE),
            {"nnAudio": peers.module("CFP", fs=RATE)},
        ),
        "time_stretch": Row(
            ours("TimeStretch", rate=1.25),
            peers.librosa(lambda m, x: m.effects.time_stretch(x, rate=1.25)),
        ),
        "pitch_shift": Row(
            ours("PitchShift", n_steps=3),
            peers.librosa(lambda m, x: m.effects.pitch_shift(x, sr=RATE, n_steps=3)),
        ),
    }

    librosa_cqt = peers.librosa(lambda m, x: np.abs(m.cqt(x, **THEIR_CQT)))
    for name in CQT_LAYERS:
        # CQT1992 has no argument "verbose", and its own default fmin=220 Hz raises.
        more = {} if name == "CQT1992" else quiet
        extra = {} if "1992" in name else {"librosax": _librosax_cqt(peers)}
        rows[name] = Row(
            ours(name, **CQT),
            {**librosa_cqt, "nnAudio": peers.module(name, **THEIR_CQT, **more), **extra},
        )
    rows["VQT"] = Row(
        ours("VQT", **CQT, gamma=VQT_GAMMA),
        {
            **peers.librosa(lambda m, x: np.abs(m.vqt(x, **THEIR_CQT, gamma=VQT_GAMMA))),
            "nnAudio": peers.module("VQT", **THEIR_CQT, gamma=VQT_GAMMA, **quiet),
        },
    )
    rows["invertible_cqt_forward"] = Row(ours("InvertibleCQT", **INVERTIBLE), dict(librosa_cqt))
    rows["invertible_cqt_inverse"] = Row(
        lambda: _our_inverse_cqt(on_device),
        {
            **peers.librosa(
                lambda m, x: m.icqt(
                    x, sr=RATE, hop_length=HOP, fmin=FMIN, bins_per_octave=12, length=length
                ),
                inputs=lambda: importlib.import_module("librosa").cqt(clips, **THEIR_CQT),
            ),
            "nnaudio2": lambda: _nnaudio2_inverse(peers, clips),
        },
    )
    trainable = {"trainable": True, **quiet}
    rows["train STFT"] = Row(
        trained("STFT", **options, trainable_kernels=True),
        {"nnAudio": peers.train("STFT", **theirs, output_format="Magnitude", **trainable)},
    )
    rows["train mel"] = Row(
        trained("MelSpectrogram", **options, trainable_mel=True, trainable_stft=True),
        {
            "nnAudio": peers.train(
                "MelSpectrogram", **theirs, trainable_mel=True, trainable_STFT=True, **quiet
            )
        },
    )
    for name in ("CQT1992v2", "CQT2010v2", "VQT"):
        gamma = {"gamma": VQT_GAMMA} if name == "VQT" else {}
        rows[f"train {name}"] = Row(
            trained(name, **CQT, **gamma, trainable_kernels=True),
            {"nnAudio": peers.train(name, **THEIR_CQT, **gamma, **trainable)},
        )
    return {**rows, **cqt_pytorch.make_rows(peers)}


def _librosax_cqt(peers: Peers) -> Builder:
    return peers.librosax(lambda m, x: jnp.abs(m.feature.cqt2010(x, **THEIR_CQT)))


def _our_inverse_cqt(waveform: jax.Array) -> Operation:
    model = layer("InvertibleCQT", **INVERTIBLE)
    coefficients = run_ours(model, waveform)()
    decode = jax.jit(lambda c: model.apply({}, c, length=waveform.shape[-1], method="decode"))
    return lambda: jax.block_until_ready(decode(coefficients))


def _nnaudio2_inverse(peers: Peers, clips: np.ndarray) -> Operation:
    features = importlib.import_module("nnAudio2.features.cqt")
    options = {**THEIR_CQT, "verbose": False}
    values = peers.placed(clips)
    forward = peers.quiet(lambda: features.CQT1992v2(**options, output_format="Complex"))
    inverse = peers.quiet(lambda: features.iCQT(**options)).to(values.device)
    coefficients = peers.finished(lambda: forward.to(values.device)(values))()
    return peers.finished(lambda: inverse(coefficients, length=clips.shape[-1]))


def run_speed(
    rows: dict[str, Row], pairs: int, missing: list[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All rows against all their peers, and the fastest peer of each."""
    found, fastest = [], []
    for name, row in rows.items():
        ours = attempt(row.ours, f"{name}, ours", missing)
        if ours is None or attempt(ours, f"{name}, ours", missing) is None:
            continue
        mine = []
        for peer_name, build in row.peers.items():
            peer = attempt(build, f"{name}, {peer_name}", missing)
            if peer is None or attempt(peer, f"{name}, {peer_name}", missing) is None:
                continue
            times = compare(ours, peer, pairs=pairs, audio_s=row.audio_s)
            mine.append({"row": name, "peer": peer_name, **times})
            print(f"  {name}, {peer_name}: {mine[-1]['ratio']:.2f}", flush=True)
        found.extend(mine)
        if mine:
            fastest.append(min(mine, key=lambda result: result["ratio"]))
    return found, fastest


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=7, help="timed pairs per comparison")
    parser.add_argument("--only", metavar="ROW,...", help="these rows only; 'none' for no timing")
    parser.add_argument("--skip-accuracy", action="store_true", help="time only")
    parser.add_argument(
        "--slow-peers", action="store_true", help="nnAudio's CQT1992 too, minutes to construct"
    )
    parser.add_argument(
        "--peer-paths", metavar="DIR,...", help="folders of peers outside the environment"
    )
    return parser.parse_args()


def chosen(rows: dict[str, Row], only: str | None) -> dict[str, Row]:
    """The rows that were asked for."""
    if only is None:
        return rows
    names = [] if only == "none" else only.split(",")
    unknown = sorted(set(names) - set(rows))
    if unknown:
        raise SystemExit(f"--only {','.join(unknown)}: no such rows; there are {', '.join(rows)}")
    return {name: rows[name] for name in names}


@contextlib.contextmanager
def peer_paths(folders: str | None) -> Iterator[None]:
    """Makes packages in other folders importable, after those of the environment."""
    added = [str(Path(folder).resolve()) for folder in folders.split(",")] if folders else []
    sys.path.extend(added)
    try:
        yield
    finally:
        for folder in added:
            sys.path.remove(folder)


def main() -> None:
    args = parse_arguments()
    Peers.slow = args.slow_peers
    # Peers' deprecations; nothing of ours warns.
    warnings.simplefilter("ignore")
    load_before = common.load_average()
    clips = np.random.default_rng(common.SEED).uniform(-0.5, 0.5, (BATCH, LENGTH))
    missing: list[str] = []
    with peer_paths(args.peer_paths):
        rows = chosen(make_rows(clips.astype(np.float32)), args.only)
        comparisons, fastest = run_speed(rows, args.pairs, missing)
        skip = args.skip_accuracy
        memory = [] if skip else kernel_memory(missing)
        distances, trips = ([], []) if skip else run_accuracy(missing)
        versions = _peers()
    header = ["", "peer", "ours ms", "peer ms", "ratio", "quartiles", "ours x real time", "peer"]
    for title, results in (("all peers", comparisons), ("the fastest peer", fastest)):
        common.print_table(
            f"{BATCH} x {DURATION_S} s at {RATE} Hz, or the row's clips, {args.pairs} pairs, "
            f"{title}; ratio = peer / ours",
            header,
            [
                [r["row"], r["peer"], r["ours_ms"], r["peer_ms"], f"{r['ratio']:.2f}",
                 f"{r['ratio_lower_quartile']:.2f}-{r['ratio_upper_quartile']:.2f}",
                 round(r["ours_times_real_time"]), round(r["peer_times_real_time"])]
                for r in results
            ],
        )  # fmt: skip
    common.print_table(
        "Bytes of kernels",
        ["", "", "ours", "nnAudio"],
        [[m["layer"], m["geometry"], m["ours_bytes"], m["nnaudio_bytes"]] for m in memory],
    )
    common.print_table(
        "Relative L2 distance to float64",
        ["", "ours", "nnAudio", "librosa"],
        [[d["layer"], *(_short(d.get(who)) for who in ("ours", "nnaudio", "librosa"))]
         for d in distances],
    )  # fmt: skip
    common.print_table(
        "Round trips, dB",
        ["", "", "dB"],
        [[t["transform"], t["who"], "-" if t["snr_db"] is None else t["snr_db"]] for t in trips],
    )
    if args.peer_paths:
        args.peer_paths = Path("DIR")  # folders are named, never located
    origin = common.describe_run(
        args, data="uniform noise", clip_count=BATCH, load_average_before=load_before
    )
    results = {"comparisons": comparisons, "kernel_bytes": memory, "accuracy": distances,
               "round_trips": trips, "missing": missing}  # fmt: skip
    merged = merge(results, origin, versions)
    common.write_results("spectrograms", {**origin, **merged})


def merge(
    results: dict[str, Any], origin: dict[str, Any], versions: dict[str, str]
) -> dict[str, Any]:
    """What ran now, and of the last results file the rows and parts that did not run now.

    Every comparison carries its own commit, date and load; peers that no row loaded now keep the
    version of their rows.
    """
    mark = {name: origin[name] for name in ("command", "commit", "date", "load_average_before")}
    comparisons = [{**entry, **mark} for entry in results["comparisons"]]
    path = common.RESULTS / "spectrograms.json"
    before = json.loads(path.read_text()) if path.is_file() else {}
    measured = {entry["row"] for entry in comparisons}
    kept = [entry for entry in before.get("comparisons", []) if entry["row"] not in measured]
    others = {
        name: results[name] or before.get(name, [])
        for name in ("kernel_bytes", "accuracy", "round_trips")
    }
    loaded = {name: text for name, text in versions.items() if text != NOT_LOADED}
    return {
        "versions_peers": {**versions, **before.get("versions_peers", {}), **loaded},
        "comparisons": kept + comparisons,
        **others,
        "missing": results["missing"],
    }


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _peers() -> dict[str, str]:
    """Versions of the peers that are importable."""
    found = {
        name: getattr(sys.modules.get(name), "__version__", NOT_LOADED)
        for name in ("librosa", "torch", "nnAudio", "nnAudio2", "librosax")
    }
    return {**found, "CQT_pytorch": cqt_pytorch.version()}


if __name__ == "__main__":
    main()
