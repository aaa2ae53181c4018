"""Adapters on their way out: merged models, PEFT folders, conversions, each checked against what was trained."""
