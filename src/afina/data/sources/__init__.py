"""Find data sets: files and folders, presets of the hub, Python objects."""
