"""Explain each kind of predictor, one file each."""
