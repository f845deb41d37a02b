"""Rows of the spectrogram benchmark beside CQT_pytorch, the other invertible constant-Q transform.

4 clips of 262,144 samples at 44.1 kHz, eight octaves from 86 Hz to Nyquist, 32 and 64 bins per
octave: our ragged layout beside its octave modes, our matrix beside its matrix modes. "complete"
modes have bands at 0 Hz and Nyquist, as ours always has; without them clips do not come back. Its
package on the index is older than its repository, from which it is to be installed.
"""

from __future__ import annotations

import importlib
import json
import subprocess
from importlib import metadata
from typing import Any, NamedTuple

import common
import jax
import numpy as np
from paired import Operation
from spectrogram_peers import Builder, Peers, Row, attempt, layer

SOURCE = "https://github.com/eloimoliner/CQT_pytorch, commit 2404597"
"""What the rows were written for; messages name it where it is missing."""
PREFIX = "invertible_cqt_"
BATCH, LENGTH, RATE, OCTAVES = 4, 262_144, 44_100, 8
RESOLUTIONS = (32, 64)
MODES = {"ragged": ("oct", "oct_complete"), "matrix": ("matrix", "matrix_complete")}


class Pair(NamedTuple):
    """Both directions of one transform of the clips: each waits until its result is there.

    Attributes:
        forward: gives coefficients.
        backward: of the coefficients of the clips, gives clips.
    """

    forward: Operation
    backward: Operation


def make_clips() -> np.ndarray:
    """Uniform noise [batch, time], float32."""
    drawn = np.random.default_rng(common.SEED).uniform(-0.5, 0.5, (BATCH, LENGTH))
    return drawn.astype(np.float32)


def ours(layout: str, resolution: int) -> Pair:
    """Our transform, jitted."""
    model = layer(
        "InvertibleCQT",
        sample_rate=RATE,
        fmin=RATE / 2 ** (OCTAVES + 1),
        n_bins=None,
        bins_per_octave=resolution,
        layout=layout,
    )
    clips = jax.device_put(make_clips())
    encode = jax.jit(lambda x: model.apply({}, x, method="encode"))
    decode = jax.jit(lambda c: model.apply({}, c, length=LENGTH, method="decode"))
    coefficients = encode(clips)
    return Pair(
        lambda: jax.block_until_ready(encode(clips)),
        lambda: jax.block_until_ready(decode(coefficients)),
    )


def theirs(peers: Peers, mode: str, resolution: int) -> Pair:
    """CQT_pytorch's transform in one of its modes.

    Raises:
        ImportError: where it is not installed, with where it is to be had.
    """
    try:
        module = importlib.import_module("cqt_nsgt_pytorch.CQT_nsgt")
    except ImportError as error:
        raise ImportError(f"{error}; it is {SOURCE}") from error
    clips = peers.placed(make_clips()[:, None])
    model = module.CQT_nsgt(
        OCTAVES,
        resolution,
        mode=mode,
        fs=RATE,
        audio_len=LENGTH,
        device=str(clips.device),
        verbose=False,
    )
    forward = peers.finished(lambda: model.fwd(clips))
    coefficients = forward()

    def backward() -> Any:
        # It writes into the list that it is given.
        ragged = isinstance(coefficients, list)
        return model.bwd(list(coefficients) if ragged else coefficients)

    return Pair(forward, peers.finished(backward))


def make_rows(peers: Peers) -> dict[str, Row]:
    """Both layouts at both resolutions, forward and backward."""
    return {
        f"{PREFIX}{layout}_{resolution}_{direction}": Row(
            _our_builder(layout, resolution, direction),
            {
                f"CQT_pytorch {mode}": _their_builder(peers, mode, resolution, direction)
                for mode in modes
            },
            audio_s=BATCH * LENGTH / RATE,
        )
        for layout, modes in MODES.items()
        for resolution in RESOLUTIONS
        for direction in Pair._fields
    }


def _our_builder(layout: str, resolution: int, direction: str) -> Builder:
    return lambda: getattr(ours(layout, resolution), direction)


def _their_builder(peers: Peers, mode: str, resolution: int, direction: str) -> Builder:
    return lambda: getattr(theirs(peers, mode, resolution), direction)


def round_trips(peers: Peers, missing: list[str]) -> list[dict[str, Any]]:
    """dB of the clips after both directions, ours and that of the modes that are complete."""
    clips, results = make_clips(), []
    for layout, (_, complete) in MODES.items():
        builders = {
            "ours": lambda layout=layout: ours(layout, RESOLUTIONS[0]),
            "CQT_pytorch": lambda mode=complete: theirs(peers, mode, RESOLUTIONS[0]),
        }
        for who, build in builders.items():
            what = f"round trip, {RESOLUTIONS[0]} per octave, {layout}, {who}"
            found = attempt(
                lambda build=build: common.snr_db(
                    clips, np.asarray(build().backward()).reshape(clips.shape)
                ),
                what,
                missing,
            )
            results.append({"transform": f"CQT, {layout}", "who": who, "snr_db": found})
    return results


def version() -> str:
    """The commit of the package that is imported: that of its installation or of its checkout."""
    try:
        module = importlib.import_module("cqt_nsgt_pytorch")
    except ImportError:
        return "not loaded"
    try:
        installed = metadata.distribution("cqt_nsgt_pytorch")
    except metadata.PackageNotFoundError:
        folder = next(iter(module.__path__))
        command = ["git", "-C", folder, "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    return origin.get("vcs_info", {}).get("commit_id", installed.version)
