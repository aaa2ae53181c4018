"""The training loop and what goes with it: optimiser, checkpoints, evaluation."""
