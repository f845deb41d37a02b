"""Trains a filterbank, a decoder or both: see ``--help`` and :mod:`.reconstruction`."""

from isincnet_jax import extras

if __name__ == "__main__":
    extras.require_or_exit("ml_collections")

from isincnet_jax.tasks.reconstruction import main

if __name__ == "__main__":
    main()
