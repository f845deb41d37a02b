"""Scores of a vocoder on whole files of a corpus."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax.data.corpus import Corpus
from isincnet_jax.vocoders import losses as vocoder_losses
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
        def run(variables: Any, clip: jax.Array, length: jax.Array) -> tuple[Any, jax.Array]:
            found: Any = module.apply(variables, clip)
            scores = vocoder_losses.score_clips(prediction=found, target=clip, lengths=length[None])
            return scores, found[0]

        self._run = jax.jit(run)

    def reconstruct(self, variables: Any, clips: WholeClips, place: int) -> tuple[Any, np.ndarray]:
        """Scores of a clip, and what the vocoder makes of it, [time].

        Args:
            variables: of the vocoder.
            clips: the files.
            place: of the clip among them.

        Returns:
            Multi-resolution STFT loss and spectral convergence in dB, and float32 [time] of the
            clip's own length.
        """
        length = int(clips.lengths[place])
        scores, found = self._run(variables, clips.clip(place), jnp.asarray(length))
        return jax.tree.map(lambda value: float(value[0]), scores), np.asarray(found)[:length]

    def scores(self, variables: Any, clips: WholeClips) -> dict[str, float]:
        """Means over clips; "score", larger is better, is what checkpoints are compared by.

        Args:
            variables: of the vocoder.
            clips: the files, each counted once, whatever its length.

        Returns:
            "multi_stft", "convergence_db" (both smaller is better) and "score", minus the first.
        """
        variables = jax.device_put(variables)
        found = [self.reconstruct(variables, clips, place)[0] for place in range(len(clips))]
        multi_stft, convergence_db = (float(np.mean(part)) for part in zip(*found, strict=True))
        return {"multi_stft": multi_stft, "convergence_db": convergence_db, "score": -multi_stft}
