"""The reference's operations in PyTorch, in its geometry, on the device that JAX uses.

Encoding is reflect padding and one ``F.conv1d``, with stacked real kernels (the kindest form) or
with complex64 kernels (what the reference stores); decoding is ``Conv1d`` over three frames and a
reshape; tokens are the mu-law code that truncates. Written for the benchmarks from the published
geometry.
"""

from __future__ import annotations

import math
import os
from typing import Any

# Before PyTorch's OpenMP is loaded: its idle threads would spin on the cores of the other side.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import common
import jax
import numpy as np
from paired import Operation

import isincnet_jax as isn


def torch_device() -> str:
    """PyTorch's name of the device that JAX uses; full float32, and all cores of a processor.

    Raises:
        ImportError: without PyTorch, or without its support of JAX's accelerator.
    """
    import torch

    if jax.default_backend() == "cpu":
        torch.set_num_threads(os.cpu_count() or 1)
        return "cpu"
    if not torch.cuda.is_available():
        raise ImportError("PyTorch has no accelerator where JAX has one")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return "cuda"


def stacked(spec: isn.FilterbankSpec) -> np.ndarray:
    """The real channels of a bank, [channels, taps]."""
    kernels = spec.design_kernels()
    parts = [kernels.real, kernels.imag] if spec.component == "complex" else [kernels.real]
    return np.concatenate(parts)


class TorchPeers:
    """Operations on a batch of clips [batch, time], complete when they return.

    Raises:
        ImportError: as :func:`torch_device`.
    """

    def __init__(self, waveform: np.ndarray) -> None:
        import torch

        self.torch = torch
        self.device = torch_device()
        torch.manual_seed(common.SEED)
        self.waveform = self._tensor(waveform)[:, None, :]

    def _tensor(self, array: np.ndarray) -> Any:
        return self.torch.from_numpy(np.array(array)).to(self.device)

    def _finished(self, run: Operation) -> Operation:
        def operation() -> Any:
            with self.torch.no_grad():
                result = run()
            if self.device == "cuda":
                self.torch.cuda.synchronize()
            return result

        return operation

    def _padded(self, taps: int) -> Any:
        half = taps // 2
        return self.torch.nn.functional.pad(self.waveform, (half, half), mode="reflect")

    def _real(self, kernels: np.ndarray, hop_length: int) -> Operation:
        weight = self._tensor(kernels.astype(np.float32))[:, None, :]
        convolve = self.torch.nn.functional.conv1d
        return lambda: convolve(self._padded(kernels.shape[1]), weight, stride=hop_length)

    def _layer(self, channels: int, hop_length: int) -> Any:
        layer = self.torch.nn.Conv1d(channels, hop_length, 3, padding=1, bias=False)
        layer = layer.to(self.device)
        return lambda frames: layer(frames).transpose(1, 2).reshape(len(frames), -1)

    def encode_real(self, kernels: np.ndarray, hop_length: int) -> Operation:
        """One convolution with stacked real kernels [channels, taps]."""
        return self._finished(self._real(kernels, hop_length))

    def encode_complex(self, kernels: np.ndarray, hop_length: int) -> Operation:
        """A complex convolution, then the real part stacked on the imaginary one."""
        weight = self._tensor(kernels.astype(np.complex64))[:, None, :]
        convolve = self.torch.nn.functional.conv1d

        def run() -> Any:
            padded = self._padded(kernels.shape[1]).to(self.torch.complex64)
            frames = convolve(padded, weight, stride=hop_length)
            return self.torch.cat([frames.real, frames.imag], dim=1)

        return self._finished(run)

    def decode(self, channels: int, hop_length: int) -> Operation:
        """A convolution over three frames and a reshape to blocks of ``hop_length`` samples."""
        layer = self._layer(channels, hop_length)
        batch, length = self.waveform.shape[0], self.waveform.shape[-1]
        frames = self.torch.randn(batch, channels, length // hop_length, device=self.device)
        return self._finished(lambda: layer(frames))

    def decode_dense(self, kernels: np.ndarray, hop_length: int) -> Operation:
        """A transposed convolution with synthesis kernels [channels, taps]: ours, say."""
        weight = self._tensor(kernels.astype(np.float32))[:, None, :]
        convolve = self.torch.nn.functional.conv_transpose1d
        batch, length = self.waveform.shape[0], self.waveform.shape[-1]
        shape = (batch, len(kernels), length // hop_length + 1)
        frames = self.torch.randn(shape, device=self.device)
        return self._finished(lambda: convolve(frames, weight, stride=hop_length))

    def round_trip(self, kernels: np.ndarray, hop_length: int) -> Operation:
        """:meth:`encode_real`, then :meth:`decode` of what it gives."""
        encode, layer = self._real(kernels, hop_length), self._layer(len(kernels), hop_length)
        return self._finished(lambda: layer(encode()))

    def tokens(self, kernels: np.ndarray, hop_length: int, *, q_bits: int) -> Operation:
        """:meth:`round_trip` through integers: mu-law, truncated, mu = 2^q_bits - 1."""
        torch, mu = self.torch, float(2**q_bits - 1)
        encode, layer = self._real(kernels, hop_length), self._layer(len(kernels), hop_length)

        def run() -> Any:
            frames = encode()
            compressed = torch.sign(frames) * torch.log1p(mu * frames.abs()) / math.log1p(mu)
            codes = (0.5 * mu * (compressed + 1)).to(torch.int32)
            level = 2 * codes.to(torch.float32) / mu - 1
            size = torch.expm1(level.abs() * math.log1p(mu)) / mu
            return layer(torch.sign(level) * size)

        return self._finished(run)


def check_tokens() -> None:
    """That the peer with many bits is the peer without codes: what is timed is what it says.

    Raises:
        ImportError: as :func:`torch_device`.
        AssertionError: if it is not.
    """
    rng = np.random.default_rng(common.SEED)
    waveform = rng.uniform(-0.5, 0.5, (2, 300)).astype(np.float32)
    kernels = rng.uniform(-1, 1, (6, 21)).astype(np.float32) / 21  # coefficients below 1
    plain = TorchPeers(waveform).round_trip(kernels, 10)()
    coded = TorchPeers(waveform).tokens(kernels, 10, q_bits=16)()
    assert plain.shape == coded.shape == (2, 300)
    assert 0 < float((plain - coded).abs().max()) < 1e-3 * float(plain.abs().max())
