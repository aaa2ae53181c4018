"""Adapt a backbone; one file a method."""
