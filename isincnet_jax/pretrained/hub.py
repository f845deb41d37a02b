"""Presets by name, solved on first use and cached on disk: no download, no network."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from isincnet_jax.layers import decoding
from isincnet_jax.layers.decoding import DecoderSpec, SolvedDecoder
from isincnet_jax.layers.sincnet import SincNet
from isincnet_jax.layers.spec import FilterbankSpec
from isincnet_jax.models.autoencoder import Codec, build_codec

_logger = logging.getLogger(__name__)
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Preset:
    """A named codec: its bank, its decoder and one line on what it is for."""

    spec: FilterbankSpec
    decoder: DecoderSpec
    projections: tuple[str, ...]
    summary: str


def _linear(sample_rate: int, hop_length: int, num_bins: int = 128) -> Preset:
    spec = FilterbankSpec(sample_rate, hop_length, num_bins, shape="none")
    return Preset(spec, DecoderSpec(), ("mel_slaney",), "iSincNet 0.5 geometry, complex")


def _causal(sample_rate: int, hop_length: int) -> Preset:
    spec = FilterbankSpec(sample_rate, hop_length, 128, shape="none", component="real", causal=True)
    decoder = DecoderSpec(num_frames=20)
    return Preset(spec, decoder, ("mel_slaney",), "iSincNet 0.5 geometry, real and causal")


def _mel(sample_rate: int, hop_length: int, num_bins: int) -> Preset:
    spec = FilterbankSpec(sample_rate, hop_length, num_bins, scale="mel_slaney", shape="none")
    return Preset(spec, DecoderSpec(num_frames=4), (), "mel bins, enough of them to be exact")


PRESETS: dict[str, Preset] = {
    "16khz-linear": _linear(16_000, 125),
    "16khz-linear-causal": _causal(16_000, 125),
    "22khz-linear": _linear(22_050, 172, 256),
    "44khz-linear": _linear(44_100, 126),
    "44khz-linear-causal": _causal(44_100, 126),
    "16khz-mel": _mel(16_000, 125, 384),
    "22khz-mel": _mel(22_050, 172, 576),
    "44khz-mel": _mel(44_100, 126, 512),
}
"""The presets of :func:`from_pretrained`."""


def from_pretrained(
    name: str,
    *,
    dtype: Any = jnp.float32,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
    cache_dir: str | Path | None = None,
) -> Codec:
    """A codec by name, ready to use: nothing is downloaded, everything is solved.

    Args:
        name: a key of :data:`PRESETS`.
        dtype: float32, or float64 with ``jax_enable_x64``.
        precision: of products on accelerators.
        cache_dir: where solutions are kept; the environment variable ISINCNET_CACHE_DIR if
            None, else the user's cache folder.

    Returns:
        A frozen pytree with ``encode`` and ``decode``.

    Raises:
        ValueError: for an unknown name.
    """
    preset = find_preset(name)
    # Double precision gets a decoder to match: as many frame taps as it takes.
    decoder = DecoderSpec() if jnp.dtype(dtype) == jnp.float64 else preset.decoder
    _provide_cached(preset.spec, decoder, cache_directory(cache_dir))
    model = SincNet(
        preset.spec,
        decoder,
        projections=preset.projections,
        dtype=dtype,
        precision=precision,
    )
    return build_codec(model, name=name)


def find_preset(name: str) -> Preset:
    """The preset of a name.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name, PRESETS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"no preset {name!r}; {hint}presets: {', '.join(PRESETS)}")


def cache_directory(cache_dir: str | Path | None = None) -> Path:
    """The folder of cached solutions; not created here."""
    if cache_dir is not None:
        return Path(cache_dir)
    if "ISINCNET_CACHE_DIR" in os.environ:
        return Path(os.environ["ISINCNET_CACHE_DIR"])
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "isincnet_jax"


def _cache_key(spec: FilterbankSpec, decoder: DecoderSpec) -> str:
    return json.dumps(
        {"format": _FORMAT, "spec": spec.to_dict(), "decoder": dataclasses.asdict(decoder)},
        sort_keys=True,
    )


def _provide_cached(spec: FilterbankSpec, decoder: DecoderSpec, directory: Path) -> None:
    """Loads a decoder from the cache, or solves and stores it; a bad file is replaced."""
    key = _cache_key(spec, decoder)
    path = directory / f"decoder-{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
    solved = _load_solution(path, key)
    if solved is None:
        solved = decoding.design_decoder(spec, decoder)
        _store_solution(path, key, solved)
    decoding.provide_solution(spec, decoder, solved)


def _digest(key: str, values: np.ndarray, numbers: np.ndarray, method: str) -> str:
    parts = key.encode() + values.tobytes() + numbers.tobytes() + method.encode()
    return hashlib.sha256(parts).hexdigest()


def _load_solution(path: Path, key: str) -> SolvedDecoder | None:
    if not path.is_file():
        return None
    try:
        # np.load leaves a file that it opened itself open when the zip is torn.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            values, numbers = stored["values"], stored["numbers"]
            method, digest = str(stored["method"]), str(stored["digest"])
            if str(stored["key"]) != key or digest != _digest(key, values, numbers, method):
                raise ValueError("it belongs to another spec or is damaged")
    except Exception as error:  # a torn file can fail in any layer of zip and npy
        _logger.warning("%s: cached decoder ignored and solved anew: %s", path, error)
        return None
    values.flags.writeable = False
    lead, residual, noise_gain = numbers
    return SolvedDecoder(values, int(lead), float(residual), float(noise_gain), method)


def _store_solution(path: Path, key: str, solved: SolvedDecoder) -> None:
    """Writes beside the target and renames, so that readers see all or nothing."""
    numbers = np.asarray([solved.lead, solved.residual, solved.noise_gain], np.float64)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            temporary = Path(file.name)
            np.savez(
                file,
                values=solved.values,
                numbers=numbers,
                method=np.asarray(solved.method),
                key=np.asarray(key),
                digest=np.asarray(_digest(key, solved.values, numbers, solved.method)),
            )
        os.replace(temporary, path)
    except OSError as error:
        _logger.warning("%s: decoder not cached: %s", path, error)
        if temporary is not None:
            temporary.unlink(missing_ok=True)
