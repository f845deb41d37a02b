"""Trains an estimator of synthesizer settings: see ``--help`` and :mod:`.inversynth`."""

from isincnet_jax.tasks.inversynth import main

if __name__ == "__main__":
    main()
