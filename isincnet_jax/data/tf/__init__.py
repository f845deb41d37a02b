"""TensorFlow data: the only folder that may import it, lazily."""
