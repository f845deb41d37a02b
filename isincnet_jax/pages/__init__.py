"""HTML pages of results: benchmark, ablation, InverSynth's matches."""
