"""Page of an estimator of synthesizer settings in one file: tables, and sounds to hear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from isincnet_jax.inversynth import published as inversynth_published
from isincnet_jax.inversynth import scores as parameter_scores
from isincnet_jax.pages import media as report_media
from isincnet_jax.pages.page import run_facts, write_page

_NUM_LEVELS = 16


class Version(NamedTuple):
    """Version of a sound: an original, or what it was matched with.

    Attributes:
        title: "Original", "Estimate" or "Refined".
        waveform: floating, [time].
        values: of the parameters, by name.
        remark: a few words, such as its distance from the original.
    """

    title: str
    waveform: Float[np.ndarray, " time"]
    values: Mapping[str, float]
    remark: str = ""


class Sound(NamedTuple):
    """Sound to listen to, in several versions.

    Attributes:
        title: of it.
        versions: the original first, then those that should sound like it.
    """

    title: str
    versions: Sequence[Version]


def write_matching_page(
    results: Mapping[str, Any],
    html_path: str | Path,
    *,
    sounds: Sequence[Sound] = (),
    units: Mapping[str, str] | None = None,
    sample_rate: int = 16_384,
) -> Path:
    """Writes the page of an estimator: one HTML file that needs no network, all or nothing.

    Args:
        results: "model", "num_clips", "parameters" (of
            :meth:`.scores.ParameterScore.as_dict`, "all" last), "sounds" and "random" (of
            :meth:`.scores.SoundScore.as_dict`); where there is one, "refinement":
            "num_clips", "num_steps", "num_sweeps", "median_before", "median_after",
            "improvement_percent", "seconds_per_clip", "sounds_before", "sounds_after"; and facts:
            "command", "date", "commit", "device", "seed", "versions".
        html_path: file to write; an older one is replaced.
        sounds: to listen to.
        units: of the parameters, by name.
        sample_rate: of the sounds, Hz.

    Returns:
        The path of the page.

    Raises:
        KeyError: for results that lack what they must have.
        ValueError: for sounds without a version or without samples.
        OSError: if it cannot be written.
    """
    path = Path(html_path)
    shown = [_sound(sound, sample_rate) for sound in sounds]
    facts = {
        "Model": results["model"],
        "Sounds": f"{results['num_clips']} fresh ones, 1 s each",
        "Seed": results.get("seed", "not recorded"),
        **run_facts(results),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_page(
        path,
        "inversynth",
        results,
        facts=facts,
        compared=_compared(results),
        tops=[f"top-{k}" for k in parameter_scores.TOP],
        parameters=[_parameter(score) for score in results["parameters"]],
        sounds=shown,
        units=units or {},
        sample_rate=sample_rate,
        floor_db=report_media.FLOOR_DB,
    )


def _compared(results: Mapping[str, Any]) -> list[tuple[str, str, list[float | None]]]:
    """This model, the published ones and chance: kind of row, name, numbers."""
    correlations = ("stft_mean", "stft_median", "linear_mean", "linear_median")
    correlations += ("ft_mean", "ft_median")

    def measured(
        score: Mapping[str, Any], ranks: Sequence[float | None] = (None, None, None)
    ) -> list[float | None]:
        return [*ranks, *(score[key] for key in correlations)]

    total = results["parameters"][-1]
    # Two independent uniform levels are (n^2 - 1) / (3 n) apart.
    chance = (
        parameter_scores.chance_mpr(_NUM_LEVELS),
        100.0 / _NUM_LEVELS,
        (_NUM_LEVELS**2 - 1) / (3 * _NUM_LEVELS),
    )
    ranks = (total["mpr"], total["top1"], total["class_mae"])
    rows = [("own", "This model", measured(results["sounds"], ranks))]
    refinement = results.get("refinement")
    if refinement:
        before = f"its estimates of {refinement['num_clips']} sounds"
        rows.append(("", before, measured(refinement["sounds_before"])))
        rows.append(("", "the same, refined", measured(refinement["sounds_after"])))
    if results.get("random"):
        rows.append(("", "Random patches", measured(results["random"], chance)))
    for published in inversynth_published.NETWORKS:
        numbers = [published.mpr, published.top1, published.class_mae]
        numbers += [published.stft_mean, published.stft_median, None, None, None, None]
        rows.append(("", f"{published.name} (published)", numbers))
    return rows


def _parameter(score: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter's scores, the published MPR, its bar: percent of the way from chance to 100."""
    is_total = score["name"] == "all"
    least = parameter_scores.chance_mpr(_NUM_LEVELS)
    return {
        **score,
        "published": (
            inversynth_published.NETWORKS[0].mpr
            if is_total
            else inversynth_published.parameter_mpr(score["name"])
        ),
        "bar": 100 * min(1.0, max(0.0, (score["mpr"] - least) / (100.0 - least))),
    }


def _sound(sound: Sound, sample_rate: int) -> dict[str, Any]:
    """A sound's versions with their files, at levels that keep their ratios."""
    if not sound.versions or any(not len(version.waveform) for version in sound.versions):
        raise ValueError(f"{sound.title}: give an original and its matches, with samples")
    waveforms = [np.asarray(version.waveform, np.float64) for version in sound.versions]
    # One gain for all versions, so that the loudest is not clipped.
    gain = 1.0 / max(1.0, *(float(np.max(np.abs(waveform))) for waveform in waveforms))
    powers = [
        report_media.spectrogram_power(waveform, sample_rate=sample_rate) for waveform in waveforms
    ]
    # 0 dB of all pictures is the loudest cell of the original.
    peak = float(np.max(powers[0])) or 1.0
    versions = [
        {
            **version._asdict(),
            "audio": report_media.as_flac(waveform * gain, sample_rate),
            "picture": _picture(power / peak),
        }
        for version, waveform, power in zip(sound.versions, waveforms, powers, strict=True)
    ]
    return {"title": sound.title, "versions": versions}


def _picture(power: np.ndarray) -> bytes:
    decibels = report_media.decibels(power, reference=1.0)
    indices = report_media.levels(decibels, low=report_media.FLOOR_DB, high=0.0)[::-1]
    return report_media.encode_png(indices, colors=report_media.HEAT)
