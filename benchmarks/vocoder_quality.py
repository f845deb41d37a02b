"""How close spectrogram inversion comes to recorded speech: vocoders beside iterative methods.

    python benchmarks/vocoder_quality.py --data LJSPEECH_DIR [--splits DIR] [--split test]
        [--linear MODEL] [--mel MODEL] [--write]

Every clip of the split, whole, from its magnitudes at CNNVocoder's settings (22,050 Hz, n_fft 2048,
window 1024, hop 256) or from 80 Slaney mels of those. Scores: multi-resolution STFT loss (spectral
convergence plus log magnitude, mean of three resolutions) and spectral convergence in dB, means
over clips; and seconds of audio per second, and per second of processor time, compiled, one clip
after the other.
Where the extra "perceptual" is installed, also PESQ-WB at 16 kHz, STOI, ESTOI, and ViSQOL in audio
mode at 48 kHz and in speech mode at 16 kHz; nobody listened.
MODEL is what ``isincnet_jax.from_pretrained`` takes. CNNVocoder's published samples: 1.44 and -5.4.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import common
import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax import provenance
from isincnet_jax.benchmark import perceptual
from isincnet_jax.benchmark import run as benchmark_run
from isincnet_jax.data.corpora import build_corpora
from isincnet_jax.data.corpus import Corpus
from isincnet_jax.dsp import fourier
from isincnet_jax.phase import heap_integration, mel_inversion, propagation, retrieval, sweeps
from isincnet_jax.pretrained.trained import load_vocoder
from isincnet_jax.vocoders import blocks as vocoder_blocks
from isincnet_jax.vocoders import losses as vocoder_losses
from isincnet_jax.vocoders.features import VocoderFeatures
from isincnet_jax.vocoders.vocoder import TrainedVocoder

LINEAR = VocoderFeatures("linear")
MEL = VocoderFeatures("mel_slaney")
GEOMETRY: dict[str, Any] = {
    "n_fft": LINEAR.n_fft,
    "hop_length": LINEAR.hop_length,
    "win_length": LINEAR.win_length,
}
PESQ_RATE = 16_000
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


def _griffin_lim(magnitude: jax.Array, length: int, **options: Any) -> jax.Array:
    operators = retrieval.stft_operators(**GEOMETRY, length=length)
    return retrieval.griffin_lim(
        magnitude, **operators._asdict(), key=jax.random.key(common.SEED), **options
    )


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
    return _griffin_lim(magnitude, length, **options)


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
        "Griffin-Lim 32": Method(LINEAR, functools.partial(_griffin_lim, num_iterations=32)),
        "Griffin-Lim 60": Method(LINEAR, functools.partial(_griffin_lim, num_iterations=60)),
        "fast Griffin-Lim 60": Method(
            LINEAR, functools.partial(_griffin_lim, num_iterations=60, momentum=0.99)
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


def perceived(found: np.ndarray, clip: np.ndarray, sample_rate: int) -> dict[str, float | None]:
    """Scores of the perceptual models that are installed, of a clip of speech [time]."""
    pairs = {sample_rate: (found, clip)}
    pairs[PESQ_RATE] = (
        common.resample(found, sample_rate, PESQ_RATE),
        common.resample(clip, sample_rate, PESQ_RATE),
    )
    scores = {}
    for name in perceptual.usable(sample_rate=PESQ_RATE, speech=True):
        rate = PESQ_RATE if name == "pesq" else sample_rate  # the others resample by themselves
        prediction, target = pairs[rate]
        scores[name] = perceptual.score(
            name, prediction=prediction, target=target, sample_rate=rate
        )
    return scores


def measure(method: Method, corpus: Corpus) -> dict[str, Any]:
    """Scores and speed of a method on all clips, padded to the longest: one program."""
    longest = int(np.max(corpus.lengths))
    analyse = jax.jit(method.features.of)
    score = jax.jit(
        lambda found, clip, length: vocoder_losses.score_clips(
            prediction=found, target=clip, lengths=length
        )
    )
    scores, seconds, heard = [], [], []
    for index, length in enumerate(corpus.lengths):
        clip = np.zeros((1, longest), np.float32)
        clip[0, :length] = corpus.clip(index)
        features = analyse(clip)
        if not scores:
            jax.block_until_ready(method.run(features, longest))  # compiles
        start, used = time.perf_counter(), time.process_time()
        found = jax.block_until_ready(method.run(features, longest))
        seconds.append((time.perf_counter() - start, time.process_time() - used))
        scores.append([float(part[0]) for part in score(found, clip, np.asarray([length]))])
        pair = np.asarray(found)[0, :length], clip[0, :length]
        heard.append(perceived(*pair, corpus.sample_rate))
    multi_stft, convergence_db = np.mean(scores, axis=0)
    # Medians of seconds on the wall and of the processor.
    wall, processor = np.median(seconds, axis=0)
    return {
        "input": method.features.kind,
        "parameters": method.parameters,
        "multi_stft": float(multi_stft),
        "convergence_db": float(convergence_db),
        **{name: _mean([row[name] for row in heard]) for name in heard[0]},
        "times_real_time": longest / corpus.sample_rate / float(wall),
        "times_real_time_of_processor": longest / corpus.sample_rate / float(processor),
    }


def _mean(values: list[float | None]) -> float:
    """Mean of those that are defined."""
    return float(np.mean([value for value in values if value is not None]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="LJSpeech's folder, or any")
    parser.add_argument("--splits", type=Path, help="train.txt, validation.txt, test.txt")
    parser.add_argument("--split", default="test")
    parser.add_argument("--linear", default="22khz-speech-vocoder", help="'' for none")
    parser.add_argument("--mel", default="22khz-speech-vocoder-mel", help="'' for none")
    parser.add_argument("--only", help="methods whose name contains this")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results")
    args = parser.parse_args()
    corpora = build_corpora(
        "folder", args.data, sample_rate=LINEAR.sample_rate, loudness_db=None, splits=args.splits
    )
    if args.split not in corpora:
        raise SystemExit(f"--split {args.split}: there are {', '.join(corpora)}")
    missing = perceptual.missing_packages(sample_rate=PESQ_RATE, speech=True)
    for package, names in missing.items():
        print(f"not measured without {package}: {', '.join(names)}")
    corpus, results = corpora[args.split], {}
    for name, method in methods(args.linear or None, args.mel or None).items():
        if args.only is None or args.only in name:
            results[name] = measure(method, corpus)
            print(name, results[name], flush=True)
    header = ["method", *next(iter(results.values()))]
    rows = [[name, *row.values()] for name, row in results.items()]
    common.print_table(f"{len(corpus)} clips, {provenance.device_name()}", header, rows)
    if args.write:
        origin = common.describe_run(args, clip_count=len(corpus))
        origin["versions"] |= benchmark_run.describe_run(common.SEED)["versions"]
        common.write_results(
            "vocoder_quality",
            {**origin, "methods": results},
        )


if __name__ == "__main__":
    main()
