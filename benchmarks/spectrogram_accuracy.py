"""Accuracy of the spectrogram layers and the memory of their kernels, peers beside them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import common
import cqt_pytorch
import jax.numpy as jnp
import numpy as np
from spectrogram_peers import (
    CQT,
    CQT_LAYERS,
    FMIN,
    HOP,
    INVERTIBLE,
    N_FFT,
    RATE,
    THEIR_CQT,
    VQT_GAMMA,
    Peers,
    attempt,
    layer,
    run_ours,
)


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
                return int(layer(name, sample_rate=rate, **shared).kernel_bytes)

            def theirs(name: str = name, rate: int = rate, shared: dict = shared) -> int:
                if name == "CQT1992" and rate > RATE:
                    raise MemoryError("it designs 65537 x 131072 DFT kernels in float64, 64 GiB")
                peers.refuse_slow(name)
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

    def ours(name: str, **options: Any) -> Callable[[], np.ndarray]:
        return lambda: np.asarray(run_ours(layer(name, **options), jnp.asarray(single))()).T

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
            ours("STFT", **sampled),
            theirs("STFT", **named, output_format="Magnitude", **quiet),
        ),
        (
            "mel",
            power,
            ours("MelSpectrogram", **sampled),
            theirs("MelSpectrogram", **named, **quiet),
        ),
        (
            "MFCC",
            librosa.feature.mfcc(y=clip, sr=RATE, **reflect),
            ours("MFCC", **sampled),
            theirs("MFCC", **named, **quiet),
        ),
        (
            "chroma",
            librosa.feature.chroma_stft(y=clip, sr=RATE, tuning=0.0, **reflect),
            ours("Chroma", **sampled),
            None,
        ),
        (
            "PCEN of magnitudes",
            librosa.pcen(np.abs(librosa.stft(clip, **reflect)) * 2**31, sr=RATE, hop_length=HOP),
            lambda: (
                np.asarray(
                    run_ours(
                        layer("PCEN", sample_rate=RATE, hop_length=HOP),
                        jnp.asarray(np.abs(librosa.stft(single, **reflect)).T * np.float32(2**31)),
                    )()
                ).T
            ),
            None,
        ),
        (
            "time stretch 1.25",
            librosa.effects.time_stretch(clip, rate=1.25)[None],
            lambda: ours("TimeStretch", rate=1.25)()[None],
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
                ours(name, **CQT, **zeros),
                theirs(name, **THEIR_CQT, **zeros, **more),
            )
        )
    varied = direct_cqt(clip, gamma=VQT_GAMMA)
    cases.append(
        (
            "VQT",
            varied,
            ours("VQT", **CQT, **zeros, gamma=VQT_GAMMA),
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
        spectrum = run_ours(layer("STFT", **geometry, output_format="complex"), jnp.asarray(clip))()
        inverse = layer("InverseSTFT", **geometry)
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
        model = layer("InvertibleCQT", **INVERTIBLE)
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
    return results + cqt_pytorch.round_trips(peers, missing)
