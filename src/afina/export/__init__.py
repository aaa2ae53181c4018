"""This room has adapters' ways out: merged models, PEFT folders, conversions, each checked against what was trained."""
