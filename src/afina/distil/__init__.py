"""Teach a student by what a teacher says of the same rows: which signals there are, and how they are kept."""
