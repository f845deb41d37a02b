"""Methods of the benchmark that come from files: iSincNet's weights and exported models."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from isincnet_jax.benchmark import vocoders as benchmark_vocoders
from isincnet_jax.benchmark.banks import companded, geometry, round_trip
from isincnet_jax.benchmark.methods import Method


def reference_methods(folder: Path, *, sample_rate: int) -> Iterator[Method]:
    """The trained weights of iSincNet in a folder that have the rate, and their 8-bit code.

    Args:
        folder: with .ckpt files of iSincNet.
        sample_rate: Hz; those of other rates are left out.

    Yields:
        Two methods for each file.

    Raises:
        ValueError: if there are no such files, or one is damaged.
    """
    from isincnet_jax.pretrained import reference

    paths = sorted(folder.glob("*.ckpt"))
    if not paths:
        raise ValueError(f"--reference {folder}: no .ckpt files there; give iSincNet's checkpoints")
    for path in paths:
        codec = reference.load_reference(path)
        if codec.spec.sample_rate != sample_rate:
            continue
        common: dict[str, Any] = {
            "family": "reference",
            "phase": "kept",
            "parameters": _count_parameters(codec.variables),
            "checkpoint": path.name,
            **geometry(codec.spec),
        }
        # The id is in the file's name; 0.1.0 and 0.5 may share it.
        title = f"iSincNet {path.stem}"
        digest = _file_digest(path)
        yield Method(
            title,
            reconstruct=round_trip(codec),
            description="the reference's trained decoder, through load_reference",
            settings={"sha256": digest},
            **common,
        )
        yield Method(
            f"{title} 8 bits",
            reconstruct=companded(codec, q_bits=8, code="reference"),
            description="the reference's trained decoder and its own 8-bit code",
            settings={"sha256": digest, "q_bits": 8},
            kbit_per_s=8 * codec.spec.num_channels * codec.spec.frame_rate_hz / 1e3,
            **common,
        )


def exported_method(path: str, *, sample_rate: int) -> Method:
    """Method of any exported codec or vocoder, or of a checkpoint of the reference.

    Args:
        path: a folder, .zip or name of :func:`isincnet_jax.from_pretrained`, or a .ckpt of
            iSincNet.
        sample_rate: Hz of the clips.

    Returns:
        Named like the file, with a digest of its weights.

    Raises:
        ValueError: for another rate, or a model that takes no waveform.
    """
    from isincnet_jax.bank.codec import Codec
    from isincnet_jax.pretrained import hub, reference
    from isincnet_jax.vocoders.vocoder import TrainedVocoder

    model: Any = (
        reference.load_reference(path) if path.endswith(".ckpt") else hub.from_pretrained(path)
    )
    module = model.model
    is_vocoder = isinstance(model, TrainedVocoder)
    spec = module.features if is_vocoder else getattr(module, "spec", None)
    if spec is None:
        raise ValueError(
            f"--model {path}: a {type(module).__name__} has no bank; give a codec or a vocoder"
        )
    if spec.sample_rate != sample_rate:
        raise ValueError(
            f"--model {path}: is for {spec.sample_rate} Hz; use --sample-rate {spec.sample_rate}"
        )
    name = Path(path).stem if Path(path).exists() else path
    digest = _array_digest(jax.tree_util.tree_leaves(model.variables))
    if is_vocoder:
        return benchmark_vocoders.vocoder_method(
            module,
            benchmark_vocoders.resynthesis(model),
            name=name,
            parameters=_count_parameters(model.variables),
            checkpoint=Path(path).name,
            digest=digest,
        )
    run = round_trip(model)  # a codec's encode and decode; other modules have one call
    if not isinstance(model, Codec):
        run = functools.partial(jax.jit(module.apply), model.variables)
    q_bits = getattr(module, "q_bits", None)
    raw = None if q_bits is None else q_bits * spec.num_channels * spec.frame_rate_hz / 1e3
    return Method(
        name,
        "tokens" if q_bits is not None else "exported",
        run,
        f"{type(module).__name__}" + ("" if q_bits is None else f", {q_bits} bits, raw"),
        parameters=_count_parameters(model.variables),
        checkpoint=Path(path).name,
        kbit_per_s=raw,
        settings={"sha256": digest, "model": repr(module)},
        **geometry(spec),
    )


def _count_parameters(variables: Any) -> int:
    """Numbers in the collection "params"."""
    return sum(int(leaf.size) for leaf in jax.tree_util.tree_leaves(variables.get("params", {})))


def _file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _array_digest(arrays: list[Any]) -> str:
    """SHA-256 of the values of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.asarray(array).tobytes())
    return digest.hexdigest()
