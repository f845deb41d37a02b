"""Constant-Q transforms: forward, recursive, and invertible as Gabor frames."""
