"""Holds the signals that a teacher gives, one file each."""
