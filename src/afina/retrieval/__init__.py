"""Retrieval: an index of a person's documents, searched by words and by meaning, and answers that cite them."""
