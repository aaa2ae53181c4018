"""Carry out a study's jobs: one file a place where they may run."""
