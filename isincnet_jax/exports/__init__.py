"""Codecs and layers for other tools: StableHLO, ONNX and PyTorch files."""
