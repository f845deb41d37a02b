"""Streaming: analysis and synthesis chunk by chunk, equal to the whole signal's."""
