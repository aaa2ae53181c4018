"""Hold the channels, each of which compares one property of rows."""
