"""Hold ways of quantising a weight, one file each."""
