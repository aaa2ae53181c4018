"""Fused and fast operations, each beside its plain definition."""
