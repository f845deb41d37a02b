"""Models by name, from folders, addresses or the Hub: presets, exports, the reference's weights."""
