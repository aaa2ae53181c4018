"""Turn rows of text into tokens and batches of them."""
