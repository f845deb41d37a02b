"""Scores of a vocoder on whole files of a corpus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax.benchmark import perceptual
from isincnet_jax.benchmark import vocoders as vocoder_methods
from isincnet_jax.data.corpus import Corpus
from isincnet_jax.vocoders.vocoder import Vocoder


class WholeClips:
    """Files of a corpus, one after the other, all padded to the longest: one compiled program.

    Args:
        corpus: the files.
        max_clips: no more than so many, spread evenly.
        duration_s: no more of each; 0 for all of it.

    Raises:
        ValueError: for a number of clips below 1, or a negative duration.
    """

    def __init__(self, corpus: Corpus, *, max_clips: int, duration_s: float) -> None:
        if max_clips < 1 or duration_s < 0:
            raise ValueError(
                f"evaluation.max_clips={max_clips}, evaluation.duration_s={duration_s}: at least "
                "1, and 0 or more"
            )
        # Clip k of n is file floor(k files / n): evenly spread over the sorted names.
        count = min(max_clips, len(corpus))
        self._corpus, self._indices = corpus, np.arange(count) * len(corpus) // count
        limit = round(duration_s * corpus.sample_rate) or int(np.max(corpus.lengths))
        self.lengths = np.minimum(corpus.lengths[self._indices], max(limit, 1))
        self.names = [corpus.names[index] for index in self._indices]

    def __len__(self) -> int:
        return len(self._indices)

    def clip(self, place: int) -> np.ndarray:
        """A clip, followed by zeros up to the longest, float32 [1, time].

        Args:
            place: from 0, below the number of clips.

        Returns:
            All of one shape, so that one program scores them.
        """
        padded = np.zeros((1, int(np.max(self.lengths))), np.float32)
        length = int(self.lengths[place])
        padded[0, :length] = self._corpus.clip(int(self._indices[place]), length=length)
        return padded


class Evaluator:
    """Scores of a vocoder on whole clips."""

    def __init__(self, module: Vocoder) -> None:
        self.sample_rate = module.features.sample_rate

        def run(variables: Any, clip: jax.Array, length: jax.Array) -> tuple[Any, jax.Array]:
            given = module.analyse(clip)
            found: Any = module.apply(variables, given, length=clip.shape[-1], method="synthesize")
            return vocoder_methods.score_output(module.features, found, clip, given, length), found[
                0
            ]

        self._run = jax.jit(run)

    def reconstruct(
        self, variables: Any, clips: WholeClips, place: int
    ) -> tuple[dict[str, float], np.ndarray]:
        """Scores of a clip, and what the vocoder makes of it, [time].

        Args:
            variables: of the vocoder.
            clips: the files.
            place: of the clip among them.

        Returns:
            See :func:`.vocoders.score_output`; and float32 [time] of the clip's own length.
        """
        length = int(clips.lengths[place])
        scores, found = self._run(variables, clips.clip(place), jnp.asarray(length))
        return {name: float(value) for name, value in scores.items()}, np.asarray(found)[:length]

    def scores(
        self, variables: Any, clips: WholeClips, *, speech: bool | None = None
    ) -> dict[str, float]:
        """Means over clips; "score", larger is better, is what checkpoints are compared by.

        Args:
            variables: of the vocoder.
            clips: the files, each counted once, whatever its length.
            speech: whether they are speech, for the perceptual models that are installed, which
                take seconds a clip; None leaves those out.

        Returns:
            Those of :func:`.vocoders.score_output`, "score", minus "multi_stft", and those of
            :func:`.perceptual.score_all`, of the clips that these have a score for.
        """
        variables = jax.device_put(variables)
        rows: list[dict[str, Any]] = []
        for place in range(len(clips)):
            scores, found = self.reconstruct(variables, clips, place)
            rows.append({**scores})
            if speech is not None:
                target = clips.clip(place)[0, : len(found)]
                rows[-1] |= perceptual.score_all(
                    prediction=found, target=target, sample_rate=self.sample_rate, speech=speech
                )
        defined = {name: [row[name] for row in rows if row[name] is not None] for name in rows[0]}
        means = {name: float(np.mean(values)) for name, values in defined.items() if values}
        return {**means, "score": -means["multi_stft"]}


_SHOWN = {
    "multi_stft": "multi-resolution STFT loss {:.3f}",
    "convergence_db": "spectral convergence {:.2f} dB",
    "consistency_db": "consistency error {:.2f} dB",
    "mcd_db": "MCD {:.2f} dB",
    "pesq": "PESQ {:.2f}",
    "stoi": "STOI {:.3f}",
    "estoi": "ESTOI {:.3f}",
    "visqol": "ViSQOL {:.2f}",
    "visqol_speech": "ViSQOL speech {:.2f}",
}


def scores_text(scores: Mapping[str, float]) -> str:
    """Scores on one line.

    Args:
        scores: of :meth:`Evaluator.scores`.

    Returns:
        Those that there are, with their units, divided by commas.
    """
    return ", ".join(form.format(scores[name]) for name, form in _SHOWN.items() if name in scores)
