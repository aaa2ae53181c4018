"""This room has model cards: the README.md that says what an adapter or an export is, what it is worth and how to use it."""
