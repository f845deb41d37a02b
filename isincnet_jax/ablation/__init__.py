"""Ablation of filter shapes: the grid of cells and what is measured in each."""
