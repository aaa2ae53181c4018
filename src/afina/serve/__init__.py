"""Adapters put to work: conversations."""
