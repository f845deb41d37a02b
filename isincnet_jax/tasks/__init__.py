"""Training tasks: from a config to a finished, exported run; what ``experiments/*.py`` call."""

from isincnet_jax import extras

with extras.importing("ml_collections"):
    import ml_collections  # noqa: F401 - all tasks read configs
