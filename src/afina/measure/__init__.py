"""What a run costs and what it reaches: memory, time, energy, parameters, metrics."""
