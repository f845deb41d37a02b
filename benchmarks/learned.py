"""What training reaches, beside closed forms, on the validation clips of gtzan_mini.

    python benchmarks/learned.py --runs DIR [--audio DIR]

DIR holds finished runs of ``experiments/train.py`` (their workdirs). Each exported model is
loaded and evaluated anew on the first 5 s of the 20 validation clips (mono, 16 kHz, -23 LUFS).
Beside them: the exact inverse, the reference's trained weights, and, for quantised coefficients,
the exact decoder and the Wiener decoder from statistics of the training clips.
"""

from __future__ import annotations

import functools
import json
import warnings
from pathlib import Path
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np

import isincnet_jax as isn
from isincnet_jax.bank import statistics
from isincnet_jax.bank.dsp import decoders, frame_theory
from isincnet_jax.benchmark.clips import evaluate_clips
from isincnet_jax.data.corpora import build_corpora
from isincnet_jax.data.pipeline import validation_clips
from isincnet_jax.dsp import framing

RATE, DURATION_S = 16_000, 5.0
BITS = (2, 4, 6, 8)
WEIGHTS = "16000fs_128fps_128bins_lin_complex_ncausal.ckpt"
LINEAR = isn.FilterbankSpec(shape="none")

Scores = dict[str, Any]


def load_clips(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation clips, [clips, time]."""
    splits = common.ROOT / "experiments" / "splits" / "gtzan_mini"
    corpora = build_corpora("gtzan", folder / "gtzan_mini", sample_rate=RATE, splits=splits)
    return tuple(  # type: ignore[return-value]
        validation_clips(corpora[split], duration_s=DURATION_S)[1]
        for split in ("train", "validation")
    )


def score(reconstruct: Any, clips: np.ndarray, **more: Any) -> Scores:
    return {**evaluate_clips(lambda batch: reconstruct(jnp.asarray(batch)), clips), **more}


def quantised(codec: isn.Codec, q_bits: int, batch: jax.Array) -> jax.Array:
    """Reconstruction from codes with the peaks of each clip as scales."""
    spectrogram = codec.encode(batch)
    quantizer = isn.Quantizer(np.ones(1, np.float32), q_bits).fit(spectrogram)
    coded = quantizer.decode(quantizer.encode(spectrogram))
    return codec.decode(coded, length=batch.shape[-1])


def round_trip(codec: isn.Codec, batch: jax.Array) -> jax.Array:
    return codec.decode(codec.encode(batch), length=batch.shape[-1])


def closed_forms(train: np.ndarray, clips: np.ndarray) -> dict[str, Scores]:
    """What needs no gradient descent."""
    exact = isn.build_codec(isn.SincNet(LINEAR))
    rows = {"exact inverse": score(functools.partial(round_trip, exact), clips)}
    path = common.weights_file(WEIGHTS)
    if path is not None:
        trained = isn.load_reference(path)
        rows["reference's weights"] = score(functools.partial(round_trip, trained), clips)
    for q_bits in BITS:
        rows[f"exact inverse, {q_bits} bits"] = score(
            functools.partial(quantised, exact, q_bits), clips
        )
        decoder = statistics.measured_wiener(train, spec=LINEAR, q_bits=q_bits, num_frames=8)
        wiener = isn.build_codec(isn.SincNet(LINEAR, decoder))
        rows[f"Wiener, {q_bits} bits"] = score(functools.partial(quantised, wiener, q_bits), clips)
    for bins in (64, 128):
        spec = LINEAR.replace(scale="mel_slaney", num_bins=bins)
        wiener = isn.build_codec(isn.SincNet(spec, statistics.measured_wiener(train, spec=spec)))
        rows[f"Wiener, mel {bins}"] = score(functools.partial(round_trip, wiener), clips)
    return rows


def solved(model: isn.SincNet, variables: Any, clips: np.ndarray) -> Scores:
    """Learned filters with the decoder that is solved for them instead of the learned one."""
    spec = model.spec
    kernels = np.asarray(model.apply(variables, method="filters"), np.float64)
    bounds = frame_theory.frame_bounds_of_kernels(kernels, hop_length=spec.hop_length)
    found = decoders.least_squares_decoder(kernels, hop_length=spec.hop_length, num_frames=16)
    weights = jnp.asarray(found.kernels, jnp.float32)

    @jax.jit
    def reconstruct(batch: jax.Array) -> jax.Array:
        spectrogram = model.apply(variables, batch, method="encode")
        return framing.synthesize_frames(
            spectrogram,  # type: ignore[arg-type]
            weights,
            hop_length=spec.hop_length,
            lead=found.lead,
            first_frame=spec.bank.frame_grid(batch.shape[-1]).first,
            length=batch.shape[-1],
        )

    return score(reconstruct, clips, condition=bounds.condition)


def measure_run(folder: Path, clips: np.ndarray) -> dict[str, Scores]:
    """The exported model of a run."""
    card = json.loads((folder / "export" / "config.json").read_text())["card"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", isn.NotInvertibleWarning)
        loaded = isn.from_pretrained(str(folder / "export"))
    config = card["config"]
    more = {
        "steps": config["train"]["num_steps"],
        "parameters": sum(
            leaf.size for leaf in jax.tree.leaves(loaded.variables.get("params", {}))
        ),
        "git_commit": card["git_commit"],
        "minutes": _minutes(folder),
    }
    apply = jax.jit(loaded.model.apply)
    rows = {folder.name: score(lambda batch: apply(loaded.variables, batch), clips, **more)}
    if "analysis" in loaded.variables["params"]:
        name = f"{folder.name}, its filters' exact inverse"
        rows[name] = solved(loaded.model, loaded.variables, clips)
    return rows


def _minutes(folder: Path) -> float:
    """Training time by the log, evaluations left out."""
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    steps = [record for record in records if record["kind"] == "train"]
    previous, seconds = 0, 0.0
    for record in steps:
        seconds += (record["step"] - previous) / record["steps_per_s"]
        previous = record["step"]
    return seconds / 60


def main() -> None:
    parser = common.parser_with_audio(__doc__ or "")
    parser.add_argument("--runs", type=Path, required=True, metavar="DIR")
    args = parser.parse_args()
    folder = common.audio_folder(args.audio)
    if folder is None or not (folder / "gtzan_mini").is_dir():
        raise SystemExit("no gtzan_mini in the audio folder; name its parent with --audio")
    runs = sorted(path.parent.parent for path in args.runs.glob("*/export/config.json"))
    if not runs:
        raise SystemExit(f"{args.runs}: no finished runs (folders with export/config.json)")
    train, clips = load_clips(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", isn.NotInvertibleWarning)
        rows = closed_forms(train, clips)
    for run in runs:
        rows |= measure_run(run, clips)
    common.print_table(
        f"{len(clips)} validation clips of gtzan_mini, {DURATION_S:g} s",
        ["", "SNR dB", "worst", "SI-SDR dB", "log-STFT", "parameters", "minutes", "condition"],
        [
            [name, row["snr_db"], row["worst_snr_db"], row["si_sdr_db"], row["log_stft"],
             row.get("parameters", ""), row.get("minutes", ""), row.get("condition", "")]
            for name, row in rows.items()
        ],
    )  # fmt: skip
    common.write_results("learned", {**common.describe_run(args), "rows": rows})


if __name__ == "__main__":
    main()
