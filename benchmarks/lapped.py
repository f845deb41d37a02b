"""Speed and accuracy of the lapped bank (MDCT) beside PyTorch's and beside our complex bank.

    python benchmarks/lapped.py [--write]

``16khz-lapped`` (N = 512, sine window) with zeros outside the clip, as the peers have it: encode,
decode, and both, of 16 clips of 10 s and of one of 5 s. Peers in one run, pair by pair: torch-mdct
(its FFT of 2 N values); the algorithm of this package written in PyTorch (rotations and an FFT of
N / 2 values), compiled by ``torch.compile`` where that works; and ``16khz-linear``, whose
coefficients are twice as many.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import math
from collections.abc import Callable
from typing import Any

import common
import jax
import numpy as np
from paired import compare

import isincnet_jax as isn

SIZES = ((16, 10), (1, 5))
RATE, HOP = 16_000, 512


def ours() -> tuple[Callable[[Any], Any], Callable[..., Any]]:
    """Encode and decode of the lapped bank with zeros outside the clip."""
    spec = isn.LappedSpec(sample_rate=RATE, hop_length=HOP, framing="zeros")
    codec = isn.build_lapped_codec(isn.LappedBank(spec))
    return codec.encode, codec.decode


def torch_mdct_pair() -> tuple[Callable[[Any], Any], Callable[..., Any]]:
    """Encode and decode by torch-mdct, with a sine window."""
    import torch
    import torch_mdct  # type: ignore[import-not-found]

    def sine(win_length: int) -> Any:
        return torch.sin(math.pi / win_length * (torch.arange(win_length) + 0.5))

    forward = torch_mdct.MDCT(2 * HOP, window_fn=sine)
    backward = torch_mdct.IMDCT(2 * HOP, window_fn=sine)
    return forward, lambda values, length: backward(values, n_samples=length)


def torch_folds() -> tuple[Callable[[Any], Any], Callable[..., Any]]:
    """Encode and decode by rotations and an FFT of N / 2 complex values, in PyTorch."""
    import torch

    half = HOP // 2
    angles = np.pi / (2 * HOP) * (np.arange(half) + 0.5)
    own = torch.tensor(np.concatenate([np.cos(angles), np.cos(angles[::-1])]), dtype=torch.float32)
    other = torch.tensor(
        np.concatenate([np.sin(angles), -np.sin(angles[::-1])]), dtype=torch.float32
    )
    turns = np.exp(-0.25j * np.pi / HOP * (4 * np.arange(half) + 1))
    before = torch.tensor(turns, dtype=torch.complex64)
    after = torch.tensor(
        np.sqrt(2 / HOP) * np.exp(-1j * np.pi / HOP * np.arange(half)), dtype=torch.complex64
    )

    def dct4(values: Any) -> Any:
        pairs = torch.complex(values[..., ::2], values.flip(-1)[..., ::2])
        spectrum = torch.fft.fft(pairs * before) * after
        parts = torch.stack([spectrum.real, -spectrum.imag.flip(-1)], dim=-1)
        return parts.reshape(values.shape)

    def turn(signal: Any, sines: Any) -> Any:
        rows = signal[..., half:-half].reshape(*signal.shape[:-1], -1, HOP)
        turned = (own * rows + sines * rows.flip(-1)).reshape(*signal.shape[:-1], -1)
        return torch.cat([signal[..., :half], turned, signal[..., -half:]], dim=-1)

    def forward(waveform: Any) -> Any:
        frames = -(-waveform.shape[-1] // HOP) + 1
        behind = frames * HOP - half - waveform.shape[-1]
        signal = turn(torch.nn.functional.pad(waveform, (half, behind)), other)
        return -dct4(signal.reshape(*signal.shape[:-1], frames, HOP).flip(-1))

    def backward(values: Any, length: int) -> Any:
        blocks = -dct4(values).flip(-1)
        signal = turn(blocks.reshape(*blocks.shape[:-2], -1), -other)
        return signal[..., half : half + length]

    return forward, backward


def in_turns(name: str, pair: tuple[Any, Any], waveform: np.ndarray, pairs: int) -> dict[str, Any]:
    """Encode, decode and round trip beside a peer's; and how exact both come back."""
    import torch

    batch, length = waveform.shape
    encode, decode = ours()
    is_torch = name != "16khz-linear"
    theirs = torch.from_numpy(waveform) if is_torch else waveform
    forward, backward = pair
    done: Callable[[Any], Any] = (lambda value: value) if is_torch else jax.block_until_ready
    with torch.no_grad():
        coefficients, values = jax.block_until_ready(encode(waveform)), done(forward(theirs))
        again = np.asarray(backward(values, length=length))
        row: dict[str, Any] = {
            "peer": name,
            "batch": batch,
            "seconds": length / RATE,
            "snr_db": common.snr_db(waveform, np.asarray(decode(coefficients, length=length))),
            "peer_snr_db": common.snr_db(waveform, again),
        }
        operations = {
            "encode": (lambda: encode(waveform), lambda: forward(theirs)),
            "decode": (
                lambda: decode(coefficients, length=length),
                lambda: backward(values, length=length),
            ),
        }
        for what, (own, peer) in operations.items():
            row[what] = compare(
                lambda own=own: jax.block_until_ready(own()),
                lambda peer=peer: done(peer()),
                pairs=pairs,
                audio_s=batch * length / RATE,
            )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=15, help="measurements of each side")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results")
    args = parser.parse_args()
    import torch
    from torch_peers import torch_device

    torch_device()
    load = common.load_average()
    bank = isn.from_pretrained("16khz-linear")
    peers = {
        "torch-mdct": torch_mdct_pair(),
        "PyTorch, folds and FFT": torch_folds(),
        "the same, torch.compile": tuple(torch.compile(one) for one in torch_folds()),
        "16khz-linear": (bank.encode, bank.decode),
    }
    rows = []
    for batch, seconds in SIZES:
        rng = np.random.default_rng(common.SEED)
        waveform = rng.uniform(-0.5, 0.5, (batch, seconds * RATE)).astype(np.float32)
        for name, pair in peers.items():
            try:
                rows.append(in_turns(name, pair, waveform, args.pairs))  # type: ignore[arg-type]
            except Exception as error:  # torch.compile wants a C++ compiler
                print(f"{name}: not measured, {type(error).__name__}: {str(error)[:80]}")
    common.print_table(
        "lapped bank, N = 512: peer's time / ours",
        ["peer", "clips", "encode", "decode", "SNR", "peer's SNR"],
        [
            [row["peer"], f"{row['batch']} x {row['seconds']:g} s",
             f"{row['encode']['ratio']:.2f}", f"{row['decode']['ratio']:.2f}",
             f"{row['snr_db']:.1f}", f"{row['peer_snr_db']:.1f}"]
            for row in rows
        ],
    )  # fmt: skip
    if args.write:
        origin = common.describe_run(
            args, data="uniform noise", clip_count=SIZES[0][0], load_average_before=load
        )
        version = importlib.metadata.version("torch-mdct")
        common.write_results("lapped", {**origin, "torch_mdct": version, "rows": rows})


if __name__ == "__main__":
    main()
