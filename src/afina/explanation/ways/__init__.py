"""Ways of attributing an answer to words, one file each."""
