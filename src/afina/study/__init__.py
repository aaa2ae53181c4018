"""Grids of runs: planned, carried out, resumed, compared."""
