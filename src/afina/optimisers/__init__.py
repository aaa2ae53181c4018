"""Define optimisers, which take the steps: one file each."""
