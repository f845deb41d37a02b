"""``python -m isincnet_jax.cli``."""

from isincnet_jax.cli import main

main()
