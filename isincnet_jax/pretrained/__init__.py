"""Codecs by name or from files: solved presets and weights of the reference."""
