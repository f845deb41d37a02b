"""Scores of estimators: ranks of levels, and of the sounds that the estimates make."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from isincnet_jax.inversynth import scores as parameter_scores
from isincnet_jax.inversynth.networks import InverSynth
from isincnet_jax.inversynth.scores import ParameterScore, SoundScore
from isincnet_jax.inversynth.synth.parameters import NAMES
from isincnet_jax.tasks.inversynth_data import sounds_of_levels

Batches = Iterable[tuple[np.ndarray, np.ndarray]]


class Outcome(NamedTuple):
    """Scores of an estimator on some sounds.

    Attributes:
        parameters: of each, and last of all.
        sounds: correlations of rendered estimates; None if nothing was rendered.
        random: the same of random patches.
        num_clips: scored.
    """

    parameters: list[ParameterScore]
    sounds: SoundScore | None = None
    random: SoundScore | None = None
    num_clips: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Scores as plain values.

        Returns:
            JSON values: "parameters" (a list, the last of all), "sounds" and "random" (None if not
            measured).
        """
        return {
            "parameters": [score.as_dict() for score in self.parameters],
            "sounds": self.sounds and self.sounds.as_dict(),
            "random": self.random and self.random.as_dict(),
        }

    def lines(self) -> list[str]:
        """A table for readers.

        Returns:
            A head, a line for each parameter and the total, and the correlations.
        """
        head = f"{'parameter':<20} top-1  top-2  top-3  top-4  top-5    MPR  class MAE"
        lines = [head]
        for score in self.parameters:
            tops = "  ".join(f"{value:5.1f}" for value in score.top)
            lines.append(f"{score.name:<20} {tops}  {score.mpr:5.2f}  {score.class_mae:9.2f}")
        for name, score in (("estimates", self.sounds), ("random patches", self.random)):
            if score is not None:
                lines.append(
                    f"{name}: correlation of STFT {score.stft_mean:.2f} % (median "
                    f"{score.stft_median:.2f} %), of FT {score.ft_mean:.2f} % "
                    f"({score.ft_median:.2f} %)"
                )
        return lines


class Evaluator:
    """Scores of one network with different variables."""

    def __init__(self, module: InverSynth) -> None:
        self._apply = jax.jit(module.apply)
        self._render = jax.jit(sounds_of_levels)

    def scores(self, variables: Any, batches: Batches) -> dict[str, float]:
        """Scores that an evaluation during training reports.

        Args:
            variables: of the network.
            batches: waveforms float32 [clips, 16384] and true levels int32 [clips, 23].

        Returns:
            "mpr", "accuracy" (0 to 1) and "class_mae", over all parameters.
        """
        total = self.outcome(variables, batches, render=False).parameters[-1]
        return {"mpr": total.mpr, "accuracy": total.top[0] / 100.0, "class_mae": total.class_mae}

    def outcome(self, variables: Any, batches: Batches, *, render: bool = True) -> Outcome:
        """All scores; ``render`` compares sounds too.

        Args:
            variables: of the network.
            batches: waveforms float32 [clips, 16384] and true levels int32 [clips, 23].
            render: make the sounds of the estimates and correlate them with the waveforms.

        Returns:
            Scores over all clips.
        """
        scores, truth, pairs = [], [], []
        for waveform, levels in batches:
            some = self._padded(self._apply, waveform, variables)
            scores.append(some)
            truth.append(levels)
            if render:
                found = self._padded(lambda _, chosen: self._render(chosen), some.argmax(-1), None)
                pairs.append((found, waveform))
        ranks = parameter_scores.rank_levels(np.concatenate(scores), np.concatenate(truth))
        parameters = parameter_scores.score_parameters(ranks, NAMES)
        if not render:
            return Outcome(parameters, num_clips=len(ranks.rank))
        prediction, target = (np.concatenate(part) for part in zip(*pairs, strict=True))
        return Outcome(
            parameters,
            parameter_scores.score_sounds(prediction, target),
            parameter_scores.score_random_pairs(target) if len(target) > 1 else None,
            num_clips=len(ranks.rank),
        )

    def _padded(self, function: Any, clips: np.ndarray, variables: Any) -> np.ndarray:
        """The function of some clips, as many as ever were there at once: one compiled program."""
        self._most = max(getattr(self, "_most", 0), len(clips))
        filled = np.resize(clips, (self._most, *clips.shape[1:]))
        return np.asarray(function(variables, filled))[: len(clips)]
