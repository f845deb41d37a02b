"""Optional packages: which extra brings them, and what is said where one is missing.

Nothing is imported to find that out, so that it can be asked before any work begins.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from typing import NamedTuple


class Package(NamedTuple):
    """Optional package, that only some functions need.

    Attributes:
        name: as people write it.
        extra: of this package, that brings it; none if it comes with every installation, and is
            missing all the same.
        purpose: what needs it.
        instead: what does without it.
    """

    name: str
    extra: str
    purpose: str
    instead: str = ""


_NUMPY = "use the NumPy pipeline, which reads audio files and prepared corpora without it"
OPTIONAL = {
    "apache_beam": Package("Apache Beam", "beam", "encoding on clusters"),
    "dask": Package("Dask", "dask", "Beam's DaskRunner"),
    "distributed": Package("distributed", "dask", "Beam's DaskRunner"),
    "datasets": Package("datasets", "datasets", "a Hugging Face dataset"),
    "flatbuffers": Package("flatbuffers", "", "exporting a program"),
    "grain": Package("Grain", "grain", "batches by Grain", "use the NumPy pipeline"),
    "h5py": Package("h5py", "runs", "a data set of synthesizer sounds"),
    "huggingface_hub": Package("huggingface_hub", "hub", "a model of the Hugging Face Hub"),
    "matplotlib": Package("Matplotlib", "plots", "drawing"),
    "mido": Package("mido", "midi", "reading MIDI files"),
    "ml_collections": Package("ml-collections", "runs", "training"),
    "onnx": Package("onnx", "onnx", "writing ONNX models"),
    "pesq": Package("pesq", "perceptual", "the metric pesq"),
    "pyloudnorm": Package(
        *("pyloudnorm", "runs", "loudness normalisation"),
        instead="switch it off with loudness_db=None",
    ),
    "pystoi": Package("pystoi", "perceptual", "the metric stoi"),
    "tensorboardX": Package("tensorboardX", "runs", "TensorBoard's log"),
    "tensorflow": Package("TensorFlow", "train", "tf.data", _NUMPY),
    "tensorflow_datasets": Package("TensorFlow Datasets", "train", "tf.data", _NUMPY),
    "torch": Package("torch", "torch", "a PyTorch module"),
    "visqol": Package("visqol-python", "perceptual", "the metric visqol"),
}
"""By the name of the module."""


def is_installed(module: str) -> bool:
    """Installed module: whether it can be found; it is not imported.

    Args:
        module: its name.

    Returns:
        Whether it is there.
    """
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # one that somebody made by hand and put into sys.modules
        return True


def require(*modules: str) -> None:
    """Optional packages: refuses to begin what would fail later for want of them.

    Args:
        modules: of :data:`OPTIONAL`.

    Raises:
        ImportError: for the first that is missing: what needs it, and the extra that brings it.
    """
    for module in modules:
        if not is_installed(module):
            raise ImportError(explanation(module), name=module)


@contextlib.contextmanager
def importing(*modules: str) -> Iterator[None]:
    """Import of optional packages, in a block: says what is missing, or broken.

    Args:
        modules: of :data:`OPTIONAL`, that are imported.

    Yields:
        Nothing.

    Raises:
        ImportError: as :func:`require`, or with the reason why an installed package cannot be
            imported.
    """
    require(*modules)
    try:
        yield
    except ImportError as error:
        raise ImportError(explanation(modules[0], f" (cannot be imported: {error})")) from error


def explanation(module: str, why: str = "") -> str:
    """Missing package, in one line: what needs it, and the extra that brings it.

    Args:
        module: of :data:`OPTIONAL`.
        why: said after the package's name.

    Returns:
        The line.
    """
    package = OPTIONAL[module]
    what = f"'isincnet-jax[{package.extra}]'" if package.extra else package.name
    install = f"pip install {what}"
    text = f"{package.purpose} needs {package.name}{why}: {install}"
    return f"{text}, or {package.instead}" if package.instead else text


def require_or_exit(*modules: str) -> None:
    """Optional packages of a script, before the imports that need them, see :func:`require`.

    Args:
        *modules: of :data:`OPTIONAL`.

    Raises:
        SystemExit: with one line on standard error and status 1.
    """
    try:
        require(*modules)
    except ImportError as error:
        sys.exit(f"error: {error}")
