"""Assembly of layers: codecs, long signals in blocks, archives."""
