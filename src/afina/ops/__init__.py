"""Provide fast operations, each beside its plain definition."""
