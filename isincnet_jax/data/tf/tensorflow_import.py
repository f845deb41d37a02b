"""TensorFlow, imported when it is needed, and kept away from the accelerator."""

from __future__ import annotations

import functools
import os
from typing import Any

from isincnet_jax import extras


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
    with extras.importing("tensorflow", "tensorflow_datasets"):
        import tensorflow as tf  # noqa: PLC0415
        import tensorflow_datasets as tfds  # noqa: PLC0415
    tf.config.set_visible_devices([], "GPU")
    return tf, tfds
