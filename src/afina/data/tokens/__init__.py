"""From rows of text to tokens and batches of them."""
