"""This room has what speaks HTTP: who may ask, what a request has to hold, and what is said of it."""
