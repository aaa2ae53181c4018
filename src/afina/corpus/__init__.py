"""Raw dialogues and texts: what they hold, cleaning them, converting them, having a model write more."""
