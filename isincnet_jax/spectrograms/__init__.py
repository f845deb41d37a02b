"""Spectrogram layers: STFT, mel, gammatone, chroma, PCEN, CFP, and their inverses."""
