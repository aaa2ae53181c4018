"""Evaluate language models, and what an adapter changed in them."""
