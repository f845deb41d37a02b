"""Pure functions without Flax: design in float64 NumPy, apply in JAX."""
