"""InverSynth: from a sound to the settings of a synthesizer that make it."""
