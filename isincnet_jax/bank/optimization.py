"""Optimised banks: gradient descent on a bank's free parts through its solved decoder."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax import jax_names
from isincnet_jax.bank import targets
from isincnet_jax.bank.dsp import frame_theory
from isincnet_jax.bank.free_parts import FilterParts, LappedParts
from isincnet_jax.bank.lapped_spec import LappedSpec
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp import checks
from isincnet_jax.dsp.settling import settles

Corpus: TypeAlias = Float[np.ndarray, "clips time"] | Sequence[Float[np.ndarray, " time"]]

_HELD_OUT = 5


@dataclasses.dataclass(frozen=True)
class Certificate:
    """Certificate of an optimised bank: what was measured of it, in float32 on held-out clips.

    Attributes:
        unit: of ``start`` and ``reached``: "dB", "bits per sample", or "" of a user's function.
        start: the target's figure for the bank of the spec, with its usual decoder.
        reached: that of the optimised bank with its decoder.
        gain: by how much ``reached`` is better; positive is better, whatever the unit.
        start_bounds: frame bounds of the bank of the spec.
        bounds: frame bounds of the optimised bank.
        worst_snr_db: least SNR of a held-out clip that is encoded and decoded, unrounded.
        expected_snr_db: of a round trip of white noise; infinite for a lapped bank, whose inverse
            is its transpose.
        noise_gain: deviation that white noise of deviation 1 on the coefficients comes out with.
        largest_shift: of a centre, relative to where it was.
        latency_ms: from a sample's arrival until its reconstruction can be given out.
        held_out_clips: that were measured.
    """

    unit: str
    start: float
    reached: float
    gain: float
    start_bounds: frame_theory.FrameBounds
    bounds: frame_theory.FrameBounds
    worst_snr_db: float
    expected_snr_db: float
    noise_gain: float
    largest_shift: float
    latency_ms: float
    held_out_clips: int

    def describe(self) -> str:
        """The certificate in a few lines.

        Returns:
            Figures with their units.
        """
        unit = f" {self.unit}" if self.unit else ""
        return "\n".join(
            [
                f"{self.held_out_clips} held-out clips: {self.start:.4g}{unit} at the start, "
                f"{self.reached:.4g}{unit} now, better by {self.gain:.3g}",
                f"condition number {self.start_bounds.condition:.4g} at the start, "
                f"{self.bounds.condition:.4g} now (bounds {self.bounds.lower:.4g} and "
                f"{self.bounds.upper:.4g}), noise gain {self.noise_gain:.4g}",
                f"round trip in float32: {self.worst_snr_db:.1f} dB at worst, latency "
                f"{self.latency_ms:.1f} ms, centres moved by {100 * self.largest_shift:.1f} %",
            ]
        )


@dataclasses.dataclass(frozen=True, eq=False)
class OptimizedBank:
    """Optimised bank.

    Attributes:
        codec: a Codec, or of a LappedSpec a LappedCodec, of the learned filters and their exact
            decoder. A Codec is stored by ``isn.export_pretrained`` like any other; of a bank with
            short kernels every tap is a parameter.
        certificate: what was measured of it.
        losses: of the descent on the training clips, after each step of the last stage.
    """

    codec: Any
    certificate: Certificate
    losses: tuple[float, ...]


@settles
def optimize_bank(
    spec: FilterbankSpec | LappedSpec,
    corpus: Corpus,
    *,
    target: str | targets.UserTarget,
    held_out: Corpus | None = None,
    free: Mapping[str, float] | None = None,
    latency_ms: float | None = None,
    steps: int = 40,
) -> OptimizedBank:
    """Optimised bank: gradient descent on the free parts through the solved decoder.

    The inverse of a bank is solved, never trained, in each step anew: a differentiable function of
    the filters (:mod:`.differentiable_inverse`), in float64. So the loss is what comes out of the
    decoder, not a condition number. The descent is L-BFGS-B; parameters stay in their ranges.

    =====================  =======================================================================
    target                 loss
    =====================  =======================================================================
    "SNR at 4 bits"        minus the SNR of coefficients quantised with the peaks of each clip and
                           channel as scales; the decoder is the exact one of least such noise
    "noise of 20 dB"       minus the SNR of the sound, white noise 20 dB below the mean power of
                           the coefficients on them
    "bits at 25 dB"        bits per sample of coefficients that are rounded so that the sound has
                           25 dB, by :func:`.coding_costs.coding_bits`
    a function             of ``(spectrogram, decode)``: coefficients [clips, frames, channels] of
                           the clips, and what makes [clips, time] of any coefficients
    =====================  =======================================================================

    A bank that cannot be inverted is led to one that can: its decoder begins as a Wiener decoder of
    white signals, whose assumed noise falls in stages.

    Args:
        spec: the start. A FilterbankSpec has zero padding, is native and not tight.
        corpus: training clips [clips, time], or a list of them of any lengths, floating, at the
            spec's rate and at one level; all are taken at once, half a minute is enough. Of a list,
            clips are cut into pieces as long as the shortest; the rest is left out.
        target: see above.
        held_out: clips that the certificate is measured on; if None every fifth clip of the corpus,
            which is not trained on.
        free: how far the parts may move; parts that are left out stay. ``center``: largest relative
            shift of a centre; ``bandwidth``: largest factor; ``window``: terms of a cosine series
            that the window is multiplied with, or, of a lapped window, of a sine series added to
            its angles; ``kernel``: taps, an odd number, of a short filter for each channel behind
            its own (HybrA); ``shape``: largest change of the shape's own parameters, if it has any.
            If None :data:`.free_parts.FREE_FILTERS` or :data:`.free_parts.FREE_LAPPED`.
        latency_ms: longest delay of the codec in a stream; the decoder is then solved of the frames
            that come in time. None leaves it alone.
        steps: of the descent, per stage.

    Returns:
        A codec, its certificate, and the losses.

    Raises:
        TypeError: for clips that are not floating.
        ValueError: for an unknown target or part, a bank whose filters cannot be learned, clips
            that are too few, too short or not finite, a latency that the bank cannot have, and
            a bank that is still not invertible at the end.

    References:
        D. Haider et al., "Hold me tight: trainable and stable hybrid auditory filterbanks", EUSIPCO
            2024 (HybrA, which draws the condition number towards 1).
            https://arxiv.org/abs/2408.17358
        R. H. Byrd et al., "A limited memory algorithm for bound constrained optimization", SIAM
            Journal on Scientific Computing 16, 1995 (L-BFGS-B).

    Example:
        >>> spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
        >>> clips = 0.1 * np.random.default_rng(0).standard_normal((6, 400), np.float32)
        >>> found = optimize_bank(
        ...     spec, clips, target="noise of 20 dB", free={"window": 2}, steps=5)
        >>> found.certificate.gain > 0
        True
    """
    wanted = targets.settle_target(target)
    checks.check_positive_integers(steps=steps)
    train, measured = _split(corpus, held_out)
    make: Any = LappedParts if isinstance(spec, LappedSpec) else FilterParts
    with jax_names.enable_x64(True):
        problem = make(spec, free, latency_ms)
        values, losses = _descend(problem, wanted, train, steps)
        noise = problem.noise(values, wanted, train)
    codec, start = problem.codec(values, noise), problem.start_codec()
    before, after = (wanted.measure(one, measured) for one in (start, codec))
    decoded = np.asarray(codec.decode(codec.encode(measured), length=measured.shape[-1]))
    certificate = Certificate(
        unit=wanted.unit,
        start=before,
        reached=after,
        gain=wanted.better * (after - before),
        worst_snr_db=float(np.min(targets.snr_db(decoded, measured))),
        held_out_clips=len(measured),
        **problem.facts(values, codec),
    )
    return OptimizedBank(codec, certificate, losses)


def _clips(corpus: Corpus, name: str) -> Float[np.ndarray, "clips time"]:
    """Clips of one length, those that are silent left out."""
    rows = [np.asarray(row) for row in corpus]
    for row in rows:
        if row.ndim != 1 or not row.size:
            raise ValueError(f"{name}: a clip of shape {row.shape}; give [clips, time] or a list")
        checks.check_floating_waveform(row)
        if not np.all(np.isfinite(row)):
            raise ValueError(f"{name} holds samples that are not finite; leave such clips out")
    length = min(map(len, rows), default=0)
    pieces = [row[at : at + length] for row in rows for at in _starts(len(row), length)]
    heard = [piece for piece in pieces if np.any(piece)]
    if not heard:
        raise ValueError(f"{name} holds no sound; give clips [clips, time] of some seconds")
    return np.stack(heard)


def _starts(samples: int, length: int) -> range:
    return range(0, samples - length + 1, length)


def _split(corpus: Corpus, held_out: Corpus | None) -> tuple[np.ndarray, np.ndarray]:
    """Clips to train on, float64, and to measure, float32."""
    clips = _clips(corpus, "corpus")
    if held_out is None:
        if len(clips) < 2:
            raise ValueError(
                f"corpus has {len(clips)} clip: some are held out for the certificate; give two or "
                "more, or held_out"
            )
        kept = np.arange(len(clips)) % _HELD_OUT == _HELD_OUT - 1
        kept[-1] |= not kept.any()
        clips, measured = clips[~kept], clips[kept]
    else:
        measured = _clips(held_out, "held_out")
    return clips.astype(np.float64), measured.astype(np.float32)


def _descend(
    problem: FilterParts | LappedParts, target: targets.Target, clips: np.ndarray, steps: int
) -> tuple[np.ndarray, tuple[float, ...]]:
    """Values of the free parts at the end, within [-1, 1] of their reach, and the last losses."""
    prepared, power = problem.prepare(clips), targets.power_of(jnp.asarray(clips))

    def loss(values: jax.Array, ridge: jax.Array, clips: jax.Array) -> jax.Array:
        spectrogram, bank = problem.apply(values, prepared._replace(values=clips), ridge)
        return target.loss(spectrogram, power, bank)

    graded = jax.jit(jax.value_and_grad(loss))
    values, losses = np.zeros(len(problem.bounds)), ()
    for ridge in problem.ridges:
        call = functools.partial(_graded, graded, jnp.asarray(ridge), prepared.values)
        values, losses = _stage(call, values, problem.bounds, steps)
    return values, losses


def _graded(
    graded: Any, ridge: jax.Array, clips: jax.Array, values: np.ndarray
) -> tuple[float, np.ndarray]:
    value, gradient = graded(jnp.asarray(values), ridge, clips)
    return float(value), np.asarray(gradient)


def _stage(
    call: Any, values: np.ndarray, bounds: list[tuple[float, float]], steps: int
) -> tuple[np.ndarray, tuple[float, ...]]:
    """L-BFGS-B from some values on: where it ends, and the losses on the way."""
    import scipy.optimize  # noqa: PLC0415  (a third of a second; only here)

    losses = [call(values)[0]]
    if not np.isfinite(losses[0]):
        raise ValueError(
            f"the target is {losses[0]} at the start; give clips at a usual level, or a function "
            "that is finite there"
        )

    def note(intermediate_result: Any) -> None:
        losses.append(float(intermediate_result.fun))

    found: Any = scipy.optimize.minimize(
        call,
        values,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": steps},
        callback=note,
    )
    return np.asarray(found.x), tuple(losses)
