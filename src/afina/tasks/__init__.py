"""Define what is to be learned; one file a task."""
