"""Every spectrogram layer beside every installed peer: time, memory of kernels, accuracy.

    python benchmarks/spectrograms.py [--pairs 7] [--only stft_complex,mel] [--skip-accuracy]

A batch of 16 clips of 10 s at 22.05 kHz, float32, all cores. Ours and a peer take turns in one
process (A B, B A, A B, ...), each with a call to settle and a burst of up to eight; idle OpenMP
threads sleep instead of spinning. Printed are both medians and the median of the ratios pair by
pair, peer over ours: above 1 we are faster.

Peers are librosa (one call for the batch, and again with a pool of two threads over the clips:
compare with the faster), torch, nnAudio, nnaudio2 (its inverse CQT) and librosax. What is not
installed, or raises, is printed and stands in the results under "missing"; so does a layer of ours.
Packages outside the environment are read from folders that ``--peer-paths`` names.

Rows "train ..." are the forward pass and the gradient of the mean squared magnitude with respect
to the kernels. Accuracy is relative L2 distance to double precision: librosa's where librosa is
exact, direct inner products with ``librosa.filters.wavelet`` for constant Q.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import importlib
import importlib.util
import io
import os
import pkgutil
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, NamedTuple

# Before PyTorch's OpenMP is loaded: its idle threads would spin on the cores of the other side.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import common
import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal

Operation = Callable[[], Any]
Builder = Callable[[], Operation]

BATCH, RATE, DURATION_S = 16, 22_050, 10
LENGTH = RATE * DURATION_S
HOP, N_FFT = 512, 2048
FMIN = 32.703
BURST, BURST_S = 8, 0.5
CQT = {"sample_rate": RATE, "hop_length": HOP, "fmin": FMIN, "n_bins": 84, "bins_per_octave": 12}
THEIR_CQT = {"sr": RATE, "hop_length": HOP, "fmin": FMIN, "n_bins": 84, "bins_per_octave": 12}
# Exact inversion needs a hop that the broadest band allows: None is the longest one.
INVERTIBLE = {**CQT, "hop_length": None, "layout": "ragged"}
VQT_GAMMA = 10.0
CQT_LAYERS = ("CQT1992v2", "CQT1992", "CQT2010v2", "CQT2010")


class Row(NamedTuple):
    """One comparison: how to build ours and each peer, all of them only when asked."""

    ours: Builder
    peers: dict[str, Builder]


def timed(operation: Operation, burst: int) -> float:
    """Seconds per call: one call to settle, then a burst back to back."""
    operation()
    start = time.perf_counter()
    for _ in range(burst):
        operation()
    return (time.perf_counter() - start) / burst


def compare(ours: Operation, peer: Operation, pairs: int) -> dict[str, float]:
    """Times two operations in turns, slow ones with shorter bursts."""
    bursts = []
    for operation in (ours, peer):
        operation()
        once = timed(operation, 1)
        bursts.append(max(1, min(BURST, round(BURST_S / max(once, 1e-6)))))
    sides = ((ours, bursts[0], []), (peer, bursts[1], []))
    for index in range(pairs):
        for operation, burst, times in sides if index % 2 == 0 else sides[::-1]:
            times.append(timed(operation, burst))
    ours_s, peer_s = sides[0][2], sides[1][2]
    ratios = [b / a for a, b in zip(ours_s, peer_s, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4) if pairs > 1 else [ratios[0]] * 3
    seconds = BATCH * DURATION_S
    return {
        "ours_ms": 1e3 * statistics.median(ours_s),
        "peer_ms": 1e3 * statistics.median(peer_s),
        "ratio": statistics.median(ratios),
        "ratio_lower_quartile": quartiles[0],
        "ratio_upper_quartile": quartiles[2],
        "ours_times_real_time": seconds / statistics.median(ours_s),
        "peer_times_real_time": seconds / statistics.median(peer_s),
    }


def layer(module: str, name: str, **options: Any) -> Any:
    """A layer of ours, from its module or another one of ``isincnet_jax.layers``.

    Raises:
        ImportError: where no module has it.
    """
    from isincnet_jax import layers

    others = [info.name for info in pkgutil.iter_modules(layers.__path__)]
    for candidate in (module, *others):
        if candidate in others:
            found = importlib.import_module(f"isincnet_jax.layers.{candidate}")
            if hasattr(found, name):
                return getattr(found, name)(**options)
    raise ImportError(f"no layer {name} in isincnet_jax.layers")


def run_ours(model: Any, *inputs: Any, method: str | None = None, **keywords: Any) -> Operation:
    """The jitted layer with its variables as inputs, as a user would call it."""
    variables = model.init(jax.random.key(0), *inputs, method=method, **keywords)
    apply = jax.jit(lambda v, *args: model.apply(v, *args, method=method, **keywords))
    return lambda: jax.block_until_ready(apply(variables, *inputs))


def train_ours(model: Any, waveform: jax.Array) -> Operation:
    """Loss and gradient with respect to all parameters; there must be some."""
    variables = model.init(jax.random.key(0), waveform[:1])
    if not jax.tree.leaves(variables.get("params", {})):
        raise ValueError(f"{type(model).__name__} has nothing to train")

    @jax.jit
    def step(params: Any, x: jax.Array) -> Any:
        def loss(params: Any) -> jax.Array:
            return jnp.mean(jnp.abs(model.apply({**variables, "params": params}, x)) ** 2)

        return jax.value_and_grad(loss)(params)

    return lambda: jax.block_until_ready(step(variables["params"], waveform))


class Peers:
    """Builders of the peers' operations; importing happens when one is built."""

    def __init__(self, clips: np.ndarray) -> None:
        self.clips = clips
        self.pool = ThreadPool(2)
        atexit.register(self.pool.terminate)

    @property
    def torch(self) -> Any:
        """PyTorch on all cores."""
        import torch

        torch.set_num_threads(os.cpu_count() or 1)
        return torch

    @property
    def nnaudio(self) -> Any:
        """nnAudio's layers."""
        # nnAudio 0.3.3 asks scipy for a window where scipy < 1.13 had it; the rows would be lost.
        if not hasattr(scipy.signal, "blackmanharris"):
            scipy.signal.blackmanharris = scipy.signal.windows.blackmanharris
        return importlib.import_module("nnAudio.features")

    def tensor(self, array: Any) -> Any:
        """A PyTorch copy of an array."""
        return self.torch.from_numpy(np.array(array))

    def quiet(self, make: Callable[[], Any]) -> Any:
        """A layer of nnAudio, without what it prints."""
        with contextlib.redirect_stdout(io.StringIO()):
            return make()

    def module(self, name: str, *, inputs: Any = None, call: Any = None, **options: Any) -> Builder:
        """nnAudio's layer of that name over the batch, without gradients."""

        def build() -> Operation:
            model = self.quiet(lambda: getattr(self.nnaudio, name)(**options))
            values = self.tensor(self.clips if inputs is None else inputs())

            def operation() -> Any:
                with self.torch.no_grad():
                    return model(values, **(call or {}))

            return operation

        return build

    def train(self, name: str, **options: Any) -> Builder:
        """Loss and gradient with respect to nnAudio's trainable parameters."""

        def build() -> Operation:
            model = self.quiet(lambda: getattr(self.nnaudio, name)(**options))
            if not any(p.requires_grad for p in model.parameters()):
                raise ValueError(f"nnAudio's {name} has nothing to train")
            values = self.tensor(self.clips)

            def operation() -> Any:
                model.zero_grad(set_to_none=True)
                loss = (model(values) ** 2).mean()
                loss.backward()
                return loss

            return operation

        return build

    def librosa(self, function: Callable[[Any, np.ndarray], Any], inputs: Any = None) -> dict:
        """Both ways of calling librosa: the batch at once, and two threads over the clips."""

        def values() -> Any:
            return self.clips if inputs is None else inputs()

        def at_once() -> Operation:
            import librosa

            batch = values()
            return lambda: function(librosa, batch)

        def threads() -> Operation:
            import librosa

            batch = list(values())
            return lambda: self.pool.map(lambda clip: function(librosa, clip), batch)

        return {"librosa": at_once, "librosa, 2 threads": threads}

    def librosax(self, function: Callable[[Any, Any], Any]) -> Builder:
        """librosax over the batch, jitted."""

        def build() -> Operation:
            module = importlib.import_module("librosax")
            run = jax.jit(lambda x: function(module, x))
            values = jnp.asarray(self.clips)
            return lambda: jax.block_until_ready(run(values))

        return build


def make_rows(clips: np.ndarray) -> dict[str, Row]:
    """All comparisons by name."""
    on_device = jax.device_put(clips)
    peers = Peers(clips)
    geometry = {"n_fft": N_FFT, "hop_length": HOP}
    options = {"sample_rate": RATE, **geometry}
    theirs = {"sr": RATE, **geometry}

    def ours(module: str, name: str, **more: Any) -> Builder:
        return lambda: run_ours(layer(module, name, **more), on_device)

    def trained(module: str, name: str, **more: Any) -> Builder:
        return lambda: train_ours(layer(module, name, **more), on_device)

    def spectrum() -> np.ndarray:
        import librosa

        return librosa.stft(clips, **geometry)

    def magnitude() -> np.ndarray:
        return np.abs(spectrum())

    def frames_first(make: Callable[[], np.ndarray]) -> jax.Array:
        return jnp.asarray(make().swapaxes(-1, -2))

    def torch_stft() -> Operation:
        torch, values = peers.torch, peers.tensor(clips)
        window = torch.hann_window(N_FFT)
        return lambda: torch.stft(
            values, N_FFT, HOP, window=window, pad_mode="reflect", return_complex=True
        )

    def torch_magnitude() -> Operation:
        complex_stft = torch_stft()
        return lambda: complex_stft().abs()

    def torch_istft() -> Operation:
        torch, values = peers.torch, peers.tensor(spectrum())
        window = torch.hann_window(N_FFT)
        return lambda: torch.istft(values, N_FFT, HOP, window=window, length=LENGTH)

    def their_inverse() -> Operation:
        model = peers.quiet(lambda: peers.nnaudio.iSTFT(**theirs, verbose=False))
        values = peers.torch.view_as_real(peers.tensor(spectrum())).contiguous()

        def operation() -> Any:
            with peers.torch.no_grad():
                return model(values, onesided=True, length=LENGTH)

        return operation

    quiet = {"verbose": False}
    mono = {"pad_mode": "reflect"}
    rows = {
        "stft_complex": Row(
            ours("stft", "STFT", **options, output_format="complex"),
            {
                **peers.librosa(lambda m, x: m.stft(x, **geometry, **mono)),
                "torch": torch_stft,
                "nnAudio": peers.module("STFT", **theirs, output_format="Complex", **quiet),
                "librosax": peers.librosax(lambda m, x: m.stft(x, **geometry)),
            },
        ),
        "stft_magnitude": Row(
            ours("stft", "STFT", **options, output_format="magnitude"),
            {
                **peers.librosa(lambda m, x: np.abs(m.stft(x, **geometry, **mono))),
                "torch": torch_magnitude,
                "nnAudio": peers.module("STFT", **theirs, output_format="Magnitude", **quiet),
                "librosax": peers.librosax(lambda m, x: jnp.abs(m.stft(x, **geometry))),
            },
        ),
        "istft": Row(
            lambda: run_ours(
                layer("inverse_stft", "InverseSTFT", **geometry),
                frames_first(spectrum),
                length=LENGTH,
            ),
            {
                **peers.librosa(
                    lambda m, x: m.istft(x, hop_length=HOP, length=LENGTH), inputs=spectrum
                ),
                "torch": torch_istft,
                "nnAudio": their_inverse,
            },
        ),
        "mel": Row(
            ours("mel", "MelSpectrogram", **options, n_mels=128),
            {
                **peers.librosa(
                    lambda m, x: m.feature.melspectrogram(y=x, sr=RATE, **geometry, **mono)
                ),
                "nnAudio": peers.module("MelSpectrogram", **theirs, n_mels=128, **quiet),
                "librosax": peers.librosax(
                    lambda m, x: m.feature.melspectrogram(y=x, sr=RATE, **geometry)
                ),
            },
        ),
        "mfcc": Row(
            ours("mel", "MFCC", **options, n_mfcc=20),
            {
                **peers.librosa(lambda m, x: m.feature.mfcc(y=x, sr=RATE, **geometry, **mono)),
                "nnAudio": peers.module("MFCC", **theirs, n_mfcc=20, **quiet),
                "librosax": peers.librosax(lambda m, x: m.feature.mfcc(y=x, sr=RATE, **geometry)),
            },
        ),
        "gammatone": Row(
            ours("gammatone", "Gammatonegram", **options, n_bins=64),
            {"nnAudio": peers.module("Gammatonegram", **theirs, n_bins=64, **quiet)},
        ),
        "chroma": Row(
            ours("chroma", "Chroma", **options),
            peers.librosa(
                lambda m, x: m.feature.chroma_stft(y=x, sr=RATE, tuning=0.0, **geometry, **mono)
            ),
        ),
        "pcen": Row(
            lambda: run_ours(
                layer("pcen", "PCEN", sample_rate=RATE, hop_length=HOP),
                frames_first(magnitude) * 2.0**31,
            ),
            peers.librosa(
                lambda m, x: m.pcen(x, sr=RATE, hop_length=HOP),
                inputs=lambda: magnitude() * np.float32(2.0**31),
            ),
        ),
        "griffin_lim": Row(
            lambda: run_ours(
                layer("griffin_lim", "GriffinLim", **geometry, n_iter=32),
                frames_first(magnitude),
                length=LENGTH,
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
            ours("cfp", "CFP", sample_rate=RATE),
            {"nnAudio": peers.module("CFP", fs=RATE)},
        ),
        "time_stretch": Row(
            ours("time_scale", "TimeStretch", rate=1.25),
            peers.librosa(lambda m, x: m.effects.time_stretch(x, rate=1.25)),
        ),
        "pitch_shift": Row(
            ours("time_scale", "PitchShift", n_steps=3),
            peers.librosa(lambda m, x: m.effects.pitch_shift(x, sr=RATE, n_steps=3)),
        ),
    }

    librosa_cqt = peers.librosa(lambda m, x: np.abs(m.cqt(x, **THEIR_CQT)))
    for name in CQT_LAYERS:
        # CQT1992 has no argument "verbose", and its own default fmin=220 Hz raises.
        more = {} if name == "CQT1992" else quiet
        extra = {} if "1992" in name else {"librosax": _librosax_cqt(peers)}
        rows[name] = Row(
            ours("constant_q", name, **CQT),
            {**librosa_cqt, "nnAudio": peers.module(name, **THEIR_CQT, **more), **extra},
        )
    rows["VQT"] = Row(
        ours("constant_q", "VQT", **CQT, gamma=VQT_GAMMA),
        {
            **peers.librosa(lambda m, x: np.abs(m.vqt(x, **THEIR_CQT, gamma=VQT_GAMMA))),
            "nnAudio": peers.module("VQT", **THEIR_CQT, gamma=VQT_GAMMA, **quiet),
        },
    )
    rows["invertible_cqt_forward"] = Row(
        ours("invertible_cqt", "InvertibleCQT", **INVERTIBLE), dict(librosa_cqt)
    )
    rows["invertible_cqt_inverse"] = Row(
        lambda: _our_inverse_cqt(on_device),
        {
            **peers.librosa(
                lambda m, x: m.icqt(
                    x, sr=RATE, hop_length=HOP, fmin=FMIN, bins_per_octave=12, length=LENGTH
                ),
                inputs=lambda: importlib.import_module("librosa").cqt(clips, **THEIR_CQT),
            ),
            "nnaudio2": lambda: _nnaudio2_inverse(peers, clips),
        },
    )
    trainable = {"trainable": True, **quiet}
    rows["train STFT"] = Row(
        trained("stft", "STFT", **options, trainable_kernels=True),
        {"nnAudio": peers.train("STFT", **theirs, output_format="Magnitude", **trainable)},
    )
    rows["train mel"] = Row(
        trained("mel", "MelSpectrogram", **options, trainable_mel=True, trainable_stft=True),
        {
            "nnAudio": peers.train(
                "MelSpectrogram", **theirs, trainable_mel=True, trainable_STFT=True, **quiet
            )
        },
    )
    for name in ("CQT1992v2", "CQT2010v2", "VQT"):
        gamma = {"gamma": VQT_GAMMA} if name == "VQT" else {}
        rows[f"train {name}"] = Row(
            trained("constant_q", name, **CQT, **gamma, trainable_kernels=True),
            {"nnAudio": peers.train(name, **THEIR_CQT, **gamma, **trainable)},
        )
    return rows


def _librosax_cqt(peers: Peers) -> Builder:
    return peers.librosax(lambda m, x: jnp.abs(m.feature.cqt2010(x, **THEIR_CQT)))


def _our_inverse_cqt(waveform: jax.Array) -> Operation:
    model = layer("invertible_cqt", "InvertibleCQT", **INVERTIBLE)
    coefficients = run_ours(model, waveform)()
    decode = jax.jit(lambda c: model.apply({}, c, length=LENGTH, method="decode"))
    return lambda: jax.block_until_ready(decode(coefficients))


def _nnaudio2_inverse(peers: Peers, clips: np.ndarray) -> Operation:
    features = importlib.import_module("nnAudio2.features.cqt")
    options = {**THEIR_CQT, "verbose": False}
    forward = peers.quiet(lambda: features.CQT1992v2(**options, output_format="Complex"))
    inverse = peers.quiet(lambda: features.iCQT(**options))
    with peers.torch.no_grad():
        coefficients = forward(peers.tensor(clips))

    def operation() -> Any:
        with peers.torch.no_grad():
            return inverse(coefficients, length=LENGTH)

    return operation


def attempt(make: Callable[[], Any], what: str, missing: list[str]) -> Any:
    """The made thing, or None, with one line on why, where a peer or layer is not usable."""
    try:
        return make()
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        missing.append(f"{what}: {type(error).__name__}: {text}")
        print(f"  MISSING {missing[-1]}", flush=True)
        return None


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
            mine.append({"row": name, "peer": peer_name, **compare(ours, peer, pairs)})
            print(f"  {name}, {peer_name}: {mine[-1]['ratio']:.2f}", flush=True)
        found.extend(mine)
        if mine:
            fastest.append(min(mine, key=lambda result: result["ratio"]))
    return found, fastest


def kernel_memory(missing: list[str]) -> list[dict[str, Any]]:
    """Bytes that constant-Q layers keep, ours by ``kernel_bytes``, nnAudio's summed."""
    geometries = (
        ("22.05 kHz, 84 bins", 22_050, {"n_bins": 84, "bins_per_octave": 12}),
        ("44.1 kHz, 252 bins, 36 per octave", 44_100, {"n_bins": 252, "bins_per_octave": 36}),
    )
    peers = Peers(np.zeros((1, 1), np.float32))
    results = []
    for title, rate, bins in geometries:
        shared = {"hop_length": HOP, "fmin": FMIN, **bins}
        for name in (*CQT_LAYERS, "VQT"):

            def ours(name: str = name, rate: int = rate, shared: dict = shared) -> int:
                return int(layer("constant_q", name, sample_rate=rate, **shared).kernel_bytes)

            def theirs(name: str = name, rate: int = rate, shared: dict = shared) -> int:
                if name == "CQT1992" and rate > RATE:
                    raise MemoryError("it designs 65537 x 131072 DFT kernels in float64, 64 GiB")
                model = peers.quiet(lambda: getattr(peers.nnaudio, name)(sr=rate, **shared))
                tensors = (*model.buffers(), *model.parameters())
                return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

            row = {
                "layer": name,
                "geometry": title,
                "ours_bytes": attempt(ours, f"memory {name} {title}, ours", missing),
                "nnaudio_bytes": attempt(theirs, f"memory {name} {title}, nnAudio", missing),
            }
            results.append(row)
    return results


def accuracy_clip(seconds: float = 4.0) -> np.ndarray:
    """Tones over all octaves that decay, with a floor of noise; float64."""
    rng = np.random.default_rng(common.SEED)
    moments = np.arange(int(RATE * seconds)) / RATE
    clip = 0.01 * rng.standard_normal(len(moments))
    for note in range(24, 96, 5):
        start = rng.uniform(0, seconds * 0.8)
        after = np.maximum(moments - start, 0.0)
        pitch = 440 * 2 ** ((note - 69) / 12)
        tone = sum(np.sin(2 * np.pi * pitch * k * after) / k for k in (1, 2, 3))
        clip += 0.1 * tone * np.exp(-3 * after) * (moments > start)
    return clip


def direct_cqt(clip: np.ndarray, gamma: float = 0.0) -> np.ndarray:
    """|inner products| [bins, frames] with librosa's wavelets, in float64 and without shortcuts.

    librosa's scale: the L1-normalised wavelets times the square root of their lengths.
    """
    import librosa

    freqs = librosa.cqt_frequencies(84, fmin=FMIN, bins_per_octave=12)
    alpha = librosa.filters._relative_bandwidth(freqs=freqs)
    wavelets, lengths = librosa.filters.wavelet(
        freqs=freqs, sr=RATE, pad_fft=False, norm=1, gamma=gamma, alpha=alpha, dtype=np.complex128
    )
    results = np.zeros((84, 1 + len(clip) // HOP))
    for index, (kernel, length) in enumerate(zip(wavelets, lengths, strict=True)):
        taps = np.asarray(kernel)
        # librosa counts taps from floor(-length / 2): the middle of odd ones is a sample late.
        half = (len(taps) + 1) // 2
        padded = np.pad(clip, (half, len(taps)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, len(taps))[::HOP]
        products = frames[: results.shape[1]] @ np.conj(taps)
        results[index] = np.abs(products) * np.sqrt(length)
    return results


def relative(found: Any, expected: np.ndarray) -> float:
    """Relative L2 distance of [bins, frames], over the frames that both have."""
    found = np.asarray(found, np.complex128 if np.iscomplexobj(found) else np.float64)
    frames = min(found.shape[-1], expected.shape[-1])
    found, expected = found[..., :frames], expected[..., :frames]
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def run_accuracy(missing: list[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Distances to double precision, and signal-to-noise ratios of round trips."""
    import librosa

    clip = accuracy_clip()
    single = clip.astype(np.float32)
    peers = Peers(single[None])
    geometry = {"n_fft": N_FFT, "hop_length": HOP}
    reflect = {**geometry, "pad_mode": "reflect"}
    quiet = {"verbose": False}

    def ours(module: str, name: str, **options: Any) -> Callable[[], np.ndarray]:
        return lambda: np.asarray(run_ours(layer(module, name, **options), jnp.asarray(single))()).T

    def theirs(name: str, **options: Any) -> Callable[[], np.ndarray]:
        def compute() -> np.ndarray:
            return peers.module(name, **options)()()[0].numpy()

        return compute

    sampled = {"sample_rate": RATE, **geometry}
    named = {"sr": RATE, **geometry}
    power = librosa.feature.melspectrogram(y=clip, sr=RATE, **reflect)
    zeros = {"pad_mode": "constant"}
    cases: list[tuple[str, np.ndarray, Any, Any]] = [
        (
            "STFT magnitude",
            np.abs(librosa.stft(clip, **reflect)),
            ours("stft", "STFT", **sampled),
            theirs("STFT", **named, output_format="Magnitude", **quiet),
        ),
        (
            "mel",
            power,
            ours("mel", "MelSpectrogram", **sampled),
            theirs("MelSpectrogram", **named, **quiet),
        ),
        (
            "MFCC",
            librosa.feature.mfcc(y=clip, sr=RATE, **reflect),
            ours("mel", "MFCC", **sampled),
            theirs("MFCC", **named, **quiet),
        ),
        (
            "chroma",
            librosa.feature.chroma_stft(y=clip, sr=RATE, tuning=0.0, **reflect),
            ours("chroma", "Chroma", **sampled),
            None,
        ),
        (
            "PCEN of magnitudes",
            librosa.pcen(np.abs(librosa.stft(clip, **reflect)) * 2**31, sr=RATE, hop_length=HOP),
            lambda: (
                np.asarray(
                    run_ours(
                        layer("pcen", "PCEN", sample_rate=RATE, hop_length=HOP),
                        jnp.asarray(np.abs(librosa.stft(single, **reflect)).T * np.float32(2**31)),
                    )()
                ).T
            ),
            None,
        ),
        (
            "time stretch 1.25",
            librosa.effects.time_stretch(clip, rate=1.25)[None],
            lambda: ours("time_scale", "TimeStretch", rate=1.25)()[None],
            None,
        ),
    ]
    direct = direct_cqt(clip)
    for name in CQT_LAYERS:
        more = {} if name == "CQT1992" else quiet
        cases.append(
            (
                name,
                direct,
                ours("constant_q", name, **CQT, **zeros),
                theirs(name, **THEIR_CQT, **zeros, **more),
            )
        )
    varied = direct_cqt(clip, gamma=VQT_GAMMA)
    cases.append(
        (
            "VQT",
            varied,
            ours("constant_q", "VQT", **CQT, **zeros, gamma=VQT_GAMMA),
            theirs("VQT", **THEIR_CQT, **zeros, gamma=VQT_GAMMA, **quiet),
        )
    )
    results = []
    for name, expected, mine, peer in cases:
        row: dict[str, Any] = {"layer": name, "ours": None, "nnaudio": None}
        for side, make in (("ours", mine), ("nnaudio", peer)):
            if make is not None:
                value = attempt(
                    lambda make=make, expected=expected: relative(make(), expected),
                    f"accuracy {name}, {side}",
                    missing,
                )
                row[side] = value
        results.append(row)
    for name, expected, found in (
        ("librosa.cqt, itself", direct, lambda: np.abs(librosa.cqt(clip, **THEIR_CQT))),
        ("librosa.vqt, itself", varied,
         lambda: np.abs(librosa.vqt(clip, **THEIR_CQT, gamma=VQT_GAMMA))),
    ):  # fmt: skip
        results.append({"layer": name, "librosa": relative(found(), expected)})
    return results, round_trips(single, peers, missing)


def round_trips(clip: np.ndarray, peers: Peers, missing: list[str]) -> list[dict[str, Any]]:
    """dB of a clip after analysis and synthesis."""
    import librosa

    length = len(clip)
    geometry = {"n_fft": N_FFT, "hop_length": HOP}

    def ours_stft() -> Any:
        spectrum = run_ours(
            layer("stft", "STFT", **geometry, output_format="complex"), jnp.asarray(clip)
        )()
        inverse = layer("inverse_stft", "InverseSTFT", **geometry)
        return run_ours(inverse, spectrum, length=length)()

    def torch_stft() -> Any:
        torch = peers.torch
        window, values = torch.hann_window(N_FFT), peers.tensor(clip)
        spectrum = torch.stft(values, N_FFT, HOP, window=window, return_complex=True)
        return torch.istft(spectrum, N_FFT, HOP, window=window, length=length).numpy()

    def their_stft() -> Any:
        options = {"sr": RATE, **geometry, "verbose": False}
        forward = peers.quiet(lambda: peers.nnaudio.STFT(**options, output_format="Complex"))
        inverse = peers.quiet(lambda: peers.nnaudio.iSTFT(**options))
        with peers.torch.no_grad():
            spectrum = forward(peers.tensor(clip[None]))
            return inverse(spectrum, onesided=True, length=length)[0].numpy()

    def ours_cqt() -> Any:
        model = layer("invertible_cqt", "InvertibleCQT", **INVERTIBLE)
        coefficients = run_ours(model, jnp.asarray(clip))()
        return model.apply({}, coefficients, length=length, method="decode")

    def librosa_cqt() -> Any:
        shared = {"sr": RATE, "hop_length": HOP, "fmin": FMIN, "bins_per_octave": 12}
        return librosa.icqt(librosa.cqt(clip, **THEIR_CQT), length=length, **shared)

    def their_cqt() -> Any:
        features = importlib.import_module("nnAudio2.features.cqt")
        options = {**THEIR_CQT, "verbose": False}
        forward = peers.quiet(lambda: features.CQT1992v2(**options, output_format="Complex"))
        inverse = peers.quiet(lambda: features.iCQT(**options))
        with peers.torch.no_grad():
            found = inverse(forward(peers.tensor(clip[None])), length=length)
        return np.ravel(found.numpy())

    trips = {
        ("STFT", "ours"): ours_stft,
        ("STFT", "librosa"): lambda: librosa.istft(
            librosa.stft(clip, **geometry), hop_length=HOP, length=length
        ),
        ("STFT", "torch"): torch_stft,
        ("STFT", "nnAudio"): their_stft,
        ("CQT", "ours"): ours_cqt,
        ("CQT", "librosa"): librosa_cqt,
        ("CQT", "nnaudio2"): their_cqt,
    }
    results = []
    for (transform, who), trip in trips.items():
        what = f"round trip {transform}, {who}"
        found = attempt(lambda trip=trip: common.snr_db(clip, trip()), what, missing)
        results.append({"transform": transform, "who": who, "snr_db": found})
    return results


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=7, help="timed pairs per comparison")
    parser.add_argument("--only", metavar="ROW,...", help="these rows only; 'none' for no timing")
    parser.add_argument("--skip-accuracy", action="store_true", help="time and memory only")
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
    # Peers' deprecations; nothing of ours warns.
    warnings.simplefilter("ignore")
    load_before = common.load_average()
    clips = np.random.default_rng(common.SEED).uniform(-0.5, 0.5, (BATCH, LENGTH))
    missing: list[str] = []
    with peer_paths(args.peer_paths):
        rows = chosen(make_rows(clips.astype(np.float32)), args.only)
        comparisons, fastest = run_speed(rows, args.pairs, missing)
        memory = kernel_memory(missing)
        distances, trips = ([], []) if args.skip_accuracy else run_accuracy(missing)
    header = ["", "peer", "ours ms", "peer ms", "ratio", "quartiles", "ours x real time", "peer"]
    for title, results in (("all peers", comparisons), ("the fastest peer", fastest)):
        common.print_table(
            f"{BATCH} x {DURATION_S} s at {RATE} Hz, {args.pairs} pairs, {title}; ratio = peer / "
            "ours",
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
    origin = common.describe_run(
        args, data="uniform noise", clip_count=BATCH, load_average_before=load_before
    )
    if args.only is not None:
        print("\nNot written: only a part of the rows ran.")
        return
    results = {"comparisons": comparisons, "fastest": fastest, "kernel_bytes": memory,
               "accuracy": distances, "round_trips": trips, "missing": missing}  # fmt: skip
    common.write_results("spectrograms", {**origin, "versions_peers": _peers(), **results})


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _peers() -> dict[str, str]:
    """Versions of the peers that are importable."""
    return {
        name: getattr(sys.modules.get(name), "__version__", "not loaded")
        for name in ("librosa", "torch", "nnAudio", "nnAudio2", "librosax")
    }


if __name__ == "__main__":
    main()
