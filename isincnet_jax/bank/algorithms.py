"""Exact algorithms that apply a bank or its decoder: a type of the bank, never the user's choice.

* **Uniform, fixed banks** (:class:`.designed.UniformBank`, and :class:`.solved.DualWindow` for
  their decoders): a folded DFT, by matrices of cosines and sines that are split once or twice, or
  by an FFT; :func:`.uniform.choose_method`.
* **Real uniform, fixed banks** (:class:`.designed.RealUniformBank`, and
  :class:`.solved.FoldedDecoder` where the fold can be undone by short filters): the same of the
  cosines only; for the decoder the inverse cosine matrix and filters over frames,
  :mod:`.folded_inverse`.
* **Other banks of even and odd kernels** (:class:`.designed.SymmetricBank` and
  :class:`.solved.SymmetricDecoder`): folded frames, half the products, on CPUs,
  :mod:`.symmetric_frames`.
* **Every other bank, and learned filters** (:class:`.designed.Bank` and
  :class:`.solved.SolvedDecoder`; ``.dense`` makes a uniform bank or a dual window one): a strided
  convolution for analysis (over hop-sized blocks from 2^24 samples on), a convolution over frames
  for synthesis.
* **Constant-Q layers**: multirate, where kernels of low bands are long
  (:mod:`.multirate`).
* **SincConv**: even or odd parts of symmetric filters on CPUs
  (:mod:`.symmetric_correlation`).
* **Trainable STFT kernels**: products that overlapping frames share, on CPUs
  (:mod:`.shared_products`).

Measured and not chosen for strided banks: shared products take 9/16 of those of the convolution and
were slower on CPUs, by the copies of the frames that they need.
``python benchmarks/algorithms.py`` measures all of them again.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from isincnet_jax.bank.dsp import uniform

Name = Literal[
    "folded DFT matrices",
    "mirrored DFT matrices",
    "folded FFT",
    "folded cosine matrix",
    "cosine matrix and filters over frames",
    "folded kernels",
    "strided convolution",
    "convolution over frames",
]

_OF_METHOD: dict[uniform.Method, Name] = {
    "folded": "folded DFT matrices",
    "mirrored": "mirrored DFT matrices",
    "fft": "folded FFT",
}


class Algorithm(NamedTuple):
    """Algorithm of an operation on a CPU.

    Attributes:
        name: of the algorithm.
        products_per_frame: multiply-adds per frame of one clip, windows and overlap-add included.
    """

    name: Name
    products_per_frame: int


def folded_transform(
    num_bins: int,
    *,
    taps: int,
    operation: Literal["analysis", "synthesis"],
    real: bool = False,
) -> Algorithm:
    """Folded DFT of a uniform bank, see :mod:`.uniform`.

    Args:
        num_bins: bins of the bank.
        taps: of its window, or of its dual window.
        operation: "analysis" or "synthesis".
        real: whether the bank has cosine channels only.

    Returns:
        Name and cost of the fastest method on a CPU.
    """
    method = uniform.choose_method(num_bins, operation=operation, real=real)
    name = "folded cosine matrix" if real and method == "folded" else _OF_METHOD[method]
    return Algorithm(name, uniform.products_per_frame(num_bins, method, real=real) + taps)
