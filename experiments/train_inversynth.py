"""Trains an estimator of synthesizer settings: see ``--help`` and :mod:`.networks`."""

from isincnet_jax import extras

if __name__ == "__main__":
    extras.require_or_exit("ml_collections")

from isincnet_jax.tasks.inversynth import main

if __name__ == "__main__":
    main()
