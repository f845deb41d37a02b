"""Audio in and out, the built-in clip, corpora, batches. Only ``data.tf`` imports TensorFlow."""
