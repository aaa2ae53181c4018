"""Each file here is one program in which exports run."""
