"""Forms of adapters' folders; one file a form."""
