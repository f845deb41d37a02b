"""Filterbank mathematics without Flax: kernels, frame theory, decoders, uniform banks."""
