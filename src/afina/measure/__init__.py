"""Measure what a run costs and what it achieves: memory, time, energy, parameters, metrics."""
