"""Grids of cells that share everything they do not change."""
