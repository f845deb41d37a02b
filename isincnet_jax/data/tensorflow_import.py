"""TensorFlow, imported when it is needed, and kept away from the accelerator."""

from __future__ import annotations

import functools
import os
from typing import Any


@functools.cache
def import_tensorflow() -> tuple[Any, Any]:
    """TensorFlow and TensorFlow Datasets, with no GPU visible to them: JAX needs its memory.

    Returns:
        The modules ``tensorflow`` and ``tensorflow_datasets``.

    Raises:
        ImportError: if one is not installed, with what does without.
        RuntimeError: if TensorFlow has already taken a GPU.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow as tf  # noqa: PLC0415
        import tensorflow_datasets as tfds  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            f"{error}: tf.data and TensorFlow Datasets need pip install 'isincnet-jax[train]'; "
            "the NumPy pipeline reads audio files and prepared corpora without them"
        ) from error
    tf.config.set_visible_devices([], "GPU")
    return tf, tfds
