"""Bridges from Linen modules to what other frameworks call modules: Flax NNX, PyTorch."""
