"""Trains a filterbank, a decoder or both: see ``--help`` and :mod:`.reconstruction`."""

from isincnet_jax.tasks.reconstruction import main

if __name__ == "__main__":
    main()
