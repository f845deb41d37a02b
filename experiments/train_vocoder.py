"""Trains a vocoder: see ``--help`` and :mod:`.training`."""

from isincnet_jax import extras

if __name__ == "__main__":
    extras.require_or_exit("ml_collections")

from isincnet_jax.tasks.vocoding import main

if __name__ == "__main__":
    main()
