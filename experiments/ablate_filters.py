"""Ablates filter shapes: see ``--help`` and :mod:`.ablation`."""

from isincnet_jax.tasks.ablation import main

if __name__ == "__main__":
    main()
