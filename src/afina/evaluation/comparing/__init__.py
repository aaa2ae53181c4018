"""Compare ways of answering from documents: from memory, with retrieval, tuned, and tuned for reading."""
