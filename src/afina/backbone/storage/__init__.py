"""Store a frozen model's weights: one file a storage, whose name is a `precision`."""
