"""Where a data set comes from: files and folders, presets of the hub, Python objects."""
