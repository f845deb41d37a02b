"""Vocoder networks: CNNVocoder, ConvNeXt, iSTFTNet, magnitude and phase-gradient vocoders."""
