"""This room has what can be asked of a server: one file a path, or a few that belong together."""
