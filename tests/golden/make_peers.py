"""Computes ``torch_layers.npz`` and ``nnaudio.npz``: outputs of PyTorch and nnAudio on noise.

    python -m venv peers && peers/bin/pip install torch==2.13.0 nnAudio==0.3.4
    peers/bin/python tests/golden/make_peers.py

Nothing of this project is imported, and neither PyTorch nor nnAudio is when the tests run.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent


def _noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def torch_layers() -> dict[str, np.ndarray]:
    import torch
    from torch.nn import functional

    def channels_first(array: np.ndarray) -> Any:
        return torch.from_numpy(np.moveaxis(array, -1, 1).copy())

    def channels_last(tensor: Any) -> np.ndarray:
        return np.moveaxis(tensor.numpy(), 1, -1).copy()

    out = {"upsample/input": _noise(1, 2, 7, 3), "average/input": _noise(2, 2, 100, 3)}
    out["upsample/output"] = channels_last(
        functional.interpolate(
            channels_first(out["upsample/input"]),
            scale_factor=2,
            mode="linear",
            align_corners=False,
        )
    )
    out["average/output"] = channels_last(
        functional.adaptive_avg_pool1d(channels_first(out["average/input"]), 32)
    )
    for taps, stride in [(16, 8), (4, 2), (5, 3), (3, 3), (7, 2)]:
        name = f"transposed_{taps}_{stride}"
        sequence, kernel = _noise(3, 2, 4, 3), _noise(taps, taps, 3, 2)
        whole = functional.conv_transpose1d(
            channels_first(sequence),
            torch.from_numpy(kernel.transpose(1, 2, 0).copy()),
            stride=stride,
        )
        padding = (taps - stride) // 2
        out |= {f"{name}/input": sequence, f"{name}/kernel": kernel}
        out[f"{name}/output"] = channels_last(whole[..., padding : padding + 4 * stride])

    # A residual block of stride 2 in float64, with any positive parameters and statistics.
    rng = np.random.default_rng(4)
    image = _noise(5, 2, 7, 9, 4)
    for name, shape in {
        "params/conv_0/kernel": (3, 3, 4, 6),
        "params/conv_1/kernel": (3, 3, 6, 6),
        "params/conv_around/kernel": (1, 1, 4, 6),
        **{
            f"{kind}/{norm}/{leaf}": (6,)
            for norm in ("norm_0", "norm_1", "norm_around")
            for kind, leaf in [
                ("params", "scale"),
                ("params", "bias"),
                ("batch_stats", "mean"),
                ("batch_stats", "var"),
            ]
        },
    }.items():
        out[f"block/{name}"] = rng.uniform(0.3, 1.0, shape).astype(np.float32)

    def leaf(name: str) -> Any:
        return torch.from_numpy(out[f"block/{name}"].astype(np.float64))

    def conv(x: Any, name: str, **more: int) -> Any:
        kernel = leaf(f"params/{name}/kernel").permute(3, 2, 0, 1)
        return functional.conv2d(x, kernel, **more)

    def norm(x: Any, name: str) -> Any:
        mean, variance = (leaf(f"batch_stats/{name}/{part}") for part in ("mean", "var"))
        scale, bias = (leaf(f"params/{name}/{part}") for part in ("scale", "bias"))
        return functional.batch_norm(x, mean, variance, scale, bias, eps=1e-5)

    x = channels_first(image).double()
    main = torch.relu(norm(conv(x, "conv_0", stride=2, padding=1), "norm_0"))
    main = norm(conv(main, "conv_1", padding=1), "norm_1")
    around = norm(conv(x, "conv_around", stride=2), "norm_around")
    out["block/input"] = image
    out["block/output"] = channels_last(torch.relu(main + around))
    return out


def nnaudio() -> dict[str, np.ndarray]:
    import scipy.signal
    import torch

    # nnAudio asks scipy for a name that scipy removed in version 1.13.
    scipy.signal.blackmanharris = scipy.signal.windows.blackmanharris
    from nnAudio import features
    from nnAudio.features.cfp import Combined_Frequency_Periodicity

    out: dict[str, np.ndarray] = {}

    def bins_last(tensor: Any) -> np.ndarray:
        return tensor.detach().numpy().T.copy()

    out["gammatone/input"] = clip = 0.1 * _noise(6, 8000)
    clip += np.sin(0.3 * np.arange(8000)).astype(np.float32)
    for rate in (22_050, 44_100):
        layer = features.Gammatonegram(
            sr=rate, n_bins=32, n_fft=1024, hop_length=256, verbose=False
        )
        out[f"gammatone/{rate}"] = bins_last(layer(torch.from_numpy(clip))[0])

    out["cqt/input"] = clip = _noise(7, 11_025)
    layer = features.CQT1992v2(
        sr=22_050, hop_length=512, fmin=110.0, n_bins=36, pad_mode="constant", verbose=False
    )
    for name in ("librosa", "convolutional", "wrap"):
        out[f"cqt/{name}"] = bins_last(layer(torch.from_numpy(clip), normalization_type=name)[0])

    def harmonic(f0: float, seed: int) -> np.ndarray:
        time = np.arange(4800) / 16_000
        tone = sum(np.cos(2 * np.pi * f0 * k * time + k * k) / k for k in range(1, 9))
        return (0.1 * tone + 0.003 * _noise(seed, 4800)).astype(np.float32)

    late = harmonic(220.0, 9)
    late[0] = 0.0  # nnAudio's window lies a sample early: `late` without it is what it should see
    clips = {"faults": harmonic(440.0, 8), "late": late, "noise": _noise(10, 8000)}
    with np.errstate(divide="ignore"):
        layer = Combined_Frequency_Periodicity()
    for name, clip in clips.items():  # nnAudio drops the first and the last frame
        seen = np.append(clip[1:], np.float32(0)) if name == "late" else clip
        found = layer(torch.from_numpy(seen)[None])
        out[f"cfp_{name}/input"] = clip
        for part, values in zip(
            ("salience", "magnitude", "spectral", "temporal"), found, strict=True
        ):
            if name != "noise" or part == "salience":
                out[f"cfp_{name}/{part}"] = bins_last(values[0])
    return out


def main() -> None:
    warnings.simplefilter("ignore")
    for make in (torch_layers, nnaudio):
        np.savez_compressed(FOLDER / f"{make.__name__}.npz", **make())


if __name__ == "__main__":
    main()
