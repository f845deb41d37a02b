"""Spectrograms as pure functions, without Flax."""
