"""Constant-Q transforms as pure functions, without Flax."""
