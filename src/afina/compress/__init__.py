"""Make a model smaller by what it has least use for, and write it as a plain checkpoint."""
