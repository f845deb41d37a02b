"""Methods of the benchmark that are vocoders, shipped and exported ones, and their scores."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.benchmark.banks import lazy
from isincnet_jax.benchmark.methods import Method
from isincnet_jax.dsp import cepstral_distances
from isincnet_jax.vocoders import losses as vocoder_losses
from isincnet_jax.vocoders.features import VocoderFeatures

if TYPE_CHECKING:
    from isincnet_jax.vocoders.vocoder import TrainedVocoder, Vocoder

ITERATIONS = 5
"""Of fast Griffin-Lim, of the methods that are polished."""

_logger = logging.getLogger(__name__)


def shipped_methods(*, sample_rate: int) -> Iterator[Method]:
    """The vocoders of the package at a rate; those of linear magnitudes also polished.

    Args:
        sample_rate: Hz; vocoders of other rates are left out.

    Yields:
        Methods that load nothing until they are called.
    """
    from isincnet_jax.pretrained import stored
    from isincnet_jax.pretrained.registry import STORED

    for name, entry in STORED.items():
        if not entry.path.is_file():
            _logger.warning("%s is left out: %s is missing", name, entry.path)
            continue
        found = stored.read_model(entry.path)
        if found.kind.name != "vocoder":
            continue
        module = found.build_module()
        if module.features.sample_rate != sample_rate:
            continue
        sizes = [array.size for key, array in found.values.items() if key.startswith("params/")]
        for polish in (0, ITERATIONS) if module.features.kind == "linear" else (0,):
            yield vocoder_method(
                module,
                lazy(lambda path=entry.path, polish=polish: _of_file(path, polish)),
                name=name + (f" + {polish} iterations" if polish else ""),
                parameters=sum(sizes),
                checkpoint=entry.path.name,
                digest=hashlib.sha256(entry.path.read_bytes()).hexdigest(),
                polish=polish,
            )


def vocoder_method(
    module: Vocoder,
    reconstruct: Callable[[Any], Any],
    *,
    name: str,
    parameters: int,
    checkpoint: str,
    digest: str,
    polish: int = 0,
) -> Method:
    """A vocoder as a method that sees the spectrogram only.

    Args:
        module: what it is.
        reconstruct: see :func:`resynthesis`.
        name: of the method.
        parameters: how many numbers it has learned.
        checkpoint: name of its file.
        digest: of what it has learned.
        polish: iterations that follow.

    Returns:
        A method of the family "vocoder", blind to phase.
    """
    features, network = module.features, type(module.network).__name__
    kind = "magnitudes" if features.kind == "linear" else f"{features.kind} magnitudes"
    frame_rate_hz = features.sample_rate / features.hop_length
    return Method(
        name,
        "vocoder",
        reconstruct,
        f"{network}, no random start"
        + (f", then {polish} iterations of fast Griffin-Lim" if polish else ""),
        phase="blind",
        domain=f"{features.num_bins} {kind}/frame, {frame_rate_hz:g} frames/s",
        coefficients_per_s=features.num_bins * frame_rate_hz,
        parameters=parameters,
        checkpoint=checkpoint,
        settings={"sha256": digest, "model": repr(module), "polish": polish},
        given=jax.jit(features.of),
    )


def resynthesis(vocoder: TrainedVocoder, *, polish: int = 0) -> Callable[[Any], np.ndarray]:
    """Resynthesis: what a vocoder makes of the spectrogram of a waveform [..., time].

    Args:
        vocoder: trained.
        polish: iterations of fast Griffin-Lim behind it; 0 for none.

    Returns:
        A function of the waveform, to NumPy of the same shape.
    """

    def run(waveform: Any) -> np.ndarray:
        spectrogram = vocoder.spectrogram(waveform)
        return np.asarray(vocoder.synthesize(spectrogram, length=waveform.shape[-1], polish=polish))

    return run


def _of_file(path: Path, polish: int) -> Callable[[Any], np.ndarray]:
    from isincnet_jax.pretrained.trained import load_vocoder

    return resynthesis(load_vocoder(path), polish=polish)


def score_output(
    features: VocoderFeatures,
    found: Float[jax.Array, "1 time"],
    clip: Float[jax.Array, "1 time"],
    given: Float[jax.Array, "1 frames bins"],
    length: Any,
) -> dict[str, jax.Array]:
    """Scores of what was made of one padded clip, those without a model of hearing; jittable.

    Args:
        features: what the vocoder was given.
        found: what it made of them, [1, time].
        clip: the clip, zeros behind its end, [1, time].
        given: features of the clip.
        length: samples of the clip without the zeros.

    Returns:
        Scalars: "multi_stft" (the loss), "convergence_db", "mcd_db" and "consistency_db", the last
        of the output up to the clip's end and of the frames up to there; smaller is better.
    """
    lengths: Any = jnp.asarray(length)[None]
    scores = vocoder_losses.score_clips(prediction=found, target=clip, lengths=lengths)
    ended = jnp.where(jnp.arange(found.shape[-1]) < length, found, 0)
    distortion_db = cepstral_distances.mel_cepstral_distortion_db(
        prediction=ended, target=clip, sample_rate=features.sample_rate, lengths=lengths
    )
    num_frames: Any = features.num_frames(lengths)
    consistency_db = vocoder_losses.consistency_db(
        prediction=features.of(ended), target=given, num_frames=num_frames
    )
    return {
        "multi_stft": scores.multi_stft[0],
        "convergence_db": scores.convergence_db[0],
        "mcd_db": distortion_db[0],
        "consistency_db": consistency_db[0],
    }
