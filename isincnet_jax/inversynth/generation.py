"""Generation of data sets of synthesizer sounds, only what of them is missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from isincnet_jax import extras
from isincnet_jax.data import audio_writing
from isincnet_jax.data.corpus import CorpusError
from isincnet_jax.inversynth.corpus import (
    SynthFiles,
    SynthSettings,
    check_description,
    check_wave,
    read_labels,
    synth_files,
    values_of,
    write_description,
    write_labels,
)
from isincnet_jax.inversynth.synth.render import render
from isincnet_jax.inversynth.synth.sampling import sample_levels

_BATCH_SAMPLES = 1 << 20
_sample = jax.jit(sample_levels, static_argnums=1)
_OF_SOUNDS = ("length", "sample_rate", "normalise")


class Generated(NamedTuple):
    """Result of :func:`generate`.

    Attributes:
        files: where the data set is.
        new_samples: whether the labels were drawn.
        written: sounds that were rendered.
        kept: sounds that were there.
        peak: the largest absolute sample of those rendered; 0 if none was.
    """

    files: SynthFiles
    new_samples: bool
    written: int
    kept: int
    peak: float


def generate(
    settings: SynthSettings,
    *,
    directory: str | Path = "test_datasets",
    waves: str | Path = "test_waves",
    regenerate_samples: bool = False,
    regenerate_audio: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Generated:
    """Makes a data set, or what is missing of it; the same settings give the same data set.

    Wave files are 32-bit floats, so that levels beyond 1 stay. Files appear whole or not at all,
    and labels before sounds: a run that was interrupted goes on where it was.

    Args:
        settings: what to make.
        directory: folder of the labels, made if it is missing.
        waves: folder for the folder of wave files, made if it is missing.
        regenerate_samples: draw the labels anew, and render all sounds; whatever is in the way
            is replaced.
        regenerate_audio: render all sounds anew, also with another length, rate or normalisation
            than before.
        progress: called with the numbers of sounds written and to be written.

    Returns:
        Where the data set is, and what was made of it now.

    Raises:
        CorpusError: if there is a data set of other settings, or a damaged one, and it was not
            asked to replace it.
        AudioError: for a damaged wave file, or one that cannot be written.
        FileError: if something else cannot be written.
        ImportError: if h5py is not installed.
    """
    extras.require("h5py")
    files = synth_files(settings.name, directory=directory, waves=waves)
    for folder in (files.labels.parent, files.waves):
        _make_folder(folder)
    there = _waves_of(files)
    if regenerate_samples:
        levels, new_samples = None, True
    else:
        levels, new_samples = _known_levels(files, settings, regenerate_audio=regenerate_audio)
        if levels is None and there and not regenerate_audio:
            raise CorpusError(
                f"{files.waves}: {len(there)} sounds, but their labels are missing; use "
                "--regenerate-audio, or another --name"
            )
    if levels is None:
        levels = _draw(settings)
    if regenerate_samples or regenerate_audio:
        # In this order: whenever it is interrupted, no sound has labels that are not its own.
        for path in (*there, files.description):
            path.unlink(missing_ok=True)
        write_labels(files, settings, levels)
    elif not files.labels.exists():
        write_labels(files, settings, levels)
    if files.description.exists():
        check_description(files, settings, levels)
    else:
        write_description(files, settings, levels)
    missing = _missing_waves(files, settings)
    peak = _render_waves(files, settings, levels, missing, progress)
    return Generated(files, new_samples, len(missing), len(levels) - len(missing), peak)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CorpusError(f"{folder}: cannot be made: {error.strerror or error}") from error


def _known_levels(
    files: SynthFiles, settings: SynthSettings, *, regenerate_audio: bool
) -> tuple[np.ndarray | None, bool]:
    """The labels that are there, or that the description tells how to draw; and if drawn now."""
    if not files.labels.exists():
        if not files.description.exists() or regenerate_audio:
            return None, True
        levels = _draw(settings)
        check_description(files, settings, levels)
        return levels, True
    found, levels = read_labels(files.labels)
    differing = [
        name
        for name in settings.differences(found)
        if not (regenerate_audio and name in _OF_SOUNDS)
    ]
    if differing:
        facts = ", ".join(
            f"{name}={getattr(found, name)} (asked: {getattr(settings, name)})"
            for name in differing
        )
        again = "audio" if all(name in _OF_SOUNDS for name in differing) else "samples"
        raise CorpusError(
            f"{files.labels}: a data set of {facts}; use another --name, or --regenerate-{again}"
        )
    return levels, False


def _draw(settings: SynthSettings) -> np.ndarray:
    return np.asarray(_sample(jax.random.key(settings.seed), settings.num_examples), np.uint8)


def _waves_of(files: SynthFiles) -> list[Path]:
    """All sounds in the folder that are called as this data set's are."""
    pattern = re.compile(re.escape(files.waves.name) + r"_\d{5,}\.wav")
    return sorted(path for path in files.waves.iterdir() if pattern.fullmatch(path.name))


def _missing_waves(files: SynthFiles, settings: SynthSettings) -> list[int]:
    there = {path.name for path in _waves_of(files)}
    missing = []
    for index in range(settings.num_examples):
        path = files.wave(index)
        if path.name in there:
            _check_kept(path, settings)
        else:
            missing.append(index)
    return missing


def _check_kept(path: Path, settings: SynthSettings) -> None:
    try:
        check_wave(path, settings)
    except audio_writing.AudioError as error:
        raise CorpusError(f"{error}; remove it, or use --regenerate-audio") from error


def _render_waves(
    files: SynthFiles,
    settings: SynthSettings,
    levels: np.ndarray,
    missing: Sequence[int],
    progress: Callable[[int, int], None] | None,
) -> float:
    """Renders and writes the missing sounds; their peak."""
    batch = max(1, min(64, _BATCH_SAMPLES // settings.num_samples))
    peak = 0.0
    for start in range(0, len(missing), batch):
        indices = missing[start : start + batch]
        values = values_of(levels[np.resize(indices, batch)])  # one shape is compiled
        sounds = np.asarray(
            render(values, num_samples=settings.num_samples, sample_rate=settings.sample_rate)
        )[: len(indices)]
        if settings.normalise:
            largest = np.max(np.abs(sounds), axis=1, keepdims=True)
            sounds = sounds / np.where(largest > 0, largest, 1)
        peak = max(peak, float(np.max(np.abs(sounds))))
        for index, sound in zip(indices, sounds, strict=True):
            audio_writing.write_blocks(
                files.wave(index),
                [sound[:, None]],
                sample_rate=settings.sample_rate,
                num_channels=1,
                subtype="FLOAT",
            )
        if progress is not None:
            progress(start + len(indices), len(missing))
    return peak
