"""How close spectrogram inversion comes to recordings: vocoders beside iterative methods.

    python benchmarks/vocoder_quality.py --data LJSPEECH_DIR [--splits DIR] [--split test]
        [--set ljspeech] [--linear MODEL] [--mel MODEL] [--write] [--methods NAME ...]
    python benchmarks/vocoder_quality.py --data SPEECH_DIR --set other_speakers
        --splits experiments/splits/other_speakers ...
    python benchmarks/vocoder_quality.py --data GTZAN_DIR --set music --music --seconds 5
        --splits experiments/splits/gtzan_mini --split validation ...

Every clip of a list in --splits (of the folder, without one), whole or its first --seconds, from
its magnitudes at CNNVocoder's settings (22,050 Hz, n_fft 2048, window 1024, hop 256) or from 80
Slaney mels of those. Scores, means over clips: multi-resolution STFT loss (spectral convergence
plus log magnitude, mean of three resolutions); spectral convergence in dB; mel cepstral distortion;
the consistency error, by how much the magnitudes or mels of the output miss the given ones. And
seconds of audio per second, and per second of processor time, compiled, one clip after the other.
Where the extra "perceptual" is installed, also PESQ-WB at 16 kHz, STOI, ESTOI, and ViSQOL in audio
mode at 48 kHz and in speech mode at 16 kHz, of --music ViSQOL in audio mode alone; nobody listened.
MODEL is what ``isincnet_jax.from_pretrained`` takes. CNNVocoder's published samples: 1.44 and -5.4.

``--write`` replaces the set of that name in the results file and keeps the other sets; with
``--methods``, names or patterns (``'phase-gradient*'``), those rows of it alone, each with the
commit and date of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import functools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import common
import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax import provenance
from isincnet_jax.benchmark import perceptual
from isincnet_jax.benchmark import run as benchmark_run
from isincnet_jax.benchmark import vocoders as vocoder_methods
from isincnet_jax.data import corpora, preparation, splits
from isincnet_jax.data.corpus import Corpus
from isincnet_jax.dsp import fourier
from isincnet_jax.phase import heap_integration, mel_inversion, propagation, retrieval, sweeps
from isincnet_jax.pretrained.trained import load_vocoder
from isincnet_jax.vocoders import blocks as vocoder_blocks
from isincnet_jax.vocoders.features import VocoderFeatures
from isincnet_jax.vocoders.vocoder import TrainedVocoder

LINEAR = VocoderFeatures("linear")
MEL = VocoderFeatures("mel_slaney")
GEOMETRY: dict[str, Any] = {
    "n_fft": LINEAR.n_fft,
    "hop_length": LINEAR.hop_length,
    "win_length": LINEAR.win_length,
}
# Of the difference map: on 28 training clips of speech and music, losses of 0.8 to 1.4 are within
# 0.014 of those of 1, which takes half the transforms.
BETA = 1.0
GAMMA = heap_integration.window_gamma("hann", LINEAR.win_length)


class Method(NamedTuple):
    """A way from features [1, frames, bins] to a waveform [1, length].

    Attributes:
        features: what it is given.
        run: features and length to waveform.
        parameters: that were learned.
    """

    features: VocoderFeatures
    run: Callable[[jax.Array, int], Any]
    parameters: int = 0


def _retrieved(
    magnitude: jax.Array,
    length: int,
    *,
    by: Callable[..., Any] = retrieval.griffin_lim,
    **options: Any,
) -> jax.Array:
    operators = retrieval.stft_operators(**GEOMETRY, length=length)
    return by(magnitude, **operators._asdict(), key=jax.random.key(common.SEED), **options)


def _polished(waveform: Any, magnitude: jax.Array, iterations: int) -> Any:
    return vocoder_blocks.polished(waveform, magnitude, **GEOMETRY, num_iterations=iterations)


@functools.partial(jax.jit, static_argnames=("length", "iterations"))
def _propagated(magnitude: jax.Array, *, length: int, iterations: int) -> jax.Array:
    found = propagation.propagated_phase(
        magnitude, n_fft=LINEAR.n_fft, hop_length=LINEAR.hop_length, gamma=GAMMA
    )
    spectrum = jax.lax.complex(magnitude * jnp.real(found), magnitude * jnp.imag(found))
    waveform = fourier.istft(spectrum, **GEOMETRY, length=length)
    return _polished(waveform, magnitude, iterations)


def _heap(magnitude: jax.Array, length: int, *, iterations: int) -> jax.Array:
    angle = heap_integration.phase_gradient_heap_integration(
        magnitude,
        n_fft=LINEAR.n_fft,
        hop_length=LINEAR.hop_length,
        gamma=GAMMA,
        key=jax.random.key(common.SEED),
    )
    start = retrieval.initial_coefficients(magnitude, phase=jnp.asarray(angle, magnitude.dtype))
    return _polished(fourier.istft(start, **GEOMETRY, length=length), magnitude, iterations)


def _swept_waveform(magnitude: jax.Array, length: int, *, host: bool, iterations: int) -> Any:
    """Weighted steps without a network: swept, or along the surest of them on the host first."""
    found = sweeps.heap_swept_phase(magnitude, **_STEPS) if host else None
    return _finished(magnitude, found, length=length, iterations=iterations)


_STEPS: Any = {"n_fft": LINEAR.n_fft, "hop_length": LINEAR.hop_length, "gamma": GAMMA}


@functools.partial(jax.jit, static_argnames=("length", "iterations"))
def _finished(magnitude: jax.Array, found: Any, *, length: int, iterations: int) -> jax.Array:
    if found is None:
        found = sweeps.swept_phase(magnitude, **_STEPS)
    spectrum = propagation.scaled(jnp.asarray(found), magnitude)
    waveform = fourier.istft(spectrum, **GEOMETRY, length=length)
    return _polished(waveform, magnitude, iterations)


def _mel_inverted(mel: jax.Array, length: int, **options: Any) -> jax.Array:
    magnitude = mel_inversion.mel_to_magnitude(mel, MEL.mel_weights())
    return _retrieved(magnitude, length, **options)


def trained_way(name: str | Path, **options: Any) -> Method:
    """A stored vocoder whose phases are integrated in another way, maybe polished."""
    return _synthesis(load_vocoder(name), **options)


def _synthesis(vocoder: TrainedVocoder, **options: Any) -> Method:
    size = sum(leaf.size for leaf in jax.tree.leaves(vocoder.variables))

    def run(features: jax.Array, length: int) -> Any:
        return vocoder.synthesize(features, length=length, **options)

    return Method(vocoder.features, run, size)


def one_sweep(name: str | Path) -> Method:
    """The online form but for the levels, which count from the loudest frame of the whole clip."""
    vocoder = load_vocoder(name)
    model = vocoder.model.clone(network=vocoder.model.network.clone(sweeps=1))
    return _synthesis(dataclasses.replace(vocoder, model=model))


def trained(name: str | Path, iterations: int) -> Method:
    """A stored vocoder, maybe polished."""
    vocoder = load_vocoder(name)
    size = sum(leaf.size for leaf in jax.tree.leaves(vocoder.variables))

    @functools.partial(jax.jit, static_argnames=("length",))
    def run(variables: Any, features: jax.Array, *, length: int) -> Any:
        found: Any = vocoder.model.apply(variables, features, length=length, method="synthesize")
        return _polished(found, features, iterations) if iterations else found

    variables = jax.device_put(vocoder.variables)
    return Method(
        vocoder.features, lambda features, length: run(variables, features, length=length), size
    )


def methods(linear: str | None, mel: str | None) -> dict[str, Method]:
    """All of them by name."""
    found = {
        "Griffin-Lim 32": Method(LINEAR, functools.partial(_retrieved, num_iterations=32)),
        "Griffin-Lim 60": Method(LINEAR, functools.partial(_retrieved, num_iterations=60)),
        "fast Griffin-Lim 60": Method(
            LINEAR, functools.partial(_retrieved, num_iterations=60, momentum=0.99)
        ),
        "difference map 60": Method(
            LINEAR,
            functools.partial(
                _retrieved, by=retrieval.difference_map, num_iterations=60, beta=BETA
            ),
        ),
    }
    for iterations in (0, 5):
        behind = f" + {iterations} iterations" if iterations else ""
        found[f"heap integration{behind}"] = Method(
            LINEAR, functools.partial(_heap, iterations=iterations)
        )
        found[f"propagation, analytic{behind}"] = Method(
            LINEAR,
            functools.partial(
                lambda magnitude, length, iterations: _propagated(
                    magnitude, length=length, iterations=iterations
                ),
                iterations=iterations,
            ),
        )
        for name, host in (("swept steps, analytic", False), ("surest steps, analytic", True)):
            found[f"{name}{behind}"] = Method(
                LINEAR, functools.partial(_swept_waveform, host=host, iterations=iterations)
            )
    if linear is not None:
        for iterations in (0, 5, 10):
            behind = f" + {iterations} iterations" if iterations else ""
            found[f"phase-gradient vocoder{behind}"] = trained(linear, iterations)
            found[f"phase-gradient vocoder, heap{behind}"] = trained_way(
                linear, heap=True, polish=iterations
            )
        found["phase-gradient vocoder, online"] = trained_way(linear, online=True)
        found["phase-gradient vocoder, one sweep"] = one_sweep(linear)
    found["mel inversion, Griffin-Lim 60"] = Method(
        MEL, functools.partial(_mel_inverted, num_iterations=60)
    )
    found["mel inversion, fast Griffin-Lim 60"] = Method(
        MEL, functools.partial(_mel_inverted, num_iterations=60, momentum=0.99)
    )
    if mel is not None:
        found["magnitude vocoder, mel"] = trained(mel, 0)
    return found


def chosen(found: dict[str, Method], patterns: Sequence[str] | None) -> dict[str, Method]:
    """The methods that were asked for, by names or patterns; all if there are none."""
    if patterns is None:
        return found
    for pattern in patterns:
        if not fnmatch.filter(found, pattern):
            raise SystemExit(f"--methods {pattern}: no such method; there are {'; '.join(found)}")
    wanted = {name for pattern in patterns for name in fnmatch.filter(found, pattern)}
    return {name: method for name, method in found.items() if name in wanted}


def load_clips(data: Path, folder: Path | None, split: str) -> Corpus:
    """Recordings of a folder, those of a list of names or all, at the rate of the features."""
    source = corpora.open_source("folder", data, sample_rate=LINEAR.sample_rate)
    names: Sequence[str] = [track.name for track in source.tracks]
    if folder is not None:
        patterns = splits.read_split_files(folder, (split,))
        names = splits.match_splits(patterns, names)[split]
    prepared = preparation.prepare(
        source, {"clips": names}, sample_rate=LINEAR.sample_rate, loudness_db=None
    )
    return prepared.corpora["clips"]


_analyse = jax.jit(VocoderFeatures.of, static_argnums=0)
_score = jax.jit(vocoder_methods.score_output, static_argnums=0)


def measure(
    method: Method, corpus: Corpus, *, seconds: float | None = None, speech: bool = True
) -> dict[str, Any]:
    """Scores and speed of a method on all clips, padded to the longest: one program."""
    limit = max(corpus.lengths) if seconds is None else round(seconds * corpus.sample_rate)
    lengths = [min(int(length), int(limit)) for length in corpus.lengths]
    longest = max(lengths)
    rows: list[dict[str, float | None]] = []
    spent = []
    for index, length in enumerate(lengths):
        clip = np.zeros((1, longest), np.float32)
        clip[0, :length] = corpus.clip(index, length=length)
        features = _analyse(method.features, clip)
        if not rows:
            jax.block_until_ready(method.run(features, longest))  # compiles
        start, used = time.perf_counter(), time.process_time()
        found = jax.block_until_ready(method.run(features, longest))
        spent.append((time.perf_counter() - start, time.process_time() - used))
        scores = _score(method.features, jnp.asarray(found), clip, features, length)
        heard = perceptual.score_all(
            prediction=np.asarray(found)[0, :length],
            target=clip[0, :length],
            sample_rate=corpus.sample_rate,
            speech=speech,
        )
        rows.append({name: float(value) for name, value in scores.items()} | heard)
    # Medians of seconds on the wall and of the processor.
    wall, processor = np.median(spent, axis=0)
    return {
        "input": method.features.kind,
        "parameters": method.parameters,
        **{name: _mean([row[name] for row in rows]) for name in rows[0]},
        "times_real_time": longest / corpus.sample_rate / float(wall),
        "times_real_time_of_processor": longest / corpus.sample_rate / float(processor),
    }


def _mean(values: list[float | None]) -> float:
    """Mean of those that are defined."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else float("nan")


def merge(
    before: dict[str, Any], rows: list[dict[str, Any]], origin: dict[str, Any], order: Sequence[str]
) -> dict[str, Any]:
    """A set with some rows measured anew, in the order of the methods; the others are kept."""
    if any(before[name] != origin[name] for name in ("clips", "seconds")):
        raise SystemExit("--methods: the other rows are of other clips; measure all methods")
    kept = {row["method"]: row for row in before["rows"]}
    kept |= {row["method"]: row for row in rows}
    names = dict.fromkeys([*order, *kept])  # methods that there are no more come last
    return {**origin, "rows": [kept[name] for name in names if name in kept]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="LJSpeech's folder, or any")
    parser.add_argument("--splits", type=Path, help="folder of lists, test.txt for instance")
    parser.add_argument("--split", default="test", help="of --splits")
    parser.add_argument("--set", default="ljspeech", help="name of the clips in the results")
    parser.add_argument("--seconds", type=float, help="no more of each clip")
    parser.add_argument("--music", action="store_true", help="no PESQ and STOI, made for speech")
    parser.add_argument("--linear", default="22khz-speech-vocoder", help="'' for none")
    parser.add_argument("--mel", default="22khz-speech-vocoder-mel", help="'' for none")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="these, or patterns of them")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results")
    args = parser.parse_args()
    missing = perceptual.missing_text(speech=not args.music)
    if missing:
        print(missing)
    path = common.RESULTS / "vocoder_quality.json"
    sets = json.loads(path.read_text())["sets"] if path.is_file() else {}
    every = methods(args.linear or None, args.mel or None)
    shown = chosen(every, args.methods)
    if args.write and args.methods and args.set not in sets:
        raise SystemExit(f"--methods: there is no set {args.set} yet; measure all methods")
    corpus, rows = load_clips(args.data, args.splits, args.split), []
    clips = {"clips": list(corpus.names), "seconds": args.seconds}
    origin = common.describe_run(args, clip_count=len(corpus), **clips)
    origin["versions"] |= benchmark_run.describe_run(common.SEED)["versions"]
    mark = {name: origin[name] for name in ("command", "commit", "date")}
    for name, method in shown.items():
        found = measure(method, corpus, seconds=args.seconds, speech=not args.music)
        rows.append({"method": name, **found, **mark})
        print(name, found, flush=True)
        if args.write:  # row by row: a run that is stopped keeps what it has measured
            fresh = {**origin, "rows": rows}
            merged = merge(sets[args.set], rows, origin, list(every)) if args.methods else fresh
            common.write_results("vocoder_quality", {"sets": {**sets, args.set: merged}})
    header = [name for name in rows[0] if name not in mark]
    common.print_table(
        f"{args.set}: {len(corpus)} clips, {provenance.device_name()}",
        header,
        [[row[name] for name in header] for row in rows],
    )


if __name__ == "__main__":
    main()
