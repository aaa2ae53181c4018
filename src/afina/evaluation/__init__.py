"""How good a language model is, and what its adapter changed."""
