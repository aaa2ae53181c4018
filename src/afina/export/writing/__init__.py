"""Export what writes: one graph that takes and gives the keys and values of the tokens before."""
