"""Weights of the PyTorch reference iSincNet (0.1.0 and 0.5), as codecs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from isincnet_jax.bank.analysis import COLLECTION
from isincnet_jax.bank.codec import Codec
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.sincnet import SincNet
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.pretrained.torch_archive import CheckpointError, read_tensors

_MODEL_ID = re.compile(
    r"(?P<sample_rate>\d+)fs_(?P<frame_rate>\d+)fps_(?P<bins>\d+)bins"
    r"(?:_(?P<scale>lin|mel))?_(?P<component>real|complex)_(?P<causal>n?causal)"
)


def load_reference(path: str | Path, *, sample_rate: int | None = None) -> Codec:
    """Loads an iSincNet checkpoint: its filters, trained decoder and trained mel projection.

    PyTorch is not needed, and nothing in the file is executed (see
    :mod:`.torch_archive`). The rate and scale stand in the model id,
    which names the file and the folder inside it.

    Args:
        path: a ``.ckpt`` of version 0.1.0 or 0.5.
        sample_rate: Hz, to insist on; an error if the file says otherwise.

    Returns:
        A codec whose ``encode`` and ``decode`` agree with the reference to 1e-5. Its decoder is
        the trained one; for the exact inverse of the same bank use
        ``SincNet(codec.spec)``.

    Raises:
        CheckpointError: if the file is damaged, hostile, or no iSincNet checkpoint.
        FileNotFoundError: if there is none.

    Example:
        >>> load_reference("no.ckpt")
        Traceback (most recent call last):
        FileNotFoundError: ...
    """
    path = Path(path)
    root, content = read_tensors(path)
    state = content.get("state_dict", content)
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: no state_dict inside")
    state = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    version = "0.5" if "decoder.conv1d.weight" in state else "0.1.0"
    weights_name = "decoder.conv1d.weight" if version == "0.5" else "decoder.Winv"
    for name in ("encoder.filters", weights_name):
        if name not in state:
            raise CheckpointError(f"{path}: no {name}; not an iSincNet 0.1.0 or 0.5 checkpoint")
    spec = _spec_from_id(root, path, version)
    if sample_rate is not None and sample_rate != spec.sample_rate:
        raise CheckpointError(f"{path}: is for {spec.sample_rate} Hz, not {sample_rate} Hz")
    kernels = _channel_filters(state["encoder.filters"], spec, path)
    taps = _decoder_kernels(state[weights_name], spec, path, version)
    variables: dict[str, Any] = {
        COLLECTION: {"analysis": {"analysis": jnp.asarray(kernels)}},
        "params": {"synthesis": {"kernels": jnp.asarray(taps)}},
    }
    projections: tuple[str, ...] = ()
    if "morphers.mel.morpher.weight" in state:
        projections = ("mel_htk",)
        for way, name in (("forward", "morpher"), ("backward", "inverser")):
            matrix = state[f"morphers.mel.{name}.weight"].astype(np.float32)
            variables[COLLECTION][f"mel_htk_{way}"] = jnp.asarray(matrix.T)
    # The trained decoder sees as many frames as its kernels span hops, around its own.
    num_frames = taps.shape[1] // spec.hop_length
    decoder = DecoderSpec("free", num_frames=num_frames, first_frame=-(num_frames // 2))
    model = SincNet(spec, decoder, learnable_decoder=True, projections=projections)
    return Codec(model, variables, f"iSincNet {version} {root}")


def _spec_from_id(root: str, path: Path, version: str) -> FilterbankSpec:
    found = _MODEL_ID.search(root) or _MODEL_ID.search(path.name)
    if found is None:
        raise CheckpointError(
            f"{path}: neither the file nor its root folder {root!r} is named by a model id such "
            "as 16000fs_128fps_128bins_lin_complex_ncausal"
        )
    spec = FilterbankSpec.reference(
        sample_rate=int(found["sample_rate"]),
        frame_rate=int(found["frame_rate"]),
        scale="mel" if found["scale"] == "mel" else "linear",
        component="real" if found["component"] == "real" else "complex",
        version=version,
    )
    if int(found["bins"]) != spec.num_bins:
        raise CheckpointError(f"{path}: {found['bins']} bins where {spec.num_bins} were expected")
    return spec


def _channel_filters(filters: np.ndarray, spec: FilterbankSpec, path: Path) -> np.ndarray:
    """The stored filters as real channels; they must be those of the geometry."""
    expected = (spec.num_bins, 1, spec.taps)
    if filters.shape != expected:
        raise CheckpointError(f"{path}: filters of shape {filters.shape}, expected {expected}")
    filters = filters[:, 0, :].astype(np.complex64)
    # [bins, 1, taps] to channels [bins or 2 bins, taps], cosine before sine.
    parts = [np.real(filters)] if spec.component == "real" else [np.real(filters), np.imag(filters)]
    channels = np.concatenate(parts, axis=0)
    # The reference does not train its filters: others than these are of another geometry.
    difference = float(np.max(np.abs(channels - spec.bank.kernels)))
    if not difference < 1e-5:
        raise CheckpointError(f"{path}: filters differ from the geometry's by {difference:.2g}")
    return channels


def _decoder_kernels(
    weights: np.ndarray, spec: FilterbankSpec, path: Path, version: str
) -> np.ndarray:
    """Trained decoder weights as synthesis kernels [channels, taps * hop].

    0.5 convolves over frames with weights [hop, channels, taps], tap j seeing frame
    ``t + j - 1``. 0.1.0 multiplies frames rolled by -2 .. 2 by a matrix [taps * channels, hop];
    a roll by +1 brings frame ``t - 1``, so its taps run from late to early.
    """
    hop, channels = spec.hop_length, spec.num_channels
    if version == "0.5":
        if weights.ndim != 3 or weights.shape[:2] != (hop, channels):
            raise CheckpointError(f"{path}: decoder of shape {weights.shape}")
        by_frame = weights.transpose(2, 1, 0)
    else:
        if weights.ndim != 2 or weights.shape[1] != hop or weights.shape[0] % channels:
            raise CheckpointError(f"{path}: decoder of shape {weights.shape}")
        by_frame = weights.reshape(-1, channels, hop)[::-1]
    # Kernel tap block b holds the frame b hops after the earliest output: latest frame first.
    blocks = by_frame[::-1].transpose(1, 0, 2).astype(np.float32)
    return np.ascontiguousarray(blocks.reshape(channels, -1))
