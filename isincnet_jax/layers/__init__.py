"""Specs, solved designs, and thin Flax Linen modules over :mod:`isincnet_jax.dsp`."""
