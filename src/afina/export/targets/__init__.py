"""Each file here is one form that an adapter may be exported to."""
