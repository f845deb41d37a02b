"""TensorBoard summaries of a run while it trains: audio, spectrograms and filters."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import isincnet_jax as isn
from isincnet_jax import plots
from isincnet_jax.training.logs import RunLog


def show(
    log: RunLog, step: int, module: Any, variables: Any, waveform: np.ndarray, decoded: Any
) -> None:
    """Summary of one clip: sounds, spectrograms, and the filters if they are learned.

    Args:
        log: of the run.
        step: of the evaluation.
        module: with a ``spec``.
        variables: of the module.
        waveform: the clip, float32 [time].
        decoded: its reconstruction, float32 [time].
    """
    spec = module.spec
    decoded = np.asarray(decoded)
    log.audio("clip", step, waveform, sample_rate=spec.sample_rate)
    log.audio("reconstruction", step, decoded, sample_rate=spec.sample_rate)
    grid = spec.bank.frame_grid(len(waveform))
    # Frame k of the grid stands at sample (first + k) hop of the clip, before 0 too.
    times_s = (grid.first + np.arange(grid.num_frames)) * spec.hop_length / spec.sample_rate
    for name, clip in (("reconstruction", decoded), ("error", decoded - waveform)):
        figure = plots.plot_spectrogram(
            _spectrogram(module, variables, clip),
            frame_times_s=times_s,
            center_hz=spec.center_hz,
            is_complex=spec.component == "complex",
            title=f"{name}, step {step}",
        )
        log.picture(name, step, plots.pixels(figure))
    if "analysis" in variables.get("params", {}):
        log.picture("filters", step, plots.pixels(_filter_figure(module, variables, step)))


def _spectrogram(module: Any, variables: Any, clip: np.ndarray) -> np.ndarray:
    """Coefficients of a clip by the module's bank, learned or not."""
    if isinstance(module, isn.SincNet):
        return np.asarray(module.apply(variables, jnp.asarray(clip), method="encode"))
    bank = isn.Analysis(module.spec)
    fixed = bank.init(jax.random.key(0), jnp.asarray(clip))
    return np.asarray(bank.apply(fixed, jnp.asarray(clip)))


def _filter_figure(module: Any, variables: Any, step: int) -> Any:
    spec = module.spec
    kernels = np.asarray(module.apply(variables, method="filters"))
    if spec.component == "complex":
        kernels = kernels[: spec.num_bins] + 1j * kernels[spec.num_bins :]
    # Learned centres are in units of the Nyquist frequency.
    center_hz = np.asarray(variables["params"]["analysis"]["center"]) * spec.sample_rate / 2
    return plots.plot_filterbank(
        kernels, sample_rate=spec.sample_rate, center_hz=center_hz, title=f"filters, step {step}"
    )
