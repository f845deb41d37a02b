"""Benchmark of reconstruction: methods, metrics, runner and tables."""
