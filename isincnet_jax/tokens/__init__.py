"""Tokens: quantised spectrograms, their entropy coding, files and refined decoders."""
