"""Parse commands and print their answers; one file a command."""
