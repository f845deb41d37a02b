"""Data sets of synthesizer sounds on disk: what they are called, what is in them, reading them.

``{dir}/{name}_data.hdf5`` has the labels, ``{dir}/{name}_params.json`` says how the data set was
made and what the parameters are, ``{waves}/{name}/{name}_00000.wav`` and so on are the sounds.

==============  ============================  ====================================================
in the HDF5     type and shape                what it is
==============  ============================  ====================================================
``levels``      uint8 [examples, 23]          levels 0 to 15, in the order of the parameters
``labels``      uint8 [examples, 368]         the same one-hot: label 16 p + k for level k of p
``parameters``  float32 [examples, 23]        their values
``files``       UTF-8 [examples]              wave files below ``{waves}``
attributes      text and numbers              the fields of :class:`SynthSettings`, ``format``
==============  ============================  ====================================================
"""

from __future__ import annotations

import dataclasses
import json
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from isincnet_jax import extras
from isincnet_jax.data import audio_files
from isincnet_jax.data.corpus import CorpusError
from isincnet_jax.dsp import settling
from isincnet_jax.files import replacing, write_text
from isincnet_jax.inversynth.synth.parameters import (
    NAMES,
    NUM_LEVELS,
    NUM_PARAMETERS,
    PARAMETERS,
    specification,
)

FORMAT = "isincnet synth 1"
SAMPLING_METHODS = ("random",)
_FORBIDDEN = frozenset('/\\:*?"<>|\0')


@dataclass(frozen=True)
class SynthSettings:
    """Settings of a data set: how it is made.

    Attributes:
        name: of the data set and of its files.
        num_examples: sounds.
        length: of each, seconds.
        sample_rate: Hz, at least 8,000.
        sampling_method: "random": every level of every parameter equally likely.
        normalise: whether every sound is brought to a peak of 1; otherwise levels are the
            synthesizer's, beyond 1 too.
        seed: of the random levels.

    Raises:
        ValueError: for a field that is out of range.
    """

    name: str = "InverSynth"
    num_examples: int = 150
    length: float = 1.0
    sample_rate: int = 16_384
    sampling_method: str = "random"
    normalise: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        settling.settle_fields(self)
        if not self.name or self.name.startswith(".") or _FORBIDDEN & set(self.name):
            raise ValueError(f"name={self.name!r} must be a plain file name, without folders")
        if self.num_examples < 1:
            raise ValueError(f"num_examples={self.num_examples} must be at least 1")
        if self.sample_rate < 8000:
            raise ValueError(
                f"sample_rate={self.sample_rate} must be at least 8000 Hz, twice the highest "
                "cut-off"
            )
        if not (math.isfinite(self.length) and self.length * self.sample_rate >= 1):
            raise ValueError(f"length={self.length} must be a sample or more, in seconds")
        if self.sampling_method not in SAMPLING_METHODS:
            raise ValueError(
                f"sampling_method={self.sampling_method!r} is unknown; use "
                f"{' or '.join(SAMPLING_METHODS)}"
            )
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed={self.seed} must be 0 to 2^31 - 1")

    @property
    def num_samples(self) -> int:
        """Samples of each sound."""
        return round(self.length * self.sample_rate)

    def differences(self, other: SynthSettings) -> list[str]:
        """Names of the fields in which settings differ.

        Args:
            other: the settings to compare with.

        Returns:
            In the order of the fields; empty for equal settings.
        """
        return [
            field.name
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]


class SynthFiles(NamedTuple):
    """Files of a data set, their paths.

    Attributes:
        labels: the HDF5 file.
        description: the JSON file.
        waves: folder of the wave files.
    """

    labels: Path
    description: Path
    waves: Path

    def wave(self, index: int) -> Path:
        """Wave file of one sound.

        Args:
            index: of the sound, at least 0.

        Returns:
            ``{waves}/{name}_00000.wav`` and so on, whether it exists or not.
        """
        return self.waves / f"{self.waves.name}_{index:05d}.wav"


def synth_files(name: str, *, directory: str | Path, waves: str | Path) -> SynthFiles:
    """Files of a data set, whether they exist or not.

    Args:
        name: of the data set.
        directory: folder of the labels and the description.
        waves: folder of folders of wave files.

    Returns:
        Their paths.
    """
    directory = Path(directory)
    return SynthFiles(
        directory / f"{name}_data.hdf5", directory / f"{name}_params.json", Path(waves) / name
    )


class SynthCorpus(NamedTuple):
    """A data set of sounds.

    Attributes:
        settings: how it was made.
        levels: uint8 [examples, 23].
        files: where it is.
    """

    settings: SynthSettings
    levels: UInt8[np.ndarray, "examples parameters"]
    files: SynthFiles

    def waveforms(self, indices: Iterable[int]) -> Float[np.ndarray, "clips time"]:
        """Reads sounds.

        Args:
            indices: which, 0 to the number of examples less one.

        Returns:
            float32 [clips, num_samples].

        Raises:
            AudioError, CorpusError: naming a file that is missing, damaged, or of another length
                or rate.
        """
        rows = [self._waveform(int(index)) for index in indices]
        return np.stack(rows) if rows else np.zeros((0, self.settings.num_samples), np.float32)

    def _waveform(self, index: int) -> np.ndarray:
        path = self.files.wave(index)
        check_wave(path, self.settings)
        return np.concatenate([block[:, 0] for block in audio_files.read_blocks(path)])


def check_wave(path: Path, settings: SynthSettings) -> None:
    """Refuses a sound whose header is not what the settings say.

    Args:
        path: of the wave file.
        settings: of its data set.

    Raises:
        AudioError, CorpusError: naming the file.
    """
    info = audio_files.audio_info(path)
    found = (info.num_channels, info.sample_rate, info.num_samples)
    if found != (1, settings.sample_rate, settings.num_samples):
        raise CorpusError(
            f"{path}: {found[2]} samples of {found[0]} channels at {found[1]} Hz; this data set "
            f"has {settings.num_samples} at {settings.sample_rate} Hz; use --regenerate-audio"
        )


def open_synth_corpus(name: str, *, directory: str | Path, waves: str | Path) -> SynthCorpus:
    """Opens a data set; its sounds are read when they are wanted.

    Args:
        name: of the data set.
        directory: folder of the labels.
        waves: folder of folders of wave files.

    Returns:
        Settings, levels and files.

    Raises:
        CorpusError: if the labels are missing, damaged or of other parameters.
    """
    files = synth_files(name, directory=directory, waves=waves)
    settings, levels = read_labels(files.labels)
    return SynthCorpus(settings, levels, files)


def read_labels(path: Path) -> tuple[SynthSettings, UInt8[np.ndarray, "examples parameters"]]:
    """Settings and levels of an HDF5 file of labels.

    Args:
        path: of the file.

    Returns:
        The settings, and uint8 levels [examples, 23], 0 to 15.

    Raises:
        CorpusError: if it is missing, damaged, no such file or of other parameters.
        ImportError: if h5py is not installed.
    """
    h5py = _h5py()
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; make it by isincnet synth generate")
    try:
        with h5py.File(path, "r") as file:
            return _labels_of(file)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CorpusError(
            f"{path}: damaged or no data set of sounds ({error}); --regenerate-samples replaces it"
        ) from error


def _labels_of(file: Any) -> tuple[SynthSettings, np.ndarray]:
    if file.attrs.get("format") != FORMAT:
        raise ValueError(f"format={file.attrs.get('format')!r}, not {FORMAT!r}")
    if list(json.loads(file.attrs["parameters"])) != list(NAMES):
        raise ValueError("its parameters are others")
    fields: dict[str, Any] = {
        field.name: type(field.default)(file.attrs[field.name])
        for field in dataclasses.fields(SynthSettings)
    }
    settings = SynthSettings(**fields)
    levels = file["levels"][...]
    if levels.shape != (settings.num_examples, NUM_PARAMETERS) or levels.max() >= NUM_LEVELS:
        raise ValueError(f"levels {list(levels.shape)} up to {levels.max()}")
    return settings, levels.astype(np.uint8)


def write_labels(
    files: SynthFiles, settings: SynthSettings, levels: UInt8[np.ndarray, "examples parameters"]
) -> None:
    """Writes the HDF5 file, whole or not at all.

    Args:
        files: of the data set; its folder exists.
        settings: how it was made.
        levels: 0 to 15.

    Raises:
        FileError: if it cannot be written; what was there is as it was.
        ImportError: if h5py is not installed.
    """
    h5py = _h5py()
    with replacing(files.labels) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["parameters"] = json.dumps(NAMES)
        for field in dataclasses.fields(settings):
            file.attrs[field.name] = getattr(settings, field.name)
        one_hot = (levels[..., None] == np.arange(NUM_LEVELS)).astype(np.uint8)
        file.create_dataset("levels", data=levels)
        file.create_dataset(
            "labels", data=one_hot.reshape(len(levels), -1), compression="gzip", compression_opts=1
        )
        file.create_dataset("parameters", data=values_of(levels))
        names = [f"{files.waves.name}/{files.wave(index).name}" for index in range(len(levels))]
        file.create_dataset("files", data=names, dtype=h5py.string_dtype())


def values_of(
    levels: UInt8[np.ndarray, "examples parameters"],
) -> Float[np.ndarray, "examples parameters"]:
    """Values of levels, without a device.

    Args:
        levels: integers [examples, 23], 0 to 15.

    Returns:
        float32 [examples, 23], in the units of the parameters.
    """
    table = np.stack([parameter.levels for parameter in PARAMETERS])
    return table[np.arange(NUM_PARAMETERS), levels].astype(np.float32)


def write_description(files: SynthFiles, settings: SynthSettings, levels: np.ndarray) -> None:
    """Writes the JSON file, whole or not at all.

    Args:
        files: of the data set; its folder exists.
        settings: how it was made.
        levels: uint8 [examples, 23]; their CRC-32 goes into it.

    Raises:
        FileError: if it cannot be written.
    """
    content = {**_description(settings, levels), "parameters": specification()}
    write_text(files.description, json.dumps(content, indent=1) + "\n")


def check_description(files: SynthFiles, settings: SynthSettings, levels: np.ndarray) -> None:
    """Refuses a JSON file that does not describe these labels.

    Args:
        files: of the data set.
        settings: how it was made.
        levels: uint8 [examples, 23].

    Raises:
        CorpusError: if it is damaged or says something else.
    """
    wanted = _description(settings, levels)
    try:
        content = json.loads(files.description.read_text(encoding="utf-8"))
        wrong = [f"{key}={content[key]!r}" for key in wanted if content[key] != wanted[key]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(
            f"{files.description}: damaged ({error}); remove it, it will be written anew"
        ) from error
    if wrong:
        raise CorpusError(
            f"{files.description}: describes another data set ({', '.join(wrong)}); use another "
            "--name or --regenerate-samples"
        )


def _description(settings: SynthSettings, levels: np.ndarray) -> dict[str, Any]:
    crc = zlib.crc32(levels.astype(np.uint8).tobytes())
    return {"format": FORMAT, **dataclasses.asdict(settings), "levels_crc32": crc}


def _h5py() -> Any:
    with extras.importing("h5py"):
        import h5py  # noqa: PLC0415
    return h5py
