"""Vocoders: features, networks, losses and steps from a spectrogram to sound."""
