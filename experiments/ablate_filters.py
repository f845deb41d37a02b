"""Ablates filter shapes: see ``--help`` and :mod:`.grid`."""

from isincnet_jax import extras

if __name__ == "__main__":
    extras.require_or_exit("ml_collections")

from isincnet_jax.tasks.ablation import main

if __name__ == "__main__":
    main()
