"""Dialogues in the forms in which people keep them, read as messages."""
