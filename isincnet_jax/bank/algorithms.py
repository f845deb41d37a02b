"""Which exact algorithm applies a bank or its decoder: chosen from the spec, never by the user.

* **Uniform, fixed banks** (:attr:`.FilterbankSpec.is_uniform`): a folded DFT, by matrices of
  cosines and sines that are split once or twice, or by an FFT; :func:`.uniform.choose_method`.
* **Every other bank, and learned filters**: a strided convolution for analysis (over hop-sized
  blocks from 2^24 samples on), a convolution over frames for synthesis.
* **Constant-Q layers**: multirate, where kernels of low bands are long
  (:mod:`.multirate`).
* **SincConv**: even or odd parts of symmetric filters on CPUs
  (:mod:`.symmetric_correlation`).
* **Trainable STFT kernels**: products that overlapping frames share, on CPUs
  (:mod:`.shared_products`).

Measured and not chosen for strided banks: even and odd parts of symmetric filters take half the
products of the convolution, shared products 9/16, and both were slower on CPUs, by the copies of
the frames that they need. ``python benchmarks/algorithms.py`` measures all of them again.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from isincnet_jax.bank import solve as decoding
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.dsp import uniform
from isincnet_jax.bank.spec import FilterbankSpec

Name = Literal[
    "folded DFT matrices",
    "mirrored DFT matrices",
    "folded FFT",
    "strided convolution",
    "convolution over frames",
]

_OF_METHOD: dict[uniform.Method, Name] = {
    "folded": "folded DFT matrices",
    "mirrored": "mirrored DFT matrices",
    "fft": "folded FFT",
}


class Algorithm(NamedTuple):
    """How an operation is done on a CPU.

    Attributes:
        name: of the algorithm.
        products_per_frame: multiply-adds per frame of one clip, windows and overlap-add included.
    """

    name: Name
    products_per_frame: int


def analysis_algorithm(spec: FilterbankSpec, *, learned: bool = False) -> Algorithm:
    """How :func:`.analysis.apply_analysis` works.

    Args:
        spec: the bank.
        learned: whether its filters are learned, which may move them anywhere.

    Example:
        >>> analysis_algorithm(FilterbankSpec(num_bins=128))
        Algorithm(name='folded DFT matrices', products_per_frame=33269)
        >>> analysis_algorithm(FilterbankSpec(num_bins=384, scale="mel")).name
        'strided convolution'
    """
    if not spec.is_uniform or learned:
        return Algorithm("strided convolution", spec.num_channels * spec.taps)
    method = uniform.choose_method(spec.num_bins, operation="analysis")
    products = uniform.products_per_frame(spec.num_bins, method) + spec.taps
    return Algorithm(_OF_METHOD[method], products)


def synthesis_algorithm(
    spec: FilterbankSpec, decoder: DecoderSpec | None = None, *, learned: bool = False
) -> Algorithm:
    """How :func:`.synthesis.apply_synthesis` works.

    Args:
        spec: the bank.
        decoder: how its kernels are found.
        learned: whether the synthesis kernels are learned.

    Example:
        >>> synthesis_algorithm(FilterbankSpec(num_bins=128)).name
        'mirrored DFT matrices'
    """
    solved = decoding.design_decoder(spec, decoder)
    if not solved.is_window or learned:
        return Algorithm("convolution over frames", spec.num_channels * solved.taps)
    method = uniform.choose_method(spec.num_bins, operation="synthesis")
    products = uniform.products_per_frame(spec.num_bins, method) + solved.taps
    return Algorithm(_OF_METHOD[method], products)
