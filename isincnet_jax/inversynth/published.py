"""Published results of InverSynth, to stand beside what is measured here.

References:
    O. Barkan, D. Tsiris, N. Koenigstein and O. Katz, "InverSynth: deep estimation of synthesizer
        parameter configurations from audio signals", IEEE/ACM TASLP 27(12), 2019, section V.
        https://arxiv.org/abs/1812.06349
"""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A network's results, percent; None where the paper has none.

    Attributes:
        name: of the network.
        mpr: mean percentile rank.
        stft_mean, stft_median: correlations of STFT magnitudes.
        top1: accuracy over all parameters.
        class_mae: levels between the chosen and the true one.
    """

    name: str
    mpr: float
    stft_mean: float | None = None
    stft_median: float | None = None
    top1: float | None = None
    class_mae: float | None = None


NETWORKS = (
    Published("C6XL", 77.90, 92.04, 95.61, 51.0, 2.27),
    Published("C6", 77.81, 91.38, 95.39),
    Published("C5", 77.66, 91.09, 95.10),
    Published("C4", 77.35, 90.97, 94.99),
    Published("C3", 76.51),
    Published("C2", 75.78),
    Published("C1", 70.69),
    Published("End to end", 76.17, 88.33, 93.41),
    Published("Linear", 65.59, 75.24, 80.83),
)

PARAMETER_MPR = {
    "cutoff": 99.7,
    "gate": 97.9,
    "resonance": 96.6,
    "release": 90.2,
    "modulation": 87.0,
    "carrier": 81.0,
    "amplitude": 72.0,
    "attack": 70.9,
    "modulator": 68.0,
}
"""Mean percentile rank of C6XL by parameter, or by kind over the four waveforms; decay and sustain
are at chance."""


def parameter_mpr(name: str) -> float | None:
    """Mean percentile rank of a parameter by C6XL.

    Args:
        name: of the parameter.

    Returns:
        Percent; None for those at chance.

    Example:
        >>> parameter_mpr("carrier_saw"), parameter_mpr("cutoff"), parameter_mpr("decay")
        (81.0, 99.7, None)
    """
    return PARAMETER_MPR.get(name.partition("_")[0])
