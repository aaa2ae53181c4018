"""Text from a model: settings, chat templates, the loop, and tokens that become text."""
