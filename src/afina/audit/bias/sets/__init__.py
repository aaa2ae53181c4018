"""Hold the sets of texts in which a model's own bias shows, one file each, found by walking this folder."""
