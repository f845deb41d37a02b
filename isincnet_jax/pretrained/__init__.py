"""Models by name, from folders or addresses: solved presets, exports, the reference's weights."""
