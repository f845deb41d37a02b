"""Filterbank: spec, design, solved decoders, Flax modules, codec."""
