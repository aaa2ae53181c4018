"""What takes the steps: one file an optimiser."""
