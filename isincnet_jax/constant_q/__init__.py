"""Constant-Q transforms, and invertible filterbanks on any scale: Gabor frames."""
