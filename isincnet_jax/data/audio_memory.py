"""Audio files that are in memory: members of archives, cells of tables."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float

from isincnet_jax.data.audio_files import AudioError, read_audio


def read_audio_bytes(
    content: bytes, *, file_name: str, where: str
) -> tuple[Float[np.ndarray, "channels time"], int]:
    """Decodes an audio file that is in memory; see :func:`.audio_files.read_audio`.

    Args:
        content: of the file.
        file_name: its name, whose extension may matter.
        where: what holds it, for messages.

    Returns:
        float32 [channels, time], and the rate in Hz.

    Raises:
        AudioError: if it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="isincnet-") as folder:
        path = Path(folder) / file_name
        path.write_bytes(content)
        try:
            return read_audio(path)
        except AudioError as error:
            raise AudioError(str(error).replace(str(path), f"{where}: {file_name}")) from error
