"""How a frozen model's weights are kept: one file a storage, whose name is a `precision`."""
