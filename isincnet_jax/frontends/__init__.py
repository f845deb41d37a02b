"""Learnable front ends: SincConv, LEAF and the compressions behind them."""
