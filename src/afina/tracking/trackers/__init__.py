"""Programs that show runs as they go: one file each."""
