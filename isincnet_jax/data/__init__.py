"""Audio in: files, the built-in clip, corpora. The only folder that may import TensorFlow."""
