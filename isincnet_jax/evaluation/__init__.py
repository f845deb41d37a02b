"""Evaluation: metrics of reconstructions; receives a callable, knows no model."""
