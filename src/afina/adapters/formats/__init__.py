"""Each file here reads one form of adapters' folders."""
