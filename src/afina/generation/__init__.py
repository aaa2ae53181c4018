"""Write text with a model: settings, chat templates, the generation loop, and streaming of characters."""
