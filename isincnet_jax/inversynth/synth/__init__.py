"""FM synthesizer of InverSynth: 23 parameters to a waveform, pure functions over JAX."""
